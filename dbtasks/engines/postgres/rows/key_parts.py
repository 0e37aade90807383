"""What partitions have of a foreign key: names and comments of their own, lost when the key is made anew, and given again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ....sessions import Session
from ..script.statements import Name

__all__ = ["KeyPart", "named_again", "parts_of"]

# of a key that refers to a partitioned table the server has more, for its own use: those are of other tables referred to
PARTS = """
    WITH RECURSIVE wanted AS (
        SELECT * FROM ROWS FROM (pg_catalog.unnest(%(schemas)s::text[]), pg_catalog.unnest(%(tables)s::text[]),
                                 pg_catalog.unnest(%(names)s::text[])) AS w (nsp, tab, name)),
    below (root, oid) AS (
        SELECT k.oid, k.oid FROM pg_catalog.pg_constraint k
        JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        JOIN wanted w ON w.nsp = n.nspname AND w.tab = c.relname AND w.name = k.conname
        WHERE k.contype = 'f' AND c.relkind = 'p'
        UNION ALL
        SELECT b.root, p.oid FROM below b JOIN pg_catalog.pg_constraint p ON p.conparentid = b.oid)
    SELECT rn.nspname::text, rc.relname::text, r.conname::text, n.nspname::text, c.relname::text, p.conname::text,
           pg_catalog.obj_description(p.oid, 'pg_constraint')
    FROM below b JOIN pg_catalog.pg_constraint r ON r.oid = b.root JOIN pg_catalog.pg_constraint p ON p.oid = b.oid
    JOIN pg_catalog.pg_class rc ON rc.oid = r.conrelid JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace
    JOIN pg_catalog.pg_class c ON c.oid = p.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE p.conrelid <> r.conrelid AND p.confrelid = r.confrelid
    ORDER BY p.oid
"""


@dataclass(frozen=True)
class KeyPart:
    """A partition's share of a foreign key."""

    key: tuple[Name, str]
    """The partitioned table and its key."""
    table: Name
    name: str
    comment: str | None


def parts_of(session: Session, keys: Iterable[tuple[Name, str]]) -> tuple[KeyPart, ...]:
    """Return what the partitions have of these keys, each given by its table and name."""
    listed = list(keys)
    named = {
        "schemas": [table[0] for table, _ in listed],
        "tables": [table[1] for table, _ in listed],
        "names": [name for _, name in listed],
    }
    return tuple(
        KeyPart(((schema, table), key), (of, part), name, comment)
        for schema, table, key, of, part, name, comment in session.rows(PARTS, named)
    )


def named_again(session: Session, parts: Sequence[KeyPart]) -> None:
    """Give the partitions' shares of keys that were made anew the names and comments they had."""
    from psycopg2 import sql

    if not parts:
        return
    now = {(one.key, one.table): one.name for one in parts_of(session, dict.fromkeys(p.key for p in parts))}
    others = [one for one in parts if now.get((one.key, one.table), one.name) != one.name]
    # two of one table may have each other's name now
    free = {one: f"dbtasks on its way {at}" for at, one in enumerate(others)}
    _rename(session, {one: (now[one.key, one.table], free[one]) for one in others})
    _rename(session, {one: (free[one], one.name) for one in others})
    for one in parts:
        if one.comment is not None and (one.key, one.table) in now:
            said = sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}")
            place = sql.Identifier(*one.table)
            session.execute(said.format(sql.Identifier(one.name), place, sql.Literal(one.comment)))


def _rename(session: Session, names: Mapping[KeyPart, tuple[str, str]]) -> None:
    from psycopg2 import sql

    for part, (old, new) in names.items():
        statement = sql.SQL("ALTER TABLE {} RENAME CONSTRAINT {} TO {}")
        session.execute(
            statement.format(sql.Identifier(*part.table), sql.Identifier(old), sql.Identifier(new))
        )
