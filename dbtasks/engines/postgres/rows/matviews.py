"""Materialized views over tables whose rows change: found, named, and filled anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ....errors import QueryFailed
from ....events import OnEvent, Phase
from ....schemas import quoted, table_name
from ....sessions import Session

__all__ = ["matviews_over", "matviews_reading", "refresh"]

# a partitioned table, or one that others inherit from, shows the rows of those below it
# through views and other materialized views, the nearest first: so they are to be refreshed; views may lead in circles
READERS = """
    WITH RECURSIVE showing (oid) AS (
        SELECT o FROM pg_catalog.unnest(%s::oid[]) o
        UNION SELECT i.inhparent FROM showing s JOIN pg_catalog.pg_inherits i ON i.inhrelid = s.oid),
    readers (oid, depth) AS (
        SELECT s.oid, 0 FROM showing s
        UNION
        SELECT w.ev_class, r.depth + 1 FROM readers r JOIN pg_catalog.pg_depend d ON d.refobjid = r.oid
            AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
            AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid AND w.ev_type = '1' AND w.ev_class <> r.oid
        WHERE r.depth < 64)
"""
NAMED = """
    SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname) AS name
    FROM readers r JOIN pg_catalog.pg_class c ON c.oid = r.oid AND c.relkind = 'm'
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace GROUP BY 1 ORDER BY max(r.depth), 1
"""
WITH_ROWS = """
    SELECT n.nspname::text AS schema, c.relname::text AS name,
           CASE WHEN pg_catalog.pg_has_role(c.relowner, 'USAGE') THEN '' ELSE pg_catalog.pg_get_userbyid(c.relowner)::text END
    FROM readers r JOIN pg_catalog.pg_class c ON c.oid = r.oid AND c.relkind = 'm' AND c.relispopulated
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace GROUP BY c.oid, 1, 2, 3 ORDER BY max(r.depth), 1, 2
"""


def matviews_reading(session: Session, oids: Sequence[int]) -> tuple[str, ...]:
    """Return the names of all that read these tables as SQL, each behind those it reads."""
    return tuple(str(name) for (name,) in session.rows(READERS + NAMED, (list(oids),)))


def matviews_over(session: Session, oids: Sequence[int]) -> tuple[tuple[str, str, str], ...]:
    """Return those of them that have rows, in that order: schema, name, and whose they are where they are not ours."""
    rows = session.rows(READERS + WITH_ROWS, (list(oids),))
    return tuple((schema, name, owner) for schema, name, owner in rows)


def refresh(session: Session, found: Iterable[tuple[str, str, str]], on_event: OnEvent) -> None:
    """Fill those that are ours, in the caller's transaction, with names looked up as in the application's sessions.

    Raises:
        QueryFailed: the query of one fails over the rows that are there now; names it.
    """
    from psycopg2 import sql

    for schema, name, owner in found:
        if not owner:
            on_event(Phase("refresh", name))
            try:
                session.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(sql.Identifier(schema, name)))
            except QueryFailed as exc:
                view = table_name(schema, name)
                raise QueryFailed(
                    f"the materialized view {view} cannot be filled: {exc.message}",
                    sqlstate=exc.sqlstate,
                    details=exc.details,
                    hint=f"one without rows is left so: REFRESH MATERIALIZED VIEW {quoted(schema, name)} WITH NO DATA, then again",
                ) from exc
