"""What the tests of a restore share: an engine on a database, and one load from plan to commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dbtasks.engines import Loaded
from dbtasks.engines.postgres import PostgresEngine
from dbtasks.engines.postgres.loading.load import loading, plan_load
from dbtasks.events import Event
from dbtasks.models import Archive, PostgresTarget
from dbtasks.plans import LoadPlan, LoadRequest, Swapped
from dbtasks.settings import Levels, resolve_settings
from tests.fix_postgres import PgDatabase


@contextmanager
def engine_of(
    target: PostgresTarget, *, tools: Path | None = None, **changes: Any
) -> Iterator[PostgresEngine]:
    """Open an engine with settings given by keyword."""
    flags = {"url": "postgresql://unused/unused", "pg_bin": str(tools) if tools else None, **changes}
    settings = resolve_settings(
        Levels(root=Path("/"), flags={k: v for k, v in flags.items() if v is not None})
    )
    with PostgresEngine(target, settings) as engine:
        yield engine


@contextmanager
def engine_on(database: PgDatabase, **changes: Any) -> Iterator[PostgresEngine]:
    """Open an engine on a database of a test server, with that server's tools."""
    with engine_of(database.target, **{"tools": database.server.bin, **changes}) as engine:
        yield engine


def restore(
    engine: PostgresEngine,
    archive: Archive,
    request: LoadRequest | None = None,
    *,
    before_commit: Callable[[Loaded], None] | None = None,
    events: list[Event] | None = None,
) -> tuple[LoadPlan, Swapped, dict[str, int]]:
    """Plan, load, check and commit; returns the plan, what was left behind, and the counts before the commit."""
    plan = plan_load(engine, archive, request or LoadRequest())
    with loading(engine, plan, archive, (events if events is not None else []).append) as loaded:
        counts = loaded.counts()
        assert loaded.problems() == ()
        if before_commit:
            before_commit(loaded)
        return plan, loaded.commit(), counts


def databases(database: PgDatabase) -> list[str]:
    """The names of a database and its kin, sorted."""
    rows = database.server.run(
        "postgres",
        "SELECT datname FROM pg_database WHERE left(datname, %s) = %s ORDER BY 1",
        (len(database.name), database.name),
    )
    return [name for (name,) in rows]
