"""The nouns: targets, archives, backups, requests and events.

Frozen values without I/O. Sizes are bytes, times are aware UTC datetimes,
durations are timedeltas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from .secrets import Secret

__all__ = [
    "Archive",
    "Backup",
    "Checked",
    "Clock",
    "CommandStarted",
    "Compression",
    "DatabaseFacts",
    "DumpPlan",
    "DumpRequest",
    "Dumped",
    "EngineName",
    "Event",
    "ForeignFile",
    "Format",
    "Identity",
    "LoadPlan",
    "LoadRequest",
    "LoadStrategy",
    "Manifest",
    "Note",
    "OnEvent",
    "Phase",
    "PostgresTarget",
    "Progress",
    "Proof",
    "Revision",
    "Route",
    "SqliteTarget",
    "Swapped",
    "TableCount",
    "Target",
    "TargetState",
    "Type",
    "Warned",
    "ignore",
    "utc_now",
]


class EngineName(StrEnum):
    """What kind of database it is."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


class Type(StrEnum):
    """Why a backup was made; each type has a folder and a retention of its own."""

    MANUAL = "manual"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    SAFETY = "safety"
    """Made before a restore, never asked for by name."""


class Format(StrEnum):
    """What the dump inside an archive is."""

    SQLITE = "sqlite"
    CUSTOM = "custom"
    SQL = "sql"
    DIRECTORY = "directory"


class Compression(StrEnum):
    """How an archive's bytes are compressed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


class Route(StrEnum):
    """Which way a database is reached."""

    FILE = "file"
    CONTAINER = "container"
    HOST = "host"


@dataclass(frozen=True)
class Identity:
    """Whose backup it is: what `latest`, numbers, retention and the lock are counted per."""

    engine: EngineName
    server: str
    """`host:port` with every loopback spelling as `localhost`; for SQLite the file's folder."""
    name: str
    """Database name; for SQLite the file name."""

    def __str__(self) -> str:
        return f"{self.name} on {self.server}" if self.server else self.name


@dataclass(frozen=True)
class SqliteTarget:
    """One SQLite file."""

    path: Path
    """Absolute."""
    server: str = ""
    """The file's folder, relative to the project root where it lies inside it."""

    engine = EngineName.SQLITE

    @property
    def name(self) -> str:
        """The file name: what a restore's confirmation asks for (the stem does too)."""
        return self.path.name

    @property
    def identity(self) -> Identity:
        """Key of this database in the catalog; needs no connection."""
        return Identity(self.engine, self.server, self.name)

    @property
    def address(self) -> str:
        """The path, for people."""
        return str(self.path)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What has to be masked in any text about this target."""
        return ()


@dataclass(frozen=True)
class PostgresTarget:
    """One PostgreSQL database: connection parts, never a URL."""

    database: str
    host: str = ""
    """Empty: libpq's own default, a local socket. A path: the folder of a socket."""
    port: int = 5432
    user: str = ""
    password: Secret | None = None
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Further libpq keywords given in the URL, such as sslmode; sslpassword may be one."""

    engine = EngineName.POSTGRESQL

    @property
    def name(self) -> str:
        """The database's name."""
        return self.database

    @property
    def identity(self) -> Identity:
        """Key of this database in the catalog; needs no connection."""
        local = self.host in ("", "localhost", "127.0.0.1", "::1") or self.host.startswith("/")
        return Identity(
            self.engine, f"{'localhost' if local else self.host.lower()}:{self.port}", self.database
        )

    @property
    def address(self) -> str:
        """user@host:port/database, for people; no secret."""
        user = f"{self.user}@" if self.user else ""
        return f"{user}{self.host or 'local socket'}:{self.port}/{self.database}"

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What has to be masked in any text about this target."""
        hidden = [Secret(self.options[key]) for key in ("sslpassword",) if self.options.get(key)]
        return (self.password, *hidden) if self.password else tuple(hidden)


Target = SqliteTarget | PostgresTarget


@dataclass(frozen=True)
class TableCount:
    """One table in a dump, counted in the dump's own snapshot."""

    name: str
    """`schema.table` for PostgreSQL, the bare name for SQLite."""
    rows: int | None
    """None: not counted, or its rows were left out."""
    bytes: int | None = None
    data: bool = True
    """False: schema kept, rows left out."""


@dataclass(frozen=True)
class Revision:
    """Where the schema migrations of the database's application stand."""

    tool: str
    revisions: tuple[str, ...]


@dataclass(frozen=True)
class DatabaseFacts:
    """What a database says about itself."""

    server_version: str
    size_bytes: int
    tables: tuple[str, ...] = ()
    extensions: Mapping[str, str] = field(default_factory=dict)
    encoding: str = ""
    collation: str = ""
    ctype: str = ""
    system_identifier: str = ""
    """PostgreSQL's cluster id, where the role may read it."""
    revision: Revision | None = None
    settings: tuple[str, ...] = ()
    """`ALTER DATABASE … SET` lines, which pg_dump without --create leaves out."""
    sessions: int = 0
    """Other sessions connected now."""


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
class Archive:
    """An archive to load: a local path that nobody else replaces while it is in use."""

    path: Path
    format: Format
    compression: Compression
    manifest: Manifest | None
    """None: somebody else's file."""


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


@dataclass(frozen=True)
class Manifest:
    """The birth certificate of a backup: written when it was verified, beside its archive."""

    id: str
    database: Identity
    type: Type
    format: Format
    compression: Compression
    archive: str
    """File name of the archive it belongs to."""
    started_at: datetime
    finished_at: datetime
    size_bytes: int
    raw_size_bytes: int | None
    """Bytes before our own compression; None where the tool compressed by itself."""
    sha256: str
    route: Route
    server_version: str
    tool_version: str
    verified_at: datetime
    verified_how: str
    complete: bool = True
    not_included: tuple[str, ...] = ()
    environment: str | None = None
    system_identifier: str = ""
    extensions: Mapping[str, str] = field(default_factory=dict)
    encoding: str = ""
    collation: str = ""
    ctype: str = ""
    revision: Revision | None = None
    note: str = ""
    pinned: bool = False
    tables: tuple[TableCount, ...] = ()
    not_counted: str = ""
    """Why rows were not counted; empty when they were."""
    sequences: tuple[str, ...] = ()
    database_settings: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    globals: str | None = None
    """File name of the roles and tablespaces dumped beside it, if asked for."""
    globals_sha256: str = ""
    damage: str = ""
    """What the last db.verify found wrong; empty while all is well. Damaged backups count for nothing."""
    schema_version: int = 1

    @property
    def rows(self) -> int | None:
        """All rows counted, or None where they were not."""
        return None if self.not_counted else sum(table.rows or 0 for table in self.tables)

    @property
    def counts(self) -> dict[str, int]:
        """Rows per table as counted, tables without rows in the dump left out."""
        return {table.name: table.rows for table in self.tables if table.rows is not None and table.data}

    @property
    def duration(self) -> timedelta:
        """How long the whole backup took."""
        return self.finished_at - self.started_at


@dataclass(frozen=True)
class Backup:
    """A listed backup: a manifest and where its archive lies."""

    manifest: Manifest
    path: Path
    """The archive. It may have been removed behind our back; reading it says so."""
    number: int | None = None
    """Position in the newest-first list of its database; shifts, unlike the id."""
    latest: bool = False

    @property
    def id(self) -> str:
        """Six characters, stable, at least one of them a letter."""
        return self.manifest.id


@dataclass(frozen=True)
class ForeignFile:
    """A file in the store that has no manifest of ours; shown, never touched."""

    path: Path
    size_bytes: int
    modified_at: datetime
    why: str


@dataclass(frozen=True)
class Proof:
    """What a full read of a draft from disk showed; only a check of the format makes one."""

    size_bytes: int
    sha256: str
    how: str
    at: datetime


@dataclass(frozen=True)
class Phase:
    """A step of a task begins."""

    name: str
    detail: str = ""


@dataclass(frozen=True)
class Progress:
    """Bytes moved so far in the present phase, of a total where it is known."""

    done_bytes: int
    total_bytes: int | None = None


@dataclass(frozen=True)
class Note:
    """Something worth saying that is not a warning."""

    text: str


@dataclass(frozen=True)
class Warned:
    """Something the user should know; also part of the result."""

    text: str


@dataclass(frozen=True)
class CommandStarted:
    """A client tool was started; the text is the redacted command line."""

    command: str
    where: str


Event = Phase | Progress | Note | Warned | CommandStarted
OnEvent = Callable[[Event], Any]
Clock = Callable[[], datetime]


def ignore(event: Event) -> None:
    """Take an event and do nothing: the default of every `on_event`."""
    del event


def utc_now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.now(UTC)
