"""An older tool's rows document on its way into tables that are there: each value read by its column, all of them before anything is touched."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...errors import LoadFailed, Refused
from ...events import OnEvent, Progress
from ...models import Archive, Revision
from ...nouns import many
from ...rows.file import Header
from ...rows.older.file import OlderSource
from ...rows.older.values import NotTaken
from ...rows.schema import PortableSchema, Table
from .archive import Head, opened_older

__all__ = [
    "OlderTable",
    "named_here",
    "other_version",
    "prove_values",
    "read_rows",
    "refuse_without_tables",
    "tables_of",
    "without_computed",
]

UNTOUCHED = "nothing was touched"
LISTED = 20
NO_CHARACTER = "a text with a character that no database takes (U+0000, or half of one)"

ReadValue = Callable[[Any], Any]


@dataclass(frozen=True)
class OlderTable:
    """A table of the document, and how its rows are read."""

    name: str
    """Where they go."""
    columns: tuple[str, ...]
    """Those that are filled, in the document's order."""
    places: tuple[int, ...]
    """Where each of them stands in a row."""
    readers: tuple[ReadValue, ...]


def named_here(archive: Archive, head: Head, found: Mapping[str, Sequence[str]]) -> Head:
    """Return the head with the names of the tables that are there, by what was found for each of the document's.

    A table that is not there keeps its name.

    Raises:
        Refused: one name could be several tables, or two names are one.
    """
    names: dict[str, str] = {}
    for name in head.filled:
        here = found.get(name, ())
        if len(here) > 1:
            raise Refused(
                f"the table {name} of {archive.path.name} could be {' or '.join(sorted(here))}",
                hint="write the one that is meant into a copy of the file, with its schema",
                state=UNTOUCHED,
            )
        names[name] = here[0] if here else name
    if len(set(names.values())) < len(names):
        twice = next(name for name in names.values() if list(names.values()).count(name) > 1)
        raise Refused(f"two tables of {archive.path.name} are {twice} here", state=UNTOUCHED)
    tables = tuple(replace(table, name=names[table.name]) for table in head.schema.tables)
    return replace(
        head,
        schema=PortableSchema(tables=tables),
        filled=tuple(names[name] for name in head.filled),
        rows={names[name]: rows for name, rows in head.rows.items()},
        names=names,
    )


def without_computed(head: Head, live: PortableSchema) -> tuple[Head, tuple[str, ...]]:
    """Leave out what is computed here: an older tool wrote such columns too. Returns what is to be said of it."""
    computed = {
        table.name: {column.name for column in table.columns if column.generated} for table in live.tables
    }

    def kept(table: Table) -> Table:
        out = computed.get(table.name, set())
        return replace(table, columns=tuple(column for column in table.columns if column.name not in out))

    told = tuple(
        f"{table.name}.{column.name} is computed here: what the file has for it is left out"
        for table in head.schema.tables
        for column in table.columns
        if column.name in computed.get(table.name, ())
    )
    tables = tuple(map(kept, head.schema.tables))
    return replace(head, schema=replace(head.schema, tables=tables)), told


def tables_of(
    head: Head, live: PortableSchema, reader_of: Callable[[str], ReadValue]
) -> Callable[[Header], OlderTable | None]:
    """Return what says of a table of the document how it is read; None: it is none of those that are filled.

    `reader_of` takes a column's type; a type of which nothing is known raises NotTaken only for values that are not NULL.
    """
    types = {table.name: {column.name: column.type for column in table.columns} for table in live.tables}
    wanted = {table.name: {column.name for column in table.columns} for table in head.schema.tables}

    def table_of(header: Header) -> OlderTable | None:
        name = head.names.get(header.name)
        if name is None or name not in types:
            return None
        known = wanted[name] & types[name].keys()
        places = tuple(place for place, column in enumerate(header.columns) if column in known)
        columns = tuple(header.columns[place] for place in places)
        readers = tuple(_reader(reader_of, types[name][column]) for column in columns)
        return OlderTable(name, columns, places, readers)

    return table_of


def _reader(reader_of: Callable[[str], ReadValue], type_: str) -> ReadValue:
    try:
        return reader_of(type_)
    except NotTaken as exc:
        reason = str(exc)

    def refuse(value: Any) -> Any:
        del value
        raise NotTaken(reason)

    return refuse


def prove_values(archive: Archive, table_of: Callable[[Header], OlderTable | None]) -> None:
    """Read every value of the document as its column will.

    Raises:
        Refused: some are none of their column's type, or could be two things; names columns, rows and reasons.
        ArchiveDamaged: it is not whole.
    """
    misfits: dict[tuple[str, str], tuple[int, int]] = {}
    with opened_older(archive) as document:
        for header in document.headers():
            table = table_of(header)
            if table is None:
                continue
            for batch in document.rows():
                for number, row in enumerate(batch.rows, batch.first):
                    for where, reason in _misfits(table, row):
                        first, count = misfits.get((where, reason), (number, 0))
                        misfits[where, reason] = (first, count + 1)
    if misfits:
        lines = [
            f"{where}: {reason} (row {first:,}{f' and {count - 1:,} more' if count > 1 else ''})"
            for (where, reason), (first, count) in misfits.items()
        ]
        raise Refused(
            f"values of {archive.path.name} are none of their column's type, or could be two things: {lines[0]}",
            details="\n".join(lines[1:LISTED]),
            hint="docs/older-files.md lists what is taken; write these so in a copy of the file",
            state=UNTOUCHED,
        )


def _misfits(table: OlderTable, row: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for place, column, read in zip(table.places, table.columns, table.readers, strict=True):
        if row[place] is None:
            continue
        try:
            _whole_text(read(row[place]))
        except NotTaken as exc:
            yield f"{table.name}.{column}", str(exc)


def _whole_text(value: Any) -> Any:
    if isinstance(value, str) and ("\0" in value or not value.isascii()):
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise NotTaken(NO_CHARACTER) from exc
        if "\0" in value:
            raise NotTaken(NO_CHARACTER)
    return value


def read_rows(document: OlderSource, table: OlderTable, on_event: OnEvent) -> Iterator[list[list[Any]]]:
    """Yield the rows of the table whose header came last, each value as its column takes it.

    Raises:
        LoadFailed: one is not what it was when it was proved.
    """
    try:
        for batch in document.rows():
            yield [
                [
                    None if row[place] is None else _whole_text(read(row[place]))
                    for place, read in zip(table.places, table.readers, strict=True)
                ]
                for row in batch.rows
            ]
            on_event(Progress(document.size_bytes))
    except NotTaken as exc:
        raise LoadFailed(f"rows of {table.name} do not go in: {exc}") from exc


def refuse_without_tables(archive: Archive, into: str, *, there: Collection[str]) -> None:
    """Refuse a document that does not say what its tables are where none are.

    Raises:
        Refused: there are none.
    """
    if not there:
        raise Refused(
            f"{into} has no tables, and {archive.path.name} does not say what they are: an older tool wrote it",
            hint="set schema_command to what makes them, such as alembic upgrade head (it is run where nothing else"
            " is), or make them first",
            state=UNTOUCHED,
        )


def other_version(archive: Archive, head: Head, live: Revision | None) -> tuple[str, ...]:
    """Warn where the file is of another migration than the tables."""
    said = head.migration_version
    if not said or live is None or said in live.revisions or said == ", ".join(live.revisions):
        return ()
    here = ", ".join(live.revisions) or "none"
    return (
        f"{archive.path.name} says that it is of migration {said}, and the definitions here are of {live.tool}'s"
        f" revision {here}: they stay so; {many(len(head.filled), 'table')} of it fit",
    )
