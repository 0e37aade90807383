"""What a backup leaves out by choice, in the words of its manifest; and what these words tell later."""

from __future__ import annotations

from collections.abc import Iterable

from ..plans import DumpRequest

__all__ = ["lacks_definitions", "parts_left_out", "rows_alone"]

ROWS_OF = "rows of "
ALL_ROWS = "all rows"
ALL_DEFINITIONS = "all definitions"


def parts_left_out(request: DumpRequest, *, wanted: str, excluded: str, bare: str) -> tuple[str, ...]:
    """Say what a request leaves out: its tables, those that are left out, and those without rows, each list as a text."""
    parts = []
    if request.tables:
        parts.append(f"all other tables than {wanted} (it holds only {wanted})")
    if excluded:
        parts.append(f"table {excluded}")
    if bare and not request.schema_only:
        parts.append(f"{ROWS_OF}{bare}")
    if request.schema_only:
        parts.append(f"{ALL_ROWS} (--schema-only)")
    if request.data_only:
        parts.append(f"{ALL_DEFINITIONS} (--data-only)")
    return tuple(parts)


def lacks_definitions(parts: Iterable[str]) -> bool:
    """Whether tables that are not in it may have been there: a backup without some rows has all definitions."""
    return any(not part.startswith((ROWS_OF, ALL_ROWS)) for part in parts)


def rows_alone(parts: Iterable[str]) -> str:
    """Return the part that says that it holds rows alone; empty where it has definitions."""
    return next((part for part in parts if part.startswith(ALL_DEFINITIONS)), "")
