"""The lines of a `rows` file as the CSV that PostgreSQL's COPY takes: the way of `lines`, backwards, in blocks cut anywhere.

A row's array without its brackets is a CSV row already, but for control
characters that JSON spells and CSV wants as they are. No row is parsed; a value
of any length goes through piece by piece.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ...errors import ArchiveDamaged
from ..lines import BETWEEN

__all__ = ["csv_of"]

BACKSLASH = b"\0"
"""Stands for two of them while the others are looked at; no line of ours has one."""
SHORT = ((b"\\n", b"\n"), (b"\\t", b"\t"), (b"\\r", b"\r"), (b"\\b", b"\b"), (b"\\f", b"\f"))
SPELLED = re.compile(rb"\\u00(0[1-9a-f]|1[0-9a-f])")
LONGEST_ESCAPE = 6


def csv_of(pieces: Iterable[bytes], table: str) -> Iterator[bytes]:
    """Turn a table's lines into rows of COPY's CSV, of which each ends with a line break.

    Raises:
        ArchiveDamaged: a value is spelled as no file of ours spells one.
    """
    held = b""
    first = True
    for piece in pieces:
        held += piece[1:] if first else piece
        first = False
        end = _whole(held)
        if end:
            yield _plain(held[:end], table)
            held = held[end:]
    if not first:
        # what is left ends with the last row's bracket
        yield _plain(held[:-1], table) + b"\n"


def _whole(held: bytes) -> int:
    """Return how much of it can be looked at alone: no escape is cut, nor what stands between two rows."""
    end = len(held)
    for tail in (b"]", b"],", b"],\n"):
        if held.endswith(tail):
            end = len(held) - len(tail)
            break
    # an escape that begins near the end: the last of an odd number of backslashes begins one
    at = held.rfind(b"\\", max(0, end - LONGEST_ESCAPE), end)
    if at < 0:
        return end
    run = at - len(held[: at + 1].rstrip(b"\\")) + 1
    if run % 2 == 0:
        return end
    length = LONGEST_ESCAPE if held[at + 1 : at + 2] == b"u" else 2
    return at if at + length > end else end


def _plain(block: bytes, table: str) -> bytes:
    """Put characters in the place of escapes; those of a quote and of a backslash are CSV's as they are JSON's."""
    # before anything else: with its escapes gone a value may look like what stands between two rows
    block = block.replace(BETWEEN, b"\n")
    if b"\\" not in block:
        return block
    if BACKSLASH in block:
        raise _foreign(table)
    block = block.replace(b"\\\\", BACKSLASH)
    # mostly there are none but those of quotes, and each kind that is looked for costs a pass
    left = block.count(b"\\") - block.count(b'\\"')
    for spelled, raw in SHORT:
        if left:
            before = len(block)
            block = block.replace(spelled, raw)
            left -= before - len(block)
    if left:
        block, replaced = SPELLED.subn(lambda found: bytes((int(found[1], 16),)), block)
        left -= replaced
    if left:
        raise _foreign(table)
    return block.replace(BACKSLASH, b"\\\\")


def _foreign(table: str) -> ArchiveDamaged:
    return ArchiveDamaged(f"a value of {table} is not spelled as a rows file of dbtasks spells it")
