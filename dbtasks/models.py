"""The nouns: targets, archives, backups and what is told of them.

Frozen values without I/O. Sizes are bytes, times are aware UTC datetimes,
durations are timedeltas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from .secrets import Secret

__all__ = [
    "Adoption",
    "Archive",
    "Backup",
    "Compression",
    "DatabaseFacts",
    "EngineName",
    "ForeignFile",
    "Format",
    "Identity",
    "Manifest",
    "PostgresTarget",
    "Proof",
    "Revision",
    "Route",
    "SqliteTarget",
    "TableCount",
    "Target",
    "Type",
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
    ROWS = "rows"
    """Made by ourselves: no client tool is needed, and both engines have it."""


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
    PYTHON = "python"
    """psycopg2 alone: rows, and nothing but rows."""


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
    hypertable: bool = False
    """Of TimescaleDB: its rows are in chunks, which are not listed."""


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
    """Those that hold rows, as manifests name them: partitions, and not the table above them."""
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
    oid: int | None = None
    """PostgreSQL's number of the database in its cluster: a rename leaves it, a new one gets another."""


@dataclass(frozen=True)
class Archive:
    """An archive to load: a local path that nobody else replaces while it is in use."""

    path: Path
    format: Format
    compression: Compression
    manifest: Manifest | None
    """None: somebody else's file."""
    sha256: str = ""
    """Of somebody else's file when it was chosen; empty: it was not hashed."""

    @property
    def is_ours(self) -> bool:
        """Whether dbtasks made the dump: an adopted file stays somebody else's."""
        return self.manifest is not None and not self.manifest.foreign

    @property
    def expected_sha256(self) -> str:
        """What the bytes that are loaded must have; empty where nobody can say."""
        return self.manifest.sha256 if self.manifest else self.sha256


@dataclass(frozen=True)
class Adoption:
    """Where somebody else's file came from that was given a manifest."""

    file: str
    """Its name; it was copied, and is not looked for again."""
    at: datetime
    unknown: tuple[str, ...] = ()
    """What nobody can say of it, for people."""


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
    all_tables: bool = False
    """Of a partial one: whether the rows of all tables are in it."""
    restored_at: datetime | None = None
    """When it was last proven by a restore into a scratch database; None: never."""
    restored_how: str = ""
    restored_seconds: float | None = None
    """How long that took to load and check."""
    foreign: bool = False
    """Somebody else's dump: nobody's `latest`, and never loaded by a superuser."""
    adoption: Adoption | None = None
    damage: str = ""
    """What the last db.verify found wrong; empty while all is well. Damaged backups count for nothing."""
    anomaly: str = ""
    """How it has shrunk against the last normal one, when it was made; empty where it has not."""
    anomaly_accepted: bool = False
    """Somebody said that this is how it should be."""
    schema_version: int = 1

    @property
    def anomalous(self) -> bool:
        """Whether it is to be distrusted: it has shrunk, and nobody has pinned it or taken it for normal."""
        return bool(self.anomaly) and not (self.pinned or self.anomaly_accepted)

    @property
    def parts(self) -> tuple[str, ...]:
        """What was left out of it by choice: what no rows backup can hold is none."""
        return () if self.format is Format.ROWS and self.all_tables else self.not_included

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
    unreadable: bool = False
    """Whether it is an archive with a manifest beside it that cannot be read."""
    lost: Manifest | None = None
    """Of a manifest whose archive is missing: what it says."""


@dataclass(frozen=True)
class Proof:
    """What a full read of a draft from disk showed; only a check of the format makes one."""

    size_bytes: int
    sha256: str
    how: str
    at: datetime
