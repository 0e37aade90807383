"""A portable schema of PostgreSQL becomes one again: the statements, what they call for, and running them.

Before the rows come schemas, sequences, types and tables; behind them what is
made faster, or only made right, when they are there: keys, indexes,
references, what a sequence belongs to and where it stands.

The texts come from a file. Names are quoted, types are read and spelt anew, and
an expression stays inside its parentheses (`words`), so that none of
it can be a statement of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ...errors import Refused
from ..losses import UNTOUCHED, Loss
from ..schema import Check, Column, ForeignKey, Key, PortableSchema, Sequence, Table, UserType
from .definitions import (
    bound,
    check,
    expression,
    foreign_key,
    index,
    is_exclusion,
    is_later,
    key,
    partition_key,
)
from .needs import Kind, Lack, Need
from .spelling import Part, identifier, joined, plain, split_name, type_of
from .types_create import collated, sequence_made, sequence_options, type_made, value_set
from .words import NotWritten

__all__ = ["Creation", "Statement", "statements_for"]

Name = tuple[str, str]


@dataclass(frozen=True)
class Statement:
    """One statement, and what it makes, for people."""

    what: str
    sql: Any
    needs: frozenset[Need] = frozenset()


@dataclass(frozen=True)
class Creation:
    """What makes a schema, in order."""

    before: tuple[Statement, ...]
    after: tuple[Statement, ...]
    """Behind the rows."""
    losses: tuple[Loss, ...] = ()
    needs: frozenset[Need] = frozenset()
    """What all of it calls for and does not make itself."""
    makes: tuple[Name, ...] = field(default=(), repr=False)
    """Tables, sequences and types."""
    schemas: tuple[str, ...] = ()
    """Made as well: those that are not there."""


def statements_for(
    schema: PortableSchema, lacking: Mapping[Need, Lack] | None = None, *, there: Collection[str] = ()
) -> Creation:
    """Return what makes this schema on a server that lacks these things. Pure.

    `there` are the namespaces that exist: even IF NOT EXISTS takes the right to create one.

    What lacks something is a loss. A default, a check, an index or a key is left
    out; a column's type or a computed column holds up the whole.

    Raises:
        Refused: a text is none that PostgreSQL writes; names whose.
    """
    return _Making(schema, lacking or {}, there).creation()


class _Making:
    """The making of one schema."""

    def __init__(self, schema: PortableSchema, lacking: Mapping[Need, Lack], there: Collection[str]) -> None:
        self._schema = schema
        self._there = {"public", *there}
        self._lacking = lacking
        self._losses: list[Loss] = []
        self._needs: set[Need] = set()
        self._by_name = {table.name: table for table in schema.tables}
        self._tables = {self._name("table", table.name): table for table in schema.tables}
        self._types = {self._name("type", type_.name): type_ for type_ in schema.types}
        self._sequences = {self._name("sequence", one.name): one for one in schema.sequences}
        self._prove_names()
        columns = {(t.name, c.name): c for t in schema.tables for c in t.columns if not t.partition_of}
        self._of_identity = {
            (one.table, one.column): one
            for one in schema.sequences
            if one.table and (held := columns.get((one.table, one.column))) and held.identity
        }

    def creation(self) -> Creation:
        """Return all of it."""
        before = [*self._schemas(), *self._free_sequences(), *self._types_and_tables(), *self._family()]
        after = [*self._keys(), *self._references(), *self._late_checks(), *self._standing()]
        return Creation(
            tuple(before),
            tuple(after),
            tuple(self._losses),
            frozenset(self._needs - self._made),
            (*self._tables, *self._types, *self._sequences),
            tuple(self._new_schemas()),
        )

    # -- reading ----------------------------------------------------------------------------

    def _name(self, what: str, name: str) -> Name:
        with _about(f"the {what} {name}"):
            schema, own = split_name(name)
            identifier(schema, own)
            _prove_schema(schema)
            return schema, own

    def _prove_names(self) -> None:
        relations = [*self._schema.tables, *self._schema.sequences]
        for one, known in (
            (relations, {**self._tables, **self._sequences}),
            (self._schema.types, self._types),
        ):
            if len(one) != len(known):
                raise Refused("the rows file names a table, a type or a sequence twice", state=UNTOUCHED)

    @property
    def _made(self) -> set[Need]:
        """What the schema itself makes."""
        types = (*self._types, *self._tables)
        relations = (*self._tables, *self._sequences)
        ranges = [split_name(one.multirange) for one in self._schema.types if one.multirange]
        kinds = ((Kind.TYPE, (*types, *ranges)), (Kind.RELATION, relations))
        found = {Need(kind, *name) for kind, names in kinds for name in names}
        # a range's name is its function as well
        objects = (*types, *relations, *ranges)
        return found | {Need(kind, *name) for kind in (Kind.OBJECT, Kind.FUNCTION) for name in objects}

    def _part(self, what: str, read: Callable[[], Part], *, holds_up: bool = False) -> Part | None:
        """Read a part; None where the server lacks something for it, which is a loss."""
        with _about(what):
            part = read()
        self._needs |= part.needs
        lacks = tuple(self._lacking[need] for need in sorted(part.needs) if need in self._lacking)
        if lacks:
            self._losses.append(Loss(what, f"needs {'; '.join(map(str, lacks))}", holds_up))
        return None if lacks and not holds_up else part

    def _statement(
        self, what: str, read: Callable[[], Part], *, holds_up: bool = False
    ) -> Iterator[Statement]:
        if part := self._part(what, read, holds_up=holds_up):
            yield Statement(what, part.sql, part.needs)

    # -- before the rows ----------------------------------------------------------------------

    def _new_schemas(self) -> list[str]:
        used = {schema for schema, _ in (*self._tables, *self._types, *self._sequences)}
        return sorted({*self._schema.schemas, *used} - self._there)

    def _schemas(self) -> Iterator[Statement]:
        for name in self._new_schemas():
            yield from self._statement(f"schema {name}", partial(_schema_made, name))

    def _free_sequences(self) -> Iterator[Statement]:
        bound_ones = set(self._of_identity.values())
        for one in self._schema.sequences:
            if one not in bound_ones:
                yield from self._statement(f"sequence {one.name}", partial(sequence_made, one))

    def _types_and_tables(self) -> Iterator[Statement]:
        made: dict[Name, Statement] = {}
        wants: dict[Name, set[Name]] = {}
        for name, type_ in self._types.items():
            made[name] = next(
                self._statement(f"type {type_.name}", partial(self._type, type_), holds_up=True)
            )
        for name, table in self._tables.items():
            made[name] = next(
                self._statement(f"table {table.name}", partial(self._table, table), holds_up=True)
            )
            wants[name] = {self._name("table", above) for above in self._above(table)}
        for name, statement in made.items():
            wants.setdefault(name, set()).update((need.schema, need.name) for need in statement.needs)
        yield from (made[name] for name in _ordered(made, wants))

    def _type(self, type_: UserType) -> Part:
        conditions: list[Part] = []
        if type_.default:
            what = f"the default of {type_.name}"
            default = self._part(what, partial(expression, type_.default))
            conditions += [plain("DEFAULT"), default] if default else []
        for one in type_.checks:
            if not is_later(one) and (part := self._part(_check_of(type_, one), partial(check, one))):
                conditions.append(part)
        return type_made(type_, conditions)

    def _table(self, table: Table) -> Part:
        parts = [self._column(table, column) for column in table.columns]
        for one in self._checks_with(table):
            if part := self._part(_check_of(table, one), partial(check, one)):
                parts.append(part)
        whole = [
            plain(f"CREATE {'UNLOGGED ' if table.unlogged and not table.partition_by else ''}TABLE"),
            Part(identifier(*split_name(table.name))),
            joined("", plain("("), joined(", ", *parts), plain(")")),
        ]
        if self._is_made_below(table):
            above = [Part(identifier(*split_name(name))) for name in table.inherits]
            whole += [plain("INHERITS"), joined("", plain("("), joined(", ", *above), plain(")"))]
        if table.partition_by:
            whole.append(partition_key(table.partition_by))
        return joined(" ", *whole)

    def _column(self, table: Table, column: Column) -> Part:
        parts = [Part(identifier(column.name)), type_of(column.type).part, collated(column.collation)]
        if column.generated:
            kind = "VIRTUAL" if column.virtual else "STORED"
            parts += [plain("GENERATED ALWAYS AS"), expression(column.generated), plain(kind)]
        elif column.identity:
            parts.append(self._identity(table, column))
        elif column.default:
            what = f"the default of {table.name}.{column.name}"
            default = self._part(what, partial(expression, column.default))
            parts += [plain("DEFAULT"), default] if default else []
        return joined(" ", *parts, plain("NOT NULL" if column.not_null else ""))

    def _identity(self, table: Table, column: Column) -> Part:
        if table.partition_of:
            # it comes with the table it is a part of, or there is none
            return plain("")
        if column.identity not in ("always", "by default"):
            raise NotWritten(f"an identity {column.identity[:40]!r}")
        said = plain(f"GENERATED {column.identity.upper()} AS IDENTITY")
        one = self._of_identity.get((table.name, column.name))
        if one is None:
            return said
        name = Part(identifier(*split_name(one.name)))
        return joined(" ", said, plain("(SEQUENCE NAME"), name, sequence_options(one), plain(")"))

    def _checks_with(self, table: Table) -> list[Check]:
        """Return the checks a table is made with: a partition's have to be those of what it is a part of, too."""
        found = {one.name: one for one in table.checks if not (is_later(one) or is_exclusion(one))}
        for above in self._above_all(table):
            for one in above.checks:
                if not (is_later(one) or is_exclusion(one) or " NO INHERIT" in one.definition):
                    found.setdefault(one.name, one)
        return list(found.values())

    def _above(self, table: Table) -> tuple[str, ...]:
        return (table.partition_of,) if table.partition_of else table.inherits

    def _above_all(self, table: Table) -> Iterator[Table]:
        """Return what a table's checks have to come from: all above it, but where it is made below them."""
        seen, waiting = {table.name}, [*self._above(table)] if not self._is_made_below(table) else []
        while waiting:
            name = waiting.pop()
            above = self._by_name.get(name)
            if above is not None and name not in seen:
                seen.add(name)
                yield above
                waiting += self._above(above)

    def _is_made_below(self, table: Table) -> bool:
        """Whether a table can be made as the child it is: its columns begin with those of its parents, in their order."""
        parents = [self._by_name.get(name) for name in table.inherits]
        first: dict[str, None] = {}
        for parent in parents:
            if parent is None or parent is table:
                return False
            first.update(dict.fromkeys(column.name for column in parent.columns))
        return bool(parents) and [*first] == [column.name for column in table.columns][: len(first)]

    def _family(self) -> Iterator[Statement]:
        """Make the tables that stand alone partitions and children."""
        for name, table in self._tables.items():
            if table.partition_of:
                yield from self._statement(
                    f"the place of {table.name} in {table.partition_of}", partial(_attached, table, name)
                )
            elif table.inherits and not self._is_made_below(table):
                for parent in table.inherits:
                    yield from self._statement(
                        f"what {table.name} inherits from {parent}", partial(_inherits, name, parent)
                    )

    # -- behind the rows ------------------------------------------------------------------------

    def _keys(self) -> Iterator[Statement]:
        for name in self._from_the_top():
            table = self._tables[name]
            keys = [(table.primary_key, True)] if table.primary_key else []
            for one, primary in (*keys, *((unique, False) for unique in table.unique)):
                what = f"the {'primary' if primary else 'unique'} key of {table.name}"
                yield from self._statement(what, partial(_key_added, name, one, primary=primary))
            for excludes in filter(is_exclusion, table.checks):
                yield from self._statement(_check_of(table, excludes), partial(_check_added, name, excludes))
            for made in table.indexes:
                what = f"the index {made.name} of {table.name}"
                yield from self._statement(what, partial(index, made, name))

    def _from_the_top(self) -> list[Name]:
        """Return partitioned tables before their partitions: their keys make those of the partitions."""
        wants = {
            name: {self._name("table", above) for above in self._above(table)}
            for name, table in self._tables.items()
        }
        return _ordered(self._tables, wants)

    def _references(self) -> Iterator[Statement]:
        for name, table in self._tables.items():
            for one in table.foreign_keys:
                other = self._name("table", one.references)
                key = one.name or f"({', '.join(one.columns)})"
                what = f"the foreign key {key} of {table.name} to {one.references}"
                yield from self._statement(what, partial(_reference_added, name, one, other))

    def _late_checks(self) -> Iterator[Statement]:
        for name, table in self._tables.items():
            for one in filter(is_later, table.checks):
                yield from self._statement(_check_of(table, one), partial(_check_added, name, one))
        for name, type_ in self._types.items():
            for one in filter(is_later, type_.checks):
                yield from self._statement(
                    _check_of(type_, one), partial(_check_added, name, one, verb="ALTER DOMAIN")
                )

    def _standing(self) -> Iterator[Statement]:
        """Give each sequence to its column, and let it go on where it stood."""
        bound_ones = set(self._of_identity.values())
        for name, one in self._sequences.items():
            if one.table and one not in bound_ones:
                yield from self._statement(f"the owner of {one.name}", partial(_owned, one, name))
            yield from self._statement(f"the value of {one.name}", partial(value_set, one))


@contextmanager
def _about(what: str) -> Iterator[None]:
    try:
        yield
    except NotWritten as exc:
        raise Refused(
            f"{what} in the rows file is nothing that PostgreSQL writes: it holds {exc}",
            state=UNTOUCHED,
            hint="where the file is yours, make it again with this version; otherwise load it nowhere",
        ) from exc


def _prove_schema(name: str) -> None:
    if name.startswith("pg_") or name == "information_schema":
        raise NotWritten("a name of the server's own")


def _schema_made(name: str) -> Part:
    _prove_schema(name)
    return joined(" ", plain("CREATE SCHEMA IF NOT EXISTS"), Part(identifier(name)))


def _check_of(holder: Table | UserType, one: Check) -> str:
    return f"the check {one.name} of {holder.name}"


def _ordered(names: Iterable[Name], wants: Mapping[Name, set[Name]]) -> list[Name]:
    """Return each behind those it wants; where they want each other, as they came."""
    found: dict[Name, None] = {}
    begun: set[Name] = set()
    known = set(names)
    waiting = [(name, False) for name in reversed(list(names))]
    while waiting:
        name, is_ready = waiting.pop()
        if is_ready:
            found.setdefault(name)
        elif name not in begun:
            begun.add(name)
            waiting.append((name, True))
            waiting += [(one, False) for one in sorted(wants.get(name, set()) & known, reverse=True)]
    return list(found)


def _altered(name: Name, how: str, *parts: Part, verb: str = "ALTER TABLE") -> Part:
    return joined(" ", plain(verb), Part(identifier(*name)), plain(how), *parts)


def _key_added(name: Name, one: Key, *, primary: bool) -> Part:
    return _altered(name, "ADD", key(one, primary=primary))


def _check_added(name: Name, one: Check, verb: str = "ALTER TABLE") -> Part:
    return _altered(name, "ADD", check(one), verb=verb)


def _reference_added(name: Name, one: ForeignKey, other: Name) -> Part:
    return _altered(name, "ADD", foreign_key(one, other))


def _attached(table: Table, name: Name) -> Part:
    above = split_name(table.partition_of)
    own = Part(identifier(*name), frozenset({Need(Kind.RELATION, *above)}))
    return _altered(above, "ATTACH PARTITION", own, bound(table.partition_bound), verb="ALTER TABLE ONLY")


def _inherits(name: Name, parent: str) -> Part:
    above = split_name(parent)
    return _altered(name, "INHERIT", Part(identifier(*above), frozenset({Need(Kind.RELATION, *above)})))


def _owned(sequence: Sequence, name: Name) -> Part:
    table = split_name(sequence.table)
    column = Part(identifier(*table, sequence.column), frozenset({Need(Kind.RELATION, *table)}))
    return _altered(name, "OWNED BY", column, verb="ALTER SEQUENCE")
