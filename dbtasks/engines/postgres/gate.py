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
from typing import NoReturn

from ...errors import ArchiveDamaged, Refused
from ...streams import BLOCK_BYTES, HasRead

__all__ = ["Gate"]

_NAME = rb"[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*"
_MARKS = rb"['\"\\;()]|--|/\*|:\{|\$(?:" + _NAME + rb")?\$|(?:[-/:]|\$[A-Za-z0-9_\x80-\xff]*)\Z"
_TOKEN = re.compile(rb"[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*|" + _MARKS)
_LONE = re.compile(rb"[-/:]|\$|\$[A-Za-z0-9_\x80-\xff]+")
"""At the end of a script these did not become a comment, a variable or a dollar quote."""
_MARK = re.compile(_MARKS)
"""Tokens without words: for where they no longer decide anything."""
_WORD_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_$") | set(
    range(128, 256)
)
_WHOLE = (b"'", b'"', b";", b"(", b")")
"""Tokens that more bytes cannot make longer."""
_DIGITS = frozenset(b"0123456789")
_ESCAPE_OR_QUOTE = re.compile(rb"['\\]")
_COMMENT_EDGE = re.compile(rb"/\*|\*/")
_LINE_END = re.compile(rb"[\r\n]")

_RESTRICT = re.compile(rb"\\(un)?restrict ([A-Za-z0-9]+)\r?\n")
_SETTING = re.compile(rb"SET ([a-z_]+) = (?:'([^'\\\n]*)'|([a-z0-9]+));\r?\n")
_INNER = re.compile(rb"(BEGIN|COMMIT);\r?\n")
_LONGEST_LINE_OF_OURS = 300
"""Bytes; a line longer than this is none of the three above."""
_LONGEST_TOKEN = 1 << 20

_SHOWN = frozenset({b"alter", b"comment", b"create", b"grant", b"revoke", b"reset", b"set"})
_LONGEST_SHOWN = 1 << 20
"""Bytes."""
_TRAILER = b"-- PostgreSQL database dump complete"
_TRANSACTION_WORDS = {b"begin", b"start", b"commit", b"end", b"rollback", b"abort", b"savepoint", b"release"}
_BLOCK_WORDS = {b"begin", b"case", b"end"}
_SCANNER_SETTINGS = {b"standard_conforming_strings", b"client_encoding", b"names", b"all"}
_SAFE_ENCODINGS = re.compile(
    rb"UTF8|SQL_ASCII|LATIN(?:[1-9]|10)|WIN(?:125[0-8]|866|874)|KOI8[RU]|ISO_8859_[5-8]|EUC_(?:CN|JP|JIS_2004|KR|TW)"
)
"""Encodings a server can have: no byte of a character but the first looks like ASCII."""


class Gate:
    """One reading of one script.

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

        `leave_out` is shown each statement that owns, grants, comments or creates
        (whole, unless longer than a megabyte) and says whether psql is not to see it.
        """
        self._source = source
        self._leave_out = leave_out
        self._without = {name.encode() for name in without}
        self._data = b""
        self._at = 0
        self._sent = 0
        self._out: list[bytes] = []
        self._lines = 1
        self._scan: Callable[[bool], bool] = self._sql
        self._closer = b""
        self._after_escape = False
        self._nesting = 0
        self._remark = b""
        self._strings = b"on"
        self._encoding = b"UTF8"
        self._key: bytes | None = None
        self._inside_inner = False
        self._complete = False
        self._statement: int | None = 0
        """Where the statement begins, with the comments before it; None once its settings have been sent."""
        self._first = 0
        """Where its first word stands."""
        self._words: list[bytes] = []
        self._last: tuple[bytes, ...] = ()
        self._marks = False
        self._words_matter = True
        self._depth = 0
        self._blocks = 0

    def __iter__(self) -> Iterator[bytes]:
        yield self._mode()
        final = False
        while not final:
            block = self._source.read(BLOCK_BYTES)
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

    # -- reading SQL -----------------------------------------------------------

    def _sql(self, final: bool) -> bool:
        """Find the next token that matters; True when the reading goes on in this block."""
        found = (_TOKEN if self._words_matter else _MARK).search(self._data, self._at)
        if not found:
            self._at = len(self._data)
            return False
        token, start, end = found[0], found.start(), found.end()
        cut = end == len(self._data) and token not in _WHOLE
        if not final and (cut or (token == b"\\" and not self._has_line(start))):
            self._at = start
            return False
        if _LONE.fullmatch(token):
            self._at = end
        elif token[0] in _WORD_BYTES and token[0] != 0x24:
            return self._word(token, start, end, final)
        else:
            self._mark(token, start, end)
        return True

    def _word(self, word: bytes, start: int, end: int, final: bool) -> bool:
        if not self._words and not self._marks:
            special = self._special_line(start, final)
            if special is not None:
                return special
            self._first = start
        self._at = end
        if self._data[end : end + 1] == b"'":
            return True  # the prefix of a string, or refused where the quote is read
        word = word.lower()
        if self._is_glued(start):
            # psql's versions disagree on whether this is a word, so it must not be one that counts
            in_head = self._words[:1] == [b"create"] and len(self._words) < 4
            if in_head or word in _BLOCK_WORDS or b"$" in word:
                self._refuse(f"{word.decode(errors='replace')!r} glued to what stands before it", start)
            return True
        if len(self._words) < 4:
            self._words.append(word)
        self._last = (*self._last[-1:], word)
        if self._is_routine and not self._depth and word in _BLOCK_WORDS:
            if word == b"end":
                self._blocks = max(0, self._blocks - 1)
            elif word == b"begin" or self._blocks:
                self._blocks += 1
        if len(self._words) == 4 and self._words[0] != b"copy" and not self._is_routine:
            self._words_matter = False
        return True

    def _mark(self, mark: bytes, start: int, end: int) -> None:
        if mark == b"\\":
            self._backslash(start)
            return
        self._at = end
        if mark == b"--":
            self._remark, self._scan = mark, self._line_comment
            return
        if mark == b"/*":
            self._nesting, self._scan = 1, self._block_comment
            return
        if mark == b":{":
            self._refuse("a psql variable", start)
        self._complete = False
        if mark == b";":
            if not self._depth and not self._blocks:
                self._end_statement(end)
            return
        self._marks = True
        self._last = (*self._last[-1:], mark)
        if mark == b"(":
            self._depth += 1
        elif mark == b")":
            self._depth = max(0, self._depth - 1)
        elif mark == b"'":
            self._open_string(start)
        else:
            self._open_quoted(mark, start)

    def _open_string(self, start: int) -> None:
        before, further = self._before(start)
        escape = self._strings == b"off"
        if before == 0x27:
            escape = self._after_escape  # '' inside a string: it goes on
        elif before in _WORD_BYTES:
            if further in _WORD_BYTES or before not in b"EeBbXxNn":
                self._refuse("a quote glued to a word", start)
            escape = before in b"Ee" or (escape and before in b"Nn")
        elif before == 0x26 and further in b"Uu":
            self._refuse("a U& string", start)
        self._closer = b"'"
        self._scan = self._escape_string if escape else self._quoted

    def _open_quoted(self, mark: bytes, start: int) -> None:
        before, further = self._before(start)
        if mark == b'"' and before == 0x26 and further in b"Uu":
            self._refuse("a U& name", start)
        if mark != b'"' and before in _WORD_BYTES:
            self._refuse("a dollar quote glued to a word", start)
        self._closer, self._scan = mark, self._quoted

    def _before(self, start: int) -> tuple[int, int]:
        """Return the two bytes in front of a position; 0 where there is none."""
        pair = self._data[max(0, start - 2) : start].rjust(2, b"\0")
        return pair[1], pair[0]

    def _is_glued(self, start: int) -> bool:
        before, further = self._before(start)
        return before in _DIGITS or (before == 0x3A and further != 0x3A)

    @property
    def _is_routine(self) -> bool:
        """CREATE [OR REPLACE] FUNCTION or PROCEDURE: its BEGIN ATOMIC body holds semicolons."""
        words = self._words
        kind = words[3:4] if words[1:3] == [b"or", b"replace"] else words[1:2]
        return words[:1] == [b"create"] and kind in ([b"function"], [b"procedure"])

    # -- reading what is not SQL -------------------------------------------------

    def _quoted(self, final: bool) -> bool:
        return self._pass(self._closer, final)

    def _pass(self, closer: bytes, final: bool) -> bool:
        found = self._data.find(closer, self._at)
        if found < 0:
            held = 0 if final else len(closer) - 1
            self._at = max(self._at, len(self._data) - held)
            return False
        self._at = found + len(closer)
        self._after_escape = False
        self._scan = self._sql
        return True

    def _escape_string(self, final: bool) -> bool:
        while found := _ESCAPE_OR_QUOTE.search(self._data, self._at):
            if found[0] == b"'":
                self._at = found.end()
                self._after_escape = True
                self._scan = self._sql
                return True
            if found.end() == len(self._data):
                self._at = len(self._data) if final else found.start()
                return False
            self._at = found.end() + 1
        self._at = len(self._data)
        return False

    def _line_comment(self, final: bool) -> bool:
        found = _LINE_END.search(self._data, self._at)
        end = found.start() if found else len(self._data)
        if len(self._remark) <= len(_TRAILER):
            self._remark += self._data[self._at : min(end, self._at + len(_TRAILER))]
        self._at = end
        if found or final:
            if self._remark == _TRAILER and not self._words and not self._marks:
                self._complete = True
            self._scan = self._sql
        return bool(found)

    def _block_comment(self, final: bool) -> bool:
        while found := _COMMENT_EDGE.search(self._data, self._at):
            self._at = found.end()
            self._nesting += 1 if found[0] == b"/*" else -1
            if not self._nesting:
                self._scan = self._sql
                return True
        self._at = max(self._at, len(self._data) - (0 if final else 1))
        return False

    def _rows_begin(self, final: bool) -> bool:
        """Rows begin on the line after the semicolon; psql reads a rest of this line much later."""
        rest = self._data[self._at : self._at + 2]
        if not rest or (rest == b"\r" and not final):
            return False
        if not rest.startswith((b"\n", b"\r\n")):
            self._refuse("something after COPY … FROM stdin; on its line")
        self._at += rest.index(b"\n")
        self._scan = self._rows
        return True

    def _rows(self, final: bool) -> bool:
        r"""Pass COPY rows in bulk, up to the line that is nothing but `\.`."""
        while (found := self._data.find(b"\n\\.", self._at)) >= 0:
            rest = self._data[found + 3 : found + 5]
            if rest.startswith((b"\n", b"\r\n")):
                self._at = found + 3 + rest.index(b"\n")
                self._scan = self._sql
                self._new_statement(self._at)
                return True
            if len(rest) < 2 and not final:
                self._at = found
                return False
            self._at = found + 3
        held = 0 if final else 4
        self._at = max(self._at, len(self._data) - held)
        return False

    # -- statements ----------------------------------------------------------------

    def _new_statement(self, start: int) -> None:
        self._statement = self._first = start
        self._words, self._last = [], ()
        self._marks, self._words_matter = False, True
        self._depth = self._blocks = 0

    def _end_statement(self, end: int) -> None:
        first, second = (*self._words, b"", b"")[:2]
        if first in _TRANSACTION_WORDS or (first == b"prepare" and second == b"transaction"):
            self._refuse(f"{first.decode().upper()} outside of what pg_dump writes", end)
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
        if first == b"copy":
            if self._last != (b"from", b"stdin"):
                self._refuse("a COPY that is not FROM stdin", end)
            self._scan = self._rows_begin
        self._new_statement(end)

    def _special_line(self, start: int, final: bool) -> bool | None:
        """Handle a whole line of pg_dump's that is not sent, or that tells how strings are read."""
        if not final and not self._has_line(start):
            self._at = start
            return False
        setting = _SETTING.match(self._data, start)
        inner = _INNER.match(self._data, start)
        if inner:
            if self._inside_inner is (inner[1] == b"BEGIN"):
                self._refuse(f"{inner[1].decode()} outside of what pg_dump writes", start)
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
                self._refuse(f"the encoding {value.decode(errors='replace')}", start)
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
            self._refuse(f"the meta-command {text!r}, which psql would run on this machine", start)
        closes, key = line[1] is not None, line[2]
        if closes is (self._key is None) or (closes and key != self._key):
            self._refuse("a \\restrict or \\unrestrict that does not match the other one", start)
        self._key = None if closes else key
        self._skip(start, line.end())

    def _has_line(self, start: int) -> bool:
        window = start + _LONGEST_LINE_OF_OURS
        return len(self._data) >= window or self._data.find(b"\n", start, window) >= 0

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
        shown = self._leave_out and self._words and self._words[0] in _SHOWN
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

    def _refuse(self, what: str, at: int | None = None) -> NoReturn:
        line = self._lines + self._data.count(b"\n", 0, self._at if at is None else at)
        raise Refused(f"the SQL script holds {what} (line {line})")
