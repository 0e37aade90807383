"""The older file of the rows shape, read from its beginning to its end in bounded memory.

    {"metadata": {"timestamp": …, "migration_version": …, "database_name": …, "database_host": …},
     "tables": {"customer": {"columns": ["id", "name"], "data": [[1, "Ada"], …], "row_count": 2}, …}}

An older tool wrote it, on one line or indented, its keys in one order or the
other. The standard library's own scanner reads it, a row at a time: what is not
complete yet is read again with more of the file behind it. A number stays the
text that it is: nothing goes through a float.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import ArchiveDamaged, CountsDiffer, Refused
from ...streams import BLOCK_BYTES, HasRead
from ..file import Header, Metadata
from .values import DECODER, Members, Number, Unending

__all__ = [
    "KEYS",
    "VALUE_CHARACTERS",
    "OlderRows",
    "OlderSource",
    "is_older",
]

KEYS = ("timestamp", "migration_version", "database_name", "database_host")
"""What its metadata says, and nothing else."""
START = re.compile(r'\s*\{\s*"(metadata|tables)"\s*:\s*')
VALUE_CHARACTERS = 1 << 27
"""One row is held in memory: a longer one is no row of a database."""
BATCH_CHARACTERS = 1 << 18
LONGEST_WORD = 16
"""A scanner stops so near to the end of what it was given where it was not given enough."""
NESTED = "it is nested deeper than anybody writes"


def is_older(head: bytes) -> bool:
    """Whether a file that begins like this is one of these, and none of ours: its metadata says no layout.

    `head` has to hold the whole metadata of the one, which is short, where the metadata comes first.
    """
    text = head.decode("utf-8", "replace")
    found = START.match(text)
    if found is None:
        return False
    if found[1] == "tables":
        return True
    try:
        metadata, _ = DECODER.raw_decode(text, found.end())
    except (ValueError, RecursionError):
        return False
    return isinstance(metadata, Members) and "layout" not in dict(metadata)


@dataclass(frozen=True)
class OlderRows:
    """Some rows of a table, in order: None, bool, str, `Number`, `Unending`, lists and `Members`."""

    first: int
    """The number of the first of them, from 1."""
    rows: Sequence[list[Any]]


@dataclass
class _Open:
    """A table that is being read."""

    name: str
    columns: tuple[str, ...] | None = None
    said: int | None = None
    """How many rows it says that it has."""
    came: int | None = None
    """How many it has."""
    keys: set[str] = field(default_factory=set)


class OlderSource:
    """Reads one document; the same ways of asking as `FileSource`.

    Raises:
        ArchiveDamaged: it is cut, or not of this shape. CountsDiffer: a table holds other rows than it says.
        Refused: it says more than these files do.
    """

    def __init__(self, source: HasRead, name: str) -> None:
        self._name = name
        self._text = _Text(source, name)
        self._metadata: Mapping[str, Any] | None = None
        self._tables_met = False
        self._open: _Open | None = None
        self.row_count = 0
        """Of the table that was read last."""
        self._headers = self._each()
        self._text.take("{")
        self._first = self._text.key()
        if self._first == "metadata":
            self._read_metadata()

    @property
    def size_bytes(self) -> int:
        """Read so far, uncompressed."""
        return self._text.size_bytes

    @property
    def metadata(self) -> Metadata:
        """What it says of itself; empty as long as that has not come: it may stand behind the tables."""
        return Metadata(self._metadata or {}, None)

    def headers(self) -> Iterator[Header]:
        """Yield each table in the document's order, once; its rows are read before the next one is asked for, or skipped."""
        return self._headers

    def rows(self) -> Generator[OlderRows]:
        """Read the rows of the table whose header came last.

        Raises:
            ArchiveDamaged: one is no row. CountsDiffer: there are not as many as the document says.
        """
        table = self._open
        if table is None or table.came is not None:
            return
        width = len(table.columns or ())
        count, begun, first = 0, self._text.size, 1
        held: list[list[Any]] = []
        for row in self._text.items(self._of(table)):
            count += 1
            if type(row) is not list or len(row) != width:
                raise self._damaged(f"row {count:,} of {table.name} is not one value for each column")
            held.append(row)
            if self._text.size - begun > BATCH_CHARACTERS:
                yield OlderRows(first, held)
                held, begun, first = [], self._text.size, count + 1
        if held:
            yield OlderRows(first, held)
        table.came = count
        self._end_table(table)

    def pieces(self) -> Iterator[bytes]:
        """Read them to their end, for who only counts; they yield nothing: text was made of all of it already."""
        for _ in self.rows():
            yield b""

    # -- the document around the rows ----------------------------------------------------

    def _each(self) -> Iterator[Header]:
        key = self._text.next_key() if self._first == "metadata" else self._first
        while key is not None:
            if key == "tables" and not self._tables_met:
                self._tables_met = True
                yield from self._tables()
            elif key == "metadata" and self._metadata is None:
                self._read_metadata()
            else:
                raise self._damaged(f"{key!r} stands where its metadata or its tables should")
            key = self._text.next_key()
        self._text.prove_end()
        if self._metadata is None or not self._tables_met:
            raise self._damaged("its metadata or its tables are missing")

    def _tables(self) -> Iterator[Header]:
        met: set[str] = set()
        self._text.take("{")
        name = self._text.first_key()
        while name is not None:
            if name in met:
                raise self._damaged(f"the table {name} stands in it twice")
            met.add(name)
            self._open = _Open(name)
            yield self._header(self._open)
            for _ in self.rows():
                pass
            name = self._text.next_key()

    def _header(self, table: _Open) -> Header:
        """Read up to the rows."""
        self._text.take("{")
        key = self._text.first_key()
        while key is not None and key != "data":
            self._member(table, key)
            key = self._text.next_key()
        if key is None:
            raise self._damaged(f"the rows of {table.name} are missing")
        if table.columns is None:
            raise self._damaged(f"the rows of {table.name} stand before its columns")
        table.keys.add("data")
        return Header(table.name, table.columns)

    def _end_table(self, table: _Open) -> None:
        while (key := self._text.next_key()) is not None:
            self._member(table, key)
        if table.said is None:
            raise self._damaged(f"{table.name} does not say how many rows it has")
        if table.came is None or table.said != table.came:
            raise CountsDiffer(
                f"{self._name}: {table.name} holds {table.came:,} rows, and says that it has {table.said:,}"
            )
        self.row_count = table.came

    def _member(self, table: _Open, key: str) -> None:
        if key not in ("columns", "data", "row_count"):
            raise self._other(f"{table.name} has {key!r} beside its three parts")
        if key in table.keys:
            raise self._damaged(f"{table.name} holds {key!r} twice")
        table.keys.add(key)
        value = self._text.value(self._of(table))
        if key == "row_count":
            if not (isinstance(value, Number) and value.isdecimal() and len(value) < 19):
                raise self._damaged(f"{table.name} does not say how many rows it has")
            table.said = int(value)
            return
        if not (type(value) is list and all(type(name) is str for name in value)):
            raise self._damaged(f"the columns of {table.name} are no names")
        if len(set(value)) != len(value):
            raise self._damaged(f"{table.name} has a column twice")
        table.columns = tuple(value)

    def _read_metadata(self) -> None:
        value = self._text.value("its metadata")
        held = dict(value) if isinstance(value, Members) else {}
        missing = [key for key in KEYS if key not in held]
        if missing or len(held) != len(value):
            raise self._damaged(
                f"its metadata does not say {', '.join(missing)}"
                if missing
                else "its metadata says one thing twice"
            )
        strange = sorted(held.keys() - set(KEYS))
        if strange:
            raise self._other(f"its metadata says {', '.join(strange[:5])} too")
        if any(not isinstance(text, str | None) or isinstance(text, Unending) for text in held.values()):
            raise self._damaged("its metadata is none")
        self._metadata = {key: None if text is None else str(text) for key, text in held.items()}

    def _of(self, table: _Open) -> str:
        return f"what stands in {table.name}"

    def _other(self, what: str) -> Refused:
        return Refused(
            f"{self._name} is not quite a rows file of an older tool: {what}",
            hint="whoever wrote that meant something by it; where it may go, take it out of a copy of the file",
        )

    def _damaged(self, what: str) -> ArchiveDamaged:
        return ArchiveDamaged(f"{self._name} is not a whole rows file of an older tool: {what}")


class _Text:
    """The document's characters: a window over them, which moves on."""

    def __init__(self, source: HasRead, name: str) -> None:
        self._source = source
        self._name = name
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._held = ""
        self._at = 0
        self._ended = False
        self.size = 0
        """Characters that were taken."""
        self.size_bytes = 0

    def take(self, wanted: str) -> None:
        """Go over one character.

        Raises:
            ArchiveDamaged: it is another one.
        """
        if self._next() != wanted:
            raise self._wrong(f"{wanted!r} is missing")
        self._at += 1

    def key(self) -> str:
        """Return a key, and go over its colon."""
        if self._next() != '"':
            raise self._wrong("a name is missing")
        name = self.value("a name")
        self.take(":")
        return str(name)

    def first_key(self) -> str | None:
        """Return the first key of an object that was just opened; None: it is empty, and over."""
        if self._next() == "}":
            self._at += 1
            return None
        return self.key()

    def next_key(self) -> str | None:
        """Return the key behind a member; None: the object is over."""
        if self._next() == "}":
            self._at += 1
            return None
        self.take(",")
        return self.key()

    def items(self, what: str) -> Iterator[Any]:
        """Yield what stands in a list, one after the other."""
        self.take("[")
        if self._next() == "]":
            self._at += 1
            return
        while True:
            yield self.value(what)
            if self._next() == "]":
                self._at += 1
                return
            self.take(",")

    def value(self, what: str) -> Any:
        """Return a whole value, of which the file may have to give more first."""
        self._next()
        while True:
            try:
                value, end = DECODER.raw_decode(self._held, self._at)
            except RecursionError as exc:
                raise self._wrong(f"{what}: {NESTED}") from exc
            except json.JSONDecodeError as exc:
                if self._ended or not self._is_cut(exc):
                    raise self._wrong(f"{what} cannot be read ({exc.msg})") from exc
            else:
                # a number may go on behind what is there
                if end < len(self._held) or self._ended:
                    self.size += end - self._at
                    self._at = end
                    return value
            if len(self._held) - self._at > VALUE_CHARACTERS:
                raise self._wrong(f"{what}: a value of more than {VALUE_CHARACTERS:,} characters")
            # twice as much each time: what is long is not looked at again and again
            self._more(len(self._held) - self._at)

    def prove_end(self) -> None:
        """See that nothing stands behind."""
        if self._next():
            raise self._wrong("something stands behind its end")

    def _is_cut(self, exc: json.JSONDecodeError) -> bool:
        return exc.msg.startswith("Unterminated string") or exc.pos >= len(self._held) - LONGEST_WORD

    def _next(self) -> str:
        """Return the next character that is no blank, and stand before it; empty at the end."""
        while True:
            while self._at < len(self._held):
                char = self._held[self._at]
                if char not in " \t\r\n":
                    return char
                self._at += 1
            if self._ended:
                return ""
            self._more(0)

    def _more(self, wanted: int) -> None:
        parts = [self._held[self._at :]]
        came = 0
        while not self._ended and came <= wanted:
            block = self._source.read(BLOCK_BYTES)
            self.size_bytes += len(block)
            self._ended = not block
            try:
                parts.append(self._decoder.decode(block, final=not block))
            except UnicodeDecodeError as exc:
                raise self._wrong("it holds what is not UTF-8") from exc
            came += len(block)
        self._held, self._at = "".join(parts), 0

    def _wrong(self, what: str) -> ArchiveDamaged:
        if self._ended and self._at >= len(self._held):
            what = f"it ends before its end ({what})"
        return ArchiveDamaged(f"{self._name} is not a whole rows file of an older tool: {what}")
