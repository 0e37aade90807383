"""Rows of an older tool's document into tables of PostgreSQL that are there: looked up, proved value by value, and copied in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ....events import OnEvent
from ....models import Archive
from ....rows.file import Header
from ....rows.lines import ESCAPED
from ....rows.older.to_postgres import Reader, reader_for
from ....rows.postgres.schema import describe
from ....rows.schema import PortableSchema
from ....sessions import PsycopgSession, Session
from ...rows.archive import Head, opened_older
from ...rows.filling import none_of_its_tables, prove_all_came, prove_rows_came
from ...rows.older import (
    OlderTable,
    named_here,
    prove_values,
    read_rows,
    refuse_without_tables,
    tables_of,
    without_computed,
)
from ..facts import COUNTED, INSIDE, PARTITIONED, Relation, relations
from ..server import Server
from .copy import add_bare_rows, copy_rows

__all__ = ["fill_older", "place_older", "prove_older", "stranger_rows"]


def place_older(session: Session, archive: Archive, head: Head) -> tuple[Head, tuple[str, ...]]:
    """Look the document's tables up: by `schema.table`, or by a name that one table alone has.

    Returns the head with the names that are here, without columns that are computed here, and what is to be said of these.

    Raises:
        Refused: no tables are there, or one could be several.
    """
    here = [r for r in relations(session) if r.kind in (*COUNTED, INSIDE, PARTITIONED)]
    refuse_without_tables(archive, _database(session), there=[str(relation) for relation in here])
    found = {name: sorted({str(r) for r in here if name in (str(r), r.name)}) for name in head.filled}
    placed = named_here(archive, head, found)
    return without_computed(placed, _described(session, placed))


def _database(session: Session) -> str:
    ((name,),) = session.rows("SELECT pg_catalog.current_database()::text AS name")
    return str(name)


def _described(session: Session, head: Head) -> PortableSchema:
    wanted = set(head.filled)
    oids = [r.oid for r in relations(session) if str(r) in wanted and r.kind in (*COUNTED, INSIDE)]
    return describe(session, oids).schema


def _table_of(session: Session, head: Head) -> Callable[[Header], OlderTable | None]:
    live = _described(session, head)
    types = {type_.name: type_ for type_ in live.types}

    def reader_of(type_: str) -> Reader:
        return reader_for(type_, types)

    return tables_of(head, live, reader_of)


def prove_older(session: Session, archive: Archive, head: Head) -> None:
    """Read every value as its column will; see `prove_values`."""
    prove_values(archive, _table_of(session, head))


def stranger_rows(archive: Archive, server: Server) -> tuple[str, ...]:
    """Say as whom somebody's rows are loaded. They are values in tables that are there: nothing of them is run."""
    if archive.is_ours or not server.powerful:
        return ()
    return (
        f"{archive.path.name} is somebody else's and is loaded as {server.role}, who may run programs on the server's"
        " machine: its values go in by COPY and nothing of it is run, but checks and computed columns of the tables"
        " run as that role; an ordinary role will do",
    )


def fill_older(
    session: PsycopgSession, filled: Sequence[Relation], head: Head, archive: Archive, on_event: OnEvent
) -> None:
    """Bring in every table of the document, in the caller's transaction.

    Raises:
        Refused: one is none of those that were emptied. CountsDiffer: other rows came than the document has.
        LoadFailed: a row does not go in.
    """
    waiting = {str(table): table for table in filled}
    # the types' names are to come whole, as they did for the plan
    session.rows("SELECT pg_catalog.set_config('search_path', '', false)")
    table_of = _table_of(session, head)
    session.execute("RESET search_path")
    with opened_older(archive) as document:
        for header in document.headers():
            table = table_of(header)
            relation = waiting.pop(table.name, None) if table else None
            if table is None or relation is None:
                raise none_of_its_tables(archive, header)
            came = _copy(session, relation, table, read_rows(document, table, on_event))
            prove_rows_came(archive, table.name, came, document.row_count)
    prove_all_came(archive, waiting)


def _copy(
    session: PsycopgSession, relation: Relation, table: OlderTable, batches: Iterator[list[list[Any]]]
) -> int:
    place = (relation.schema, relation.name)
    if not table.columns:
        count = sum(len(rows) for rows in batches)
        add_bare_rows(session, place, count)
        return count
    return copy_rows(session, place, table.columns, _csv(batches), told=table.name)


def _csv(batches: Iterable[list[list[Any]]]) -> Iterator[bytes]:
    for rows in batches:
        lines = (
            ",".join("null" if text is None else f'"{text.translate(ESCAPED)}"' for text in row)
            for row in rows
        )
        yield "".join(f"{line}\n" for line in lines).encode()
