r"""Telling SQL from quoted text, comments and COPY rows, exactly as psql's own scanner does.

psql reads a script line by line and keeps its state between them; a backslash
in plain SQL is a command to it, a semicolon outside parentheses and of a
BEGIN ATOMIC body ends a statement, COPY … FROM stdin turns the lines that
follow into rows. What psql's versions read in different ways is refused.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NoReturn

from ....errors import Refused
from .inserts import INSERTS, TUPLES

__all__ = ["Scanner"]

TRAILER = b"-- PostgreSQL database dump complete"
MAKE_AGAIN = "make the dump again with pg_dump, which never writes this"
LONGEST_LINE_OF_OURS = 300
"""Bytes; lines that are looked at as a whole are shorter."""
VARIABLES = (
    *("AUTOCOMMIT", "COMP_KEYWORD_CASE", "DBNAME", "ECHO", "ECHO_HIDDEN", "ENCODING", "ERROR", "FETCH_COUNT"),
    *("HIDE_TABLEAM", "HIDE_TOAST_COMPRESSION", "HISTCONTROL", "HISTFILE", "HISTSIZE", "HOST", "IGNOREEOF"),
    *("LASTOID", "LAST_ERROR_MESSAGE", "LAST_ERROR_SQLSTATE", "ON_ERROR_ROLLBACK", "ON_ERROR_STOP"),
    *("PIPELINE_COMMAND_COUNT", "PIPELINE_RESULT_COUNT", "PIPELINE_SYNC_COUNT", "PORT", "PROMPT1", "PROMPT2"),
    *("PROMPT3", "QUIET", "ROW_COUNT", "SERVER_VERSION_NAME", "SERVER_VERSION_NUM", "SERVICE", "SERVICEFILE"),
    *("SHELL_ERROR", "SHELL_EXIT_CODE", "SHOW_ALL_RESULTS", "SHOW_CONTEXT", "SINGLELINE", "SINGLESTEP"),
    *("SQLSTATE", "USER", "VERBOSITY", "VERSION", "VERSION_NAME", "VERSION_NUM", "WATCH_INTERVAL"),
)
"""What psql sets by itself: it reads the value in the name's place, a database's name as SQL or as a command."""

_NAME = rb"[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*"
_MARKS = (
    rb"['\"\\;()]|\r(?!\n)|--|/\*|:::|:\{|(?<!:):(?:"
    + "|".join(VARIABLES).encode()
    + rb")(?![A-Za-z0-9_\x80-\xff])"
    rb"|\$(?:" + _NAME + rb")?\$|(?:[-/]|:[A-Z0-9_]*|\$[A-Za-z0-9_\x80-\xff]*)\Z"
)
_TOKEN = re.compile(rb"[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*|" + _MARKS)
_LONE = re.compile(rb"[-/]|:[A-Z0-9_]*|\$|\$[A-Za-z0-9_\x80-\xff]+")
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
_ROWS_END = re.compile(rb"\n\\\.")
"""Twice as fast as bytes.find, which is most of what a script of COPY takes."""
_LINE_END = re.compile(rb"[\r\n]")

_BLOCK_WORDS = {b"begin", b"case", b"end"}


class Scanner(ABC):
    """The reading of one script; what it finds is judged by the subclass."""

    def __init__(self) -> None:
        self._data = b""
        """What was read and not yet given away, with two bytes before it."""
        self._at = 0
        self._lines = 1
        """Number of the line that `_data` begins in."""
        self._scan: Callable[[bool], bool] = self._sql
        self._strings = b"on"
        """standard_conforming_strings: with off, backslashes escape in every string."""
        self._closer = b""
        self._after_escape = False
        self._nesting = 0
        self._remark = b""
        self._complete = False
        """The last thing seen was pg_dump's trailer."""
        self._first = 0
        """Where the statement's first word stands."""
        self._words: list[bytes] = []
        """The statement's first four, in lower case."""
        self._last: tuple[bytes, ...] = ()
        """Its last two words or marks."""
        self._marks = False
        """Whether it has any quote or parenthesis."""
        self._words_matter = True
        self._depth = 0
        self._blocks = 0

    @abstractmethod
    def _first_word(self, start: int, final: bool) -> bool | None:
        """Judge the line a statement begins with; None: read it, else what `_scan` returns."""

    @abstractmethod
    def _backslash(self, start: int) -> None:
        """Judge a backslash in plain SQL; moves `_at` beyond what it accepts."""

    @abstractmethod
    def _inserts(self, start: int, end: int) -> None:
        """Judge whole INSERTs of plain values, from one place to the other."""

    @abstractmethod
    def _end_statement(self, end: int) -> None:
        """Judge a statement that ends here."""

    def _new_statement(self, start: int) -> None:
        self._first = start
        self._words, self._last = [], ()
        self._marks, self._words_matter = False, True
        self._depth = self._blocks = 0

    # -- SQL -------------------------------------------------------------------

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
        if end == len(self._data) and _LONE.fullmatch(token):
            self._at = end
        elif token[0] in _WORD_BYTES and token[0] != 0x24:
            return self._word(token, start, end, final)
        else:
            self._mark(token, start, end)
        return True

    def _word(self, word: bytes, start: int, end: int, final: bool) -> bool:
        if not self._words and not self._marks:
            special = self._first_word(start, final)
            if special is not None:
                return special
            if word == b"INSERT" and self._bulk(start):
                return True
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

    def _end(self, end: int) -> None:
        copies = self._words[:1] == [b"copy"]
        # after the old word BINARY psql reads all that follows as rows
        if copies and (self._last != (b"from", b"stdin") or self._words[1:2] == [b"binary"]):
            self._refuse("a COPY that is not FROM stdin", end, way=MAKE_AGAIN)
        self._end_statement(end)
        if copies:
            self._scan = self._rows_begin
        self._new_statement(end)

    def _bulk(self, start: int) -> bool:
        """Pass INSERTs of plain values, as many as are there."""
        found = INSERTS[self._strings].match(self._data, start)
        if found is None:
            return False
        self._inserts(start, found.end())
        self._at = found.end()
        self._complete = False
        self._new_statement(self._at)
        return True

    def _mark(self, mark: bytes, start: int, end: int) -> None:
        if mark == b"\\":
            self._backslash(start)
            return
        self._at = end
        if mark == b"\r":
            # to psql a string goes on behind it, and a comment ends at it
            self._refuse("a carriage return without a line feed", start, way=MAKE_AGAIN)
        if mark == b"--":
            self._remark, self._scan = mark, self._line_comment
            return
        if mark == b"/*":
            self._nesting, self._scan = 1, self._block_comment
            return
        if mark[0] == 0x3A:
            self._refuse(f"a psql variable ({mark.decode()})", start)
        self._complete = False
        if mark == b";":
            if not self._depth and not self._blocks:
                self._end(end)
            return
        if not self._words and mark != b"(":
            # no statement does, and what is the first word of one could be told from the rest by chance only
            self._refuse("a statement that does not begin with a word", start)
        self._marks = True
        self._last = (*self._last[-1:], mark)
        if mark == b"(":
            rows = (
                None if self._words_matter or self._depth else TUPLES[self._strings].match(self._data, start)
            )
            if rows:
                self._at = rows.end()
            else:
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

    # -- what is not SQL ----------------------------------------------------

    def _quoted(self, final: bool) -> bool:
        return self._pass(self._closer, final)

    def _pass(self, closer: bytes, final: bool) -> bool:
        found = self._data.find(closer, self._at)
        if found < 0:
            held = 0 if final else len(closer) - 1
            self._at = max(self._at, len(self._data) - held)
            return False
        self._at = found + len(closer)
        # bits end at any quote: one right behind opens a string of the ordinary kind
        self._after_escape = self._strings == b"off"
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
        if len(self._remark) <= len(TRAILER):
            self._remark += self._data[self._at : min(end, self._at + len(TRAILER))]
        self._at = end
        if found or final:
            if self._remark == TRAILER and not self._words and not self._marks:
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
        while end := _ROWS_END.search(self._data, self._at):
            found = end.start()
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

    def _has_line(self, start: int) -> bool:
        window = start + LONGEST_LINE_OF_OURS
        return len(self._data) >= window or self._data.find(b"\n", start, window) >= 0

    def _refuse(self, what: str, at: int | None = None, *, way: str = "") -> NoReturn:
        line = self._lines + self._data.count(b"\n", 0, self._at if at is None else at)
        raise Refused(f"the SQL script holds {what} (line {line})", hint=way)
