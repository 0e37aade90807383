"""The words of definitions that SQLite keeps as somebody wrote them, and what they say of a table."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..schema import Table

__all__ = [
    "collated",
    "collations",
    "counts_for_good",
    "counts_itself",
    "index_items",
    "index_parts",
    "is_strict",
    "keys_said",
    "plain_items",
    "tokens",
    "unquoted",
    "words",
]

TOKEN = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)"""
    r"""|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?!\w)|\w+|<>|[<>=!]=|\|\||->>?|<<|>>|\S""",
    re.DOTALL,
)
QUOTES = {'"': '"', "`": "`", "[": "]"}
GOING_DOWN = ["PRIMARY", "KEY", "DESC"]
"""What SQLite takes no row's number for, where it stands behind a column; `PRIMARY KEY (a DESC)` it does."""


def tokens(text: str) -> list[str]:
    """Return names, words, numbers, strings and marks, without comments."""
    return [token for token in TOKEN.findall(text) if not token.startswith(("--", "/*"))]


def words(text: str) -> list[str]:
    """Return the words of a definition, without comments and what stands in quotes."""
    return [token for token in TOKEN.findall(text) if re.match(r"\w", token)]


def unquoted(token: str) -> str:
    """Return the name that a token spells."""
    close = QUOTES.get(token[0])
    return token[1:-1].replace(close * 2, close) if close and len(token) > 1 else token


def counts_for_good(definition: str) -> bool:
    """Whether a table counts by AUTOINCREMENT, which gives no number twice: the word is a name in quotes alone."""
    return "AUTOINCREMENT" in map(str.upper, words(definition))


def is_strict(definition: str) -> bool:
    """Whether a table is STRICT: each column holds what it was declared as, and ANY holds everything as it is."""
    return "STRICT" in _options(definition)


def _options(definition: str) -> frozenset[str]:
    """Return the words behind the columns, in upper case."""
    said = tokens(definition)
    behind = next((at for at in range(len(said), 0, -1) if said[at - 1] == ")"), len(said))
    return frozenset(word.upper() for word in said[behind:])


def counts_itself(table: Table) -> str | None:
    """Return the column that is the row's own number: SQLite counts it by itself."""
    key = table.primary_key
    if key is None or len(key.columns) != 1 or {"WITHOUT", "ROWID"} <= _options(table.definition):
        return None
    said = [token.upper() for token in tokens(table.definition)]
    if any(said[at : at + 3] == GOING_DOWN for at in range(len(said))):
        return None
    column = next((column for column in table.columns if column.name == key.columns[0]), None)
    return column.name if column and column.type.upper() == "INTEGER" else None


def collated(table: Table) -> frozenset[str]:
    """Return the columns that compare by a COLLATE of their own, in lower case; BINARY is how all others do."""
    return frozenset(name for name, collation in collations(table).items() if collation != "BINARY")


def collations(table: Table) -> dict[str, str]:
    """Return the collation of each column that says one, in upper case, by its name in lower case."""
    found: dict[str, str] = {}
    depth, name, before = 0, "", ""
    for part in tokens(table.definition):
        if depth == 1 and before in ("(", ","):
            name = unquoted(part).lower()
        if depth == 1 and before.upper() == "COLLATE":
            found[name] = unquoted(part).upper()
        depth += (part == "(") - (part == ")")
        before = part
    return found


def keys_said(table: Table) -> list[list[tuple[str, str, bool]]]:
    """Return what stands in the parentheses of PRIMARY KEY and UNIQUE behind the columns, as `index_items` does."""
    found: list[list[tuple[str, str, bool]]] = []
    depth = 0
    said = tokens(table.definition)
    for at, part in enumerate(said):
        before = [word.upper() for word in said[max(at - 2, 0) : at]]
        if part == "(" and depth == 1 and (before[-1:] == ["UNIQUE"] or before == ["PRIMARY", "KEY"]):
            items = index_items(said[at + 1 : said.index(")", at)], table)
            found += [items] if items else []
        depth += (part == "(") - (part == ")")
    return found


def index_parts(definition: str) -> tuple[bool, list[str], list[str]]:
    """Take an index apart: whether it is unique, the tokens of what it is over, those of its WHERE.

    What it is over is empty where it cannot be found.
    """
    found = tokens(definition)
    unique = [word.upper() for word in found[1:2]] == ["UNIQUE"]
    if "(" not in found:
        return unique, [], []
    start = found.index("(")
    depth = 0
    for at in range(start, len(found)):
        depth += (found[at] == "(") - (found[at] == ")")
        if depth == 0:
            rest = found[at + 1 :]
            return unique, found[start + 1 : at], rest[1:] if rest and rest[0].upper() == "WHERE" else rest
    return unique, [], []


def plain_items(over: Sequence[str], table: Table) -> list[tuple[str, bool]] | None:
    """Return the columns of an index, and whether each goes down; None where it is over anything else, or says a collation."""
    items = index_items(over, table)
    if items is None or any(collation for _, collation, _ in items):
        return None
    return [(column, down) for column, _, down in items]


def index_items(over: Sequence[str], table: Table) -> list[tuple[str, str, bool]] | None:
    """Return the columns of an index, the collation that each says, in upper case, and whether it goes down.

    None where it is over anything else.
    """
    names = {column.name.lower(): column.name for column in table.data_columns}
    items: list[tuple[str, str, bool]] = []
    item: list[str] = []
    for word in (*over, ","):
        if word != ",":
            item.append(word)
            continue
        name = names.get(unquoted(item[0]).lower()) if item else None
        order = [word.upper() for word in item[1:]]
        collation = ""
        if order[:1] == ["COLLATE"] and len(order) > 1:
            collation, order = unquoted(item[2]).upper(), order[2:]
        if name is None or order not in ([], ["ASC"], ["DESC"]):
            return None
        items.append((name, collation, order == ["DESC"]))
        item = []
    return items
