"""The `rows` file: one gzip JSON document, written in one pass and read back in blocks.

    {"metadata": {…},
    "tables": {
    "public.customer": {"columns": ["id", "name"], "data": [
    [1,"a"],
    [2,null]
    ], "row_count": 2},
    …
    }}

Any JSON reader opens it. Ours does not parse rows to find their ends: a raw
line break never stands inside a JSON string, so a line is a row, and the first
line that begins with `]` is the end of a table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ArchiveDamaged, CountsDiffer, DumpFailed
from ..events import OnEvent, Progress, ignore
from ..streams import BLOCK_BYTES, HasRead, HasWrite
from . import Batch
from .cells import cells_of
from .lines import BETWEEN, Lines, read_values
from .schema import PortableSchema, Table, schema_from

__all__ = ["LAYOUT", "FileSink", "FileSource", "Header", "Metadata"]

LAYOUT = 1
"""The version of the layout; a reader that knows it may read line by line."""
START = b'{"metadata": '
TABLES = b'"tables": {\n'
DATA = b', "data": [\n'
END_OF_DATA = re.compile(rb"\n\]")
"""Two bytes are found by this in half the time that `find` takes."""
COUNT = b'], "row_count": '
END = b"}}\n"
LINE_BYTES = 64 << 20
"""No line but a row's is longer."""
WIDE_BYTES = 1 << 20
"""A row of more than this is not held."""
LONGEST_COUNT = 18


class FileSink:
    """Writes one document; `finish` ends it, and without that it is none.

    Raises:
        DumpFailed: the metadata is longer than any reader takes.
    """

    def __init__(self, sink: HasWrite, metadata: Mapping[str, Any], on_event: OnEvent = ignore) -> None:
        self._sink = sink
        self._on_event = on_event
        self._tables = 0
        self.size_bytes = 0
        """Of the document, before it is compressed."""
        line = START + _json({**metadata, "layout": LAYOUT}) + b",\n"
        if len(line) > LINE_BYTES:
            raise DumpFailed(
                f"the definitions take {len(line) >> 20:,} MB, and a rows backup holds at most {LINE_BYTES >> 20} MB of them",
                hint="back up by pg_dump, or fewer tables at a time (--table)",
            )
        self._write(line + TABLES)

    def take(self, table: Table, batches: Iterator[Batch]) -> int:
        """Write one table; its number of rows is known, and written, when they are over."""
        columns = [column.name for column in table.data_columns]
        self._write(b",\n" if self._tables else b"")
        self._write(_json(table.name) + b': {"columns": ' + _json(columns) + DATA)
        count = 0
        for batch in batches:
            self._write(b",\n" if count else b"")
            for piece in batch.lines():
                self._write(piece)
            count += batch.count
            self._on_event(Progress(self.size_bytes))
        self._write((b"\n" if count else b"") + COUNT + b"%d}" % count)
        self._tables += 1
        return count

    def finish(self) -> None:
        """End the document."""
        self._write((b"\n" if self._tables else b"") + END)

    def _write(self, data: bytes) -> None:
        self._sink.write(data)
        self.size_bytes += len(data)


def _json(value: Any) -> bytes:
    # a lone surrogate, from a file name that is not UTF-8, is escaped as JSON escapes it
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class Metadata:
    """What the document says of itself."""

    document: Mapping[str, Any]
    schema: PortableSchema | None
    """None: there is none in it."""
    outline: PortableSchema | None = None
    """Of rows without definitions: the columns' types. None: nor does it tell these."""

    @property
    def layout(self) -> int:
        """The version of the layout; 0: it names none."""
        value = self.document.get("layout")
        return value if isinstance(value, int) else 0


class _WideLine:
    """One row that is too wide to be held; it is read while the document is, before what follows it."""

    count = 1

    def __init__(self, begun: bytes, pieces: Iterator[bytes]) -> None:
        self._begun = begun
        self._pieces = pieces
        self._behind = b""
        self._lines = self._until_end()

    def lines(self) -> Iterable[bytes]:
        """Yield the row in pieces."""
        return self._lines

    def values(self) -> Sequence[Sequence[Any]]:
        """Return the row whole."""
        return [read_values(b"".join(self._lines))]

    def cells(self) -> Iterator[Any]:
        """Return its values one by one."""
        return cells_of(self._lines)

    def behind(self) -> bytes:
        """Skip what is left of the row, and return what was read beyond it: the next one's beginning, or nothing."""
        for _ in self._lines:
            pass
        return self._behind

    def _until_end(self) -> Iterator[bytes]:
        held, self._begun = self._begun, b""
        while (end := held.find(BETWEEN)) < 0:
            keep = len(BETWEEN) - 1
            yield held[:-keep]
            held = held[-keep:]
            piece = next(self._pieces, None)
            if piece is None:
                yield held
                return
            held += piece
        yield held[: end + 1]
        self._behind = held[end + len(BETWEEN) - 1 :]


@dataclass(frozen=True)
class Header:
    """What stands before a table's rows."""

    name: str
    columns: tuple[str, ...]


class FileSource:
    """Reads a document from its beginning to its end, one table after the other; memory is bounded by its schema.

    Raises:
        ArchiveDamaged: it is not one of ours, is cut, or its rows are not as many as it says.
    """

    def __init__(self, source: HasRead, name: str) -> None:
        self._source = source
        self._name = name
        self._waiting = b""
        self.size_bytes = 0
        """Read so far, uncompressed."""
        self._begun = False
        self.metadata = self._metadata()
        self._begun = True
        self.row_count = 0
        """Of the table that was read last."""
        self._open: Header | None = None
        self._headers = self._each()

    @property
    def schema(self) -> PortableSchema:
        """As it stands in the document; empty where there is none in it."""
        return self.metadata.schema or PortableSchema()

    def headers(self) -> Iterator[Header]:
        """Yield each table in the document's order, once; its rows are read before the next one is asked for, or skipped."""
        return self._headers

    def _each(self) -> Iterator[Header]:
        line = self._line()
        while line != END:
            self._open = _header(line, self._name)
            yield self._open
            if self._open:
                for _ in self.pieces():
                    pass
            line = self._line()
        if self._waiting or self._source.read(1):
            raise self._damaged("something stands behind its end")

    def rows(self, table: Table) -> Generator[Batch]:
        """Read a table's rows, in whole rows; one that is too wide to be held is a batch of its own.

        Tables between the last one and this are skipped; there is no way back.

        Raises:
            ValueError: it does not come any more.
        """
        while self._open is None or self._open.name != table.name:
            if next(self._headers, None) is None:
                raise ValueError(f"{table.name} does not come any more")
        rest = b""
        pieces = self.pieces()
        for piece in pieces:
            # a row may be cut anywhere, and so may what stands behind it
            whole, between, begun = (rest + piece).rpartition(BETWEEN)
            if between:
                yield Lines(whole.count(BETWEEN) + 1, whole + b"]")
            rest = b"[" + begun if between else begun
            if len(rest) > WIDE_BYTES:
                line = _WideLine(rest, pieces)
                yield line
                rest = line.behind()
        if rest:
            yield Lines(rest.count(BETWEEN) + 1, rest)

    def pieces(self) -> Iterator[bytes]:
        """Yield the lines of the table whose header came last, in blocks cut anywhere; counts them.

        Raises:
            ArchiveDamaged: a line is no row. CountsDiffer: there are not as many as the document says.
        """
        counter = _Counter(self._open.name if self._open else "", self._name)
        for piece in self._until_end():
            counter.add(piece)
            yield piece
        counter.end(self._line())
        self._open = None
        self.row_count = counter.rows

    def _until_end(self) -> Iterator[bytes]:
        """Yield what stands before the first line that begins with `]`, without the line break before it."""
        # it begins on a new line: where there are no rows the end comes at once
        held = b"\n" + (self._waiting or self._more())
        first = True
        while (found := END_OF_DATA.search(held)) is None:
            # what the end may begin with waits for the rest of it
            keep = 1 if held.endswith(b"\n") else 0
            piece, held = held[first : len(held) - keep], held[len(held) - keep :]
            if piece:
                yield piece
                first = False
            held += self._more()
        end = found.start()
        if end > first:
            yield held[first:end]
        self._waiting = held[end + 1 :]

    def _metadata(self) -> Metadata:
        line = self._line()
        if not line.startswith(START) or not line.endswith(b",\n"):
            raise self._damaged("it does not begin as a rows file of dbtasks does")
        try:
            document = json.loads(line[len(START) : -2])
            schema, outline = (
                None if told is None else schema_from(told)
                for told in (document.get("schema"), document.get("outline"))
            )
            held = Metadata(document, schema, outline)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
            raise self._damaged(f"its metadata cannot be read ({type(exc).__name__}: {exc})") from exc
        if held.layout != LAYOUT:
            raise self._damaged(f"its layout is {document.get('layout')!r}, and this version reads {LAYOUT}")
        if self._line() != TABLES:
            raise self._damaged("its tables do not follow its metadata")
        return held

    def _line(self) -> bytes:
        seen = 0
        while (end := self._waiting.find(b"\n", seen)) < 0:
            seen = len(self._waiting)
            if seen > LINE_BYTES:
                raise self._damaged("a line of it has no end")
            self._waiting += self._more()
        line, self._waiting = self._waiting[: end + 1], self._waiting[end + 1 :]
        return line

    def _more(self) -> bytes:
        block = self._source.read(BLOCK_BYTES)
        if not block:
            raise self._damaged("it ends before its end")
        self.size_bytes += len(block)
        return block

    def _damaged(self, what: str) -> ArchiveDamaged:
        return ArchiveDamaged(
            f"{self._name} is not a whole rows file: {what}",
            hint=""
            if self._begun
            else "a rows file is read as it was written: laid out anew by another tool it is not",
        )


def _header(line: bytes, name: str) -> Header:
    try:
        if not line.endswith(DATA):
            raise ValueError("no data")
        ((table, held),) = json.loads(b"{" + line[: -len(DATA)] + b"}}").items()
        columns = held["columns"]
        if not isinstance(columns, list) or any(not isinstance(column, str) for column in columns):
            raise TypeError("columns")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise ArchiveDamaged(
            f"{name} is not a whole rows file: what stands before a table's rows cannot be read",
            details=line[:200].decode("utf-8", "replace").strip(),
        ) from exc
    return Header(table, tuple(columns))


class _Counter:
    """Counts rows in blocks that are cut anywhere, and sees that every line is one."""

    def __init__(self, table: str, name: str) -> None:
        self._table = table
        self._name = name
        self._last = b""
        self._breaks = 0
        self._between = 0
        self.rows = 0

    def add(self, piece: bytes) -> None:
        """Take the next block, which is not empty."""
        self._prove(bool(self._last) or piece.startswith(b"["))
        self._breaks += piece.count(b"\n")
        # three bytes of the block before: what stands between two rows may be cut, and is counted once
        self._between += (self._last + piece).count(BETWEEN)
        self._last = (self._last + piece)[-3:] if len(piece) < 3 else piece[-3:]

    def end(self, line: bytes) -> None:
        """Compare with what the document says in the line behind the rows."""
        said = line.removeprefix(COUNT).rstrip(b"},\n")
        # no table has more, and Python reads no longer numbers
        self._prove(line.startswith(COUNT) and said.isdigit() and len(said) <= LONGEST_COUNT)
        self._prove(self._breaks == self._between and (not self._last or self._last.endswith(b"]")))
        rows = self._between + 1 if self._last else 0
        if int(said) != rows:
            raise CountsDiffer(
                f"{self._name}: {self._table} holds {rows:,} rows, and says that it has {int(said):,}"
            )
        self.rows = rows

    def _prove(self, holds: bool) -> None:
        if not holds:
            raise ArchiveDamaged(f"{self._name} is not a whole rows file: a line of {self._table} is no row")
