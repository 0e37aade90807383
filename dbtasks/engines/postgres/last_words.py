"""What the last words of a tool or a server mean, and the way that is left."""

from __future__ import annotations

__all__ = ["breaks_foreign_key", "disk_full", "way_left"]

BROKEN_KEY = (
    "db.show prints the commands to restore by hand, where that foreign key can be left out or made NOT VALID"
)


def disk_full(details: str) -> bool:
    """Whether the server's disk had no room."""
    return "No space left on device" in details


def breaks_foreign_key(details: str) -> bool:
    """Whether rows of the backup break a foreign key, whatever language the server speaks.

    pg_restore repeats the statement that failed; psql and English servers say it.
    """
    statement = "ADD CONSTRAINT" in details and "FOREIGN KEY (" in details
    return statement or "23503" in details or "violates foreign key constraint" in details


def way_left(details: str) -> str:
    """Return the hint for a load that broke off; empty where the words themselves are all there is to say."""
    if disk_full(details):
        return "free some space on the server's disk"
    return BROKEN_KEY if breaks_foreign_key(details) else ""
