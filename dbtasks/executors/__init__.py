"""One module per verb. Each takes settings and values, returns one frozen result, never prints."""
