"""The text of a table's definition under another name: what SQLite keeps in sqlite_master, spelt anew.

A copy has no foreign keys: they would delete its rows with live ones, or forbid
that. Whoever uses such a text looks afterwards whether SQLite reads it as meant.
"""

from __future__ import annotations

import re

from ..files import identifier

__all__ = ["index_as", "table_as"]

TOKEN = re.compile(
    r"""\s+|--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]"""
    r"""|[^\W\d][\w$]*|.""",
    re.DOTALL,
)
BLANK = re.compile(r"\s+|--.*|/\*.*", re.DOTALL)
ACTIONS = {"CASCADE", "RESTRICT"}


def table_as(sql: str, name: str) -> str:
    """Return a CREATE TABLE under another name, without its foreign keys."""
    tokens = TOKEN.findall(sql)
    solid = [i for i, token in enumerate(tokens) if not BLANK.fullmatch(token)]
    tokens[solid[2]] = identifier(name)  # CREATE TABLE name
    reading = _Reading(tokens, solid)
    for start, end in reading.foreign_keys():
        for i in range(start, end):
            # a comment to the end of its line goes as a whole
            tokens[i] = "" if not tokens[i].isspace() else " "
    return "".join(tokens)


def index_as(sql: str, name: str, table: str) -> str:
    """Return a CREATE INDEX under another name, on another table."""
    tokens = TOKEN.findall(sql)
    solid = [i for i, token in enumerate(tokens) if not BLANK.fullmatch(token)]
    words = [tokens[i].upper() for i in solid]
    at = words.index("INDEX")
    tokens[solid[at + 1]] = identifier(name)  # CREATE [UNIQUE] INDEX name ON table
    tokens[solid[at + 3]] = identifier(table)
    return "".join(tokens)


class _Reading:
    """A definition as the tokens that mean something."""

    def __init__(self, tokens: list[str], solid: list[int]) -> None:
        self._places = solid
        self._words = [tokens[i].upper() for i in solid]

    def foreign_keys(self) -> list[tuple[int, int]]:
        """Return where they stand among all tokens, each with the comma or CONSTRAINT before it."""
        found, depth, at = [], 0, 0
        while at < len(self._words):
            word = self._words[at]
            depth += (word == "(") - (word == ")")
            if depth == 1 and word in ("REFERENCES", "FOREIGN"):
                end = self._end_of_key(at)
                start = at - 2 if self._words[at - 2] == "CONSTRAINT" else at
                if word == "FOREIGN" and self._words[start - 1] == ",":
                    start -= 1
                found.append((self._places[start], self._places[end - 1] + 1))
                at = end
                continue
            at += 1
        return found

    def _end_of_key(self, at: int) -> int:
        if self._words[at] == "FOREIGN":
            at = self._after_list(at + 2)  # FOREIGN KEY (…)
        at += 2  # REFERENCES table
        if self._word(at) == "(":
            at = self._after_list(at)
        while True:
            word, following = self._word(at), self._word(at + 1)
            if word == "ON":  # ON DELETE SET NULL, ON UPDATE CASCADE
                at += 3 if self._word(at + 2) in ACTIONS else 4
            elif word == "MATCH":
                at += 2
            elif word == "DEFERRABLE" or (word == "NOT" and following == "DEFERRABLE"):
                at += 1 if word == "DEFERRABLE" else 2
                at += 2 if self._word(at) == "INITIALLY" else 0
            else:
                return at

    def _after_list(self, at: int) -> int:
        depth = 0
        while at < len(self._words):
            depth += (self._words[at] == "(") - (self._words[at] == ")")
            at += 1
            if depth == 0:
                break
        return at

    def _word(self, at: int) -> str:
        return self._words[at] if at < len(self._words) else ""
