"""Names of the databases a restore makes: bounded by us, because the server cuts them silently."""

from __future__ import annotations

import re
from datetime import datetime

from ...errors import UsageError

__all__ = [
    "BEFORE",
    "before_name",
    "is_before_name",
    "is_new_name",
    "is_scratch_name",
    "new_name",
    "prove_name",
    "scratch_name",
]

LIMIT_BYTES = 63
NEW = "__new_"
BEFORE = "__before_"
ID = re.compile(rf"{NEW}[0-9a-z]{{6}}", re.ASCII)
SCRATCH = "__verify"
NEW_ID_LETTERS = 6
STAMP = re.compile(rf"{BEFORE}\d{{8}}T\d{{6}}Z(_\d+)?", re.ASCII)


def new_name(database: str, id_: str) -> str:
    """Name the database a backup is loaded into."""
    return _bounded(database, f"{NEW}{id_}")


def is_new_name(database: str, name: str) -> bool:
    """Whether `new_name()` gives this name to a backup that is loaded for this database."""
    found = [match for match in ID.finditer(name) if match.end() == len(name)]
    return bool(found) and name != database and name == _bounded(database, found[-1][0])


def scratch_name(database: str) -> str:
    """Name what a proof loads for: no database is ever called so, only `new_name()` of it, which keeps all of this."""
    room = LIMIT_BYTES - len(SCRATCH) - len(NEW) - NEW_ID_LETTERS
    return database.encode()[:room].decode(errors="ignore") + SCRATCH


def is_scratch_name(database: str) -> bool:
    """Whether `scratch_name()` gives such names."""
    return database.endswith(SCRATCH) and database == scratch_name(database.removesuffix(SCRATCH))


def before_name(database: str, now: datetime, attempt: int = 0) -> str:
    """Name the database that was replaced; later attempts give other names of the same second."""
    more = f"_{attempt}" if attempt else ""
    return _bounded(database, f"{BEFORE}{now:%Y%m%dT%H%M%SZ}{more}")


def is_before_name(database: str, name: str) -> bool:
    """Whether `before_name()` gives this name to a former database of this name."""
    found = [match for match in STAMP.finditer(name) if match.end() == len(name)]
    # a database may itself be a kept one that is used again: it never is its own former self
    return bool(found) and name != database and name == _bounded(database, found[-1][0])


def prove_name(database: str) -> None:
    """Refuse what cannot be a database's name: the server would cut it and mean another database.

    Raises:
        UsageError: it is empty, too long, or holds a zero byte.
    """
    size = len(database.encode(errors="surrogateescape"))
    if not database or "\0" in database:
        raise UsageError("the database's name is empty" if not database else "no name holds a zero byte")
    if size > LIMIT_BYTES:
        raise UsageError(
            f"the database's name is {size} bytes long, and PostgreSQL cuts names after {LIMIT_BYTES}: {database}",
            hint="choose a shorter one",
        )


def _bounded(database: str, suffix: str) -> str:
    """Cut the front part between characters, never inside one."""
    room = LIMIT_BYTES - len(suffix.encode())
    return database.encode()[:room].decode(errors="ignore") + suffix
