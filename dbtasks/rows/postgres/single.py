"""Single tables of a portable schema: what is made for them alone, and as copies under other names. Pure.

What a partition or a child has from the table above it is told there alone:
one that comes without that table is told what it had.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ...errors import Refused
from ...schemas import quoted, table_name
from ..losses import UNTOUCHED
from ..schema import Check, Column, ForeignKey, Index, Key, PortableSchema, Table
from ..schema import Sequence as Numbers
from .create import statements_for
from .definitions import is_exclusion
from .spelling import LIMIT_BYTES, split_name
from .words import NotWritten, Words

__all__ = ["Called", "completed", "copied", "index_names", "lone", "partitions", "references", "sequences_of"]

Name = tuple[str, str]


def partitions(schema: PortableSchema, name: str) -> tuple[str, ...]:
    """Return a table's partitions, of all levels."""
    found: dict[str, None] = {}
    waiting = [name]
    while waiting:
        above = waiting.pop(0)
        below = [table.name for table in schema.tables if table.partition_of == above]
        waiting += [one for one in below if one not in found and one != name]
        found.update(dict.fromkeys(below))
    return tuple(found)


def references(table: Table) -> tuple[ForeignKey, ...]:
    """Return its foreign keys to other tables."""
    return tuple(key for key in table.foreign_keys if key.references != table.name)


def sequences_of(schema: PortableSchema, tables: Collection[str]) -> tuple[Numbers, ...]:
    """Return the sequences that belong to columns of these tables."""
    return tuple(one for one in schema.sequences if one.table in tables)


def index_names(table: Table) -> tuple[str, ...]:
    """Return the names of its indexes, those of keys too; each is in its table's schema."""
    keys = (*([table.primary_key] if table.primary_key else []), *table.unique)
    excluding = (one.name for one in table.checks if is_exclusion(one))
    names = (*(key.name for key in keys), *excluding, *(one.name for one in table.indexes))
    return tuple(name for name in names if name)


def completed(schema: PortableSchema, name: str, *, alone: bool) -> Table:
    """Return a table with the checks that it has from above; where it comes `alone` with the keys of its partitioned table too.

    How the server called the indexes of those nobody knows: they get names of their own.
    """
    table = _table(schema, name)
    by_name = {one.name: one for one in schema.tables}
    seen, waiting = {name}, [*_above(table)]
    while waiting:
        above = by_name.get(waiting.pop(0))
        if above is None or above.name in seen:
            continue
        seen.add(above.name)
        waiting += _above(above)
        known = {one.name for one in table.checks}
        theirs = [one for one in above.checks if " NO INHERIT" not in one.definition]
        more = tuple(one for one in theirs if one.name not in known and not is_exclusion(one))
        table = replace(table, checks=(*table.checks, *more))
        if alone and table.partition_of:
            table = _with_keys(table, above)
    return replace(table, partition_of="", partition_bound="") if alone else table


def _above(table: Table) -> tuple[str, ...]:
    return (table.partition_of,) if table.partition_of else table.inherits


def _with_keys(table: Table, above: Table) -> Table:
    key = above.primary_key and replace(above.primary_key, name="")
    return replace(
        table,
        primary_key=table.primary_key or key,
        unique=(*table.unique, *(replace(one, name="") for one in above.unique)),
        foreign_keys=(*table.foreign_keys, *above.foreign_keys),
        indexes=(*table.indexes, *(_index_of(table, one) for one in above.indexes)),
    )


def _index_of(table: Table, above: Index) -> Index:
    """Return an index of a partitioned table as one of a partition's own; what the server called it nobody knows."""
    place = _split(table.name)
    name = f"{place[1]}_{above.name}".encode()[:LIMIT_BYTES].decode(errors="ignore")
    with _read(above.name):
        return _index(above, Called(place, indexes={above.name: name}))


def lone(schema: PortableSchema, tables: Sequence[Table], there: Collection[Name] = ()) -> PortableSchema:
    """Return the schema of these tables alone, with the types and sequences they call for that are not there.

    A sequence whose own table is neither there nor among these comes without one.

    Raises:
        Refused: a text is none that PostgreSQL writes; names whose.
    """
    names = {table.name for table in tables}
    types = {_split(one.name): one for one in schema.types}
    for one in schema.types:
        if one.multirange:
            types[_split(one.multirange)] = one
    free = {_split(one.name): one for one in schema.sequences if one.table not in names}
    part = PortableSchema(tables=tuple(tables), sequences=sequences_of(schema, names))
    known = {*there}
    while True:
        needs = {(need.schema, need.name) for need in statements_for(part).needs} - known
        new = sorted(needs & (types.keys() | free.keys()))
        if not new:
            return part
        known.update(new)
        brought = [types[name] for name in new if name in types]
        numbers = [_with_its_table(free[name], there) for name in new if name in free]
        part = replace(
            part,
            types=tuple(dict.fromkeys((*part.types, *brought))),
            sequences=(*part.sequences, *numbers),
        )


def _with_its_table(one: Numbers, there: Collection[Name]) -> Numbers:
    if one.table and _split(one.table) not in there:
        return replace(one, table="", column="")
    return one


@dataclass(frozen=True)
class Called:
    """What a copy and all that is its own are called."""

    table: Name
    sequences: Mapping[str, Name] = field(default_factory=dict)
    """By their names in the backup."""
    indexes: Mapping[str, str] = field(default_factory=dict)


def copied(schema: PortableSchema, name: str, called: Called) -> PortableSchema:
    """Return the schema of a copy: an ordinary table without foreign keys, with sequences and indexes of its own.

    Raises:
        Refused: a text is none that PostgreSQL writes.
    """
    with _read(name):
        table = completed(schema, name, alone=True)
        text = table_name(*called.table)
        numbers = [
            replace(one, name=table_name(*called.sequences[one.name]), table=text)
            for one in sequences_of(schema, (name,))
        ]
        copy = replace(
            table,
            name=text,
            columns=tuple(_column(one, called) for one in table.columns),
            primary_key=table.primary_key and _key(table.primary_key, called),
            unique=tuple(_key(one, called) for one in table.unique),
            foreign_keys=(),
            checks=tuple(_check(one, called) for one in table.checks),
            indexes=tuple(_index(one, called) for one in table.indexes),
            partition_by="",
            inherits=(),
        )
    return PortableSchema(types=schema.types, tables=(copy,), sequences=(*numbers, *_shared(schema, name)))


def _shared(schema: PortableSchema, name: str) -> tuple[Numbers, ...]:
    return tuple(one for one in schema.sequences if one.table != name)


def _column(column: Column, called: Called) -> Column:
    if not column.default or not called.sequences:
        return column
    return replace(column, default=_respelt(column.default, called))


def _respelt(expression: str, called: Called) -> str:
    """Let an expression take numbers from the copy's own sequences."""
    own = {_split(old): new for old, new in called.sequences.items()}
    words = Words(expression).words
    for word, mark, kind in reversed([*zip(words, words[1:], words[2:], strict=False)]):
        if word.kind == "string" and mark.text == "::" and kind.name == "regclass":
            try:
                named = Words(word.text[1:-1].replace("''", "'"))
                old = named.qualified()
                named.end()
            except NotWritten:
                continue
            if old in own:
                text = quoted(*own[old]).replace("'", "''")
                expression = f"{expression[: word.start]}'{text}'{expression[word.end :]}"
    return expression


def _key(key: Key, called: Called) -> Key:
    return replace(key, name=called.indexes.get(key.name, ""))


def _check(check: Check, called: Called) -> Check:
    return replace(check, name=called.indexes[check.name]) if is_exclusion(check) else check


def _index(index: Index, called: Called) -> Index:
    words = Words(index.definition)
    words.expect("CREATE")
    unique = "UNIQUE " if words.accept("UNIQUE") else ""
    words.expect("INDEX")
    words.name()
    words.expect("ON")
    words.accept("ONLY")
    words.qualified()
    new = called.indexes[index.name]
    rest = index.definition[words.peek().start :]
    return Index(new, f"CREATE {unique}INDEX {quoted(new)} ON {quoted(*called.table)} {rest}")


def _table(schema: PortableSchema, name: str) -> Table:
    table = schema.table(name)
    if table is None:
        raise ValueError(f"no table {name}")
    return table


def _split(name: str) -> Name:
    with _read(name):
        return split_name(name)


@contextmanager
def _read(name: str) -> Iterator[None]:
    try:
        yield
    except NotWritten as exc:
        raise Refused(
            f"{name} in the rows file is nothing that PostgreSQL writes: it holds {exc}",
            state=UNTOUCHED,
            hint="where the file is yours, make it again with this version; otherwise load it nowhere",
        ) from exc
