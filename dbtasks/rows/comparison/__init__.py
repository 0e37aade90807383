"""Rows of two sides compared: which tables and columns belong together, and when two values are the same."""
