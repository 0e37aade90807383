"""A rows backup where no tables are: a new file is made of its words and rows, to be brought in like any backup."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from ....errors import ArchiveDamaged, DbTasksError, LoadFailed
from ....events import OnEvent, Progress, ignore
from ....models import Archive, EngineName
from ....rows.across.convert import cells_for_sqlite, rows_for_sqlite
from ....rows.schema import PortableSchema, Table
from ....rows.sqlite.create import creating, plan_creation
from ...rows.across import Converted, convert
from ...rows.archive import Head, head_of_rows, head_of_tables, opened_rows, prove_header
from .. import files
from ..check import private_folder_beside
from .create import prove_creation
from .file_numbers import set_numbers
from .fill import fill_tables
from .wide import insert_statement, insert_wide

__all__ = ["definitions_laid_open", "stage_rows", "stage_tables"]


def stage_rows(archive: Archive, staged: Path, on_event: OnEvent) -> Collection[str] | None:
    """Make a file of a rows backup, on disk to its last byte.

    Returns whose rows it has, where these are not all: whether others refer to the rest, it cannot show.

    Raises:
        Refused, LoadFailed, ArchiveDamaged, CountsDiffer, StoreFull: it cannot be made.
    """
    head = head_of_rows(archive)
    converted = convert(archive, head, EngineName.SQLITE)
    with _made(staged, converted.head.schema if converted else head.schema, on_event) as connection:
        if converted:
            _fill_across(connection, converted, head, archive, on_event)
        else:
            fill_tables(connection, head.filled, head, archive, on_event)
            set_numbers(connection, archive)
    if archive.manifest and archive.manifest.all_tables:
        return None
    return converted.head.filled if converted else head.filled


@contextmanager
def definitions_laid_open(archive: Archive, names: Sequence[str]) -> Iterator[Path]:
    """Yield a file with the tables of a rows backup, empty, for a block; what single tables of it would become is seen there.

    Raises:
        Refused: one of these tables cannot be made here; names what it calls for.
    """
    head = head_of_tables(archive, names)
    prove_creation(replace(head, schema=_those(head.schema, names)))
    with private_folder_beside(archive.path.parent) as folder:
        staged = folder / "tables"
        with _made(staged, _makeable(head.schema), ignore):
            pass
        yield staged


def stage_tables(archive: Archive, names: Sequence[str], staged: Path, on_event: OnEvent) -> frozenset[str]:
    """Make a file of a rows backup's tables, with the rows of these and of those that they refer to.

    Returns which of the latter, folded, have no rows in the file although they may have had some: a row of these tables
    that finds no counterpart there may have had one.

    Raises:
        As `stage_rows`.
    """
    head = head_of_tables(archive, names)
    schema = _makeable(head.schema)
    parents = _referred(schema, names)
    made = {table.name for table in schema.tables}
    held = [name for name in head.filled if name in made and (name in names or files.folded(name) in parents)]
    # that the others are made too, empty, is nobody's business
    with _made(staged, schema, ignore) as connection:
        fill_tables(connection, held, head, archive, on_event, only=True)
    return parents - {files.folded(name) for name in (*held, *_never_there(archive, head, parents))}


def _referred(schema: PortableSchema, names: Sequence[str]) -> frozenset[str]:
    wanted = (table for table in schema.tables if table.name in names)
    return frozenset(files.folded(key.references) for table in wanted for key in table.foreign_keys)


def _never_there(archive: Archive, head: Head, parents: Iterable[str]) -> list[str]:
    """Return those that were no tables when the backup was made: it holds all that were there, and not these."""
    there = {files.folded(table.name) for table in head.schema.tables}
    whole = archive.manifest is not None and archive.manifest.all_tables
    return [name for name in parents if whole and name not in there]


def _those(schema: PortableSchema, names: Sequence[str]) -> PortableSchema:
    return PortableSchema(tables=tuple(table for table in schema.tables if table.name in names))


def _makeable(schema: PortableSchema) -> PortableSchema:
    """Leave out what this SQLite cannot make: it stands in nobody's way but its own."""
    with closing(sqlite3.connect(":memory:")) as nothing:
        creation = plan_creation(nothing, schema)
    made = {(one.kind, one.name) for one in (*creation.tables, *creation.indexes)}
    tables = tuple(
        replace(table, indexes=tuple(one for one in table.indexes if ("index", one.name) in made))
        for table in schema.tables
        if ("table", table.name) in made
    )
    names = {table.name for table in tables}
    return PortableSchema(
        tables=tables, sequences=tuple(one for one in schema.sequences if (one.table or one.name) in names)
    )


@contextmanager
def _made(staged: Path, schema: PortableSchema, on_event: OnEvent) -> Iterator[sqlite3.Connection]:
    """Make a file with these tables around the block that fills them; it is whole and on disk behind it."""
    os.close(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with files.translated(staged), files.opened(staged, "rw") as connection:
            # nobody knows of the file: it is synced once, when it is whole
            connection.executescript(
                "PRAGMA synchronous=OFF; PRAGMA foreign_keys=OFF; PRAGMA trusted_schema=OFF"
            )
            connection.execute("BEGIN")
            with creating(connection, schema, on_event=on_event):
                yield connection
            connection.execute("COMMIT")
    except DbTasksError as exc:
        exc.state = exc.state or "nothing was touched"
        raise
    with staged.open("rb+") as stream:
        os.fsync(stream.fileno())


def _fill_across(
    connection: sqlite3.Connection, converted: Converted, head: Head, archive: Archive, on_event: OnEvent
) -> None:
    """Bring in the rows of a PostgreSQL backup, each value as SQLite holds it."""
    with opened_rows(archive) as document:
        for header in document.headers():
            prove_header(archive, head, header)
            hows = converted.hows[header.name]
            insert = insert_statement(converted.names[header.name], header.columns)
            with closing(document.rows(Table(header.name))) as batches:
                for batch in batches:
                    try:
                        if (cells := batch.cells()) is not None:
                            made = cells_for_sqlite(cells, hows)
                            insert_wide(connection, converted.names[header.name], header.columns, made)
                        else:
                            connection.executemany(insert, rows_for_sqlite(batch, hows))
                    except sqlite3.IntegrityError as exc:
                        raise LoadFailed(f"rows of {header.name} do not go in: {exc}") from exc
                    except (
                        ValueError,
                        TypeError,
                        AttributeError,
                        ArithmeticError,
                        RecursionError,
                        sqlite3.InterfaceError,
                        sqlite3.ProgrammingError,
                    ) as exc:
                        raise ArchiveDamaged(
                            f"{archive.path.name}: a row of {header.name} cannot be read", details=str(exc)
                        ) from exc
                    on_event(Progress(document.size_bytes))
