"""What the values of a SQLite database are, against the types they may become: one pass, in flat memory, before a migration.

Every candidate is tried by what will spell the values later (`spellers`), so what
is told before is what happens. One that many values do not fit is left; a type that
is given (by `--cast`, by a table that is there) is kept, and its misfits counted.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ..across.candidates import Candidate, for_declared, for_type
from ..across.misfit import Misfit, shortened
from ..across.moments import IN_DIGITS, SECONDS, shape_of
from ..across.spellers import long_misfit, speller
from ..schema import PortableSchema, Table, UserType
from ..sqlite.conditions import SPELLED
from ..sqlite.numbered import LongValue, NumberedLong, NumberedRows, numbered
from ..sqlite.words import words

__all__ = ["EXAMPLES", "FEW", "ColumnSurvey", "Survey", "Trial"]

EXAMPLES = 5
FEW = 1_000
"""So many misfits of a type are counted, to be told; behind them nobody wants it for that column."""
NUMBERS = frozenset(("bigint", "double", "numeric"))
SEVERAL = 2
KINDS = {int: "integer", float: "real", str: "text", bytes: "blob"}


@dataclass
class Trial:
    """One candidate, and the values that did not fit it."""

    candidate: Candidate
    is_kept: bool
    """Whether all of its misfits are counted: it may be taken all the same."""
    keeps_texts: bool = False
    """Whether a text may become a number only where the number is written as the text is."""
    misfits: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether nothing more has to be learnt of it."""
        return self.misfits > FEW and not self.is_kept

    def take(self, values: Sequence[Any], kinds: Iterable[type]) -> bool:
        """Try it on some values, none of them NULL; whether all fit."""
        how = speller(self.candidate.how)
        open_ = [kind for kind in kinds if kind not in how.always]
        if not open_:
            return True
        if not any(kind in how.maybe for kind in open_):
            return False
        try:
            (how.prove or how.spell)(values)
        except Misfit:
            return False
        return not (str in open_ and self._is_number and any(map(self._changes, values)))

    @property
    def _is_number(self) -> bool:
        return self.keeps_texts and self.candidate.how.partition(":")[0] in NUMBERS

    def _changes(self, value: Any) -> bool:
        return type(value) is str and speller(self.candidate.how).spell((value,)) != [value]

    def _why_not(self, value: Any) -> str:
        why = speller(self.candidate.how).fits(value)
        if not why and self._is_number and self._changes(value):
            return f"{shortened(value)} is a text, and no number is written so"
        return why

    def look_closer(self, ids: Sequence[Any], values: Sequence[Any], kinds: Mapping[type, int]) -> None:
        """Find those that do not fit, one by one, unless no value of these kinds does."""
        how = speller(self.candidate.how)
        if len(self.examples) == EXAMPLES and not (how.always | how.maybe).intersection(kinds):
            self.misfits += sum(kinds.values())
            return
        for number, value in zip(ids, values, strict=True):
            if value is not None and (why := self._why_not(value)):
                self.miss(number, why)
                if self.is_over:
                    break

    def miss(self, number: Any, why: str) -> None:
        """Count a value that does not fit."""
        self.misfits += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{number}: {why}")


@dataclass
class ColumnSurvey:
    """One column so far."""

    trials: tuple[Trial, ...]
    is_given: bool = False
    """Whether the type is not ours to choose."""
    nulls: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """How many of each storage class."""
    largest: int = 0
    """Of its whole numbers; 0 where none is above."""
    farthest: float = 0
    """Of all its numbers, whatever their sign."""
    in_digits: int = 0
    """How many of its numbers read as a date; looked at where they may become moments."""
    moving: int = 0
    """How many of them are not zero."""
    without_value: list[str] = field(default_factory=list)
    """Rows where it is NULL, the first few."""
    looks_at_shapes: bool = False
    """Whether it has to be known how its texts are spelled: a condition may compare dates or times."""
    shapes: set[str] = field(default_factory=set)
    """How they are, by `moments.shape_of`; with more than one not all of them."""

    @property
    def values(self) -> int:
        """How many there are."""
        return self.counts.total()

    @property
    def may_be_dates(self) -> bool:
        """Whether half of its numbers or more read as dates in digits: they are no time since 1970 for sure."""
        return 0 < self.moving <= 2 * self.in_digits

    def is_sure(self, candidate: Candidate) -> bool:
        """Whether numbers that fit can hardly be anything else."""
        if not candidate.unit:
            return True
        # whole days are something else, but among such with a time
        if candidate.unit == "days":
            return self.counts["real"] > 0
        return self.farthest >= SECONDS and not self.may_be_dates

    def take(self, ids: Sequence[Any], values: Sequence[Any]) -> None:
        """Learn from some values."""
        present = values
        if None in values:
            present = [value for value in values if value is not None]
            self.nulls += len(values) - len(present)
            if len(self.without_value) < EXAMPLES:
                empty = (str(number) for number, value in zip(ids, values, strict=True) if value is None)
                self.without_value += islice(empty, EXAMPLES - len(self.without_value))
            if not present:
                return
        kinds = Counter(map(type, present))
        for kind, number in kinds.items():
            self.counts[KINDS[kind]] += number
        if int in kinds or float in kinds:
            self._numbers(present, kinds)
        if self.looks_at_shapes and str in kinds and len(self.shapes) < SEVERAL:
            shapes = {shape_of(value) for value in present if type(value) is str}
            self.shapes.update(islice(shapes, SEVERAL))
        fit: set[str] = set()
        for trial in self.trials:
            if trial.is_over or fit.intersection(trial.candidate.fits_what_fits):
                continue
            if trial.take(present, kinds):
                fit.add(trial.candidate.how)
            else:
                trial.look_closer(ids, values, kinds)

    def _numbers(self, values: Sequence[Any], kinds: Mapping[type, int]) -> None:
        numbers = (
            values
            if kinds.keys() <= {int, float}
            else [value for value in values if isinstance(value, int | float)]
        )
        high: Any = max(numbers)
        low: Any = min(numbers)
        self.farthest = max(self.farthest, high, -low)
        if any(trial.candidate.unit and not trial.is_over for trial in self.trials):
            self.moving += sum(map(bool, numbers))
            self.in_digits += len(IN_DIGITS.findall("\n".join(map(str, numbers))))
        # of reals that are larger nobody counts
        whole = [high] if float not in kinds else [one for one in numbers if type(one) is int]
        if int in kinds:
            self.largest = max(self.largest, *whole)

    def take_long(self, number: Any, value: LongValue) -> None:
        """Learn from a value that is too long to be held."""
        self.counts[value.kind] += 1
        for trial in self.trials:
            if not trial.is_over and (why := long_misfit(value, trial.candidate.how)):
                trial.miss(number, why)


class Survey:
    """Everything that is learnt of the rows before their types are chosen.

    `given` holds the types that are not ours to choose, as PostgreSQL spells them: those of casts and of columns that are there.
    """

    def __init__(
        self,
        schema: PortableSchema,
        given: Mapping[tuple[str, str], str] | None = None,
        types: Sequence[UserType] = (),
    ) -> None:
        self._schema = schema
        known = given or {}
        self.profiles: dict[str, dict[str, ColumnSurvey]] = {
            table.name: {
                column.name: _column(
                    column.type,
                    known.get((table.name, column.name)),
                    types,
                    has_conditions=has_conditions,
                )
                for column in table.data_columns
            }
            for table in schema.tables
            for has_conditions in (_has_conditions(table),)
        }
        """By table and column."""
        self.rows: dict[str, int] = dict.fromkeys(self.profiles, 0)

    def take(self, table: Table, batch: NumberedRows | NumberedLong) -> None:
        """Learn from some rows."""
        columns = self.profiles[table.name].values()
        self.rows[table.name] += batch.count
        if isinstance(batch, NumberedRows):
            for column, values in zip(columns, batch.columns, strict=True):
                column.take(batch.ids, values)
            return
        for column, value in zip(columns, batch.values, strict=True):
            if isinstance(value, LongValue):
                column.take_long(batch.ids[0], value)
            else:
                column.take(batch.ids, (value,))

    def read(
        self, connection: sqlite3.Connection, told: Callable[[Table, int], object] | None = None
    ) -> None:
        """Read every table whole, within the caller's read transaction; `told` hears of each batch, and how many rows it had."""
        for table in self._schema.tables:
            with closing(numbered(connection, table)) as batches:
                for batch in batches:
                    self.take(table, batch)
                    if told is not None:
                        told(table, batch.count)


def _has_conditions(table: Table) -> bool:
    said = [("CHECK", table.definition), *(("WHERE", one.definition) for one in table.indexes)]
    return any(word in map(str.upper, words(text)) for word, text in said)


def _column(
    declared: str, given: str | None, types: Sequence[UserType], *, has_conditions: bool
) -> ColumnSurvey:
    if given is not None:
        trials = tuple(Trial(way, is_kept=True) for way in for_type(given, types))
    else:
        trials = tuple(Trial(way, is_kept=way.last, keeps_texts=True) for way in for_declared(declared))
    is_moment = any(trial.candidate.how in SPELLED for trial in trials)
    return ColumnSurvey(trials, is_given=given is not None, looks_at_shapes=has_conditions and is_moment)
