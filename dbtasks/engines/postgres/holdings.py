"""What a PostgreSQL database or an archive of one holds, for a comparison; only read, and no row is ever fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import Busy, CommandFailed, OperationFailed, RightMissing
from ...holdings import NOT_TOLD, Holdings
from ...models import Archive, Format
from ...runners import Command
from ...schemas import Schema
from ..parts_left_out import rows_alone
from .archive.contents import read_contents, read_output
from .connected import other_sessions
from .dumping.prove import prove_version
from .facts import COUNTED, count_rows, database_facts, reading_snapshot, relations
from .holes import known_holes
from .server import offered_extensions, roles_there

if TYPE_CHECKING:
    from . import PostgresEngine

__all__ = ["archive_holdings", "live_holdings", "live_schema"]

IN_EVERY_DATABASE = {"plpgsql": ""}


def live_holdings(engine: PostgresEngine) -> Holdings:
    """Read rows and schema in one read-only snapshot; its locks stand in nobody's way but a DROP's or ALTER's.

    Raises:
        CannotReach: the server, a tool or a right is missing. Busy: a table stayed locked.
        OperationFailed: pg_dump broke off.
    """
    with engine.session() as session:
        facts = database_facts(session, migration_table=engine.settings.migration_table)
        roles, offered = frozenset(roles_there(session)), offered_extensions(session)
        sessions = other_sessions(session, engine.target.database)
        with reading_snapshot(session):
            ((snapshot,),) = session.rows("SELECT pg_catalog.pg_export_snapshot()")
            schema = live_schema(engine, str(snapshot))
            tables = [relation for relation in relations(session) if relation.kind in COUNTED]
            rows, not_counted = {}, ""
            try:
                rows = {str(table): number for table, number in count_rows(session, tables).items()}
            except (RightMissing, Busy) as exc:
                not_counted = exc.message
    return Holdings(
        tables=tuple(str(table) for table in tables),
        rows=rows,
        not_counted=not_counted,
        schema=schema,
        revision=facts.revision,
        extensions=facts.extensions,
        roles=roles,
        offered={name: version for name, (version, _) in offered.items()},
        sessions=sessions,
        server_version=facts.server_version,
    )


def live_schema(engine: PostgresEngine, snapshot: str = "") -> Schema:
    """Let pg_dump write the definitions, and read them as an archive's are read.

    Raises:
        CannotReach: pg_dump is missing or too old, or the role may not. Busy: a table stayed locked.
        OperationFailed: pg_dump broke off.
    """
    prove_version(engine, "pg_dump", engine.runner.version("pg_dump"))
    arguments = ["--format=plain", "--schema-only", "--no-password"]
    if snapshot:
        arguments.append(f"--snapshot={snapshot}")
    if engine.settings.lock_timeout:
        arguments.append(f"--lock-wait-timeout={int(engine.settings.lock_timeout * 1000)}")
    command = Command("pg_dump", tuple(arguments), env={"PGDATABASE": engine.target.database})
    try:
        return read_output(engine.runner, command).schema
    except CommandFailed as exc:
        raise _not_read(engine.target.database, exc) from exc


def _not_read(database: str, exc: CommandFailed) -> Exception:
    if "LOCK TABLE" in exc.details and "timeout" in exc.details:
        return Busy(
            f"the schema of {database} was not read: a table stayed locked",
            details=exc.details,
            hint="wait for that transaction, or raise lock_timeout",
        )
    if "permission denied" in exc.details:
        return RightMissing(
            f"the schema of {database} was not read: this role may not read all of its tables",
            details=exc.details,
            hint="grant it pg_read_all_data, or use the owner's login",
        )
    return OperationFailed(
        f"the schema of {database} was not read: {exc.message}",
        details=exc.details,
        state="nothing was touched",
    )


def archive_holdings(engine: PostgresEngine, archive: Archive) -> Holdings:
    """Read an archive's definitions, and what its manifest tells; no database is asked.

    Raises:
        ArchiveDamaged, VersionMismatch, Refused: it cannot be read.
    """
    manifest = archive.manifest
    contents = read_contents(engine, archive)
    given = {contents.public_owner} - {""}
    roles = frozenset(contents.owners | contents.named | contents.in_policies | given)
    tool = "" if archive.is_ours or archive.format is Format.SQL else "pg_restore"
    holes = known_holes(engine.runner.version(tool)) if tool else ()
    warnings = tuple(f"pg_restore {hole}" for hole in holes)
    if manifest is None:
        return Holdings(not_counted=NOT_TOLD, schema=contents.schema, roles=roles, warnings=warnings)
    # a dump does not name what every new database has
    extensions = {**({} if archive.is_ours else IN_EVERY_DATABASE), **manifest.extensions}
    lacks = rows_alone(manifest.not_included)
    return Holdings(
        tables=tuple(table.name for table in manifest.tables),
        rows=manifest.counts,
        not_counted=manifest.not_counted,
        schema=None if lacks else contents.schema,
        no_schema=f"the backup lacks {lacks}" if lacks else "",
        revision=manifest.revision,
        extensions=extensions,
        roles=roles,
        server_version=manifest.server_version,
        warnings=warnings,
    )
