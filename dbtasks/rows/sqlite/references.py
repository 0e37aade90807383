"""When the references of a SQLite table are looked at: its PRAGMAs do not tell, the words it was made with do."""

from __future__ import annotations

from collections.abc import Sequence

from ..schema import Table
from .words import tokens

__all__ = ["whens_of"]


def whens_of(table: Table) -> tuple[str, ...]:
    """Return of each foreign key, in their order, the words of PostgreSQL for when it is looked at; empty: at once, always."""
    found = tokens(table.definition)
    upper = [token.upper() for token in found]
    # REFERENCES is nobody's name unless it is quoted
    starts = [at for at, word in enumerate(upper) if word == "REFERENCES"]
    if len(starts) != len(table.foreign_keys):
        return ("",) * len(table.foreign_keys)
    return tuple(_when(upper[start + 2 :]) for start in starts)


def _when(words: Sequence[str]) -> str:
    """Read what stands behind the table referred to, up to the end of this reference."""
    at = words.index(")") + 1 if words[:1] == ["("] else 0
    while at < len(words):
        if words[at] == "ON":
            # ON DELETE CASCADE, ON UPDATE SET NULL, ON DELETE NO ACTION
            at += 4 if words[at + 2 : at + 3] in (["SET"], ["NO"]) else 3
        elif words[at] == "MATCH":
            at += 2
        elif words[at] == "DEFERRABLE":
            is_late = list(words[at + 1 : at + 3]) == ["INITIALLY", "DEFERRED"]
            return " DEFERRABLE INITIALLY DEFERRED" if is_late else " DEFERRABLE"
        else:
            break
    return ""
