"""Texts that PostgreSQL wrote of expressions and definitions, taken apart so that nothing else can hide in them.

A `rows` file comes from wherever it comes from, and an expression cannot be
quoted. So each is read by rules narrower than the server's own: what can be
read in two ways (comments, dollar quotes, `U&`, strings that go on behind a
line break, letters outside of ASCII) PostgreSQL never writes, and is refused.
What is left is certain: no text ends a statement, and none leaves the
parentheses it is put in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["NotWritten", "Word", "Words", "words_of"]

WORD = re.compile(
    r"""(?P<blank>[ \t\n]+)
      | (?P<string>E'(?:[^'\\]|\\.|'')*'|[BX]'[0-9A-Fa-f]*'|'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")+")
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<mark>::|[][().,:])
      | (?P<operator>[-+*/<>=~!@#%^&|`?]+)""",
    re.DOTALL | re.VERBOSE,
)
SEPARATE = {"string", "quoted", "word", "number"}
"""Two of these never touch."""
CLOSES = {")": "(", "]": "["}


class NotWritten(ValueError):
    """PostgreSQL does not write this; the message says what of it."""


class Word(NamedTuple):
    """One word, name, string, number or mark."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def is_name(self) -> bool:
        """Whether it can be a name."""
        return self.kind in ("word", "quoted")

    @property
    def name(self) -> str:
        """The name that it spells, as the server reads it."""
        return self.text[1:-1].replace('""', '"') if self.kind == "quoted" else self.text.lower()


def words_of(text: str) -> tuple[Word, ...]:
    """Read a text whole.

    Raises:
        NotWritten: it holds anything that could be read in another way, or parentheses that do not match.
    """
    if "\0" in text:
        raise NotWritten("a zero byte")
    words = tuple(_words(text))
    _prove_pairs(words)
    return words


def _words(text: str) -> Iterator[Word]:
    at, last = 0, Word("mark", "", 0, 0)
    while at < len(text):
        found = WORD.match(text, at)
        if found is None:
            raise NotWritten(f"{text[at]!r}")
        at = found.end()
        word = Word(found.lastgroup or "", found[0], found.start(), at)
        if word.kind != "blank":
            _prove_apart(last, word)
            yield word
            last = word


def _prove_apart(last: Word, word: Word) -> None:
    """See that two neighbours are read as two, whoever reads them."""
    touches = word.start == last.end
    if touches and {word.kind, last.kind} <= SEPARATE:
        raise NotWritten(f"{word.text[:20]!r} glued to what stands before it")
    if word.kind == "string" and last.kind == "string":
        # over a line break the server reads them as one, by the rules of the first
        raise NotWritten("a string behind a string")
    if word.kind == "operator" and ("--" in word.text or "/*" in word.text):
        raise NotWritten("a comment")
    if touches and last.text.endswith("&") and word.kind in ("string", "quoted"):
        raise NotWritten("U&")


def _prove_pairs(words: tuple[Word, ...]) -> None:
    opened: list[str] = []
    for word in words:
        if word.kind != "mark":
            continue
        if word.text in ("(", "["):
            opened.append(word.text)
        elif word.text in CLOSES and (not opened or opened.pop() != CLOSES[word.text]):
            raise NotWritten(f"a {word.text!r} that closes nothing")
    if opened:
        raise NotWritten(f"a {opened[-1]!r} that is never closed")


class Words:
    """The words of one text, taken one by one; keywords are those in upper case."""

    def __init__(self, text: str, words: tuple[Word, ...] | None = None) -> None:
        self._text = text
        self._words = words_of(text) if words is None else words
        self._at = 0

    def peek(self, ahead: int = 0) -> Word:
        """Return a word without taking it; at the end an empty mark."""
        at = self._at + ahead
        end = Word("mark", "", len(self._text), len(self._text))
        return self._words[at] if at < len(self._words) else end

    def accept(self, *texts: str) -> bool:
        """Take these words, if they all come next."""
        following = (self.peek(ahead) for ahead in range(len(texts)))
        if any(word.text != text for word, text in zip(following, texts, strict=True)):
            return False
        self._at += len(texts)
        return True

    def expect(self, *texts: str) -> None:
        """Take these words."""
        if not self.accept(*texts):
            raise NotWritten(f"{self.peek().text[:40]!r} where {' '.join(texts)} should stand")

    def take(self) -> Word:
        """Take the next word."""
        word = self.peek()
        if not word.text:
            raise NotWritten("an end where more should stand")
        self._at += 1
        return word

    def name(self) -> str:
        """Take a name; one that is not quoted stands in lower case."""
        word = self.take()
        if word.kind != "quoted" and not (word.kind == "word" and word.text == word.text.lower()):
            raise NotWritten(f"{word.text[:40]!r} where a name should stand")
        return word.name

    def qualified(self) -> tuple[str, str]:
        """Take a name with its schema; without one the schema is empty."""
        first = self.name()
        return (first, self.name()) if self.accept(".") else ("", first)

    def group(self) -> Words:
        """Take what stands in parentheses."""
        opened = self._at
        self.expect("(")
        depth = 1
        while depth:
            word = self.take()
            if word.kind == "mark":
                depth += (word.text == "(") - (word.text == ")")
        return Words(self._text, self._words[opened + 1 : self._at - 1])

    def rest(self) -> Words:
        """Take all that is left."""
        left = self._words[self._at :]
        self._at = len(self._words)
        return Words(self._text, left)

    def end(self) -> None:
        """Raise unless nothing is left."""
        if self.peek().text:
            raise NotWritten(f"{self.peek().text[:40]!r} behind its end")

    @property
    def words(self) -> tuple[Word, ...]:
        """All of them, taken or not."""
        return self._words

    @property
    def text(self) -> str:
        """What they were read from, blanks and all."""
        return self._text[self._words[0].start : self._words[-1].end] if self._words else ""
