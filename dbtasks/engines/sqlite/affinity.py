"""What a column of SQLite turns its values into, by what it was declared as."""

from __future__ import annotations

from dataclasses import replace

from ...rows.schema import Column, Table
from ...rows.sqlite.words import is_strict

__all__ = ["STRICT_ANY", "affinity_of", "any_told_apart"]

STRICT_ANY = "ANY in a STRICT table"
"""How the type is spelt that leaves every value as it is; ANY is NUMERIC in any other table."""


def affinity_of(declared: str) -> str:
    """Return the affinity, by the rules of SQLite's documentation, in their order."""
    if declared == STRICT_ANY:
        return "BLOB"
    name = declared.upper()
    if "INT" in name:
        return "INTEGER"
    if any(part in name for part in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if "BLOB" in name or not name:
        return "BLOB"
    return "REAL" if any(part in name for part in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


def any_told_apart(table: Table) -> Table:
    """Spell ANY of a STRICT table apart: there, and nowhere else, it leaves values as they are."""

    def told(column: Column) -> Column:
        return replace(column, type=STRICT_ANY) if column.type.upper() == "ANY" else column

    return replace(table, columns=tuple(map(told, table.columns))) if is_strict(table.definition) else table
