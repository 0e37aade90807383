"""The two sides of a comparison: as a line, and as a JSON object."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from .documents import moment
from .text import age_text, many, moment_text

if TYPE_CHECKING:
    from ..executors.sides import ComparedSide

__all__ = ["side_object", "side_text"]


def side_text(side: ComparedSide, now: datetime, also: str) -> str:
    """Say which backup or database it is, how many tables it has, and what else is to be said of it."""
    if side.live:
        text = f"{side.name}, live"
    elif side.made_at is None:
        text = f"{side.name} (not made by dbtasks)"
    else:
        whose = "made by others, adopted for" if side.adopted else "of"
        made = f"{side.type}, {age_text(side.made_at, now)} ({moment_text(side.made_at)})"
        text = f"{side.name}  {made}, {whose} {side.database}"
    return ", ".join(part for part in (f"{text}: {many(side.tables, 'table')}", also) if part)


def side_object(side: ComparedSide) -> dict[str, Any]:
    """Return what is told of every side."""
    return {
        "name": side.name,
        "live": side.live,
        "database": str(side.database) if side.database else None,
        "type": side.type or None,
        "at": moment(side.made_at) if side.made_at else None,
        "tables": side.tables,
    }
