"""What is asked of an engine, what it means to do, and what came of it.

Frozen values without I/O. Sizes are bytes, times are aware UTC datetimes,
durations are timedeltas.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from .models import (
    Compression,
    DatabaseFacts,
    Format,
    Route,
    TableCount,
)

__all__ = [
    "Checked",
    "DumpPlan",
    "DumpRequest",
    "Dumped",
    "LoadPlan",
    "LoadRequest",
    "LoadStrategy",
    "Swapped",
    "TargetState",
]


@dataclass(frozen=True)
class DumpRequest:
    """What a backup is asked to hold."""

    format: Format | None = None
    """None: the engine's default."""
    compression: Compression | None = None
    """None: the fastest good one the tools have."""
    jobs: int | None = None
    tables: tuple[str, ...] = ()
    exclude_tables: tuple[str, ...] = ()
    exclude_data: tuple[str, ...] = ()
    schema_only: bool = False
    data_only: bool = False
    no_owner: bool = False
    extra: tuple[str, ...] = ()
    """pg_dump's own arguments, given after `--`."""

    @property
    def complete(self) -> bool:
        """Whether the whole database is asked for."""
        return not (
            self.tables
            or self.exclude_tables
            or self.exclude_data
            or self.schema_only
            or self.data_only
            or self.extra
        )


@dataclass(frozen=True)
class DumpPlan:
    """What a backup will hold and how it is made; everything in it was proved before a byte is written."""

    request: DumpRequest
    format: Format
    compression: Compression
    suffix: str
    """Ending of the archive's name, such as `.dump` or `.sqlite3.gz`."""
    route: Route
    why: str
    """Why this route, for people."""
    facts: DatabaseFacts
    tool_version: str
    complete: bool = True
    not_included: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    """Tables whose rows will be in the dump, `schema.table`."""
    tables_without_data: tuple[str, ...] = ()
    jobs: int = 1
    globals: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dumped:
    """What an engine reports after it has filled a draft."""

    tables: tuple[TableCount, ...]
    not_counted: str = ""
    sequences: tuple[str, ...] = ()
    raw_size_bytes: int | None = None
    sha256: str | None = None
    """Of the bytes as they were written; None where a tool wrote the file itself."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checked:
    """What a full read of an archive's inside showed."""

    how: str
    """For people and manifests: `pg_restore read the archive to its end`."""
    warnings: tuple[str, ...] = ()


class TargetState(StrEnum):
    """What is there before a restore."""

    PRESENT = "present"
    EMPTY = "empty"
    MISSING = "missing"
    DAMAGED = "damaged"


class LoadStrategy(StrEnum):
    """How a backup takes the live database's place."""

    CREATE = "create"
    """Nothing is there: it is made."""
    SWAP = "swap"
    """Loaded beside, checked, then names are exchanged (SQLite: copied in by the backup API)."""
    IN_PLACE = "in place"
    """One transaction drops what is in the way, loads and is checked before COMMIT."""
    ASIDE = "aside"
    """The damaged file is moved aside as one unit with its journals; it is the safety copy."""


@dataclass(frozen=True)
class LoadRequest:
    """What a restore is asked to do."""

    in_place: bool = False
    drop_old: bool = False
    no_owner: bool = False
    role: str | None = None
    jobs: int | None = None
    analyze: bool = True
    unverified: bool = False


@dataclass(frozen=True)
class LoadPlan:
    """What a restore will do, proved to fit; nothing outside it is done."""

    request: LoadRequest
    strategy: LoadStrategy
    state: TargetState
    route: Route
    why: str
    facts: DatabaseFacts | None
    """Of the live database; None where there is none."""
    live_rows: dict[str, int] = field(default_factory=dict)
    """Rows per table now, `schema.table`."""
    drops: tuple[str, ...] = ()
    """In place: every object that is dropped, in order."""
    sessions: tuple[str, ...] = ()
    """Other sessions that will be ended, described."""
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Swapped:
    """What a restore left behind when it was done."""

    old: str | None
    """Name of the replaced database, or path of the files moved aside; None where nothing is kept."""
    sessions_ended: int = 0
    warnings: tuple[str, ...] = ()
