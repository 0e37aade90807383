"""Rows that lead nowhere, and all that lead to them: found by the server at once, however long the chains are.

What refers to what is written down once, row by row, beside the tables; then one
query walks it. A row is known by where it lies, and so none may move meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ....sessions import PsycopgSession
from ..foreign_keys import Reference, meets, orphan, place_of

if TYPE_CHECKING:
    from psycopg2.sql import Composable

__all__ = ["cascade"]

MAY = "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMP') AS may"
MADE = "CREATE TEMPORARY TABLE dbtasks_leads (place text NOT NULL, key int4 NOT NULL, towards text) ON COMMIT DROP"
KNOWN = "CREATE INDEX ON pg_temp.dbtasks_leads (towards)"
LOOKED_AT = "ANALYZE pg_temp.dbtasks_leads"
# OFFSET 0: each row is looked up by the index, whatever number of them the planner expects
LOST = """
    CREATE TEMPORARY TABLE dbtasks_lost ON COMMIT DROP AS
    WITH RECURSIVE lost (place) AS (
        SELECT place FROM pg_temp.dbtasks_leads WHERE towards IS NULL
        UNION
        SELECT f.place FROM lost, LATERAL (
            SELECT l.place FROM pg_temp.dbtasks_leads l WHERE l.towards = lost.place OFFSET 0
        ) f
    )
    SELECT DISTINCT ON (l.place) l.place, l.key FROM pg_temp.dbtasks_leads l
    WHERE l.towards IS NULL OR l.towards IN (SELECT place FROM lost)
    ORDER BY l.place, l.towards NULLS FIRST, l.key
"""


def cascade(session: PsycopgSession, keys: Sequence[Reference]) -> list[tuple[Reference, Composable]]:
    """Return which rows, `f`, each key turns down when all that lead nowhere are left out, and what leads to them.

    Every row stands behind one key only: the one by which it leads nowhere itself, where it does. The answers hold in
    this transaction, until rows are written. Without the right to temporary tables only the first of them are found:
    ask again when they are deleted, until there are none.
    """
    from psycopg2 import sql

    if session.rows(MAY) != [(True,)]:
        return [(one, orphan(one)) for one in keys]
    session.execute("DROP TABLE IF EXISTS pg_temp.dbtasks_lost")
    session.execute(MADE)
    written = sql.SQL("INSERT INTO pg_temp.dbtasks_leads SELECT {}, {}, {} FROM {} f")
    lost: set[tuple[str, str]] = set()
    for number, one in enumerate(keys):
        place = place_of(one.schema, one.table, one.kind)
        first = written.format(_where("f"), sql.Literal(number), sql.SQL("NULL"), place)
        session.execute(first + sql.SQL(" WHERE ") + orphan(one))
    for (number,) in session.rows("SELECT DISTINCT key FROM pg_temp.dbtasks_leads"):
        lost.add((keys[number].schema, keys[number].table))
    for number in _leading(keys, lost):
        one = keys[number]
        place = place_of(one.schema, one.table, one.kind)
        other = place_of(one.other_schema, one.other, one.other_kind)
        each = written.format(_where("f"), sql.Literal(number), _where("p"), place)
        session.execute(each + sql.SQL(" JOIN {} p ON ").format(other) + meets(one))
    for statement in (KNOWN, LOOKED_AT, LOST, "ANALYZE pg_temp.dbtasks_lost"):
        session.execute(statement)
    session.execute("DROP TABLE pg_temp.dbtasks_leads")
    among = sql.SQL("{} IN (SELECT l.place FROM pg_temp.dbtasks_lost l WHERE l.key = {})")
    found = {int(number) for (number,) in session.rows("SELECT DISTINCT key FROM pg_temp.dbtasks_lost")}
    return [(keys[number], among.format(_where("f"), sql.Literal(number))) for number in sorted(found)]


def _where(alias: str) -> Composable:
    """Say where a row lies: of a partitioned table in which partition, too."""
    from psycopg2 import sql

    return sql.SQL("({0}.tableoid::pg_catalog.text || {0}.ctid::pg_catalog.text)").format(sql.SQL(alias))


def _leading(keys: Sequence[Reference], lost: set[tuple[str, str]]) -> list[int]:
    """Return the keys that lead to tables that lose rows, or come to lose some by these."""
    found: list[int] = []
    grows = True
    while grows:
        more = [
            number
            for number, one in enumerate(keys)
            if number not in found and (one.other_schema, one.other) in lost
        ]
        lost |= {(keys[number].schema, keys[number].table) for number in more}
        found += more
        grows = bool(more)
    return found
