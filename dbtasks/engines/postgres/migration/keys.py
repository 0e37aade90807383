"""Keys behind the rows of a migration: made by the server, and where rows stand in their way, those are found and named.

SQLite lets references lead nowhere, and values that were two may be one in their
new type. Only when the server turns a key down are rows looked for; where rows may
be left out, those that refer to one that is left out go with it, until none is left.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ....errors import CountsDiffer, LoadFailed, QueryFailed
from ....rows.across.carried import UNORDERED
from ....rows.across.spellers import long_line
from ....rows.migration.arriving import IS_TWICE, Carried, Loading, Reject, rejected, told_rows
from ....rows.migration.arriving import LEADS_NOWHERE as LEADS
from ....rows.migration.long_keys import LONGEST_KEY
from ....rows.migration.tally import Forms, digest_of_pieces, digests_of
from ....rows.postgres.create import Statement
from ....rows.postgres.schema import describe
from ....schemas import table_name
from ....sessions import PsycopgSession, Session
from ..facts import TABLE, Relation
from ..foreign_keys import Reference, orphan, place_of
from ..script.statements import Name
from .cascade import cascade
from .load import Came, ReadAgain, count_again, in_steps, read_again, reason_of
from .reading import ArrivedRows

if TYPE_CHECKING:
    from psycopg2.sql import Composable

__all__ = ["Keys", "Unique", "make_keys", "uniques"]

NOT_UNIQUE, LEADS_NOWHERE, TOO_LONG = "23505", "23503", "54000"
NAMED = 5
"""Rows that a refusal names."""
UNIQUES = """
    SELECT n.nspname::text AS schema, c.relname::text AS tab, i.relname::text AS name,
           (SELECT pg_catalog.array_agg(pg_catalog.pg_get_indexdef(i.oid, k, true) ORDER BY k)
            FROM pg_catalog.generate_series(1, x.indnkeyatts) k) AS expressions,
           coalesce(pg_catalog.pg_get_expr(x.indpred, x.indrelid), '') AS condition,
           coalesce((pg_catalog.to_jsonb(x) ->> 'indnullsnotdistinct')::boolean, false) AS nulls
    FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
    JOIN pg_catalog.pg_class c ON c.oid = x.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE x.indrelid = ANY (%s) AND x.indisunique
    ORDER BY x.indexrelid
"""


class Unique(NamedTuple):
    """What a table may hold once."""

    schema: str
    table: str
    name: str
    expressions: list[str]
    """As the server writes them."""
    condition: str = ""
    """Of which rows; empty: of all."""
    nulls_are_equal: bool = False


@dataclass(frozen=True)
class Keys:
    """What is made behind the rows; what it means is asked only when the server turns some of it down."""

    unique: tuple[Statement, ...]
    """Primary keys, unique ones and indexes."""
    references: tuple[Statement, ...]
    meant: Callable[[], Sequence[Unique]]
    referring: Callable[[], Sequence[Reference]]
    dispensable: Mapping[str, str] = field(default_factory=dict)
    """Of the statements those that may be left out, by what they make, and each one's table: indexes that are not unique."""


@dataclass(frozen=True)
class _Fault:
    """Rows, `f`, that a key does not let in."""

    table: Name
    condition: Composable
    reason: str


def uniques(session: Session, oids: Iterable[int]) -> list[Unique]:
    """Return what is unique in these tables, by their indexes."""
    return [Unique(*row) for row in session.rows(UNIQUES, (list(oids),))]


def make_keys(
    session: PsycopgSession,
    connection: sqlite3.Connection,
    keys: Keys,
    came: Mapping[Name, Came],
    there: Mapping[Name, Relation],
    how: Loading,
) -> dict[str, list[str]]:
    """Make keys, indexes and references, in the caller's transaction; `came` and `there` are the loaded tables.

    With `how.skip` the rows that stand in the way are deleted, told of, and taken out of their table's tally. Returns, by
    table, words for the indexes that were left out, because a value is too long for any.

    Raises:
        LoadFailed: rows stand in the way, and none may be left out; names the first of them. QueryFailed: anything else.
    """
    made = _Making(session, connection, came, there, how)
    left: dict[str, list[str]] = {}
    stands = {
        NOT_UNIQUE: lambda: map(_twice, keys.meant()),
        TOO_LONG: lambda: map(_too_long, keys.meant()),
    }
    for statement in keys.unique:
        if statement.what not in keys.dispensable:
            made.make([statement], stands)
        elif why := made.left_out(statement):
            left.setdefault(keys.dispensable[statement.what], []).append(why)
    made.make(keys.references, {LEADS_NOWHERE: lambda: made.leading_nowhere(keys.referring())})
    made.count_again()
    return left


class _Making:
    def __init__(
        self,
        session: PsycopgSession,
        connection: sqlite3.Connection,
        came: Mapping[Name, Came],
        there: Mapping[Name, Relation],
        how: Loading,
    ) -> None:
        self._session = session
        self._connection = connection
        self._came = came
        self._there = there
        self._how = how
        self._changed: set[Name] = set()
        self._deleted: set[Name] = set()
        """Tables that still have the rows that were deleted from them."""

    def make(
        self, statements: Sequence[Statement], stands: Mapping[str, Callable[[], Iterable[_Fault]]]
    ) -> None:
        """Run these; when the server turns one down for its rows, clear the way and run them again.

        `stands` tells, by the server's SQLSTATE, what rows may stand in it.
        """
        for _ in stands:
            try:
                in_steps(self._session, lambda: self._run(statements))
            except QueryFailed as exc:
                faults = stands.get(exc.sqlstate)
                cleared = self._clear([*faults()]) if faults else 0
                if not cleared and not (exc.sqlstate == TOO_LONG and self._deleted):
                    raise
                if exc.sqlstate == TOO_LONG:
                    self._write_anew()
            else:
                return
        self._run(statements)

    def _write_anew(self) -> None:
        """Let tables go without the rows that were deleted: an index made in the same transaction has them, too."""
        from psycopg2 import sql

        # what is itself, and is not seen to be: else nothing is written
        anew = sql.SQL("ALTER TABLE {0} ALTER COLUMN {1} TYPE {2} USING GREATEST({1}, {1})")
        while self._deleted:
            name = self._deleted.pop()
            carried = self._came[name].carried
            column, type_ = next(
                pair for pair in zip(carried.columns, carried.types, strict=True) if pair[1] not in UNORDERED
            )
            self._session.execute(anew.format(sql.Identifier(*name), sql.Identifier(column), sql.SQL(type_)))

    def left_out(self, statement: Statement) -> str:
        """Make an index; returns why not, where a value is too long for one."""
        try:
            in_steps(self._session, lambda: self._run([statement]))
        except QueryFailed as exc:
            if exc.sqlstate != TOO_LONG:
                raise
            if self._deleted:
                self._write_anew()
                return self.left_out(statement)
            return f"{statement.what} was not made: a value is too long for an index of PostgreSQL ({reason_of(exc).rpartition(': ')[2]})"
        return ""

    def leading_nowhere(self, references: Iterable[Reference]) -> list[_Fault]:
        """Return what breaks references; where rows may be left out, with all that leads to it."""
        own = [one for one in references if (one.schema, one.table) in self._came]
        if not self._how.skip:
            return [_leads_nowhere(one, orphan(one)) for one in own]
        return [_leads_nowhere(*found) for found in cascade(self._session, own)]

    def count_again(self) -> None:
        """Count what is left of the tables that lost rows here."""
        for name in self._changed:
            count_again(self._connection, self._came[name])

    def _run(self, statements: Iterable[Statement]) -> None:
        for statement in statements:
            try:
                self._session.execute(statement.sql)
            except QueryFailed as exc:
                raise QueryFailed(
                    f"{statement.what} cannot be made: {exc.message}",
                    sqlstate=exc.sqlstate,
                    details=exc.details,
                ) from exc

    def _clear(self, faults: Sequence[_Fault]) -> int:
        found = 0
        # a row that is left out may be what another one refers to
        while cleared := sum(map(self._turn_down, faults)):
            found += cleared
        return found

    def _turn_down(self, fault: _Fault) -> int:
        """Delete the rows of a fault, and tell of each; returns how many there were."""
        came = self._came.get(fault.table)
        if came is None:
            return 0
        # what is where is told by lines that no spelling makes different
        came.tally.forms = Forms(came.carried)
        wanted = self._digests(fault, came)
        if not wanted:
            return 0
        rows = self._found(wanted, came, fault.reason)
        rejects = [rejected(came.carried, row.id, row.values, fault.reason) for row in rows]
        if not self._how.skip:
            raise _stands_in_the_way(fault, rejects)
        for reject in rejects:
            self._how.on_reject(reject)
        self._delete(fault, came, len(rejects))
        came.rejected += len(rejects)
        came.left_out.update(row.place for row in rows)
        self._changed.add(fault.table)
        self._deleted.add(fault.table)
        return len(rejects)

    def _digests(self, fault: _Fault, came: Came) -> Counter[bytes]:
        """Look for the rows where they are now: they are known by their lines."""
        relation = self._there[fault.table]
        held = describe(self._session, [relation.oid]).held[str(relation)]
        found: Counter[bytes] = Counter()

        def take(lines: Sequence[bytes]) -> None:
            found.update(digests_of(came.tally.forms.of(lines)))

        def take_long(fields: Iterable[Iterable[bytes]]) -> None:
            found[came.tally.digest_of(fields)] += 1

        ArrivedRows(self._session, came.carried, relation, held).read(take, take_long, fault.condition)
        return found

    def _found(self, wanted: Counter[bytes], came: Came, reason: str) -> list[ReadAgain]:
        """Find the same rows in the source; of several that are equal the last ones.

        Raises:
            LoadFailed: others look the same, but for columns that only the server can read.
            CountsDiffer: some are not there.
        """
        carried, are_known = came.carried, all(came.tally.forms.compared)
        found: dict[bytes, deque[ReadAgain]] = {
            digest: deque(maxlen=number) for digest, number in wanted.items()
        }
        alike: Counter[bytes] = Counter()
        whole: dict[bytes, set[bytes]] = {digest: set() for digest in wanted}
        with closing(read_again(self._connection, came)) as rows:
            for row in rows:
                if row.digest in found:
                    found[row.digest].append(row)
                    alike[row.digest] += 1
                    if not are_known:
                        whole[row.digest].add(digest_of_pieces(long_line(row.values, carried.hows)))
        if any(len(whole[digest]) > 1 and alike[digest] > number for digest, number in wanted.items()):
            raise _cannot_be_told(carried, came.tally.forms, reason)
        named = [row for several in found.values() for row in several]
        if len(named) != wanted.total():
            raise CountsDiffer(
                f"{wanted.total() - len(named):,} rows of {carried.into} are not those of {carried.name}"
            )
        return named

    def _delete(self, fault: _Fault, came: Came, number: int) -> None:
        from psycopg2 import sql

        query = sql.SQL("WITH d AS (DELETE FROM {} f WHERE {} RETURNING 1) SELECT count(*) FROM d")
        place = place_of(*fault.table, self._there[fault.table].kind)
        ((deleted,),) = self._session.rows(query.format(place, fault.condition))
        if deleted != number:
            raise CountsDiffer(f"{deleted:,} rows of {came.carried.into} were left out instead of {number:,}")


def _cannot_be_told(carried: Carried, forms: Forms, reason: str) -> LoadFailed:
    columns = ", ".join(
        column for column, compared in zip(carried.columns, forms.compared, strict=True) if not compared
    )
    return LoadFailed(
        f"a row of {carried.name} does not go in: {reason}; which one cannot be told, since rows differ only in {columns},"
        " which only the server can read",
        hint="mend that in SQLite, or give the table a primary key there, by which its rows are told apart",
    )


def _leads_nowhere(one: Reference, condition: Composable) -> _Fault:
    columns = ", ".join(one.columns)
    return _Fault(
        (one.schema, one.table),
        condition,
        f"{columns}: {LEADS} {table_name(one.other_schema, one.other)}",
    )


def _twice(one: Unique) -> _Fault:
    from psycopg2 import sql

    expressions = [sql.SQL(text) for text in one.expressions]
    asked: list[Composable] = [sql.SQL("({})").format(sql.SQL(one.condition))] if one.condition else []
    if not one.nulls_are_equal:
        asked += [sql.SQL("({}) IS NOT NULL").format(expression) for expression in expressions]
    condition = sql.SQL(
        "f.ctid IN (SELECT ctid FROM (SELECT ctid, pg_catalog.row_number() OVER (PARTITION BY {} ORDER BY ctid) AS number"
        " FROM {}{}) q WHERE number > 1)"
    ).format(
        sql.SQL(", ").join(expressions),
        place_of(one.schema, one.table, TABLE),
        sql.SQL(" WHERE ") + sql.SQL(" AND ").join(asked) if asked else sql.SQL(""),
    )
    columns = ", ".join(one.expressions)
    return _Fault((one.schema, one.table), condition, f"{columns}: {IS_TWICE}")


def _too_long(one: Unique) -> _Fault:
    from psycopg2 import sql

    # what is stored is what an index takes: compressed, where that is shorter
    sizes = sql.SQL(" + ").join(
        sql.SQL("coalesce(pg_catalog.pg_column_size({}), 0)").format(sql.SQL(text))
        for text in one.expressions
    )
    condition = sql.SQL("f.ctid IN (SELECT ctid FROM {} WHERE {} > {}{})").format(
        place_of(one.schema, one.table, TABLE),
        sizes,
        sql.Literal(LONGEST_KEY),
        sql.SQL(" AND ({})").format(sql.SQL(one.condition)) if one.condition else sql.SQL(""),
    )
    columns = ", ".join(one.expressions)
    return _Fault((one.schema, one.table), condition, f"{columns}: is too long for a key of PostgreSQL")


def _stands_in_the_way(fault: _Fault, rejects: Sequence[Reject]) -> LoadFailed:
    number = len(rejects)
    first = rejects[0]
    rows = "a row" if number == 1 else f"{number:,} rows"
    do = "does" if number == 1 else "do"
    shown, keys = told_rows([reject.row_id for reject in rejects[:NAMED]])
    more = f" and {number - NAMED:,} more" if number > NAMED else ""
    named = f"{shown}{more}" if shown else ""
    return LoadFailed(
        ": ".join(filter(None, (f"{rows} of {first.table} {do} not go in", named, fault.reason))),
        details=f"{keys}{more}" if keys else "",
        hint="mend that in SQLite, or leave such rows out with --on-error=skip",
    )
