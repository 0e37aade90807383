"""TimescaleDB: what of a database is its inside, and what it wants done around a load and an exchange of names.

A load: the extension in the backup's own version, timescaledb_pre_restore(),
the load, timescaledb_post_restore(), whatever became of the load. Its
background workers run policies, which change and drop rows: they stay stopped
until a database is live. A rename stops them as well, so whoever renames
starts those of the live database again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import DbTasksError, TargetUnreachable
from ...plans import Timescale
from ...schemas import Schema
from ...sessions import Session
from .hypertables import SCHEMAS

if TYPE_CHECKING:
    from . import PostgresEngine

__all__ = [
    "EXTENSION",
    "RESTORING",
    "offered_versions",
    "restoring",
    "without_inside",
    "workers_started_after",
]

EXTENSION = "timescaledb"
RESTORING = "timescaledb.restoring"
"""What timescaledb_pre_restore() sets on the database, and timescaledb_post_restore() takes away."""
VERSIONS = """
    SELECT version::text AS version FROM pg_catalog.pg_available_extension_versions WHERE name = 'timescaledb' ORDER BY 1
"""
# where they are depends on the version: the first of these schemas since 2.12
WORKERS = """
    SELECT n.nspname::text AS schema FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE p.proname = %s AND p.pronargs = 0 AND n.nspname IN ('_timescaledb_functions', '_timescaledb_internal')
      AND EXISTS (SELECT FROM pg_catalog.pg_extension x WHERE x.extname = 'timescaledb')
    ORDER BY 1
"""
STOP, START = "stop_background_workers", "start_background_workers"


def offered_versions(session: Session) -> tuple[str, ...]:
    """Return the versions that the server could install; none where it has no TimescaleDB."""
    return tuple(str(version) for (version,) in session.rows(VERSIONS))


# -- a load ------------------------------------------------------------------------------


@contextmanager
def restoring(engine: PostgresEngine, wanted: Timescale | None, database: str) -> Iterator[None]:
    """Hold a new database in restoring mode while it is loaded; without TimescaleDB nothing is done.

    Afterwards the mode is ended, whether the block ended well or not, and the
    background workers are stopped.

    Raises:
        QueryFailed, RightMissing: the extension or one of its functions says no. After a failed load
            only that is raised.
    """
    if wanted is None:
        yield
        return
    with engine.session(database) as session:
        # the first of its kind in this session, as the extension asks for: another version cannot be loaded by then
        _create(session, wanted)
        try:
            _call(session, wanted.schema, "timescaledb_pre_restore")
        except BaseException:
            with suppress(DbTasksError):
                _end(session, wanted)
            raise
    try:
        yield
    except BaseException:
        # the load's own error is the news
        with suppress(DbTasksError), engine.session(database) as session:
            _end(session, wanted)
        raise
    with engine.session(database) as session:
        _end(session, wanted)


def _create(session: Session, wanted: Timescale) -> None:
    from psycopg2 import sql

    schema = sql.Identifier(wanted.schema)
    if wanted.schema != "public":
        session.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
    statement = sql.SQL("CREATE EXTENSION {} WITH SCHEMA {} VERSION {}")
    session.execute(statement.format(sql.Identifier(EXTENSION), schema, sql.Literal(wanted.version)))


def _end(session: Session, wanted: Timescale) -> None:
    """End the restoring mode; the workers this starts wait for the transaction's end, and are stopped before it."""
    session.execute("BEGIN")
    _call(session, wanted.schema, "timescaledb_post_restore")
    _workers(session, STOP)
    session.execute("COMMIT")


def _call(session: Session, schema: str, function: str) -> None:
    from psycopg2 import sql

    session.rows(sql.SQL("SELECT {}() AS done").format(sql.Identifier(schema, function)))


def _workers(session: Session, function: str) -> None:
    for (schema,) in session.rows(WORKERS, (function,))[:1]:
        _call(session, schema, function)


# -- an exchange of names ------------------------------------------------------------------


@contextmanager
def workers_started_after(engine: PostgresEngine) -> Iterator[list[str]]:
    """Start the background workers of whatever bears the live name when the block has ended, well or not.

    Yields a list for warnings: what did not work, after a block that ended
    well; after a failure it is told in the error's `state`.
    """
    warnings: list[str] = []
    try:
        yield warnings
    except BaseException as exc:
        said = _start(engine)
        if said and isinstance(exc, DbTasksError):
            exc.state = "; ".join(text for text in (exc.state, said) if text)
        raise
    if said := _start(engine):
        warnings.append(said)


def _start(engine: PostgresEngine) -> str:
    """Start them where there are any; returns why they may not run."""
    try:
        with engine.maintenance_session() as session:
            offered = offered_versions(session)
    except DbTasksError:
        return ""
    if not offered:
        return ""
    target = engine.target.database
    try:
        with engine.session() as session:
            _workers(session, START)
    except TargetUnreachable:
        # a server that comes back starts all of them by itself; and where no database is, no workers are
        return ""
    except DbTasksError as exc:
        return (
            f"TimescaleDB's background workers in {target} may be stopped: {exc.message};"
            " a superuser starts them there: SELECT _timescaledb_functions.start_background_workers()"
        )
    return ""


# -- definitions -----------------------------------------------------------------------------


def without_inside(schema: Schema) -> Schema:
    """Leave out what TimescaleDB makes by itself: chunks come and go without anybody changing a definition."""
    return replace(
        schema,
        objects={
            key: made
            for key, made in schema.objects.items()
            if not any(map(_is_inside, (made.name, made.table)))
        },
        owners={name: role for name, role in schema.owners.items() if not _is_inside(name)},
        privileges=frozenset(text for text in schema.privileges if not _is_inside(text)),
    )


def _is_inside(text: str) -> bool:
    # the name itself, or one behind the words of its kind: `TABLE _timescaledb_internal._hyper_1_1_chunk`
    return any(word.startswith(SCHEMAS) for word in text.split(" "))
