"""A table's statements under other names: what a copy beside the live table is made with.

Only names of what is the table's own are changed: its sequences, keys and
indexes, and itself. pg_dump qualifies each, so that it can be told from a
column, and says it first; what comes later in a statement is an expression.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from ....errors import Refused
from ..script.statements import (
    Name,
    Statement,
    Token,
    quoted,
    quoted_pair,
    read,
    string_of,
    tokens_of,
    unquoted,
)

__all__ = ["Renaming"]

ALL_NAMES = ("owned", "identity")
"""Kinds without expressions: every name of ours in them is meant."""


@dataclass(frozen=True)
class Renaming:
    """Names of the backup, and those of the copy."""

    relations: Mapping[Name, Name]
    """The table, its partitions (all become the one copy), its sequences, its indexes."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Indexes and keys, where they stand without a schema."""
    flat: bool = False
    """A partitioned table becomes an ordinary one."""

    def spell(self, statement: Statement, text: str) -> str:
        """Return a statement of the table's for the copy.

        Raises:
            Refused: it would still be about what is live.
        """
        tokens = list(tokens_of(text))
        changes: list[tuple[int, int, str]] = []
        for first, dot, second in zip(tokens, tokens[1:], tokens[2:], strict=False):
            pair = (unquoted(first.text), unquoted(second.text))
            if dot.text == "." and first.is_name and second.is_name and pair in self.relations:
                changes.append((first.start, second.end, quoted_pair(self.relations[pair])))
                if statement.kind not in ALL_NAMES:
                    break
        if statement.kind != "rows":  # there a string is a value
            changes += self._in_strings(tokens)
        changes += self._labels_in(statement, tokens)
        if self.flat and statement.kind == "table":
            changes += _without_partitions(tokens)
        for start, end, new in sorted(changes, reverse=True):
            text = text[:start] + new + text[end:]
        if read(text).on != self.relations.get(statement.on, statement.on):
            raise Refused(
                f"a statement about {'.'.join(statement.on)} cannot be made one about the copy: {statement.kind}",
                hint="restore all of it beside: --into=NAME",
            )
        return text

    def _in_strings(self, tokens: list[Token]) -> list[tuple[int, int, str]]:
        """Rename sequences in nextval('…'::regclass) and setval('…', …)."""
        changes = []
        for before, token in pairwise(tokens):
            if before.text != "(" or not token.is_string:
                continue
            inner = list(tokens_of(string_of(token.text)))
            if len(inner) != 3 or inner[1].text != ".":
                continue
            new = self.relations.get((unquoted(inner[0].text), unquoted(inner[2].text)))
            if new is not None:
                changes.append((token.start, token.end, "'" + quoted_pair(new).replace("'", "''") + "'"))
        return changes

    def _labels_in(self, statement: Statement, tokens: list[Token]) -> list[tuple[int, int, str]]:
        """Rename an index or a key, which stands alone, before the table or after ADD CONSTRAINT."""
        if statement.kind not in ("index", "key", "of constraint") or statement.label not in self.labels:
            return []
        after = {"INDEX", "CONSTRAINT"}
        for before, token in pairwise(tokens):
            if before.text in after and unquoted(token.text) == statement.label:
                return [(token.start, token.end, quoted(self.labels[statement.label]))]
        return []


def _without_partitions(tokens: list[Token]) -> list[tuple[int, int, str]]:
    depth = 0
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.text == "PARTITION":
            return [(token.start, tokens[-1].start, "")]
    return []
