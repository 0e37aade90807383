"""A portable schema of SQLite becomes one again, of its own words: each proved to be one statement that makes one thing.

The words come from a file. They are tried in a database in memory first, where
an authorizer lets nothing pass but the making of that table or index; and what
SQLite keeps of them there must be the same words.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from ...errors import LoadFailed, Refused
from ...events import OnEvent, Phase, ignore
from ...nouns import many
from ..losses import MAKE_ELSEWHERE, UNTOUCHED, Loss, prove_losses, refuse_taken
from ..schema import PortableSchema

__all__ = ["Made", "SqliteCreation", "creating", "plan_creation"]

LACKING = ("no such function", "no such collation sequence", "no such module", "unknown table option")
"""How SQLite says that it would know the words, and does not have what they name."""
MAKES = {"table": sqlite3.SQLITE_CREATE_TABLE, "index": sqlite3.SQLITE_CREATE_INDEX}
BOOKKEEPING = (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_READ)
"""What SQLite does to its own table when it makes something."""


@dataclass(frozen=True)
class Made:
    """One table or index, and its words."""

    kind: str
    name: str
    table: str
    definition: str

    def __str__(self) -> str:
        return f"the {self.kind} {self.name}"


@dataclass(frozen=True)
class SqliteCreation:
    """What makes a schema, in order."""

    tables: tuple[Made, ...]
    indexes: tuple[Made, ...]
    """Behind the rows."""
    numbers: tuple[tuple[str, int], ...] = ()
    """Tables with AUTOINCREMENT, and the last number that was given."""
    losses: tuple[Loss, ...] = ()


def plan_creation(connection: sqlite3.Connection, schema: PortableSchema) -> SqliteCreation:
    """Return what would make this schema in this file, and what of it would be lost; nothing is touched.

    Raises:
        Refused: its words are none that SQLite keeps, or something of one of its names is there.
    """
    _prove_free(connection, schema)
    losses: list[Loss] = []
    tables: list[Made] = []
    indexes: list[Made] = []
    with closing(_like(connection)) as trial:
        for table in schema.tables:
            whole = Made("table", table.name, table.name, table.definition)
            if not _tried(trial, whole, losses, holds_up=True):
                continue
            tables.append(whole)
            made = (Made("index", one.name, table.name, one.definition) for one in table.indexes)
            indexes += [one for one in made if _tried(trial, one, losses)]
        counting = trial.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone()
    numbers = tuple((one.table or one.name, one.last_value) for one in schema.sequences)
    if numbers and not (
        counting and {name for name, _ in numbers} <= {table.name for table in schema.tables}
    ):
        raise Refused("the rows file has a number for a table that does not count", state=UNTOUCHED)
    return SqliteCreation(tuple(tables), tuple(indexes), numbers, tuple(losses))


@contextmanager
def creating(
    connection: sqlite3.Connection,
    schema: PortableSchema,
    *,
    accept_losses: bool = False,
    on_event: OnEvent = ignore,
) -> Iterator[SqliteCreation]:
    """Make a schema around the loading of its rows: the block loads them, in the transaction that the caller opened.

    Inside it the tables are there, without indexes. When the block has ended well, these are made, and each AUTOINCREMENT
    goes on where it stood. After any failure the caller rolls back, and nothing is there.

    Raises:
        Refused: as `plan_creation`; or something would be lost, unless losses are accepted; lists all of it.
        LoadFailed: SQLite turned a statement down; names what it was to make.
    """
    creation = plan_creation(connection, schema)
    prove_losses(creation.losses, accepted=accept_losses, hint=MAKE_ELSEWHERE)
    on_event(Phase("create", many(len(creation.tables), "table")))
    for made in creation.tables:
        _make(connection, made)
    yield creation
    on_event(Phase("create", "indexes"))
    for made in creation.indexes:
        _make(connection, made)
    for name, number in creation.numbers:
        connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
        connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, number))


def _prove_free(connection: sqlite3.Connection, schema: PortableSchema) -> None:
    there = {str(name).lower() for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    wanted = [table.name for table in schema.tables]
    wanted += [index.name for table in schema.tables for index in table.indexes]
    taken = [name for name in wanted if name.lower() in there]
    refuse_taken(taken)


def _like(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return an empty database in memory that knows what the other one does not refuse: its limits."""
    trial = sqlite3.connect(":memory:", isolation_level=None)
    for limit in (sqlite3.SQLITE_LIMIT_COLUMN, sqlite3.SQLITE_LIMIT_SQL_LENGTH):
        trial.setlimit(limit, connection.getlimit(limit))
    return trial


def _tried(trial: sqlite3.Connection, made: Made, losses: list[Loss], *, holds_up: bool = False) -> bool:
    try:
        _run(trial, made)
    except sqlite3.OperationalError as exc:
        if not str(exc).startswith(LACKING):
            raise _crafted(made, str(exc)) from exc
        losses.append(Loss(str(made), f"needs what is not there: {exc}", holds_up))
        return False
    except (sqlite3.Error, sqlite3.Warning, ValueError) as exc:
        raise _crafted(made, str(exc)) from exc
    kept = trial.execute(
        "SELECT type, tbl_name, sql FROM sqlite_master WHERE name = ?", (made.name,)
    ).fetchall()
    if kept != [(made.kind, made.table, made.definition)]:
        raise _crafted(made, "it makes something else than it is called")
    return True


def _make(connection: sqlite3.Connection, made: Made) -> None:
    try:
        _run(connection, made)
    except sqlite3.Error as exc:
        raise LoadFailed(f"{made} cannot be made: {exc}") from exc


def _run(connection: sqlite3.Connection, made: Made) -> None:
    """Run one statement, which can do nothing but make this."""
    connection.set_authorizer(_only(made))
    try:
        # takes one statement, and raises where there are more
        connection.execute(made.definition)
    finally:
        connection.set_authorizer(None)


def _only(made: Made) -> Callable[[int, str | None, str | None, str | None, str | None], int]:
    """Return an authorizer that lets this table or index be made, and SQLite keep its own books."""
    is_table = made.kind == "table"
    own = {(MAKES[made.kind], made.name), (sqlite3.SQLITE_REINDEX, made.name)}
    if is_table:
        own.add((sqlite3.SQLITE_CREATE_TABLE, "sqlite_sequence"))

    def judge(act: int, name: str | None, _: str | None, database: str | None, __: str | None) -> int:
        fine = database == "main" and (
            (act, name) in own
            or (act in BOOKKEEPING and name == "sqlite_master")
            or (act == sqlite3.SQLITE_READ and name == made.table)
            or (is_table and act == sqlite3.SQLITE_CREATE_INDEX and str(name).startswith("sqlite_autoindex_"))
        )
        # a function that does more than compute SQLite itself keeps out of every definition
        return sqlite3.SQLITE_OK if fine or act == sqlite3.SQLITE_FUNCTION else sqlite3.SQLITE_DENY

    return judge


def _crafted(made: Made, why: str) -> Refused:
    return Refused(
        f"{made} in the rows file is nothing that SQLite keeps: {why}",
        state=UNTOUCHED,
        hint="where the file is yours, make it again with this version; otherwise load it nowhere",
    )
