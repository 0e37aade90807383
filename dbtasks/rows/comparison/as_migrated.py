"""Values of SQLite beside a column of another kind, read as a migration converts them: where it can mean one thing only.

Seconds, milliseconds and microseconds since 1970 are told apart by how large they
are, for a migration takes no number in two of them. Two values are the same where
this reading is exactly what stands in the other column; a number that could be
read in two ways is not read at all.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..across.candidates import for_type
from ..across.misfit import Misfit
from ..across.moments import DAYS, SINCE_1970, days, durations, epochs, moments
from ..across.spellers import speller
from .alike import Reader, Unlike

__all__ = ["AsMigrated", "as_migrated"]

Spell = Callable[[Sequence[Any]], list[str]]
ZONED = moments(zoned=True)
EPOCHS = {unit: epochs(unit) for unit in SINCE_1970}
LARGEST_FIRST = sorted(SINCE_1970, key=lambda unit: -SINCE_1970[unit][2])
WRITTEN_DAYS = days()
NUMBERS = (int, float)
WRITTEN_OUT = ("text", "character varying", "json", "jsonb")
"""Types that take a number by its digits."""


@dataclass(frozen=True)
class AsMigrated:
    """How some values of one column of SQLite are read beside a type of PostgreSQL."""

    type: str
    kinds: tuple[builtins.type, ...]
    """Those that may be read so."""
    read: Reader
    """Raises `Unlike` for one that a migration would not take, or could take for two things."""


def as_migrated(type_: str, of_postgres: Reader | None) -> AsMigrated | None:
    """Return how such values are read beside this type, in one form with what `of_postgres` reads; None: as any value is."""
    spell = _spell_for(type_)
    if spell is None:
        return None

    def read(value: Any) -> Any:
        try:
            (text,) = spell((value,))
        except (Misfit, OverflowError) as exc:
            raise Unlike from exc
        return of_postgres(text) if of_postgres else text

    return AsMigrated(type_, (*NUMBERS, str) if type_.startswith("timestamp") else NUMBERS, read)


def _spell_for(type_: str) -> Spell | None:
    bare = type_.partition("(")[0].strip()
    if type_.startswith("timestamp"):
        return _zoned if type_.endswith("with time zone") else moments(zoned=False)
    if type_ == "interval":
        return durations
    # what arithmetic leaves in the last steps of a float is none of a number with so many digits
    is_sized = bare == "numeric" and "(" in type_
    return speller(for_type(type_)[0].how).spell if is_sized or bare in WRITTEN_OUT else None


def _zoned(values: Sequence[Any]) -> list[str]:
    (value,) = values
    if isinstance(value, str):
        return ZONED(values)
    if DAYS[0] <= value < DAYS[1]:
        # days of the Julian period; of a whole number nobody knows whether these are seconds
        if isinstance(value, int):
            raise Unlike
        return WRITTEN_DAYS(values)
    unit = next((unit for unit in LARGEST_FIRST if abs(value) >= SINCE_1970[unit][2]), "seconds")
    return EPOCHS[unit](values)
