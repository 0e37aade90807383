"""The live databases whose restores are killed: what they hold, told by one checksum, and moments to kill at.

Two locks of the server's own make an exchange of names stop where a kill
matters most: a comment that is not committed holds the database it is about
against being renamed, and against being commented on.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg2

from tests.conftest import Project
from tests.fix_docker import Box
from tests.fix_postgres import PgDatabase

from .bank import TABLES
from .places import ContainerPlace, HostPlace, SqlitePlace

__all__ = ["COLOURS", "ContainerLive", "HostLive", "Live", "SqliteLive", "State"]

COLOURS = ("red", "blue")
"""Names of the two backups' states."""
MORE = (
    "CREATE TABLE mark (n integer PRIMARY KEY)",
    "CREATE TABLE colour (name text NOT NULL)",
    "INSERT INTO colour VALUES ('none')",
)
ALL = (*TABLES, "mark", "colour")
GoesOn = Callable[[], bool]
PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class State:
    """What a database is, in two checksums."""

    contents: str
    """Of its definitions and every row."""
    settings: str = ""
    """Of what belongs to the database itself: owner, privileges, settings, comment."""


class Live(Protocol):
    """A live database, and how its restores are killed."""

    project: Project
    name: str
    """What --confirm is given."""
    restores: tuple[tuple[str, ...], ...]
    """Flags of db.restore, one of them per run."""
    moments: tuple[str, ...]
    """Where `at` can wait for a run."""

    def state(self) -> State:
        """Read everything there is."""

    def paint(self, colour: str) -> None:
        """Make it one of the two states that are backed up."""

    def mark(self, number: int) -> None:
        """Write as an application does; from then on it is like no state before."""

    def beside(self) -> set[str]:
        """Return what lies beside it because of our restores."""

    def at(self, moment: str, incoming: str) -> contextlib.AbstractContextManager[Callable[[GoesOn], object]]:
        """Prepare to meet a run there; the result waits for it. `incoming`: the kept database that gets the live name."""

    def left(self) -> list[str]:
        """Return what runs or lies elsewhere because of our runs."""


class SqliteLive(SqlitePlace):
    """A file that an application has open."""

    restores = ((),)
    moments = ("the copy has begun",)

    def __init__(self, project: Project, journal: str) -> None:
        super().__init__(project, journal)
        self.name = self.path.name
        self.transaction(MORE)

    def state(self) -> State:
        # opened for writing, as an application does it: a hot journal is rolled back
        with closing(sqlite3.connect(self.path, timeout=PATIENCE_SECONDS)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            return State(hashlib.sha256("\n".join(connection.iterdump()).encode()).hexdigest())

    def paint(self, colour: str) -> None:
        _paint(self.transaction, colour)

    def mark(self, number: int) -> None:
        self.transaction((f"INSERT INTO mark VALUES ({number})",))

    def beside(self) -> set[str]:
        return {str(path) for path in self.project.root.glob(".*.draft")} | {
            str(path) for path in self.project.root.glob("app.db__before_*")
        }

    @contextlib.contextmanager
    def at(self, moment: str, incoming: str) -> Iterator[Callable[[GoesOn], object]]:
        files = [self.path.with_name(f"{self.path.name}{suffix}") for suffix in ("-journal", "-wal")]
        before = [_size(path) for path in files]

        def wait(goes_on: GoesOn) -> None:
            # without a pause: the copy takes some milliseconds
            while [_size(path) for path in files] == before and goes_on():
                pass

        yield wait


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _paint(transaction: Callable[[tuple[str, ...]], None], colour: str) -> None:
    # the one has half the papers, the other an index more: neither looks like a half of the other
    odd = COLOURS.index(colour)
    transaction(
        (
            f"UPDATE colour SET name = '{colour}'",
            f"DELETE FROM paper WHERE id % 2 = {odd} AND id > {odd * 10_000}",
            f"UPDATE account SET balance = balance + {odd + 1}",
            f"CREATE INDEX paper_{colour} ON paper (body)",
            "DELETE FROM mark",
        )
    )


CONTENTS = """
    SELECT md5(string_agg(line, chr(10) ORDER BY line)) FROM (
        {rows}
        SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) || convalidated FROM pg_constraint
                  WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT attrelid::regclass || ' ' || attnum || ' ' || attname || ' ' || atttypid::regtype || attnotnull
                  FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
                  WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') AND attnum > 0) AS all_ (line)
""".format(rows="\n".join(f"SELECT '{table} ' || t::text FROM {table} t UNION ALL" for table in ALL))
SETTINGS = """
    SELECT concat_ws(' | ', pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datconnlimit, datallowconn,
                     shobj_description(oid, 'pg_database'),
                     (SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(datacl) a),
                     (SELECT string_agg(setrole || array_to_string(setconfig, ','), ',' ORDER BY setrole)
                      FROM pg_db_role_setting WHERE setdatabase = d.oid))
    FROM pg_database d WHERE datname = current_database()
"""
WAITS = """
    SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'object' AND classid = 'pg_database'::regclass
"""
MARKED = """
    SELECT datname FROM pg_database d WHERE datname LIKE %s AND shobj_description(oid, 'pg_database') LIKE 'dbtasks:%%'
"""


ENDED = ("terminating connection", "server closed the connection")


class _PostgresLive:
    """What the two ways to a server have in common; mixed into a place that knows how to connect."""

    name: str
    restores = ((), ("--drop-old",), ("--skip-analyze",), ("--in-place",), ("--in-place",))
    moments = ("before the first name", "between the two names", "behind the second name")

    _run: Callable[..., list[tuple[Any, ...]]]
    _connect: Callable[..., Any]
    transaction: Callable[[tuple[str, ...]], None]

    def _prepare(self) -> None:
        """Give the database what a dump of it leaves out."""
        self._run(*MORE)
        name, owner = self.name, f"keeper_of_{self.name}"
        self._run(
            f"CREATE ROLE {owner}; ALTER DATABASE {name} OWNER TO {owner}",
            f"COMMENT ON DATABASE {name} IS 'the shop''s'; ALTER DATABASE {name} CONNECTION LIMIT 40",
            f"REVOKE ALL ON DATABASE {name} FROM PUBLIC; GRANT CONNECT ON DATABASE {name} TO {owner}",
            f"ALTER ROLE {owner} IN DATABASE {name} SET statement_timeout TO '7min'",
        )

    def state(self) -> State:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                ((contents,),) = self._run(f"SET statement_timeout = '{PATIENCE_SECONDS}s'", CONTENTS)
                ((settings,),) = self._run(SETTINGS)
                return State(contents, settings)
            except psycopg2.OperationalError as exc:
                # what a killed run has begun to end sessions with may still do so for a moment; its last word
                # is lost where the socket is closed before it was read
                if not any(word in str(exc) for word in ENDED) or time.monotonic() > deadline:
                    raise

    def paint(self, colour: str) -> None:
        _paint(self.transaction, colour)

    def mark(self, number: int) -> None:
        self._run(
            f"INSERT INTO mark VALUES ({number})",
            f"ALTER DATABASE {self.name} SET work_mem TO '{1000 + number}kB'",
        )

    def beside(self) -> set[str]:
        names = self._run("SELECT datname FROM pg_database", database="postgres")
        return {name for (name,) in names if name.startswith(f"{self.name}__")}

    def at(self, moment: str, incoming: str) -> contextlib.AbstractContextManager[Callable[[GoesOn], object]]:
        if moment == "behind the second name":
            return self._behind()
        return self._held(self.name if moment == "before the first name" else incoming)

    @contextlib.contextmanager
    def _behind(self) -> Iterator[Callable[[GoesOn], object]]:
        asked = f"SELECT oid FROM pg_database WHERE datname = '{self.name}'"
        with closing(self._connect("postgres")) as connection, connection.cursor() as cursor:
            connection.autocommit = True

            def oid() -> Any:
                cursor.execute(asked)
                return cursor.fetchall()

            before = oid()

            def wait(goes_on: GoesOn) -> None:
                while oid() == before and goes_on():
                    pass

            yield wait

    @contextlib.contextmanager
    def _held(self, database: str) -> Iterator[Callable[[GoesOn], object]]:
        """Hold a database, at once or as soon as the restore has made it, until somebody waits for it."""
        with closing(self._connect("postgres")) as connection, connection.cursor() as cursor:
            connection.autocommit = True

            def ask(query: str, *parameters: str) -> list[tuple[Any, ...]]:
                cursor.execute(query, parameters or None)
                return list(cursor.fetchall())

            def hold(name: str) -> None:
                cursor.execute("BEGIN")
                cursor.execute(f"COMMENT ON DATABASE \"{name}\" IS 'held'")

            if database:
                hold(database)

            def wait(goes_on: GoesOn) -> None:
                made = [(database,)] if database else []
                while not made and goes_on():
                    if made := ask(MARKED, f"{self.name}\\_\\_new\\_%"):
                        hold(made[0][0])
                while goes_on() and ask(WAITS) == [(0,)]:
                    time.sleep(0.002)

            yield wait


class HostLive(_PostgresLive, HostPlace):
    """A server and its own client tools on this machine."""

    def __init__(self, project: Project, database: PgDatabase) -> None:
        super().__init__(project, database)
        self.name = database.name
        self._prepare()


class ContainerLive(_PostgresLive, ContainerPlace):
    """A server in a container and its client tools in there; none on this machine."""

    def __init__(self, project: Project, box: Box) -> None:
        super().__init__(project, box)
        self.name = box.database
        self._prepare()
