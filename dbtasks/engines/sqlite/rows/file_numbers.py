"""The two numbers that applications keep in a SQLite file's header, in a `rows` document and out of it again."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from ....models import Archive
from ...rows.archive import opened_rows

__all__ = ["numbers_of", "set_numbers"]

NUMBERS = ("user_version", "application_id")
"""The first is where many applications count their migrations."""
LIMIT = 1 << 31


def numbers_of(connection: sqlite3.Connection) -> dict[str, int]:
    """Read them, as the transaction that is open sees them."""
    return {name: int(connection.execute(f"PRAGMA main.{name}").fetchone()[0]) for name in NUMBERS}


def set_numbers(connection: sqlite3.Connection, archive: Archive) -> None:
    """Set them as a document says, in the transaction that is open; what it does not tell, or is no such number, stays."""
    with opened_rows(archive) as document:
        told: Mapping[str, Any] = document.metadata.document
    for name in NUMBERS:
        value = told.get(name)
        if type(value) is int and -LIMIT <= value < LIMIT:
            connection.execute(f"PRAGMA main.{name} = {value}")
