"""Dumps into a draft as the backup executor makes them: plan, dump, check."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dbtasks.engines.postgres import PostgresEngine
from dbtasks.events import OnEvent, ignore
from dbtasks.models import Archive, Type
from dbtasks.plans import Checked, Dumped, DumpPlan, DumpRequest
from dbtasks.runners import Command
from dbtasks.settings import Settings, load_settings
from dbtasks.stores.local import LocalStore
from tests.fix_postgres import PgDatabase, PgServer


@dataclass(frozen=True)
class Made:
    """A finished dump that is still in its draft."""

    plan: DumpPlan
    dumped: Dumped
    checked: Checked
    archive: Archive
    globals: Path


def settings_for(server: PgServer, root: Path, **changes: Any) -> Settings:
    """Settings with the tools of one server's version."""
    base = replace(load_settings(root, environ={}), pg_bin=server.bin, lock_timeout=5.0)
    return replace(base, **changes)


@contextlib.contextmanager
def engine_of(
    database: PgDatabase,
    root: Path,
    *,
    tools: PgServer | None = None,
    on_event: OnEvent = ignore,
    **changes: Any,
) -> Iterator[PostgresEngine]:
    settings = settings_for(tools or database.server, root, **changes)
    with PostgresEngine(database.target, settings, why="asked for", on_event=on_event) as engine:
        yield engine


@contextlib.contextmanager
def dumped(
    database: PgDatabase,
    root: Path,
    request: DumpRequest | None = None,
    *,
    globals_: bool = False,
    tools: PgServer | None = None,
    on_event: OnEvent = ignore,
    **changes: Any,
) -> Iterator[Made]:
    """Plan, dump and check; the archive is there as long as the block."""
    store = LocalStore(root / "backups")
    with (
        engine_of(database, root, tools=tools, on_event=on_event, **changes) as engine,
        store.draft(Type.MANUAL) as draft,
    ):
        plan = engine.plan_dump(request or DumpRequest(), globals_=globals_)
        done = engine.dump(plan, draft, on_event)
        archive = Archive(draft.path, plan.format, plan.compression, None)
        yield Made(plan, done, engine.check(archive), archive, draft.globals_path)


def rows_of(made: Made) -> dict[str, int | None]:
    return {table.name: table.rows for table in made.dumped.tables}


def contents(made: Made, database: PgDatabase, root: Path) -> str:
    """List a custom archive's table of contents."""
    with engine_of(database, root) as engine:
        return engine.runner.run(Command("pg_restore", ("--list", str(made.archive.path))))


def restored(made: Made, server: PgServer, copy: PgDatabase) -> None:
    """Load a custom archive with plain pg_restore: what a person would do without us."""
    subprocess.run(
        [
            *(server.bin / "pg_restore", "--exit-on-error", "-w", "-h", server.host, "-p", str(server.port)),
            *("-U", server.user, "-d", copy.name, made.archive.path),
        ],
        env={"PGPASSWORD": server.password, "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )
