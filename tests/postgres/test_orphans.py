"""What a killed run leaves at work: the run lock lives on in it, and who comes next is told."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import dbtasks
from dbtasks.engines.routes import open_engine
from dbtasks.errors import Busy
from dbtasks.executors.restoring.killed import told_of_killed
from tests.conftest import REPOSITORY
from tests.fix_postgres import PgDatabase
from tests.postgres.restoring import databases

pytestmark = [pytest.mark.fault, pytest.mark.skipif(os.name != "posix", reason="SIGKILL")]

SLOW_BESIDE = """
    CREATE FUNCTION public.wait() RETURNS boolean LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_catalog.pg_sleep(CASE WHEN pg_catalog.current_database() LIKE '%\\_\\_new\\_%' THEN 60 ELSE 0 END);
        RETURN true; END $$;
    CREATE TABLE slow (a int CHECK (public.wait()));
    INSERT INTO slow VALUES (1);
"""
RESTORE = """
import signal, sys, pathlib, dbtasks
signal.signal(signal.SIGTERM, signal.default_int_handler)
url, tools, root = sys.argv[1:]
config = dbtasks.load_settings(pathlib.Path(root), environ={}, url=url, pg_bin=tools, via="host", safety_backup="off")
try:
    dbtasks.restore(config, dbtasks.plan_restore(config))
except dbtasks.DbTasksError as exc:
    print(exc.exit_code, exc.state)
"""


def until(condition: Callable[[], object]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came true")


def slow_to_restore(
    database: PgDatabase, root: Path
) -> tuple[dbtasks.Settings, Callable[[], list[tuple[int]]]]:
    """A database whose backup takes a minute to load beside, and who is at it."""
    database.run(SLOW_BESIDE)
    config = dbtasks.load_settings(
        root, environ={}, url=database.url, pg_bin=str(database.server.bin), via="host"
    )
    dbtasks.backup(config)
    database.run("INSERT INTO slow VALUES (2)")
    asleep = "SELECT pid FROM pg_stat_activity WHERE left(datname, %s) = %s AND wait_event = 'PgSleep'"
    new = f"{database.name}__new_"
    return config, lambda: database.server.run("postgres", asleep, (len(new), new))


def restoring(database: PgDatabase, root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RESTORE, database.url, str(database.server.bin), str(root)]
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a10_an_interrupted_restore_ends_its_tools_and_drops_what_it_loaded(
    pg_db: PgDatabase, tmp_path: Path, number: int
) -> None:
    config, loading = slow_to_restore(pg_db, tmp_path)
    with restoring(pg_db, tmp_path) as parent:
        until(loading)
        parent.send_signal(number)
        said, _ = parent.communicate()
    assert f"{pg_db.name} was not touched" in said or f"{pg_db.name} is as it was" in said, said
    assert loading() == []
    assert databases(pg_db) == [pg_db.name]
    assert pg_db.run("SELECT a FROM slow ORDER BY a") == [(1,), (2,)]
    assert dbtasks.list_runs(config)[0].exit_code == 130
    assert _free(config)


def test_a08_h07_d08_the_pg_restore_of_a_killed_restore_holds_the_run_lock_and_never_goes_live(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    config, loading = slow_to_restore(pg_db, tmp_path)
    with restoring(pg_db, tmp_path) as parent:
        until(loading)
        parent.kill()
    with pytest.raises(Busy) as caught:
        dbtasks.backup(config)
    assert f"is dead (process {parent.pid}), but a tool it started still works" in caught.value.hint
    assert "fuser -v " in caught.value.hint
    at_work = [text for text in told(config) if "still works" in text]
    assert re.fullmatch(
        r"pg_restore \(process \d+\), which a killed run started, still works: .*", at_work[0]
    )
    assert f"{pg_db.name} is as it was" in told(config)[0]
    for (pid,) in loading():
        pg_db.server.run("postgres", "SELECT pg_terminate_backend(%s)", (pid,))
    until(lambda: _free(config))
    assert not any("still works" in text for text in told(config))
    assert pg_db.run("SELECT a FROM slow ORDER BY a") == [(1,), (2,)]
    left = databases(pg_db)
    assert len(left) == 2, "the half-loaded one is still there"
    # the next restore takes it away; this one is only begun, its row would be slow again
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(skip_safety_backup=True))

    def stop(event: object) -> None:
        if getattr(event, "name", "") == "load":
            raise KeyboardInterrupt

    with pytest.raises(dbtasks.DbTasksError):
        dbtasks.restore(config, plan, on_event=stop)
    assert databases(pg_db) == [pg_db.name]


def told(config: dbtasks.Settings) -> tuple[str, ...]:
    """What db.info says of killed runs."""
    with open_engine(config) as engine:
        return told_of_killed(config, engine)


def _free(config: dbtasks.Settings) -> bool:
    try:
        dbtasks.backup(config)
    except Busy:
        return False
    return True
