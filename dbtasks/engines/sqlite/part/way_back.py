"""The statements that take away what was added, in an order that holds where foreign keys are enforced."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ....plans import PartWay
from .. import files

if TYPE_CHECKING:
    from .plan import Brought

__all__ = ["taking_away"]

UNENFORCED = "PRAGMA foreign_keys=OFF;"


def taking_away(live: sqlite3.Connection, brought: tuple[Brought, ...]) -> tuple[str, ...]:
    """Return them, on a connection that has the backup attached: what refers to others goes before these.

    SQLite deletes the rows of a table that it drops. Where a reference would still be there, from a table that
    stays, around a circle, or within one table by RESTRICT, that is refused or takes other rows with it, and
    the keys are switched off first.
    """
    made = {files.folded(table.target): table for table in brought if table.way is not PartWay.REPLACE}
    referring = {name: set[str]() for name in made}
    for name, parent in _references(live, made):
        if parent in made:
            referring[parent].add(name)
    left, order, tied = dict(made), list[str](), False
    while left:
        free = next((name for name in left if not referring[name] & (left.keys() - {name})), None)
        name = free or next(iter(left))
        # among what goes there is an order, but for circles; what stays refers for ever
        tied = tied or free is None or bool(referring[name] - (made.keys() - {name}))
        order.append(f"DROP TABLE {files.identifier(left.pop(name).target)};")
    return (UNENFORCED, *order) if tied else tuple(order)


def _references(live: sqlite3.Connection, made: dict[str, Brought]) -> Iterator[tuple[str, str]]:
    """Yield each table that will be there with each it refers to, folded; itself only where that is in its own way."""
    keys = 'SELECT "table", on_delete FROM pragma_foreign_key_list(?, ?)'
    listed = "SELECT name FROM main.sqlite_master WHERE type = 'table'"
    there = [(str(name), "main", str(name)) for (name,) in live.execute(listed).fetchall()]
    # a copy beside has no foreign keys
    coming = [(t.target, "backup", t.source) for t in made.values() if t.way is PartWay.CREATE]
    for name, schema, source in (*there, *coming):
        for parent, on_delete in live.execute(keys, (source, schema)).fetchall():
            child, to = files.folded(name), files.folded(str(parent))
            if to != child or on_delete == "RESTRICT":
                yield child, to
