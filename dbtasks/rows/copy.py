"""From a source into a sink: table after table, each row once."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from . import TableSink, TableSource
from .schema import Table

__all__ = ["copy_tables"]


def copy_tables(source: TableSource, sink: TableSink, tables: Iterable[Table]) -> dict[str, int]:
    """Copy the rows of these tables and return how many each had.

    Raises:
        As the source's `rows` and the sink's `take`; the sink is unfinished then.
    """
    counts = {}
    for table in tables:
        # closed at once when the sink fails: the connection is needed for the rollback
        with closing(source.rows(table)) as batches:
            counts[table.name] = sink.take(table, batches)
    return counts
