"""Foreign keys, looked at row by row: the server itself believes those that were made while triggers were off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...sessions import Session
from .facts import PARTITIONED, table_name

if TYPE_CHECKING:
    from psycopg2.sql import Composed

__all__ = ["Reference", "broken_foreign_keys", "meets", "orphan", "place_of", "references"]

KEYS = """
    SELECT c.conname::text AS name, fn.nspname::text AS schema, f.relname::text AS table, f.relkind::text AS kind,
           pn.nspname::text AS other_schema, p.relname::text AS other_table, p.relkind::text AS other_kind,
           k.columns, k.others, k.operator_schemas, k.operators
    FROM pg_catalog.pg_constraint c
    JOIN pg_catalog.pg_class f ON f.oid = c.conrelid JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
    JOIN pg_catalog.pg_class p ON p.oid = c.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace,
    LATERAL (SELECT pg_catalog.array_agg(a.attname::text ORDER BY u.place) AS columns,
                    pg_catalog.array_agg(b.attname::text ORDER BY u.place) AS others,
                    pg_catalog.array_agg(n.nspname::text ORDER BY u.place) AS operator_schemas,
                    pg_catalog.array_agg(o.oprname::text ORDER BY u.place) AS operators
             FROM ROWS FROM (pg_catalog.unnest(c.conkey), pg_catalog.unnest(c.confkey),
                             pg_catalog.unnest(c.conpfeqop)) WITH ORDINALITY AS u (own, other, equal, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = u.own
             JOIN pg_catalog.pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = u.other
             JOIN pg_catalog.pg_operator o ON o.oid = u.equal
             JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace) k
    WHERE c.contype = 'f' AND c.conparentid = 0
"""
VALIDATED = " AND c.convalidated"
# a partition's keys are those of the table it is a part of
OF_TABLES = """
    AND c.conrelid IN (SELECT o FROM pg_catalog.unnest(%s::oid[]) o
                       UNION SELECT a.relid::oid FROM pg_catalog.unnest(%s::oid[]) o, pg_catalog.pg_partition_ancestors(o) a)
"""
IN_ORDER = " ORDER BY 2, 3, 1"


class Reference(NamedTuple):
    """One foreign key: whose, to which table, and what its columns are compared by."""

    name: str
    schema: str
    table: str
    kind: str
    other_schema: str
    other: str
    other_kind: str
    columns: list[str]
    others: list[str]
    operator_schemas: list[str]
    operators: list[str]


def references(
    session: Session, tables: Sequence[int] | None = None, *, validated: bool = True
) -> list[Reference]:
    """Return the foreign keys of these tables, by number, or of all; `validated`: only those that hold for every row."""
    query = KEYS + (VALIDATED if validated else "")
    if tables is None:
        found = session.rows(query + IN_ORDER)
    else:
        found = session.rows(query + OF_TABLES + IN_ORDER, (list(tables), list(tables)))
    return [Reference(*row) for row in found]


def broken_foreign_keys(session: Session, tables: list[int] | None = None) -> list[str]:
    """Name every validated foreign key that some row breaks, one look at each table.

    `tables` are the numbers of those whose own keys are looked at; None means all.
    """
    from psycopg2 import sql

    broken = []
    for one in references(session, tables):
        place = place_of(one.schema, one.table, one.kind)
        query = sql.SQL("SELECT EXISTS (SELECT FROM {} f WHERE {}) AS found").format(place, orphan(one))
        ((found,),) = session.rows(query)
        if found:
            broken.append(f"rows of {table_name(one.schema, one.table)} break the foreign key {one.name}")
    return broken


def place_of(schema: str, table: str, kind: str) -> Composed:
    """Return where a table's own rows are: a partitioned one's are in its partitions; a child's by inheritance are not the parent's."""
    from psycopg2 import sql

    return sql.SQL("" if kind == PARTITIONED else "ONLY ") + sql.Identifier(schema, table)


def orphan(one: Reference) -> Composed:
    """Return the condition that a row, `f`, leads nowhere, by the very operators of the key; one with a NULL leads nowhere on purpose."""
    from psycopg2 import sql

    given = sql.SQL(" AND ").join(
        sql.SQL("f.{} IS NOT NULL").format(sql.Identifier(name)) for name in one.columns
    )
    return sql.SQL("{} AND NOT EXISTS (SELECT FROM {} p WHERE {})").format(
        given, place_of(one.other_schema, one.other, one.other_kind), meets(one)
    )


def meets(one: Reference) -> Composed:
    """Return the condition that a row, `f`, refers to another, `p`."""
    from psycopg2 import sql

    pairs = zip(one.columns, one.others, one.operator_schemas, one.operators, strict=True)
    return sql.SQL(" AND ").join(
        sql.SQL("p.{} OPERATOR({}.{}) f.{}").format(
            sql.Identifier(theirs), sql.Identifier(schema), sql.SQL(operator), sql.Identifier(ours)
        )
        for ours, theirs, schema, operator in pairs
    )
