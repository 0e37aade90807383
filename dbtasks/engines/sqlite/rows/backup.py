"""A `rows` backup of SQLite: its tables in one read transaction, as the portable document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....errors import UsageError
from ....events import OnEvent, Phase
from ....models import Compression, Format, Route, TableCount
from ....plans import Dumped, DumpPlan, DumpRequest
from ....rows.sqlite.schema import plain_tables
from ....rows.sqlite.source import SqliteSource
from ....stores import Draft
from ...rows.document import SUFFIX, document_head, refuse_compression, write_document
from ...rows.fit import leaning_words, not_by_itself
from .. import facts, files
from ..affinity import any_told_apart
from .file_numbers import numbers_of
from .fit import referring_into
from .tables import Chosen, choose_rows, left_out

if TYPE_CHECKING:
    import sqlite3

    from .. import SqliteEngine

__all__ = ["dump_rows", "plan_rows"]


def plan_rows(engine: SqliteEngine, request: DumpRequest, *, globals_: bool) -> DumpPlan:
    """See `Engine.plan_dump`."""
    _refuse_foreign_flags(request, globals_=globals_)
    found = engine.facts()
    with files.reading(engine.path, engine.settings.lock_timeout) as connection:
        chosen = _chosen(engine, request, connection)
        lacks = left_out(connection)
        outside = [name for name in plain_tables(connection, found.tables) if name not in chosen.with_rows]
        referring = referring_into(connection, chosen.with_rows, outside)
        lean = referring_into(connection, outside, chosen.with_rows)
    return DumpPlan(
        request=request,
        format=Format.ROWS,
        compression=Compression.GZIP,
        suffix=SUFFIX,
        route=Route.FILE,
        why="SQLite is read directly",
        facts=found,
        tool_version=engine.tool_version,
        complete=False,
        all_tables=not chosen.not_included and bool(found.tables),
        not_included=(*chosen.not_included, *lacks),
        tables=chosen.with_rows,
        tables_without_data=chosen.without_rows,
        warnings=(
            *chosen.warnings,
            *not_by_itself(referring),
            *leaning_words(lean),
            *(() if found.tables else (f"{engine.target.name} holds no tables",)),
        ),
    )


def dump_rows(engine: SqliteEngine, plan: DumpPlan, draft: Draft, on_event: OnEvent) -> Dumped:
    """See `Engine.dump`."""
    on_event(Phase("dump", engine.target.name))
    with files.reading(engine.path, engine.settings.lock_timeout) as connection:
        # the first look takes the snapshot: under WAL writers go on, otherwise they wait
        connection.execute("BEGIN")
        chosen = _chosen(engine, plan.request, connection)
        lacks = left_out(connection)
        # what the plan saw may be older than the rows
        found = facts.facts_of(connection, engine.path, engine.settings.migration_table)
        numbers = numbers_of(connection)
        source = SqliteSource(connection, chosen.with_rows, without_rows=chosen.without_rows)
        head = {**document_head(engine.target, found), **numbers}
        written = write_document(
            draft, head, source, map(any_told_apart, source.tables), plan.request, on_event
        )
        broken = facts.broken_foreign_keys(connection)
        if chosen.not_included:
            # what a restore of this part meets, where it is another number
            broken = tuple(dict.fromkeys((*broken, *facts.broken_foreign_keys(connection, chosen.with_rows))))
        sequences = tuple(f"{one.name}={one.last_value}" for one in source.schema.sequences)
    bare = [TableCount(name, rows=None, data=False) for name in chosen.without_rows]
    every = [*bare, *(TableCount(name, rows) for name, rows in written.rows.items())]
    return Dumped(
        tables=tuple(sorted(every, key=lambda table: table.name)),
        sequences=sequences,
        warnings=broken,
        raw_size_bytes=written.raw_size_bytes,
        sha256=written.sha256,
        not_included=(*chosen.not_included, *lacks),
        facts=found,
    )


def _chosen(engine: SqliteEngine, request: DumpRequest, connection: sqlite3.Connection) -> Chosen:
    settings = engine.settings
    return choose_rows(
        connection, request, exclude_tables=settings.exclude_tables, exclude_data=settings.exclude_data
    )


def _refuse_foreign_flags(request: DumpRequest, *, globals_: bool) -> None:
    given = {
        "--no-owner": request.no_owner,
        "--globals": globals_,
        "--jobs": request.jobs,
        "arguments after --": request.extra,
    }
    for flag, value in given.items():
        if value:
            raise UsageError(f"{flag} means nothing for a rows backup")
    refuse_compression(request)
