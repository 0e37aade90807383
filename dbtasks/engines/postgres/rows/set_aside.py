"""What is taken away from tables while rows come in, and put back over them in the same transaction.

Foreign keys among them: dropped, the order of the tables is free, circles too,
and no right of a superuser's is needed; added again, the server compares every
row. Indexes that nothing depends on, those of primary keys among them: built over all rows at once they are there
several times as fast. Whatever could not be put back as it was stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ....errors import LoadFailed, QueryFailed
from ....rows.postgres.create import Statement
from ....sessions import Session
from ..facts import table_name
from ..script.statements import Name
from .key_parts import KeyPart, named_again, parts_of
from .not_valid import LateCheck, put_checks_back, take_checks

__all__ = [
    "REBUILT_FROM_ROWS",
    "SetAside",
    "at_home",
    "keys_back",
    "put_back",
    "references_back",
    "set_aside",
]

REBUILT_FROM_ROWS = 10_000
"""Fewer are indexed as they come."""
BROKEN_KEY = "23503"

# a key that a superuser switched off stays: it would be switched on by being made anew
KEYS = """
    SELECT n.nspname::text AS schema, c.relname::text AS tab, k.conname::text AS name,
           pg_catalog.pg_get_constraintdef(k.oid) AS definition,
           pg_catalog.obj_description(k.oid, 'pg_constraint') AS comment
    FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid = ANY (%(own)s) AND k.confrelid = ANY (%(other)s)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgconstraint = k.oid AND t.tgenabled <> 'O')
    ORDER BY k.oid
"""
INDEXES = """
    SELECT n.nspname::text AS schema, i.relname::text AS name, pg_catalog.pg_get_indexdef(i.oid) AS definition
    FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace
    WHERE x.indrelid = ANY (%(large)s) AND x.indisvalid AND x.indisready
      AND NOT (x.indisprimary OR x.indisreplident OR x.indisclustered OR x.indisexclusion)
      AND i.relkind = 'i' AND i.reltablespace = 0 AND NOT i.relispartition
      AND pg_catalog.obj_description(i.oid, 'pg_class') IS NULL
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.oid)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = i.oid)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.oid AND d.deptype = 'e')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.oid AND coalesce(a.attstattarget, -1) >= 0)
    ORDER BY i.oid
"""

# what pg_get_constraintdef does not tell, such as a fill factor, would be lost: such a one stays
UNIQUE = """
    SELECT n.nspname::text AS schema, c.relname::text AS tab, k.conname::text AS name,
           pg_catalog.pg_get_constraintdef(k.oid) AS definition
    FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_index x ON x.indexrelid = k.conindid JOIN pg_catalog.pg_class i ON i.oid = k.conindid
    WHERE k.contype IN ('p', 'u') AND k.conrelid = ANY (%(large)s) AND k.conparentid = 0 AND k.coninhcount = 0
      AND x.indisvalid AND x.indisready AND NOT (x.indisreplident OR x.indisclustered)
      AND i.reltablespace = 0 AND i.reloptions IS NULL AND NOT i.relispartition
      AND pg_catalog.obj_description(i.oid, 'pg_class') IS NULL
      AND pg_catalog.obj_description(k.oid, 'pg_constraint') IS NULL
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint o WHERE o.conindid = k.conindid AND o.oid <> k.oid)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.refobjid = k.oid AND d.deptype <> 'i'
                      AND d.refclassid = 'pg_catalog.pg_constraint'::pg_catalog.regclass)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = k.conindid)
    ORDER BY k.oid
"""


@dataclass(frozen=True)
class SetAside:
    """What was taken away, in the order in which it is put back."""

    unique: tuple[tuple[Name, str, str], ...] = ()
    """Table, name and definition of each primary key and unique constraint."""
    indexes: tuple[str, ...] = ()
    """Whole statements."""
    keys: tuple[tuple[Name, str, str, str | None], ...] = ()
    """Table, name, definition and comment of each foreign key."""
    checks: tuple[LateCheck, ...] = ()
    """Those that were never validated."""
    parts: tuple[KeyPart, ...] = ()
    """What partitions have of these foreign keys; `key_parts.named_again` behind `references_back`."""


def set_aside(
    session: Session,
    own: Sequence[int],
    referred: Sequence[int],
    rows: Mapping[int, int],
    *,
    older: bool = False,
) -> SetAside:
    """Take the foreign keys of these tables to those referred to away, and the indexes of those that get many rows.

    `rows` says how many come into each table. Rows that are `older` than a check that was never validated need not keep to it.
    """
    from psycopg2 import sql

    keys = session.rows(KEYS, {"own": list(own), "other": list(referred)})
    parts = parts_of(session, [((schema, table), name) for schema, table, name, _, _ in keys])
    for schema, table, name, _, _ in keys:
        statement = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
        session.execute(statement.format(sql.Identifier(schema, table), sql.Identifier(name)))
    large = [oid for oid, number in rows.items() if number >= REBUILT_FROM_ROWS]
    # those that a key leaned on are free now
    unique = session.rows(UNIQUE, {"large": large})
    for schema, table, name, _ in unique:
        statement = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
        session.execute(statement.format(sql.Identifier(schema, table), sql.Identifier(name)))
    indexes = session.rows(INDEXES, {"large": large})
    for schema, name, _ in indexes:
        session.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(schema, name)))
    return SetAside(
        tuple(((schema, table), name, definition) for schema, table, name, definition in unique),
        tuple(definition for _, _, definition in indexes),
        tuple(
            ((schema, table), name, definition, comment) for schema, table, name, definition, comment in keys
        ),
        take_checks(session, own) if older else (),
        parts,
    )


def put_back(session: Session, taken: SetAside) -> None:
    """Build and add all of it again; every row is compared with every key.

    Raises:
        LoadFailed: the rows break one; names it.
    """
    at_home(session)
    # off, a NULL in an array of a definition is read as the word
    session.execute("SET LOCAL array_nulls = on")
    for statement in keys_back(taken):
        session.execute(statement.sql)
    for key in taken.keys:
        _add(session, key)
    named_again(session, taken.parts)
    put_checks_back(session, taken.checks)
    session.execute("RESET array_nulls")


def at_home(session: Session) -> None:
    """Let indexes come back into the tablespace they were in: the database's own."""
    session.execute("SELECT pg_catalog.set_config('default_tablespace', '', true)")


def keys_back(taken: SetAside) -> list[Statement]:
    """Return what builds unique keys and indexes again, in order."""
    from psycopg2 import sql

    added = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}")
    unique = [
        Statement(
            f"the key {name} of {table_name(*table)}",
            added.format(sql.Identifier(*table), sql.Identifier(name), sql.SQL(definition)),
        )
        for table, name, definition in taken.unique
    ]
    return [*unique, *(Statement(text, sql.SQL(text)) for text in taken.indexes)]


def references_back(taken: SetAside) -> list[Statement]:
    """Return what adds foreign keys again, with their comments."""
    return [statement for key in taken.keys for statement in _added(*key)]


def _added(table: Name, name: str, definition: str, comment: str | None) -> list[Statement]:
    from psycopg2 import sql

    where, constraint = sql.Identifier(*table), sql.Identifier(name)
    what = f"the foreign key {name} of {table_name(*table)}"
    made = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(where, constraint, sql.SQL(definition))
    if comment is None:
        return [Statement(what, made)]
    said = sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(constraint, where, sql.Literal(comment))
    return [Statement(what, made), Statement(f"the comment on {what}", said)]


def _add(session: Session, key: tuple[Name, str, str, str | None]) -> None:
    table, name, *_ = key
    try:
        for statement in _added(*key):
            session.execute(statement.sql)
    except QueryFailed as exc:
        if exc.sqlstate != BROKEN_KEY:
            raise
        raise LoadFailed(
            f"rows of {table_name(*table)} break its foreign key {name}",
            details=exc.details,
            hint="the backup's rows do not hold together, or not with rows that are not in it: choose another backup (db.list)",
        ) from exc
