"""What is looked at in a loaded backup before it may become live; the session decides where."""

from __future__ import annotations

from ....models import Manifest
from ....sessions import Session
from ..facts import COUNTED, SEQUENCE, count_rows, reading_snapshot, relations

__all__ = ["behind_sequences", "loaded_counts", "loaded_problems"]

INVALID = """
    SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT (i.indisvalid AND i.indisready) AND pg_catalog.left(n.nspname, 3) <> 'pg_'
"""
OWNED = """
    SELECT sn.nspname::text AS s1, s.relname::text AS s2, tn.nspname::text AS t1, t.relname::text AS t2,
           a.attname::text AS c, q.seqincrement > 0 AS ascending
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
    JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid AND NOT q.seqcycle
    JOIN pg_catalog.pg_class t ON t.oid = d.refobjid JOIN pg_catalog.pg_attribute a
        ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
        AND a.atttypid IN ('pg_catalog.int2'::pg_catalog.regtype, 'pg_catalog.int4'::pg_catalog.regtype,
                           'pg_catalog.int8'::pg_catalog.regtype)
    JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
    JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = d.classid
      AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
      AND EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = t.oid AND i.indkey[0] = a.attnum)
"""


def loaded_counts(session: Session, *, inside: bool = False) -> dict[str, int]:
    """Count every table exactly; `inside` an open transaction, else in one snapshot of its own."""
    if not inside:
        with reading_snapshot(session):
            return loaded_counts(session, inside=True)
    tables = [relation for relation in relations(session) if relation.kind in COUNTED]
    return {str(table): rows for table, rows in count_rows(session, tables).items()}


def loaded_problems(session: Session, manifest: Manifest | None) -> tuple[str, ...]:
    """Name what is broken or did not come: invalid indexes, sequences and extensions of the manifest."""
    problems = [f"the index {schema}.{name} is invalid" for schema, name in session.rows(INVALID)]
    if manifest is None or not manifest.complete:
        return tuple(problems)
    sequences = {str(relation) for relation in relations(session) if relation.kind == SEQUENCE}
    recorded = {line.rpartition("=")[0] or line for line in manifest.sequences}
    problems += [f"the sequence {name} did not come back" for name in sorted(recorded - sequences)]
    installed = {name for (name,) in session.rows("SELECT extname::text FROM pg_catalog.pg_extension")}
    missing = sorted(set(manifest.extensions) - installed)
    return (*problems, *(f"the extension {name} did not come back" for name in missing))


def behind_sequences(session: Session) -> list[str]:
    """Name sequences that stand below the highest value of their (indexed) column.

    That may well be so in the source; an insert then fails there as it does here.
    """
    from psycopg2 import sql

    behind = []
    for schema, sequence, table_schema, table, column, ascending in session.rows(OWNED):
        edge = sql.SQL("max" if ascending else "min")
        query = sql.SQL(
            "SELECT (SELECT {edge}({column}) FROM {table}) AS used, last_value AS last FROM {sequence}"
        ).format(
            edge=edge,
            column=sql.Identifier(column),
            table=sql.Identifier(table_schema, table),
            sequence=sql.Identifier(schema, sequence),
        )
        ((used, last),) = session.rows(query)
        if used is not None and (used > last if ascending else used < last):
            behind.append(f"the sequence {schema}.{sequence} stands at {last}, {table}.{column} at {used}")
    return behind
