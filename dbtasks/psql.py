"""A session over a psql that is held open where the server is: SQL without a published port.

Every query comes back as one JSON object per row, so that numbers, booleans,
arrays and nulls arrive as what they are. After each statement psql tells its
own ERROR and SQLSTATE behind a marker nobody can guess.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Protocol

from .errors import (
    Busy,
    CommandFailed,
    DatabaseMissing,
    DbTasksError,
    LoginRefused,
    QueryFailed,
    RightMissing,
    TargetUnreachable,
)
from .runners import Command

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from .sessions import Parameters, Query

__all__ = ["Held", "Interactive", "PsqlSession", "connect_psql", "literal", "query_error", "render"]

ARGUMENTS = ("-X", "-A", "-t", "-q", "-w", "-v", "ON_ERROR_STOP=0", "-v", "VERBOSITY=terse")
SELECTS = ("select", "with", "values", "table")


class Held(Protocol):
    """The ends of a psql that is held open."""

    def write(self, data: bytes, /) -> object:
        """Send bytes."""

    def flush(self) -> None:
        """Send what is held back."""

    def read_line(self) -> bytes:
        """Return the next line of its output."""

    @property
    def said(self) -> str:
        """The tail of its stderr."""

    def kill(self) -> None:
        """End it now, from any thread."""


class Interactive(Protocol):
    """A runner that can hold a tool open."""

    def writing(self, command: Command, *, output: bool = False) -> AbstractContextManager[Held]:
        """Run a tool and yield both its ends."""


class PsqlSession:
    """A session over psql; see `sessions.Session` for the contract."""

    def __init__(self, psql: Held, database: str) -> None:
        self._psql = psql
        self._database = database
        self._marker = secrets.token_hex(12)

    def rows(self, query: Query, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """Run a query and return all its rows."""
        text = render(query, parameters).strip().rstrip(";")
        if text.split(None, 1)[0].lower() not in SELECTS:
            return [(line,) for line in self._ask(text)]
        # our own query, already rendered, as a subquery
        wrapped = f'SELECT pg_catalog.row_to_json("dbtasks row") FROM ({text}\n) AS "dbtasks row"'  # noqa: S608
        return [_values(line) for line in self._ask(wrapped)]

    def execute(self, query: Query, parameters: Parameters = ()) -> None:
        """Run a statement."""
        self._ask(render(query, parameters).strip().rstrip(";"))

    def cancel(self) -> None:
        """End the psql, and with it the query another thread is waiting for."""
        self._psql.kill()

    def _ask(self, text: str) -> list[str]:
        mark = self._marker
        tail = f"\n;\n\\echo {mark} :ERROR :SQLSTATE\n\\echo :LAST_ERROR_MESSAGE\n\\echo {mark}\n"
        try:
            self._psql.write(text.encode() + tail.encode())
            self._psql.flush()
        except CommandFailed as exc:
            raise self._gone(exc.details) from exc
        lines, end = self._until_mark()
        message, _ = self._until_mark()
        _, failed, state = end.split()
        if failed == "true":
            raise query_error(self._database, state, "\n".join(message))
        return lines

    def _until_mark(self) -> tuple[list[str], str]:
        lines: list[str] = []
        while line := self._psql.read_line():
            text = line.decode().rstrip("\n")
            if text.startswith(self._marker):
                return lines, text
            lines.append(text)
        raise self._gone(self.last_words())

    def last_words(self) -> str:
        """Return what a psql that ended, or is about to, said last; complete only once it has ended."""
        for _ in range(50):
            try:
                self._psql.write(b"\n")
                self._psql.flush()
            except CommandFailed as exc:
                return exc.details
            time.sleep(0.02)
        return self._psql.said

    def _gone(self, said: str) -> TargetUnreachable:
        return TargetUnreachable(f"the psql held open for {self._database} ended", details=said)


@contextmanager
def connect_psql(
    runner: Interactive,
    database: str,
    *,
    user: str,
    env: Mapping[str, Any],
    prepare: tuple[Query, Parameters],
) -> Iterator[PsqlSession]:
    """Hold a psql open on a database; it ends with the block, whatever it was doing.

    Raises:
        LoginRefused, DatabaseMissing, TargetUnreachable: it did not get in.
    """
    command = Command("psql", (*ARGUMENTS, "-U", user, "-d", _conninfo(database)), env)
    try:
        with runner.writing(command, output=True) as psql:
            session = PsqlSession(psql, database)
            session.rows("SELECT 1")
            session.execute(*prepare)
            yield session
    except TargetUnreachable as exc:
        raise _entry_error(exc, database) from exc


def _conninfo(database: str) -> str:
    """Say the name as a keyword: psql takes a bare name with an equals sign for a connection string."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def _entry_error(exc: TargetUnreachable, database: str) -> DbTasksError:
    said = exc.details
    if f'database "{database}" does not exist' in said:
        return DatabaseMissing(f"there is no database {database}", details=said)
    if "authentication" in said or "no password supplied" in said or "pg_hba" in said:
        return LoginRefused(f"the server refused the login for {database}", details=said)
    return exc


def query_error(database: str, state: str, said: str) -> DbTasksError:
    """Translate a server's refusal of a statement."""
    first = said.partition("\n")[0]
    if state == "42501":
        return RightMissing(f"{database}: {first}", details=said)
    if state == "55P03":
        return Busy(f"{database}: a lock was not given in time", details=said)
    if state in ("57P01", "57P02", "57P03"):
        return TargetUnreachable(f"the server ended the connection to {database}", details=said)
    return QueryFailed(f"{database}: {first}", sqlstate=state, details=said)


def _values(line: str) -> tuple[Any, ...]:
    # a row may have several columns of one name: pairs keep them all, in order
    pairs = json.loads(line, object_pairs_hook=list)
    return tuple(value for _, value in pairs)


def render(query: Query, parameters: Parameters = ()) -> str:
    """Return the text of a query with its parameters, as psycopg2 would send it.

    psycopg2 itself asks a live connection for its quoting, and there is none
    here; the server is ours to prepare with standard_conforming_strings on.
    """
    text = _composed(query)
    if not parameters:
        return text
    if isinstance(parameters, Mapping):
        return text % {name: literal(value) for name, value in parameters.items()}
    return text % tuple(literal(value) for value in parameters)


def _composed(query: Query) -> str:
    from psycopg2 import sql

    if isinstance(query, str):
        return query
    if isinstance(query, sql.Composed):
        return "".join(_composed(part) for part in query.seq)
    if isinstance(query, sql.Identifier):
        return ".".join('"' + name.replace('"', '""') + '"' for name in query.strings)
    if isinstance(query, sql.Literal):
        return literal(query.wrapped)
    if isinstance(query, sql.Placeholder):
        return f"%({query.name})s" if query.name else "%s"
    return str(query.string)


def literal(value: Any) -> str:
    """Return a value as an SQL literal."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return f"ARRAY[{', '.join(literal(item) for item in value)}]" if value else "'{}'"
    if isinstance(value, tuple):
        return f"({', '.join(literal(item) for item in value)})"
    if isinstance(value, datetime | date):
        return literal(value.isoformat())
    text = str(value)
    if "\0" in text:
        raise QueryFailed("a text with a NUL character cannot be sent", sqlstate="22021")
    quoted = text.replace("'", "''")
    return f" E'{quoted.replace(chr(92), chr(92) * 2)}'" if "\\" in text else f"'{quoted}'"
