"""Values of SQLite as fields of PostgreSQL's COPY, column by column: how each kind of them is spelled, and which do not fit.

A field is spelled as the server itself would write the value. So what arrived can
be compared with what was there line by line, without reading either (`forms`).

A batch is spelled a column at a time: a few passes of C over all its values. Only
where one of them does not fit are they looked at one by one.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..lines import copy_part
from ..sqlite.numbered import LongValue
from .documents import prove_document
from .json_form import why_no_json
from .misfit import Misfit, shortened
from .moments import clock_words, dates, days, durations, epochs, moments, prove_epochs, short, times
from .numerals import booleans, decimals, floats, prove_floats, scaled, short_floats, whole

__all__ = [
    "NULL",
    "Speller",
    "line_of",
    "lines_of",
    "lines_of_columns",
    "long_line",
    "long_misfit",
    "speller",
]

NULL = "\\N"
ESCAPES = (
    ("\\", "\\\\"),
    ("\n", "\\n"),
    ("\t", "\\t"),
    ("\r", "\\r"),
    ("\b", "\\b"),
    ("\f", "\\f"),
    ("\v", "\\v"),
)
UUID = re.compile(r"(\{)?[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}(?(1)\}|)", re.ASCII)
LONGEST_PARSED = 1 << 22
"""Bytes of JSON that are parsed at once; larger ones are read in parts, which takes less memory and more time."""
MICROSECONDS = 6
"""Digits of a second that the server keeps at most."""
Column = Callable[[Sequence[Any]], list[str]]


@dataclass(frozen=True)
class Speller:
    """How the values of one column are spelled, but for NULL."""

    spell: Column
    """Raises `Misfit` where one of them does not fit."""
    always: frozenset[type] = frozenset()
    """Storage classes of which every value fits."""
    maybe: frozenset[type] = frozenset()
    """Those of which some do; of any other none does."""
    prove: Callable[[Sequence[Any]], object] | None = None
    """Tells misfits for less than spelling costs; None: spelling does."""

    def fits(self, value: Any) -> str:
        """Return why a value does not fit; empty where it does."""
        try:
            if type(value) not in self.always:
                self.spell((value,))
        except Misfit as exc:
            return str(exc)
        return ""


@lru_cache(256)
def speller(how: str) -> Speller:
    """Return what spells values this way.

    Raises:
        KeyError: there is no such way.
    """
    name, _, arguments = how.partition(":")
    return MAKERS[name](*arguments.split(",")) if arguments else PLAIN[name]


def lines_of(rows: Sequence[Sequence[Any]], hows: Sequence[str]) -> list[str]:
    """Return each row as a line of COPY's text format, without its end.

    Raises:
        Misfit: a value does not fit; which row's, `line_of` tells.
    """
    if not hows:
        return [""] * len(rows)
    return lines_of_columns([*zip(*rows, strict=True)], hows) if rows else []


def lines_of_columns(columns: Sequence[Sequence[Any]], hows: Sequence[str]) -> list[str]:
    """Return the same of rows that are given by column; there is at least one.

    Raises:
        Misfit: a value does not fit; which row's, `line_of` tells.
    """
    fields = [
        _column(values, speller(how), place)
        for place, (values, how) in enumerate(zip(columns, hows, strict=True))
    ]
    return list(map("\t".join, zip(*fields, strict=True)))


def line_of(row: Sequence[Any], hows: Sequence[str]) -> str:
    """Return one row as a line.

    Raises:
        Misfit: its `column` does not fit.
    """
    return lines_of((row,), hows)[0]


def _column(values: Sequence[Any], how: Speller, place: int) -> list[str]:
    try:
        if None not in values:
            return how.spell(values)
        fields = iter(how.spell([value for value in values if value is not None]))
        return [NULL if value is None else next(fields) for value in values]
    except Misfit as exc:
        raise Misfit(str(exc), place) from exc


def long_line(values: Sequence[Any], hows: Sequence[str]) -> Iterator[bytes]:
    """Yield one row piece by piece; values too long to be held are streamed.

    Raises:
        Misfit: its `column` does not fit; what was yielded before it is of no use.
    """
    for place, (value, how) in enumerate(zip(values, hows, strict=True)):
        if place:
            yield b"\t"
        if isinstance(value, LongValue):
            if why := long_misfit(value, how):
                raise Misfit(why, place)
            yield from _long(value, how)
        else:
            yield _column((value,), speller(how), place)[0].encode()


def long_misfit(value: LongValue, how: str) -> str:
    """Return why a value that is too long to be held does not fit; empty where it does, as far as can be seen here."""
    name, _, limit = how.partition(":")
    is_text = value.kind == "text"
    if name == "bytea":
        return f"{value} is no blob" if is_text and limit != "text" else ""
    if not is_text:
        return f"{value} is no text"
    if name not in ("text", "padded", "json", "jsonb", "words"):
        return f"{value} is nothing of this type"
    if not value.is_plain:
        return f"{value} has a zero byte, or is no UTF-8"
    if name in ("json", "jsonb"):
        return _long_documents(value, name)
    # more characters than fit into a type with a length, whatever they are
    is_long = name != "words" and limit and value.size > 4 * int(limit)
    return f"{value} has more than {limit} characters" if is_long else ""


def _long_documents(value: LongValue, name: str) -> str:
    """Return why a long text is no JSON: once for each value, however often it is asked."""
    known = value.known.get(name)
    if known is not None:
        return known
    if value.size <= LONGEST_PARSED:
        why = PLAIN[name].fits("".join(piece.decode() for piece in value.pieces()))
    else:
        found = why_no_json((piece.decode() for piece in value.pieces()), binary=name == "jsonb")
        why = f"{value} {found}" if found else ""
    value.known[name] = why
    return why


def _long(value: LongValue, how: str) -> Iterator[bytes]:
    if how.startswith("bytea"):
        yield b"\\\\x"
        for piece in value.octets():
            yield piece.hex().encode()
        return
    yield from map(copy_part, value.pieces())


# -- texts -----------------------------------------------------------------------------------


def _prove_texts(values: Sequence[Any]) -> str:
    """See that these are texts that PostgreSQL can hold; returns them in one, zero bytes between them."""
    if not values:
        return ""
    try:
        joined = "\0".join(values)
    except TypeError:
        return _prove_texts([_as_text(value) for value in values])
    if joined.count("\0") != len(values) - 1:
        found = next(value for value in values if "\0" in value)
        raise Misfit(f"{shortened(found)} holds a zero byte")
    if not joined.isascii():
        try:
            joined.encode()
        except UnicodeEncodeError as exc:
            raise Misfit(f"{shortened(_not_utf8(values))} is no UTF-8") from exc
    return joined


def _not_utf8(values: Sequence[str]) -> str:
    for value in values:
        try:
            value.encode()
        except UnicodeEncodeError:
            return value
    return ""


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        raise Misfit(f"{shortened(value)} is no text")
    return str(value) if isinstance(value, int) else repr(value)


def _texts(values: Sequence[Any]) -> list[str]:
    if not values:
        return []
    joined = _prove_texts(values)
    for raw, escaped in ESCAPES:
        if raw in joined:
            joined = joined.replace(raw, escaped)
    return joined.split("\0")


def _intervals(values: Sequence[Any]) -> list[str]:
    for value in values:
        if not isinstance(value, str):
            raise Misfit(f"{shortened(value)} is no interval as text")
    return _texts(values)


def _limited(limit: str) -> Speller:
    most = int(limit)

    def prove(values: Sequence[Any]) -> None:
        _prove_texts(values)
        texts = [value if isinstance(value, str) else _as_text(value) for value in values]
        if max(map(len, texts), default=0) > most:
            found = next(text for text in texts if len(text) > most)
            raise Misfit(f"{shortened(found)} has {len(found):,} characters, and {most:,} fit")

    def spell(values: Sequence[Any]) -> list[str]:
        prove(values)
        return _texts(values)

    return Speller(spell, maybe=frozenset((str, int, float)), prove=prove)


def _padded(limit: str) -> Speller:
    """Return what spells texts that are filled up with blanks: of one that ends in some nobody could tell which are its own."""
    limited, most = _limited(limit), int(limit)

    def prove(values: Sequence[Any]) -> None:
        limited.spell(values)
        found = next((value for value in values if str(value).endswith(" ") and len(value) != most), None)
        if found is not None:
            raise Misfit(f"{shortened(found)} ends in blanks, which the type does not keep")

    def spell(values: Sequence[Any]) -> list[str]:
        prove(values)
        return _texts(values)

    return Speller(spell, maybe=limited.maybe, prove=prove)


def _labels(*labels: str) -> Speller:
    known = frozenset(labels)

    def spell(values: Sequence[Any]) -> list[str]:
        if not known.issuperset(values):
            found = next(value for value in values if value not in known)
            raise Misfit(f"{shortened(found)} is none of {', '.join(labels)}")
        return _texts(values)

    return Speller(spell, maybe=frozenset((str,)))


def _documents(*, binary: bool) -> Column:
    def spell(values: Sequence[Any]) -> list[str]:
        for value in values:
            prove_document(_as_text(value), value, binary=binary)
        return _texts(values)

    return spell


def _uuids(values: Sequence[Any]) -> list[str]:
    return [_uuid(value) for value in values]


def _uuid(value: Any) -> str:
    if isinstance(value, bytes) and len(value) == 16:
        return str(uuid.UUID(bytes=value))
    if isinstance(value, str) and UUID.fullmatch(value):
        return str(uuid.UUID(value))
    raise Misfit(f"{shortened(value)} is no UUID")


# -- bytes -----------------------------------------------------------------------------------


def _bytes(values: Sequence[Any]) -> list[str]:
    found = next((value for value in values if not isinstance(value, bytes)), None)
    if found is not None:
        raise Misfit(f"{shortened(found)} is no blob")
    return ["\\\\x" + value.hex() for value in values]


def _bytes_of_text(values: Sequence[Any]) -> list[str]:
    return _bytes(
        [value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value for value in values]
    )


# -- all of them ------------------------------------------------------------------------------

INTS, REALS, TEXTS, BYTES = frozenset((int,)), frozenset((float,)), frozenset((str,)), frozenset((bytes,))
NUMBERS = INTS | REALS

PLAIN: dict[str, Speller] = {
    "text": Speller(_texts, always=NUMBERS, maybe=TEXTS, prove=_prove_texts),
    "words": Speller(_texts, always=NUMBERS, maybe=TEXTS, prove=_prove_texts),
    "interval": Speller(clock_words(_intervals, MICROSECONDS), maybe=TEXTS),
    "bytea": Speller(_bytes, always=BYTES),
    "boolean": Speller(booleans, maybe=INTS | TEXTS),
    "smallint": Speller(whole(15), maybe=NUMBERS | TEXTS),
    "integer": Speller(whole(31), maybe=NUMBERS | TEXTS),
    "bigint": Speller(whole(63), always=INTS, maybe=REALS | TEXTS),
    "double": Speller(floats, always=REALS, maybe=INTS | TEXTS, prove=prove_floats),
    "real": Speller(short_floats, maybe=NUMBERS | TEXTS),
    "numeric": Speller(decimals, always=NUMBERS, maybe=TEXTS),
    "uuid": Speller(_uuids, maybe=TEXTS | BYTES),
    "json": Speller(_documents(binary=False), maybe=NUMBERS | TEXTS),
    "jsonb": Speller(_documents(binary=True), maybe=NUMBERS | TEXTS),
    "date": Speller(dates, maybe=TEXTS),
    "time": Speller(times, maybe=TEXTS),
    "timestamp": Speller(moments(zoned=False), maybe=TEXTS),
    "timestamptz": Speller(moments(zoned=True), maybe=TEXTS),
}
"""Ways without anything to say about them, by name."""


def _moment_how(said: str, *, zoned: bool) -> Speller:
    if not said:
        return PLAIN["timestamptz" if zoned else "timestamp"]
    if said == "cut":
        return Speller(moments(zoned=zoned, cut=True), maybe=TEXTS)
    if said == "days":
        return Speller(days(zoned=zoned), maybe=NUMBERS)
    return Speller(epochs(said, zoned=zoned), maybe=NUMBERS, prove=prove_epochs(said))


def _short(whole: Speller, digits: str) -> Speller:
    """Let no value have more digits of a second than so many; without any said as many as there are."""
    return Speller(short(whole.spell, int(digits)), maybe=whole.maybe) if digits else whole


def _interval(said: str, digits: str = "") -> Speller:
    if said == "text":
        return Speller(clock_words(_intervals, int(digits)), maybe=TEXTS)
    return _short(Speller(durations, maybe=INTS), digits)


MAKERS: dict[str, Callable[..., Speller]] = {
    "text": _limited,
    "padded": _padded,
    "words": lambda digits: Speller(clock_words(_texts, int(digits)), always=NUMBERS, maybe=TEXTS),
    "enum": _labels,
    "numeric": lambda *digits: Speller(scaled(*digits), maybe=NUMBERS | TEXTS),
    "bytea": lambda _: Speller(_bytes_of_text, always=BYTES | TEXTS),
    "interval": _interval,
    "time": lambda _, digits: _short(PLAIN["time"], digits),
    "timestamp": lambda said, digits="": _short(_moment_how(said, zoned=False), digits),
    "timestamptz": lambda said, digits="": _short(_moment_how(said, zoned=True), digits),
}
"""Those with something, which stands behind a colon: `text:40`, `numeric:10,2`, `timestamptz:milliseconds`, `timestamptz:,3`."""
