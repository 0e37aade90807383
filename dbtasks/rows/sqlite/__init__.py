"""SQLite as a table source, and its portable schema: its PRAGMAs and its own words read, and made again."""
