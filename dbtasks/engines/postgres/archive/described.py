"""What somebody else's dump tells of itself, learnt by reading it to its end as a script."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ....events import OnEvent, Progress, ignore
from ....models import Archive, Format, TableCount
from ....nouns import some
from ....plans import Described
from ....streams import HasRead
from ..facts import table_name
from ..script.gate import Gate
from ..script.head import Head
from .contents import script_of

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["describe"]

_NAME = rb'("(?:[^"]|"")+"|[^\s",;()."]+)'
_COPY = re.compile(rb"COPY " + _NAME + rb"(?:\." + _NAME + rb")? .*FROM stdin;", re.DOTALL | re.IGNORECASE)
_TABLE = re.compile(rb"CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?" + _NAME + rb"\." + _NAME + rb"\s")
_DIVIDED = re.compile(rb"\sPARTITION BY (?:RANGE|LIST|HASH) \([^;]*;\Z")
_EXTENSION = re.compile(rb"CREATE EXTENSION (?:IF NOT EXISTS )?" + _NAME)
NAMED = 5

UNKNOWN = (
    "of which server and database it is",
    "whether tables or schemas were left out when it was made",
    "its migration revision",
    "its collation",
)


def describe(engine: PostgresEngine, archive: Archive, on_event: OnEvent = ignore) -> Described:
    """Read the whole archive through the gate and count the rows of each COPY.

    Raises:
        Refused: it holds what no dump holds. ArchiveDamaged: it is cut, or not the file that was chosen.
    """
    with script_of(engine, archive) as script:
        head = Head(script.source)
        reading = _Reading(head)
        for _ in reading:
            on_event(Progress(head.size_bytes))
        script.prove()
    server, tool = head.versions
    return reading.described(server, tool, head.size_bytes if archive.format is Format.SQL else None)


class _Reading(Gate):
    """The gate, and what is seen on the way."""

    def __init__(self, source: HasRead) -> None:
        super().__init__(source, leave_out=self._learn)
        # to be named, the head of a COPY has to be seen whole
        self._whole |= {b"copy"}
        self.rows: dict[str, int] = {}
        self.created: set[str] = set()
        self.divided: set[str] = set()
        self.extensions: set[str] = set()
        self.inserts = False
        self.creates = False
        self.nameless = False
        """Some COPY names no schema."""
        self._table: str | None = None

    # -- what goes by -------------------------------------------------------------

    def _learn(self, statement: bytes) -> bool:
        self.creates = self.creates or statement.startswith(b"CREATE ")
        if table := _TABLE.match(statement):
            known = self.divided if _DIVIDED.search(statement) else self.created
            known.add(self._named(table[1], table[2]))
        elif extension := _EXTENSION.match(statement):
            self.extensions.add(self._plain(extension[1]))
        return False

    def _inserts(self, start: int, end: int) -> None:
        self.inserts = True
        super()._inserts(start, end)

    def _end_statement(self, end: int) -> None:
        self.inserts = self.inserts or self._words[:1] == [b"insert"]
        super()._end_statement(end)

    def _end(self, end: int) -> None:
        if self._words[:1] == [b"copy"]:
            found = _COPY.fullmatch(self._data[self._first : end])
            self.nameless = self.nameless or not (found and found[2])
            self._table = self._named(found[1], found[2]) if found and found[2] else None
            if self._table:
                # it ends with the head's own line break
                self.rows[self._table] = self.rows.get(self._table, 0) - 1
        super()._end(end)

    def _rows(self, final: bool) -> bool:
        begin = self._at
        more = super()._rows(final)
        if self._table:
            self.rows[self._table] += self._data.count(b"\n", begin, self._at)
        return more

    def _named(self, schema: bytes, table: bytes) -> str:
        return table_name(self._plain(schema), self._plain(table))

    def _plain(self, name: bytes) -> str:
        from psycopg2.extensions import encodings

        text = name.decode(encodings.get(self._encoding.decode(), "utf-8"), "surrogateescape")
        return text[1:-1].replace('""', '"') if text.startswith('"') else text

    # -- what follows from it ---------------------------------------------------------

    def described(self, server_version: str, tool_version: str, size_bytes: int | None) -> Described:
        """Say what was seen, when all of it was."""
        lacks = self._lacks()
        counted = {name: rows for name, rows in self.rows.items() if name in self.created}
        not_counted = self._not_counted()
        tables = tuple(
            # that a table has no rows is known only where all that came were seen to go into theirs
            TableCount(name, counted.get(name), data=bool(not_counted) or name in self.rows)
            for name in sorted(self.created)
        )
        unknown = [*UNKNOWN, *(("the versions of its extensions",) if self.extensions else ())]
        if not server_version:
            unknown.append("the version of the PostgreSQL it is from")
        return Described(
            tables=tables,
            not_counted=not_counted,
            server_version=server_version,
            tool_version=f"pg_dump {tool_version}" if tool_version else "",
            encoding=self._encoding.decode(),
            extensions=dict.fromkeys(sorted(self.extensions), ""),
            raw_size_bytes=size_bytes,
            not_included=lacks,
            unknown=tuple(unknown),
        )

    def _not_counted(self) -> str:
        if self.inserts:
            return "its rows are INSERT statements, which are not counted"
        if self.nameless:
            return "its tables are named without a schema"
        through = sorted(set(self.rows) & self.divided)
        if through:
            return f"rows are loaded through the partitioned table {through[0]}"
        return ""

    def _lacks(self) -> tuple[str, ...]:
        if not self.creates:
            return ("all definitions: it creates nothing",)
        if self._not_counted():
            return ()
        without = sorted(self.created - self.rows.keys())
        if without and not self.rows:
            return ("all rows: no table is loaded",)
        return (f"rows of {some(without, NAMED)}",) if without else ()
