"""What every dump holds on to: the tables it wants, locked so that nobody empties or rewrites them under its snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from ....errors import Busy, DbTasksError
from ....models import Format
from ....plans import DumpRequest
from ....sessions import Session
from ..facts import HYPERTABLE, PARTITIONED, TABLE, Relation, reading_snapshot, relations
from ..tables import Selection, select_tables

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["UNTOUCHED", "blocked", "held_still", "lock_tables", "table_sizes", "wanted_tables"]

UNTOUCHED = "nothing was published; earlier backups are untouched"
ATTEMPTS = 5
LOCKED_AT_ONCE = 200
SIZES = "SELECT oid, pg_catalog.pg_table_size(oid) FROM pg_catalog.pg_class WHERE oid = ANY (%s)"
SIZES_OF_CHUNKS = """
    SELECT inhparent, pg_catalog.sum(pg_catalog.pg_table_size(inhrelid))::bigint AS bytes
    FROM pg_catalog.pg_inherits WHERE inhparent = ANY (%s) GROUP BY 1
"""
BLOCKERS = """
    SELECT l.relation, a.pid, a.usename, a.application_name, l.granted
    FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
    WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.relation = ANY (%s)
      AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    ORDER BY l.granted DESC, a.xact_start
"""

Found = TypeVar("Found")


def wanted_tables(
    engine: PostgresEngine, request: DumpRequest, format_: Format, session: Session
) -> Selection:
    """Look up what a request and the settings want among the tables there are now.

    Raises:
        UsageError: as `select_tables`.
    """
    settings = engine.settings
    return select_tables(
        session,
        relations(session),
        request,
        exclude_tables=settings.exclude_tables,
        exclude_data=settings.exclude_data,
        large_objects=format_ is not Format.ROWS,
    )


def lock_tables(session: Session, dumped: Sequence[Relation]) -> None:
    """Lock tables so that nobody empties or rewrites them under the snapshot (pg_dump's own lock comes later).

    LOCK takes no snapshot: the one exported afterwards is younger than the locks.
    """
    from psycopg2 import sql

    tables = [relation for relation in dumped if relation.kind in (TABLE, PARTITIONED, HYPERTABLE)]
    for start in range(0, len(tables), LOCKED_AT_ONCE):
        names = sql.SQL(", ").join(
            # a hypertable's chunks are locked with it
            sql.SQL("" if table.kind == HYPERTABLE else "ONLY ") + sql.Identifier(table.schema, table.name)
            for table in tables[start : start + LOCKED_AT_ONCE]
        )
        session.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))


@contextmanager
def held_still(
    engine: PostgresEngine,
    session: Session,
    look: Callable[[], tuple[Found, Sequence[Relation]]],
    state: str = UNTOUCHED,
) -> Iterator[Found]:
    """Lock what `look` finds, then take the snapshot; both last as long as the block.

    `look` returns what it found, and the tables in it. One that appeared in between is in the
    snapshot and not locked: then all is begun again.

    Raises:
        Busy: a table was not given in time; names who holds it.
    """
    for _ in range(ATTEMPTS):
        _, before = look()
        with reading_snapshot(session):
            try:
                lock_tables(session, before)
            except Busy as exc:
                busy = blocked(engine, before, exc)
                busy.state = state
                raise busy from exc
            # the first query takes the snapshot: a lock takes none
            found, tables = look()
            if {table.oid for table in tables} <= {table.oid for table in before}:
                yield found
                return
    raise Busy(
        f"tables of {engine.target.name} are made faster than they can be locked",
        hint="try again when no migration is running",
        state=state,
    )


def table_sizes(session: Session, tables: Sequence[Relation]) -> dict[int, int]:
    """Return by number how many bytes each of these tables takes, a hypertable its chunks."""
    sizes: dict[int, int] = dict(session.rows(SIZES, ([table.oid for table in tables],)))
    hypertables = [table.oid for table in tables if table.kind == HYPERTABLE]
    return sizes | dict(session.rows(SIZES_OF_CHUNKS, (hypertables,))) if hypertables else sizes


def blocked(engine: PostgresEngine, tables: Sequence[Relation], exc: DbTasksError) -> Busy:
    """Name who holds, or waits for, the only lock a dump cannot live with."""
    names = {table.oid: str(table) for table in tables}
    with engine.session() as session:
        found = session.rows(BLOCKERS, (list(names),))
    lines = [
        f"{names[oid]}: process {pid} ({user}{f', {application}' if application else ''})"
        f" {'holds' if granted else 'waits for'} an ACCESS EXCLUSIVE lock"
        for oid, pid, user, application, granted in found
    ]
    who = lines[0] if lines else "the lock is free again by now"
    return Busy(
        f"a table of {engine.target.name} stayed locked for {engine.settings.lock_timeout:g} s: {who}",
        details="\n".join(lines[1:] or [exc.details]),
        state=UNTOUCHED,
        hint="let that transaction end, or raise lock_timeout",
    )
