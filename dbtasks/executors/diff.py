"""Diff: what lies between a backup and the live database, or another backup. It only reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..engines.parts_left_out import lacks_definitions
from ..engines.postgres.server import create_roles
from ..engines.python_route import comparing_rows
from ..engines.routes import open_checker, open_engine
from ..errors import ArchiveDamaged, WrongEngine
from ..events import OnEvent, Phase, ignore
from ..holdings import Holdings
from ..migrations import MigrationStep, migration_step
from ..models import Archive, Format, Revision, Target
from ..schemas import Schema, SchemaDrift, compare_schemas
from ..settings import Settings
from .browse import find_archive, hint_of_another
from .reading import prove_bytes
from .restoring.destination import engine_of_archive, prove_same_engine
from .sides import ComparedSide, told_of_databases

__all__ = ["DiffSummary", "ExtensionDifference", "Side", "TableDifference", "diff"]

PARTITIONED = re.compile(r"^PARTITION BY (RANGE|LIST|HASH) ", re.MULTILINE)
"""In the definition of a table as pg_dump writes it."""


@dataclass(frozen=True)
class Side(ComparedSide):
    """One of the two that were compared."""

    not_included: tuple[str, ...] = ()
    """What a partial backup lacks."""
    revision: Revision | None = None
    server_version: str = ""
    unknown: tuple[str, ...] = ()
    """What nobody can say of an adopted file, for people."""
    rows_alone: bool = False
    """Whether a restore of it brings rows into the tables that are there, and leaves their definitions."""


@dataclass(frozen=True)
class TableDifference:
    """One table that does not have the same rows in both; None: not there, or not counted."""

    name: str
    backup_rows: int | None
    against_rows: int | None
    in_backup: bool
    in_against: bool


@dataclass(frozen=True)
class ExtensionDifference:
    """One extension that only one of the two has, or that they have in different versions."""

    name: str
    backup_version: str | None
    against_version: str | None
    """None: it is not there. Empty: an adopted file does not tell its version."""
    offered_version: str | None
    """What the live server could install; None: nothing, or no server was asked."""


@dataclass(frozen=True)
class DiffSummary:
    """What lies between a backup and what it is compared with."""

    backup: Side
    against: Side
    tables: tuple[TableDifference, ...]
    """Those whose rows differ, or that only one of the two has."""
    equal_tables: int
    """How many have the same number of rows."""
    not_counted: str
    """Why rows are not compared; empty where they are."""
    schema: SchemaDrift | None
    not_compared: str
    """Why schemas are not compared; empty where they are."""
    extensions: tuple[ExtensionDifference, ...] = ()
    roles_missing: tuple[str, ...] = ()
    """Roles the backup names and the live server does not have."""
    create_roles: tuple[str, ...] = ()
    """The statements that make them."""
    sessions: tuple[str, ...] = ()
    """Who else is connected to the live database: a restore may have to end them."""
    migration: MigrationStep | None = None
    notes: tuple[str, ...] = ()
    """What has to be known to read all this."""

    @property
    def differs(self) -> bool:
        """Whether anything is certain to differ; rows that were changed in place are not seen."""
        migrated = self.migration is not None and self._revisions_differ
        drifted = self.schema is not None and self.schema.differs
        return bool(self.tables or drifted or self.extensions or self.roles_missing or migrated)

    @property
    def foretells(self) -> bool:
        """Whether it says what a restore of the backup would do: not of one that leaves the definitions as they are."""
        return self.against.live and not self.backup.rows_alone

    @property
    def _revisions_differ(self) -> bool:
        step = self.migration
        if step is None or step.backup is None or step.against is None:
            return False
        return sorted(step.backup.revisions) != sorted(step.against.revisions)


def diff(
    settings: Settings,
    file: str = "latest",
    against: str | None = None,
    *,
    unverified: bool = False,
    via: str | None = None,
    on_event: OnEvent = ignore,
) -> DiffSummary:
    """Compare a backup with the live database, or with another backup (`against`, named as `file` is).

    Nothing is written, restored or locked against a backup: the live database
    is read in one read-only snapshot. An archive's bytes are compared with its
    manifest first, unless `unverified`; then its definitions are read, without
    its rows where the format allows.

    Raises:
        NotFound: no such backup. Refused: a file without manifest, and not `unverified`.
        WrongEngine: the two are of different kinds. ArchiveDamaged: one is not whole.
        CannotReach: the database, a tool or a right is missing. Busy: a table stayed locked.
    """
    archive = find_archive(settings, file, unverified=unverified)
    if against is not None:
        other = find_archive(settings, against, unverified=unverified)
        _prove_same_kind(archive, other)
        if not unverified:
            _prove_whole(settings, archive, on_event)
            _prove_whole(settings, other, on_event)
        as_rows = Format.ROWS in (archive.format, other.format)
        ours = _holdings_of(settings, archive, on_event, as_rows=as_rows)
        theirs = _holdings_of(settings, other, on_event, as_rows=as_rows)
        return _summary(archive, ours, _archived(other, theirs), theirs)
    target = settings.require_target()
    prove_same_engine(archive, target)
    if not unverified:
        _prove_whole(settings, archive, on_event)
    dumping = comparing_rows(settings, via) if archive.format is Format.ROWS else None
    with open_engine(settings, target, via=via, on_event=on_event, dumping=dumping) as engine:
        on_event(Phase("read", archive.path.name))
        if archive.format is Format.ROWS:
            on_event(Phase("count", f"{target.name}, in one snapshot"))
            ours, theirs = engine.holdings_beside(archive)
        else:
            ours = engine.holdings_of(archive)
            on_event(Phase("count", f"{target.name}, in one snapshot"))
            theirs = engine.holdings()
    return _summary(archive, ours, _live(target, theirs), theirs)


def _prove_whole(settings: Settings, archive: Archive, on_event: OnEvent) -> None:
    """See that the bytes are those that were written: what is equal in a damaged archive says nothing.

    Raises:
        ArchiveDamaged: they are not.
    """
    on_event(Phase("checksum", archive.path.name))
    try:
        prove_bytes(archive)
    except ArchiveDamaged as exc:
        exc.state = "nothing was touched"
        exc.hint = hint_of_another(settings, archive.path)
        raise


def _holdings_of(settings: Settings, archive: Archive, on_event: OnEvent, *, as_rows: bool) -> Holdings:
    with open_checker(settings, archive.format, on_event=on_event) as engine:
        on_event(Phase("read", archive.path.name))
        return engine.holdings_of(archive, as_rows=as_rows)


def _prove_same_kind(archive: Archive, other: Archive) -> None:
    """Compare the kinds of database of two archives; their formats may differ.

    Raises:
        WrongEngine: they are of different kinds.
    """
    kinds = {engine_of_archive(archive), engine_of_archive(other)}
    # an older tool's file is of no kind, and refused by whoever reads it
    if len(kinds - {None}) > 1:
        raise WrongEngine(
            f"{archive.path.name} is a {archive.format} archive and {other.path.name} a {other.format} one:"
            " they are of different kinds of database",
            state="nothing was touched",
        )


# -- the two sides ------------------------------------------------------------------------


def _archived(archive: Archive, holdings: Holdings) -> Side:
    manifest = archive.manifest
    if manifest is None:
        made = holdings.schema.objects.values() if holdings.schema else ()
        # as elsewhere: what is above partitions holds no rows
        tables = sum(1 for one in made if one.type == "table" and not PARTITIONED.search(one.definition))
        if holdings.tables:
            tables = len(holdings.tables)
        rows_alone = archive.format is Format.ROWS
        return Side(str(archive.path), live=False, database=None, tables=tables, rows_alone=rows_alone)
    return Side(
        name=manifest.id,
        live=False,
        database=manifest.database,
        tables=len(holdings.tables),
        made_at=manifest.started_at,
        type=str(manifest.type),
        adopted=manifest.foreign,
        not_included=manifest.not_included,
        revision=holdings.revision,
        server_version=manifest.server_version,
        unknown=manifest.adoption.unknown if manifest.adoption else (),
        rows_alone=archive.format is Format.ROWS,
    )


def _live(target: Target, holdings: Holdings) -> Side:
    return Side(
        name=target.name,
        live=True,
        database=target.identity,
        tables=len(holdings.tables),
        revision=holdings.revision,
        server_version=holdings.server_version,
    )


def _lacks_tables(side: Side, holdings: Holdings) -> bool:
    """Whether tables that are not in it may have been there: a backup without some rows has all definitions."""
    if holdings.all_tables is not None:
        return not holdings.all_tables
    return lacks_definitions(side.not_included)


# -- comparing ------------------------------------------------------------------------------


def _summary(archive: Archive, ours: Holdings, other: Side, theirs: Holdings) -> DiffSummary:
    backup = _archived(archive, ours)
    partial = _lacks_tables(backup, ours), _lacks_tables(other, theirs)
    not_counted = ours.not_counted or theirs.not_counted
    tables = () if not_counted else tuple(_table_differences(ours, theirs, partial))
    missing = sorted(ours.roles - theirs.roles) if other.live and ours.schema and theirs.roles else []
    both = [*ours.tables, *theirs.tables]
    schema, not_compared = _compared(ours.schema, theirs.schema, partial), ""
    if schema is None:
        not_compared = ours.no_schema or theirs.no_schema or "one of the two holds no definitions"
    return DiffSummary(
        backup=backup,
        against=other,
        tables=tables,
        equal_tables=0 if not_counted else _equal(ours.rows, theirs.rows),
        not_counted=not_counted,
        schema=schema,
        not_compared=not_compared,
        extensions=tuple(_extension_differences(ours, theirs)),
        roles_missing=tuple(missing),
        create_roles=create_roles(missing),
        sessions=theirs.sessions if other.live else (),
        migration=migration_step(ours.revision, theirs.revision, both),
        notes=tuple(dict.fromkeys((*_notes(backup, other), *ours.warnings, *theirs.warnings))),
    )


def _table_differences(
    ours: Holdings, theirs: Holdings, partial: tuple[bool, bool]
) -> Iterable[TableDifference]:
    here, there = set(ours.tables), set(theirs.tables)
    for name in sorted(here | there):
        backup, other = ours.rows.get(name), theirs.rows.get(name)
        if name in here & there and (backup is None or other is None or backup == other):
            continue  # rows that were left out of a backup are told by a note
        if (partial[0] and name not in here) or (partial[1] and name not in there):
            continue
        yield TableDifference(name, backup, other, name in here, name in there)


def _equal(ours: Mapping[str, int], theirs: Mapping[str, int]) -> int:
    return sum(1 for name, rows in ours.items() if theirs.get(name) == rows)


def _compared(ours: Schema | None, theirs: Schema | None, partial: tuple[bool, bool]) -> SchemaDrift | None:
    if ours is None or theirs is None:
        return None
    return compare_schemas(ours, theirs, partial=partial)


def _extension_differences(ours: Holdings, theirs: Holdings) -> Iterable[ExtensionDifference]:
    if ours.extensions is None or theirs.extensions is None:
        return
    for name in sorted({*ours.extensions, *theirs.extensions}):
        wanted, found = ours.extensions.get(name), theirs.extensions.get(name)
        unknown = "" in (wanted, found) and None not in (wanted, found)
        if found != wanted and not unknown:
            yield ExtensionDifference(name, wanted, found, theirs.offered.get(name))


def _notes(backup: Side, other: Side) -> Iterable[str]:
    for side in (backup, other):
        if side.not_included:
            lacks = "; ".join(side.not_included)
            yield f"{side.name} is partial (not in it: {lacks}): what it leaves out is not compared"
        if side.unknown:
            yield f"{side.name} was made by others and adopted; unknown: {'; '.join(side.unknown)}"
    yield from told_of_databases(backup, other)
