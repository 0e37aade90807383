"""PostgreSQL as a table source, and its portable schema: read from the catalogue, and made again."""
