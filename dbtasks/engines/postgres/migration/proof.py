"""What arrived, read back from the server and compared with what was there: counts, key ranges, a checksum of every row, foreign keys.

The server writes each row as one line, which SQLite's values were spelled as, too;
nothing is decoded and neither side sorts.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

from ....errors import CountsDiffer
from ....nouns import many
from ....rows.migration.arriving import NextValue, TableProof, told_rows
from ....rows.migration.tally import Tally, digests_of
from ....rows.postgres.schema import Held
from ....rows.sqlite.schema import quoted
from ....sessions import PsycopgSession
from ..facts import Relation
from ..foreign_keys import broken_foreign_keys, references
from .load import Came, count_again, read_again
from .reading import ArrivedRows

__all__ = ["prove_table"]

NAMED = 5
"""Rows that a difference names."""
BUCKETS = 256
LONGEST_KEY = 60


def prove_table(
    session: PsycopgSession,
    connection: sqlite3.Connection,
    came: Came,
    relation: Relation,
    held: Held,
    next_values: Sequence[NextValue] = (),
) -> TableProof:
    """Compare every row of a loaded table with what SQLite has, in the caller's transaction.

    Raises:
        CountsDiffer: they are not the same, or not all of SQLite's rows were read; names the first rows that differ.
    """
    _prove_read(connection, came)
    reading = ArrivedRows(session, came.carried, relation, held)
    there = reading.tally(strict=came.tally.forms.strict)
    if there.checksum != came.tally.checksum and not there.forms.strict:
        # once more, number by number
        count_again(connection, came)
        there = reading.tally()
    here, carried = came.tally, came.carried
    if (here.rows, here.checksum) != (there.rows, there.checksum):
        raise _differ(connection, came, reading, there)
    if here.edges != there.edges:
        raise CountsDiffer(
            f"the key of {carried.into} does not reach as far as that of {carried.name}, though their rows are the same"
        )
    broken = broken_foreign_keys(session, [relation.oid])
    if broken:
        raise CountsDiffer(broken[0])
    known = len(there.edges) == len(carried.key_places)
    edges = [edge for edge in there.edges if known and edge is not None]
    return TableProof(
        table=carried.name,
        into=carried.into,
        source_rows=here.rows + came.rejected,
        target_rows=there.rows,
        rejected=came.rejected,
        key=carried.key if carried.key_places else (),
        key_low=tuple(_shown(edge[0]) for edge in edges),
        key_high=tuple(_shown(edge[1]) for edge in edges),
        checksum=there.checksum,
        not_compared=tuple(
            column
            for column, compared in zip(carried.columns, here.forms.compared, strict=True)
            if not compared
        ),
        foreign_keys=len(references(session, [relation.oid])),
        next_values=tuple(next_values),
    )


def _prove_read(connection: sqlite3.Connection, came: Came) -> None:
    """See that every row was read: by SQLite's own words, since both sides of a checksum stand on what was read.

    Raises:
        CountsDiffer: SQLite has more of them, or fewer, or a key that reaches farther.
    """
    carried, read = came.carried, came.tally.rows + came.rejected
    table = quoted(carried.name)
    # the table's own rows: an index may have lost some
    ((rows,),) = connection.execute(f"SELECT count(*) FROM {table} NOT INDEXED")  # noqa: S608 - quoted
    if rows != read:
        raise CountsDiffer(
            f"{carried.name} has {rows:,} rows, and {read:,} were read",
            hint="the file may be damaged: ask sqlite3 for PRAGMA integrity_check",
        )
    for number, place in came.tally.whole_places if not came.rejected else ():
        name = quoted(carried.source.data_columns[place].name)
        (ends,) = connection.execute(f"SELECT min({name}), max({name}) FROM {table}")  # noqa: S608 - quoted
        # texts that are numbers have another order
        if set(map(type, ends)) == {int} and ends != came.tally.edges[number]:
            raise CountsDiffer(
                f"the key of {carried.name} reaches farther than that of the rows that were read"
            )


def _shown(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= LONGEST_KEY else f"{text[:LONGEST_KEY]}…"


# -- where they differ -----------------------------------------------------------------------


def _differ(connection: sqlite3.Connection, came: Came, reading: ArrivedRows, there: Tally) -> CountsDiffer:
    """Name the first rows that only one side has.

    Both are read again: to see in which of a few hundred buckets they differ, then to hold the digests of one of those.
    """
    carried = came.carried
    sums, counts, surplus = [0] * BUCKETS, [0] * BUCKETS, Counter[bytes]()

    def weigh(digest: bytes, sign: int) -> None:
        sums[digest[0]] += sign * int.from_bytes(digest, "big")
        counts[digest[0]] += sign

    def hold(digest: bytes, sign: int) -> None:
        if digest[0] == bucket:
            surplus[digest] += sign

    _each(connection, came, reading, weigh)
    unequal = [number for number, found in enumerate(sums) if found]
    # a row that changed may lie in one bucket here and in another there: one that has more there may hold none that is lost
    bucket = next((number for number in unequal if counts[number] >= 0), unequal[0] if unequal else 0)
    _each(connection, came, reading, hold)
    with closing(read_again(connection, came)) as rows:
        lost = [*islice((row.id for row in rows if surplus[row.digest] > 0), NAMED)]
    numbers, keys = told_rows(lost)
    what = (
        f"not there as it was: {numbers or 'rows'} of {carried.name}"
        if lost
        else f"there, and not in {carried.name}: {many(-surplus.total(), 'row')}"
    )
    return CountsDiffer(
        f"{carried.into} does not hold what {carried.name} has ({there.rows:,} of {many(came.tally.rows, 'row')}): {what}",
        details="\n".join(
            filter(None, (keys, f"checksum {there.checksum} instead of {came.tally.checksum}"))
        ),
        hint="a type that rounds, or something in the database, has changed them: look at the columns with --dry-run",
    )


def _each(
    connection: sqlite3.Connection, came: Came, reading: ArrivedRows, take: Callable[[bytes, int], object]
) -> None:
    """Hand over the digest of each row, +1 with those of the source and -1 with those that arrived."""
    forms = came.tally.forms
    with closing(read_again(connection, came)) as rows:
        for row in rows:
            take(row.digest, 1)

    def lines(found: Sequence[bytes]) -> None:
        for digest in digests_of(forms.of(found)):
            take(digest, -1)

    reading.read(lines, lambda fields: take(came.tally.digest_of(fields), -1))
