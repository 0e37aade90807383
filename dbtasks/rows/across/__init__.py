"""From one engine to the other: which type a column gets, and how each value is spelled there."""
