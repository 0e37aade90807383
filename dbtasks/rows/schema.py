"""The portable schema: what a `rows` file says of tables, types and sequences, as values and as JSON.

Texts of expressions and definitions are the source engine's own. What another
engine needs to understand (columns, keys, references) stands apart from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any

__all__ = [
    "Check",
    "Column",
    "ForeignKey",
    "Index",
    "Key",
    "PortableSchema",
    "Sequence",
    "Spelling",
    "Table",
    "UserType",
    "document_of",
    "outline_of",
    "schema_from",
]


PLAIN: Mapping[str, Any] = {"str": str, "bool": bool, "int": int, "int | None": (int, type(None))}
"""What a field may hold, by how it is annotated."""


class Spelling(StrEnum):
    """How the values of a column stand in JSON; null is null in every one."""

    NUMBER = "number"
    """A whole number that every JSON reader holds exactly."""
    BOOLEAN = "boolean"
    TEXT = "text"
    """A string: the text PostgreSQL itself writes for the value, and reads back to the same bits."""
    ANY = "any"
    """SQLite: each value by its own storage class, see docs/rows.md."""


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    type: str
    """As the engine spells it, qualified where it is the user's own; SQLite: as declared, maybe empty."""
    spelling: Spelling = Spelling.TEXT
    not_null: bool = False
    default: str = ""
    """An SQL expression."""
    identity: str = ""
    """`always` or `by default`."""
    generated: str = ""
    """An SQL expression: the column is computed, and its values are not in the data."""
    virtual: bool = False
    """Computed when it is read, not stored."""
    collation: str = ""
    """Where it is not the type's own."""


@dataclass(frozen=True)
class Key:
    """A primary key or a unique constraint."""

    columns: tuple[str, ...]
    name: str = ""
    definition: str = ""
    is_partly: bool = False
    """Of a partitioned table: not all partitions have it. In no file; only a migration asks."""


@dataclass(frozen=True)
class ForeignKey:
    """A reference to another table."""

    columns: tuple[str, ...]
    references: str
    """The table, by its `name` in this schema."""
    referenced: tuple[str, ...] = ()
    """Its columns; empty: its primary key."""
    name: str = ""
    definition: str = ""


@dataclass(frozen=True)
class Check:
    """A CHECK or an exclusion constraint."""

    name: str
    definition: str


@dataclass(frozen=True)
class Index:
    """An index that no constraint makes by itself."""

    name: str
    definition: str
    """The whole statement."""
    is_partly: bool = False
    """Of a partitioned table: not all partitions have it. In no file; only a migration asks."""


@dataclass(frozen=True)
class Table:
    """One table."""

    name: str
    """As manifests spell it: `schema.table`, quoted where a dot or a quote makes it ambiguous; SQLite: its name."""
    columns: tuple[Column, ...] = ()
    primary_key: Key | None = None
    unique: tuple[Key, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    indexes: tuple[Index, ...] = ()
    partition_by: str = ""
    """Such as `RANGE (day)`: it holds no rows, its partitions do."""
    partition_of: str = ""
    partition_bound: str = ""
    inherits: tuple[str, ...] = ()
    unlogged: bool = False
    definition: str = ""
    """SQLite: the words it was made with."""

    @property
    def data_columns(self) -> tuple[Column, ...]:
        """The columns whose values are in the data: all but the computed ones."""
        return tuple(column for column in self.columns if not column.generated)


@dataclass(frozen=True)
class UserType:
    """A type that is the user's own."""

    name: str
    kind: str
    """`enum`, `domain`, `composite` or `range`."""
    labels: tuple[str, ...] = ()
    """Of an enum, in order."""
    attributes: tuple[Column, ...] = ()
    """Of a composite."""
    base: str = ""
    """A domain's type, a range's subtype."""
    multirange: str = ""
    """Of a range: the type of its sets."""
    subtype_opclass: str = ""
    """Of a range: what orders its values, where that is not the subtype's own way."""
    canonical: str = ""
    subtype_diff: str = ""
    """Of a range: its functions."""
    not_null: bool = False
    default: str = ""
    collation: str = ""
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Sequence:
    """Where a sequence stands; of an AUTOINCREMENT of SQLite only its table and the last value are known."""

    name: str
    last_value: int
    is_called: bool = True
    """Whether `last_value` was handed out already: the next one is behind it."""
    type: str = ""
    start: int = 1
    increment: int = 1
    minimum: int | None = None
    maximum: int | None = None
    cache: int = 1
    cycle: bool = False
    table: str = ""
    """The table of the column it belongs to."""
    column: str = ""


@dataclass(frozen=True)
class PortableSchema:
    """What stands in a database, as far as a `rows` file tells it."""

    schemas: tuple[str, ...] = ()
    """PostgreSQL's, all but `public`."""
    types: tuple[UserType, ...] = ()
    tables: tuple[Table, ...] = ()
    sequences: tuple[Sequence, ...] = ()

    def table(self, name: str) -> Table | None:
        """Return a table by its name."""
        return next((table for table in self.tables if table.name == name), None)


def document_of(value: Any) -> Any:
    """Return what JSON can hold of a part of the schema; what is as it mostly is, is left out."""
    if is_dataclass(value):
        return {
            field.name: document_of(held)
            for field in fields(value)
            if (held := getattr(value, field.name)) != field.default or field.default is MISSING
        }
    return [document_of(item) for item in value] if isinstance(value, tuple) else value


def outline_of(schema: PortableSchema, tables: Iterable[Table]) -> PortableSchema:
    """Return what tells which values these tables hold, and nothing of how they are defined: columns with their types, and the types."""
    return PortableSchema(
        types=tuple(
            UserType(one.name, one.kind, one.labels, tuple(map(_outlined, one.attributes)), one.base)
            for one in schema.types
        ),
        tables=tuple(Table(one.name, tuple(map(_outlined, one.columns))) for one in tables),
    )


def _outlined(column: Column) -> Column:
    computed = "computed" if column.generated else ""
    return Column(column.name, column.type, column.spelling, column.not_null, generated=computed)


def schema_from(document: Mapping[str, Any]) -> PortableSchema:
    """Read a schema back.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is not one.
    """
    schema = PortableSchema(
        schemas=_texts(document.get("schemas", ())),
        types=tuple(_user_type(held) for held in document.get("types", ())),
        tables=tuple(_table(held) for held in document.get("tables", ())),
        sequences=tuple(Sequence(**held) for held in document.get("sequences", ())),
    )
    _prove_types(schema)
    return schema


def _table(held: Mapping[str, Any]) -> Table:
    key = held.get("primary_key")
    return Table(
        **{
            **held,
            "columns": _columns(held.get("columns", ())),
            "primary_key": _key(key) if key else None,
            "unique": tuple(_key(one) for one in held.get("unique", ())),
            "foreign_keys": tuple(_reference(one) for one in held.get("foreign_keys", ())),
            "checks": _checks(held),
            "indexes": tuple(Index(**one) for one in held.get("indexes", ())),
            "inherits": _texts(held.get("inherits", ())),
        }
    )


def _user_type(held: Mapping[str, Any]) -> UserType:
    return UserType(
        **{
            **held,
            "labels": _texts(held.get("labels", ())),
            "attributes": _columns(held.get("attributes", ())),
            "checks": _checks(held),
        }
    )


def _columns(held: Any) -> tuple[Column, ...]:
    return tuple(Column(**{**one, "spelling": Spelling(one.get("spelling", "text"))}) for one in held)


def _key(held: Mapping[str, Any]) -> Key:
    return Key(**{**held, "columns": _texts(held["columns"])})


def _reference(held: Mapping[str, Any]) -> ForeignKey:
    return ForeignKey(
        **{**held, "columns": _texts(held["columns"]), "referenced": _texts(held.get("referenced", ()))}
    )


def _checks(held: Mapping[str, Any]) -> tuple[Check, ...]:
    return tuple(Check(**one) for one in held.get("checks", ()))


def _prove_types(value: Any) -> None:
    """See that every text is one, and every number: what is built of them relies on it."""
    for field in fields(value):
        held, said = getattr(value, field.name), str(field.type)
        wanted = PLAIN.get(said)
        if wanted is not None and (
            not isinstance(held, wanted) or (isinstance(held, bool) and said != "bool")
        ):
            raise TypeError(f"{field.name} is a {type(held).__name__}")
        for one in held if isinstance(held, tuple) else (held,):
            if is_dataclass(one):
                _prove_types(one)


def _texts(values: Any) -> tuple[str, ...]:
    if any(not isinstance(value, str) for value in values):
        raise TypeError("text expected")
    return tuple(values)
