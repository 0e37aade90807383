"""What a schema says of keys beyond a backup's: indexes that are ready and not valid, those that not all partitions have, sequences that begin again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from operator import attrgetter

from ...schemas import table_name
from ...sessions import Session
from ..schema import Index, PortableSchema, Table
from ..schema import Sequence as Numbers

__all__ = ["with_unfinished"]

# rows that come are held against one that is ready, whatever became of those that were there when it was made
UNFINISHED = """
    SELECT tn.nspname::text, t.relname::text, c.relname::text, pg_catalog.pg_get_indexdef(x.indexrelid), c.relkind = 'I'
    FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid
    JOIN pg_catalog.pg_class t ON t.oid = x.indrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
    WHERE x.indrelid = ANY (%s) AND x.indisready AND NOT x.indisvalid
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = x.indexrelid)
    ORDER BY 1, 2, 3
"""
BEGIN_AGAIN = """
    SELECT DISTINCT sn.nspname::text, s.relname::text, tn.nspname::text, t.relname::text, a.attname::text
    FROM pg_catalog.pg_sequence q JOIN pg_catalog.pg_class s ON s.oid = q.seqrelid
    JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = s.oid
    JOIN pg_catalog.pg_attrdef f ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND f.oid = d.objid
    JOIN pg_catalog.pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
    JOIN pg_catalog.pg_class t ON t.oid = f.adrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
    WHERE q.seqcycle AND f.adrelid = ANY (%s) ORDER BY 1, 2, 3, 4, 5
"""


def with_unfinished(session: Session, schema: PortableSchema, tables: Sequence[int]) -> PortableSchema:
    """Return the schema of these tables with all that turns a row down; those of no file, for nobody makes anything by it.

    A sequence that begins again stands in it once for each column that takes numbers of it, by a DEFAULT too.

    Raises:
        QueryFailed: the catalogue is not as it should be.
    """
    ready: dict[str, list[Index]] = {}
    partly: dict[str, set[str]] = {}
    for space, table, name, definition, is_partly in session.rows(UNFINISHED, (list(tables),)):
        whole = table_name(space, table)
        if is_partly:
            partly.setdefault(whole, set()).add(name)
        else:
            ready.setdefault(whole, []).append(Index(name, definition))
    again = [
        Numbers(table_name(space, name), 0, cycle=True, table=table_name(*table), column=column)
        for space, name, *table, column in session.rows(BEGIN_AGAIN, (list(tables),))
    ]
    return replace(
        schema,
        tables=tuple(
            _with(table, ready.get(table.name, ()), partly.get(table.name, ())) for table in schema.tables
        ),
        sequences=(*schema.sequences, *again),
    )


def _with(table: Table, ready: Sequence[Index], partly: Collection[str]) -> Table:
    """Return a table with indexes that are ready, and with what not all of its partitions have told."""
    key = table.primary_key
    return replace(
        table,
        primary_key=replace(key, is_partly=key.name in partly) if key else None,
        unique=tuple(replace(one, is_partly=one.name in partly) for one in table.unique),
        indexes=tuple(
            sorted(
                (*(replace(one, is_partly=one.name in partly) for one in table.indexes), *ready),
                key=attrgetter("name"),
            )
        ),
    )
