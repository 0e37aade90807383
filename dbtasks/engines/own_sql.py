"""What helps where SQL of the user's own, the files of after_load, is refused or fails: one answer for both engines."""

from __future__ import annotations

__all__ = ["AS_SQL", "MAKE_READABLE", "TAKE_OUT", "way_on"]

AS_SQL = "say it in SQL"
MAKE_READABLE = "make it a file of UTF-8 text that this user may read"
TAKE_OUT = "take that out"


def way_on(how: str = "correct it") -> str:
    """Return the hint: what to do to the file, and how to go on without it."""
    return f"{how} and restore again; after_load=none restores without such files"
