"""The part of an archive that single tables are: what belongs to them, and the judge that lets it through.

Read once without the rows for the plan, which selects; then played with the
rows, statement by statement, by the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from ....models import Archive
from ..archive.contents import definitions_of, is_ownership
from ..script.head import Head
from ..script.statements import Name, Statement, read, string_of, tokens_of, unquoted
from .gate import PartGate
from .renaming import Renaming

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["Column", "Definitions", "Judged", "Selection", "read_definitions", "skips"]

CONTENTS_LINE = re.compile(r"\d+; \d+ \d+ (TABLE DATA|BLOB(?:S| DATA| METADATA)?) (.*)")
ENABLED, FORCED = b" ENABLE ROW LEVEL SECURITY", b" FORCE ROW LEVEL SECURITY"
KEPT = {"other", "rows", "setting", "value"}
"""Kinds whose text is of no use to a plan."""
WITH_TABLE = {
    "table",
    "identity",
    "key",
    "constraint",
    "of table",
    "of constraint",
    "policy",
    "of policy",
    "index",
    "of index",
}
"""Statements that come with a copy under another name."""
WITH_ITS_OWN_NAME = {
    "foreign key",
    "trigger",
    "of trigger",
    "rule",
    "of rule",
    "statistics",
    "use of index",
    *WITH_TABLE,
}
"""Statements that come with a table that is created where it was."""


@dataclass(frozen=True)
class Column:
    """One column as CREATE TABLE tells it."""

    name: str
    rest: str
    """Type, default and all that follows the name."""
    generated: bool

    def has_type(self, type_: str) -> bool:
        """Whether this is its type, as the server spells it; a dump may quote more (--quote-all-identifiers)."""
        wanted = [unquoted(token.text) for token in tokens_of(type_)]
        tokens = [*islice(tokens_of(self.rest), len(wanted) + 1)]
        goes_on = any(token.is_name or token.text in "([." for token in tokens[len(wanted) :])
        return [unquoted(token.text) for token in tokens[: len(wanted)]] == wanted and not goes_on

    @property
    def made_type(self) -> Name | None:
        """Return its type by schema and name; None where it is one of the server's own, which are named without."""
        tokens = [token.text for token, _ in zip(tokens_of(self.rest), range(3), strict=False)]
        return (
            (unquoted(tokens[0]), unquoted(tokens[2])) if tokens[1:2] == ["."] and len(tokens) == 3 else None
        )


@dataclass
class Definitions:
    """All that an archive defines, in its order."""

    statements: list[tuple[Statement, bytes]] = field(default_factory=list)
    server_version: str = ""
    """Of the server it was made from, as its own first lines say; empty where they do not."""

    def take(self, text: bytes) -> None:
        """Learn one statement; never lets it pass."""
        statement = read(_decoded(text))
        if statement.kind not in KEPT:
            self.statements.append((statement, text))

    def of_kind(self, *kinds: str) -> Iterable[Statement]:
        """Return the statements of these kinds."""
        return (statement for statement, _ in self.statements if statement.kind in kinds)

    @cached_property
    def tables(self) -> Mapping[Name, str]:
        """Return each table's CREATE TABLE."""
        return {s.on: _decoded(text) for s, text in self.statements if s.kind == "table"}

    @cached_property
    def parents(self) -> Mapping[Name, Name]:
        """Return each partition's parent."""
        return {s.on: s.other for s in self.of_kind("attach")}

    @cached_property
    def indexes(self) -> Mapping[Name, Name]:
        """Return each index's table, those of keys too."""
        return {(s.on[0], s.label): s.on for s in self.of_kind("index", "key")}

    @cached_property
    def given_indexes(self) -> frozenset[Name]:
        """Return the indexes that are parts of one of a partitioned table."""
        return frozenset(s.other for s in self.of_kind("index attach"))

    @cached_property
    def statistics(self) -> Mapping[Name, Name]:
        """Return each statistics object's table."""
        return {s.other: s.on for s in self.of_kind("statistics")}

    @cached_property
    def sequences(self) -> Mapping[Name, tuple[Name, str]]:
        """Return which column each sequence belongs to."""
        owned = {s.on: (s.other, s.label) for s in self.of_kind("owned")}
        return owned | {s.other: (s.on, s.label) for s in self.of_kind("identity")}

    @cached_property
    def forced_row_security(self) -> frozenset[Name]:
        """Return the tables whose row-level security holds for their owner as well."""
        said = [(s.on, text) for s, text in self.statements if s.kind == "of table"]
        enabled = {on for on, text in said if ENABLED in text}
        return frozenset(on for on, text in said if FORCED in text and on in enabled)

    def has_extension(self, name: str) -> bool:
        """Whether it creates this extension."""
        return any(statement.label == name for statement in self.of_kind("extension"))

    def partitions(self, table: Name) -> tuple[Name, ...]:
        """Return a partitioned table's partitions of all levels, foreign tables left out; empty for any other."""
        children = [name for name, parent in self.parents.items() if parent == table and name in self.tables]
        return tuple(name for child in children for name in (child, *self.partitions(child)))

    def foreign_partitions(self, table: Name) -> tuple[Name, ...]:
        """Return those of its partitions, of all levels, that are foreign tables."""
        tree = {table, *self.partitions(table)}
        return tuple(n for n, parent in self.parents.items() if parent in tree and n not in self.tables)

    def is_partitioned(self, table: Name) -> bool:
        """Whether its rows are in its partitions."""
        return _after_body(self.tables[table]).startswith("PARTITION BY")

    def inherits(self, table: Name) -> tuple[Name, ...]:
        """Return the tables whose columns it inherits, partitioned ones left out."""
        tokens = [token.text for token in tokens_of(_after_body(self.tables[table]))]
        if tokens[:2] != ["INHERITS", "("]:
            return ()
        names = tokens[2 : tokens.index(")")]
        return tuple((unquoted(names[i]), unquoted(names[i + 2])) for i in range(0, len(names), 4))

    def columns(self, table: Name) -> dict[str, Column] | None:
        """Return a table's columns, inherited ones too; None where they are not told."""
        text = self.tables.get(table)
        if text is None or _body(text) is None:
            return None
        found: dict[str, Column] = {}
        for parent in self.inherits(table):
            found |= self.columns(parent) or {}
        start, end = _body(text) or (0, 0)
        for element in _elements(text, start, end):
            first = next(tokens_of(element), None)
            if first is None or not first.is_name:
                continue
            rest = element[first.end :].strip()
            words = {token.text for token in tokens_of(rest)}
            generated = {"GENERATED", "ALWAYS", "AS"} <= words
            found[unquoted(first.text)] = Column(unquoted(first.text), rest, generated)
        return found

    def mentioned(self, tables: Iterable[Name], kind: str) -> set[Name]:
        """Return what of a kind the definitions of tables name, and what those name in turn."""
        texts = {s.on: _decoded(text) for s, text in self.statements if s.kind == kind}
        found: set[Name] = set()
        waiting = [_decoded(text) for s, text in self.statements if s.on in tables and s.kind in DEFINING]
        while waiting:
            for name in _names_in(waiting.pop()) & texts.keys() - found:
                found.add(name)
                waiting.append(texts[name])
        return found


DEFINING = {"table", "of table", "constraint", "identity"}


@dataclass(frozen=True)
class Selection:
    """What of an archive is played, and how it is called in the live database."""

    created: frozenset[Name] = frozenset()
    """Tables that are created."""
    filled: frozenset[Name] = frozenset()
    """Tables whose rows are brought."""
    routed: frozenset[Name] = frozenset()
    """Partitioned tables among them: some dumps let these find each row's partition (--load-via-partition-root)."""
    sequences: frozenset[Name] = frozenset()
    """Sequences that are created, and set as they were."""
    orphans: frozenset[Name] = frozenset()
    """Those of them whose table is neither here nor created."""
    types: frozenset[Name] = frozenset()
    schemas: frozenset[str] = frozenset()
    attached: frozenset[Name] = frozenset()
    """Created partitions of a live table, of all levels: it gives them the keys and indexes that it has itself."""
    renaming: Renaming | None = None
    """Beside: under which names."""
    replaced: tuple[Name, ...] = ()
    """Live tables that hold rows and are emptied, the new ones of a partitioned table too."""
    indexes: Mapping[Name, Name] = field(default_factory=dict)
    """Each index's table."""
    given: frozenset[Name] = frozenset()
    """Indexes that are parts of one of a partitioned table."""
    statistics: Mapping[Name, Name] = field(default_factory=dict)
    columns_of: Mapping[Name, tuple[Name, str]] = field(default_factory=dict)
    """Which column each sequence of the backup belongs to."""

    def wants(self, statement: Statement) -> bool:
        """Whether a statement is part of it."""
        kind, on = statement.kind, statement.on
        if kind in ("setting", "schema"):
            return kind == "setting" or statement.label in self.schemas
        if kind == "rows":
            return on in self.filled or on in self.routed
        if kind == "owned" and on in self.orphans:
            return False
        if kind in ("sequence", "value", "of sequence", "owned"):
            return on in self.sequences
        if kind in ("type", "of type"):
            return on in self.types
        if kind == "attach":
            return on in self.attached or ({on, statement.other} <= self.created and self.renaming is None)
        if kind == "index attach":
            theirs = self.indexes.get(on) in self.created and self.renaming is None
            return theirs and self.indexes.get(statement.other) not in self.attached
        if on in self.attached and (on[0], statement.label) in self.given and kind in ("index", "key"):
            return False
        if kind == "of index":
            return self.indexes.get(on) in self.created
        if kind == "of statistics":
            return self.statistics.get(on) in self.created and self.renaming is None
        # in older dumps a sequence's owner is given by ALTER TABLE
        belongs = on in self.created or (kind == "of table" and on in self.sequences)
        return belongs and kind in (WITH_TABLE if self.renaming else WITH_ITS_OWN_NAME)


def skips(selection: Selection, line: str) -> bool:
    """Whether a line of pg_restore's table of contents is rows that are surely not wanted: they are not unpacked.

    Names stand there without quotes, line breaks as blanks: one that only begins like a wanted one
    is unpacked for nothing, and then judged.
    """
    found = CONTENTS_LINE.match(line)
    if found is None or found[1].startswith("BLOB"):
        return found is not None
    wanted = (" ".join(name).replace("\n", " ").replace("\r", " ") for name in selection.filled)
    return not found[2].startswith(tuple(f"{name} " for name in wanted))


class Judged:
    """The judge of one playing: lets the selection through, and remembers what it met."""

    def __init__(self, selection: Selection, *, no_owner: bool) -> None:
        self._selection = selection
        self._no_owner = no_owner
        self.rows_of: set[Name] = set()
        """Tables whose rows came."""
        self.values: dict[Name, str] = {}
        """What setval says of each sequence, as it stands in the script."""

    def __call__(self, text: bytes) -> bytes | None:
        """Judge one statement."""
        told = _decoded(text)
        statement = read(told)
        if statement.kind == "value":
            self.values[statement.on] = told
        if statement.kind == "rows":
            self.rows_of.add(statement.on)
        if not self._selection.wants(statement) or (self._no_owner and is_ownership(text)):
            return None
        if self._selection.renaming is None:
            return text
        return self._selection.renaming.spell(statement, told).encode(errors="surrogateescape")


def read_definitions(engine: PostgresEngine, archive: Archive) -> Definitions:
    """Read all that an archive defines, without the rows where the format allows.

    Raises:
        VersionMismatch: pg_restore cannot read this archive. Refused, ArchiveDamaged: see the gate.
    """
    definitions = Definitions()
    with definitions_of(engine, archive) as source:
        head = Head(source)
        for _ in PartGate(head, definitions.take):
            pass
    definitions.server_version, _ = head.versions
    return definitions


def _decoded(text: bytes) -> str:
    return text.decode(errors="surrogateescape")


def _body(text: str) -> tuple[int, int] | None:
    """Return where the list of a CREATE TABLE's columns begins and ends; None where it has none of its own."""
    depth, start = 0, 0
    for i, token in enumerate(tokens_of(text)):
        if token.text == "OF" and i < 10 and depth == 0:
            return None
        if token.text == "(":
            depth += 1
            start = start or token.end
        elif token.text == ")":
            depth -= 1
            if depth == 0:
                return start, token.start
    return None


def _after_body(text: str) -> str:
    body = _body(text)
    return text[body[1] + 1 :].strip() if body else ""


def _elements(text: str, start: int, end: int) -> Iterable[str]:
    depth, begin = 0, start
    for token in tokens_of(text[start:end]):
        depth += (token.text == "(") - (token.text == ")")
        if token.text == "," and depth == 0:
            yield text[begin : start + token.start]
            begin = start + token.end
    yield text[begin:end]


def _names_in(text: str) -> set[Name]:
    """Return every qualified name in a statement, those inside its strings too."""
    tokens = list(tokens_of(text))
    names: set[Name] = set()
    for first, dot, second in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if dot.text == "." and first.is_name and second.is_name:
            names.add((unquoted(first.text), unquoted(second.text)))
    for token in tokens:
        if token.is_string and "." in token.text:
            names |= _names_in(string_of(token.text))
    return names
