"""What is asked of a migration, what it will do, and what it did: values, without a step of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from ...engines.sqlite.leaving import Selection
from ...guards import Consent
from ...models import Backup, PostgresTarget, Route, SqliteTarget
from ...nouns import many
from ...plans import TargetState
from ...rows.migration.arriving import TableProof
from ...rows.migration.choices import Choices, ColumnChoice
from ...rows.migration.left_out import Clash
from ...rows.migration.orphans import Orphans
from ...rows.schema import PortableSchema

__all__ = ["BATCH_SIZE", "MigratedTable", "MigrationJob", "MigrationPlan", "MigrationReport", "OnError"]

BATCH_SIZE = 1_000


class OnError(StrEnum):
    """What happens where a row does not go in."""

    STOP = "stop"
    """Everything ends, and the target is as it was."""
    SKIP = "skip"
    """The row is left out, and written down with the reason."""


@dataclass(frozen=True)
class MigrationJob:
    """What is asked of one migration."""

    source: str | None = None
    """Path or url of a SQLite file; None: the configured database."""
    target: str | None = field(default=None, repr=False)
    """Url of a PostgreSQL database, `@` for the setting into_url, or a name on the configured server; None: the
    configured database."""
    tables: tuple[str, ...] = ()
    exclude_tables: tuple[str, ...] = ()
    casts: tuple[str, ...] = ()
    """`TABLE.COLUMN:TYPE`."""
    batch_size: int = BATCH_SIZE
    """Rows between two savepoints, where rows may be left out."""
    on_error: OnError | str = OnError.STOP
    dry_run: bool = False
    """Only the plan is wanted: not even its failure is written down."""

    @property
    def selection(self) -> Selection:
        """Return which tables are meant."""
        return Selection(self.tables, self.exclude_tables)


@dataclass(frozen=True)
class MigrationPlan:
    """What a migration will do; every row was read to make it, nothing was written."""

    job: MigrationJob
    source: SqliteTarget
    target: PostgresTarget
    state: TargetState
    """Of the target."""
    route: Route
    why: str
    choices: Choices
    consent: Consent
    environment: str | None
    live: PortableSchema | None = field(default=None, repr=False)
    """The tables of the target, where it has those of the source; None: they are made."""
    mark: str = field(default="", repr=False)
    """Of the source as it was read."""
    left_out: tuple[str, ...] = ()
    """Tables of the source that were not asked for."""
    kept: tuple[str, ...] = ()
    """Tables of the source that say where its migrations stand: the target has its own."""
    left_behind: Mapping[str, int] = field(default_factory=dict)
    """Tables with rows that the target does not have, with how many they are."""
    losses: tuple[str, ...] = ()
    """What of the source does not go, in words."""
    warnings: tuple[str, ...] = ()
    orphans: tuple[Orphans, ...] = ()
    """Rows that refer to nothing: no foreign key lets them in."""
    clashes: tuple[Clash, ...] = ()
    """Rows that have a key which one in front of them has: in their new types their values are equal."""
    falls: tuple[Orphans, ...] = ()
    """Where rows may be left out: those that go with one to which they refer."""
    rejects: Mapping[str, int] = field(default_factory=dict)
    """Where rows may be left out: how many of each table will be, as far as can be counted; `warnings` names the rest."""
    would_reject: Mapping[str, int] = field(default_factory=dict)
    """Where they may not, and some do not go in: how many of each table would be."""

    @property
    def makes_database(self) -> bool:
        """Whether the target's database is created."""
        return self.state is TargetState.MISSING

    @property
    def makes_tables(self) -> bool:
        """Whether the tables are; otherwise those that are there are filled."""
        return self.live is None

    @property
    def misfits(self) -> int:
        """How many values do not fit where they are to go, rows that refer to nothing, and rows that are there already."""
        turned_down = (*(one.rows for one in self.orphans), *(one.rows for one in self.clashes))
        return self.choices.misfits + sum(turned_down)

    @property
    def steps(self) -> tuple[str, ...]:
        """Return what is done, in order."""
        tables = many(len(self.choices.order), "table")
        made = (
            f"make {tables}, fill {'it' if len(self.choices.order) == 1 else 'them'}, make keys and indexes"
        )
        whole = made if self.makes_tables else f"fill {tables} already there"
        first = [f"back up {self.source.name}"]
        if self.makes_database:
            first.append(f"create the database {self.target.name} beside, under another name")
        proof = "prove it: row counts, key ranges, foreign keys, next numbers, a checksum of every row on both sides"
        as_it_was = "does not exist" if self.makes_database else "is as it was"
        last = [
            f"COMMIT; until then nobody sees any of it, and {self.target.name} {as_it_was} if anything fails"
        ]
        if self.makes_database:
            last.append(f"name it {self.target.name}")
        return (*first, f"in one transaction: {whole}", proof, *last)


@dataclass(frozen=True)
class MigratedTable:
    """One table that arrived."""

    name: str
    """In SQLite."""
    target: str
    """In PostgreSQL, with its schema."""
    columns: tuple[ColumnChoice, ...]
    proof: TableProof


@dataclass(frozen=True)
class MigrationReport:
    """What a migration did, what was proved of it, and how to go on or back."""

    id: str
    source: SqliteTarget
    target: PostgresTarget
    started_at: datetime
    seconds: float
    made_database: bool
    made_tables: bool
    tables: tuple[MigratedTable, ...]
    source_backup: Backup
    url_line: str
    """For `.env`; a password is `***` in it."""
    way_back: str
    rejects: Path | None = None
    """The rows that were left out, one line of JSON each; None: there are none."""
    causes: Mapping[str, int] = field(default_factory=dict)
    """Why they were, in words, and how many each time."""
    losses: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    left_behind: Mapping[str, int] = field(default_factory=dict)
    only_target: tuple[str, ...] = ()
    page: Path | None = None
    """The report for people; None where it could not be written."""
    document: Path | None = None
    """The same as JSON."""
    warnings: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Return how many rows arrived."""
        return sum(table.proof.target_rows for table in self.tables)

    @property
    def rejected(self) -> int:
        """Return how many rows were left out."""
        return sum(table.proof.rejected for table in self.tables)

    @property
    def has_losses(self) -> bool:
        """Whether rows that were to go did not."""
        return bool(self.rejected or self.left_behind)

    @property
    def missing(self) -> str:
        """Return in words which rows did not arrive; empty where all did."""
        behind = sum(self.left_behind.values())
        said = [
            *([f"{many(self.rejected, 'row')} left out"] if self.rejected else ()),
            *([f"{many(behind, 'row')} left behind: {', '.join(self.left_behind)}"] if behind else ()),
        ]
        return "; ".join(said)
