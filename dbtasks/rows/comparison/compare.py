"""Rows of two sides, compared by key, in flat memory however many there are.

Neither side is asked to sort, and no two sorts have to agree: each row leaves
its key and a digest of its values in a table of a temporary SQLite file,
+1 for one side and -1 for the other. What both have is 0; the rest, read in
the order of the key, is what differs.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from ...errors import OperationFailed, StoreFull
from ...models import EngineName
from ..cells import LONG_CHARS, LongBytes, LongText
from ..schema import Column, Table
from ..sqlite.source import spelled
from .alike import Family, Reader, Unlike, number_of
from .as_migrated import AsMigrated
from .held import HeldRows
from .long_values import Seen, digested, read_long
from .pairs import ColumnPair, TablePair

__all__ = ["AGAINST", "BACKUP", "Found", "RowValues", "Workbench", "workbench"]

BACKUP, AGAINST = 0, 1
SIGNS = (1, -1)
CACHE_KIB = 16_384
LONGEST_SHOWN = 1_000
"""Characters of a value; of a longer one its beginning."""
LONGEST_IN_KEY = 200
SHORT_INTEGERS = range(1 - 10**18, 10**18)
UPSERT = "INSERT INTO {} VALUES (?, ?, {:+d}) ON CONFLICT (key, digest) DO UPDATE SET surplus = surplus {:+d}"


@dataclass(frozen=True)
class RowValues:
    """One row that differs: its key, and where they were asked for its values on each side that has it."""

    key: tuple[tuple[str, Any], ...] = ()
    """Column and value; empty: the table has no key."""
    backup: tuple[tuple[str, Any], ...] | None = None
    against: tuple[tuple[str, Any], ...] | None = None
    differs: tuple[str, ...] = ()
    """Which of the values are not the same, by the rules of the comparison, where there are some on both sides."""


@dataclass
class Found:
    """What lies between the rows of one table."""

    pair: TablePair
    rows: list[int] = field(default_factory=lambda: [0, 0])
    """Read, of the backup and of what it is compared with."""
    added: int = 0
    removed: int = 0
    changed: int = 0
    unlike: Counter[str] = field(default_factory=Counter)
    """Columns with values that no rule makes comparable, with how many."""
    converted: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Columns with values that were read as a migration converts them, and into what, with how many."""
    examples: dict[str, list[_Example]] = field(
        default_factory=lambda: {"added": [], "removed": [], "changed": []}
    )

    @property
    def differs(self) -> bool:
        """Whether they are not the same rows."""
        return bool(self.added or self.removed or self.changed)

    def shown(self, kind: str) -> tuple[RowValues, ...]:
        """Return the examples of one kind."""
        return tuple(example.shown(self.pair) for example in self.examples[kind])


@dataclass
class _Example:
    key: int | str
    digests: tuple[bytes | None, bytes | None]
    values: list[tuple[tuple[str, Any], ...] | None] = field(default_factory=lambda: [None, None])
    forms: list[tuple[bytes, ...]] = field(default_factory=lambda: [(), ()])
    """Of each value a digest of what it was compared by: how it is spelled may differ where it does not."""

    def shown(self, pair: TablePair) -> RowValues:
        values = [self.key] if isinstance(self.key, int) else json.loads(self.key) if self.key else []
        names = [column.backup for column in pair.key]
        ours, theirs = self.forms
        compared = zip(pair.columns, ours, theirs, strict=True) if ours and theirs else ()
        differs = tuple(column.backup for column, mine, other in compared if mine != other)
        return RowValues(tuple(zip(names, values, strict=True)), self.values[0], self.values[1], differs)


@contextmanager
def workbench(path: Path) -> Iterator[Workbench]:
    """Open a new private file for a comparison; it is the caller's to remove.

    Raises:
        StoreFull: no space left. OperationFailed: it cannot be written.
    """
    with _translated(path):
        connection = sqlite3.connect(path, isolation_level=None)
    with closing(connection):
        with _translated(path):
            # nothing in it outlives the run
            for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{CACHE_KIB}"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("BEGIN")
        yield Workbench(connection, path)


class Workbench:
    """What is left of the rows of some tables while they are compared."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def prepare(self, pairs: Sequence[TablePair]) -> list[Found]:
        """Make room for these tables."""
        for number in range(len(pairs)):
            self._run(
                f"CREATE TABLE rows{number} (key, digest BLOB, surplus INTEGER, PRIMARY KEY (key, digest)) WITHOUT ROWID"
            )
        return [Found(pair) for pair in pairs]

    def lay_out(self, founds: Sequence[Found], held: HeldRows, side: int) -> Iterator[int]:
        """Take in the rows of one side, and yield after each batch how many there were so far.

        Raises:
            As `HeldRows.read`. StoreFull: no space left.
        """
        numbers = {_table(found.pair, side).name: number for number, found in enumerate(founds)}
        count = 0
        for table, batches in held.read(numbers.keys()):
            number = numbers[table.name]
            found = founds[number]
            reader = _Reader(found.pair, table.data_columns, side, held.engine, found.unlike, found.converted)
            insert = UPSERT.format(f"rows{number}", SIGNS[side], SIGNS[side])
            for batch in batches:
                cells = batch.cells()
                taken = list(reader.entries(batch.values())) if cells is None else [reader.wide(cells)[0]]
                with _translated(self._path):
                    self._connection.executemany(insert, taken)
                found.rows[side] += len(taken)
                count += len(taken)
                yield count

    def compare(self, founds: Sequence[Found], examples: int) -> None:
        """Say what differs: each differing row once, the first few of each kind by their key."""
        for number, found in enumerate(founds):
            query = f"SELECT key, digest, surplus FROM rows{number} WHERE surplus <> 0 ORDER BY key, digest"  # noqa: S608 - a number
            with _translated(self._path):
                rows = self._connection.execute(query)
                if found.pair.key:
                    for key, group in groupby(rows, itemgetter(0)):
                        _tell(found, key, group, examples)
                else:
                    for row in rows:
                        _tell(found, "", [row], examples)

    def look_again(self, founds: Sequence[Found], held: HeldRows, side: int) -> None:
        """Read the rows of the examples once more, with their values."""
        wanted = {
            _table(found.pair, side).name: (found, looked_for)
            for found in founds
            if (looked_for := _looked_for(found, side))
        }
        if not wanted:
            return
        for table, batches in held.read(wanted.keys()):
            found, looked_for = wanted[table.name]
            reader = _Reader(found.pair, table.data_columns, side, held.engine, Counter(), Counter())
            for batch in batches:
                if (cells := batch.cells()) is not None:
                    entry, shown, forms = reader.wide(cells)
                    if entry in looked_for:
                        looked_for[entry].values[side] = shown
                        looked_for[entry].forms[side] = forms
                    continue
                rows = batch.values()
                for row, entry in zip(rows, reader.entries(rows), strict=True):
                    if entry in looked_for:
                        looked_for[entry].values[side] = reader.shown(row)
                        looked_for[entry].forms[side] = _forms(reader.values(row))

    def _run(self, statement: str) -> None:
        with _translated(self._path):
            self._connection.execute(statement)


def _table(pair: TablePair, side: int) -> Table:
    return (pair.backup, pair.against)[side]


def _tell(found: Found, key: Any, rows: Iterable[tuple[Any, bytes, int]], examples: int) -> None:
    """Count what differs under one key, where there may be several rows: as many as can be are changed ones."""
    surplus, digests = [0, 0], list[bytes | None]((None, None))
    for _, digest, count in rows:
        side = BACKUP if count > 0 else AGAINST
        surplus[side] += abs(count)
        digests[side] = digests[side] or digest
    changed = min(surplus)
    numbers = {"removed": surplus[BACKUP] - changed, "added": surplus[AGAINST] - changed, "changed": changed}
    for kind, number in numbers.items():
        if not number:
            continue
        setattr(found, kind, getattr(found, kind) + number)
        if len(found.examples[kind]) < examples:
            found.examples[kind].append(_Example(key, (digests[BACKUP], digests[AGAINST])))


def _looked_for(found: Found, side: int) -> dict[tuple[Any, bytes], _Example]:
    wanted: dict[tuple[Any, bytes], _Example] = {}
    for examples in found.examples.values():
        for example in examples:
            digest = example.digests[side]
            if digest is not None:
                wanted[example.key, digest] = example
    return wanted


class _Reader:
    """How the rows of one table are read on one side."""

    def __init__(
        self,
        tables: TablePair,
        columns: Sequence[Column],
        side: int,
        engine: EngineName,
        unlike: Counter[str],
        converted: Counter[tuple[str, str]],
    ) -> None:
        places = {column.name: place for place, column in enumerate(columns)}
        self._side = side
        self._engine = engine
        self._unlike = unlike
        self._converted = converted
        self._columns = [(places[_name(pair, side)], pair) for pair in tables.columns]
        self._key = [
            (place, pair.is_number)
            for wanted in tables.key
            for place, pair in enumerate(tables.columns)
            if pair is wanted
        ]
        self._as_they_stand = [place for place, _ in self._columns] == list(range(len(columns))) and not any(
            pair.readers[side] for pair in tables.columns
        )

    def entries(self, rows: Iterable[Sequence[Any]]) -> Iterator[tuple[int | str, bytes]]:
        """Yield the key and a digest of each row."""
        for row in rows:
            yield self._entry(self.values(row))

    def values(self, row: Sequence[Any]) -> list[Any]:
        """Return what the values of a row are compared by."""
        return [*row] if self._as_they_stand else [self._value(row[at], pair) for at, pair in self._columns]

    def wide(
        self, cells: Iterable[Any]
    ) -> tuple[tuple[int | str, bytes], tuple[tuple[str, Any], ...], tuple[bytes, ...]]:
        """Return key and digest of a row that is not held, its values for people, and digests of each of them."""
        pairs = dict(self._columns)
        values: dict[int, Any] = {}
        shown: dict[int, Any] = {}
        for place, cell in enumerate(cells):
            pair = pairs.get(place)
            if pair is None:
                continue
            if isinstance(cell, LongText | LongBytes):
                values[place], shown[place] = self._long(cell, pair)
            else:
                values[place], shown[place] = self._value(cell, pair), self._for_people(cell, pair)
        told = tuple((pair.backup, shown[at]) for at, pair in self._columns)
        read = [values[at] for at, _ in self._columns]
        return self._entry(read), told, _forms(read)

    def _entry(self, values: list[Any]) -> tuple[int | str, bytes]:
        # repr tells 1 from '1', 1.0 and true, and one list of values from every other
        text = repr(values)
        if len(text) > LONG_CHARS:
            values = [digested(value) for value in values]
            text = repr(values)
        return self._key_of(values), blake2b(text.encode(), digest_size=16).digest()

    def _long(self, cell: LongText | LongBytes, pair: ColumnPair) -> tuple[Any, Any]:
        seen = Seen(cell.parts, LONGEST_SHOWN)
        told = LongText(seen) if isinstance(cell, LongText) else LongBytes(seen)
        try:
            value = read_long(told, pair.family, pair.readers[self._side], self._engine)
        except Unlike as exc:
            self._unlike[_name(pair, self._side)] += 1
            # in a tuple it is like nothing that a rule makes
            value = exc.args
        return value, _cut(seen.beginning, seen.size)

    def shown(self, row: Sequence[Any]) -> tuple[tuple[str, Any], ...]:
        """Return the values for people, the key's too, as they stand on this side."""
        return tuple((pair.backup, self._for_people(row[at], pair)) for at, pair in self._columns)

    def _for_people(self, value: Any, pair: ColumnPair) -> Any:
        # a document holds PostgreSQL's numbers as texts: beside a number of SQLite's one is shown as a number
        if self._engine is EngineName.POSTGRESQL and pair.family is Family.NUMBER and isinstance(value, str):
            value = _as_number(value)
        return _shown(value)

    def _value(self, value: Any, pair: ColumnPair) -> Any:
        read = pair.readers[self._side]
        if value is None or read is None:
            return value
        if (
            pair.as_migrated
            and self._engine is EngineName.SQLITE
            and isinstance(value, pair.as_migrated.kinds)
        ):
            read = self._as_migrated(read, pair.as_migrated, _name(pair, self._side))
        try:
            return read(value)
        except Unlike:
            self._unlike[_name(pair, self._side)] += 1
            # in a tuple it is like nothing that a rule makes
            return (value,)

    def _as_migrated(self, plain: Reader, migrated: AsMigrated, name: str) -> Reader:
        def read(value: Any) -> Any:
            if isinstance(value, str) and (text := plain(value)) != value:
                return text
            try:
                found = migrated.read(value)
            except Unlike:
                return plain(value)
            with suppress(Unlike):
                if found == plain(value):
                    return found
            self._converted[name, migrated.type] += 1
            return found

        return read

    def _key_of(self, values: Sequence[Any]) -> int | str:
        """Return the key as the workbench holds it: a number where it is one, so that 9 stands before 10."""
        if not self._key:
            return ""
        if len(self._key) == 1:
            value = values[self._key[0][0]]
            # the form that number_of has for it, too
            if type(value) is int and value in SHORT_INTEGERS:
                return value
        key = [number_of(values[at]) if is_number else values[at] for at, is_number in self._key]
        if len(key) == 1 and type(key[0]) is int and key[0] in SHORT_INTEGERS:
            return key[0]
        return json.dumps([_short(value) for value in key], default=repr)


def _forms(values: Iterable[Any]) -> tuple[bytes, ...]:
    """Return a digest of each value, the same whether it was held or came in parts."""
    return tuple(blake2b(repr(digested(value)).encode(), digest_size=16).digest() for value in values)


def _name(pair: ColumnPair, side: int) -> str:
    return (pair.backup, pair.against)[side]


def _short(value: Any) -> Any:
    """Return a value of a key as JSON holds it, a long one by its beginning and a digest."""
    if isinstance(value, tuple):
        value = repr(value)
    if isinstance(value, str | bytes) and len(value) > LONGEST_IN_KEY:
        digest = blake2b(repr(value).encode(), digest_size=8).hexdigest()
        beginning = value[:LONGEST_IN_KEY]
        value = f"{beginning if isinstance(beginning, str) else beginning.hex()}… {digest}"
    return spelled(value)


def _as_number(value: str) -> Any:
    """Return the number that a text says, where Python has exactly that; any other stays the text it is."""
    text = str(number_of(value))
    for read in (int, float):
        try:
            if repr(read(text)) == text and text not in ("nan", "inf", "-inf"):
                return read(text)
        except ValueError:
            continue
    return value


def _shown(value: Any) -> Any:
    if isinstance(value, str | bytes) and len(value) > LONGEST_SHOWN:
        return _cut(value[:LONGEST_SHOWN], len(value))
    return spelled(value)


def _cut(beginning: str | bytes, size: int) -> str:
    text = beginning if isinstance(beginning, str) else beginning.hex()[:LONGEST_SHOWN]
    return f"{text.encode('utf-8', 'replace').decode()}… ({size:,})"


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        if getattr(exc, "sqlite_errorname", "").startswith("SQLITE_FULL"):
            raise StoreFull(
                f"no space left for the comparison in {path.parent}",
                hint="free some space, or compare fewer tables at a time with --table",
                state="nothing was touched",
            ) from exc
        raise OperationFailed(
            f"the comparison in {path.parent} broke off: {exc}", state="nothing was touched"
        ) from exc
