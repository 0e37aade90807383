"""The restore of a rows backup into the live file: one transaction that empties exactly its tables and fills them.

Other connections see the old rows or the new ones, by SQLite's own locks. Triggers
are away meanwhile; every value keeps its storage class, whatever its column was declared as.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ....errors import Refused
from ....events import OnEvent, Phase, ignore
from ....models import Archive
from ....plans import LoadPlan, Swapped
from ....rows.sqlite.words import counts_for_good
from ... import OnKeep
from ...rows.archive import Head, head_of_rows
from .. import facts, files
from ..after_load import run_here
from ..live_transaction import committed, rolled_back, told_as_load, triggers_of
from .fill import fill_tables
from .fit import LiveTables, look_for_rows, prove_rows
from .older import fill_older, place_older

if TYPE_CHECKING:
    from .. import SqliteEngine

__all__ = ["load_rows", "loading_rows"]


class _Loaded:
    """The rows inside the open transaction; see `engines.Loaded`."""

    def __init__(
        self, engine: SqliteEngine, live: sqlite3.Connection, tables: Sequence[str], known: Sequence[str]
    ) -> None:
        self._known = known
        self._engine = engine
        self._live = live
        self._tables = tables

    def counts(self) -> dict[str, int]:
        """Count the tables that were filled."""
        return {name: facts.count_table(self._live, name) or 0 for name in self._tables}

    def problems(self) -> tuple[str, ...]:
        """Say how often foreign keys do not hold, but for tables of which the same was so before and is nobody's doing here."""
        return tuple(text for text in facts.broken_foreign_keys(self._live) if text not in self._known)

    def after_load(self, files: Sequence[Path], on_event: OnEvent = ignore) -> None:
        """Run SQL files inside the transaction."""
        run_here(self._live, files, on_event)

    def commit(self, on_keep: OnKeep | None = None) -> Swapped:
        """Commit: at once and whole."""
        del on_keep
        committed(self._engine, self._live)
        return Swapped(None)


@contextmanager
def loading_rows(
    engine: SqliteEngine, plan: LoadPlan, archive: Archive, on_event: OnEvent
) -> Iterator[_Loaded]:
    """See `Engine.load`."""
    path, timeout = engine.path, engine.settings.lock_timeout
    on_event(Phase("load", f"{archive.path.name} into {path.name}"))
    head = head_of_rows(archive)
    with ExitStack() as stack:
        stack.enter_context(told_as_load(engine))
        live = stack.enter_context(files.writing(path))
        live.execute("PRAGMA foreign_keys=OFF")
        files.patiently(lambda: live.execute("BEGIN IMMEDIATE"), timeout)
        stack.enter_context(rolled_back(live))
        if head.older:
            head, _ = place_older(live, archive, head)
        there = _as_planned(engine, live, plan, archive, head)
        known = [text for text in facts.broken_foreign_keys(live) if text.partition(": ")[0] in there.outside]
        load_rows(live, there, head, archive, on_event)
        yield _Loaded(engine, live, there.filled, known)


def _as_planned(
    engine: SqliteEngine, live: sqlite3.Connection, plan: LoadPlan, archive: Archive, head: Head
) -> LiveTables:
    there = look_for_rows(live, head)
    prove_rows(archive, head, there, engine.target.name)
    if there.filled != plan.fills or not set(there.fit.told) <= set(plan.warnings):
        raise Refused(
            f"the tables of {engine.path.name} were changed since this was planned",
            hint="look again: --dry-run",
        )
    return there


def load_rows(
    live: sqlite3.Connection, there: LiveTables, head: Head, archive: Archive, on_event: OnEvent
) -> None:
    """Empty the tables and fill them in the caller's transaction, triggers away meanwhile.

    Raises:
        LoadFailed, ArchiveDamaged, CountsDiffer, Refused: rows do not go in.
    """
    asleep = [trigger for table in there.filled for trigger in triggers_of(live, table)]
    for name, _ in asleep:
        live.execute(f"DROP TRIGGER main.{files.identifier(name)}")
    for table in there.filled:
        live.execute(f"DELETE FROM main.{files.identifier(table)}")  # noqa: S608 - quoted
    fill = fill_older if head.older else fill_tables
    fill(live, there.filled, head, archive, on_event)
    for _, statement in asleep:
        live.execute(statement)
    _set_numbers(live, there.filled, {one.table: one.last_value for one in head.schema.sequences})


def _set_numbers(live: sqlite3.Connection, tables: Sequence[str], recorded: Mapping[str, int]) -> None:
    """Let each AUTOINCREMENT go on behind the backup's number and behind every row."""
    query = "SELECT sql FROM main.sqlite_master WHERE type = 'table' AND name = ?"
    for table in tables:
        ((definition,),) = live.execute(query, (table,)).fetchall()
        if not counts_for_good(definition):
            continue
        key = next(
            (
                str(row[1])
                for row in live.execute(f"PRAGMA main.table_info({files.identifier(table)})")
                if row[5]
            ),
            "rowid",
        )
        ((used,),) = live.execute(f"SELECT max({files.identifier(key)}) FROM main.{files.identifier(table)}")  # noqa: S608 - quoted
        wanted = max(recorded.get(table, 0), used if isinstance(used, int) else 0)
        live.execute("DELETE FROM main.sqlite_sequence WHERE name = ?", (table,))
        if wanted:
            live.execute("INSERT INTO main.sqlite_sequence (name, seq) VALUES (?, ?)", (table, wanted))
