"""An archive on the disk: read to its end, and asked what it would do to a server. Nothing here loads it."""
