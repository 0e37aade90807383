"""The portable schema of a SQLite database, as its PRAGMAs tell it; beside it the words it was made with."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable

from ...schemas import quoted
from ..schema import Column, ForeignKey, Index, Key, PortableSchema, Sequence, Spelling, Table

__all__ = ["beside_tables", "describe", "plain_tables", "quoted", "virtual_tables"]

VIRTUAL = re.compile(r"\s*CREATE\s+VIRTUAL\s+TABLE\b", re.IGNORECASE)
USING = re.compile(r"\bUSING\s+[\"'`\[]?(\w+)", re.IGNORECASE)
CONTENT_ELSEWHERE = re.compile(r"[(,]\s*content\s*=", re.IGNORECASE)
TABLE_LIST = "PRAGMA main.table_list"
FULL_TEXT = ("content", "segments", "segdir", "docsize", "stat")
BOXES = ("node", "parent", "rowid")
INSIDES = {
    "fts3": FULL_TEXT,
    "fts4": FULL_TEXT,
    "fts5": ("config", "content", "data", "docsize", "idx"),
    "rtree": BOXES,
    "rtree_i32": BOXES,
    "geopoly": BOXES,
}
"""How the tables end that SQLite's own modules make, behind the name of theirs and a line."""
COMPUTED = (2, 3)
"""What table_xinfo calls hidden: computed when read, or stored."""
BESIDE = "SELECT type, name FROM sqlite_master WHERE type IN ('view', 'trigger') ORDER BY type DESC, name"
IN_DEFINITION = "see the table's definition"


def virtual_tables(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Name the virtual tables, such as those of a full-text search: their module makes what is in them."""
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return tuple(str(name) for name, sql in rows if sql and VIRTUAL.match(sql))


def plain_tables(connection: sqlite3.Connection, names: Iterable[str]) -> tuple[str, ...]:
    """Leave out of these the virtual tables and those that hold their insides."""
    away = {*virtual_tables(connection), *_insides(connection)}
    return tuple(name for name in names if name not in away)


def _insides(connection: sqlite3.Connection) -> set[str]:
    """Name what virtual tables keep their rows in; a table that is only named like one of them is somebody's own."""
    # by SQLite's own word, which it gives since 3.37, of modules that it has
    found = {str(name) for _, name, kind, *_ in connection.execute(TABLE_LIST) if kind == "shadow"}
    for name in virtual_tables(connection):
        ((sql,),) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,))
        module = USING.search(str(sql))
        found |= {f"{name}_{end}" for end in INSIDES.get(module[1].lower() if module else "", ())}
        if CONTENT_ELSEWHERE.search(str(sql)):
            # then it makes none of its own
            found.discard(f"{name}_content")
    return found


def beside_tables(connection: sqlite3.Connection) -> tuple[tuple[str, str], ...]:
    """Name the virtual tables, views and triggers, each with its kind: no other engine takes them as they are."""
    found = [("virtual table", name) for name in virtual_tables(connection)]
    found += [(str(kind), str(name)) for kind, name in connection.execute(BESIDE)]
    return tuple(found)


def describe(connection: sqlite3.Connection, names: Iterable[str]) -> PortableSchema:
    """Read the definitions of these tables, with their keys, indexes and AUTOINCREMENT numbers."""
    tables = tuple(_table(connection, name) for name in names)
    return PortableSchema(tables=tables, sequences=_sequences(connection, {table.name for table in tables}))


def _table(connection: sqlite3.Connection, name: str) -> Table:
    columns, key = [], {}
    for _, column, type_, not_null, default, place, hidden in connection.execute(
        f"PRAGMA table_xinfo({quoted(name)})"
    ):
        if hidden == 1:
            continue
        if place:
            key[place] = str(column)
        columns.append(
            Column(
                str(column),
                str(type_),
                Spelling.ANY,
                not_null=bool(not_null),
                default="" if default is None else str(default),
                generated=IN_DEFINITION if hidden in COMPUTED else "",
                virtual=hidden == COMPUTED[0],
            )
        )
    unique, indexes = _indexes(connection, name)
    ((definition,),) = connection.execute(
        "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)
    )
    return Table(
        name,
        tuple(columns),
        primary_key=Key(tuple(key[place] for place in sorted(key))) if key else None,
        unique=unique,
        foreign_keys=_references(connection, name),
        indexes=indexes,
        definition=str(definition),
    )


def _indexes(connection: sqlite3.Connection, table: str) -> tuple[tuple[Key, ...], tuple[Index, ...]]:
    unique, indexes = [], []
    for _, name, _, origin, _ in connection.execute(f"PRAGMA index_list({quoted(table)})").fetchall():
        if origin == "u":
            found = connection.execute(f"PRAGMA index_info({quoted(name)})")
            unique.append(Key(tuple(str(column) for _, _, column in found)))
        elif origin == "c":
            ((sql,),) = connection.execute(
                "SELECT sql FROM sqlite_master WHERE type = 'index' AND name = ?", (name,)
            )
            indexes.append(Index(str(name), str(sql)))
    return tuple(unique), tuple(sorted(indexes, key=lambda index: index.name))


def _references(connection: sqlite3.Connection, table: str) -> tuple[ForeignKey, ...]:
    found: dict[int, list[tuple[int, str, str, str | None, str, str]]] = {}
    for number, position, other, column, referenced, on_update, on_delete, _ in connection.execute(
        f"PRAGMA foreign_key_list({quoted(table)})"
    ):
        found.setdefault(number, []).append(
            (position, str(other), str(column), referenced, on_update, on_delete)
        )
    return tuple(_reference(sorted(parts)) for _, parts in sorted(found.items(), reverse=True))


def _reference(parts: list[tuple[int, str, str, str | None, str, str]]) -> ForeignKey:
    _, other, _, _, on_update, on_delete = parts[0]
    acts = [
        f"ON {event} {act}"
        for event, act in (("UPDATE", on_update), ("DELETE", on_delete))
        if act != "NO ACTION"
    ]
    return ForeignKey(
        tuple(part[2] for part in parts),
        other,
        tuple(str(part[3]) for part in parts if part[3] is not None),
        definition=" ".join(acts),
    )


def _sequences(connection: sqlite3.Connection, tables: set[str]) -> tuple[Sequence, ...]:
    """Return where each AUTOINCREMENT stands; the table of them is there once the first was used."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone():
        return ()
    found = connection.execute("SELECT name, seq FROM sqlite_sequence ORDER BY name")
    return tuple(
        Sequence(str(name), int(last), table=str(name))
        for name, last in found
        if name in tables and isinstance(last, int)
    )
