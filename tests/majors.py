"""The majors of PostgreSQL that are tried: what lies between seldom differs from both ends."""

OLDEST, BETWEEN, NEWEST = 16, 17, 18
