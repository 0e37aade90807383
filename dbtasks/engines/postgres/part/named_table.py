"""The tables that a restore of single ones names: found among those of a backup, or told with the nearest names."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ....errors import Refused, TargetUnreachable, UsageError
from ....near import did_you_mean
from ....nouns import some
from ....plans import TargetState
from ..facts import table_name
from ..script.statements import Name
from ..tables import split_name
from .in_the_way import UNTOUCHED

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["find_among", "prove_database", "unknown"]

LISTED = 10


def prove_database(engine: PostgresEngine) -> TargetState:
    """See that there is a database to bring tables into; returns its state.

    Raises:
        TargetUnreachable: there is none. Refused: it is damaged.
    """
    state, target = engine.state(), engine.target.database
    whole = "restore all of it: db.restore without --table"
    if state is TargetState.MISSING:
        raise TargetUnreachable(
            f"{target} does not exist: there is no database to bring a table into", hint=whole
        )
    if state is TargetState.DAMAGED:
        raise Refused(f"{target} is damaged: no table is brought into it", state=UNTOUCHED, hint=whole)
    return state


def find_among(name: str, tables: Collection[Name]) -> Name | None:
    """Return the one table that is meant; None where there is none.

    Raises:
        UsageError: there are several.
    """
    schema, table = split_name(name)
    matches = [n for n in tables if (n[1] == table and schema in (None, n[0])) or n[1] == name]
    if len(matches) > 1:
        raise UsageError(
            f"--table={name}: the name exists in several schemas",
            hint=f"say which one: {', '.join(table_name(*n) for n in matches)}",
        )
    return matches[0] if matches else None


def unknown(name: str, tables: Collection[Name]) -> UsageError:
    """Return what is said of a table that the backup does not hold."""
    known = sorted(table_name(*one) for one in tables)
    hint = did_you_mean(name, known) or f"it holds {some(known, LISTED) or 'no tables'}"
    return UsageError(f"--table={name}: the backup holds no such table", hint=hint)
