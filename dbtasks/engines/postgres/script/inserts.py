r"""Rows as INSERTs, as pg_dump writes them: recognised and passed in bulk.

Token by token a script of INSERTs would be read at five megabytes a second.
What is recognised here is whole statements whose reading is beyond doubt once
it is known how strings are read; only that has to be set in front of them.
And it is set once for all: `\;` makes psql send them as one query, which it
has read to its end before the first of them runs, so none of them can change
how the next one is read.
"""

from __future__ import annotations

import re

__all__ = ["ALIKE", "INSERTS", "TUPLES", "as_one_query"]

_NAME = rb"(?:\"[^\"]*\"|[a-z0-9_])++"


def _tuple(string: bytes) -> bytes:
    # no other quote behind a word: it would be read by what the word is. Bits are digits alone, which end
    # where they end however they are read
    return (
        rb"\((?:[A-Za-z0-9_]++(?!')|[ .,+]|-(?!-)|"
        + string
        + rb"|E'(?:[^'\\]++|\\.|'')*+'|[BX]'[0-9A-Fa-f]*+')*+\)"
    )


_HEAD = (
    rb"INSERT INTO "
    + _NAME
    + rb"(?:\."
    + _NAME
    + rb")?+(?: \((?:"
    + _NAME
    + rb"(?:, )?+)*+\))?+(?: OVERRIDING (?:SYSTEM|USER) VALUE)?+ VALUES"
)


def _rows(string: bytes) -> bytes:
    return (
        rb"\s\t?+"
        + _tuple(string)
        + rb"(?:,\s++"
        + _tuple(string)
        + rb")*+(?: ON CONFLICT DO NOTHING)?+;\r?+\n"
    )


def _insert(string: bytes) -> bytes:
    return _HEAD + _rows(string)


_STRING = {b"on": rb"'[^']*+'", b"off": rb"'[^'\\]*+'"}
"""By standard_conforming_strings: with off, a backslash may hide a quote."""
TUPLES = {
    strings: re.compile(rb"(?>" + _tuple(s) + rb"(?:,\s*+(?=\())?+)++", re.DOTALL)
    for strings, s in _STRING.items()
}
"""Rows inside an INSERT, in any number; what cannot be read in two ways."""
INSERTS = {strings: re.compile(rb"(?>" + _insert(s) + rb")++") for strings, s in _STRING.items()}
"""Whole statements, in any number."""
ALIKE = {
    strings: re.compile(
        rb"(?>(?P<first>(?P<head>" + _HEAD + rb")" + _rows(s) + rb")(?:(?P=head)" + _rows(s) + rb")*+)"
    )
    for strings, s in _STRING.items()
}
"""The same with one head: as many as go into the same columns of the same table."""
_ONE = {
    strings: re.compile(rb"(" + _insert(s)[: -len(rb";\r?+\n")] + rb");(\r?+\n)")
    for strings, s in _STRING.items()
}


def as_one_query(inserts: bytes, strings: bytes, *, head: bytes = b"", new: bytes = b"") -> bytes:
    r"""Join statements that `INSERTS` found by `\;`, so that psql reads all before it runs one.

    Where all have the same `head`, as those that `ALIKE` found, `new` may take its place.
    """
    if new:
        joined = _ONE[strings].sub(lambda one: new + one[1][len(head) :] + rb"\;" + one[2], inserts)
    else:
        joined = _ONE[strings].sub(rb"\1\\;\2", inserts)
    end = joined.rindex(b"\\;")
    return joined[:end] + joined[end + 1 :]
