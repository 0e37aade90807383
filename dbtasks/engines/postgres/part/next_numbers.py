"""Sequences after the rows of tables came back: no number is given out twice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from ....sessions import Session
from ..facts import table_name
from ..script.statements import Name, quoted

__all__ = ["Use", "beyond", "edge", "hold", "next_number", "raise_sequences", "told_by", "uses"]

USED = """
    SELECT DISTINCT sn.nspname::text AS s1, s.relname::text AS s2, tn.nspname::text AS t1, t.relname::text AS t2,
           a.attname::text AS c, q.seqincrement AS step, q.seqmin AS lowest, q.seqmax AS highest,
           a.atttypid IN ('pg_catalog.int2'::pg_catalog.regtype, 'pg_catalog.int4'::pg_catalog.regtype,
                          'pg_catalog.int8'::pg_catalog.regtype) AS integral,
           pg_catalog.pg_get_userbyid(s.relowner)::text AS owner, pg_catalog.pg_has_role(s.relowner, 'USAGE') AS ours,
           pg_catalog.has_schema_privilege(sn.oid, 'USAGE') AND pg_catalog.has_sequence_privilege(s.oid, 'SELECT') AS seen
    FROM pg_catalog.pg_depend d
    LEFT JOIN pg_catalog.pg_attrdef f ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND f.oid = d.objid
    JOIN pg_catalog.pg_class s ON s.oid = CASE WHEN f.oid IS NULL THEN d.objid ELSE d.refobjid END AND s.relkind = 'S'
    JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid AND NOT q.seqcycle
    JOIN pg_catalog.pg_attribute a ON a.attrelid = coalesce(f.adrelid, d.refobjid)
        AND a.attnum = coalesce(f.adnum, d.refobjsubid) AND a.attnum > 0
    JOIN pg_catalog.pg_class t ON t.oid = a.attrelid
    JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
    WHERE a.attrelid = ANY (%s)
      AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
      AND (f.oid IS NOT NULL OR (d.classid = d.refclassid AND d.deptype IN ('a', 'i')))
"""
VALUE = re.compile(r", (-?\d+), (true|false)\);\s*\Z")


class Use(NamedTuple):
    """A column that a sequence fills."""

    schema: str
    name: str
    table_schema: str
    table: str
    column: str
    step: int
    lowest: int
    highest: int
    integral: bool
    owner: str
    ours: bool
    seen: bool

    def __str__(self) -> str:
        return table_name(self.schema, self.name)


def uses(session: Session, oids: list[int]) -> list[Use]:
    """Return which sequences fill which columns of these tables; one that cycles gives out numbers twice on purpose."""
    return [Use(*row) for row in session.rows(USED, (oids,))]


def told_by(statements: Mapping[Name, str]) -> dict[Name, tuple[int, bool]]:
    """Read where a backup's setval statements let its sequences stand."""
    found = {name: VALUE.search(text) for name, text in statements.items()}
    return {name: (int(one[1]), one[2] == "true") for name, one in found.items() if one}


def raise_sequences(
    session: Session,
    oids: list[int],
    values: Mapping[Name, tuple[int, bool]],
    columns: Mapping[Name, tuple[Name, str]],
) -> tuple[str, ...]:
    """Move each sequence of these tables beyond what the backup recorded and what the rows hold; never back.

    `values` holds where the backup's sequences stood and whether that number was given out, `columns` which column each of its sequences fills.
    Returns what is to be said of those that could not be moved.
    """
    by_column = {column: sequence for sequence, column in columns.items()}
    said = []
    for use in uses(session, oids):
        table, fallback = (use.table_schema, use.table), (use.schema, use.name)
        recorded = values.get(by_column.get((table, use.column), fallback))
        told = None if recorded is None else recorded[0] + (use.step if recorded[1] else 0)
        said += _raise(session, use, told, edge(session, use))
    return tuple(dict.fromkeys(said))


def _raise(session: Session, use: Use, told: int | None, used: int | None) -> list[str]:
    from psycopg2 import sql

    sequence, where = sql.Identifier(use.schema, use.name), table_name(use.table_schema, use.table)
    if not use.seen:
        return [
            f"the sequence {use} belongs to {use.owner} and cannot be looked at: it may give out numbers that {where} has"
        ]
    now = next_number(session, use)
    wanted = _wanted(use, now, told, used)
    if wanted == now:
        return []
    if not use.lowest <= wanted <= use.highest:
        end = use.highest if use.step > 0 else use.lowest
        return [
            f"the sequence {use} was not moved and gives out numbers that {where} has: the first free one would be {wanted}, its last one is {end}"
        ]
    if not use.ours:
        return [
            f"the sequence {use} belongs to {use.owner}, was not moved and gives out numbers that {where} has:"
            f" ALTER SEQUENCE {quoted(use.schema)}.{quoted(use.name)} RESTART WITH {wanted};"
        ]
    # it may have gone on since it was looked at
    hold(session, (use.schema, use.name), use.step)
    now = next_number(session, use)
    wanted = _wanted(use, now, told, used)
    if wanted != now:
        session.execute(sql.SQL("ALTER SEQUENCE {} RESTART WITH {}").format(sequence, sql.Literal(wanted)))
    return []


def hold(session: Session, name: Name, step: int) -> None:
    """Let whoever takes numbers of a sequence of ours wait until the transaction ends; nothing is changed, and `step` is its own."""
    from psycopg2 import sql

    session.execute(
        sql.SQL("ALTER SEQUENCE {} INCREMENT BY {}").format(sql.Identifier(*name), sql.Literal(step))
    )


def next_number(session: Session, use: Use) -> int:
    """Return the number that the sequence gives out next."""
    from psycopg2 import sql

    query = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(use.schema, use.name))
    ((last, called),) = session.rows(query)
    return int(last) + (use.step if called else 0)


def edge(session: Session, use: Use) -> int | None:
    """Return the number in the rows that is farthest on."""
    from psycopg2 import sql

    if not use.integral:
        return None
    query = sql.SQL("SELECT {}({}) AS edge FROM {}").format(
        sql.SQL("max" if use.step > 0 else "min"),
        sql.Identifier(use.column),
        sql.Identifier(use.table_schema, use.table),
    )
    ((edge,),) = session.rows(query)
    return None if edge is None else int(edge)


def _wanted(use: Use, now: int, told: int | None, used: int | None) -> int:
    farthest = max if use.step > 0 else min
    return beyond(now if told is None else farthest(now, told), used, use.step)


def beyond(number: int, used: int | None, step: int) -> int:
    """Return the first number in steps that is beyond a used one."""
    if used is None or (number > used if step > 0 else number < used):
        return number
    return number + ((used - number) // step + 1) * step
