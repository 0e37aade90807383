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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import CountsDiffer, LoadFailed, QueryFailed
from ...rows.arriving import IS_TWICE, Loading, Reject, rejected
from ...rows.arriving import LEADS_NOWHERE as LEADS
from ...rows.postgres_create import Statement
from ...rows.postgres_schema import describe
from ...rows.tally import Forms, digests_of
from ...schemas import table_name
from ...sessions import PsycopgSession, Session
from .cascade import cascade
from .facts import TABLE, Relation
from .foreign_keys import Reference, orphan, place_of
from .migrate_load import Came, count_again, in_steps, read_again
from .migrate_reading import ArrivedRows
from .statements import Name

if TYPE_CHECKING:
    from psycopg2.sql import Composable

__all__ = ["Keys", "Unique", "make_keys", "uniques"]

NOT_UNIQUE, LEADS_NOWHERE = "23505", "23503"
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
    WHERE x.indrelid = ANY (%s) AND (x.indisunique OR i.relname::text = ANY (%s))
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


@dataclass(frozen=True)
class _Fault:
    """Rows, `f`, that a key does not let in."""

    table: Name
    condition: Composable
    reason: str


def uniques(session: Session, oids: Iterable[int], names: Iterable[str] = ()) -> list[Unique]:
    """Return what is unique in these tables, by their indexes; and indexes of these `names` as if they were."""
    return [Unique(*row) for row in session.rows(UNIQUES, (list(oids), list(names)))]


def make_keys(
    session: PsycopgSession,
    connection: sqlite3.Connection,
    keys: Keys,
    came: Mapping[Name, Came],
    there: Mapping[Name, Relation],
    how: Loading,
) -> None:
    """Make keys, indexes and references, in the caller's transaction; `came` and `there` are the loaded tables.

    With `how.skip` the rows that stand in the way are deleted, told of, and taken out of their table's tally.

    Raises:
        LoadFailed: rows stand in the way, and none may be left out; names the first of them. QueryFailed: anything else.
    """
    made = _Making(session, connection, came, there, how)
    for statement in keys.unique:
        made.make([statement], NOT_UNIQUE, lambda: map(_twice, keys.meant()))
    made.make(keys.references, LEADS_NOWHERE, lambda: made.leading_nowhere(keys.referring()))
    made.count_again()


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

    def make(
        self, statements: Sequence[Statement], sqlstate: str, faults: Callable[[], Iterable[_Fault]]
    ) -> None:
        """Run these; when the server turns one down for its rows, clear the way and run them again."""
        try:
            in_steps(self._session, lambda: self._run(statements))
        except QueryFailed as exc:
            if exc.sqlstate != sqlstate or not self._clear([*faults()]):
                raise
        else:
            return
        self._run(statements)

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
        rejects = self._named(wanted, came, fault.reason)
        if not self._how.skip:
            raise _stands_in_the_way(fault, rejects)
        for reject in rejects:
            self._how.on_reject(reject)
        self._delete(fault, came, len(rejects))
        came.rejected += len(rejects)
        came.left_out.update(wanted)
        self._changed.add(fault.table)
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

    def _named(self, wanted: Counter[bytes], came: Came, reason: str) -> list[Reject]:
        """Find the same rows in the source; of several that are equal the last ones."""
        found: dict[bytes, deque[tuple[int | str, tuple[Any, ...]]]] = {
            digest: deque(maxlen=number) for digest, number in wanted.items()
        }
        with closing(read_again(self._connection, came)) as rows:
            for row_id, row, digest in rows:
                if digest in found:
                    found[digest].append((row_id, row))
        named = [rejected(came.carried, *one, reason) for several in found.values() for one in several]
        if len(named) != wanted.total():
            raise CountsDiffer(
                f"{wanted.total() - len(named):,} rows of {came.carried.into} are not those of {came.carried.name}"
            )
        return named

    def _delete(self, fault: _Fault, came: Came, number: int) -> None:
        from psycopg2 import sql

        query = sql.SQL("WITH d AS (DELETE FROM {} f WHERE {} RETURNING 1) SELECT count(*) FROM d")
        place = place_of(*fault.table, self._there[fault.table].kind)
        ((deleted,),) = self._session.rows(query.format(place, fault.condition))
        if deleted != number:
            raise CountsDiffer(f"{deleted:,} rows of {came.carried.into} were left out instead of {number:,}")


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


def _stands_in_the_way(fault: _Fault, rejects: Sequence[Reject]) -> LoadFailed:
    number = len(rejects)
    first = rejects[0]
    rows = "a row" if number == 1 else f"{number:,} rows"
    do = "does" if number == 1 else "do"
    shown = ", ".join(str(reject.row_id) for reject in rejects[:NAMED])
    more = f" and {number - NAMED:,} more" if number > NAMED else ""
    return LoadFailed(
        f"{rows} of {first.table} {do} not go in: row {shown}{more}: {fault.reason}",
        hint="mend that in SQLite, or leave such rows out with --on-error=skip",
    )
