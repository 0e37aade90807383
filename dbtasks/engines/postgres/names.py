"""Names of the databases a restore makes: bounded by us, because the server cuts them silently."""

from __future__ import annotations

from datetime import datetime

__all__ = ["before_name", "new_name"]

LIMIT_BYTES = 63
NEW = "__new_"
BEFORE = "__before_"


def new_name(database: str, id_: str) -> str:
    """Name the database a backup is loaded into."""
    return _bounded(database, f"{NEW}{id_}")


def before_name(database: str, now: datetime, attempt: int = 0) -> str:
    """Name the database that was replaced; later attempts give other names of the same second."""
    more = f"_{attempt}" if attempt else ""
    return _bounded(database, f"{BEFORE}{now:%Y%m%dT%H%M%SZ}{more}")


def _bounded(database: str, suffix: str) -> str:
    """Cut the front part between characters, never inside one."""
    room = LIMIT_BYTES - len(suffix.encode())
    return database.encode()[:room].decode(errors="ignore") + suffix
