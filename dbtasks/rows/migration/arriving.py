"""What a migration carries: a table of SQLite's, where its rows go, and what is known of them when they are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..schema import Table
from ..sqlite.numbered import LongValue
from ..sqlite.source import spelled

__all__ = [
    "IS_TWICE",
    "LEADS_NOWHERE",
    "WHOLE",
    "Carried",
    "Loading",
    "NextValue",
    "Reject",
    "TableProof",
    "rejected",
    "told_rows",
]

WHOLE = frozenset(("smallint", "integer", "bigint"))
"""How values are spelled that are whole numbers on both sides."""
LEADS_NOWHERE = "leads to no row of"
IS_TWICE = "is there already, in a row before it"
"""Reasons that are no value's: they stand behind the columns of a key."""


@dataclass(frozen=True)
class Carried:
    """One table on its way."""

    source: Table
    """SQLite's, with the columns that are carried and no others."""
    into: str
    """Its name in PostgreSQL, `schema.table` as `schemas.table_name` spells it."""
    columns: tuple[str, ...]
    """Their names there, in the order of the source's `data_columns`."""
    hows: tuple[str, ...]
    """How the values of each are spelled, by `rows.spellers`."""
    types: tuple[str, ...]
    """What each is there, as PostgreSQL spells types."""
    key: tuple[str, ...] = ()
    """The columns of the primary key, by SQLite's names."""
    counting: str = ""
    """The column there that AUTOINCREMENT counts, if there is one."""
    last_number: int = 0
    """The last number that it ever gave, to a row that may be gone."""

    @property
    def name(self) -> str:
        """SQLite's name."""
        return self.source.name

    @property
    def key_places(self) -> tuple[int, ...]:
        """Where the key's columns stand in a row; none where one of them is not carried."""
        names = [column.name for column in self.source.data_columns]
        return tuple(map(names.index, self.key)) if set(self.key) <= set(names) else ()


@dataclass(frozen=True)
class Reject:
    """A row that did not arrive."""

    table: str
    row_id: int | str
    """Its rowid; of a table WITHOUT ROWID its key."""
    reason: str
    values: Mapping[str, Any] = field(default_factory=dict)
    """By column, as the `rows` file spells SQLite's values."""

    @property
    def document(self) -> dict[str, Any]:
        """Return what stands in the file of rejects."""
        return {"table": self.table, "row": self.row_id, "reason": self.reason, "values": dict(self.values)}


def told_rows(ids: Sequence[int | str]) -> tuple[str, str]:
    """Return how rows are named in an error's message, and in its details.

    A message is kept in the log, and a key is a value of its row's: it stands in the details.
    """
    said = f"row {', '.join(map(str, ids))}"
    return ("", said) if any(isinstance(one, str) for one in ids) else (said, "")


def rejected(carried: Carried, row_id: int | str, row: tuple[Any, ...], reason: str) -> Reject:
    """Return a row as it is told of; of a value that is too long to be held only what it is."""
    names = (column.name for column in carried.source.data_columns)
    values = {
        name: str(value) if isinstance(value, LongValue) else spelled(value)
        for name, value in zip(names, row, strict=True)
    }
    return Reject(carried.name, row_id, reason, values)


def _nothing(*_: object) -> None:
    return None


@dataclass(frozen=True)
class Loading:
    """How rows are brought in."""

    skip: bool = False
    """Leave out a row that does not go in, and tell of it; else the first one ends everything."""
    batch_size: int = 1_000
    """Rows between two savepoints, where rows may be left out."""
    may_cast: bool = True
    """Whether a column could get another type: not where the tables are there already."""
    on_reject: Callable[[Reject], None] = _nothing
    on_rows: Callable[[str, int], None] = _nothing
    """Told now and then how many rows of a table went by."""


@dataclass(frozen=True)
class NextValue:
    """The number that the next row gets, as it was proved."""

    sequence: str
    column: str
    value: int
    proved: str
    """`insert`: by one that was rolled back. `number`: an insert fails for another reason, `why`, and the number is free. `not`: there is none, `why`."""
    why: str = ""


@dataclass(frozen=True)
class TableProof:
    """What was compared of one table, and was equal."""

    table: str
    into: str
    source_rows: int
    """All that SQLite has, those that were rejected among them."""
    target_rows: int
    rejected: int = 0
    key: tuple[str, ...] = ()
    key_low: tuple[str, ...] = ()
    """The lowest value of each of the key's columns, of the rows that arrived; empty without any."""
    key_high: tuple[str, ...] = ()
    checksum: str = ""
    """A sum over all rows, on both sides: the same for the same rows, in whatever order."""
    not_compared: tuple[str, ...] = ()
    """Columns whose values only the server can read."""
    foreign_keys: int = 0
    """Those of the table that every row was compared with."""
    next_values: tuple[NextValue, ...] = ()
    indexes_left: tuple[str, ...] = ()
    """Words for the indexes that were not made: a value is too long for any."""
