"""A `rows` backup of SQLite: its tables in one read transaction, as the portable document."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ...events import OnEvent, Phase
from ...models import Compression, DatabaseFacts, Format, Route, TableCount
from ...plans import Dumped, DumpPlan, DumpRequest
from ...rows.copy import copy_tables
from ...rows.file import FileSink
from ...rows.schema import document_of
from ...rows.sqlite import SqliteSource
from ...rows.sqlite_schema import plain_tables
from ...stores import Draft
from ...streams import HashingWriter, compressing
from ..rows_archive import not_by_itself
from . import facts, files
from .choose_rows import Chosen, choose_rows, left_out
from .file_numbers import numbers_of
from .rows_fit import referring_into

if TYPE_CHECKING:
    import sqlite3

    from . import SqliteEngine

__all__ = ["dump_rows", "plan_rows"]

SUFFIX = ".json.gz"


def plan_rows(engine: SqliteEngine, request: DumpRequest, *, globals_: bool) -> DumpPlan:
    """See `Engine.plan_dump`."""
    _refuse_foreign_flags(request, globals_=globals_)
    found = engine.facts()
    with files.reading(engine.path, engine.settings.lock_timeout) as connection:
        chosen = _chosen(engine, request, connection)
        lacks = left_out(connection)
        outside = [name for name in plain_tables(connection, found.tables) if name not in chosen.with_rows]
        referring = referring_into(connection, chosen.with_rows, outside)
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
        with draft.create() as file:
            archive = HashingWriter(file)
            with compressing(archive, Compression.GZIP) as sink:
                document = FileSink(sink, {**_metadata(engine, plan, found, source), **numbers}, on_event)
                counts = copy_tables(source, document, source.tables)
                document.finish()
        broken = facts.broken_foreign_keys(connection)
        sequences = tuple(f"{one.name}={one.last_value}" for one in source.schema.sequences)
    bare = [TableCount(name, rows=None, data=False) for name in chosen.without_rows]
    every = [*bare, *(TableCount(name, rows) for name, rows in counts.items())]
    return Dumped(
        tables=tuple(sorted(every, key=lambda table: table.name)),
        sequences=sequences,
        warnings=broken,
        raw_size_bytes=document.size_bytes,
        sha256=archive.sha256,
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
    if request.compression not in (None, Compression.GZIP):
        raise UsageError(
            f"a rows backup is gzip: --compression={request.compression} is for the other formats"
        )


def _metadata(
    engine: SqliteEngine, plan: DumpPlan, found: DatabaseFacts, source: SqliteSource
) -> dict[str, Any]:
    target = engine.target
    metadata: dict[str, Any] = {
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "migration_version": ", ".join(found.revision.revisions) if found.revision else None,
        "database_name": target.name,
        "database_host": target.identity.server,
        "engine": str(target.engine),
        "server_version": found.server_version,
    }
    if not plan.request.data_only:
        metadata["schema"] = document_of(source.schema)
    return metadata
