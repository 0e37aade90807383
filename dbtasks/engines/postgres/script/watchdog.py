"""The watchdog of a load: whose lock the load waits for, and the end of the waiting.

Scripts of pg_dump switch lock_timeout off, so a server would wait for ever. A
second connection looks on, ends the load when its time is over, and tells
which sessions held it up and what they said last.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....errors import Busy, CannotReach, DbTasksError, RouteUnavailable
from ....row_values import without_values
from ....sessions import Session
from ..exchange.swap import outside
from ..exchange.ties import prepared

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["Blocker", "held_up", "watched"]

POLL_SECONDS = 0.25
BLOCKERS = """
    SELECT DISTINCT b.pid, a.usename::text AS role, a.application_name AS name, a.state, a.query
    FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(%s)) AS b (pid)
    LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid ORDER BY 1
"""
PREPARED = 0
"""What stands for a prepared transaction's process, which it has none of."""
HIDDEN = "<insufficient privilege>"


@dataclass(frozen=True)
class Blocker:
    """One session, or prepared transaction, that a load waits for."""

    name: str
    statement: str = ""
    """What it runs, or ran last; without values. Empty: not known."""


@contextmanager
def watched(
    engine: PostgresEngine, database: str, pid: int, end: Callable[[], object], blockers: list[Blocker]
) -> Iterator[None]:
    """Look at a session while the block runs; it waits for one lock longer than lock_timeout: end it, and fill `blockers`.

    Raises:
        CannotReach: there is no second connection to look from.
    """
    limit = engine.settings.lock_timeout
    if not limit:
        yield
        return
    stop, stack = threading.Event(), ExitStack()
    session = _lookout(engine, database, stack)

    def watch() -> None:
        blocked_since: float | None = None
        with suppress(DbTasksError):
            while not stop.wait(POLL_SECONDS):
                found = session.rows(BLOCKERS, (pid,))
                now = time.monotonic()
                blocked_since = (blocked_since or now) if found else None
                if blocked_since is not None and now - blocked_since >= limit:
                    try:
                        blockers.extend(_told(session, database, found))
                    finally:
                        end()
                    return

    watcher = threading.Thread(target=watch, name="dbtasks-locks", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
        # what was done is done: a lookout that is gone by now must not turn it into a failure
        with suppress(DbTasksError):
            stack.close()


def _lookout(engine: PostgresEngine, database: str, stack: ExitStack) -> Session:
    """Connect to the database, or to another one of the server where that takes no more connections."""
    try:
        return stack.enter_context(engine.session(database))
    except CannotReach as exc:
        with suppress(CannotReach):
            return stack.enter_context(outside(engine))
        exc.state = f"{database} is as it was"
        if not isinstance(exc, RouteUnavailable):  # a container that has stopped says itself what helps
            exc.hint = (
                "allow the role one more connection, or set lock_timeout=0 to wait for locks without limit"
            )
        raise


def _told(session: Session, database: str, found: Sequence[tuple[object, ...]]) -> Iterator[Blocker]:
    for pid, role, application, state, query in found:
        if pid == PREPARED:
            names = prepared(session, database) or ["a prepared transaction"]
            yield from (Blocker(name) for name in names)
            continue
        who = ", ".join(str(text) for text in (role, application, state) if text)
        known = "" if query in (None, HIDDEN) else without_values(str(query))
        yield Blocker(f"process {pid} ({who})" if who else f"process {pid}", known)


def held_up(engine: PostgresEngine, database: str, blockers: Sequence[Blocker]) -> Busy:
    """Say who held a load up; nothing of it stays."""
    return Busy(
        f"the load into {database} waited {engine.settings.lock_timeout:g} s for a lock held by"
        f" {', '.join(blocker.name for blocker in blockers)}",
        details="\n".join(f"{b.name}: {b.statement}" for b in blockers if b.statement),
        state=f"{database} is as it was",
        hint="end that session or let it finish, or raise lock_timeout",
    )
