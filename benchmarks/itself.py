"""The dump itself, without what makes it a verified backup: `python -m benchmarks.itself FOLDER [--via=… …]`.

Runs in a process of its own, so that its memory can be looked at. Prints one
JSON document with the seconds from the exported snapshot to the last byte
written and synced. Rows are counted beside it, as in a real backup; only
waiting for a count that is still running is left out. A SQLite copy is not
synced here, as that of its yardstick cp is not; the whole task syncs it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from dbtasks import DumpRequest, Settings, Type, load_settings
from dbtasks.engines import Engine
from dbtasks.engines.routes import open_engine
from dbtasks.events import Event, Phase
from dbtasks.models import SqliteTarget
from dbtasks.runners import Command
from dbtasks.stores.local import LocalStore

EXEC_CALLS = 20


class _Stopwatch:
    """Starts with the phase `dump`; a phase `count` after it means that only counting is left."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._counting: float | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, Phase) and event.name == "dump":
            self._started = time.perf_counter()
        elif isinstance(event, Phase) and event.name == "count":
            self._counting = time.perf_counter()

    @property
    def seconds(self) -> float:
        return (self._counting or time.perf_counter()) - self._started


def dump_seconds(settings: Settings, engine: Engine) -> float:
    """Dump once into a draft that is thrown away."""
    request = DumpRequest(format=settings.format, compression=settings.compression, jobs=settings.jobs)
    plan = engine.plan_dump(request)
    with LocalStore(settings.backup_dir).draft(Type.MANUAL) as draft:
        stopwatch = _Stopwatch()
        engine.dump(plan, draft, stopwatch)
        return stopwatch.seconds


def copy_seconds(settings: Settings, source: Path) -> float:
    """Copy a SQLite database; nothing is synced or counted."""
    from dbtasks.engines.sqlite.dump import copy_live

    with LocalStore(settings.backup_dir).draft(Type.MANUAL) as draft:
        started = time.perf_counter()
        copy_live(source, draft.path, settings.lock_timeout)
        return time.perf_counter() - started


def exec_seconds(engine: Engine) -> float:
    """Run a tool that does nothing; return the mean of a call."""
    from dbtasks.engines.postgres import PostgresEngine

    assert isinstance(engine, PostgresEngine)
    nothing = Command("psql", ("--version",))
    engine.runner.run(nothing)
    started = time.perf_counter()
    for _ in range(EXEC_CALLS):
        engine.runner.run(nothing)
    return (time.perf_counter() - started) / EXEC_CALLS


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--exec-call", action="store_true")
    for name in ("via", "format", "compression", "jobs"):
        parser.add_argument(f"--{name}")
    arguments = parser.parse_args()
    flags = {name: getattr(arguments, name) for name in ("via", "format", "compression", "jobs")}
    settings = load_settings(
        arguments.folder, environ=dict(os.environ), **{name: value for name, value in flags.items() if value}
    )
    target = settings.require_target()
    if isinstance(target, SqliteTarget):
        seconds = copy_seconds(settings, target.path)
    else:
        with open_engine(settings, target, via=arguments.via) as engine:
            seconds = exec_seconds(engine) if arguments.exec_call else dump_seconds(settings, engine)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
