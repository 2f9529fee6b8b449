"""A program that is called by HTTP, played for tests and for trying things out."""
