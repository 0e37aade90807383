"""Conditions of SQLite's (CHECK, and WHERE of an index) in PostgreSQL's words, where they say the same there.

Comparisons, IN, BETWEEN, IS NULL and LENGTH over columns and constants, joined by
AND, OR and NOT. Anything else is nothing here: it is left behind and told, never
guessed. Both sides of a comparison have to be of one class of the types that were
chosen, or the server would refuse it, or mean something else. Dates and times are
texts in SQLite, which puts '2020-01-01 00:00:00' behind '2020-01-01': they are
compared there only where all that are compared are spelled alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ...schemas import quoted
from ..across.misfit import Misfit
from ..across.moments import SINCE_1970, shape_of
from ..across.spellers import line_of
from ..schema import Table
from .words import tokens, unquoted

__all__ = ["SPELLED", "Typed", "Unsaid", "checks_of", "said_there"]

NUMBER = re.compile(r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?", re.ASCII)
COMPARES = {
    "=": "=",
    "==": "=",
    "<>": "<>",
    "!=": "<>",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}
EQUALS = ("=", "<>")
NUMBERS = ("smallint", "integer", "bigint", "numeric", "double precision", "real")
TEXTS = ("text", "character varying", "character")
CLASSES = {**dict.fromkeys(NUMBERS, "number"), **dict.fromkeys(TEXTS, "text"), "boolean": "boolean"}
COLLATED = "text of a collation"
MOMENTS = ("date", "timestamp", "timestamptz")
"""Ways of spelling under which a constant is what a text in the column is."""
SPELLED = (*MOMENTS, "time")
"""Ways of spelling whose texts are in one order on both sides where they are spelled alike."""
STORED = {
    "number": frozenset(("integer", "real")),
    "boolean": frozenset(("integer", "real")),
    "text": frozenset(("text",)),
    "bytea": frozenset(("blob",)),
}
"""As what SQLite compares the values of a class: a number that it holds as a text it takes for a text."""
WHOLE = frozenset(("integer",))
"""The same of numbers since 1970: others are rounded to microseconds."""
COMPARED = ("number", "text", "boolean", "bytea")
"""Classes whose values compare as in SQLite, however they are written."""
SEVERAL = "values of several kinds"
HAS_OFFSET = re.compile(r".{10}.*[+-]")
DAY, TO_THE_SECOND = 10, 19
"""How long the spelling of a date is, and that of a moment."""
NOT_NAMES = {
    *("AND", "OR", "NOT", "IN", "BETWEEN", "IS", "NULL", "LIKE", "GLOB", "CASE", "CAST", "EXISTS", "COLLATE"),
    *("ISNULL", "NOTNULL", "REGEXP", "MATCH", "SELECT", "ESCAPE", "RAISE"),
}


class Unsaid(ValueError):
    """A condition that is not translated; the text says what of it."""


@dataclass(frozen=True)
class Typed:
    """What a column has become."""

    name: str
    type: str
    how: str
    is_collated: bool = False
    """Whether SQLite compares its texts otherwise than byte by byte."""
    shapes: frozenset[str] = frozenset()
    """How its texts are spelled, by `moments.shape_of`; one more than one is enough."""
    kinds: frozenset[str] = frozenset()
    """The storage classes of its values."""


@dataclass(frozen=True)
class _Term:
    text: str
    kind: str
    """`number`, `text`, `boolean`, `condition`, or the way of spelling of a column that is none of them."""
    value: int | float | str | None = None
    """Of a constant."""
    shapes: frozenset[str] = frozenset()
    """Of a column."""


def checks_of(table: Table) -> Iterator[tuple[str, list[str]]]:
    """Yield the CHECKs of a table: the name of each, if it has one, and its tokens."""
    found = tokens(table.definition)
    at = 0
    while at < len(found):
        if found[at].upper() == "CHECK" and found[at + 1 : at + 2] == ["("]:
            end = _closing(found, at + 1)
            named = at >= 2 and found[at - 2].upper() == "CONSTRAINT"
            yield (unquoted(found[at - 1]) if named else "", found[at + 2 : end])
            at = end
        at += 1


def _closing(found: Sequence[str], at: int) -> int:
    depth = 0
    for place in range(at, len(found)):
        depth += (found[place] == "(") - (found[place] == ")")
        if depth == 0:
            return place
    return len(found)


def said_there(said: Sequence[str], columns: Mapping[str, Typed]) -> str:
    """Return a condition in PostgreSQL's words; `columns` by their names in lower case.

    Raises:
        Unsaid: it holds something that is not translated.
    """
    reader = _Reader(said, columns)
    term = reader.alternatives()
    if reader.peek():
        raise Unsaid(reader.peek())
    if term.kind not in ("condition", "boolean"):
        raise Unsaid("a number as a condition")
    return term.text


class _Reader:
    def __init__(self, said: Sequence[str], columns: Mapping[str, Typed]) -> None:
        self._said = list(said)
        self._columns = columns
        self._at = 0

    def peek(self, ahead: int = 0) -> str:
        """Return a token without taking it; empty at the end."""
        at = self._at + ahead
        return self._said[at] if at < len(self._said) else ""

    def _accept(self, *wanted: str) -> bool:
        if [self.peek(ahead).upper() for ahead in range(len(wanted))] != list(wanted):
            return False
        self._at += len(wanted)
        return True

    def _expect(self, wanted: str) -> None:
        if not self._accept(wanted):
            raise Unsaid(self.peek() or "its end")

    def alternatives(self) -> _Term:
        """Read as far as OR goes."""
        return self._joined("OR", lambda: self._joined("AND", self._negated))

    def _joined(self, word: str, read: Callable[[], _Term]) -> _Term:
        terms = [read()]
        while self._accept(word):
            terms.append(read())
        if len(terms) == 1:
            return terms[0]
        if any(term.kind not in ("condition", "boolean") for term in terms):
            raise Unsaid(f"{word} between values")
        return _Term(f" {word} ".join(f"({term.text})" for term in terms), "condition")

    def _negated(self) -> _Term:
        if not self._accept("NOT"):
            return self._predicate()
        term = self._negated()
        if term.kind not in ("condition", "boolean"):
            raise Unsaid("NOT before a value")
        return _Term(f"NOT ({term.text})", "condition")

    def _predicate(self) -> _Term:
        left = self._operand()
        sign = COMPARES.get(self.peek())
        if sign:
            self._at += 1
            right = self._operand()
            if left.value is not None and right.value is None:
                right, left = self._pair(right, left, sign)
            else:
                left, right = self._pair(left, right, sign)
            return _Term(f"{left.text} {sign} {right.text}", "condition")
        if self._accept("IS", "NOT", "NULL") or self._accept("NOTNULL") or self._accept("NOT", "NULL"):
            return _Term(f"{left.text} IS NOT NULL", "condition")
        if self._accept("IS", "NULL") or self._accept("ISNULL"):
            return _Term(f"{left.text} IS NULL", "condition")
        negation = "NOT " if self.peek().upper() == "NOT" else ""
        self._at += bool(negation)
        if self._accept("BETWEEN"):
            return self._between(left, negation)
        if self._accept("IN"):
            return self._among(left, negation)
        if negation:
            raise Unsaid(self.peek() or "NOT")
        return left

    def _between(self, left: _Term, negation: str) -> _Term:
        left, low = self._pair(left, self._operand(), "<")
        self._expect("AND")
        left, high = self._pair(left, self._operand(), "<")
        return _Term(f"{left.text} {negation}BETWEEN {low.text} AND {high.text}", "condition")

    def _among(self, left: _Term, negation: str) -> _Term:
        self._expect("(")
        among: list[str] = []
        while True:
            left, one = self._pair(left, self._operand(), "=")
            among.append(one.text)
            if not self._accept(","):
                break
        self._expect(")")
        return _Term(f"{left.text} {negation}IN ({', '.join(among)})", "condition")

    def _pair(self, left: _Term, right: _Term, sign: str) -> tuple[_Term, _Term]:
        """Bring both sides to one class, or refuse."""
        if COLLATED in (left.kind, right.kind):
            raise Unsaid("a comparison by a collation")
        if SEVERAL in (left.kind, right.kind):
            raise Unsaid(f"a comparison of {SEVERAL}")
        if left.kind == "condition" or right.kind == "condition" or left.value is not None:
            raise Unsaid("a comparison of conditions or of constants")
        if right.value is not None and left.kind != right.kind:
            right = _constant(left, right)
        if left.kind != right.kind:
            raise Unsaid(f"a comparison of {left.kind} with {right.kind}")
        if right.value is None and not _is_comparable(left, right):
            raise Unsaid(f"a comparison of {left.kind}s, which are spelled in several ways")
        if left.kind == "text" and sign not in EQUALS and "COLLATE" not in left.text:
            # SQLite compares bytes
            left = _Term(f'{left.text} COLLATE "C"', "text")
        return left, right

    def _operand(self) -> _Term:
        if self._accept("("):
            term = self.alternatives()
            self._expect(")")
            return replace(term, text=f"({term.text})")
        sign = "-" if self._accept("-") else ""
        if not sign:
            self._accept("+")
        token = self.peek()
        self._at += 1
        if NUMBER.fullmatch(token):
            number: int | float = int(token) if token.isdigit() else float(token)
            return _Term(f"{sign}{token}", "number", -number if sign else number)
        if sign or not token or token.upper() in NOT_NAMES:
            raise Unsaid(f"{sign}{token}" or "its end")
        if token.startswith("'"):
            text = token[1:-1].replace("''", "'")
            if "\0" in text or "\\" in text:
                raise Unsaid(token)
            return _Term(token, "text", text)
        if token.upper() == "LENGTH" and self._accept("("):
            return self._length()
        return self._column(token)

    def _length(self) -> _Term:
        term = self._operand()
        self._expect(")")
        # of bytes it is their number on both sides, of a number SQLite counts its digits
        if term.value is not None or term.kind not in ("text", COLLATED, "bytea"):
            raise Unsaid(f"LENGTH of {term.kind}")
        return _Term(f"length({term.text})", "number")

    def _column(self, token: str) -> _Term:
        found = self._columns.get(unquoted(token).lower())
        if found is None or self.peek() == "(":
            raise Unsaid(token)
        kind = CLASSES.get(found.type.partition("(")[0], found.how)
        if not found.kinds <= (WHOLE if _is_counted(kind) else STORED.get(kind, found.kinds)):
            return _Term(quoted(found.name), SEVERAL)
        how = COLLATED if kind == "text" and found.is_collated else kind
        return _Term(quoted(found.name), how, shapes=found.shapes)


def _constant(column: _Term, constant: _Term) -> _Term:
    """Return a constant as the type of a column spells it, where a value in it would be spelled so."""
    if column.kind == "boolean" and constant.value in (0, 1):
        return _Term("true" if constant.value else "false", "boolean")
    # a text that SQLite compared as text is the same moment only in the spelling that the values have
    if (
        column.kind in MOMENTS
        and isinstance(constant.value, str)
        and _is_alike(column, {shape_of(constant.value)})
    ):
        try:
            return _Term(f"'{line_of((constant.value,), (column.kind,))}'", column.kind)
        except Misfit as exc:
            raise Unsaid(str(exc)) from exc
    raise Unsaid(f"{constant.text} beside {column.kind}")


def _is_counted(kind: str) -> bool:
    return kind.partition(":")[2] in SINCE_1970


def _is_comparable(left: _Term, right: _Term) -> bool:
    """Whether two columns of one kind compare there as they do in SQLite."""
    return left.kind in COMPARED or _is_counted(left.kind) or _is_alike(left, right.shapes)


def _is_alike(column: _Term, others: Iterable[str]) -> bool:
    """Whether the texts of a column and those beside them are in the order of what they say."""
    if column.kind not in SPELLED:
        return False
    shapes = column.shapes.union(others)
    if column.shapes or not shapes:
        return len(shapes) <= 1 and not any(map(HAS_OFFSET.match, shapes))
    # without a value there only the spelling that such a column is for
    return all(
        len(shape) == DAY if column.kind == "date" else len(shape) >= TO_THE_SECOND for shape in shapes
    ) and not any(map(HAS_OFFSET.match, shapes))
