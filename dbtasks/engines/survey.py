"""What db.info asks a database beyond the facts every dump needs: sizes by table, since when it runs, TimescaleDB.

Only reads, waits for no lock, and never fails: what cannot be learnt says why.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Busy, DbTasksError
from ..models import DatabaseFacts, SqliteTarget
from . import Engine

if TYPE_CHECKING:
    from ..sessions import Session

__all__ = [
    "LARGEST",
    "LOCK_SECONDS",
    "Survey",
    "TableSize",
    "facts_beside_locks",
    "survey",
    "what_is_wrong",
]

LARGEST = 5
"""How many tables are named."""
LOCK_SECONDS = 0.5
"""How long db.info waits for a lock that somebody holds."""
READ_SECONDS = 2.0
"""How long it reads a SQLite file for the sizes of its tables: every page has to be looked at."""

# A table is as large as its partitions and the tables that inherit from it; indexes and TOAST are counted in.
SIZES = """
    WITH RECURSIVE tree (oid, root) AS (
        SELECT c.oid, c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
          AND pg_catalog.left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid)
        UNION
        SELECT i.inhrelid, tree.root FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid
    )
    SELECT n.nspname, r.relname, s.bytes
    FROM (SELECT t.root, sum(pg_catalog.pg_total_relation_size(t.oid))::pg_catalog.int8 AS bytes
          FROM (SELECT tree.oid, min(tree.root) AS root FROM tree GROUP BY 1) t GROUP BY 1) s
    JOIN pg_catalog.pg_class r ON r.oid = s.root JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
    ORDER BY s.bytes DESC, 1, 2 LIMIT %(limit)s
"""
LOCKED = """
    SELECT DISTINCT n.nspname, c.relname, a.pid, a.application_name
    FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
    JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database()
    WHERE l.granted AND l.mode = 'AccessExclusiveLock' AND l.pid <> pg_catalog.pg_backend_pid()
      AND c.relkind IN ('r', 'p', 'm') AND pg_catalog.left(n.nspname, 3) <> 'pg_'
    ORDER BY 1, 2, 3
"""
STARTED = "SELECT extract(epoch FROM pg_catalog.pg_postmaster_start_time())::pg_catalog.float8"
TIMESCALE = """
    SELECT default_version FROM pg_catalog.pg_available_extensions WHERE name = 'timescaledb'
"""
# Of a table's pages and those of its indexes; the module is not in every build of SQLite.
# Page by page, since a whole table at once could not be broken off.
SQLITE_SIZES = """
    SELECT m.tbl_name, sum(s.pgsize) FROM sqlite_master m
    JOIN dbstat s ON s.name = m.name
    WHERE m.tbl_name NOT LIKE 'sqlite\\_%' ESCAPE '\\' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?
"""


@dataclass(frozen=True)
class TableSize:
    """One table with all that belongs to it: indexes, partitions, large values."""

    name: str
    size_bytes: int


@dataclass(frozen=True)
class Survey:
    """What was learnt."""

    largest: tuple[TableSize, ...] = ()
    """The largest tables, largest first."""
    sizes_unknown: str = ""
    """Why their sizes are not known; empty where they are."""
    started_at: datetime | None = None
    """When the server was started."""
    timescale_available: str = ""
    """The version of TimescaleDB that the server could install; empty where it has none."""
    locked: tuple[str, ...] = ()
    """Tables that nobody can read now and who holds them; asked only where one stood in the way."""


def survey(engine: Engine) -> Survey:
    """Ask a database that answers."""
    from .postgres import PostgresEngine

    try:
        if isinstance(engine, PostgresEngine):
            with engine.session() as session:
                return _of_postgres(session)
        if isinstance(engine.target, SqliteTarget):
            return _of_sqlite(engine.target.path)
    except DbTasksError as exc:
        return Survey(sizes_unknown=exc.message)
    return Survey(sizes_unknown="this engine does not tell them")


def _of_postgres(session: Session) -> Survey:
    from .postgres.facts import table_name

    ((epoch,),) = session.rows(STARTED)
    available = session.rows(TIMESCALE)
    largest: tuple[TableSize, ...] = ()
    unknown = ""
    locked: tuple[str, ...] = ()
    # asking for a table's size waits for whoever rebuilds it
    session.execute(f"SET lock_timeout = '{int(LOCK_SECONDS * 1000)}ms'")
    try:
        rows = session.rows(SIZES, {"limit": LARGEST})
        largest = tuple(TableSize(table_name(schema, name), int(size)) for schema, name, size in rows)
    except Busy:
        unknown, locked = "a table is locked", _locked(session)
    except DbTasksError as exc:
        unknown = exc.message
    return Survey(
        largest=largest,
        sizes_unknown=unknown,
        started_at=datetime.fromtimestamp(float(epoch), UTC),
        timescale_available=str(available[0][0]) if available else "",
        locked=locked,
    )


def _locked(session: Session) -> tuple[str, ...]:
    """Name what is locked against reading, with the process that holds it."""
    from .postgres.facts import table_name

    return tuple(
        f"{table_name(schema, name)} is locked by process {pid}"
        + (f" ({application})" if application else "")
        for schema, name, pid, application in session.rows(LOCKED)
    )


def facts_beside_locks(engine: Engine) -> DatabaseFacts | None:
    """Return the facts that no lock stands in the way of: all but the migration's revision.

    None where nothing can be learnt beside a lock: a SQLite file is locked as a whole.

    Raises:
        CannotReach: the connection broke.
    """
    from .postgres import PostgresEngine
    from .postgres.facts import database_facts

    if not isinstance(engine, PostgresEngine):
        return None
    with engine.session() as session:
        return database_facts(session, with_revision=False)


def what_is_wrong(engine: Engine) -> str:
    """Say in a few words why a database counts as damaged; empty where it says nothing."""
    from .postgres import PostgresEngine
    from .postgres.facts import holds_objects

    try:
        if isinstance(engine, PostgresEngine):
            with engine.session() as session:
                holds_objects(session)
        elif isinstance(engine.target, SqliteTarget):
            return _sqlite_damage(engine.target.path)
    except DbTasksError as exc:
        return (exc.details or exc.message).strip().partition("\n")[0]
    return ""


def _sqlite_damage(path: Path) -> str:
    from .sqlite import facts, files

    with files.reading(path, LOCK_SECONDS) as connection:
        found = facts.integrity_problems(connection, facts.which_check(path.stat().st_size))
    # SQLite puts several lines into one finding, the first of them a heading
    lines = [line for text in found for line in text.splitlines() if not line.startswith("***")]
    return lines[0] if lines else ""


def _of_sqlite(path: Path) -> Survey:
    import sqlite3

    from .sqlite import files

    with files.reading(path, LOCK_SECONDS) as connection:
        end = time.monotonic() + READ_SECONDS
        connection.set_progress_handler(lambda: time.monotonic() > end, 1000)
        try:
            rows = connection.execute(SQLITE_SIZES, (LARGEST,)).fetchall()
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                return Survey(sizes_unknown=f"the file is too large to look through in {READ_SECONDS:g} s")
            return Survey(sizes_unknown=f"this SQLite does not tell them ({exc})")
    return Survey(tuple(TableSize(str(name), int(size)) for name, size in rows))
