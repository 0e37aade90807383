"""The server is the container's first process: whatever we leave behind becomes its child, and must not harm it.

PostgreSQL takes a child that died by a signal for a crashed backend, ends
every session and recovers. So no task, and no end of one, may orphan such a
process inside.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

import dbtasks
from tests.conftest import Project
from tests.docker.test_container_route import FILL, run
from tests.fix_docker import PSQL, Box

URL = "postgresql:///shop"
BYSTANDER = "SELECT set_config('application_name', 'bystander', false), pg_sleep(600)"
STANDS_BY = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bystander'"
GIVEN = "given.sql.gz"
"""A file without a manifest of ours."""
EVERY_TASK = (
    ("db.backup", "--format=custom"),
    ("db.backup", "--format=sql"),
    ("db.backup", "--format=directory", "--jobs=2", "--dry-run"),
    ("db.backup", "--format=directory", "--jobs=2"),
    ("db.info",),
    ("db.info", "--json"),
    ("db.list",),
    ("db.show",),
    ("db.log",),
    ("db.verify", "--all"),
    ("db.verify", "--restore"),
    ("db.diff",),
    ("db.adopt", f"--file={GIVEN}"),
    ("db.restore", "--file=latest", "--dry-run"),
    ("db.restore", "--file=latest", "--into=another", "--yes"),
    ("db.cleanup", "--keep=1", "--yes"),
)
"""What leaves the sessions of the live database alone."""


@pytest.fixture(scope="module")
def server(start_box: Callable[..., Box]) -> Box:
    box = start_box(publish=False)
    box.sql(FILL)
    box.sql(
        "CREATE TABLE public.much AS SELECT g, repeat(md5(g::text), 20) AS t FROM generate_series(1, 200000) g"
    )
    return box


@pytest.fixture
def shop(server: Box, project: Project) -> Box:
    """A server with somebody at work in it."""
    project.mount()
    if server.sql(STANDS_BY) == "0":
        command = [*PSQL, "-U", server.user, "-d", server.database, "-c", BYSTANDER]
        server.container.exec_run(command, detach=True)
    while server.sql(STANDS_BY) != "1":
        time.sleep(0.05)
    return server


def unharmed(box: Box) -> bool:
    return box.crashes() == [] and box.sql(STANDS_BY) == "1"


@pytest.mark.long
def test_the_server_is_the_first_process(shop: Box) -> None:
    _, name = shop.container.exec_run(["cat", "/proc/1/comm"])
    assert name.decode().strip() == "postgres"


@pytest.mark.long
def test_no_task_ends_a_session_that_is_none_of_its_business(shop: Box, project: Project) -> None:
    named = {"DATABASE_URL": URL, "DBTASKS_CONTAINER": shop.name}
    for arguments in EVERY_TASK:
        if arguments[0] == "db.adopt":
            shutil.copy(*project.root.glob("backups/manual/*.sql.gz"), project.root / GIVEN)
        ran = run(project, *arguments, **named)
        assert ran.returncode == 0, (arguments, ran.stderr)
        assert unharmed(shop), arguments
    tried = {arguments[0] for arguments in EVERY_TASK}
    # an undo exchanges the live database, whose sessions it has to end; a migration goes by a connection from here
    assert tried == {f"db.{name}" for name in dbtasks.ns.task_names} - {"db.undo", "db.migrate"}


@pytest.mark.long
@pytest.mark.parametrize("format_", ["custom", "sql", "directory"])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("phase", ["dump", "verify"])
def test_a12_the_end_of_a_backup_ends_nobody_elses_session(
    shop: Box, project: Project, format_: str, end: signal.Signals, phase: str
) -> None:
    jobs = ("--jobs=2",) if format_ == "directory" else ()
    _end(project, shop, phase, end, "db.backup", f"--format={format_}", *jobs)
    assert unharmed(shop)


@pytest.mark.long
@pytest.mark.parametrize("format_", ["custom", "directory"])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a12_the_end_of_a_restore_ends_nobody_elses_session(
    shop: Box, project: Project, format_: str, end: signal.Signals
) -> None:
    named = {"DATABASE_URL": URL, "DBTASKS_CONTAINER": shop.name}
    assert run(project, "db.backup", f"--format={format_}", **named).returncode == 0
    into = f"--into=other_{format_}_{end.name.lower()}"
    _end(project, shop, "load", end, "db.restore", "--file=latest", into, "--yes")
    assert unharmed(shop)


def _end(project: Project, box: Box, phase: str, end: signal.Signals, *arguments: str) -> None:
    """Run a task until it says that a phase begins, end it a moment later, and let what it left inside end as well."""
    named = {"DATABASE_URL": URL, "DBTASKS_CONTAINER": box.name, "DBTASKS_PG_BIN": str(project.root)}
    running = subprocess.Popen(
        [sys.executable, "-m", "invoke", *arguments],
        cwd=project.root,
        env=project.environ(**named),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with running:
        assert running.stderr
        for line in running.stderr:
            if line.split()[:1] == [phase]:
                break
        else:
            raise AssertionError(f"{phase} was never said")
        time.sleep(0.15)
        os.kill(running.pid, end)
        running.stderr.read()
    _quiet(box)


def _quiet(box: Box) -> None:
    for _ in range(200):
        if not [
            line for line in box.processes() if "pg_dump" in line or "pg_restore" in line or "sh -c" in line
        ]:
            return
        time.sleep(0.1)
    raise AssertionError(box.processes())


@pytest.mark.long
def test_what_dies_by_a_signal_as_an_orphan_would_have_been_seen(start_box: Callable[..., Any]) -> None:
    """The observation the tests above rest on, on a server of its own, whose crash is expected."""
    box = start_box(publish=False)
    script = "sh -c 'sleep 1; kill -TERM $$' & exit 0"
    box.container.exec_run(["sh", "-c", script])
    for _ in range(100):
        if box.crashes():
            break
        time.sleep(0.1)
    assert box.crashes()
    box.container.remove(force=True, v=True)
