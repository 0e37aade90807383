"""SQLite databases on their way into PostgreSQL: what a test needs to let some of them arrive."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dbtasks.engines.postgres.migration.arrive import arrive_live, arrive_new
from dbtasks.events import ignore
from dbtasks.models import PostgresTarget
from dbtasks.rows.across.profile import Profile
from dbtasks.rows.across.to_postgres import to_postgres
from dbtasks.rows.migration.arriving import Carried, Loading, Reject, TableProof
from dbtasks.rows.schema import PortableSchema, Table
from dbtasks.rows.sqlite.schema import quoted
from dbtasks.rows.sqlite.source import SqliteSource
from dbtasks.schemas import table_name
from dbtasks.sessions import connect
from tests.fix_postgres import PgDatabase

HOWS = {
    "character varying": "text",
    "character": "padded",
    "double precision": "double",
    "timestamp without time zone": "timestamp",
    "time without time zone": "time",
    "inet": "words",
}


@dataclass
class Arrived:
    """What came of it."""

    proofs: dict[str, TableProof] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)

    @property
    def ids(self) -> dict[str, list[int | str]]:
        """The rows that were left out, by table."""
        found: dict[str, list[int | str]] = {}
        for reject in self.rejects:
            found.setdefault(reject.table, []).append(reject.row_id)
        return {table: sorted(ids, key=str) for table, ids in found.items()}


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("BEGIN")
        yield connection


def known_of(connection: sqlite3.Connection, table: Table) -> dict[str, Profile]:
    """Know of each key that is one number how far it reaches, and nothing else: types are as declared."""
    key = table.primary_key.columns if table.primary_key else ()
    if len(key) != 1:
        return {}
    ((largest,),) = connection.execute(f"SELECT max({quoted(key[0])}) FROM {quoted(table.name)}")
    known = Profile()
    if isinstance(largest, int):
        known.add(largest)
    return {key[0]: known}


def chosen(
    connection: sqlite3.Connection, types: Mapping[str, str] | None = None
) -> tuple[PortableSchema, list[Carried]]:
    """Choose types as declared, but for those given by `table.column`."""
    names = [
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
        )
    ]
    source = SqliteSource(connection, names)
    profiles = {table.name: known_of(connection, table) for table in source.tables}
    mapped = to_postgres(source.schema, profiles)
    given = types or {}
    tables = []
    for table in mapped.schema.tables:
        columns_ = tuple(
            replace(column, type=given.get(f"{table.name}.{column.name}", column.type))
            for column in table.columns
        )
        tables.append(replace(table, columns=columns_))
    schema = replace(mapped.schema, tables=tuple(tables))
    by_name = {table.name: table for table in schema.tables}
    carried = []
    for name in names:
        table = source.schema.table(name)
        assert table is not None
        columns = [(column.name, column.type) for column in by_name[mapped.names[name]].columns]
        carried.append(carried_as(table, columns, mapped.names[name]))
    return schema, carried


def carried_as(table: Table, columns: list[tuple[str, str]], into: str = "") -> Carried:
    """Carry a table whole, into columns of these names and types."""
    return Carried(
        table,
        into or table_name("public", table.name),
        tuple(name for name, _ in columns),
        tuple(how_of(type_) for _, type_ in columns),
        tuple(type_ for _, type_ in columns),
        table.primary_key.columns if table.primary_key else (),
    )


def how_of(type_: str) -> str:
    name, _, arguments = type_.partition("(")
    base = HOWS.get(name, name)
    return (
        f"{base}:{arguments.removesuffix(')')}"
        if arguments and base in ("text", "padded", "numeric")
        else base
    )


def arrive(path: Path, database: PgDatabase, **how: Any) -> Arrived:
    """Let a SQLite file arrive in a database of the tests."""
    return arrived(path, database.target, **how)


def arrived(
    path: Path,
    target: PostgresTarget,
    *,
    types: Mapping[str, str] | None = None,
    live: bool = False,
    keep: bool = True,
    **how: Any,
) -> Arrived:
    """Let a SQLite file arrive, in one transaction that is committed if all of it went well."""
    found = Arrived()
    with opened(path) as connection, connect(target) as session:
        schema, carried = chosen(connection, types)
        session.execute("BEGIN")
        loading = Loading(on_reject=found.rejects.append, **how)
        if live:
            proofs = arrive_live(session, connection, carried, loading, ignore)
        else:
            proofs = arrive_new(session, connection, carried, schema, loading, ignore)
        session.execute("COMMIT" if keep else "ROLLBACK")
    found.proofs = {proof.table: proof for proof in proofs}
    return found
