"""The dump: the online backup API in one step, out of a read-only source.

One step (`pages=-1`) because smaller ones start over whenever another process
commits and never finish under a steady writer. Under WAL the writer goes on
meanwhile; otherwise it waits.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ArchiveDamaged, Busy, UsageError
from ...events import OnEvent, Phase
from ...interrupts import is_waiting
from ...models import Compression, Format, Route, TableCount
from ...plans import Dumped, DumpPlan, DumpRequest
from ...stores import Draft
from ...stores.files import sync, translated
from ...streams import HashingWriter, compressing, pump
from . import facts, files

if TYPE_CHECKING:
    from . import SqliteEngine

__all__ = ["copy_database", "copy_live", "copy_pages", "dump", "plan_dump"]

SUFFIXES = {Compression.NONE: ".sqlite3", Compression.GZIP: ".sqlite3.gz", Compression.ZSTD: ".sqlite3.zst"}


def plan_dump(engine: SqliteEngine, request: DumpRequest, *, globals_: bool) -> DumpPlan:
    """See `Engine.plan_dump`."""
    _refuse_foreign_flags(request, globals_=globals_)
    compression = request.compression or engine.settings.compression or Compression.NONE
    if compression is Compression.ZSTD:
        with compressing(_Nowhere(), compression):
            pass  # raises MissingExtra now, not after the copy
    facts = engine.facts()
    warnings = () if facts.tables else (f"{engine.target.name} holds no tables",)
    # a file of no bytes is what a lost volume or a wrong path looks like: it must push out no real backup
    nothing = facts.size_bytes == 0
    return DumpPlan(
        request=request,
        format=Format.SQLITE,
        compression=compression,
        suffix=SUFFIXES[compression],
        route=Route.FILE,
        why="SQLite is read directly",
        facts=facts,
        tool_version=engine.tool_version,
        complete=not nothing,
        not_included=("no tables were there: the file is empty",) if nothing else (),
        tables=facts.tables,
        warnings=warnings,
    )


def _refuse_foreign_flags(request: DumpRequest, *, globals_: bool) -> None:
    if request.format not in (None, Format.SQLITE):
        raise UsageError(f"format {request.format} is PostgreSQL's; a SQLite database is backed up as sqlite")
    given = {
        "--table": request.tables,
        "--exclude-table": request.exclude_tables,
        "--exclude-data": request.exclude_data,
        "--schema-only": request.schema_only,
        "--data-only": request.data_only,
        "--no-owner": request.no_owner,
        "--globals": globals_,
        "--jobs": request.jobs,
        "arguments after --": request.extra,
    }
    for flag, value in given.items():
        if value:
            raise UsageError(f"{flag} means nothing for SQLite: the whole file is backed up")


def dump(engine: SqliteEngine, plan: DumpPlan, draft: Draft, on_event: OnEvent) -> Dumped:
    """See `Engine.dump`."""
    on_event(Phase("dump", engine.target.name))
    plain = draft.path if plan.compression is Compression.NONE else draft.folder / "plain"
    copy_live(engine.path, plain, engine.settings.lock_timeout)
    with ThreadPoolExecutor(1, "dbtasks-sync") as pool:
        # the disk writes while the tables are read
        synced = pool.submit(_sync, plain)
        tables, warnings = _describe(plain, engine.path)
        synced.result()
    if plan.compression is Compression.NONE:
        return Dumped(tables, raw_size_bytes=plain.stat().st_size, warnings=warnings)
    raw_size_bytes, sha256 = _compress(plain, draft, plan.compression, on_event)
    return Dumped(tables, raw_size_bytes=raw_size_bytes, sha256=sha256, warnings=warnings)


def copy_live(path: Path, copy: Path, timeout: float) -> None:
    """Copy a database others may be using into a new file of its own: 0600, one file, not synced yet.

    Raises:
        Busy: it stayed locked for `timeout` seconds.
    """
    with files.reading(path, timeout) as source:
        copy_database(source, copy, timeout, blocked=path)


def copy_database(source: sqlite3.Connection, copy: Path, timeout: float, *, blocked: Path) -> None:
    """Copy an open database into a new file of its own: 0600, one file, not synced yet.

    Raises:
        Busy: the source stayed locked for `timeout` seconds.
    """
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with files.translated(copy), files.opened(copy, "rw") as connection:
        # nobody reads it before it is whole, and after a crash it is thrown away: no journal, no waiting for the disk
        connection.execute("PRAGMA journal_mode=OFF").fetchone()
        connection.execute("PRAGMA synchronous=OFF")
        copy_pages(source, connection, timeout, blocked=blocked)
        # a copy that keeps the source's WAL flag would need -wal and -shm beside it to be opened
        connection.execute("PRAGMA journal_mode=DELETE").fetchone()


def _sync(copy: Path) -> None:
    with translated(f"cannot write {copy}"):
        sync(copy)


def copy_pages(
    source: sqlite3.Connection,
    sink: sqlite3.Connection,
    timeout: float,
    *,
    blocked: Path,
    pages: int = -1,
    on_locked: Callable[[], object] | None = None,
) -> None:
    """Copy all pages in one step, repeated while one side is locked.

    `pages`: in steps of so many, fewer than the source has. `on_locked` is called behind the first of them: from
    there to the end nobody else can write into the sink, nothing is committed, and what it raises leaves it as it was.

    Raises:
        Busy: it stayed locked for `timeout` seconds.
    """
    # our own deadline does the waiting: SQLite's would come on top, deaf to Ctrl-C
    source.execute("PRAGMA busy_timeout=0")

    def copy() -> None:
        progress = _deadline(timeout, blocked, on_locked)
        source.backup(sink, pages=pages, progress=progress, sleep=files.POLL_SECONDS)

    files.patiently(copy, timeout, passing=files.COMMITTING)


def _deadline(
    timeout: float, blocked: Path, on_locked: Callable[[], object] | None
) -> Callable[[int, int, int], None]:
    """Bound the wait: Python's backup() itself retries a locked source for ever."""
    end = time.monotonic() + timeout
    waiting = [on_locked] if on_locked else []

    def progress(status: int, remaining: int, total: int) -> None:
        del remaining, total
        if status not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            if waiting:
                waiting.pop()()
            return
        if is_waiting():
            raise KeyboardInterrupt
        if time.monotonic() > end:
            raise Busy(
                f"{blocked} stayed locked for {timeout:g} s",
                hint="wait for the other process, or raise lock_timeout",
            )

    return progress


def _describe(copy: Path, source: Path) -> tuple[tuple[TableCount, ...], tuple[str, ...]]:
    """Count in the copy: it is the snapshot. Foreign keys that do not hold are worth a warning."""
    # what cannot be read in the copy was brought along, page by page
    with files.translated(source):
        examined = facts.examine(copy)
    tables = tuple(TableCount(name, rows) for name, rows in examined.rows.items())
    warnings = [
        f"{table.name} was not counted: its module is not in this SQLite"
        for table in tables
        if table.rows is None
    ]
    return tables, (*warnings, *examined.broken)


def _compress(plain: Path, draft: Draft, codec: Compression, on_event: OnEvent) -> tuple[int, str]:
    total = plain.stat().st_size
    with draft.create() as archive:
        hashing = HashingWriter(archive)
        with compressing(hashing, codec) as sink, plain.open("rb") as source:
            moved = pump(source, sink, total_bytes=total, on_event=on_event)
    if moved != total:
        raise ArchiveDamaged(f"{plain} changed while it was compressed")
    plain.unlink()
    return total, hashing.sha256


class _Nowhere:
    def write(self, data: bytes) -> None:
        del data
