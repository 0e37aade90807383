"""The next number of each counting column, proved by an insert that is taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ....errors import Busy, CountsDiffer, QueryFailed, RightMissing
from ....rows.migration.arriving import NextValue
from ....sessions import PsycopgSession
from ..facts import Relation
from ..part.next_numbers import Use, edge, next_number, uses
from ..script.statements import quoted
from .load import reason_of

if TYPE_CHECKING:
    from psycopg2.sql import Composable, Composed

__all__ = ["hold_numbers", "prove_numbers"]

OTHERS = """
    SELECT a.attname::text AS name FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attname <> %s
    ORDER BY a.attnum
"""
OTHER_KEYS = """
    SELECT n.nspname::text AS schema, i.relname::text AS name,
           (SELECT k.conname::text FROM pg_catalog.pg_constraint k WHERE k.conindid = i.oid AND k.conrelid = x.indrelid
            AND k.contype IN ('p', 'u', 'x'))
    FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace
    WHERE x.indrelid = %s AND (x.indisunique OR x.indisexclusion)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = x.indrelid AND a.attname = %s
                      AND a.attnum = ANY (x.indkey))
"""


def hold_numbers(session: PsycopgSession, oids: Sequence[int]) -> None:
    """Let the sequences of these tables give out their next numbers from a place that a rollback takes away.

    Rows that get numbers as they come would else use them up for good, also where none of them stays. What belongs to
    somebody else is left as it is.
    """
    from psycopg2 import sql

    for use in {str(use): use for use in uses(session, list(oids)) if use.seen and use.ours}.values():
        sequence = sql.Identifier(use.schema, use.name)
        # whoever takes numbers waits from now on
        session.execute(sql.SQL("ALTER SEQUENCE {} INCREMENT BY {}").format(sequence, sql.Literal(use.step)))
        number = next_number(session, use)
        if use.lowest <= number <= use.highest:
            session.execute(
                sql.SQL("ALTER SEQUENCE {} RESTART WITH {}").format(sequence, sql.Literal(number))
            )


def prove_numbers(session: PsycopgSession, tables: Sequence[Relation]) -> dict[int, tuple[NextValue, ...]]:
    """Prove that the number which the next row of each table gets is free; returns them by the table's own number.

    A copy of a row is inserted without its number, and taken back; the sequence stays where it is. Where that fails for
    another reason, such as a column without a value in an empty table, the number is taken alone. Triggers of the user's
    are asleep.

    Raises:
        CountsDiffer: the next number is one that a row has, or one in front of it.
    """
    found: dict[int, list[NextValue]] = {}
    by_name = {(table.schema, table.name): table for table in tables}
    for use in uses(session, [table.oid for table in tables]):
        table = by_name.get((use.table_schema, use.table))
        if table is not None and use.seen and use.ours and use.integral:
            found.setdefault(table.oid, []).append(_proved(session, table, use))
    return {oid: tuple(values) for oid, values in found.items()}


def _proved(session: PsycopgSession, table: Relation, use: Use) -> NextValue:
    next_one, used = next_number(session, use), edge(session, use)
    if not use.lowest <= next_one <= use.highest:
        return NextValue(str(use), use.column, next_one, "not", "the sequence is at its end")
    insert = _insert(session, table, use)
    why, how = "", "insert"
    try:
        value = _taken_back(session, use, next_one, [insert])
    except (QueryFailed, RightMissing) as exc:
        try:
            # a copy of a row is one too many for its other keys: without them, which come back as well
            value = _taken_back(session, use, next_one, [*_without_others(session, table, use), insert])
        except (QueryFailed, RightMissing, Busy):
            why, how = reason_of(exc), "number"
            value = _taken_back(session, use, next_one, [_number(use)])
    if used is not None and (value <= used if use.step > 0 else value >= used):
        raise CountsDiffer(
            f"the next row of {table} would get the number {value} in {use.column}, and rows reach {used}"
        )
    return NextValue(str(use), use.column, value, how, why)


def _taken_back(session: PsycopgSession, use: Use, next_one: int, statements: Sequence[Composable]) -> int:
    """Run statements of which the last one takes a number, and take back what they did.

    A number once given is never taken back, but in a place that RESTART made: that one goes away.
    """
    from psycopg2 import sql

    restart = sql.SQL("ALTER SEQUENCE {} RESTART WITH {}")
    session.execute("SAVEPOINT dbtasks_number")
    try:
        session.execute(restart.format(sql.Identifier(use.schema, use.name), sql.Literal(next_one)))
        for statement in statements[:-1]:
            session.execute(statement)
        ((value,),) = session.rows(statements[-1])
    finally:
        session.execute("ROLLBACK TO SAVEPOINT dbtasks_number; RELEASE SAVEPOINT dbtasks_number")
    return int(value)


def _without_others(session: PsycopgSession, table: Relation, use: Use) -> list[Composable]:
    """Return what takes away the unique keys of a table that its number is no part of."""
    from psycopg2 import sql

    dropped: list[Composable] = []
    for schema, name, constraint in session.rows(OTHER_KEYS, (table.oid, use.column)):
        if constraint is None:
            dropped.append(sql.SQL("DROP INDEX {} CASCADE").format(sql.Identifier(schema, name)))
        else:
            statement = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {} CASCADE")
            place = sql.Identifier(table.schema, table.name)
            dropped.append(statement.format(place, sql.Identifier(constraint)))
    return dropped


def _insert(session: PsycopgSession, table: Relation, use: Use) -> Composed:
    from psycopg2 import sql

    names = [sql.Identifier(name) for (name,) in session.rows(OTHERS, (table.oid, use.column))]
    place, column = sql.Identifier(table.schema, table.name), sql.Identifier(use.column)
    ((has_rows,),) = session.rows(sql.SQL("SELECT EXISTS (SELECT FROM {}) AS found").format(place))
    if not names or not has_rows:
        return sql.SQL("INSERT INTO {} DEFAULT VALUES RETURNING {}").format(place, column)
    return sql.SQL(
        "INSERT INTO {0} ({1}) OVERRIDING SYSTEM VALUE SELECT {1} FROM {0} LIMIT 1 RETURNING {2}"
    ).format(place, sql.SQL(", ").join(names), column)


def _number(use: Use) -> Composed:
    from psycopg2 import sql

    name = f"{quoted(use.schema)}.{quoted(use.name)}"
    return sql.SQL("SELECT pg_catalog.nextval({}::pg_catalog.regclass) AS number").format(sql.Literal(name))
