"""Checks that were never validated: away while rows come in, and put back as they were, in the same transaction.

They hold for new rows only, and the rows of a backup may be older than they.
NOT NULL of PostgreSQL 18 can be such a one; so can the check of a domain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....sessions import Session
from ..script.statements import Name

if TYPE_CHECKING:
    from psycopg2.sql import Composed

__all__ = ["LateCheck", "put_checks_back", "take_checks"]

# one that tables outside have from a table of these, or differently, stays: it would come back as another one
OF_TABLES = """
    WITH late AS (
        SELECT k.oid, k.conrelid, k.contype, k.conname, pg_catalog.pg_get_constraintdef(k.oid) AS definition
        FROM pg_catalog.pg_constraint k
        WHERE k.contype IN ('c', 'n') AND NOT k.convalidated AND k.conrelid = ANY (%(own)s) AND k.coninhcount = 0)
    SELECT n.nspname::text AS schema, c.relname::text AS name, l.conname::text AS check, l.definition,
           pg_catalog.obj_description(l.oid, 'pg_constraint') AS comment
    FROM late l JOIN pg_catalog.pg_class c ON c.oid = l.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE pg_catalog.right(l.definition, 10) = ' NOT VALID' AND NOT EXISTS (
        WITH RECURSIVE below (oid) AS (
            SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = l.conrelid
            UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN below b ON b.oid = i.inhparent)
        SELECT FROM below b
        JOIN pg_catalog.pg_constraint k ON k.conrelid = b.oid AND k.contype = l.contype AND k.conname = l.conname
        WHERE k.convalidated OR k.conislocal OR b.oid <> ALL (%(own)s))
    ORDER BY 1, 2, 3
"""
OF_DOMAINS = """
    WITH RECURSIVE used (oid) AS (
        SELECT atttypid FROM pg_catalog.pg_attribute WHERE attrelid = ANY (%(own)s) AND attnum > 0 AND NOT attisdropped
        UNION
        SELECT part.oid FROM used JOIN pg_catalog.pg_type t ON t.oid = used.oid, LATERAL (
            SELECT t.typbasetype UNION ALL SELECT t.typelem
            UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
            UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
                      WHERE t.typrelid <> 0 AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) part (oid)
        WHERE part.oid <> 0)
    SELECT n.nspname::text AS schema, t.typname::text AS name, k.conname::text AS check,
           pg_catalog.pg_get_constraintdef(k.oid) AS definition,
           pg_catalog.obj_description(k.oid, 'pg_constraint') AS comment
    FROM used JOIN pg_catalog.pg_type t ON t.oid = used.oid JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    JOIN pg_catalog.pg_constraint k ON k.contypid = t.oid AND k.contype = 'c' AND NOT k.convalidated
    WHERE pg_catalog.pg_has_role(t.typowner, 'USAGE') ORDER BY 1, 2, 3
"""


@dataclass(frozen=True)
class LateCheck:
    """One that was taken away."""

    holder: str
    """TABLE or DOMAIN."""
    of: Name
    name: str
    definition: str
    comment: str | None


def take_checks(session: Session, own: Sequence[int]) -> tuple[LateCheck, ...]:
    """Drop what was never validated of these tables, and of the domains in them that are ours."""
    oids = {"own": list(own)}
    found = [
        LateCheck(holder, (schema, name), check, definition, comment)
        for holder, query in (("TABLE", OF_TABLES), ("DOMAIN", OF_DOMAINS))
        for schema, name, check, definition, comment in session.rows(query, oids)
    ]
    for one in found:
        session.execute(_altered(one, "DROP"))
    return tuple(found)


def put_checks_back(session: Session, checks: Sequence[LateCheck]) -> None:
    """Add them again: for rows to come, as they were."""
    from psycopg2 import sql

    for one in checks:
        session.execute(_altered(one, "ADD") + sql.SQL(" ") + sql.SQL(one.definition))
        if one.comment is not None:
            on = "ON DOMAIN" if one.holder == "DOMAIN" else "ON"
            session.execute(
                sql.SQL("COMMENT ON CONSTRAINT {} {} {} IS {}").format(
                    sql.Identifier(one.name), sql.SQL(on), sql.Identifier(*one.of), sql.Literal(one.comment)
                )
            )


def _altered(one: LateCheck, verb: str) -> Composed:
    from psycopg2 import sql

    return sql.SQL("ALTER {} {} {} CONSTRAINT {}").format(
        sql.SQL(one.holder), sql.Identifier(*one.of), sql.SQL(verb), sql.Identifier(one.name)
    )
