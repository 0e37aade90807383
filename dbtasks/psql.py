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
from contextlib import ExitStack, contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

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
from .row_values import without_rows
from .runners import Command, CommandInput, Runner
from .schemas import quoted

if TYPE_CHECKING:
    from .sessions import Parameters, Query

__all__ = ["PsqlSession", "connect_psql", "literal", "query_error", "render"]

ARGUMENTS = ("-X", "-A", "-t", "-q", "-w", "-v", "ON_ERROR_STOP=0", "-v", "VERBOSITY=terse")
NOT_NOW = ("starting up", "shutting down", "in recovery mode", "not yet accepting", "too many clients")
SELECTS = ("select", "with", "values", "table")


class PsqlSession:
    """A session over psql; see `sessions.Session` for the contract."""

    def __init__(self, psql: CommandInput, database: str) -> None:
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
        described = self._ask(text, end="\\gdesc")
        # JSON has no word for an oid but a text's
        oids = {i for i, line in enumerate(described) if line.rpartition("|")[2] == "oid"}
        return [_values(line, oids) for line in self._ask(wrapped)]

    def execute(self, query: Query, parameters: Parameters = ()) -> None:
        """Run a statement."""
        self._ask(render(query, parameters).strip().rstrip(";"))

    def cancel(self) -> None:
        """End the psql, and with it the query another thread is waiting for."""
        self._psql.kill()

    def _ask(self, text: str, *, end: str = ";") -> list[str]:
        mark = self._marker
        tail = f"\n{end}\n\\echo {mark} :ERROR :SQLSTATE\n\\echo :LAST_ERROR_MESSAGE\n\\echo {mark}\n"
        try:
            self._psql.write(text.encode() + tail.encode())
            self._psql.flush()
        except CommandFailed as exc:
            raise self._gone(exc.last_words) from exc
        lines, outcome = self._until_mark()
        message, _ = self._until_mark()
        _, failed, *code = outcome.split()
        if failed == "true":
            if not code:
                # psql itself gave up: the connection is gone, and no server named the reason
                raise self._gone("\n".join(message) or self._psql.said)
            (state,) = code
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
                return exc.last_words
            time.sleep(0.02)
        return self._psql.said

    def _gone(self, said: str) -> TargetUnreachable:
        return TargetUnreachable(f"the psql held open for {self._database} ended", details=said)


@contextmanager
def connect_psql(
    runner: Runner,
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
    with ExitStack() as stack:
        try:
            psql = stack.enter_context(runner.writing(command, output=True))
            session = PsqlSession(psql, database)
            session.rows("SELECT 1")
            session.execute(*prepare)
        except TargetUnreachable as exc:
            raise _entry_error(exc, database, user, runner.where) from exc
        yield session


def _conninfo(database: str) -> str:
    """Say the name as a keyword: psql takes a bare name with an equals sign for a connection string."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def _entry_error(exc: TargetUnreachable, database: str, user: str, where: str) -> DbTasksError:
    """Tell apart, by psql's words alone, why it did not get in."""
    said, text = exc.details, exc.details.lower()
    if any(sign in text for sign in NOT_NOW):
        return TargetUnreachable(
            f"the server in {where} takes no connections now",
            details=said,
            hint="try again, or give it time: --wait=30",
        )
    if f'database "{database.lower()}" does not exist' in text:
        return DatabaseMissing(
            f"there is no database {database} in {where}",
            details=said,
            hint="check its name in the url; db.restore makes a database that is missing",
        )
    if "permission denied for database" in text:
        return RightMissing(f"the role may not connect to the database {database} in {where}", details=said)
    if any(sign in text for sign in ("fatal:", "authentication", "no password supplied", "pg_hba")):
        return LoginRefused(
            f"the server in {where} refused the login of {user}",
            details=said,
            hint="check user and password; a container's POSTGRES_PASSWORD counts only when its volume is new:"
            " an older volume keeps the old password",
        )
    return TargetUnreachable(
        f"the server in {where} does not answer",
        details=said,
        hint="give it time: --wait=30",
    )


def query_error(database: str, state: str, said: str) -> DbTasksError:
    """Translate a server's refusal of a statement."""
    said = without_rows(said)
    first = said.partition("\n")[0]
    if state == "42501":
        return RightMissing(f"{database}: {first}", details=said)
    if state == "55P03":
        return Busy(f"{database}: a lock was not given in time", details=said)
    if state in ("57P01", "57P02", "57P03"):
        return TargetUnreachable(f"the server ended the connection to {database}", details=said)
    return QueryFailed(f"{database}: {first}", sqlstate=state, details=said)


def _values(line: str, oids: set[int]) -> tuple[Any, ...]:
    # a row may have several columns of one name: pairs keep them all, in order
    pairs = json.loads(line, object_pairs_hook=_Pairs)
    return tuple(int(v) if i in oids and v is not None else _plain(v) for i, (_, v) in enumerate(pairs))


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it was written: in order, no name lost."""


def _plain(value: Any) -> Any:
    """Turn objects inside a row, such as a row_to_json of its own, into dicts."""
    if isinstance(value, _Pairs):
        return {name: _plain(inner) for name, inner in value}
    return [_plain(item) for item in value] if isinstance(value, list) else value


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
        return quoted(*query.strings)
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
