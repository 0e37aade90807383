"""The names that PostgreSQL itself gives to keys without one. Pure."""

from __future__ import annotations

from collections.abc import Collection
from itertools import count

from ..schema import Table
from .spelling import LIMIT_BYTES

__all__ = ["names_of_keys", "numbered"]


def names_of_keys(table: Table, taken: Collection[str] = ()) -> list[str]:
    """Return how the server calls the keys of a table, where these names are taken: cut, two tables may come to the same."""
    found: list[str] = []
    wanted = [("", "pkey")] if table.primary_key else []
    wanted += [("_".join(key.columns), "key") for key in table.unique]
    for columns, label in wanted:
        names = (_named(table.name, columns, f"{label}{number or ''}") for number in count())
        found.append(next(name for name in names if name not in taken and name not in found))
    return found


def numbered(name: str, number: int) -> str:
    """Return a name with a number behind it, cut so that the server takes it whole."""
    tail = f"_{number}"
    return name.encode("utf-8", "replace")[: LIMIT_BYTES - len(tail)].decode("utf-8", "ignore") + tail


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
