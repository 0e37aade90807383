"""Planning a dump: versions, names and rights are proved before a byte is written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ....errors import MissingExtra, RightMissing, UsageError, VersionMismatch
from ....models import Compression, Format, Route
from ....nouns import some
from ....plans import DumpPlan, DumpRequest
from ....runners import ToolVersion
from ....sessions import Session
from ....streams import zstd_available
from ..facts import COUNTED, INSIDE, PARTITIONED, SEQUENCE, database_facts
from ..holes import dumping_holes
from ..names import prove_name
from ..tables import Selection
from .commands import SUFFIXES, zstd_in_pg_dump
from .extra import ROW_SECURITY, metadata_left_out, read_extra
from .held_tables import wanted_tables

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["format_of", "plan_dump", "prove_rights", "prove_version"]

UNREADABLE = """
    SELECT c.oid FROM pg_catalog.pg_class c WHERE c.oid = ANY (%s) AND NOT (
        pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE')
        AND CASE c.relkind WHEN 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
                           ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END)
"""
FILTERED = (
    "SELECT oid FROM pg_catalog.unnest(%s::pg_catalog.oid[]) oid WHERE pg_catalog.row_security_active(oid)"
)
MAY_READ_ROLES = "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')"


def plan_dump(engine: PostgresEngine, request: DumpRequest, *, globals_: bool) -> DumpPlan:
    """Prove that a dump can be made and say what it will hold.

    Raises:
        UsageError: flags do not fit together, or a table does not exist.
        ToolMissing, VersionMismatch: the tools cannot do it.
        RightMissing: the role may not read all of it; names what.
    """
    prove_name(engine.target.database)
    given = {argument.name for argument in read_extra(request.extra)}
    format_ = format_of(engine, request)
    jobs = _jobs(engine, request, format_)
    _prove_tools(engine, format_, globals_=globals_)
    compression = _compression(engine, request, format_)
    settings = engine.settings
    with engine.session() as session:
        facts = database_facts(session, migration_table=settings.migration_table)
        selection = wanted_tables(engine, request, format_, session)
        prove_rights(
            session,
            selection,
            filtered=ROW_SECURITY in given,
            hint="use the owner's login or a role with BYPASSRLS; `-- --enable-row-security`"
            " makes a partial backup of the visible rows",
        )
        if globals_:
            _prove_globals(session)
    return DumpPlan(
        request=request,
        format=format_,
        compression=compression,
        suffix=SUFFIXES[format_, compression],
        route=engine.route,
        why=engine.why,
        facts=facts,
        tool_version=engine.tool_version,
        complete=not selection.not_included,
        not_included=(*selection.not_included, *metadata_left_out(request.extra)),
        tables=tuple(str(table) for table in selection.with_rows),
        tables_without_data=tuple(str(table) for table in selection.without_rows),
        jobs=jobs,
        globals=globals_,
        warnings=(*selection.warnings, *dumping_holes(engine.runner.version("pg_dump"))),
    )


def format_of(engine: PostgresEngine, request: DumpRequest) -> Format:
    """Return what is asked for; without client tools there is only one.

    Raises:
        UsageError: it is SQLite's, or not to be had without client tools.
    """
    wanted = request.format or engine.settings.format
    if engine.route is Route.PYTHON and wanted not in (None, Format.ROWS):
        raise UsageError(
            f"format={wanted} is made by pg_dump, and the python route has none",
            hint="--format=rows is what it makes; or --via=container, --via=host",
        )
    format_ = wanted or (Format.ROWS if engine.route is Route.PYTHON else Format.CUSTOM)
    if format_ is Format.SQLITE:
        raise UsageError(
            f"{engine.target.name} is a PostgreSQL database: format=sqlite is for SQLite files",
            hint="use custom, sql, directory or rows",
        )
    return format_


def _jobs(engine: PostgresEngine, request: DumpRequest, format_: Format) -> int:
    if format_ is Format.DIRECTORY:
        return request.jobs or engine.settings.jobs or os.cpu_count() or 1
    if request.jobs and request.jobs > 1:
        raise UsageError(f"a {format_} dump is one stream: --jobs={request.jobs} needs --format=directory")
    return 1


def _compression(engine: PostgresEngine, request: DumpRequest, format_: Format) -> Compression:
    """Choose the codec: pg_dump's own for custom and directory, ours for sql."""
    wanted = request.compression or engine.settings.compression
    if format_ is Format.SQL:
        if wanted is Compression.ZSTD and not zstd_available():
            raise MissingExtra("zstd needs one more package", hint='pip install "dbtasks[zstd]"')
        return wanted or Compression.GZIP
    if wanted not in (None, Compression.ZSTD):
        return wanted
    if zstd_in_pg_dump(engine.runner):
        return Compression.ZSTD
    if wanted is Compression.ZSTD:
        raise VersionMismatch(
            f"{engine.tool_version} ({engine.runner.where}) cannot write zstd",
            hint="--compression=gzip works with every pg_dump; --format=sql compresses by itself",
        )
    return Compression.GZIP


# -- proofs -------------------------------------------------------------------------


def _prove_tools(engine: PostgresEngine, format_: Format, *, globals_: bool) -> None:
    runner = engine.runner
    pg_dump = runner.version("pg_dump")
    prove_version(engine, "pg_dump", pg_dump)
    if globals_:
        prove_version(engine, "pg_dumpall", runner.version("pg_dumpall"))
    if format_ is not Format.SQL and runner.version("pg_restore").major < pg_dump.major:
        raise VersionMismatch(
            f"pg_restore {runner.version('pg_restore')} cannot read what pg_dump {pg_dump} writes,"
            " so the backup could not be verified",
            hint="install both of one version, or set pg_bin to a folder that has both",
        )


def prove_version(engine: PostgresEngine, tool: str, version: ToolVersion) -> None:
    """Demand a tool that is not older than the server.

    Raises:
        VersionMismatch: it is.
    """
    server = engine.server_version()
    if version.major < server // 10_000:
        raise VersionMismatch(
            f"{tool} {version} ({engine.runner.where}) is older than the server {server // 10_000}.{server % 10_000}"
            " and would refuse to dump it",
            hint=f"install the client tools of PostgreSQL {server // 10_000}, or set pg_bin to their folder;"
            " --via=python makes a partial backup without any",
            state="nothing was written",
        )


def prove_rights(session: Session, selection: Selection, *, hint: str, filtered: bool = False) -> None:
    """Prove that everything may be read whole: a dump would stop at the first that may not.

    Raises:
        RightMissing: names what may not, or is filtered, which is let pass where it was asked for.
    """
    names = {relation.oid: str(relation) for relation in selection.dumped}
    read = [r.oid for r in selection.dumped if r.kind in (*COUNTED, INSIDE, PARTITIONED, SEQUENCE)]
    unreadable = sorted(names[oid] for (oid,) in session.rows(UNREADABLE, (read,)))
    if unreadable:
        raise RightMissing(
            f"the role may not read {some(unreadable)}",
            hint="grant it pg_read_all_data, use the owner's login, or leave them out with --exclude-table",
            state="nothing was written",
        )
    if filtered:
        return
    with_rows = [table.oid for table in selection.with_rows]
    hidden = sorted(names[oid] for (oid,) in session.rows(FILTERED, (with_rows,)))
    if hidden:
        raise RightMissing(
            f"row-level security hides rows of {some(hidden)} from this role",
            hint=hint,
            state="nothing was written",
        )


def _prove_globals(session: Session) -> None:
    ((may,),) = session.rows(MAY_READ_ROLES)
    if not may:
        raise RightMissing(
            "--globals needs a superuser: only one may read the roles' password hashes",
            hint="leave --globals out, or use a superuser's login",
            state="nothing was written",
        )
