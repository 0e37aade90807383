"""A migration arrives: tables made or met, filled, given their keys, and proved row by row before COMMIT."""
