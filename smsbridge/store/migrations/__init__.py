"""The schema's history (Alembic): one step a file, never edited after a release."""
