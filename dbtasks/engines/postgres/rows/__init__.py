"""Rows by psycopg2 alone: the backup of them, and their restore into tables that are there or are made."""
