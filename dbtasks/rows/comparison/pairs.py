"""Which table of one side is which of the other, by which columns and which key their rows are compared. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ...models import EngineName
from ...schemas import table_name
from ..across.to_sqlite import name_with_schema
from ..postgres.words import NotWritten
from ..schema import Column, Table
from .alike import Family, Reader, family_of, postgres_reader, sqlite_reader
from .as_migrated import AsMigrated, as_migrated
from .held import HeldRows

__all__ = ["ColumnPair", "TablePair", "pair_columns", "pair_names"]

DEEPEST_PARTITION = 32
UNKNOWN = "nobody says its type in PostgreSQL"


@dataclass(frozen=True)
class ColumnPair:
    """One column that both have, and how its values are read on each side; None: as they stand."""

    backup: str
    against: str
    readers: tuple[Reader | None, Reader | None] = (None, None)
    is_number: bool = False
    family: Family | None = None
    """By which rule the readers go; None: the values are compared as they stand."""
    as_migrated: AsMigrated | None = None
    """How such values of SQLite's are read beside this type of PostgreSQL's; None: as any of its values is."""


@dataclass(frozen=True)
class TablePair:
    """One table that both have."""

    backup: Table
    against: Table
    columns: tuple[ColumnPair, ...]
    key: tuple[ColumnPair, ...] = ()
    """The primary key; empty: there is none that both have, and rows are compared whole."""
    notes: tuple[str, ...] = ()
    """What is not compared of its rows, and why."""

    @property
    def name(self) -> str:
        """The backup's."""
        return self.backup.name


def pair_names(backup: HeldRows, against: HeldRows) -> dict[str, str]:
    """Return which name of the other side each table of the backup has there.

    Within one engine it is the same. A name of SQLite's is that of a table in `public`, else of the only one of that
    name in any schema; where upper and lower case differ, too, if only one table is meant. `sales_item` is that of
    `sales.item` where neither has another: a restore into SQLite names it so beside a second `item`.
    """
    ours, theirs = _names(backup), _names(against)
    if backup.engine is against.engine:
        return {name: name for name in ours if name in theirs}
    if backup.engine is EngineName.SQLITE:
        return _bare_names(ours, theirs)
    return {whole: bare for bare, whole in _bare_names(theirs, ours).items()}


def _names(side: HeldRows) -> list[str]:
    return [*(table.name for table in side.tables), *side.unread]


def _bare_names(bare: Sequence[str], whole: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in bare:
        # as the last part of a whole name is spelled
        ending = table_name("", name)
        for meant in (
            [other for other in whole if other == f"public{ending}"],
            [other for other in whole if other.lower() == f"public{ending}".lower()],
            [other for other in whole if other.lower().endswith(ending.lower())],
        ):
            if len(meant) == 1 and meant[0] not in taken:
                found[name] = meant[0]
                taken.add(meant[0])
                break
    for name, meant in _with_schemas(other for other in whole if other not in taken).items():
        left = [one for one in bare if one not in found and one.lower() == name]
        if len(meant) == len(left) == 1:
            found[left[0]] = meant[0]
    return found


def _with_schemas(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the tables that a restore into SQLite would give each name, told apart by their schemas."""
    made: dict[str, list[str]] = {}
    for name in names:
        # a file that somebody wrote may have any name
        with suppress(NotWritten):
            made.setdefault(name_with_schema(name).lower(), []).append(name)
    return made


def pair_columns(backup: HeldRows, against: HeldRows, ours: Table, theirs: Table) -> TablePair:
    """Say how the rows of two tables are compared."""
    across = backup.engine is not against.engine
    there = {column.name: column for column in theirs.columns}
    lower = _by_lower(theirs.columns) if across else {}
    pairs: list[ColumnPair] = []
    notes: list[str] = []
    met: set[str] = set()
    for column in ours.columns:
        other = there.get(column.name) or lower.get(column.name.lower())
        if other is None:
            notes.append(f"{column.name} is only in the backup")
            continue
        met.add(other.name)
        if column.generated or other.generated:
            if not (column.generated and other.generated):
                notes.append(f"{column.name} is computed {'in the backup' if column.generated else 'there'}")
            continue
        made = _pair(backup, against, column, other)
        if isinstance(made, str):
            notes.append(f"{column.name}: {made}")
        else:
            pairs.append(made)
    notes += [f"{column.name} is not in the backup" for column in theirs.columns if column.name not in met]
    key, why = _key(_own_key(backup, ours), _own_key(against, theirs), pairs)
    return TablePair(ours, theirs, tuple(pairs), key, (*notes, *([why] if why else ())))


def _by_lower(columns: Iterable[Column]) -> Mapping[str, Column]:
    found: dict[str, list[Column]] = {}
    for column in columns:
        found.setdefault(column.name.lower(), []).append(column)
    return {name: several[0] for name, several in found.items() if len(several) == 1}


def _pair(backup: HeldRows, against: HeldRows, ours: Column, theirs: Column) -> ColumnPair | str:
    """Return how two columns are compared, or why they are not."""
    families = _family(backup, ours), _family(against, theirs)
    if backup.engine is against.engine:
        return _within(ours, theirs, families)
    if backup.engine is EngineName.SQLITE:
        family, place = families[1], 0
    else:
        family, place = families[0], 1
    if family is None:
        return UNKNOWN
    type_ = theirs.type if place == 0 else ours.type
    of_sqlite, of_postgres = sqlite_reader(family), postgres_reader(family, type_)
    readers = (of_sqlite, of_postgres) if place == 0 else (of_postgres, of_sqlite)
    return ColumnPair(
        ours.name,
        theirs.name,
        readers,
        is_number=family is Family.NUMBER,
        family=family,
        as_migrated=as_migrated(type_, of_postgres),
    )


def _family(side: HeldRows, column: Column) -> Family | None:
    if side.engine is EngineName.SQLITE:
        return None
    return family_of(column.type, {type_.name: type_.base for type_ in side.schema.types if type_.base})


def _within(ours: Column, theirs: Column, families: tuple[Family | None, Family | None]) -> ColumnPair | str:
    family, other = families
    is_number = Family.NUMBER in families
    if family is None or other is None or ours.type == theirs.type:
        return ColumnPair(ours.name, theirs.name, is_number=is_number)
    texts = (Family.TEXT, Family.PADDED, Family.WORDS)
    if family is other and family is not Family.WORDS:
        read = postgres_reader(family)
        return ColumnPair(ours.name, theirs.name, (read, read), is_number=is_number, family=family)
    if family in texts and other in texts and Family.TEXT in families:
        # what was an enum, say, is a text now; the blanks behind a char(n) are none of its value
        rule = Family.PADDED if Family.PADDED in families else None
        read = postgres_reader(rule) if rule else None
        return ColumnPair(ours.name, theirs.name, (read, read), family=rule)
    return f"{theirs.type} and, in the backup, {ours.type} are not compared"


def _own_key(side: HeldRows, table: Table | None) -> tuple[str, ...]:
    """Return the columns of a table's primary key, a partition's as the table has it that it is a part of."""
    for _ in range(DEEPEST_PARTITION):
        if table is None or table.primary_key is not None or not table.partition_of:
            break
        table = side.schema.table(table.partition_of)
    return table.primary_key.columns if table is not None and table.primary_key is not None else ()


def _key(
    mine: Sequence[str], other: Sequence[str], pairs: Sequence[ColumnPair]
) -> tuple[tuple[ColumnPair, ...], str]:
    """Return the key that both have; of two keys that are not the same neither will do."""
    found = tuple(pair for name in mine for pair in pairs if pair.backup == name)
    there = tuple(pair for name in other for pair in pairs if pair.against == name)
    if len(found) < len(mine) or len(there) < len(other):
        return (), "a column of its primary key is not compared: rows are compared whole"
    if found and there and set(found) != set(there):
        return (), "its primary key is another one in the backup: rows are compared whole"
    return found or there, ""
