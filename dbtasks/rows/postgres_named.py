"""The names that PostgreSQL itself gives to keys without one. Pure."""

from __future__ import annotations

from .postgres_spelling import LIMIT_BYTES
from .schema import Table

__all__ = ["names_of_keys"]


def names_of_keys(table: Table) -> list[str]:
    """Return how the server calls the keys of a table, where nothing else is called that."""
    found = [_named(table.name, "", "pkey")] if table.primary_key else []
    counts: dict[str, int] = {}
    for key in table.unique:
        wanted = _named(table.name, "_".join(key.columns), "key")
        number = counts[wanted] = counts.get(wanted, -1) + 1
        found.append(_named(table.name, "_".join(key.columns), f"key{number}") if number else wanted)
    return found


def _named(table: str, columns: str, label: str) -> str:
    """Join what a name is made of; what is longer is cut until the whole is short enough."""
    first, second = table.encode("utf-8", "replace"), columns.encode("utf-8", "replace")
    room = LIMIT_BYTES - len(label) - (2 if columns else 1)
    while len(first) + len(second) > room:
        if len(first) > len(second):
            first = first[:-1]
        else:
            second = second[:-1]
    parts = [part.decode("utf-8", "ignore") for part in (first, second) if part]
    return "_".join((*parts, label))
