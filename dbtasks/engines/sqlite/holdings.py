"""What a SQLite file, live or in an archive, holds, for a comparison; both are only read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ArchiveDamaged, WrongEngine
from ...holdings import Holdings
from ...models import Archive, Format, Manifest
from ...rows.comparison.definitions import definitions_of
from ...rows.sqlite.schema import describe, plain_tables
from ...schemas import Schema
from . import check, facts, files

if TYPE_CHECKING:
    from . import SqliteEngine

__all__ = ["archive_holdings", "as_told_by_rows", "holdings_here", "live_holdings", "live_schema"]


def live_holdings(engine: SqliteEngine) -> Holdings:
    """Read rows and schema in one read transaction, which no backup and, in WAL mode, no writer waits for.

    Raises:
        TargetUnreachable: no such file. Busy: it stayed locked. ArchiveDamaged: it is no sound database.
    """
    with files.reading(engine.path, engine.settings.lock_timeout) as connection:
        connection.execute("BEGIN")
        return holdings_here(engine, connection)


def holdings_here(engine: SqliteEngine, connection: sqlite3.Connection) -> Holdings:
    """Say the same in the caller's transaction."""
    found = _holdings(connection, engine.path, engine.settings.migration_table)
    pids = files.openers(engine.path)
    return replace(found, sessions=tuple(f"process {pid} has the file open" for pid in pids))


def live_schema(engine: SqliteEngine) -> Schema:
    """Read the definitions alone; raises as `live_holdings`."""
    with files.reading(engine.path, engine.settings.lock_timeout) as connection:
        return facts.schema_of(connection)


def archive_holdings(archive: Archive, migration_table: str | None, *, as_rows: bool = False) -> Holdings:
    """Open an archive's database read-only; a compressed one is unpacked into a private folder that goes again.

    The rows are the manifest's, which were counted in it when it was made; without one they are counted now.
    `as_rows`: only what a rows backup would tell.

    Raises:
        ArchiveDamaged: it cannot be read. WrongEngine: it is no SQLite database.
    """
    if archive.format is not Format.SQLITE:
        raise WrongEngine(f"{archive.path.name} is a {archive.format} archive of PostgreSQL")
    manifest = archive.manifest
    with check.laid_open(archive) as plain, _opened(plain, archive.path.name) as connection:
        if manifest is None:
            told = _holdings(connection, plain, migration_table)
        else:
            told = _told(manifest, facts.schema_of(connection))
        return as_told_by_rows(connection, told) if as_rows else told


def as_told_by_rows(connection: sqlite3.Connection, held: Holdings) -> Holdings:
    """Return what a rows backup would tell of a file: its plain tables, with their indexes."""
    plain = plain_tables(connection, held.tables)
    return replace(
        held,
        tables=plain,
        rows={name: held.rows[name] for name in plain if name in held.rows},
        schema=definitions_of(describe(connection, plain)),
    )


def _told(manifest: Manifest, schema: Schema) -> Holdings:
    return Holdings(
        tables=tuple(table.name for table in manifest.tables),
        rows=manifest.counts,
        not_counted=manifest.not_counted,
        schema=schema,
        revision=manifest.revision,
        server_version=manifest.server_version,
    )


@contextmanager
def _opened(plain: Path, name: str) -> Iterator[sqlite3.Connection]:
    try:
        with files.translated(plain), files.opened(plain, "ro", immutable=True) as connection:
            yield connection
    except ArchiveDamaged as exc:
        raise ArchiveDamaged(f"{name} is not a readable SQLite database", details=exc.details) from exc


def _holdings(connection: sqlite3.Connection, path: Path, migration_table: str | None) -> Holdings:
    known = facts.facts_of(connection, path, migration_table)
    return Holdings(
        tables=known.tables,
        rows=facts.count_rows(connection),
        schema=facts.schema_of(connection),
        revision=known.revision,
        server_version=known.server_version,
    )
