"""The rows of a PostgreSQL database for a comparison row by row: by psycopg2, in one read-only snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...models import EngineName
from ...rows.comparison.held import HeldRows, SourceRows
from ...rows.postgres.source import PostgresSource
from ...sessions import Session
from .direct import direct_session
from .dumping.held_tables import held_still
from .facts import COUNTED, HYPERTABLE, PARTITIONED, Relation, relations

if TYPE_CHECKING:
    from . import PostgresEngine

__all__ = ["live_rows"]

UNREADABLE = """
    SELECT c.oid FROM pg_catalog.pg_class c WHERE c.oid = ANY (%s)
      AND NOT (pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))
"""
FILTERED = (
    "SELECT oid FROM pg_catalog.unnest(%s::pg_catalog.oid[]) oid WHERE pg_catalog.row_security_active(oid)"
)
NO_RIGHT = "this role may not read it"
HIDDEN = "row-level security hides rows of it from this role"


@contextmanager
def live_rows(engine: PostgresEngine) -> Iterator[HeldRows]:
    """See `Engine.held_rows`: the tables are locked as for a backup, which only holds off who would empty or alter them.

    Values come under fixed settings, whatever those of the role are.
    """
    with direct_session(engine) as session:

        def look() -> tuple[tuple[list[Relation], dict[str, str]], list[Relation]]:
            tables, unread = _readable(session)
            return (tables, unread), tables

        with held_still(engine, session, look, state="nothing was touched") as (tables, unread):
            source = PostgresSource(
                session,
                [table.oid for table in tables],
                # their keys are those of their partitions
                without_rows=[table.oid for table in relations(session) if table.kind == PARTITIONED],
                with_children=[table.oid for table in tables if table.kind == HYPERTABLE],
            )
            yield SourceRows(EngineName.POSTGRESQL, source, unread, tuple(unread))


def _readable(session: Session) -> tuple[list[Relation], dict[str, str]]:
    """Return the tables whose rows may be read, and by their names those whose rows may not, with the reason."""
    tables = [relation for relation in relations(session) if relation.kind in COUNTED]
    oids = [table.oid for table in tables]
    why = {oid: HIDDEN for (oid,) in session.rows(FILTERED, (oids,))}
    why |= {oid: NO_RIGHT for (oid,) in session.rows(UNREADABLE, (oids,))}
    unread = {str(table): why[table.oid] for table in tables if table.oid in why}
    return [table for table in tables if table.oid not in why], unread
