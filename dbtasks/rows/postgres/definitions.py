"""Keys, checks, references, indexes and partitions: the server's own texts of them, read, and put together anew.

What is a name is quoted again, what is a keyword is one of a few, and what is
an expression stays inside the parentheses it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from ..schema import Check, ForeignKey, Index, Key
from .needs import CATALOG, Kind, Need, needs_of
from .spelling import Part, identifier, joined, plain
from .words import NotWritten, Words

__all__ = [
    "bound",
    "check",
    "expression",
    "foreign_key",
    "index",
    "is_exclusion",
    "is_later",
    "key",
    "partition_key",
]

KNOWN = 1024
LATER = ("NOT", "VALID")
ACTIONS = (("NO", "ACTION"), ("RESTRICT",), ("CASCADE",), ("SET", "NULL"), ("SET", "DEFAULT"))
CHECK_ENDS = (("NO", "INHERIT"), LATER, ("NOT", "ENFORCED"))
LATE_NOT_NULL_ENDS = (("NO", "INHERIT"), LATER)
WHEN = (("DEFERRABLE",), ("INITIALLY", "DEFERRED"))
REFERENCE_ENDS = (*WHEN, LATER, ("NOT", "ENFORCED"))


@lru_cache(KNOWN)
def expression(text: str) -> Part:
    """Read one expression; it stands in parentheses of its own. Partitions have the same ones over and over.

    Raises:
        NotWritten: here and below: it is not what PostgreSQL writes.
    """
    words = Words(text)
    if not words.words:
        raise NotWritten("nothing, where an expression should stand")
    return _in_parentheses(words)


def _in_parentheses(words: Words) -> Part:
    from psycopg2 import sql

    return Part(sql.SQL("({})").format(sql.SQL(words.text)), needs_of(words))


def is_later(constraint: Check) -> bool:
    """Whether a check holds for new rows only: it has to come behind the rows."""
    return constraint.definition.endswith(" NOT VALID")


def is_exclusion(constraint: Check) -> bool:
    """Whether it is made with an index, behind the rows."""
    return constraint.definition.startswith("EXCLUDE")


def check(constraint: Check) -> Part:
    """Return `CONSTRAINT … CHECK (…)`, EXCLUDE, or NOT NULL for new rows only."""
    words = Words(constraint.definition)
    if words.peek().text == "EXCLUDE":
        return joined(" ", _named(constraint.name), _exclusion(words))
    if words.accept("NOT", "NULL"):
        return joined(
            " ", _named(constraint.name), plain("NOT NULL"), _name(words), *_ends(words, LATE_NOT_NULL_ENDS)
        )
    words.expect("CHECK")
    return joined(" ", _named(constraint.name), plain("CHECK"), _group(words), *_ends(words, CHECK_ENDS))


def _named(name: str) -> Part:
    return joined(" ", plain("CONSTRAINT"), Part(identifier(name))) if name else plain("")


def _group(words: Words) -> Part:
    return _in_parentheses(words.group())


def _ends(words: Words, phrases: Iterable[tuple[str, ...]]) -> list[Part]:
    """Take the phrases that stand at the end, each at most once, in this order."""
    found = [plain(" ".join(phrase)) for phrase in phrases if words.accept(*phrase)]
    words.end()
    return found


def _exclusion(words: Words) -> Part:
    words.expect("EXCLUDE", "USING")
    parts = [plain("EXCLUDE USING"), _method(words), _group(words)]
    if words.accept("INCLUDE"):
        parts += [plain("INCLUDE"), _names(words)]
    if words.accept("WHERE"):
        parts += [plain("WHERE"), _group(words)]
    return joined(" ", *parts, *_ends(words, WHEN))


def _method(words: Words) -> Part:
    name = words.name()
    return Part(identifier(name), frozenset({Need(Kind.METHOD, CATALOG, name)}))


def _names(words: Words, item: Callable[[Words], Part] | None = None) -> Part:
    """Take a list of names in parentheses."""
    inner = words.group()
    found = [(item or _name)(inner)]
    while inner.accept(","):
        found.append((item or _name)(inner))
    inner.end()
    return joined("", plain("("), joined(", ", *found), plain(")"))


def _name(words: Words) -> Part:
    return Part(identifier(words.name()))


def _key_column(words: Words) -> Part:
    name = _name(words)
    return joined(" ", name, plain("WITHOUT OVERLAPS")) if words.accept("WITHOUT", "OVERLAPS") else name


def _reference_column(words: Words) -> Part:
    is_period = words.accept("PERIOD")
    return joined(" ", plain("PERIOD"), _name(words)) if is_period else _name(words)


def _columns(names: Iterable[str]) -> Part:
    parts = [Part(identifier(name)) for name in names]
    if not parts:
        raise NotWritten("a key without columns")
    return joined("", plain("("), joined(", ", *parts), plain(")"))


def key(key_: Key, *, primary: bool) -> Part:
    """Return `CONSTRAINT … PRIMARY KEY (…)`, or UNIQUE."""
    kind = ("PRIMARY", "KEY") if primary else ("UNIQUE",)
    parts = [_named(key_.name), plain(" ".join(kind))]
    if not key_.definition:
        return joined(" ", *parts, _columns(key_.columns))
    words = Words(key_.definition)
    words.expect(*kind)
    if words.accept("NULLS", "NOT", "DISTINCT"):
        parts.append(plain("NULLS NOT DISTINCT"))
    parts.append(_names(words, _key_column))
    if words.accept("INCLUDE"):
        parts += [plain("INCLUDE"), _names(words)]
    return joined(" ", *parts, *_ends(words, WHEN))


def foreign_key(reference: ForeignKey, table: tuple[str, str]) -> Part:
    """Return `CONSTRAINT … FOREIGN KEY (…) REFERENCES` this table."""
    other = Part(identifier(*table), frozenset({Need(Kind.RELATION, *table)}))
    parts = [_named(reference.name), plain("FOREIGN KEY")]
    if not reference.definition:
        parts += [_columns(reference.columns), plain("REFERENCES"), other]
        return joined(" ", *parts, *([_columns(reference.referenced)] if reference.referenced else []))
    words = Words(reference.definition)
    words.expect("FOREIGN", "KEY")
    parts.append(_names(words, _reference_column))
    words.expect("REFERENCES")
    if words.qualified() != table:
        raise NotWritten("another table than the one it refers to")
    parts += [plain("REFERENCES"), other, _names(words, _reference_column)]
    if words.accept("MATCH", "FULL"):
        parts.append(plain("MATCH FULL"))
    for event in ("UPDATE", "DELETE"):
        if words.accept("ON", event):
            parts += [plain(f"ON {event}"), *_action(words)]
    return joined(" ", *parts, *_ends(words, REFERENCE_ENDS))


def _action(words: Words) -> list[Part]:
    for action in ACTIONS:
        if words.accept(*action):
            named = [_names(words)] if action[0] == "SET" and words.peek().text == "(" else []
            return [plain(" ".join(action)), *named]
    raise NotWritten("an action that there is not")


def index(index_: Index, table: tuple[str, str]) -> Part:
    """Return `CREATE INDEX … ON` this table, with its partitions."""
    words = Words(index_.definition)
    words.expect("CREATE")
    unique = words.accept("UNIQUE")
    words.expect("INDEX")
    if words.name() != index_.name:
        raise NotWritten("another index than it is called")
    words.expect("ON")
    words.accept("ONLY")
    if words.qualified() != table:
        raise NotWritten("an index of another table")
    words.expect("USING")
    parts = [
        plain(f"CREATE {'UNIQUE ' if unique else ''}INDEX"),
        Part(identifier(index_.name)),
        plain("ON"),
        Part(identifier(*table)),
        plain("USING"),
        _method(words),
        _group(words),
    ]
    if words.accept("INCLUDE"):
        parts += [plain("INCLUDE"), _names(words)]
    if words.accept("NULLS", "NOT", "DISTINCT"):
        parts.append(plain("NULLS NOT DISTINCT"))
    if words.accept("WITH"):
        parts += [plain("WITH"), _names(words, _option)]
    if words.accept("WHERE"):
        parts += [plain("WHERE"), _in_parentheses(words.rest())]
    words.end()
    return joined(" ", *parts)


def _option(words: Words) -> Part:
    """Take `fillfactor='70'`."""
    from psycopg2 import sql

    name = _name(words)
    words.expect("=")
    value = words.take()
    if value.kind not in ("string", "number", "word"):
        raise NotWritten(f"{value.text!r} where an option's value should stand")
    return joined("=", name, Part(sql.SQL(value.text)))


def partition_key(text: str) -> Part:
    """Return `PARTITION BY RANGE (…)`."""
    words = Words(text)
    for kind in ("RANGE", "LIST", "HASH"):
        if words.accept(kind):
            part = joined(" ", plain(f"PARTITION BY {kind}"), _group(words))
            words.end()
            return part
    raise NotWritten("a kind of partitions that there is not")


def bound(text: str) -> Part:
    """Return `FOR VALUES …`, or DEFAULT: which rows a partition takes."""
    words = Words(text)
    if words.accept("DEFAULT"):
        words.end()
        return plain("DEFAULT")
    words.expect("FOR", "VALUES")
    if words.accept("IN"):
        parts = [plain("IN"), _literals(words)]
    elif words.accept("FROM"):
        parts = [plain("FROM"), _literals(words)]
        words.expect("TO")
        parts += [plain("TO"), _literals(words)]
    else:
        words.expect("WITH")
        parts = [plain("WITH"), _names(words, _modulus)]
    words.end()
    return joined(" ", plain("FOR VALUES"), *parts)


def _literals(words: Words) -> Part:
    """Take values: the server computes what stands here at once, so nothing else may."""
    from psycopg2 import sql

    inner = words.group()
    for word in inner.words:
        is_value = word.kind in ("string", "number") or word.text in (",", "-")
        if not is_value and word.text not in ("NULL", "MINVALUE", "MAXVALUE", "true", "false"):
            raise NotWritten(f"{word.text!r} where a value should stand")
    return Part(sql.SQL("({})").format(sql.SQL(inner.text)))


def _modulus(words: Words) -> Part:
    for name in ("modulus", "remainder"):
        if words.accept(name):
            value = words.take()
            if value.kind != "number":
                break
            return plain(f"{name} {value.text}")
    raise NotWritten("a partition by hash without its numbers")
