"""Dumping: prove first, then let pg_dump write while we hold its snapshot and count.

One session locks every table against TRUNCATE and ALTER (ACCESS SHARE), takes
the snapshot after that, exports it and stays until all is done. pg_dump and a
counting session both read in it, side by side.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....errors import (
    Busy,
    CommandFailed,
    DbTasksError,
    DumpFailed,
    QueryFailed,
    RouteUnavailable,
    StoreFull,
    TargetUnreachable,
)
from ....events import OnEvent, Phase
from ....models import Compression, Format, TableCount
from ....plans import Dumped, DumpPlan
from ....runners import Command, ToolFolder
from ....sessions import Session
from ....stores import Draft
from ....stores.files import create_new, translated
from ....streams import HashingWriter, compressing, pump
from ..facts import HYPERTABLE, count_rows, reading_snapshot, sequence_values
from ..hypertables import catalog_tables
from ..last_words import disk_full
from ..tables import Selection
from .commands import dump_command, globals_command
from .extra import ROW_SECURITY, read_extra
from .held_tables import blocked, lock_tables, table_sizes, wanted_tables
from .warned import warnings_of

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["dump"]

UNTOUCHED = "nothing was published; earlier backups are untouched"


@dataclass(frozen=True)
class _Snapshot:
    """An exported snapshot and what is to be dumped in it."""

    name: str
    selection: Selection
    filtered: bool
    """Row-level security may hide rows: it was asked for."""
    catalog: frozenset[str] = frozenset()
    """TimescaleDB's tables, of which pg_dump says every time what is no news."""


@dataclass(frozen=True)
class _Written:
    """What lies in the draft."""

    sha256: str
    raw_size_bytes: int | None
    warnings: tuple[str, ...]


def dump(engine: PostgresEngine, plan: DumpPlan, draft: Draft, on_event: OnEvent) -> Dumped:
    """Fill the draft with what the plan says; returns only if every child ended well.

    Raises:
        DumpFailed: it broke off. Busy: a table was not given in time; names who holds it.
        StoreFull: no space left.
    """
    try:
        if plan.globals:
            on_event(Phase("globals", "roles and tablespaces"))
            _dump_globals(engine, draft)
        with _exported(engine, plan) as snapshot, _counting(engine, snapshot) as counting:
            on_event(Phase("dump", f"{engine.target.name} by {plan.tool_version}"))
            written = _write(engine, plan, snapshot, draft, on_event)
            if not counting.done():
                on_event(Phase("count", "rows in the dump's snapshot"))
            counts = counting.result()
    except (CommandFailed, QueryFailed, TargetUnreachable, RouteUnavailable) as exc:
        # a tool that writes files itself meets the full disk before we do
        kind = StoreFull if isinstance(exc, CommandFailed) and disk_full(exc.details) else DumpFailed
        raise kind(
            f"the dump of {engine.target.name} broke off: {exc.message}", details=exc.details, state=UNTOUCHED
        ) from exc
    return Dumped(
        tables=counts.tables,
        not_counted=counts.not_counted,
        sequences=counts.sequences,
        raw_size_bytes=written.raw_size_bytes,
        sha256=written.sha256,
        warnings=written.warnings,
    )


# -- the snapshot ----------------------------------------------------------------


@contextmanager
def _exported(engine: PostgresEngine, plan: DumpPlan) -> Iterator[_Snapshot]:
    """Lock what will be dumped, then take and export the snapshot; both last as long as the block."""
    filtered = any(argument.name == ROW_SECURITY for argument in read_extra(plan.request.extra))
    with engine.session() as session:
        before = wanted_tables(engine, plan.request, plan.format, session)
        with reading_snapshot(session, row_security=filtered):
            try:
                lock_tables(session, before.dumped)
            except Busy as exc:
                raise blocked(engine, before.dumped, exc) from exc
            ((name,),) = session.rows("SELECT pg_catalog.pg_export_snapshot()")
            # what was created or dropped between the plan and the locks is seen here
            yield _Snapshot(
                str(name),
                wanted_tables(engine, plan.request, plan.format, session),
                filtered,
                catalog_tables(session),
            )


# -- counting beside it ------------------------------------------------------------


@dataclass(frozen=True)
class _Counts:
    tables: tuple[TableCount, ...]
    sequences: tuple[str, ...] = ()
    not_counted: str = ""


@contextmanager
def _counting(engine: PostgresEngine, snapshot: _Snapshot) -> Iterator[Future[_Counts]]:
    """Count in a thread and a session of its own; leaving by an exception ends it."""
    with engine.session() as session, ThreadPoolExecutor(1, "dbtasks-count") as pool:
        counting = pool.submit(_count, session, snapshot)
        try:
            yield counting
        except BaseException:
            session.cancel()
            raise


def _count(session: Session, snapshot: _Snapshot) -> _Counts:
    selection = snapshot.selection
    bare = tuple(
        TableCount(str(table), rows=None, data=False, hypertable=table.kind == HYPERTABLE)
        for table in selection.without_rows
    )
    try:
        with reading_snapshot(session, snapshot.name, row_security=snapshot.filtered):
            sizes = table_sizes(session, selection.with_rows)
            rows = count_rows(session, selection.with_rows)
            sequences = sequence_values(session)
    except DbTasksError as exc:
        # the dump itself does not depend on it: it is kept, and says that nobody counted
        uncounted = tuple(
            TableCount(str(table), rows=None, hypertable=table.kind == HYPERTABLE)
            for table in selection.with_rows
        )
        return _Counts(_by_name(uncounted + bare), not_counted=exc.message)
    counted = tuple(
        TableCount(str(table), rows=number, bytes=sizes.get(table.oid), hypertable=table.kind == HYPERTABLE)
        for table, number in rows.items()
    )
    return _Counts(_by_name(counted + bare), sequences)


def _by_name(tables: tuple[TableCount, ...]) -> tuple[TableCount, ...]:
    return tuple(sorted(tables, key=lambda table: table.name))


# -- writing -----------------------------------------------------------------------


def _write(
    engine: PostgresEngine, plan: DumpPlan, snapshot: _Snapshot, draft: Draft, on_event: OnEvent
) -> _Written:

    def command(folder: str | None = None) -> Command:
        return dump_command(
            plan,
            snapshot.selection,
            database=engine.target.database,
            snapshot=snapshot.name,
            lock_timeout=engine.settings.lock_timeout,
            folder=folder,
            inherit=(draft.lock,),
        )

    try:
        if plan.format is Format.DIRECTORY:
            with engine.runner.folder(draft.folder) as folder:
                return _write_directory(engine, command(folder.path), snapshot, folder, draft, on_event)
        return _write_stream(engine, command(), plan, snapshot, draft, on_event)
    except CommandFailed as exc:
        if "LOCK TABLE" in exc.details and "timeout" in exc.details:
            # asked while our own locks are still held, so that who waits for them is seen too
            raise blocked(engine, snapshot.selection.dumped, exc) from exc
        raise


def _write_stream(
    engine: PostgresEngine,
    command: Command,
    plan: DumpPlan,
    snapshot: _Snapshot,
    draft: Draft,
    on_event: OnEvent,
) -> _Written:
    codec = plan.compression if plan.format is Format.SQL else Compression.NONE
    # destination outside, source inside: how pg_dump ended is known before the archive is complete
    with draft.create() as file:
        archive = HashingWriter(file)
        with compressing(archive, codec) as sink, engine.runner.reading(command) as source:
            size_bytes = pump(source, sink, on_event=on_event)
    raw_size_bytes = size_bytes if plan.format is Format.SQL else None
    return _Written(archive.sha256, raw_size_bytes, warnings_of(source.said, catalog=snapshot.catalog))


def _write_directory(
    engine: PostgresEngine,
    command: Command,
    snapshot: _Snapshot,
    folder: ToolFolder,
    draft: Draft,
    on_event: OnEvent,
) -> _Written:
    with engine.runner.reading(command) as source:
        source.read()
    on_event(Phase("pack", "the directory into one file"))
    with draft.create() as file:
        archive = HashingWriter(file)
        folder.pack(archive)
    return _Written(archive.sha256, None, warnings_of(source.said, catalog=snapshot.catalog))


def _dump_globals(engine: PostgresEngine, draft: Draft) -> None:
    """Write roles and tablespaces beside the archive, 0600 from the first byte: password hashes are in it."""
    with (
        translated(f"cannot write {draft.globals_path}"),
        os.fdopen(create_new(draft.globals_path), "wb") as file,
        engine.runner.reading(
            globals_command(database=engine.target.database, inherit=(draft.lock,))
        ) as source,
    ):
        pump(source, file)
        file.flush()
        os.fsync(file.fileno())
