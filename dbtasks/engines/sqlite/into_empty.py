"""Copying into a file that was planned empty, and so has no safety backup: the look and the copy under one hold of its lock.

A look before the lock shows what was there before a transaction that is open; the
copy would then wait for just that one, and overwrite what it committed.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ...plans import TargetState, not_as_planned
from . import facts, files
from .dump import copy_pages
from .live_transaction import rolled_back

__all__ = ["copy_into_empty"]

STEP = 256
"""Pages of a step under WAL: as fast as all in one, and the look comes soon."""


def copy_into_empty(
    source: sqlite3.Connection, live: sqlite3.Connection, timeout: float, *, blocked: Path
) -> None:
    """Copy as `copy_pages` does, into a file in which nobody has made anything up to the moment it is written.

    Raises:
        Refused: somebody has; nothing was written. Busy: it stayed locked for `timeout` seconds.
    """
    ((pages,),) = source.execute("PRAGMA page_count").fetchall()
    if pages == 1:
        # there is no moment between two steps to look in: nobody else may have it open, whatever its journal
        _keep_locked(live)
    files.patiently(lambda: live.execute("BEGIN EXCLUSIVE"), timeout)
    with rolled_back(live):
        _prove_empty(live, blocked)
        ((mode,),) = live.execute("PRAGMA journal_mode").fetchall()
        if mode != "wal":
            # not before BEGIN: while it waits it would keep the lock that others need to end
            _keep_locked(live)
    if mode != "wal" or pages == 1:
        copy_pages(source, live, timeout, blocked=blocked)
        return

    def look() -> None:
        # the copy has the lock of writers; a reader beside it sees what was committed last
        with files.reading(blocked, timeout) as beside:
            _prove_empty(beside, blocked)

    copy_pages(source, live, timeout, blocked=blocked, pages=min(STEP, pages - 1), on_locked=look)


def _keep_locked(live: sqlite3.Connection) -> None:
    """Keep a lock once it is taken, also between two transactions, until the connection is closed."""
    live.execute("PRAGMA locking_mode=EXCLUSIVE").fetchone()


def _prove_empty(connection: sqlite3.Connection, path: Path) -> None:
    if facts.count_objects(connection):
        raise not_as_planned(path.name, TargetState.EMPTY, TargetState.PRESENT)
