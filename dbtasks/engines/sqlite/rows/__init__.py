"""Rows of a SQLite file as the portable document, and back into tables that are there or are made."""
