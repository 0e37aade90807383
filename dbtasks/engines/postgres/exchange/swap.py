"""The exchange of names: one transaction, in which the live database is renamed away and the new one in.

The rename comes first and takes the lock that keeps new connections waiting;
sessions that are still there are ended meanwhile, by a second connection.
Clients that reconnect at once cannot win that race, and connecting is never
forbidden: a crash leaves nothing that somebody would have to allow again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ....clock import utc_now
from ....errors import Busy, CannotReach, DbTasksError, OperationFailed, QueryFailed, TargetUnreachable
from ....plans import Kept, LoadPlan, Swapped, TargetState
from ....sessions import Session
from ... import OnKeep
from ..facts import holds_objects
from ..names import before_name
from ..timescale import workers_started_after
from .dropping import END_SESSIONS, IN_USE, drop_with_sessions
from .ties import prepared

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["OID", "bring_in", "outside", "take_place"]

PATIENCE_SECONDS = 60.0
"""Where lock_timeout is 0, which means without limit for locks."""
SESSIONS = """
    SELECT a.pid, a.usename::text, a.application_name FROM pg_catalog.pg_stat_activity a
    WHERE a.datname = %s AND a.usesysid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid()
"""
OID = "SELECT oid::bigint AS oid FROM pg_catalog.pg_database WHERE datname = %s"


@contextmanager
def outside(engine: PostgresEngine) -> Iterator[Session]:
    """Connect to a maintenance database that is not the target itself.

    Raises:
        CannotReach: there is none.
    """
    with engine.maintenance_session() as session:
        ((name,),) = session.rows("SELECT pg_catalog.current_database()::text AS name")
        if name != engine.target.database:
            yield session
            return
    if engine.settings.maintenance_db or name != "postgres":
        raise CannotReach(
            f"{name} is the maintenance database itself, and no database is renamed from inside",
            hint="set maintenance_db to another database of this server, or restore with --in-place",
        )
    with engine.session("template1") as session:
        yield session


def bring_in(
    engine: PostgresEngine,
    plan: LoadPlan,
    new: str,
    *,
    comment: str | None,
    on_live: Callable[[], None],
    on_keep: OnKeep | None = None,
) -> Swapped:
    """Give the new database the live name and keep the old one under another.

    `on_keep` is told the old one's name before the exchange, `on_live` is
    called as soon as it is certain. After a failure the
    live database has its name and its contents.

    Raises:
        Busy: a session could not be ended in time; names it. OperationFailed: the server refused.
    """
    done = take_place(engine, new, comment=comment, on_live=on_live, on_keep=on_keep)
    before, warnings = done.old, list(done.warnings)
    if before is not None and (plan.request.drop_old or plan.state is TargetState.EMPTY):
        emptied = plan.state is TargetState.EMPTY and not plan.request.drop_old
        before = _drop(engine, before, warnings, only_empty=emptied)
    return replace(done, old=before, warnings=tuple(warnings))


def take_place(
    engine: PostgresEngine,
    new: str,
    *,
    comment: str | None,
    on_live: Callable[[], None],
    on_keep: OnKeep | None = None,
) -> Swapped:
    """Exchange the names alone: `new` gets the live one, and what bore that is kept under another.

    Raises:
        Busy, OperationFailed: as `bring_in`.
    """
    with workers_started_after(engine) as warnings:
        done = _take_place(engine, new, comment, on_live, on_keep)
    return replace(done, warnings=tuple(warnings))


def _take_place(
    engine: PostgresEngine,
    new: str,
    comment: str | None,
    on_live: Callable[[], None],
    on_keep: OnKeep | None,
) -> Swapped:
    target = engine.target.database
    with ExitStack() as stack:
        session = stack.enter_context(_until_done(engine))
        # before anybody's session is ended, and once more when the names are about to be others
        engine.prove_claimed(session)
        ended = stack.enter_context(_ending(engine, target, new))
        live = session.rows(OID, (target,))
        before = _free_name(session, target) if live else None
        ((oid,),) = session.rows(OID, (new,))
        former = int(live[0][0]) if live else None
        if before is not None and on_keep is not None:
            on_keep(Kept(before, oid=former, live_oid=int(oid)))
        _rename(engine, session, new, before, comment, oid)
        on_live()
    return Swapped(before, len(ended), old_oid=former, live_oid=int(oid))


@contextmanager
def _until_done(engine: PostgresEngine) -> Iterator[Session]:
    """Connect as `outside` does; what the names were exchanged by may be gone when that is done, and it is done all the same."""
    with ExitStack() as stack:
        yield stack.enter_context(outside(engine))
        needless = stack.pop_all()
    with suppress(DbTasksError):
        needless.close()


def _free_name(session: Session, target: str) -> str:
    now = utc_now()
    taken = {name for (name,) in session.rows("SELECT datname::text AS name FROM pg_catalog.pg_database")}
    attempts = (before_name(target, now, attempt) for attempt in range(len(taken) + 1))
    return next(name for name in attempts if name not in taken)


def _rename(
    engine: PostgresEngine, session: Session, new: str, before: str | None, comment: str | None, oid: int
) -> None:
    """Repeat the exchange until it succeeds or the time is over; the server itself waits 5 s each time."""
    limit = engine.settings.lock_timeout or PATIENCE_SECONDS
    deadline = time.monotonic() + limit
    while True:
        try:
            _exchange(engine, session, new, before, comment)
            return
        except QueryFailed as exc:
            if exc.sqlstate != IN_USE:
                raise _failed(engine, exc) from exc
            if time.monotonic() >= deadline:
                raise _still_used(engine, limit, exc) from exc
        except Busy as exc:
            exc.state = exc.state or f"{engine.target.database} is as it was"
            raise
        except TargetUnreachable as exc:
            # the connection broke: over the COMMIT, or before it?
            if not _certainly_live(engine, oid):
                raise _failed(engine, exc) from exc
            return
        with suppress(DbTasksError):
            session.execute("ROLLBACK")


def _exchange(
    engine: PostgresEngine, session: Session, new: str, before: str | None, comment: str | None
) -> None:
    from psycopg2 import sql

    target = sql.Identifier(engine.target.database)
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    # each time anew: the wait for sessions goes on for long, and they are ended all the while
    engine.prove_claimed(session)
    session.execute("BEGIN")
    if before is not None:
        session.execute(rename.format(target, sql.Identifier(before)))
    session.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(new), sql.Literal(comment)))
    session.execute(rename.format(sql.Identifier(new), target))
    engine.prove_claimed(session)
    session.execute("COMMIT")


def _certainly_live(engine: PostgresEngine, oid: int) -> bool:
    try:
        return _is_live(engine, oid)
    except CannotReach as exc:
        exc.state = "whether the names were exchanged is not known: the server went away over it"
        exc.hint = "start the server; then db.undo --dry-run says which database is live"
        raise


def _is_live(engine: PostgresEngine, oid: int) -> bool:
    with outside(engine) as session:
        return session.rows(OID, (engine.target.database,)) == [(oid,)]


def _failed(engine: PostgresEngine, exc: QueryFailed | TargetUnreachable) -> OperationFailed:
    target = engine.target.database
    return OperationFailed(
        f"the names of {target} and its replacement could not be exchanged: {exc.message}",
        details=exc.details,
        state=f"{target} is as it was",
    )


def _still_used(engine: PostgresEngine, limit: float, exc: QueryFailed) -> Busy:
    target = engine.target.database
    with outside(engine) as session:
        found = session.rows(SESSIONS, (target,))
        # it may have been prepared since the plan was made, and holds the database without any session
        held = prepared(session, target)
    names = ", ".join(
        [f"process {pid} ({user}{f', {name}' if name else ''})" for pid, user, name in found] + held
    )
    return Busy(
        f"{target} was still in use after {limit:g} s: {names or 'its sessions come and go'}",
        details=exc.details,
        state=f"{target} is as it was",
        hint="stop the application, or end these sessions as their owner or a superuser, and try again",
    )


@contextmanager
def _ending(engine: PostgresEngine, target: str, new: str) -> Iterator[set[int]]:
    """End other sessions of both databases over and over while the block runs; yields whose in the live one."""
    ended: set[int] = set()
    stop = threading.Event()

    def end() -> None:
        with suppress(DbTasksError), outside(engine) as session:
            while True:
                found = session.rows(END_SESSIONS, ([target, new],))
                # in the new one there is nobody but us, who may be on the way out still
                ended.update(pid for pid, name in found if name == target)
                if stop.wait(0.05):
                    return

    worker = threading.Thread(target=end, name="dbtasks-sessions", daemon=True)
    worker.start()
    try:
        yield ended
    finally:
        stop.set()
        worker.join()


def _drop(engine: PostgresEngine, old: str, warnings: list[str], *, only_empty: bool) -> str | None:
    """Drop the replaced database; returns its name where it is kept after all."""
    try:
        if only_empty:
            with engine.session(old) as session:
                if holds_objects(session):
                    warnings.append(f"{old} was empty when the restore began; it is kept, it is not any more")
                    return old
        with outside(engine) as session:
            drop_with_sessions(session, old)
    except DbTasksError as exc:
        warnings.append(f"the replaced database is kept as {old}: {exc.message}")
        return old
    return None
