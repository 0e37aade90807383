"""A number with its noun: one of a thing is never several."""

from __future__ import annotations

__all__ = ["many"]


def many(number: int, thing: str) -> str:
    """Return a number with its noun: `1 table`, `1,000 rows`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
