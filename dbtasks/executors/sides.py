"""The two that a comparison has, whatever of them is compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ..models import Identity

__all__ = ["ComparedSide", "told_of_databases"]


@dataclass(frozen=True)
class ComparedSide:
    """One of them."""

    name: str
    """A backup's id, a foreign file's path, the live database's name."""
    live: bool
    database: Identity | None
    """None: a file that does not tell."""
    tables: int
    made_at: datetime | None = None
    """When the backup was begun; None where it is live, or nobody knows."""
    type: str = ""
    adopted: bool = False
    """Whether others made it: then `database` is for which it was adopted."""


def told_of_databases(backup: ComparedSide, other: ComparedSide) -> Iterator[str]:
    """Say it where they are of two databases."""
    if backup.database and other.database and backup.database != other.database:
        whose, others = ("adopted for" if side.adopted else "of" for side in (backup, other))
        yield f"{backup.name} is {whose} {backup.database}, {other.name} {others} {other.database}"
