"""A portable schema as definitions that can be compared object by object: spelt here, so that both sides have the same words.

What stands in the expressions is the server's own text. Of SQLite the words are those it was made with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ...schemas import Schema, SchemaObject, table_name
from ..postgres.spelling import split_name
from ..postgres.words import NotWritten
from ..schema import Column, PortableSchema, Sequence, Table, UserType

__all__ = ["TOLD", "columns_alone", "definitions_of"]

TOLD = (
    "a rows backup tells tables, columns, keys, indexes, types and sequences; functions, views, triggers, policies and"
    " whatever else is in a database are not compared"
)
PLAIN = re.compile(r"(?!(?:constraint|primary|unique|check|foreign|exclude|like)\b)[a-z_][a-z0-9_$]*")
"""A column's name that needs no quotes, and is not the beginning of a constraint."""


def definitions_of(schema: PortableSchema, spelling: str = "") -> Schema:
    """Return every object of it; `spelling` says which server wrote its expressions."""
    objects: list[SchemaObject] = [
        SchemaObject("schema", name, f"CREATE SCHEMA {name}") for name in schema.schemas
    ]
    objects += map(_type, schema.types)
    for table in schema.tables:
        objects += _of_table(table)
    # SQLite's are no objects of their own
    objects += (_sequence(one) for one in schema.sequences if one.type)
    return Schema({(one.type, one.name): one for one in objects}, spelling=spelling)


def columns_alone(tables: Iterable[Table]) -> Schema:
    """Return these tables with the names of their columns, in no order: as far as an older file tells them."""
    objects = {}
    for table in tables:
        names = sorted(_quoted(column.name) for column in table.columns)
        objects["table", table.name] = SchemaObject("table", table.name, _listed("CREATE TABLE", names))
    return Schema(objects)


def _of_table(table: Table) -> Iterator[SchemaObject]:
    name = table.name
    if table.definition:
        yield SchemaObject("table", name, table.definition)
        yield from (SchemaObject("index", index.name, index.definition, name) for index in table.indexes)
        return
    yield SchemaObject("table", name, _table(table), further=tuple(_further(table)))
    keys = (*((table.primary_key,) if table.primary_key else ()), *table.unique)
    for key in (*keys, *table.checks):
        yield SchemaObject("constraint", f"{name} {key.name}", key.definition, name)
    for reference in table.foreign_keys:
        yield SchemaObject("foreign key", f"{name} {reference.name}", reference.definition, name)
    for index in table.indexes:
        yield SchemaObject("index", _beside(name, index.name), index.definition, name)


def _beside(table: str, name: str) -> str:
    """Return a name with the schema of a table."""
    try:
        return table_name(split_name(table)[0], name)
    except NotWritten:
        # somebody's own file: it is only shown
        return name


def _table(table: Table) -> str:
    text = _listed("CREATE TABLE", map(_column, table.columns))
    return f"{text}\nPARTITION BY {table.partition_by}" if table.partition_by else text


def _further(table: Table) -> Iterator[str]:
    if table.partition_of:
        yield f"PARTITION OF {table.partition_of} {table.partition_bound}"
    yield from (f"INHERITS {parent}" for parent in table.inherits)
    if table.unlogged:
        yield "UNLOGGED"


def _column(column: Column) -> str:
    words = [_quoted(column.name), column.type]
    words += [f"COLLATE {column.collation}"] * bool(column.collation)
    if column.generated:
        words.append(f"GENERATED ALWAYS AS ({column.generated}) {'VIRTUAL' if column.virtual else 'STORED'}")
    words += [f"DEFAULT {column.default}"] * bool(column.default)
    words += ["NOT NULL"] * column.not_null
    words += [f"GENERATED {column.identity.upper()} AS IDENTITY"] * bool(column.identity)
    return " ".join(words)


def _type(type_: UserType) -> SchemaObject:
    name = type_.name
    if type_.kind == "domain":
        value = Column(
            "value", type_.base, not_null=type_.not_null, default=type_.default, collation=type_.collation
        )
        words = [
            _column(value),
            *(f"CONSTRAINT {_quoted(one.name)} {one.definition}" for one in type_.checks),
        ]
        return SchemaObject("domain", name, " ".join([f"CREATE DOMAIN {name} AS", *words]))
    if type_.kind == "enum":
        labels = ("'" + label.replace("'", "''") + "'" for label in type_.labels)
        return SchemaObject("type", name, _listed(f"CREATE TYPE {name} AS ENUM", labels))
    if type_.kind == "composite":
        return SchemaObject("type", name, _listed(f"CREATE TYPE {name} AS", map(_column, type_.attributes)))
    options = {
        "SUBTYPE": type_.base,
        "COLLATION": type_.collation,
        "SUBTYPE_OPCLASS": type_.subtype_opclass,
        "CANONICAL": type_.canonical,
        "SUBTYPE_DIFF": type_.subtype_diff,
        "MULTIRANGE_TYPE_NAME": type_.multirange,
    }
    said = (f"{option} = {held}" for option, held in options.items() if held)
    return SchemaObject("type", name, _listed(f"CREATE TYPE {name} AS {type_.kind.upper()}", said))


def _sequence(sequence: Sequence) -> SchemaObject:
    """Return what it is; where it stands is no definition."""
    words = [f"AS {sequence.type} START {sequence.start} INCREMENT {sequence.increment}"]
    words += [f"MINVALUE {sequence.minimum}"] * (sequence.minimum is not None)
    words += [f"MAXVALUE {sequence.maximum}"] * (sequence.maximum is not None)
    words += [f"CACHE {sequence.cache}", *["CYCLE"] * sequence.cycle]
    owned = (f"OWNED BY {sequence.table}.{_quoted(sequence.column)}",) if sequence.table else ()
    text = f"CREATE SEQUENCE {sequence.name} {' '.join(words)}"
    return SchemaObject("sequence", sequence.name, text, sequence.table, owned)


def _listed(head: str, parts: Iterable[str]) -> str:
    return f"{head} (\n    " + ",\n    ".join(parts) + "\n)"


def _quoted(name: str) -> str:
    return name if PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'
