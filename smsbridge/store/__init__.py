"""Keeps messages, deliveries and what was learned, in SQLite, MariaDB or PostgreSQL."""
