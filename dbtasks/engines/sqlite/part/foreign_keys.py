"""Rows whose counterpart in another table is not there, before and after single tables came into the live file."""

from __future__ import annotations

import shlex
import sqlite3
from collections import defaultdict
from collections.abc import Iterator

from ....errors import Refused
from ....nouns import many
from .. import files
from .plan import ROWIDS, Brought

__all__ = ["Dangling", "dangling", "prove_keys"]

Dangling = dict[tuple[str, str], dict[str, int]]
"""By table and the one it refers to, folded: each missing counterpart, and how many rows refer to it.

Numbers alone would not do: one row may find its counterpart again while another loses it.
"""


def dangling(live: sqlite3.Connection, tables: list[str], schema: str = "main") -> Dangling:
    """Look for them in these tables, and in those that refer to them."""
    wanted = {files.folded(table) for table in tables}
    found: Dangling = defaultdict(dict)
    listed = f"SELECT name FROM {schema}.sqlite_master WHERE type = 'table'"  # noqa: S608 - constants
    for (table,) in live.execute(listed).fetchall():
        parents = 'SELECT "table" FROM pragma_foreign_key_list(?, ?)'
        referred = {files.folded(parent) for (parent,) in live.execute(parents, (table, schema))}
        if files.folded(table) not in wanted and not referred & wanted:
            continue
        try:
            for parent, missing, rows in _missing(live, table, schema):
                found[files.folded(table), files.folded(parent)][missing] = rows
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorname != "SQLITE_ERROR":
                raise
            # a key that refers to no unique columns is SQLite's to turn down: before as afterwards
    return dict(found)


def _missing(live: sqlite3.Connection, table: str, schema: str) -> Iterator[tuple[str, str, int]]:
    """Yield the table referred to, the values that are missing there, and how many rows have them."""
    names = {
        files.folded(n) for (n,) in live.execute("SELECT name FROM pragma_table_xinfo(?, ?)", (table, schema))
    }
    rowid = next((name for name in ROWIDS if name not in names), "")
    broken = "FROM pragma_foreign_key_check(?, ?)"
    counted = f"SELECT fkid, parent, count(rowid), count(*) {broken} GROUP BY 1, 2"
    for id_, parent, numbered, number in live.execute(counted, (table, schema)).fetchall():
        listed = 'SELECT "from" FROM pragma_foreign_key_list(?, ?) WHERE id = ? ORDER BY seq'
        columns = [column for (column,) in live.execute(listed, (table, schema, id_))]
        label = ", ".join(columns).lower()
        if not rowid or numbered < number:
            # rows without a number of their own cannot be looked up: their count has to do
            yield parent, label, number
            continue
        values = " || ', ' || ".join(f"quote({files.identifier(column)})" for column in columns)
        where = f"{rowid} IN (SELECT rowid {broken} WHERE fkid = ?)"
        named = f"{schema}.{files.identifier(table)}"
        grouped = f"SELECT {values}, count(*) FROM {named} WHERE {where} GROUP BY 1"  # noqa: S608 - quoted names
        for value, rows in live.execute(grouped, (table, schema, id_)):
            yield parent, f"{label} = {value}", rows


def prove_keys(
    live: sqlite3.Connection,
    brought: tuple[Brought, ...],
    before: Dangling,
    unknown: frozenset[str] = frozenset(),
) -> None:
    """Compare with what was missing before, here or in the backup.

    Of the tables `unknown`, folded, the backup holds no rows: that one is missing there tells nothing.

    Raises:
        Refused: rows would be left without their counterpart.
    """
    there = dangling(live, [table.source for table in brought], "backup")
    sources = {files.folded(table.target): files.folded(table.source) for table in brought}
    after = dangling(live, [table.target for table in brought])
    wrong = []
    for (table, parent), missing in sorted(after.items()):
        known = dict(before.get((table, parent), {}))
        if table in sources and parent not in unknown:
            for value, rows in there.get((sources[table], parent), {}).items():
                known[value] = max(rows, known.get(value, 0))
        number = sum(rows for value, rows in missing.items() if rows > known.get(value, 0))
        if number:
            wrong.append((table, parent, number))
    if not wrong:
        return
    names = [
        (_spelt(live, "main", t) or t, _spelt(live, "main", p) or p, many(n, "row")) for t, p, n in wrong
    ]
    table, parent, broken = names[0]
    other = table if files.folded(parent) in sources else parent
    there_too, bare = _spelt(live, "backup", other), files.folded(other) in unknown
    if there_too and not bare:
        also = f"bring back that table too: --table={shlex.quote(there_too)}; or"
    else:
        also = f"the backup holds no {'rows of ' * bare}{other}; bring it in"
    raise Refused(
        f"{broken} of {table} would refer to rows of {parent} that are not there (foreign key {table} → {parent})",
        details="; ".join(f"{t} → {p}: {n}" for t, p, n in names),
        hint=f"{also} beside, to look and pick: --as=NAME",
    )


def _spelt(live: sqlite3.Connection, schema: str, name: str) -> str | None:
    """Return a table's name as this side spells it; None where it has no such table."""
    query = f"SELECT name FROM {schema}.sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE"  # noqa: S608 - constants
    found = live.execute(query, (name,)).fetchone()
    return str(found[0]) if found else None
