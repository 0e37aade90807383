"""What pg_dump said while it worked: one text per warning, and nothing of what it says about TimescaleDB every time."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

__all__ = ["warnings_of"]

_PREFIX = re.compile(r"^pg_dump(?:all)?: (?:warning: )?")
_FURTHER = re.compile(r"(?:detail|hint):\s", re.IGNORECASE)
_HEAD_OF_CIRCLE = "there are circular foreign-key constraints"
_REST_OF_CIRCLE = ("You might not be able to restore the dump", "Consider using a full dump")
"""pg_dump 14 does not say that these lines belong to the one before."""
_IN_CHUNKS = re.compile(r"(?:NOTICE:\s+)?hypertable data are in the chunks")


def warnings_of(said: str, *, catalog: Collection[str] = ()) -> tuple[str, ...]:
    """Turn stderr into one text per warning, its detail and hint lines joined.

    `catalog` names the tables of TimescaleDB's catalog, if the database has one:
    that their foreign keys go in a circle is left out, as is that the data of a
    hypertable are in its chunks.
    """
    found: list[str] = []
    circle: list[set[str]] = []
    for text, is_name in _lines(said):
        further = bool(found) and (is_name or bool(_FURTHER.match(text)) or text.startswith(_REST_OF_CIRCLE))
        if not further:
            found.append(text)
            circle.append(set())
            continue
        found[-1] += f" ({text})"
        if found[-1].startswith(_HEAD_OF_CIRCLE) and (is_name or text.startswith("detail:")):
            circle[-1].add(text.removeprefix("detail:").strip())
    return tuple(
        text
        for text, names in zip(found, circle, strict=True)
        if not (_IN_CHUNKS.match(text) or (names and names <= set(catalog)))
    )


def _lines(said: str) -> Iterator[tuple[str, bool]]:
    """Yield each line without its beginning, and whether it is but a name in a list (pg_dump 14 indents those)."""
    for line in said.splitlines():
        text = _PREFIX.sub("", line)
        if text.strip():
            yield text.strip(), text.startswith("  ")
