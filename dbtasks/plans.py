"""What is asked of an engine, what it means to do, and what came of it.

Frozen values without I/O. Sizes are bytes, times are aware UTC datetimes,
durations are timedeltas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from .errors import Refused
from .models import (
    Compression,
    DatabaseFacts,
    Format,
    Revision,
    Route,
    TableCount,
)
from .schemas import Schema

__all__ = [
    "Checked",
    "Described",
    "DumpPlan",
    "DumpRequest",
    "Dumped",
    "ExchangePlan",
    "Kept",
    "LoadPlan",
    "LoadRequest",
    "LoadStrategy",
    "Made",
    "PartPlan",
    "PartRequest",
    "PartTable",
    "PartWay",
    "Saving",
    "Standing",
    "Swapped",
    "TargetState",
    "Timescale",
    "not_as_planned",
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
    all_tables: bool = False
    """Of a partial one: whether the rows of all tables will be in it."""
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
    not_included: tuple[str, ...] | None = None
    """As it was in the dump's own snapshot; None: as planned."""
    facts: DatabaseFacts | None = None
    """The same of what the database tells of itself."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checked:
    """What a full read of an archive's inside showed."""

    how: str
    """For people and manifests: `pg_restore read the archive to its end`."""
    warnings: tuple[str, ...] = ()
    schema: Schema | None = field(default=None, repr=False)
    """What the archive would make, where the check came by it."""


@dataclass(frozen=True)
class Described:
    """What somebody else's archive tells of itself, read to its end."""

    tables: tuple[TableCount, ...]
    not_counted: str = ""
    """Why rows were not counted; empty when they were."""
    server_version: str = ""
    tool_version: str = ""
    """As its own first lines say; empty where they do not."""
    encoding: str = ""
    extensions: Mapping[str, str] = field(default_factory=dict)
    """Name to version; empty where that is not told."""
    revision: Revision | None = None
    raw_size_bytes: int | None = None
    not_included: tuple[str, ...] = ()
    """What can be seen to be missing; empty: nothing can."""
    unknown: tuple[str, ...] = ()
    """What nobody can say of it, for people."""
    warnings: tuple[str, ...] = ()


class TargetState(StrEnum):
    """What is there before a restore."""

    PRESENT = "present"
    EMPTY = "empty"
    MISSING = "missing"
    DAMAGED = "damaged"


def not_as_planned(name: str, planned: TargetState, now: TargetState) -> Refused:
    """Say that what had nothing worth a safety backup is not so any more."""
    return Refused(
        f"{name} was {planned} when the restore was planned, and is {now} now",
        state=f"{name} was not touched",
        hint="look at it, then restore again",
    )


class LoadStrategy(StrEnum):
    """How a backup takes the live database's place."""

    CREATE = "create"
    """Nothing is there: it is made."""
    SWAP = "swap"
    """Loaded beside, checked, then names are exchanged (SQLite: copied in by the backup API)."""
    IN_PLACE = "in place"
    """One transaction drops what is in the way, loads and is checked before COMMIT."""
    ROWS = "rows"
    """One transaction empties the tables of the backup and fills them again; all else stays as it is."""
    ASIDE = "aside"
    """The damaged file is moved aside as one unit with its journals; it is the safety copy."""


@dataclass(frozen=True)
class Made:
    """What a restore of rows makes in a database that is there and has no tables, by name."""

    tables: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()


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
    after_load: tuple[Path, ...] | None = None
    """SQL files to run in what was loaded, before it goes live; None: those of the settings, for an undo none."""
    takes_away: Made | None = None
    """An undo of a restore that made these in a database without tables: they are taken away, and nothing is brought."""


@dataclass(frozen=True)
class Saving:
    """By which way the present is saved, where the load itself takes another."""

    route: Route
    why: str


@dataclass(frozen=True)
class Timescale:
    """The TimescaleDB that an archive is loaded into, and no other."""

    version: str
    schema: str
    """The schema the extension is created in."""


@dataclass(frozen=True)
class LoadPlan:
    """What a restore will do, proved to fit; nothing outside it is done."""

    request: LoadRequest
    strategy: LoadStrategy
    state: TargetState
    route: Route
    why: str
    """Why this route."""
    facts: DatabaseFacts | None
    """Of the live database; None where there is none."""
    why_in_place: str = ""
    """Why it is loaded inside the live database and not beside it; empty where it is not."""
    live_rows: dict[str, int] = field(default_factory=dict)
    """Rows per table now, `schema.table`."""
    schema: Schema | None = field(default=None, repr=False)
    """What the archive would make, read from it; None where nobody looked."""
    drops: tuple[str, ...] = ()
    """In place: every object that is dropped, in order."""
    sessions: tuple[str, ...] = ()
    """Other sessions that will be ended, described."""
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    timescale: Timescale | None = None
    """None: the archive holds none."""
    public_stays: bool = False
    """The schema `public` keeps its owner or comment: the role that loads may not change them."""
    fills: tuple[str, ...] = ()
    """Rows: the tables that are emptied and filled, by name."""
    creates: tuple[str, ...] = ()
    """Rows: the tables that are made of the backup's schema first."""
    makes: Made | None = None
    """Rows: what that is in a database that is there; None in a new one."""
    takes_away: tuple[str, ...] = ()
    """Rows: the statements that take it away again."""
    schema_command: str = ""
    """Rows: what makes the tables in the new database first, as it would be typed; empty where nothing does."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Rows of the other engine, or of an older tool: each table of the backup, and the one that its rows go into."""
    stays: tuple[str, ...] = ()
    """Rows: what is not in the backup and stays as it is in the live database."""
    saving: Saving | None = None
    """Rows: by which client tools the present is saved; None: by the same way, or nothing is."""


@dataclass(frozen=True)
class Kept:
    """What is about to be replaced and kept, and what takes its place."""

    name: str
    """The replaced database's new name, or the folder its files are moved to."""
    oid: int | None = None
    """PostgreSQL's number of the replaced database: a rename leaves it, a new database gets another."""
    live_oid: int | None = None
    """The same of the one that takes its place."""


@dataclass(frozen=True)
class Swapped:
    """What a restore left behind when it was done."""

    old: str | None
    """Name of the replaced database, or path of the files moved aside; None where nothing is kept."""
    sessions_ended: int = 0
    warnings: tuple[str, ...] = ()
    old_oid: int | None = None
    live_oid: int | None = None
    """PostgreSQL's numbers of the two after an exchange of names; None where none took place."""


@dataclass(frozen=True)
class Standing:
    """Which databases bear the live name and a kept one now; None where there is none, or no such number."""

    live_oid: int | None = None
    kept_oid: int | None = None
    system_identifier: str = ""


@dataclass(frozen=True)
class ExchangePlan:
    """What giving a kept database the live name back will do, proved to be possible."""

    kept: str
    live_oid: int
    kept_oid: int
    route: Route
    system_identifier: str = ""
    live_rows: dict[str, int] = field(default_factory=dict)
    """Rows per table of the live database now."""
    kept_rows: dict[str, int] = field(default_factory=dict)
    """The same of the one that comes back."""
    not_counted: str = ""
    """Why one of them could not be counted; empty when both were."""
    sessions: tuple[str, ...] = ()
    """Sessions that will be ended, described."""


class PartWay(StrEnum):
    """How one table of a backup comes into the live database."""

    REPLACE = "rows replaced"
    CREATE = "created"
    BESIDE = "beside"
    """Under another name."""


@dataclass(frozen=True)
class PartRequest:
    """Which tables of a backup are brought back, and how."""

    tables: tuple[str, ...]
    """Names as they were given: `table` or `schema.table`."""
    as_name: str | None = None
    """Beside, under this name; for exactly one table."""
    no_owner: bool = False
    role: str | None = None
    analyze: bool = True


@dataclass(frozen=True)
class PartTable:
    """One table that holds rows, and what becomes of it."""

    name: str
    """In the live database, as manifests spell it."""
    way: PartWay
    backup_rows: int | None
    """None: the backup did not count them. 0 for a partition it does not have."""
    live_rows: int | None = None
    """None: it is not there, or was not counted."""


@dataclass(frozen=True)
class PartPlan:
    """What bringing tables back will do, proved to fit; no other table is changed."""

    request: PartRequest
    tables: tuple[PartTable, ...]
    route: Route
    why: str
    facts: DatabaseFacts
    """Of the live database."""
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    takes_away: tuple[str, ...] = ()
    """SQL that takes away what is added."""
    selection: object = None
    """What of the archive is loaded, in the engine's own terms."""
    saving: Saving | None = None
    """As of a `LoadPlan`."""

    @property
    def overwrites(self) -> bool:
        """Whether rows that exist are replaced."""
        return any(table.way is PartWay.REPLACE for table in self.tables)
