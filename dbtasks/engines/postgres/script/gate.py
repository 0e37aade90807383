r"""The gate: what of a plain SQL script may reach psql.

psql takes a script for a program. A backslash outside quotes runs a command on
this machine, an inner COMMIT ends the transaction that protects the database,
and the end of a cut file is taken for a normal end. The gate reads the script
once, in blocks, tells SQL from quoted text, comments and COPY rows exactly as
psql's own scanner does, and

- refuses every meta-command and every transaction control, with its line;
- leaves out `\restrict KEY` and `\unrestrict KEY`, the `BEGIN;`/`COMMIT;`
  pg_dump writes around large objects, and settings the server does not know;
- demands the trailer pg_dump writes last.

What it cannot read beyond doubt it refuses. psql scans a script by two session
settings, `standard_conforming_strings` and `client_encoding`, which SQL in the
script can change behind our back (a CHECK function is enough); so the gate sets
both again before every statement whose reading depends on them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ....errors import ArchiveDamaged
from ....streams import BLOCK_BYTES, HasRead
from .inserts import as_one_query
from .scanner import Scanner

__all__ = ["Gate"]

_RESTRICT = re.compile(rb"\\(un)?restrict ([A-Za-z0-9]+)\r?\n")
_SETTING = re.compile(rb"SET ([a-z_]+) = (?:'([^'\\\n]*)'|([a-z0-9]+));\r?\n")
_INNER = re.compile(rb"(BEGIN|COMMIT);\r?\n")
_LONGEST_TOKEN = 1 << 20

_SHOWN = frozenset(
    {b"alter", b"comment", b"create", b"drop", b"grant", b"revoke", b"reset", b"select", b"set"}
)
_LONGEST_SHOWN = 1 << 20
"""Bytes."""
_TRANSACTION_WORDS = {b"begin", b"start", b"commit", b"end", b"rollback", b"abort", b"savepoint", b"release"}
_SCANNER_SETTINGS = {b"standard_conforming_strings", b"client_encoding", b"names", b"all"}
_SAFE_ENCODINGS = re.compile(
    rb"UTF8|SQL_ASCII|LATIN(?:[1-9]|10)|WIN(?:125[0-8]|866|874)|KOI8[RU]|ISO_8859_[5-8]|EUC_(?:CN|JP|JIS_2004|KR|TW)"
)
"""Encodings a server can have: no byte of a character but the first looks like ASCII."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

TAKE_OUT = "if you know what it does and want it, take it out of a copy of the file, and run it yourself"
NO_CREATE = "make the dump without --create: --into says into which database it goes"
ONE_TRANSACTION = (
    "take it out of a copy of the file: a restore is one transaction, so that it can be taken back whole"
)
AS_UTF8 = "make the dump with --encoding=UTF8"


class Gate(Scanner):
    """One reading of one script.

    A subclass may ask for more statements whole, by `_whole`.

    Iterating gives the bytes that may be sent; the last one is given only when
    the whole script was read, and the iteration ends normally only when the
    script did.

    Raises:
        Refused: it holds something a dump does not.
        ArchiveDamaged: it ends before its end.
    """

    def __init__(
        self,
        source: HasRead,
        *,
        without: frozenset[str] = frozenset(),
        leave_out: Callable[[bytes], bool] | None = None,
    ) -> None:
        """Read a script; `without` names settings the server does not know.

        `leave_out` is shown each statement that owns, grants, comments, creates, drops or selects
        (whole, unless longer than a megabyte) and says whether psql is not to see it.
        """
        super().__init__()
        self._whole = _SHOWN
        self._source = source
        self._leave_out = leave_out
        self._without = {name.encode() for name in without}
        self._started = False
        self._sent = 0
        self._out: list[bytes] = []
        self._encoding = b"UTF8"
        self._key: bytes | None = None
        self._inside_inner = False
        self._statement: int | None = 0
        """Where the statement begins, with the comments before it; None once its settings have been sent."""

    def __iter__(self) -> Iterator[bytes]:
        yield self._mode()
        final = False
        while not final:
            block = self._source.read(BLOCK_BYTES)
            if not self._started:
                block = self._begin(block)
            final = not block
            self._data += block
            nul = block.find(b"\0")
            if nul >= 0:
                self._refuse("a NUL byte", len(self._data) - len(block) + nul)
            while self._scan(final):
                pass
            if len(self._data) - self._at > _LONGEST_TOKEN + BLOCK_BYTES:
                self._refuse("a word of more than a megabyte")
            if not final:
                yield self._flush()
        self._demand_the_end()
        yield self._flush()

    def _begin(self, block: bytes) -> bytes:
        """Leave out the mark that editors put first: behind the settings sent before it psql does not."""
        while block and len(block) <= len(_BYTE_ORDER_MARK) and (more := self._source.read(BLOCK_BYTES)):
            block += more
        self._started = True
        return block.removeprefix(_BYTE_ORDER_MARK)

    # -- judging -----------------------------------------------------------------

    def _new_statement(self, start: int) -> None:
        super()._new_statement(start)
        self._statement = start

    def _end_statement(self, end: int) -> None:
        first, second = (*self._words, b"", b"")[:2]
        if first in _TRANSACTION_WORDS or (first == b"prepare" and second == b"transaction"):
            self._refuse(f"{first.decode().upper()} outside of what pg_dump writes", end, way=ONE_TRANSACTION)
        if second == b"database" and first in (b"create", b"alter", b"drop"):
            self._refuse(
                f"{first.decode().upper()} DATABASE, as pg_dump --create writes it", end, way=NO_CREATE
            )
        if first in (b"set", b"reset") and (
            (self._marks and not second) or _SCANNER_SETTINGS & set(self._words)
        ):
            self._refuse("a change of how strings are read", end)
        if first == b"discard":
            self._refuse("DISCARD", end)
        shown = self._leave_out and first in _SHOWN and end - self._first <= _LONGEST_SHOWN
        if shown and self._leave_out and self._leave_out(self._data[self._first : end]):
            self._skip(self._first, end)
            return
        self._settle(end)

    def _first_word(self, start: int, final: bool) -> bool | None:
        """Handle a whole line of pg_dump's that is not sent, or that tells how strings are read."""
        if not final and not self._has_line(start):
            self._at = start
            return False
        setting = _SETTING.match(self._data, start)
        inner = _INNER.match(self._data, start)
        if inner:
            if self._inside_inner is (inner[1] == b"BEGIN"):
                self._refuse(
                    f"{inner[1].decode()} outside of what pg_dump writes", start, way=ONE_TRANSACTION
                )
            self._inside_inner = not self._inside_inner
            self._skip(start, inner.end())
            return True
        if setting and setting[1] in self._without:
            self._skip(start, setting.end())
            return True
        if setting and setting[1] in (b"standard_conforming_strings", b"client_encoding"):
            self._settle(start)
            self._change_mode(setting[1], setting[2] if setting[2] is not None else setting[3], start)
            self._at = setting.end()
            self._new_statement(self._at)
            self._complete = False
            return True
        self._complete = False
        return None

    def _change_mode(self, name: bytes, value: bytes, start: int) -> None:
        if name == b"client_encoding":
            if not _SAFE_ENCODINGS.fullmatch(value):
                self._refuse(f"the encoding {value.decode(errors='replace')}", start, way=AS_UTF8)
            self._encoding = value
        elif value in (b"on", b"off"):
            self._strings = value
        else:
            self._refuse("a change of how strings are read", start)

    def _backslash(self, start: int) -> None:
        line = _RESTRICT.match(self._data, start)
        if not line or self._words or self._marks or self._before(start)[0] not in (0, 0x0A):
            if self._data.startswith(b"\\unrestrict ", start) and b"\n" not in self._data[start:]:
                raise ArchiveDamaged("the script ends inside its last line; it was cut")
            end = self._data.find(b"\n", start, start + 60)
            text = self._data[start : end if end >= 0 else start + 60].decode(errors="replace")
            leads_away = text.startswith(("\\c ", "\\connect"))
            self._refuse(
                f"the meta-command '{text}', which psql would run on this machine",
                start,
                way=NO_CREATE if leads_away else TAKE_OUT,
            )
        closes, key = line[1] is not None, line[2]
        if closes is (self._key is None) or (closes and key != self._key):
            self._refuse("a \\restrict or \\unrestrict that does not match the other one", start)
        self._key = None if closes else key
        self._skip(start, line.end())

    # -- sending ---------------------------------------------------------------------

    def _mode(self) -> bytes:
        return b"\nSET standard_conforming_strings = %s; SET client_encoding = '%s';\n" % (
            self._strings,
            self._encoding,
        )

    def _settle(self, end: int) -> None:
        """Set the scanner's settings again in front of a statement whose reading depends on them."""
        if self._statement is None:
            return
        text = self._data[self._statement : end]
        if b"\\" in text or not text.isascii():
            self._send(self._statement)
            self._out.append(self._mode())
            self._statement = None

    def _inserts(self, start: int, end: int) -> None:
        text = self._data[start:end]
        if b"\\" not in text and text.isascii():
            # the comments in front of them may depend on how they are read all the same
            self._settle(start)
            return
        self._settle(end)
        self._send(start)
        self._out.append(as_one_query(text, self._strings))
        self._sent = end

    def _send(self, end: int) -> None:
        self._out.append(self._data[self._sent : end])
        self._sent = end

    def _skip(self, start: int, end: int) -> None:
        self._settle(start)
        self._send(start)
        self._sent = self._at = end
        self._new_statement(end)

    def _flush(self) -> bytes:
        """Return what was read; a statement that goes on in the next block gets its settings now."""
        self._step_back()
        in_rows = self._scan in (self._rows, self._rows_begin)
        begun = not in_rows and (bool(self._words) or self._marks or self._scan != self._sql)
        if begun and self._statement is not None:
            self._send(self._statement)
            self._out.append(self._mode())
            self._statement = None
        elif not in_rows:
            # comments alone depend on how they are read, too: one may end elsewhere
            self._settle(self._at)
        self._send(self._at)
        keep = max(0, self._at - 2)
        self._lines += self._data.count(b"\n", 0, keep)
        self._data = self._data[keep:]
        self._at -= keep
        self._sent -= keep
        self._first -= keep
        if self._statement is not None:
            self._statement = self._at
        sent, self._out = b"".join(self._out), []
        return sent

    def _step_back(self) -> None:
        """Keep an unfinished statement that has to be shown whole: it is read again with the next block."""
        shown = self._leave_out and self._words and self._words[0] in self._whole
        if not shown or len(self._data) - self._first > _LONGEST_SHOWN:
            return
        known = self._statement
        self._at = self._first if known is None else known
        self._scan = self._sql
        self._new_statement(self._at)
        self._statement = known

    def _demand_the_end(self) -> None:
        if self._scan in (self._rows, self._rows_begin):
            raise ArchiveDamaged("the script ends inside the rows of a table; it was cut")
        if self._scan != self._sql or self._words or self._marks:
            raise ArchiveDamaged("the script ends inside a statement; it was cut")
        if not self._complete or self._inside_inner or self._key is not None:
            raise ArchiveDamaged("the script lacks the end that pg_dump writes; it was cut")
