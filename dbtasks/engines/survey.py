"""What db.info asks a database beyond the facts every dump needs: sizes by table, since when it runs, TimescaleDB.

Only reads, waits for no lock, and never fails: what cannot be learnt says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DbTasksError
from ..models import SqliteTarget
from . import Engine

if TYPE_CHECKING:
    from ..sessions import Session

__all__ = ["LARGEST", "Survey", "TableSize", "survey"]

LARGEST = 5
"""How many tables are named."""

# A partitioned table is as large as its partitions; indexes and TOAST are counted in.
SIZES = """
    SELECT n.nspname, r.relname, s.bytes
    FROM (SELECT COALESCE(pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid, c.oid) AS root,
                 sum(pg_catalog.pg_total_relation_size(c.oid))::pg_catalog.int8 AS bytes
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
            AND pg_catalog.left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'
          GROUP BY 1) s
    JOIN pg_catalog.pg_class r ON r.oid = s.root JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
    ORDER BY s.bytes DESC, 1, 2 LIMIT %(limit)s
"""
STARTED = "SELECT extract(epoch FROM pg_catalog.pg_postmaster_start_time())::pg_catalog.float8"
TIMESCALE = """
    SELECT default_version FROM pg_catalog.pg_available_extensions WHERE name = 'timescaledb'
"""
# Of a table's pages and those of its indexes; the module is not in every build of SQLite.
SQLITE_SIZES = """
    SELECT m.tbl_name, sum(s.pgsize) FROM sqlite_master m
    JOIN dbstat s ON s.name = m.name AND s.aggregate = TRUE
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
    # asking for a table's size waits for whoever rebuilds it
    session.execute("SET lock_timeout = '500ms'")
    try:
        rows = session.rows(SIZES, {"limit": LARGEST})
        largest = tuple(TableSize(table_name(schema, name), int(size)) for schema, name, size in rows)
    except DbTasksError as exc:
        unknown = exc.message
    return Survey(
        largest=largest,
        sizes_unknown=unknown,
        started_at=datetime.fromtimestamp(float(epoch), UTC),
        timescale_available=str(available[0][0]) if available else "",
    )


def _of_sqlite(path: Path) -> Survey:
    import sqlite3

    from .sqlite import files

    with files.reading(path, 0.5) as connection:
        try:
            rows = connection.execute(SQLITE_SIZES, (LARGEST,)).fetchall()
        except sqlite3.OperationalError as exc:
            return Survey(sizes_unknown=f"this SQLite does not tell them ({exc})")
    return Survey(tuple(TableSize(str(name), int(size)) for name, size in rows))
