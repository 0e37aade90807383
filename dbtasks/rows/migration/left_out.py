"""Rows that no key lets in once the values have their new types, and rows that go with one that is left out: counted before anything is touched.

In the order in which a load turns them down: what does not fit, then what a unique
key has twice, then what refers to nothing, and all that leads there. What has to be
held for that lies in a database of SQLite's own, in a file that nobody else sees and
that is gone with us: memory stays flat.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter

from ..across.carried import keys_of
from ..across.folded import folded_keys
from ..schema import PortableSchema, Table
from .choices import Choices, ColumnChoice
from .keyed import (
    are_kept_apart,
    are_written_alike,
    compared_as,
    keys_of_rows,
    rows_that_do_not_fit,
    shown_rows,
)
from .leading_out import LeadingOut, leading_out, orphans_led_out
from .orphans import Orphans, Referring, orphans_of, place_of, references_of
from .survey import EXAMPLES
from .uniques_there import COMPARED_THERE, UniqueThere, uniques_there

__all__ = ["Clash", "LeftOut", "left_out"]

SCRATCH = """
    PRAGMA journal_mode = OFF;
    BEGIN;
    CREATE TABLE gone (tab INTEGER, number INTEGER, PRIMARY KEY (tab, number)) WITHOUT ROWID;
    CREATE TABLE leads (reference INTEGER, tab INTEGER, number INTEGER, other INTEGER, towards INTEGER);
"""
SECOND = """
    INSERT INTO second SELECT number, first, 0 FROM (
        SELECT number, first_value(number) OVER (PARTITION BY key ORDER BY number) AS first
        FROM keys WHERE number NOT IN (SELECT number FROM gone WHERE tab = ?)
    ) WHERE number <> first
"""
# of all keys together those that several rows have, row by row
SHARED = """
    INSERT INTO shared SELECT number, place, key FROM coming c
    WHERE number NOT IN (SELECT number FROM gone WHERE tab = ?)
    AND EXISTS (SELECT 1 FROM coming o WHERE o.place = c.place AND o.key = c.key AND o.number <> c.number)
    ORDER BY number, place
"""
# of several rows with one key that one stays which is not left out itself
LEADS = """
    INSERT INTO leads SELECT ?1, ?2, k.number, ?3, (
        SELECT o.number FROM others o WHERE o.key = k.key
        ORDER BY EXISTS (SELECT 1 FROM gone g WHERE g.tab = ?3 AND g.number = o.number), o.number LIMIT 1
    ) FROM keys k WHERE NOT EXISTS (SELECT 1 FROM gone g WHERE g.tab = ?2 AND g.number = k.number)
"""
LOST = """
    CREATE TABLE lost AS WITH RECURSIVE found (tab, number) AS (
        SELECT tab, number FROM gone UNION SELECT tab, number FROM leads WHERE towards IS NULL
        UNION SELECT l.tab, l.number FROM found f JOIN leads l ON l.other = f.tab AND l.towards = f.number
    ) SELECT tab, number FROM found;
    CREATE UNIQUE INDEX lost_rows ON lost (tab, number);
    CREATE TABLE falls AS SELECT l.tab, l.number, min(l.reference) AS reference FROM leads l
        JOIN lost o ON o.tab = l.other AND o.number = l.towards GROUP BY l.tab, l.number;
    DELETE FROM falls WHERE (tab, number) IN (SELECT tab, number FROM leads WHERE towards IS NULL);
"""


@dataclass(frozen=True)
class Clash:
    """The rows that a unique key does not let in: one in front of each has the same, as their new types compare."""

    table: str
    """SQLite's."""
    columns: tuple[str, ...]
    rows: int
    examples: tuple[str, ...] = ()
    """The first of them: `row id: as row id`."""
    index: str = ""
    """The unique index over there, where it says more than its columns do."""

    @property
    def place(self) -> str:
        """Where they are, as people are told."""
        place = place_of(self.table, self.columns)
        return f"{place}, in the unique index {self.index}" if self.index else place


@dataclass(frozen=True)
class LeftOut:
    """What was found of a database's rows."""

    orphans: tuple[Orphans, ...] = ()
    clashes: tuple[Clash, ...] = ()
    falls: tuple[Orphans, ...] = ()
    """Where rows may be left out: those that refer to one that is."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Where rows may be left out: how many of each table are, where any are."""
    uncounted: tuple[str, ...] = ()
    """What only the server compares, in words."""
    would: Mapping[str, int] = field(default_factory=dict)
    """Where rows may not be left out: how many of each table would be."""


def left_out(
    connection: sqlite3.Connection,
    schema: PortableSchema,
    choices: Choices,
    live: PortableSchema | None,
    *,
    skip: bool,
    filled: Collection[str] = (),
) -> LeftOut:
    """Look for them, within the caller's read transaction.

    `schema` is SQLite's; `live` has the tables of the target where they are there, else they are made. `skip`: rows may be
    left out, so those are counted that go with them; a row that does not fit is in nobody's way then. `filled` are the
    tables over there that get no rows and have some.
    """
    out = [*leading_out(schema, choices, live)]
    empty = [one for one in out if one.references not in filled]
    orphans = (
        *orphans_of(connection, schema, choices, live),
        *filter(None, (orphans_led_out(connection, one) for one in empty)),
    )
    with _scratch() as scratch:
        looking = _Looking(connection, scratch, schema, choices)
        if skip:
            looking.take_misfits()
        found = [*looking.clashes(live)]
        clashes = tuple(one for one in found if isinstance(one, Clash))
        words = [one for one in found if isinstance(one, str)]
        words += [
            f"{place_of(one.table.name, one.columns)}: rows that refer to nothing in {one.referred.name}: {COMPARED_THERE}; the load finds them"
            for one in references_of(schema, choices, live)
            if one.is_compared_there and choices.rows[one.table.name]
        ]
        words += [one.uncounted for one in out if one.references in filled and choices.rows[one.table.name]]
        if not (choices.misfits or orphans or clashes):
            return LeftOut(uncounted=tuple(words))
        if not skip:
            # a row that does not fit clashes with none once it is left out: that is another look
            would = left_out(connection, schema, choices, live, skip=True, filled=filled)
            return LeftOut(orphans, clashes, would=would.rows, uncounted=tuple(words))
        looking.take_led_out(empty)
        words += looking.lead([*references_of(schema, choices, live)], orphans)
        return LeftOut(orphans, clashes, tuple(looking.falls()), looking.rows(), tuple(words))


@contextmanager
def _scratch() -> Iterator[sqlite3.Connection]:
    # no name: SQLite makes a file of its own for what does not fit into its cache
    with closing(sqlite3.connect("", isolation_level=None)) as connection:
        connection.executescript(SCRATCH)
        yield connection


class _Looking:
    def __init__(
        self,
        connection: sqlite3.Connection,
        scratch: sqlite3.Connection,
        schema: PortableSchema,
        choices: Choices,
    ) -> None:
        self._connection = connection
        self._scratch = scratch
        self._choices = choices
        self._tables = {table.name: table for table in schema.tables}
        self._number = {name: number for number, name in enumerate(choices.order)}
        self._references: list[Referring] = []

    # -- what does not fit, and what is there twice --------------------------------------------

    def take_misfits(self) -> None:
        """Write down the rows with values that do not fit."""
        for name, number in self._number.items():
            unfit = [one for one in self._choices.columns[name] if one.misfits]
            if unfit:
                rows = rows_that_do_not_fit(self._connection, self._tables[name], unfit)
                self._take("INSERT OR IGNORE INTO gone VALUES (?, ?)", ((number, row) for row in rows))

    def take_led_out(self, out: Iterable[LeadingOut]) -> None:
        """Write down the rows that refer to a table which stays empty."""
        for one in out:
            number = self._number[one.table.name]
            rows = ((number, row) for row in one.rows(self._connection))
            self._take("INSERT OR IGNORE INTO gone VALUES (?, ?)", rows)

    def clashes(self, live: PortableSchema | None) -> Iterator[Clash | str]:
        """Yield what unique keys turn down, or words for a key that cannot be looked at; the rows are written down as gone."""
        over_there = live or self._choices.schema
        there = {table.name: table for table in over_there.tables}
        for name in self._choices.order:
            chosen = {one.into: one for one in self._choices.columns[name]}
            table = there[self._choices.names[name]]
            done: set[tuple[frozenset[tuple[str, str]], bool]] = set()
            counted: list[UniqueThere] = []
            for one in uniques_there(table, chosen, over_there.types, over_there.sequences):
                key = frozenset((of.column, fold) for of, fold in zip(one.columns, one.folds, strict=True))
                is_done = not (one.why or one.where) and (key, one.nulls_are_equal) in done
                if is_done or not self._choices.rows[name] or self._stays(name, one, made=live is None):
                    continue
                # one over some rows, or one that is not looked at, says nothing of the next over the same columns
                if not (one.why or one.where):
                    done.add((key, one.nulls_are_equal))
                if one.why or one.unknown:
                    yield _uncounted(name, one)
                else:
                    counted.append(one)
            # keys that are there turn a row down as it comes, those that are made one after the other
            if live and len(counted) > 1:
                yield from self._clashes_as_they_come(name, counted)
            else:
                yield from (clash for one in counted for clash in self._clash(name, one))
            for part in _parts_of(table, over_there):
                # which rows go there the server knows
                for one in uniques_there(part, chosen, over_there.types, over_there.sequences):
                    alone = replace(one, why=one.why or f"it is the partition's {part.name} alone")
                    if self._choices.rows[name] and not self._stays(name, alone, made=False):
                        yield _uncounted(name, alone)

    def _stays(self, name: str, one: UniqueThere, *, made: bool) -> bool:
        """Whether SQLite holds apart whatever this does: its rows then keep to it, or to as much of it as is said to count."""
        # SQLite lets any number of NULLs into a unique key
        if one.nulls_are_equal or not one.columns or one.why == COMPARED_THERE:
            return False
        if not one.is_folded and self._is_kept(name, one.columns):
            return True
        kept = self._kept(name, one.columns)
        if made:
            # it says what SQLite's own does
            return (one.is_folded or one.where is not None or bool(one.why)) and kept.issuperset(
                of.column for of in one.columns
            )
        by = {of.column: fold for of, fold in zip(one.columns, one.folds, strict=True)}
        return any(
            key.is_plain
            and kept.issuperset(key.columns)
            and all(by.get(column) in ("", how) for column, how in zip(key.columns, key.by, strict=True))
            for key in folded_keys(self._tables[name])
        )

    def _is_kept(self, name: str, key: Sequence[ColumnChoice]) -> bool:
        """Whether SQLite holds each of these apart, and they stay so."""
        known = [columns for columns in keys_of(self._tables[name]) if columns <= {one.column for one in key}]
        kept = self._kept(name, key if known else ())
        return any(columns <= kept for columns in known)

    def _kept(self, name: str, key: Sequence[ColumnChoice]) -> set[str]:
        """Return the columns of which no two values that SQLite tells apart become one."""
        table = self._tables[name]
        return {
            one.column
            for one in key
            if are_kept_apart(one) or are_written_alike(self._connection, table, one)
        }

    def _clash(self, name: str, one: UniqueThere) -> Iterator[Clash]:
        self._fill("keys", self._keys(name, one))
        self._anew("second", "number INTEGER, first INTEGER, place INTEGER")
        self._scratch.execute(SECOND, (self._number[name],))
        yield from self._told(name, one, 0)

    def _clashes_as_they_come(self, name: str, uniques: Sequence[UniqueThere]) -> Iterator[Clash]:
        """Yield what is turned down where a row has to be let in by all of these, and one that is not is in nobody's way."""
        self._anew("second", "number INTEGER, first INTEGER, place INTEGER")
        self._anew("coming", "number INTEGER, place INTEGER, key BLOB")
        for place, one in enumerate(uniques):
            found = ((number, place, key) for number, key in self._keys(name, one))
            self._take("INSERT INTO coming VALUES (?, ?, ?)", found)
        self._scratch.execute("CREATE INDEX coming_keys ON coming (place, key)")
        self._anew("shared", "number INTEGER, place INTEGER, key BLOB")
        self._scratch.execute(SHARED, (self._number[name],))
        self._anew("held", "place INTEGER, key BLOB, number INTEGER, PRIMARY KEY (place, key)")
        rows = self._scratch.execute("SELECT number, place, key FROM shared ORDER BY rowid")
        for number, keys in groupby(rows, itemgetter(0)):
            self._let_in(number, [(place, key) for _, place, key in keys])
        for place, one in enumerate(uniques):
            yield from self._told(name, one, place)

    def _let_in(self, number: int, keys: Sequence[tuple[int, bytes]]) -> None:
        for place, key in keys:
            query = "SELECT number FROM held WHERE place = ? AND key = ?"
            if first := self._scratch.execute(query, (place, key)).fetchone():
                self._scratch.execute("INSERT INTO second VALUES (?, ?, ?)", (number, *first, place))
                return
        self._scratch.executemany(
            "INSERT INTO held VALUES (?, ?, ?)", [(place, key, number) for place, key in keys]
        )

    def _keys(self, name: str, one: UniqueThere) -> Generator[tuple[int, bytes]]:
        return keys_of_rows(
            self._connection,
            self._tables[name],
            one.columns,
            nulls_are_equal=one.nulls_are_equal,
            folds=one.folds,
            where=one.where,
        )

    def _told(self, name: str, one: UniqueThere, place: int) -> Iterator[Clash]:
        """Yield the rows that were found for a key, and write them down as gone."""
        asked = "FROM second WHERE place = ?"
        ((count,),) = self._scratch.execute(f"SELECT count(*) {asked}", (place,))
        if not count:
            return
        gone = f"INSERT OR IGNORE INTO gone SELECT ?, number {asked}"
        self._scratch.execute(gone, (self._number[name], place))
        query = f"SELECT number, first {asked} ORDER BY number LIMIT ?"
        pairs = self._scratch.execute(query, (place, EXAMPLES)).fetchall()
        shown = shown_rows(self._connection, self._tables[name], {row for pair in pairs for row in pair})
        examples = tuple(f"{shown[second]}: as row {shown[first]}" for second, first in pairs)
        index = one.index if one.is_folded or one.where else ""
        yield Clash(name, tuple(of.column for of in one.columns), int(count), examples, index)

    # -- what goes with them -------------------------------------------------------------------

    def lead(self, references: Sequence[Referring], orphans: Sequence[Orphans]) -> Iterator[str]:
        """Write down what refers to what, as far as it can lose rows; yields words for what cannot be looked at."""
        self._references = [*references]
        self._scratch.execute("CREATE INDEX gone_tables ON gone (tab)")
        losing = {
            name
            for name, number in self._number.items()
            if self._scratch.execute("SELECT 1 FROM gone WHERE tab = ? LIMIT 1", (number,)).fetchone()
        }
        broken = {(one.table, one.columns, one.references) for one in orphans}
        for number in _leading(references, losing, broken):
            one = references[number]
            is_known = all(compared_as(mine) == compared_as(theirs) != "" for mine, theirs in one.pairs)
            if is_known and not one.is_compared_there:
                self._lead(number, one)
            else:
                place = place_of(one.table.name, one.columns)
                yield f"{place}: rows that refer to one of {one.referred.name} that is left out: only the server compares them"
        self._scratch.execute("CREATE INDEX leads_towards ON leads (other, towards)")
        self._scratch.executescript(LOST)

    def _lead(self, number: int, one: Referring) -> None:
        tab, other = self._number[one.table.name], self._number[one.referred.name]
        mine, theirs = zip(*one.pairs, strict=True)
        self._fill("keys", keys_of_rows(self._connection, one.table, mine))
        self._fill("others", keys_of_rows(self._connection, one.referred, theirs))
        self._scratch.execute("CREATE INDEX others_keys ON others (key)")
        self._scratch.execute(LEADS, (number, tab, other))

    def falls(self) -> Iterator[Orphans]:
        """Yield what refers to a row that is left out, by reference."""
        counted = self._scratch.execute("SELECT reference, count(*) FROM falls GROUP BY 1 ORDER BY 1")
        for number, count in counted.fetchall():
            one = self._references[number]
            query = "SELECT number FROM falls WHERE reference = ? ORDER BY number LIMIT ?"
            first = [row for (row,) in self._scratch.execute(query, (number, EXAMPLES))]
            shown = shown_rows(self._connection, one.table, first)
            examples = tuple(shown[row] for row in first)
            yield Orphans(one.table.name, one.columns, one.referred.name, int(count), examples)

    def rows(self) -> dict[str, int]:
        """Return how many rows of each table are left out."""
        counted = self._scratch.execute("SELECT tab, count(*) FROM lost GROUP BY tab ORDER BY tab")
        return {self._choices.order[tab]: int(count) for tab, count in counted}

    def _fill(self, table: str, rows: Generator[tuple[int, bytes]]) -> None:
        self._anew(table, "number INTEGER, key BLOB")
        self._take(f"INSERT INTO {table} VALUES (?, ?)", rows)  # noqa: S608 - a name of ours

    def _anew(self, table: str, columns: str) -> None:
        self._scratch.execute(f"DROP TABLE IF EXISTS {table}")
        self._scratch.execute(f"CREATE TABLE {table} ({columns})")

    def _take(
        self, statement: str, rows: Generator[tuple[int, int] | tuple[int, bytes] | tuple[int, int, bytes]]
    ) -> None:
        # what is read has to be over when this is, however it ends
        with closing(rows):
            self._scratch.executemany(statement, rows)


def _uncounted(name: str, one: UniqueThere) -> str:
    """Return words for a key that cannot be looked at."""
    if one.unknown and not one.index:
        return f"{place_of(name, one.unknown)}: rows that are twice in a unique key: only the server compares them"
    over = ", ".join([of.column for of in one.columns] or one.over)
    what = f"the unique index {one.index}" if one.index else f"a unique key over {over}"
    return f"{name}: rows that {what} turns down: {one.why or COMPARED_THERE}; the load finds them"


def _parts_of(table: Table, schema: PortableSchema) -> list[Table]:
    """Return the partitions of a table, and theirs."""
    own = [one for one in schema.tables if one.partition_of == table.name]
    return [*own, *(part for one in own for part in _parts_of(one, schema))]


def _leading(
    references: Sequence[Referring], losing: set[str], broken: set[tuple[str, tuple[str, ...], str]]
) -> list[int]:
    """Return the references by which rows are lost, or come to be by these."""
    found = [
        number
        for number, one in enumerate(references)
        if (one.table.name, one.columns, one.referred.name) in broken
    ]
    lost = {*losing, *(references[number].table.name for number in found)}
    grows = True
    while grows:
        more = [
            number
            for number, one in enumerate(references)
            if number not in found and one.referred.name in lost
        ]
        lost |= {references[number].table.name for number in more}
        found += more
        grows = bool(more)
    return sorted(found)
