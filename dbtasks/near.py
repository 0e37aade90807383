"""What somebody may have meant who named what is not there. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean"]

NAMED = 3


def did_you_mean(name: str, there: Iterable[str]) -> str:
    """Ask for the tables whose names are near to it, whatever schema they are in; empty where none is."""
    wanted = _plain(name)
    # a schema that both have would make any two names alike
    plain = {found: _plain(found) for found in sorted(there)}
    by_case = [found for found, word in plain.items() if word.lower() == wanted.lower()]
    if by_case:
        return f"did you mean {' or '.join(by_case[:NAMED])}? Upper and lower case count"
    words = difflib.get_close_matches(wanted, set(plain.values()), NAMED)
    near = [found for word in words for found in plain if plain[found] == word]
    return f"did you mean {' or '.join(near[:NAMED])}?" if near else ""


def _plain(name: str) -> str:
    return name.rpartition(".")[2]
