"""Rows of SQLite on their way into one table of PostgreSQL, by COPY; where a row can fail it is found and named.

All of them go in one COPY. When it fails, or where rows may be left out, they go
in batches between savepoints, and a batch that fails is halved until one row is
left: the server itself says which it is, in any language.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing, suppress
from copy import copy
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from ....errors import CountsDiffer, DbTasksError, LoadFailed, QueryFailed
from ....nouns import many
from ....rows.across.misfit import Misfit
from ....rows.across.spellers import line_of, lines_of, lines_of_columns, long_line
from ....rows.migration.arriving import Carried, Loading, Reject, rejected, told_rows
from ....rows.migration.choices import KEY_TAKES_NONE, NOT_NULL
from ....rows.migration.tally import Tally, digests_of, fields_of
from ....rows.postgres.spelling import split_name
from ....rows.sqlite.numbered import NumberedLong, NumberedRows, numbered
from ....sessions import PsycopgSession

__all__ = ["Came", "ReadAgain", "count_again", "in_steps", "load_table", "read_again", "reason_of", "stopped"]

T = TypeVar("T")
ROW_FAULTS = ("21", "22", "23", "38", "39", "42", "44", "54", "P0")
"""Classes of SQLSTATE that one row can be the reason of; the others are the server's own trouble."""
NO_VALUE = "23502"
SAVEPOINT = "dbtasks_rows"


@dataclass
class Came:
    """What became of one table's rows."""

    carried: Carried
    tally: Tally
    """Those that arrived, as SQLite has them."""
    rejected: int = 0
    left_out: set[int] = field(default_factory=set)
    """The rows that were turned down, by their places in the order of reading: read again, they are passed over."""


def load_table(
    session: PsycopgSession, connection: sqlite3.Connection, carried: Carried, how: Loading
) -> Came:
    """Bring in all rows of one table, in the caller's transaction.

    The connection may be used by other threads; it stays in the caller's read transaction.

    Raises:
        LoadFailed: a row does not go in, and none may be left out; names it. QueryFailed: the server's own trouble.
        CountsDiffer: other rows came than were sent.
    """
    if how.skip:
        return _in_batches(session, connection, carried, how)
    try:
        return in_steps(session, lambda: _at_once(session, connection, carried, how))
    except (QueryFailed, Misfit) as exc:
        if isinstance(exc, QueryFailed) and not _is_of_a_row(exc):
            raise
        # once more, in batches: the first row that fails ends it
        return _in_batches(session, connection, carried, how)


def in_steps(session: PsycopgSession, act: Callable[[], T]) -> T:
    """Do something between a savepoint and its end; after a failure nothing of it stays, and the transaction goes on."""
    session.execute(f"SAVEPOINT {SAVEPOINT}")
    try:
        done = act()
    except (QueryFailed, Misfit):
        session.execute(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}; RELEASE SAVEPOINT {SAVEPOINT}")
        raise
    session.execute(f"RELEASE SAVEPOINT {SAVEPOINT}")
    return done


def stopped(reject: Reject, said: str, *, may_cast: bool = True) -> LoadFailed:
    """Return the error that names a row; `said` is the reason as far as it holds no value of the row's."""
    cast = "choose another type with --cast, " if may_cast else ""
    row, key = told_rows([reject.row_id])
    return LoadFailed(
        ": ".join(filter(None, (f"a row of {reject.table} does not go in", row, said))),
        details="\n".join(filter(None, (key, reject.reason if reject.reason != said else ""))),
        hint=f"mend it in SQLite, {cast}or leave such rows out with --on-error=skip",
    )


def reason_of(exc: DbTasksError) -> str:
    """Return the server's words for a row, without the database's name in front."""
    return exc.message.partition(": ")[2] or exc.message


# -- once more -------------------------------------------------------------------------------


class ReadAgain(NamedTuple):
    """A row that arrived, read once more."""

    place: int
    """In the order of reading."""
    id: int | str
    values: tuple[Any, ...]
    digest: bytes
    """Of what is compared of its line."""


@dataclass(frozen=True)
class _Read:
    """A batch read once more: without what was turned down."""

    rows: list[ReadAgain]
    lines: list[bytes] | None
    """None: one row with values that are too long to be held."""


def read_again(connection: sqlite3.Connection, came: Came) -> Generator[ReadAgain]:
    """Read the rows that arrived once more."""
    with closing(_again(connection, came)) as batches:
        for batch in batches:
            yield from batch.rows


def count_again(connection: sqlite3.Connection, came: Came) -> None:
    """Make the tally anew, after rows that had arrived were turned down."""
    came.tally = Tally(came.carried)
    with closing(_again(connection, came)) as batches:
        for batch in batches:
            if batch.lines is not None:
                came.tally.take(batch.lines)
            for row in batch.rows if batch.lines is None else ():
                came.tally.take_long(fields_of(long_line(row.values, came.carried.hows)))


def _again(connection: sqlite3.Connection, came: Came) -> Generator[_Read]:
    carried, forms = came.carried, came.tally.forms
    first = 0
    with closing(numbered(connection, carried.source)) as batches:
        for batch in batches:
            place, first = first, first + batch.count
            if isinstance(batch, NumberedLong):
                if place in came.left_out:
                    continue
                with suppress(Misfit):
                    digest = came.tally.digest_of(fields_of(long_line(batch.values, carried.hows)))
                    yield _Read([ReadAgain(place, batch.ids[0], tuple(batch.values), digest)], None)
                continue
            part = _Part(batch, place, carried, lambda *_: None).without(came.left_out)
            digests = digests_of(forms.of(part.encoded))
            rows = map(ReadAgain, part.places, part.ids, part.rows, digests)
            yield _Read([*rows], part.encoded)


# -- all at once -----------------------------------------------------------------------------


def _at_once(session: PsycopgSession, connection: sqlite3.Connection, carried: Carried, how: Loading) -> Came:
    came = Came(carried, Tally(carried, strict=False))

    def blocks() -> Generator[bytes]:
        with closing(numbered(connection, carried.source)) as batches:
            for batch in batches:
                if isinstance(batch, NumberedLong):
                    came.tally.take_long(fields_of(long_line(batch.values, carried.hows)))
                    yield from long_line(batch.values, carried.hows)
                    yield b"\n"
                else:
                    block = "\n".join(lines_of_columns(batch.columns, carried.hows)).encode()
                    yield block
                    yield b"\n"
                    came.tally.take(block.split(b"\n"), batch.columns)
                how.on_rows(carried.name, came.tally.rows)

    _copy(session, carried, blocks(), lambda: came.tally.rows)
    return came


def _copy(
    session: PsycopgSession, carried: Carried, blocks: Generator[bytes], sent: Callable[[], int]
) -> None:
    """Send blocks; they are over when this is, however it ends: what they read from is closed soon after."""
    from psycopg2 import sql

    query = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(*split_name(carried.into)), sql.SQL(", ").join(map(sql.Identifier, carried.columns))
    )
    try:
        count = session.copy_in(query, blocks)
    finally:
        # while they still run, which is so after a second Ctrl-C, they are not to be had
        with suppress(ValueError):
            blocks.close()
    if count != sent():
        raise CountsDiffer(f"{count:,} of {many(sent(), 'row')} came into {carried.into}")


def _is_of_a_row(exc: QueryFailed) -> bool:
    return exc.sqlstate[:2] in ROW_FAULTS


# -- in batches ------------------------------------------------------------------------------


class _Part:
    """Some rows that can be spelled; the others are told of."""

    def __init__(
        self,
        batch: NumberedRows,
        first: int,
        carried: Carried,
        turn_down: Callable[[int | str, tuple[Any, ...], Misfit], object],
    ) -> None:
        self.places: Sequence[int] = range(first, first + batch.count)
        """Of each row in the order of reading, from `first` on."""
        self.ids, self.rows = batch.ids, batch.rows
        try:
            self.encoded = [line.encode() for line in lines_of(self.rows, carried.hows)]
        except Misfit:
            self.encoded = []
            fitting = []
            for at, row in enumerate(self.rows):
                try:
                    self.encoded.append(line_of(row, carried.hows).encode())
                    fitting.append(at)
                except Misfit as exc:
                    turn_down(self.ids[at], row, exc)
            self.places = [self.places[at] for at in fitting]
            self.ids, self.rows = [self.ids[at] for at in fitting], [self.rows[at] for at in fitting]

    def part(self, start: int, end: int) -> _Part:
        """Return some of them."""
        found = copy(self)
        found.places, found.ids = self.places[start:end], self.ids[start:end]
        found.rows, found.encoded = self.rows[start:end], self.encoded[start:end]
        return found

    def without(self, places: Collection[int]) -> _Part:
        """Return those that stand at none of these places."""
        kept = [at for at, place in enumerate(self.places) if place not in places]
        if len(kept) == len(self.places):
            return self
        found = copy(self)
        found.places, found.ids = [self.places[at] for at in kept], [self.ids[at] for at in kept]
        found.rows, found.encoded = [self.rows[at] for at in kept], [self.encoded[at] for at in kept]
        return found


def _why(exc: Misfit | QueryFailed, carried: Carried, *, makes_key: bool) -> tuple[str, str]:
    """Return why a row does not go in, and the same as far as it holds no value of the row's."""
    if isinstance(exc, QueryFailed):
        return (_lacking(exc, carried, makes_key=makes_key) or reason_of(exc),) * 2
    if exc.column is None:
        return str(exc), "a value does not fit"
    name = carried.source.data_columns[exc.column].name
    return f"{name}: {exc}", f"{name} does not fit its type"


def _lacking(exc: QueryFailed, carried: Carried, *, makes_key: bool) -> str:
    """Say of a NULL what the plan says, by the column's name in SQLite; empty where it is another reason.

    Of a domain that takes none the server names no column.
    """
    if exc.sqlstate != NO_VALUE or not exc.column:
        return ""
    own = dict(zip(carried.columns, (column.name for column in carried.source.data_columns), strict=True))
    name = own.get(exc.column, exc.column)
    return f"{name}: NULL, and {KEY_TAKES_NONE if makes_key and name in carried.key else NOT_NULL}"


class _Batches:
    """The loading of one table in batches."""

    def __init__(self, session: PsycopgSession, carried: Carried, how: Loading) -> None:
        self._session = session
        self._carried = carried
        self._how = how
        self.came = Came(carried, Tally(carried))
        self._read = 0

    def take(self, batch: NumberedRows | NumberedLong) -> None:
        """Bring in a batch of the source's."""
        first, self._read = self._read, self._read + batch.count
        if isinstance(batch, NumberedLong):
            self._take_long(batch, first)
            return
        for start in range(0, batch.count, self._how.batch_size):
            rows = batch.part(start, start + self._how.batch_size)
            self._put(_Part(rows, first + start, self._carried, self._turn_down))

    def _put(self, part: _Part) -> None:
        lines = part.encoded
        if not lines:
            return
        try:
            in_steps(self._session, lambda: self._send(lines))
        except QueryFailed as exc:
            if not _is_of_a_row(exc):
                raise
            if len(lines) == 1:
                self.came.left_out.add(part.places[0])
                self._turn_down(part.ids[0], part.rows[0], exc)
                return
            half = len(lines) // 2
            self._put(part.part(0, half))
            self._put(part.part(half, len(lines)))
        else:
            self.came.tally.take(lines, [*zip(*part.rows, strict=True)])

    def _send(self, lines: list[bytes]) -> None:
        blocks = (block for block in (b"\n".join(lines), b"\n"))
        _copy(self._session, self._carried, blocks, lambda: len(lines))

    def _take_long(self, batch: NumberedLong, place: int) -> None:
        hows = self._carried.hows

        def pieces() -> Generator[bytes]:
            yield from long_line(batch.values, hows)
            yield b"\n"

        row = tuple(batch.values)
        try:
            in_steps(self._session, lambda: _copy(self._session, self._carried, pieces(), lambda: 1))
        except Misfit as exc:
            self._turn_down(batch.ids[0], row, exc)
        except QueryFailed as exc:
            if not _is_of_a_row(exc):
                raise
            self.came.left_out.add(place)
            self._turn_down(batch.ids[0], row, exc)
        else:
            self.came.tally.take_long(fields_of(long_line(row, hows)))

    def _turn_down(self, row_id: int | str, row: tuple[Any, ...], exc: Misfit | QueryFailed) -> None:
        # of a table that is there the key may be another one
        reason, said = _why(exc, self._carried, makes_key=self._how.may_cast)
        reject = rejected(self._carried, row_id, row, reason)
        if not self._how.skip:
            raise stopped(reject, said, may_cast=self._how.may_cast)
        self.came.rejected += 1
        self._how.on_reject(reject)


def _in_batches(
    session: PsycopgSession, connection: sqlite3.Connection, carried: Carried, how: Loading
) -> Came:
    loading = _Batches(session, carried, how)
    with closing(numbered(connection, carried.source)) as batches:
        for batch in batches:
            loading.take(batch)
            how.on_rows(carried.name, loading.came.tally.rows)
    return loading.came
