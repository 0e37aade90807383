"""Which tables are hypertables of TimescaleDB, and which are only their inside.

To PostgreSQL a hypertable is an empty table from which its chunks inherit. Its
rows are counted, and named, as those of the one table they are to everybody else.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...sessions import Session

__all__ = ["SCHEMAS", "Hypertables", "catalog_tables", "look_for_hypertables"]

SCHEMAS = "_timescaledb_"
"""How the names of TimescaleDB's own schemas begin. Anybody's may begin so: they are its own where the extension is."""
THERE = """
    SELECT EXISTS (SELECT FROM pg_catalog.pg_extension x WHERE x.extname = 'timescaledb') AND EXISTS (
        SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = '_timescaledb_catalog' AND c.relname = 'hypertable') AS there
"""
TREES = """
    WITH hyper AS (
        SELECT c.oid FROM _timescaledb_catalog.hypertable h
        JOIN pg_catalog.pg_namespace n ON n.nspname = h.schema_name
        JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = h.table_name)
    SELECT hyper.oid, true AS is_hyper FROM hyper
    UNION ALL
    SELECT i.inhrelid, false FROM pg_catalog.pg_inherits i JOIN hyper ON hyper.oid = i.inhparent
"""
CATALOG = """
    SELECT c.relname::text AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = '_timescaledb_catalog' AND c.relkind = 'r'
      AND EXISTS (SELECT FROM pg_catalog.pg_extension x WHERE x.extname = 'timescaledb')
"""


@dataclass(frozen=True)
class Hypertables:
    """The tables of one database, by their oids."""

    roots: frozenset[int] = frozenset()
    chunks: frozenset[int] = frozenset()
    are_there: bool = False
    """Whether the database has TimescaleDB."""

    def is_hypertable(self, oid: int, schema: str) -> bool:
        """Whether it is one that somebody made; those behind continuous aggregates and compression are inside."""
        return oid in self.roots and not schema.startswith(SCHEMAS)

    def is_inside(self, oid: int, schema: str) -> bool:
        """Whether it is part of another table, or TimescaleDB's own."""
        return self.are_there and (oid in self.chunks or schema.startswith(SCHEMAS))


def look_for_hypertables(session: Session) -> Hypertables:
    """Ask TimescaleDB's catalog, where the extension is installed."""
    ((there,),) = session.rows(THERE)
    if not there:
        return Hypertables()
    found = [(int(oid), bool(is_hyper)) for oid, is_hyper in session.rows(TREES)]
    return Hypertables(
        roots=frozenset(oid for oid, is_hyper in found if is_hyper),
        chunks=frozenset(oid for oid, is_hyper in found if not is_hyper),
        are_there=True,
    )


def catalog_tables(session: Session) -> frozenset[str]:
    """Name the tables of TimescaleDB's catalog, without their schema, as pg_dump names them in its warnings."""
    return frozenset(str(name) for (name,) in session.rows(CATALOG))
