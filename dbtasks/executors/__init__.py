"""One module per verb. Each takes settings and values, returns one frozen result, never prints; what several share is in the rooms beside."""
