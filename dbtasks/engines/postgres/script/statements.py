"""What a statement of pg_dump is about: the words it is made of, the table it belongs to, what it makes.

pg_dump names every relation with its schema and writes every keyword in upper
case; a name that looks like a keyword is quoted. So a statement's first words
tell what it is. What is not known here is `other`, and belongs to no table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ....schemas import quoted

__all__ = [
    "Name",
    "Statement",
    "Token",
    "quoted",
    "quoted_pair",
    "read",
    "string_of",
    "tokens_of",
    "unquoted",
]

Name = tuple[str, str]
"""Schema and name."""

TOKEN = re.compile(
    r"""(?P<string>[Ee]'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*')|(?P<name>"(?:[^"]|"")*")"""
    r"""|(?P<body>\$(?:[^\W\d][\w]*)?\$)|(?P<blank>\s+|--[^\n]*|/\*.*?\*/)"""
    r"""|(?P<word>[^\W\d][\w$]*)|(?P<number>\d[\w.]*)|(?P<mark>.)""",
    re.DOTALL,
)
PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")


class Token(NamedTuple):
    """One word, name, string or mark, and where it stands."""

    text: str
    start: int
    end: int

    @property
    def is_name(self) -> bool:
        """Whether it can be a name: quoted, or in lower case."""
        return self.text[0] == '"' or bool(re.match(r"[^\W\dA-Z]", self.text[0]))

    @property
    def is_string(self) -> bool:
        """Whether it is a string."""
        return self.text[0] == "'" or self.text[:2] in ("E'", "e'")


@dataclass(frozen=True)
class Statement:
    """One statement, as far as it matters whose it is."""

    kind: str
    on: Name = ("", "")
    """The relation, type or statistics object it belongs to or makes."""
    other: Name = ("", "")
    """A second one: the table a foreign key refers to, a partition's parent, a column's sequence."""
    label: str = ""
    """The name of an index, a constraint, a schema or an extension; of the column a sequence fills."""


OTHER = Statement("other")


def tokens_of(text: str) -> Iterator[Token]:
    """Read a statement's tokens; blanks and comments are left out, a dollar-quoted body is one."""
    at = 0
    while at < len(text):
        found = TOKEN.match(text, at)
        if found is None:
            return
        end = found.end()
        if found.lastgroup == "body":
            closed = text.find(found[0], end)
            end = len(text) if closed < 0 else closed + len(found[0])
        if found.lastgroup != "blank":
            yield Token(text[at:end], at, end)
        at = end


def unquoted(text: str) -> str:
    """Return the name that a token spells."""
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def quoted_pair(name: Name) -> str:
    """Spell schema and name so that they are surely that."""
    return quoted(*name)


def string_of(text: str) -> str:
    """Return what a token that is a string says."""
    if text[0] != "'":
        return re.sub(r"\\(.)", r"\1", text[2:-1].replace("''", "'"), flags=re.DOTALL)
    return text[1:-1].replace("''", "'")


def read(text: str) -> Statement:
    """Tell what a statement is about."""
    reader = _Reader(tokens_of(text))
    first = reader.word()
    how = FIRST.get(first.upper()) if first else None
    if how is None:
        return OTHER
    try:
        return how(reader)
    except _Unknown:
        return OTHER


class _Unknown(Exception):
    """The statement is not written as pg_dump writes the kind."""


class _Reader:
    """The tokens of one statement, taken one by one."""

    def __init__(self, tokens: Iterator[Token]) -> None:
        self._tokens = tokens
        self._next = next(tokens, None)

    def word(self) -> str:
        """Take the next token; empty at the end."""
        taken = self._next
        self._next = next(self._tokens, None)
        return taken.text if taken else ""

    def accept(self, *words: str) -> bool:
        """Take the next token if it is one of these words."""
        if self._next is None or self._next.text not in words:
            return False
        self.word()
        return True

    def expect(self, *words: str) -> None:
        """Take these words, in this order."""
        for word in words:
            if not self.accept(word):
                raise _Unknown

    def ident(self) -> str:
        """Take a name."""
        if self._next is None or not self._next.is_name:
            raise _Unknown
        return unquoted(self.word())

    def qualified(self) -> Name:
        """Take a name with its schema."""
        schema = self.ident()
        self.expect(".")
        return schema, self.ident()

    def until(self, *words: str) -> str:
        """Take everything up to and with one of these words, outside of parentheses; returns which."""
        depth = 0
        while word := self.word():
            depth += (word == "(") - (word == ")")
            if depth == 0 and word in words:
                return word
        raise _Unknown

    def string(self) -> str:
        """Take a string."""
        if self._next is None or not self._next.is_string:
            raise _Unknown
        return string_of(self.word())


# -- CREATE ---------------------------------------------------------------------------------


def _create(reader: _Reader) -> Statement:
    foreign = reader.accept("FOREIGN")
    reader.accept("UNLOGGED", "UNIQUE", "CONSTRAINT", "MATERIALIZED")
    what = reader.word()
    simple = {
        "TABLE": "foreign table" if foreign else "table",
        "SEQUENCE": "sequence",
        "VIEW": "view",
        "TYPE": "type",
        "DOMAIN": "type",
    }
    if what in simple:
        return Statement(simple[what], reader.qualified())
    if what == "SCHEMA":
        return Statement("schema", label=reader.ident())
    if what == "EXTENSION":
        if reader.accept("IF"):
            reader.expect("NOT", "EXISTS")
        return Statement("extension", label=reader.ident())
    if what == "STATISTICS":
        name = reader.qualified()
        reader.until("FROM")
        return Statement("statistics", reader.qualified(), name)
    if what not in ("INDEX", "TRIGGER", "POLICY", "RULE"):
        return OTHER
    label = reader.ident()
    if what == "RULE":
        reader.until("TO")
    else:
        reader.until("ON")
    reader.accept("ONLY")
    return Statement(what.lower(), reader.qualified(), label=label)


# -- ALTER -----------------------------------------------------------------------------------


def _alter(reader: _Reader) -> Statement:
    what = reader.word()
    if what == "TABLE":
        return _alter_table(reader)
    if what == "SEQUENCE":
        name = reader.qualified()
        if not reader.accept("OWNED"):
            return Statement("of sequence", name)
        reader.expect("BY")
        table = reader.qualified()
        reader.expect(".")
        return Statement("owned", name, table, reader.ident())
    if what == "INDEX":
        name = reader.qualified()
        if reader.accept("ATTACH"):
            reader.expect("PARTITION")
            return Statement("index attach", name, reader.qualified())
        return Statement("of index", name)
    if what == "SCHEMA":
        return Statement("schema", label=reader.ident())
    if what == "PUBLICATION":
        label = reader.ident()
        reader.expect("ADD", "TABLE")
        reader.accept("ONLY")
        return Statement("published", reader.qualified(), label=label)
    kind = {"STATISTICS": "of statistics", "TYPE": "of type", "DOMAIN": "of type"}.get(what)
    return Statement(kind, reader.qualified()) if kind else OTHER


def _alter_table(reader: _Reader) -> Statement:
    reader.accept("ONLY")
    table = reader.qualified()
    act = reader.word()
    if act == "ADD":
        return _add_constraint(reader, table)
    if act == "ATTACH":
        reader.expect("PARTITION")
        return Statement("attach", reader.qualified(), table)
    if act == "ALTER":
        reader.expect("COLUMN")
        column = reader.ident()
        if not reader.accept("ADD"):
            # what a dump says before it creates everything anew is about a table that was there
            return OTHER if reader.accept("DROP") else Statement("of table", table)
        return Statement("identity", table, _sequence_of(reader), column)
    if act in ("CLUSTER", "REPLICA"):
        return Statement("use of index", table)
    if act in ("ENABLE", "DISABLE"):
        reader.accept("ALWAYS", "REPLICA")
        kinds = {"TRIGGER": "of trigger", "RULE": "of rule"}
        return Statement(kinds.get(reader.word(), "of table"), table)
    return OTHER if act in ("DROP", "INHERIT", "DETACH", "") else Statement("of table", table)


def _sequence_of(reader: _Reader) -> Name:
    """Take `GENERATED … AS IDENTITY ( SEQUENCE NAME s.q …`."""
    while word := reader.word():
        if word == "SEQUENCE" and reader.accept("NAME"):
            return reader.qualified()
    raise _Unknown


def _add_constraint(reader: _Reader, table: Name) -> Statement:
    reader.expect("CONSTRAINT")
    label = reader.ident()
    kind = reader.word()
    if kind == "FOREIGN":
        reader.until("REFERENCES")
        return Statement("foreign key", table, reader.qualified(), label)
    return Statement("key" if kind in ("PRIMARY", "UNIQUE", "EXCLUDE") else "constraint", table, label=label)


# -- everything else ---------------------------------------------------------------------------


def _comment(reader: _Reader) -> Statement:
    reader.until("ON")
    what = reader.word()
    if what in ("CONSTRAINT", "TRIGGER", "POLICY", "RULE"):
        label = reader.ident()
        reader.expect("ON")
        return Statement(f"of {what.lower()}", reader.qualified(), label=label)
    if what == "SCHEMA":
        return Statement("schema", label=reader.ident())
    kinds = {
        "TABLE": "of table",
        "COLUMN": "of table",
        "INDEX": "of index",
        "SEQUENCE": "of sequence",
        "STATISTICS": "of statistics",
        "TYPE": "of type",
        "DOMAIN": "of type",
    }
    return Statement(kinds[what], reader.qualified()) if what in kinds else OTHER


def _grant(reader: _Reader) -> Statement:
    reader.until("ON")
    what = reader.word()
    if what == "SCHEMA":
        return Statement("schema", label=reader.ident())
    kinds = {"TABLE": "of table", "SEQUENCE": "of sequence", "TYPE": "of type"}
    return Statement(kinds[what], reader.qualified()) if what in kinds else OTHER


def _copy(reader: _Reader) -> Statement:
    return Statement("rows", reader.qualified())


def _insert(reader: _Reader) -> Statement:
    reader.expect("INTO")
    return Statement("rows", reader.qualified())


def _select(reader: _Reader) -> Statement:
    reader.expect("pg_catalog", ".", "setval", "(")
    inner = _Reader(tokens_of(reader.string()))
    return Statement("value", inner.qualified())


def _set(reader: _Reader) -> Statement:
    return OTHER if reader.accept("SESSION") else Statement("setting")


FIRST: Mapping[str, Callable[[_Reader], Statement]] = {
    "CREATE": _create,
    "ALTER": _alter,
    "COMMENT": _comment,
    "SECURITY": _comment,
    "GRANT": _grant,
    "REVOKE": _grant,
    "COPY": _copy,
    "INSERT": _insert,
    "SELECT": _select,
    "SET": _set,
}
