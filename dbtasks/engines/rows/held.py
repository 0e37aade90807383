"""The rows of a backup, wherever they have to be taken from: its document, its file, or a scratch database it is loaded into."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from ...errors import ArchiveDamaged, Refused, UsageError
from ...events import OnEvent, Phase
from ...models import Archive, EngineName, Format
from ...rows import Batch
from ...rows.cells import LongBytes, LongText
from ...rows.comparison.held import HeldRows
from ...rows.schema import PortableSchema, Table
from ..scratch import ScratchPlaces
from .archive import Head, engine_of_rows, head_of_rows, opened_rows, prove_header

__all__ = ["rows_of_archive", "where_rows_are_read"]

T = TypeVar("T")
VALUES = frozenset({type(None), bool, int, float, str, bytes})
LEFT_OUT = "its rows are not in the backup"


@contextmanager
def rows_of_archive(archive: Archive, places: ScratchPlaces, on_event: OnEvent) -> Iterator[HeldRows]:
    """Make the rows of an archive readable; what that took is gone when the block ends.

    A rows document and a SQLite file are read as they are; an archive of pg_dump's is restored into a scratch
    database, as for `db.verify --restore`.

    Raises:
        ArchiveDamaged: it cannot be read. LoadFailed, CannotReach, StoreFull, Refused, Busy: as `ScratchPlaces.loaded`.
    """
    if archive.format is Format.ROWS:
        on_event(Phase("read", archive.path.name))
        yield _Document(archive)
        return
    if archive.format is Format.SQLITE:
        from ..sqlite.held_rows import archive_rows

        on_event(Phase("read", archive.path.name))
        with archive_rows(archive) as held:
            yield held
        return
    with places.loaded(archive) as loaded, loaded.held_rows() as held:
        yield held


def where_rows_are_read(archive: Archive, places: ScratchPlaces) -> str:
    """Say how the rows of an archive would be had; empty: by reading it.

    Raises:
        As `ScratchPlaces.foresee`.
    """
    if archive.format in (Format.ROWS, Format.SQLITE):
        return ""
    return places.foresee(archive)


class _Proved:
    """A batch of a document, which anybody may have written: its rows are rows of the table."""

    def __init__(self, batch: Batch, table: Table, name: str) -> None:
        self.count = batch.count
        self._batch = batch
        self._table = table
        self._name = name

    def lines(self) -> Iterable[bytes]:
        """Return them as they stand."""
        return self._batch.lines()

    def values(self) -> Sequence[Sequence[Any]]:
        """Parse them.

        Raises:
            ArchiveDamaged: one is not as many values as the table has columns, or no value.
        """
        try:
            rows = self._batch.values()
        except (ValueError, TypeError, RecursionError) as exc:
            raise self._damaged(type(exc).__name__) from exc
        width = len(self._table.data_columns)
        for row in rows:
            if not (type(row) is list and len(row) == width and VALUES.issuperset(map(type, row))):
                raise self._damaged("not one value for each column")
        return rows

    def cells(self) -> Iterator[Any] | None:
        """Read a wide row value by value.

        Raises:
            ArchiveDamaged: as `values`, when it comes to that.
        """
        cells = self._batch.cells()
        return None if cells is None else self._proved(cells)

    def _proved(self, cells: Iterator[Any]) -> Iterator[Any]:
        count = 0
        try:
            for cell in cells:
                count += 1
                if isinstance(cell, LongText):
                    yield LongText(self._proved_parts(cell.parts))
                elif isinstance(cell, LongBytes):
                    yield LongBytes(self._proved_parts(cell.parts))
                else:
                    yield cell
        except ValueError as exc:
            raise self._damaged(type(exc).__name__) from exc
        if count != len(self._table.data_columns):
            raise self._damaged("not one value for each column")

    def _proved_parts(self, parts: Iterator[T]) -> Iterator[T]:
        try:
            yield from parts
        except ValueError as exc:
            raise self._damaged(type(exc).__name__) from exc

    def _damaged(self, why: str) -> ArchiveDamaged:
        return ArchiveDamaged(
            f"{self._name} is not a whole rows file: a row of {self._table.name} is none ({why})"
        )


class _Document:
    """The rows of a `rows` archive; each reading goes through it once."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._head: Head = head_of_rows(archive)
        made_for = engine_of_rows(archive)
        if made_for is None:
            raise Refused(
                f"{archive.path.name} was written by an older tool: what its values are is said by the tables they go"
                " into, and they are not compared row by row",
                hint="let it go into a copy of the database, which has its tables (db.restore --into=COPY), back that up, and compare"
                " with the backup",
                state="nothing was touched",
            )
        self.engine: EngineName = made_for

    @property
    def schema(self) -> PortableSchema:
        """As it stands in the document."""
        return self._head.schema

    @property
    def tables(self) -> tuple[Table, ...]:
        """Those that have rows in it, or none and might."""
        filled = set(self._head.filled)
        return tuple(table for table in self.schema.tables if table.name in filled)

    @property
    def withheld(self) -> Collection[str]:
        """None: a file is read whole."""
        return ()

    @property
    def unread(self) -> Mapping[str, str]:
        """Those that are described and left out of the data."""
        filled = set(self._head.filled)
        return {
            table.name: LEFT_OUT
            for table in self.schema.tables
            if table.name not in filled and not table.partition_by
        }

    def read(self, names: Collection[str]) -> Iterator[tuple[Table, Iterator[Batch]]]:
        """Read these tables in the document's order.

        Raises:
            ArchiveDamaged: it is not whole, or its rows are not those of its schema.
        """
        met: set[str] = set()
        name = self._archive.path.name
        with opened_rows(self._archive) as document:
            for header in document.headers():
                table = self.schema.table(header.name)
                if header.name not in names or table is None:
                    continue
                prove_header(self._archive, self._head, header)
                met.add(header.name)
                yield table, (_Proved(batch, table, name) for batch in document.rows(table))
        if missing := set(names) - met:
            raise UsageError(f"{name} holds no rows of {min(missing)}")
