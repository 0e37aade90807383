"""A portable schema of SQLite as one of PostgreSQL: types by what the values are, keys, references, plain indexes and defaults.

What cannot go is a loss, found here and told before anything is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...nouns import many
from ...schemas import table_name
from ..losses import Loss
from ..schema import Column, PortableSchema, Sequence, Spelling, Table
from ..sqlite.defaults import default_there
from ..sqlite.words import counts_itself, words
from .candidates import for_type
from .carried import SCHEMA, Carried
from .mapping import Chosen, not_kept, type_for
from .profile import Profile

__all__ = ["ToPostgres", "to_postgres"]

NOT_CARRIED = {"CHECK": "its CHECKs", "COLLATE": "its collations"}


@dataclass(frozen=True)
class ToPostgres:
    """The schema, what of it is lost, and how the values of each column that has any are spelled."""

    schema: PortableSchema
    names: Mapping[str, str]
    """SQLite's name of each table to its new one."""
    hows: Mapping[str, tuple[str, ...]]
    """By SQLite's name, in the order of `data_columns`."""
    losses: tuple[Loss, ...]


def to_postgres(schema: PortableSchema, profiles: Mapping[str, Mapping[str, Profile]]) -> ToPostgres:
    """Return what a schema becomes, given what is known of each table's values. Pure."""
    return _Mapping(schema, profiles).whole()


class _Mapping:
    def __init__(self, schema: PortableSchema, profiles: Mapping[str, Mapping[str, Profile]]) -> None:
        self._schema = schema
        self._profiles = profiles
        self._losses: list[Loss] = []
        self._names = {table.name: table_name(SCHEMA, table.name) for table in schema.tables}
        self._chosen: dict[str, dict[str, Chosen]] = {}
        self._carried = Carried(schema, self._names, self._type, self._losses)

    def whole(self) -> ToPostgres:
        for table in self._schema.tables:
            self._chosen[table.name] = dict(self._types(table))
        tables = tuple(self._table(table) for table in self._schema.tables)
        counting = tuple(filter(None, map(self._sequence, self._schema.tables)))
        hows = {
            table.name: tuple(self._chosen[table.name][c.name].how for c in table.data_columns)
            for table in self._schema.tables
        }
        made = PortableSchema(tables=tables, sequences=counting)
        return ToPostgres(made, self._names, hows, tuple(self._losses))

    # -- columns ------------------------------------------------------------------------

    def _types(self, table: Table) -> Iterator[tuple[str, Chosen]]:
        known = self._profiles.get(table.name, {})
        self._carried.prove_table(table)
        self._carried.prove_conflicts(table)
        self._carried.prove_columns(table)
        for column in table.columns:
            profile = known.get(column.name, Profile())
            chosen = type_for(column.type, profile)
            if chosen is None:
                self._losses.append(
                    Loss(
                        f"{table.name}.{column.name}",
                        f"holds {_mixture(profile)}, which no one type does",
                        True,
                    )
                )
            elif profile.negative_zeros and chosen.type.startswith("numeric"):
                told = f"holds -0.0 {many(profile.negative_zeros, 'time')}, and numeric has only 0"
                self._losses.append(Loss(f"{table.name}.{column.name}", told))
            if chosen and (why := not_kept(column.type, profile, chosen)):
                told = f"is declared {column.type} and becomes {chosen.type}: {why}"
                self._losses.append(Loss(f"{table.name}.{column.name}", told))
            yield column.name, chosen or Chosen("text", "as it is")

    def _table(self, table: Table) -> Table:
        said = {word.upper() for word in words(table.definition)}
        for word, what in NOT_CARRIED.items():
            if word in said:
                self._losses.append(Loss(f"the table {table.name}", f"goes without {what}"))
        columns = tuple(self._column(table, column) for column in table.data_columns)
        for column in table.columns:
            if column.generated:
                self._losses.append(Loss(f"{table.name}.{column.name}", "is computed, and not carried"))
        key = table.primary_key
        if key:
            for name in key.columns:
                if self._profile(table, name).counts["nulls"]:
                    self._losses.append(
                        Loss(f"the primary key of {table.name}", f"holds NULL in {name}", True)
                    )
        return Table(
            self._names[table.name],
            columns,
            primary_key=self._carried.primary_key(table),
            unique=self._carried.unique(table),
            foreign_keys=self._carried.references(table),
            indexes=self._carried.indexes(table),
        )

    def _column(self, table: Table, column: Column) -> Column:
        chosen = self._chosen[table.name][column.name]
        counts = counts_itself(table) == column.name
        in_key = table.primary_key is not None and column.name in table.primary_key.columns
        not_null = column.not_null or in_key
        if column.not_null and self._profile(table, column.name).counts["nulls"]:
            self._losses.append(Loss(f"{table.name}.{column.name}", "is NOT NULL, and holds NULL", True))
        return Column(
            column.name,
            "bigint" if counts else chosen.type,
            Spelling.TEXT,
            not_null=not_null,
            default="" if counts else self._default(table, column, chosen),
            identity="by default" if counts else "",
        )

    def _default(self, table: Table, column: Column, chosen: Chosen) -> str:
        # constants as a migration into a column of this type spells them
        found = default_there(column.default, chosen.type, for_type(chosen.type)[0].how)
        if found is None:
            self._losses.append(
                Loss(f"the default of {table.name}.{column.name}", f"is not carried: {column.default[:60]}")
            )
        return found or ""

    def _profile(self, table: Table, column: str) -> Profile:
        return self._profiles.get(table.name, {}).get(column) or Profile()

    def _type(self, table: Table, column: str) -> str:
        chosen = self._chosen[table.name].get(column)
        return chosen.type.partition("(")[0] if chosen else ""

    def _sequence(self, table: Table) -> Sequence | None:
        key = counts_itself(table)
        return self._carried.numbers(table, self._profile(table, key).largest) if key else None


def _mixture(profile: Profile) -> str:
    if profile.unfit:
        return f"{many(profile.unfit, 'text')} with a zero byte or no UTF-8"
    return " and ".join(
        many(number, kind.removesuffix("s"))
        for kind, number in profile.counts.items()
        if number and kind != "nulls"
    )
