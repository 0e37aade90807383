"""Whether the tables of a backup find themselves in a live database: told before anything is touched. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .schema import Column, PortableSchema, Table, UserType

__all__ = ["Fit", "SameType", "compare"]

SameType = Callable[[str, str], bool]


@dataclass(frozen=True)
class Fit:
    """What lies between the tables of a backup and those of the same name that are there."""

    lacking: tuple[str, ...] = ()
    """Tables of the backup that are not there."""
    refused: tuple[str, ...] = ()
    """What stands in the way of their rows, each with its table."""
    told: tuple[str, ...] = ()
    """What does not, and is to be known."""


def compare(
    backup: PortableSchema,
    wanted: Sequence[str],
    live: PortableSchema,
    same_type: SameType | None,
) -> Fit:
    """Compare the tables that are wanted, column by column, and the types of the user's.

    `same_type` judges the spellings of two types, the backup's first. None: the backup knows of its columns but their
    names, neither their types nor whether they took NULL.
    """
    there = {table.name: table for table in live.tables}
    tables = {table.name: table for table in backup.tables}
    refused: list[str] = []
    told: list[str] = []
    for name in wanted:
        if name in there:
            refused += _in_the_way(tables[name], there[name], same_type)
            told += _changed(tables[name], there[name], knows_nulls=same_type is not None)
    if any(name in there for name in wanted):
        refused += _types(backup.types, {type_.name: type_ for type_ in live.types})
    lacking = tuple(name for name in wanted if name not in there)
    return Fit(lacking, tuple(refused), tuple(told))


def _in_the_way(backup: Table, live: Table, same_type: SameType | None) -> Iterator[str]:
    name = backup.name
    if live.partition_by and not backup.partition_by:
        yield f"{name} is partitioned here, and holds its rows itself in the backup"
        return
    there = {column.name: column for column in live.columns}
    for column in backup.columns:
        found = there.get(column.name)
        if column.generated:
            if found is not None and not found.generated:
                yield f"{name}.{column.name} holds values here, and is computed in the backup, which has none of them"
        elif found is None:
            yield f"{name}.{column.name} is not there"
        elif found.generated:
            yield f"{name}.{column.name} is computed here, and holds values in the backup"
        elif same_type is not None and not same_type(column.type, found.type):
            yield f"{name}.{column.name} is {found.type or 'without a type'} here, and {column.type or 'without a type'} in the backup"
    known = {column.name for column in backup.columns}
    for column in live.columns:
        if column.name not in known and _needs_value(column):
            yield f"{name}.{column.name} is not in the backup, takes no NULL and has no default"


def _needs_value(column: Column) -> bool:
    return column.not_null and not (column.default or column.identity or column.generated)


def _changed(backup: Table, live: Table, *, knows_nulls: bool) -> Iterator[str]:
    name = backup.name
    before = {column.name: column for column in backup.columns}
    for column in live.columns:
        was = before.get(column.name)
        if was is None and not column.generated and not _needs_value(column):
            given = "its default" if column.default or column.identity else "NULL"
            yield f"{name}.{column.name} is not in the backup: every row gets {given} there"
        elif was and knows_nulls and column.not_null and not (was.not_null or column.identity):
            yield f"{name}.{column.name} takes no NULL here, and did in the backup"


def _types(backup: Sequence[UserType], live: Mapping[str, UserType]) -> Iterator[str]:
    """Compare types of the user's by what values of them can be; one that is missing shows in the columns of it."""
    for type_ in backup:
        found = live.get(type_.name)
        if found is None:
            continue
        if found.kind != type_.kind:
            yield f"the type {type_.name} is a {found.kind} here, and a {type_.kind} in the backup"
        elif missing := [label for label in type_.labels if label not in found.labels]:
            listed = ", ".join(repr(label) for label in missing)
            yield f"the type {type_.name} does not know {listed}, as in the backup"
        elif found.base != type_.base:
            yield f"the type {type_.name} is made of {found.base} here, and of {type_.base} in the backup"
        elif _shape(found) != _shape(type_):
            yield f"the type {type_.name} has other fields here than in the backup"


def _shape(type_: UserType) -> list[tuple[str, str]]:
    return [(column.name, column.type) for column in type_.attributes]
