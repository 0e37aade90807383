"""A value that its column's new type does not take, and its words."""

from __future__ import annotations

import re
from typing import Any

from ...nouns import many

__all__ = ["Misfit", "shortened"]

SHOWN = 40
NO_TEXT = re.compile(r"(?<!\\)((?:\\\\)*)\\udc([89a-f][0-9a-f])")


class Misfit(ValueError):
    """A value does not fit; the text says why, without the column."""

    def __init__(self, why: str, column: int | None = None) -> None:
        super().__init__(why)
        self.column = column
        """Its place in the row, where a whole row was asked for."""


def shortened(value: Any) -> str:
    """Return a value as people are shown one."""
    if isinstance(value, bytes):
        more = "…" if len(value) > SHOWN // 4 else ""
        return f"x'{value[: SHOWN // 4].hex()}{more}' ({many(len(value), 'byte')})"
    if isinstance(value, str):
        # bytes that were no text are held as lone surrogates: nothing that anybody knows
        text = NO_TEXT.sub(r"\1\\x\2", repr(value[:SHOWN]))
        return text + ("…" if len(value) > SHOWN else "")
    return str(value)
