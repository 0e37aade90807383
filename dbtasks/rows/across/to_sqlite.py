"""A portable schema of PostgreSQL as one of SQLite: tables with keys, references, plain indexes and literal defaults.

What cannot go is a loss, found here and told before anything is touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...schemas import quoted
from ..losses import Loss
from ..postgres.spelling import TypeName, split_name, type_of
from ..postgres.words import NotWritten, Word, words_of
from ..schema import Column, ForeignKey, Index, Key, PortableSchema, Sequence, Table
from .mapping import Chosen, declared_for

__all__ = ["ToSqlite", "name_with_schema", "to_sqlite"]

NUMBER = re.compile(r"\(?-?\d+(?:\.\d*)?\)?")
NOW = {"now()", "CURRENT_TIMESTAMP", "timezone('utc'::text, now())", "timezone('UTC'::text, now())"}
NUMERIC = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
BYTES = re.compile(r"\\x((?:[0-9a-f]{2})*)")
INFINITE = {"Infinity": "9e999", "-Infinity": "-9e999"}
"""What SQLite reads as such."""
UNIQUE_ALONE = ("NULLS NOT DISTINCT", "DEFERRABLE", "WITHOUT OVERLAPS")
NOT_CHECKED = ("NOT VALID", "NOT ENFORCED", ", PERIOD")
KEY_ALONE = ("MATCH FULL", "ON DELETE SET NULL (", "ON DELETE SET DEFAULT (")
"""Parts of definitions that SQLite has not."""
SHOWN = 60
ACTS = re.compile(r" ON (?:UPDATE|DELETE) (?:CASCADE|RESTRICT|SET NULL|SET DEFAULT)(?! ?\()")


@dataclass(frozen=True)
class ToSqlite:
    """The schema, what of it is lost, and where and how the rows go."""

    schema: PortableSchema
    names: Mapping[str, str]
    """PostgreSQL's name of each table that has rows to that of the table they go into: partitions into the whole."""
    hows: Mapping[str, tuple[str, ...]]
    """By PostgreSQL's name, in the order of `data_columns`."""
    losses: tuple[Loss, ...]


def to_sqlite(schema: PortableSchema) -> ToSqlite:
    """Return what a schema becomes. Pure.

    Raises:
        NotWritten: a name or a type in it is none of PostgreSQL's.
    """
    return _Mapping(schema).whole()


def name_with_schema(name: str) -> str:
    """Return what a table is called in SQLite whose own name another table has too.

    Raises:
        NotWritten: it is no name of PostgreSQL's.
    """
    return "_".join(split_name(name))


class _Mapping:
    def __init__(self, schema: PortableSchema) -> None:
        self._schema = schema
        self._losses: list[Loss] = []
        self._tables = {table.name: table for table in schema.tables}
        self._domains = {type_.name: type_ for type_ in schema.types if type_.kind == "domain"}
        self._labels = {split_name(t.name): t.labels for t in schema.types if t.kind == "enum"}
        roots = [table for table in schema.tables if not self._above(table)]
        own = [split_name(table.name)[1].lower() for table in roots]
        self._names: dict[str, str] = {}
        for table in roots:
            name = split_name(table.name)[1]
            is_alone = own.count(name.lower()) == 1 and not name.lower().startswith("sqlite_")
            self._names[table.name] = name if is_alone else name_with_schema(table.name)
        self._taken = {name.lower() for name in self._names.values()}
        if len(self._taken) != len(self._names):
            self._losses.append(
                Loss("tables", "have names that are one to SQLite, which tells no case apart", True)
            )

    def whole(self) -> ToSqlite:
        """Return all of it."""
        tables = tuple(self._table(table) for table in self._schema.tables if table.name in self._names)
        into = {
            table.name: self._names[self._root(table).name]
            for table in self._schema.tables
            if not table.partition_by
        }
        hows = {
            table.name: tuple(self._chosen(column).how for column in table.data_columns)
            for table in self._schema.tables
            if not table.partition_by
        }
        for table in self._schema.tables:
            if table.name not in self._names:
                self._tell_of_part(table)
        self._tell_of_domains()
        numbers = tuple(self._numbers())
        return ToSqlite(PortableSchema(tables=tables, sequences=numbers), into, hows, tuple(self._losses))

    def _above(self, table: Table) -> Table | None:
        return self._tables.get(table.partition_of)

    def _root(self, table: Table) -> Table:
        seen = {table.name}
        while (above := self._above(table)) is not None and above.name not in seen:
            seen.add(above.name)
            table = above
        return table

    # -- tables ---------------------------------------------------------------------------

    def _table(self, table: Table) -> Table:
        name = self._names[table.name]
        self._tell(table)
        counts = self._counts_itself(table)
        lines = [self._column(table, column, counts) for column in table.data_columns]
        lowered = [column.name.lower() for column in table.data_columns]
        if len(set(lowered)) != len(lowered):
            self._losses.append(
                Loss(
                    f"the table {table.name}",
                    "has columns that are one to SQLite, which tells no case apart",
                    True,
                )
            )
        if not lines:
            self._losses.append(
                Loss(f"the table {table.name}", "has no columns, and SQLite has no such table", True)
            )
        if table.primary_key and not counts:
            lines.append(f"PRIMARY KEY ({_list(table.primary_key.columns)})")
        lines += [self._unique(table, one) for one in table.unique]
        lines += [text for one in table.foreign_keys if (text := self._reference(table, one))]
        indexes = tuple(filter(None, (self._index(table, name, one) for one in table.indexes)))
        return Table(name, indexes=indexes, definition=f"CREATE TABLE {quoted(name)} ({', '.join(lines)})")

    def _unique(self, table: Table, one: Key) -> str:
        for words in UNIQUE_ALONE:
            if _says(one.definition, words):
                self._losses.append(
                    Loss(f"the unique key {one.name} of {table.name}", f"goes without {words}")
                )
        return f"UNIQUE ({_list(one.columns)})"

    def _tell(self, table: Table) -> None:
        if (becomes := self._names[table.name]) != split_name(table.name)[1]:
            why = f"becomes {becomes}: SQLite has no schemas, and its name alone is another one's too or SQLite's own"
            self._losses.append(Loss(f"the table {table.name}", why))
        for one in table.checks:
            self._losses.append(Loss(f"the check {one.name} of {table.name}", "is not carried"))
        for column in table.columns:
            if column.generated:
                self._losses.append(Loss(f"{table.name}.{column.name}", "is computed, and not carried"))
            elif self._is_number_as_text(column):
                why = (
                    f"is {column.type} and becomes text: every digit stays, and it sorts and compares as text"
                )
                self._losses.append(Loss(f"{table.name}.{column.name}", why))
            if column.collation:
                self._losses.append(
                    Loss(f"{table.name}.{column.name}", f"goes without its collation {column.collation}")
                )
        if table.inherits:
            self._losses.append(Loss(f"the table {table.name}", "does not inherit any more"))
        if table.partition_by:
            self._losses.append(Loss(f"the table {table.name}", "is one table, without partitions"))

    def _tell_of_part(self, table: Table) -> None:
        """Tell what a partition has for itself: its rows go into the whole table, where nothing is of some rows alone."""
        alone = [
            *(f"the primary key {one.name}" for one in (table.primary_key,) if one),
            *(f"the unique key {one.name}" for one in table.unique),
            *(f"the foreign key {one.name}" for one in table.foreign_keys),
            *(f"the check {one.name}" for one in table.checks),
            *(f"the index {one.name}" for one in table.indexes),
        ]
        for what in alone:
            self._losses.append(Loss(f"{what} of {table.name}", "is a partition's own, and not carried"))

    def _tell_of_domains(self) -> None:
        for one in self._domains.values():
            own = [
                *(f"its check {check.name}" for check in one.checks),
                *(("its NOT NULL",) if one.not_null else ()),
                *((f"its default {one.default[:SHOWN]}",) if one.default else ()),
            ]
            if own:
                self._losses.append(Loss(f"the domain {one.name}", f"goes without {', '.join(own)}"))

    def _column(self, table: Table, column: Column, counts: str | None) -> str:
        if column.name == counts:
            return f"{quoted(column.name)} INTEGER PRIMARY KEY AUTOINCREMENT"
        text = f"{quoted(column.name)} {self._chosen(column).type}"
        default = self._default(table, column)
        text += (" NOT NULL" if column.not_null else "") + (f" DEFAULT {default}" if default else "")
        return text + self._check_of_labels(column)

    def _check_of_labels(self, column: Column) -> str:
        """Return the check that lets in what an enumeration does, and NULL."""
        base = self._base(type_of(column.type))
        labels = () if base.is_array else self._labels.get((base.schema, base.name), ())
        known = ", ".join("'" + label.replace("'", "''") + "'" for label in labels)
        return f" CHECK ({quoted(column.name)} IN ({known}))" if known else ""

    def _is_number_as_text(self, column: Column) -> bool:
        """Whether a number's digits are kept by a text, with which SQLite does not count."""
        base = self._base(type_of(column.type))
        return base.name in ("numeric", "money") and not base.is_array and self._chosen(column).type == "TEXT"

    def _chosen(self, column: Column) -> Chosen:
        return declared_for(self._base(type_of(column.type)))

    def _base(self, type_: TypeName) -> TypeName:
        seen: set[str] = set()
        while not type_.is_array and (name := f"{type_.schema}.{type_.name}") not in seen:
            seen.add(name)
            domain = next(
                (d for d in self._domains.values() if split_name(d.name) == (type_.schema, type_.name)), None
            )
            if domain is None:
                break
            type_ = type_of(domain.base)
        return type_

    def _default(self, table: Table, column: Column) -> str:
        text = column.default
        if column.identity or text.startswith("nextval("):
            why = "is not counted any more: SQLite does that for a primary key alone, and a new row has to bring its number"
            self._losses.append(Loss(f"{table.name}.{column.name}", why))
            return ""
        if not text:
            return ""
        if text in ("true", "false"):
            return "1" if text == "true" else "0"
        if NUMBER.fullmatch(text):
            return text
        if text in NOW and self._chosen(column).type == "DATETIME":
            return "CURRENT_TIMESTAMP"
        words = _written(text)
        if words and words[0].kind == "string" and words[0].text.startswith("'") and _casts(words[1:]):
            found = _constant(words[0].text, self._chosen(column).how)
        else:
            found = ""
        if not found:
            self._losses.append(
                Loss(f"the default of {table.name}.{column.name}", f"is not carried: {text[:SHOWN]}")
            )
        return found

    def _counts_itself(self, table: Table) -> str | None:
        """Return the column whose numbers SQLite can give by itself: the whole primary key, counted by a sequence."""
        key = table.primary_key
        if key is None or len(key.columns) != 1:
            return None
        column = next(column for column in table.columns if column.name == key.columns[0])
        counts = column.identity or column.default.startswith("nextval(")
        return (
            column.name
            if counts and self._base(type_of(column.type)).name in ("int2", "int4", "int8")
            else None
        )

    def _reference(self, table: Table, one: ForeignKey) -> str:
        other = self._tables.get(one.references)
        if other is None or other.name not in self._names:
            what = f"the foreign key {one.name} of {table.name} to {one.references}"
            self._losses.append(Loss(what, "refers to what is not a table of its own there"))
            return ""
        for words in NOT_CHECKED:
            if _says(one.definition, words):
                # SQLite compares every row, and has no key of another kind
                what = f"the foreign key {one.name} of {table.name}"
                self._losses.append(Loss(what, f"is {words}, and not carried"))
                return ""
        for words in KEY_ALONE:
            if _says(one.definition, words):
                self._losses.append(
                    Loss(f"the foreign key {one.name} of {table.name}", f"goes without {words.rstrip('( ')}")
                )
        acts = "".join(ACTS.findall(one.definition))
        late = (
            " DEFERRABLE INITIALLY DEFERRED"
            if one.definition.endswith("DEFERRABLE INITIALLY DEFERRED")
            else ""
        )
        referenced = f" ({_list(one.referenced)})" if one.referenced else ""
        return f"FOREIGN KEY ({_list(one.columns)}) REFERENCES {quoted(self._names[other.name])}{referenced}{acts}{late}"

    def _index(self, table: Table, name: str, one: Index) -> Index | None:
        items = _plain_items(one.definition, {column.name for column in table.data_columns})
        if items is None:
            self._losses.append(
                Loss(f"the index {one.name} of {table.name}", "is over more than columns, and not carried")
            )
            return None
        number, free = 1, one.name
        while free.lower() in self._taken or free.lower().startswith("sqlite_"):
            number += 1
            free = f"{one.name}_{number}"
        self._taken.add(free.lower())
        unique = "UNIQUE " if one.definition.startswith("CREATE UNIQUE ") else ""
        return Index(free, f"CREATE {unique}INDEX {quoted(free)} ON {quoted(name)} ({', '.join(items)})")

    def _numbers(self) -> Iterator[Sequence]:
        for one in self._schema.sequences:
            table = self._tables.get(one.table)
            if (
                table
                and table.name in self._names
                and self._counts_itself(table) == one.column
                and one.is_called
            ):
                yield Sequence(self._names[table.name], one.last_value, table=self._names[table.name])
            elif not one.table:
                self._losses.append(Loss(f"the sequence {one.name}", "is not carried: SQLite has none"))


def _written(text: str) -> tuple[Word, ...]:
    try:
        return words_of(text)
    except NotWritten:
        return ()


def _says(definition: str, said: str) -> bool:
    """Whether these words stand in a definition one behind the other, and not as names or in a text."""
    words, wanted = [word.text for word in _written(definition)], said.split()
    return any(words[at : at + len(wanted)] == wanted for at in range(len(words)))


def _constant(literal: str, how: str) -> str:
    """Return a constant as SQLite holds the column's values; empty where it has none."""
    value = literal[1:-1]
    if how == "bytes":
        return f"x'{found[1]}'" if (found := BYTES.fullmatch(value)) else ""
    if how in ("real", "number", "integer") and not NUMERIC.fullmatch(value):
        return INFINITE.get(value, "") if how == "real" else ""
    return literal


def _casts(words: tuple[Word, ...]) -> bool:
    """Whether what follows a text is its type and nothing else."""
    return not words or (
        words[0].text == "::"
        and all(word.is_name or word.text in ("::", ".", "(", ")") or word.kind == "number" for word in words)
    )


def _plain_items(definition: str, columns: set[str]) -> list[str] | None:
    """Return the columns of an index as SQL; None where it is over anything else."""
    words = _written(definition)
    texts = [word.text for word in words]
    if "btree" not in texts or texts[-1:] != [")"]:
        return None
    start = texts.index("btree") + 2
    items: list[str] = []
    item: list[Word] = []
    for word in (*words[start:-1], Word("mark", ",", 0, 0)):
        if word.text != ",":
            item.append(word)
            continue
        order = [one.text for one in item[1:]]
        if not item or not item[0].is_name or item[0].name not in columns or order not in ([], ["DESC"]):
            return None
        items.append(quoted(item[0].name) + (" DESC" if order else ""))
        item = []
    return items


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(map(quoted, names))
