"""Conditions of PostgreSQL's (WHERE of a unique index), asked of rows before they are there.

As the server writes them: comparisons of a column with constants, lists of these,
IS NULL and truth, joined by AND, OR and NOT. What a row will have over there is
what `keyed` compares of it. Anything else is nothing here: which rows it means
only the server tells.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from ..across.spellers import NULL, speller
from ..postgres.words import NotWritten, Words
from .choices import ColumnChoice
from .keyed import Row, Where, compared_as

__all__ = ["WHOLE", "Constant", "Unread", "constant_of", "read_condition"]

Test = Callable[[Row], bool | None]
"""Whether a row keeps to it; None: nobody knows, as the server puts it."""
COMPARES: Mapping[str, Callable[[Decimal, Decimal], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)
WHOLE = frozenset(("smallint", "integer", "bigint"))
TEXTS = frozenset(("", "text", "character varying"))
NUMBERS = WHOLE | {"", "numeric", "double precision"}
SPELLED = {
    "text": ("text", TEXTS),
    "character": ("text", frozenset(("", "bpchar", "character"))),
    "uuid": ("uuid", frozenset(("", "uuid"))),
}
"""How a constant beside a column is spelled, by what that is compared as, and what it may be called."""
TYPE_GOES_ON = (("varying",), ("precision",), ("without", "time", "zone"), ("with", "time", "zone"))


class Unread(ValueError):
    """Only the server tells which rows it means."""


@dataclass(frozen=True)
class Constant:
    """A value that stands in a text of the server's; None: NULL."""

    value: str | None
    type: str = ""


@dataclass(frozen=True)
class _Column:
    one: ColumnChoice
    kind: str
    """What its values are compared as, behind the casts that stand there; empty: only the server compares them."""


@dataclass(frozen=True)
class _Condition:
    test: Test


_Term = Constant | _Column | _Condition


def read_condition(
    words: Words,
    columns: Mapping[str, ColumnChoice],
    given: Mapping[str, Constant],
    folding: Collection[str] = (),
) -> Where:
    """Read a condition; `columns` by their names there, `given` those that every row has one value in.

    `folding` are those with a collation of somebody's own: only the server compares what is in them.

    Raises:
        Unread: here and below: it holds something else.
    """
    try:
        reader = _Reader(words, columns, given, folding)
        test = _truth(reader.alternatives())
        words.end()
    except NotWritten as exc:
        raise Unread(str(exc)) from exc
    return Where(tuple(reader.used.values()), lambda row: test(row) is True)


def constant_of(text: str) -> Constant:
    """Read a constant, as it stands behind DEFAULT."""
    try:
        words = Words(text)
        term = _Reader(words, {}, {}).operand()
        words.end()
    except NotWritten as exc:
        raise Unread(str(exc)) from exc
    if not isinstance(term, Constant):
        raise Unread(text)
    return term


class _Reader:
    def __init__(
        self,
        words: Words,
        columns: Mapping[str, ColumnChoice],
        given: Mapping[str, Constant],
        folding: Collection[str] = (),
    ) -> None:
        self._words = words
        self._folding = folding
        self._columns = columns
        self._given = given
        self.used: dict[str, ColumnChoice] = {}

    def alternatives(self) -> _Term:
        """Read as far as OR goes."""
        return self._joined("OR", any, lambda: self._joined("AND", all, self._negated))

    def _joined(self, word: str, over: Callable[[list[bool]], bool], read: Callable[[], _Term]) -> _Term:
        term = read()
        if self._words.peek().text != word:
            return term
        tests = [_truth(term)]
        while self._words.accept(word):
            tests.append(_truth(read()))
        return _Condition(lambda row: _over([test(row) for test in tests], over))

    def _negated(self) -> _Term:
        if not self._words.accept("NOT"):
            return self._predicate()
        return _Condition(_not(_truth(self._negated())))

    def _predicate(self) -> _Term:
        left = self.operand()
        sign = self._words.peek().text
        if sign in COMPARES:
            self._words.take()
            return self._compared(left, sign)
        if self._words.accept("IS"):
            return _Condition(self._is(left))
        is_not = self._words.accept("NOT")
        if self._words.accept("IN"):
            test = _among(left, "=", self._listed("(", ")"), any)
        elif self._words.accept("BETWEEN"):
            low = _compared(left, ">=", self.operand())
            self._words.expect("AND")
            high = _compared(left, "<=", self.operand())
            test = _both(low, high)
        elif is_not:
            raise Unread("NOT")
        else:
            return left
        return _Condition(_not(test) if is_not else test)

    def _compared(self, left: _Term, sign: str) -> _Term:
        for word, over in (("ANY", any), ("ALL", all)):
            if self._words.accept(word):
                self._words.expect("(")
                terms = self._array()
                self._words.expect(")")
                return _Condition(_among(left, sign, terms, over))
        return _Condition(_compared(left, sign, self.operand()))

    def _is(self, left: _Term) -> Test:
        is_not = self._words.accept("NOT")
        if self._words.accept("NULL"):
            test = _is_null(left)
        elif self._words.accept("TRUE"):
            test = _is_exactly(_truth(left), wanted=True)
        elif self._words.accept("FALSE"):
            test = _is_exactly(_truth(left), wanted=False)
        else:
            raise Unread(self._words.peek().text)
        return _not(test) if is_not else test

    def _array(self) -> list[_Term]:
        if self._words.accept("("):
            terms = self._array()
            self._words.expect(")")
        else:
            self._words.expect("ARRAY")
            terms = self._listed("[", "]")
        while self._words.accept("::"):
            type_ = self._type()
            if not type_.endswith("[]"):
                raise Unread(type_)
            terms = [_cast(term, type_.removesuffix("[]")) for term in terms]
        return terms

    def _listed(self, opens: str, closes: str) -> list[_Term]:
        self._words.expect(opens)
        terms = [self.operand()]
        while self._words.accept(","):
            terms.append(self.operand())
        self._words.expect(closes)
        return terms

    def operand(self) -> _Term:
        """Read a column, a constant, or what stands in parentheses, with its casts."""
        term = self._bare()
        while self._words.accept("::"):
            term = _cast(term, self._type())
        return term

    def _bare(self) -> _Term:
        if self._words.accept("("):
            term = self.alternatives()
            self._words.expect(")")
            return term
        word = self._words.take()
        if word.text == "-":
            word = self._words.take()
            return _number(f"-{word.text}")
        if word.kind == "number":
            return _number(word.text)
        if word.kind == "string" and word.text.startswith("'"):
            return Constant(word.text[1:-1].replace("''", "'"))
        if word.text in ("true", "false"):
            return Constant(word.text, "boolean")
        if word.text == "NULL":
            return Constant(None)
        return self._column(word.name if word.is_name else "")

    def _column(self, name: str) -> _Term:
        if self._words.peek().text in ("(", "."):
            raise Unread(name)
        if name in self._given:
            return self._given[name]
        one = self._columns.get(name)
        if one is None:
            raise Unread(name)
        self.used[name] = one
        return _Column(one, "" if name in self._folding else compared_as(one))

    def _type(self) -> str:
        schema, name = self._words.qualified()
        said = f"{schema}.{name}" if schema else name
        for more in TYPE_GOES_ON:
            if self._words.accept(*more):
                said = " ".join((said, *more))
        if self._words.peek().text == "(":
            raise Unread(f"{said} of a length")
        return f"{said}[]" if self._words.accept("[", "]") else said


def _number(text: str) -> Constant:
    if not NUMBER.fullmatch(text):
        raise Unread(text)
    return Constant(text, "integer" if text.removeprefix("-").isdecimal() else "numeric")


def _cast(term: _Term, type_: str) -> _Term:
    """Read a cast that leaves a value what it is."""
    if isinstance(term, Constant):
        return _cast_constant(term, type_)
    if isinstance(term, _Column):
        if type_ in TEXTS and term.kind in ("text", "character", "enum"):
            return replace(term, kind="text")
        if type_ == "numeric" and term.one.how.partition(":")[0] in (*WHOLE, "numeric"):
            return term
        if type_ == "bigint" and term.one.how in WHOLE:
            return term
    raise Unread(f"a cast to {type_}")


def _cast_constant(term: Constant, type_: str) -> Constant:
    value = term.value
    if value is None:
        return term
    if type_ in NUMBERS:
        is_whole = value.removeprefix("-").isdecimal() and value.isascii()
        is_kept = term.type in ("", *NUMBERS) and NUMBER.fullmatch(value) and (type_ not in WHOLE or is_whole)
    elif type_ == "boolean":
        is_kept = value in ("true", "false")
    else:
        # a number would be written anew
        is_kept = term.type in TEXTS
    if not is_kept:
        raise Unread(f"{value} as {type_}")
    return Constant(value, type_)


# -- what it asks of a row ---------------------------------------------------------------------


def _truth(term: _Term) -> Test:
    if isinstance(term, _Condition):
        return term.test
    if isinstance(term, Constant):
        if term.value is None:
            return lambda _: None
        return _compared_constant(term.value, term.type == "boolean")
    if term.kind != "boolean":
        raise Unread("a value as a condition")
    return _same(term.one.into, "=", "t")


def _compared_constant(value: str, is_boolean: bool) -> Test:
    if not is_boolean:
        raise Unread(value)
    return lambda _: value == "true"


def _is_null(term: _Term) -> Test:
    if isinstance(term, Constant):
        return lambda _: term.value is None
    if isinstance(term, _Condition):
        return lambda row: term.test(row) is None
    return lambda row: row[term.one.into] == NULL


def _is_exactly(test: Test, *, wanted: bool) -> Test:
    return lambda row: test(row) is wanted


def _not(test: Test) -> Test:
    def turned(row: Row) -> bool | None:
        found = test(row)
        return None if found is None else not found

    return turned


def _both(one: Test, other: Test) -> Test:
    return lambda row: _over([one(row), other(row)], all)


def _over(found: Sequence[bool | None], over: Callable[[list[bool]], bool]) -> bool | None:
    """Join answers, of which some may be unknown: they count where another answer would change the whole."""
    if None not in found:
        return over([bool(one) for one in found])
    whole = {over([unknown if one is None else one for one in found]) for unknown in (True, False)}
    return whole.pop() if len(whole) == 1 else None


def _among(left: _Term, sign: str, terms: Sequence[_Term], over: Callable[[list[bool]], bool]) -> Test:
    tests = [_compared(left, sign, term) for term in terms]
    return lambda row: _over([test(row) for test in tests], over)


def _compared(left: _Term, sign: str, right: _Term) -> Test:
    if isinstance(left, Constant) and isinstance(right, _Column):
        left, right, sign = right, left, TURNED.get(sign, sign)
    if any(isinstance(term, Constant) and term.value is None for term in (left, right)):
        return lambda _: None
    if not isinstance(left, _Column) or not isinstance(right, Constant) or right.value is None:
        raise Unread("a comparison of no column with a constant")
    name = left.one.into
    if left.kind == "number":
        return _measured(name, sign, _number_beside(left.one, right))
    if sign not in ("=", "<>"):
        raise Unread(f"an order of {left.kind}")
    return _same(name, sign, _spelled(left.kind, right.value, right.type))


def _number_beside(one: ColumnChoice, constant: Constant) -> Decimal:
    how = one.how.partition(":")[0]
    value = str(constant.value)
    # a real is widened with its last digits
    if how == "real" or constant.type not in NUMBERS or not NUMBER.fullmatch(value):
        raise Unread(f"{value} beside {one.type}")
    return Decimal(repr(float(value)) if how == "double" else value)


def _measured(name: str, sign: str, constant: Decimal) -> Test:
    compare = COMPARES[sign]

    def test(row: Row) -> bool | None:
        field = row[name]
        if field == NULL:
            return None
        if field is None:
            return sign == "<>"
        number = Decimal(field)
        # for the server it is more than all others
        return compare(Decimal("Infinity") if number.is_nan() else number, constant)

    return test


def _spelled(kind: str, value: str, type_: str) -> str:
    """Spell a constant as the values of a column are compared."""
    if kind == "boolean" and type_ == "boolean":
        return value[0]
    if kind == "enum" and type_ not in TEXTS:
        return speller("text").spell((value,))[0]
    how, types = SPELLED.get(kind, ("", frozenset()))
    if type_ not in types:
        raise Unread(f"{type_} beside {kind}")
    try:
        field = speller(how).spell((value,))[0]
    except ValueError as exc:
        raise Unread(value) from exc
    return field.rstrip(" ") if kind == "character" else field


def _same(name: str, sign: str, field: str) -> Test:
    def test(row: Row) -> bool | None:
        held = row[name]
        return None if held == NULL else (held == field) is (sign == "=")

    return test
