"""Diff row by row: which rows a backup and the live database, or another backup, do not have alike. It only reads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..engines.parts_left_out import lacks_definitions
from ..engines.python_route import comparing_rows
from ..engines.routes import open_engine
from ..engines.rows.held import rows_of_archive, where_rows_are_read
from ..engines.scratch import ScratchPlaces
from ..errors import UsageError
from ..events import OnEvent, Phase, RowsSoFar, ignore
from ..models import Archive, EngineName, Target
from ..near import did_you_mean
from ..nouns import many
from ..rows.comparison.compare import AGAINST, BACKUP, Found, RowValues, workbench
from ..rows.comparison.held import HeldRows
from ..rows.comparison.pairs import TablePair, pair_columns, pair_names
from ..rows.comparison.wholes import wholes_across
from ..settings import Settings
from ..stores.drafts import open_draft
from ..stores.files import create_new
from ..stores.proofs import proofs_folder
from .browse import find_archive
from .restoring.left_proofs import sweep_proofs
from .sides import ComparedSide, told_of_databases

__all__ = [
    "EXAMPLES",
    "PlannedRowsDiff",
    "RowsDiff",
    "RowsSide",
    "TableRows",
    "diff_rows",
    "plan_diff_rows",
]

EXAMPLES = 5
"""How many rows of a kind are named for each table."""
NOT_IN_IT = "it is not in the backup, which does not hold all tables"


@dataclass(frozen=True)
class RowsSide(ComparedSide):
    """One of the two that were compared."""

    engine: EngineName = field(kw_only=True)
    withheld: int = 0
    """How many of its tables this login may not read."""


@dataclass(frozen=True)
class TableRows:
    """One table, and what lies between its rows on the two sides."""

    name: str
    """The backup's; where that has none, the other's."""
    against: str
    """Its name on the other side: another one only between two engines."""
    in_backup: bool
    in_against: bool
    backup_rows: int | None = None
    against_rows: int | None = None
    """None: there is no such table, and the rows of a table that one side lacks are not read."""
    added: int = 0
    """Rows that only the other side has: since the backup they came."""
    removed: int = 0
    """Rows that only the backup has."""
    changed: int = 0
    """Rows of one key with other values."""
    key: tuple[str, ...] = ()
    """The primary key; empty: there is none that both have, and rows are compared whole."""
    added_rows: tuple[RowValues, ...] = ()
    removed_rows: tuple[RowValues, ...] = ()
    changed_rows: tuple[RowValues, ...] = ()
    """The first few of each kind; none for a table without a key, unless values were asked for."""
    notes: tuple[str, ...] = ()
    """What of its rows is not compared."""

    @property
    def differs(self) -> bool:
        """Whether they are not the same rows."""
        return bool(self.added or self.removed or self.changed) or not (self.in_backup and self.in_against)


@dataclass(frozen=True)
class RowsDiff:
    """What lies between the rows of a backup and those of what it is compared with."""

    backup: RowsSide
    against: RowsSide
    tables: tuple[TableRows, ...]
    """Every table that was compared, and those that only one of the two has."""
    not_compared: Mapping[str, str]
    """Tables whose rows are not, and why."""
    withheld: tuple[str, ...]
    """Those of them that this login may not read: whether they differ is not known."""
    notes: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether any row differs, or a table is on one side only."""
        return any(table.differs for table in self.tables)


@dataclass(frozen=True)
class PlannedRowsDiff:
    """Where the rows of each side would come from."""

    backup: str
    against: str


@dataclass(frozen=True)
class _Wanted:
    """The two sides, found and not opened."""

    archive: Archive
    other: Archive | Target


def diff_rows(
    settings: Settings,
    file: str = "latest",
    against: str | None = None,
    *,
    tables: Sequence[str] = (),
    values: bool = False,
    unverified: bool = False,
    via: str | None = None,
    on_event: OnEvent = ignore,
) -> RowsDiff:
    """Compare the rows of a backup with the live ones, or with those of another backup, by primary key.

    The two may be of different engines. The live database is read in one
    read-only snapshot. A backup by pg_dump is restored into a scratch database
    that is dropped again, any other is read as it is. Memory does not grow
    with the number of rows; what a comparison needs lies in a private file of
    the backup folder that goes again. Values are in the result only with `values`.

    Raises:
        NotFound: no such backup. UsageError: no such table. Refused: a file without manifest, and not `unverified`.
        ArchiveDamaged: a backup cannot be read. LoadFailed: it cannot be loaded where that is needed.
        CannotReach: the database, a tool or a right is missing. Busy: a table stayed locked. StoreFull: no space left.
    """
    wanted = _find(settings, file, against, unverified=unverified)
    sweep_proofs(settings, on_event)
    with ExitStack() as stack:
        places = stack.enter_context(ScratchPlaces(settings, on_event=on_event))
        ours = stack.enter_context(rows_of_archive(wanted.archive, places, on_event))
        if isinstance(wanted.other, Archive):
            theirs = stack.enter_context(rows_of_archive(wanted.other, places, on_event))
            other = _archived(wanted.other, theirs)
        else:
            theirs = stack.enter_context(_live_rows(settings, wanted.other, via, on_event))
            other = _live(wanted.other, theirs)
        backup = _archived(wanted.archive, ours)
        ours, theirs = wholes_across(ours, theirs)
        pairs, alone, not_compared = _pairs(ours, theirs, tables, complete=_is_complete(wanted))
        with _bench_path(settings) as path, workbench(path) as bench:
            founds = bench.prepare(pairs)
            sides = {BACKUP: wanted.archive, AGAINST: wanted.other}
            for side, held, name in ((BACKUP, ours, backup.name), (AGAINST, theirs, other.name)):
                on_event(Phase("read", f"the rows of {name}"))
                total = _rows_to_read(sides[side], pairs, side)
                for count in bench.lay_out(founds, held, side):
                    on_event(RowsSoFar(count, total))
            on_event(Phase("compare", many(len(pairs), "table")))
            bench.compare(founds, EXAMPLES)
            if values:
                bench.look_again(founds, ours, BACKUP)
                bench.look_again(founds, theirs, AGAINST)
    compared = [*(_told(found, values=values) for found in founds), *alone]
    return RowsDiff(
        backup,
        other,
        tuple(sorted(compared, key=lambda table: table.name)),
        not_compared,
        tuple(sorted({*ours.withheld, *theirs.withheld} & not_compared.keys())),
        tuple(_notes(backup, other)),
    )


def _rows_to_read(where: Archive | Target, pairs: Sequence[TablePair], side: int) -> int | None:
    """Return how many rows the manifest says there are; of a live database nobody counted them."""
    manifest = where.manifest if isinstance(where, Archive) else None
    if manifest is None or manifest.not_counted:
        return None
    tables = [pair.backup if side == BACKUP else pair.against for pair in pairs]
    counts = [manifest.counts.get(table.name) for table in tables]
    return None if None in counts else sum(count for count in counts if count is not None)


def plan_diff_rows(
    settings: Settings,
    file: str = "latest",
    against: str | None = None,
    *,
    unverified: bool = False,
    on_event: OnEvent = ignore,
) -> PlannedRowsDiff:
    """Say where the rows of each side would come from; nothing is loaded, and no row is read.

    Raises:
        As `diff_rows`, as far as it can be known.
    """
    wanted = _find(settings, file, against, unverified=unverified)
    with ScratchPlaces(settings, on_event=on_event) as places:
        return PlannedRowsDiff(_where(wanted.archive, places), _where(wanted.other, places))


def _where(side: Archive | Target, places: ScratchPlaces) -> str:
    if not isinstance(side, Archive):
        return f"{side.name}, live"
    loaded = where_rows_are_read(side, places)
    return f"{side.path.name}, restored into {loaded}, which is dropped again" if loaded else side.path.name


def _find(settings: Settings, file: str, against: str | None, *, unverified: bool) -> _Wanted:
    archive = find_archive(settings, file, unverified=unverified)
    if against is None:
        return _Wanted(archive, settings.require_target())
    return _Wanted(archive, find_archive(settings, against, unverified=unverified))


@contextmanager
def _live_rows(settings: Settings, target: Target, via: str | None, on_event: OnEvent) -> Iterator[HeldRows]:
    dumping = comparing_rows(settings, via)
    with (
        open_engine(settings, target, via=via, on_event=on_event, dumping=dumping) as engine,
        engine.held_rows() as held,
    ):
        yield held


@contextmanager
def _bench_path(settings: Settings) -> Iterator[Path]:
    """Yield a new private file on the disk that holds the backups; it goes with the block."""
    folder = proofs_folder(settings.backup_dir)
    with open_draft(folder) as draft:
        os.close(create_new(draft.path))
        yield draft.path


# -- what is compared with what ---------------------------------------------------------------


def _is_complete(wanted: _Wanted) -> tuple[bool, bool]:
    """Whether a table that a side does not have was not there: it holds all there were."""
    other = wanted.other
    return _holds_all(wanted.archive), not isinstance(other, Archive) or _holds_all(other)


def _holds_all(archive: Archive) -> bool:
    manifest = archive.manifest
    return manifest is not None and not lacks_definitions(manifest.parts)


def _pairs(
    ours: HeldRows, theirs: HeldRows, tables: Sequence[str], *, complete: tuple[bool, bool]
) -> tuple[list[TablePair], list[TableRows], dict[str, str]]:
    """Return the tables to compare, those that only one side has, and those that cannot be, with the reason."""
    names = pair_names(ours, theirs)
    here = {table.name: table for table in ours.tables}
    there = {table.name: table for table in theirs.tables}
    backwards = {other: name for name, other in names.items()}
    wanted = _wanted(tables, [*here, *ours.unread], [*there, *theirs.unread], backwards)
    pairs: list[TablePair] = []
    alone: list[TableRows] = []
    not_compared: dict[str, str] = {}
    for name in [*here, *ours.unread]:
        other = names.get(name)
        if name not in wanted:
            continue
        if other is None:
            if complete[AGAINST]:
                alone.append(TableRows(name, name, in_backup=True, in_against=False))
            else:
                not_compared[name] = f"{NOT_IN_IT} (the other one)"
            continue
        why = ours.unread.get(name) or theirs.unread.get(other)
        if why:
            not_compared[name] = why
            continue
        pair = pair_columns(ours, theirs, here[name], there[other])
        if not pair.columns and (here[name].data_columns or there[other].data_columns):
            not_compared[name] = "; ".join(pair.notes)
        else:
            pairs.append(pair)
    for name in [*there, *theirs.unread]:
        if name in backwards or name not in wanted:
            continue
        if complete[BACKUP]:
            alone.append(TableRows(name, name, in_backup=False, in_against=True))
        else:
            not_compared[name] = NOT_IN_IT
    return pairs, alone, not_compared


def _wanted(
    asked: Sequence[str], ours: Sequence[str], theirs: Sequence[str], backwards: Mapping[str, str]
) -> set[str]:
    """Return the tables that are asked for: by their names on either side, of PostgreSQL's without a schema too.

    Raises:
        UsageError: there is no such table, or there are several.
    """
    # the other side's by the backup's names
    known = {name: name for name in ours} | {
        name: backwards.get(name, name) for name in theirs if backwards.get(name, name) not in ours
    }
    known |= {name: backwards[name] for name in theirs if name in backwards and name not in known}
    if not asked:
        return set(known.values())
    found = set()
    for name in asked:
        meant = (
            {known[name]}
            if name in known
            else {held for spelled, held in known.items() if spelled.endswith(f".{name}")}
        )
        if len(meant) != 1:
            raise UsageError(
                f"--table={name}: {'there are several such tables' if meant else 'there is no such table'}",
                hint=("" if meant else did_you_mean(name, known))
                or f"there are {', '.join(sorted(meant or known)[:10])}",
            )
        found |= meant
    return found


# -- what was found ---------------------------------------------------------------------------


def _told(found: Found, *, values: bool) -> TableRows:
    pair = found.pair
    unlike = [
        f"{number:,} value{'s' * (number > 1)} of {name} {'are' if number > 1 else 'is'} of a kind that no rule compares:"
        " that counts as different"
        for name, number in sorted(found.unlike.items())
    ]
    converted = [
        f"{many(number, 'value')} of {name} {'are' if number > 1 else 'is'} compared with {type_} as db.migrate converts"
        f" {'them' if number > 1 else 'it'}"
        for (name, type_), number in sorted(found.converted.items())
    ]
    shown = bool(pair.key) or values
    return TableRows(
        name=pair.name,
        against=pair.against.name,
        in_backup=True,
        in_against=True,
        backup_rows=found.rows[BACKUP],
        against_rows=found.rows[AGAINST],
        added=found.added,
        removed=found.removed,
        changed=found.changed,
        key=tuple(column.backup for column in pair.key),
        added_rows=found.shown("added") if shown else (),
        removed_rows=found.shown("removed") if shown else (),
        changed_rows=found.shown("changed") if shown else (),
        notes=(*pair.notes, *converted, *unlike),
    )


def _archived(archive: Archive, held: HeldRows) -> RowsSide:
    manifest, tables = archive.manifest, len(held.tables)
    if manifest is None:
        return RowsSide(str(archive.path), live=False, database=None, engine=held.engine, tables=tables)
    return RowsSide(
        name=manifest.id,
        live=False,
        database=manifest.database,
        engine=held.engine,
        tables=tables,
        made_at=manifest.started_at,
        type=str(manifest.type),
        adopted=manifest.foreign,
    )


def _live(target: Target, held: HeldRows) -> RowsSide:
    return RowsSide(
        target.name,
        live=True,
        database=target.identity,
        engine=held.engine,
        tables=len(held.tables) + len(held.withheld),
        withheld=len(held.withheld),
    )


def _notes(backup: RowsSide, other: RowsSide) -> Iterable[str]:
    yield from told_of_databases(backup, other)
    if backup.engine is not other.engine:
        yield "values of two engines are compared by what they mean: docs/diff.md has the rules"
