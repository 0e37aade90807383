"""Single tables into the live file: one transaction, triggers asleep, foreign keys compared before COMMIT."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from ....errors import Refused
from ....events import OnEvent, Phase
from ....models import Archive, Format
from ....plans import PartPlan, PartWay, Swapped
from ....rows.sqlite.words import counts_for_good
from ....stores.drafts import open_draft, sweep_drafts
from ... import OnKeep
from .. import check, facts, files
from ..live_transaction import committed, rolled_back, told_as_load, triggers_of
from ..load import stage
from ..rows.stage import stage_tables
from .foreign_keys import dangling, prove_keys
from .plan import Brought, attached, bring

if TYPE_CHECKING:
    from .. import SqliteEngine

__all__ = ["LoadedPart", "loading_part"]


class LoadedPart:
    """Tables brought in inside the open transaction; see `engines.LoadedPart`."""

    def __init__(self, engine: SqliteEngine, live: sqlite3.Connection, brought: tuple[Brought, ...]) -> None:
        self._engine = engine
        self._live = live
        self._brought = brought

    def counts(self) -> dict[str, int]:
        """Count the tables that were brought in."""
        return {table.target: facts.count_table(self._live, table.target) or 0 for table in self._brought}

    def problems(self) -> tuple[str, ...]:
        """Name nothing: keys were compared when the rows were in."""
        return ()

    def commit(self, on_keep: OnKeep | None = None) -> Swapped:
        """Commit: at once and whole; no former state is kept."""
        del on_keep
        committed(self._engine, self._live)
        return Swapped(None)


@contextmanager
def loading_part(
    engine: SqliteEngine, plan: PartPlan, archive: Archive, on_event: OnEvent
) -> Iterator[LoadedPart]:
    """See `Engine.load_part`."""
    path, timeout = engine.path, engine.settings.lock_timeout
    on_event(Phase("load", f"{', '.join(table.name for table in plan.tables)} into {path.name}"))
    with ExitStack() as stack:
        sweep_drafts(path.parent)
        staged = stack.enter_context(open_draft(path.parent)).path
        unknown: frozenset[str] = frozenset()
        if archive.format is Format.ROWS:
            unknown = stage_tables(archive, plan.request.tables, staged, on_event)
        else:
            stage(archive, staged, on_event)
        check.check_file(staged)
        stack.enter_context(told_as_load(engine))
        live = stack.enter_context(files.writing(path))
        live.execute("PRAGMA foreign_keys=OFF")
        # ATTACH reads the live file's own definitions as well, where they are not known yet
        files.patiently(lambda: live.execute("SELECT count(*) FROM sqlite_master").fetchone(), timeout)
        stack.enter_context(attached(live, staged))
        files.patiently(lambda: live.execute("BEGIN IMMEDIATE"), timeout)
        stack.enter_context(rolled_back(live))
        brought, _ = bring(live, plan.request)
        if brought != plan.selection:
            raise Refused(
                f"{path.name} or its tables were changed since this was planned",
                hint="look again: --dry-run",
                state=f"{path.name} is as it was",
            )
        _load(live, brought, unknown)
        yield LoadedPart(engine, live, brought)


def _load(live: sqlite3.Connection, brought: tuple[Brought, ...], unknown: frozenset[str]) -> None:
    replaced = [table.target for table in brought if table.way is PartWay.REPLACE]
    before = dangling(live, [table.target for table in brought])
    sleeping = [trigger for table in replaced for trigger in triggers_of(live, table)]
    for name, _ in sleeping:
        live.execute(f"DROP TRIGGER main.{files.identifier(name)}")
    for table in brought:
        _bring_in(live, table)
    for _, sql in sleeping:
        live.execute(sql)
    for table in brought:
        for sql in table.after:
            live.execute(sql)
        _raise_sequence(live, table)
    prove_keys(live, brought, before, unknown)


def _bring_in(live: sqlite3.Connection, table: Brought) -> None:
    target, source = files.identifier(table.target), files.identifier(table.source)
    if table.way is PartWay.REPLACE:
        live.execute(f"DELETE FROM main.{target}")  # noqa: S608 - quoted
    else:
        live.execute(table.create)
    names = [files.identifier(column) for column in table.columns]
    columns = ", ".join([*([table.rowid] if table.rowid else []), *names])
    live.execute(f"INSERT INTO main.{target} ({columns}) SELECT {columns} FROM backup.{source}")  # noqa: S608 - quoted


def _raise_sequence(live: sqlite3.Connection, table: Brought) -> None:
    """Let the next number be no lower than the backup's; SQLite itself minds the rows and what it gave out here."""
    for schema, name in (("backup", table.source), ("main", table.target)):
        query = f"SELECT sql FROM {schema}.sqlite_master WHERE type = 'table' AND name = ?"  # noqa: S608 - constants
        found = live.execute(query, (name,)).fetchone()
        if found is None or not counts_for_good(str(found[0])):
            return
    recorded = live.execute(
        "SELECT seq FROM backup.sqlite_sequence WHERE name = ?", (table.source,)
    ).fetchone()
    if recorded is None:
        return
    now = live.execute("SELECT seq FROM main.sqlite_sequence WHERE name = ?", (table.target,)).fetchone()
    if now is None:
        live.execute(
            "INSERT INTO main.sqlite_sequence (name, seq) VALUES (?, ?)", (table.target, recorded[0])
        )
    elif (now[0] or 0) < recorded[0]:
        live.execute("UPDATE main.sqlite_sequence SET seq = ? WHERE name = ?", (recorded[0], table.target))
