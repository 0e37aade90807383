"""What the last words of a tool or a server mean, and the way that is left.

A psql that loads says each error with its SQLSTATE. pg_restore cannot, and an
ordinary role cannot choose the server's language: there English words have to do.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from ...models import Archive, Format

__all__ = [
    "breaks_foreign_key",
    "by_hand",
    "connection_lost",
    "disk_full",
    "lacks_codec",
    "lacks_right",
    "way_left",
]

RIGHTS = (":  42501: ", "permission denied", "must be superuser", "must be owner", "must be able to SET ROLE")
LOST = (
    *(f":  {state}: " for state in ("57P01", "57P02", "57P03")),
    "server closed the connection",
    "terminating connection",
    "connection to server",
    "could not connect",
    "the database system is",
)


DISK_FULL = "53100"


def lacks_right(details: str) -> bool:
    """Whether the role may not do what was asked; a server that speaks another language may hide it."""
    return any(sign in details for sign in RIGHTS)


def connection_lost(details: str) -> bool:
    """Whether the server went away, or could not be reached any more."""
    return any(sign in details for sign in LOST)


def lacks_codec(details: str) -> bool:
    """Whether a tool was built without the compression an archive has."""
    said = details.lower()
    return "support compression" in said or "compression not supported" in said


def disk_full(details: str, sqlstate: str = "") -> bool:
    """Whether the server's disk had no room; `sqlstate` is that of the error, where it is known by itself."""
    return sqlstate == DISK_FULL or f":  {DISK_FULL}: " in details or "No space left on device" in details


def breaks_foreign_key(details: str) -> bool:
    """Whether rows of the backup break a foreign key, whatever language the server speaks.

    pg_restore repeats the statement that failed; psql and English servers say it.
    """
    statement = "ADD CONSTRAINT" in details and "FOREIGN KEY (" in details
    return statement or ":  23503: " in details or "violates foreign key constraint" in details


def way_left(
    details: str, archive: Archive | None = None, backup_dir: Path | None = None, *, sqlstate: str = ""
) -> str:
    """Return the hint for a load that broke off; empty where the words themselves are all there is to say.

    `archive` is what was loaded, `backup_dir` where a backup is known by its id.
    """
    if disk_full(details, sqlstate):
        return "free some space on the server's disk"
    # what is printed for a rows backup makes no keys
    if archive is None or archive.format is Format.ROWS or not breaks_foreign_key(details):
        return ""
    return f"{by_hand(archive, backup_dir)}; there that foreign key can be left out or made NOT VALID"


def by_hand(archive: Archive, backup_dir: Path | None = None) -> str:
    """Say which command prints those that restore an archive by hand; a file without a manifest has no page of its own."""
    if archive.manifest is None:
        path = shlex.quote(str(archive.path))
        return f"db.adopt --file={path} makes a backup of it, and db.show then prints the commands to restore it by hand"
    listed = backup_dir is not None and archive.path.is_relative_to(backup_dir)
    name = archive.manifest.id if listed else shlex.quote(str(archive.path))
    return f"db.show --file={name} prints the commands to restore by hand"
