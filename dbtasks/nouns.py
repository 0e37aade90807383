"""A number with its noun: one of a thing is never several; and the first few of many names."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["many", "some"]


def many(number: int, thing: str) -> str:
    """Return a number with its noun: `1 table`, `1,000 rows`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def some(names: Iterable[str], most: int = 5) -> str:
    """List the first names, and say how many more there are: `a, b and 3 more`."""
    listed = list(names)
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
