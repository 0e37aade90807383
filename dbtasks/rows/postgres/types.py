"""Types and sequences of a PostgreSQL database, for its portable schema."""

from __future__ import annotations

from collections.abc import Sequence as Many
from typing import Any

from ...schemas import table_name
from ...sessions import Session
from ..schema import Check, Column, Sequence, UserType

__all__ = ["sequences_of", "user_types"]

KINDS = {"e": "enum", "d": "domain", "c": "composite", "r": "range"}
# made by hand and not by an extension; a table's own row type is no type of the user's
TYPES = """
    SELECT t.oid, n.nspname, t.typname, t.typtype::text,
           ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder),
           CASE t.typtype WHEN 'd' THEN pg_catalog.format_type(t.typbasetype, t.typtypmod)
                          WHEN 'r' THEN pg_catalog.format_type(r.rngsubtype, NULL) ELSE '' END,
           t.typnotnull, coalesce(pg_catalog.pg_get_expr(t.typdefaultbin, 0), ''),
           CASE WHEN t.typtype = 'd' AND t.typcollation <> 0 AND t.typcollation <> b.typcollation
                  OR t.typtype = 'r' AND r.rngcollation NOT IN (0, y.typcollation)
                THEN pg_catalog.format('%I.%I', l.nspname, o.collname) ELSE '' END,
           ARRAY[mn.nspname::text, m.typname::text],
           CASE WHEN q.opcdefault THEN ARRAY[NULL, NULL] ELSE ARRAY[qn.nspname::text, q.opcname::text] END,
           ARRAY[cn.nspname::text, cp.proname::text], ARRAY[dn.nspname::text, dp.proname::text]
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
    LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
    LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
    LEFT JOIN pg_catalog.pg_type y ON y.oid = r.rngsubtype
    LEFT JOIN pg_catalog.pg_collation o ON o.oid = coalesce(r.rngcollation, t.typcollation)
    LEFT JOIN pg_catalog.pg_namespace l ON l.oid = o.collnamespace
    LEFT JOIN pg_catalog.pg_type m ON m.oid = r.rngmultitypid
    LEFT JOIN pg_catalog.pg_namespace mn ON mn.oid = m.typnamespace
    LEFT JOIN pg_catalog.pg_opclass q ON q.oid = r.rngsubopc
    LEFT JOIN pg_catalog.pg_namespace qn ON qn.oid = q.opcnamespace
    LEFT JOIN pg_catalog.pg_proc cp ON cp.oid = r.rngcanonical
    LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = cp.pronamespace
    LEFT JOIN pg_catalog.pg_proc dp ON dp.oid = r.rngsubdiff
    LEFT JOIN pg_catalog.pg_namespace dn ON dn.oid = dp.pronamespace
    WHERE t.typtype IN ('e', 'd', 'c', 'r') AND (t.typtype <> 'c' OR c.relkind = 'c')
      AND pg_catalog.left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'e')
    ORDER BY t.oid
"""
ATTRIBUTES = """
    SELECT t.oid, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
           CASE WHEN a.attcollation <> 0 AND a.attcollation <> y.typcollation
                THEN pg_catalog.format('%%I.%%I', l.nspname, o.collname) ELSE '' END
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid
    JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_collation o ON o.oid = a.attcollation
    LEFT JOIN pg_catalog.pg_namespace l ON l.oid = o.collnamespace
    WHERE t.oid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY t.oid, a.attnum
"""
CHECKS = """
    SELECT contypid, conname, pg_catalog.pg_get_constraintdef(oid) FROM pg_catalog.pg_constraint
    WHERE contypid = ANY (%s) AND contype = 'c' ORDER BY contypid, conname
"""
# of the others only what is free, or what a default here calls for: those of tables that are left out go with them
SEQUENCES = """
    SELECT n.nspname, c.relname, pg_catalog.format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin,
           s.seqmax, s.seqcache, s.seqcycle, tn.nspname, tc.relname, a.attname
    FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_depend o ON o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND o.objid = c.oid
         AND o.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND o.refobjsubid > 0 AND o.deptype IN ('a', 'i')
    LEFT JOIN pg_catalog.pg_depend d ON (d.classid, d.objid, d.objsubid, d.refclassid, d.refobjid, d.refobjsubid)
         = (o.classid, o.objid, o.objsubid, o.refclassid, o.refobjid, o.refobjsubid) AND d.refobjid = ANY (%(tables)s)
    LEFT JOIN pg_catalog.pg_class tc ON tc.oid = d.refobjid
    LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = tc.relnamespace
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.refobjid IS NOT NULL OR c.oid = ANY (%(others)s) AND (o.refobjid IS NULL OR EXISTS (
        SELECT FROM pg_catalog.pg_depend u
        LEFT JOIN pg_catalog.pg_attrdef f ON u.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND f.oid = u.objid
        WHERE u.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND u.refobjid = c.oid
          AND (f.adrelid = ANY (%(tables)s) OR u.classid = 'pg_catalog.pg_type'::pg_catalog.regclass)))
    ORDER BY n.nspname, c.relname
"""
OF_A_RANGE = ("multirange", "subtype_opclass", "canonical", "subtype_diff")
ASKED_AT_ONCE = 100


def user_types(session: Session) -> tuple[UserType, ...]:
    """Return the user's types, each behind those it was made of."""
    found = session.rows(TYPES)
    oids = [oid for oid, *_ in found]
    attributes: dict[int, list[Column]] = {}
    for oid, name, type_, collation in session.rows(ATTRIBUTES, (oids,)):
        attributes.setdefault(oid, []).append(Column(name, type_, collation=collation))
    checks: dict[int, list[Check]] = {}
    for oid, name, text in session.rows(CHECKS, (oids,)):
        checks.setdefault(oid, []).append(Check(name, text))
    return tuple(
        UserType(
            table_name(schema, name),
            KINDS[kind],
            labels=tuple(labels),
            attributes=tuple(attributes.get(oid, ())),
            base=base,
            not_null=not_null,
            default=default,
            collation=collation,
            checks=tuple(checks.get(oid, ())),
            **{
                option: table_name(*names)
                for option, names in zip(OF_A_RANGE, of_range, strict=True)
                if names[0]
            },
        )
        for oid, schema, name, kind, labels, base, not_null, default, collation, *of_range in found
    )


def sequences_of(session: Session, tables: Many[int], others: Many[int]) -> tuple[Sequence, ...]:
    """Return the sequences of these tables' columns, and of the others given those that belong to no other table, with where each stands now.

    One of another table that a default here calls for comes as a free one.

    No snapshot holds that: it may be later than the rows are, never before.
    """
    found = session.rows(SEQUENCES, {"tables": list(tables), "others": list(others)})
    stand: list[tuple[Any, ...]] = []
    for start in range(0, len(found), ASKED_AT_ONCE):
        stand += _standing(session, found[start : start + ASKED_AT_ONCE])
    return tuple(
        Sequence(
            table_name(schema, name),
            last_value,
            is_called,
            type_,
            first,
            increment,
            minimum,
            maximum,
            cache,
            cycle,
            table_name(owner_schema, owner) if owner else "",
            column or "",
        )
        for (
            schema,
            name,
            type_,
            first,
            increment,
            minimum,
            maximum,
            cache,
            cycle,
            owner_schema,
            owner,
            column,
        ), (
            last_value,
            is_called,
        ) in zip(found, stand, strict=True)
    )


def _standing(session: Session, sequences: Many[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    from psycopg2 import sql

    parts = [
        sql.SQL("SELECT {} AS position, last_value, is_called FROM {}").format(
            sql.Literal(position), sql.Identifier(schema, name)
        )
        for position, (schema, name, *_) in enumerate(sequences)
    ]
    rows = session.rows(sql.SQL(" UNION ALL ").join(parts) + sql.SQL(" ORDER BY position"))
    return [(last_value, is_called) for _, last_value, is_called in rows]
