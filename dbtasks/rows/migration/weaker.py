"""Columns that become a weaker type for a few of their values: text instead of a date, because one row says `soon`. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from ..across.candidates import Candidate
from ..schema import Column, Table
from .survey import FEW, ColumnSurvey, Trial

__all__ = ["Weaker", "is_told", "weaker"]

SHORT = {
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "time without time zone": "time",
    "double precision": "float8",
    "character varying": "varchar",
}
"""What stands in a cast for types whose names are long."""


@dataclass(frozen=True)
class Weaker:
    """The type that a column would have, but for a few values."""

    type: str
    """PostgreSQL's, as the server spells it."""
    values: int
    """How many stand in the way."""
    of: int
    """How many there are."""
    examples: tuple[str, ...]
    """The first of them: `row id: why`."""
    flag: str
    """What gives the column that type all the same, quoted for a shell."""

    @property
    def row_id(self) -> str:
        """The first row's, without its value."""
        return self.examples[0].partition(": ")[0]


def weaker(table: Table, column: Column, found: ColumnSurvey, taken: Trial) -> Weaker | None:
    """Return the stronger type that most of the values fit, where a weaker one was taken."""
    if found.is_given or not found.values:
        return None
    before = found.trials[: next(place for place, trial in enumerate(found.trials) if trial is taken)]
    near = [
        trial
        for trial in before
        if 0 < trial.misfits <= FEW
        and trial.misfits * 2 < found.values
        and trial.candidate.type != taken.candidate.type
        and found.is_sure(trial.candidate)
        and is_told(trial.candidate, taken.candidate)
    ]
    if not near:
        return None
    one = min(near, key=lambda trial: trial.misfits)
    bare, bracket, arguments = one.candidate.type.partition("(")
    type_ = f"{SHORT.get(bare, bare)}{bracket}{arguments}"
    flag = shlex.quote(f"--cast={table.name}.{column.name}:{type_}")
    return Weaker(one.candidate.type, one.misfits, found.values, tuple(one.examples), flag)


def is_told(first: Candidate, taken: Candidate) -> bool:
    """Whether it has to be said why the first type was not taken: it is another one, and not only another spelling."""
    return taken.how in ("text", "json", "numeric", "double", "bytea", "bigint") or first.how in (
        "date",
        "time",
    )
