"""Whatever ends a run, its container is as it was: no process, no file, and the live database untouched."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project
from tests.docker.test_container_route import run
from tests.docker.test_password_inside import eventually
from tests.fix_docker import Box

# a minute of kills and interrupts for each format
pytestmark = pytest.mark.loop

FILL = """
CREATE FUNCTION public.slow(a int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT a FROM pg_catalog.pg_sleep(0.05)';
CREATE TABLE public.item (id int PRIMARY KEY, name text);
INSERT INTO public.item SELECT g, 'item ' || g FROM generate_series(1, 5) g;
CREATE SEQUENCE public.held;
"""
SLOWER = """
CREATE INDEX slow ON public.item (public.slow(id));
INSERT INTO public.item SELECT g, 'item ' || g FROM generate_series(6, 40) g;
"""
"""Read back by a restore, whose index then takes its time in the middle of the load."""
HOLD = "BEGIN; DROP SEQUENCE public.held; SELECT pg_sleep(600)"
"""A sequence is the one thing a dump reads that cannot be locked before it starts."""
ENDS = [
    ("kill", "custom"),
    ("kill", "sql"),
    ("kill", "directory"),
    ("interrupt", "custom"),
    ("failure", "sql"),
    ("failure", "directory"),
]
OURS = "application_name LIKE 'dbtasks%' AND pid <> pg_backend_pid()"


@pytest.fixture(scope="module")
def filled(start_box: Callable[..., Box]) -> Box:
    box = start_box(publish=False)
    box.sql(FILL)
    return box


@pytest.fixture
def shop(filled: Box, project: Project) -> Iterator[Box]:
    """A shop; afterwards nothing that came after this fixture is in its container."""
    project.mount()
    before = (files(filled), tools(filled))
    yield filled
    assert eventually(lambda: (files(filled), tools(filled)) == before), (files(filled), tools(filled))
    ours = f"SELECT count(*) FROM pg_stat_activity WHERE {OURS}"
    assert eventually(lambda: filled.sql(ours) == "0")


def files(box: Box) -> list[str]:
    out = box.container.exec_run(["sh", "-c", "ls -lA /tmp /var/run/postgresql | cat"]).output.decode()
    return [line for line in out.splitlines() if not line.startswith("total")]


def tools(box: Box) -> list[str]:
    """Return what runs inside besides the server."""
    server = ("postgres", "/sbin/docker-init")
    return sorted(line for line in box.processes() if not line.startswith(server))


def dumping(box: Box) -> list[str]:
    return [line for line in tools(box) if line.startswith("pg_dump") and "--snapshot" in line]


def url(box: Box) -> str:
    return f"postgresql://postgres@{box.name}/shop"


@contextlib.contextmanager
def holding(box: Box) -> Iterator[None]:
    """Let a dump wait in its middle."""
    api = box.container.client.api
    command = ["psql", "--no-psqlrc", "-U", box.user, "-d", "shop", "-c", HOLD]
    api.exec_start(api.exec_create(box.container.id, command)["Id"], detach=True)
    held = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'BEGIN; DROP%' AND state = 'active'"
    assert eventually(lambda: box.sql(held) == "1")
    try:
        yield
    finally:
        box.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; DROP%'")
        assert eventually(lambda: not [line for line in tools(box) if "DROP SEQUENCE" in line])


def end(running: subprocess.Popen[str], box: Box, how: str) -> str:
    """End a run, or the work it has begun; return what it said."""
    if how == "failure":
        box.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}")
    else:
        os.kill(running.pid, signal.SIGKILL if how == "kill" else signal.SIGINT)
    _, told = running.communicate(timeout=60)
    # what a failed load means for the code depends on what of it the server ended first
    expected = {"failure": (3, 9), "kill": (-signal.SIGKILL,), "interrupt": (130,)}
    assert running.returncode in expected[how], told
    return told


@pytest.mark.fault
@pytest.mark.parametrize(("how", "format_"), ENDS)
def test_a12_a_backup_that_ends_early_leaves_nothing_inside(
    shop: Box, project: Project, how: str, format_: str
):
    with holding(shop):
        running = project.start("db.backup", f"--format={format_}", DATABASE_URL=url(shop))
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        assert eventually(lambda: shop.sql(waits) != "0" and dumping(shop)), running.poll()
        end(running, shop, how)
        assert eventually(lambda: not [line for line in tools(shop) if "DROP SEQUENCE" not in line])
        assert files(shop) == [line for line in files(shop) if "dbtasks" not in line]
    listed = json.loads(run(project, "db.list", "--json", DATABASE_URL=url(shop)).stdout)
    assert listed["backups"] == []


@pytest.mark.fault
@pytest.mark.parametrize(("how", "format_"), ENDS)
def test_a12_a_restore_that_ends_early_leaves_nothing_inside(
    shop: Box, project: Project, how: str, format_: str
):
    shop.sql(SLOWER)
    made = run(project, "db.backup", f"--format={format_}", DATABASE_URL=url(shop))
    assert made.returncode == 0, made.stderr
    shop.sql("DROP INDEX public.slow; DELETE FROM public.item WHERE id > 5")
    arguments = ("db.restore", "--file=latest", "--yes", "--skip-safety-backup")
    running = project.start(*arguments, DATABASE_URL=url(shop))
    building = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%' AND state = 'active'"
    assert eventually(lambda: shop.sql(building) != "0"), running.poll()
    end(running, shop, how)
    assert eventually(lambda: tools(shop) == [])
    assert eventually(lambda: not [line for line in files(shop) if "dbtasks" in line])
    assert shop.sql("SELECT count(*) FROM public.item") == "5"
    # the half-loaded database is marked as ours: the next restore clears it, this one where it still could
    assert run(project, *arguments, DATABASE_URL=url(shop)).returncode == 0
    unfinished = "SELECT count(*) FROM pg_database WHERE datname LIKE 'shop\\_\\_new%'"
    assert shop.sql(unfinished) == "0"
    shop.sql("DROP INDEX public.slow; DELETE FROM public.item WHERE id > 5")


COPYING = """
import sys
from pathlib import Path
import docker
from dbtasks.runners.container import ContainerRunner
from dbtasks.runners.inside import kept_folder
with kept_folder(ContainerRunner(docker.from_env().containers.get(sys.argv[1]))) as inside:
    print("begun", flush=True)
    inside.put(Path(sys.argv[2]))
    print("copied", flush=True)
    sys.stdin.read()
"""
KILLS = 12


@pytest.mark.fault
@pytest.mark.parametrize("what", ["file", "folder"])
def test_a12_a_kill_while_an_archive_is_copied_inside_leaves_nothing_of_it(
    shop: Box, project: Project, tmp_path: Path, what: str
):
    """Nor is it made anew afterwards by what was still on its way."""
    archive = tmp_path / "archive"
    if what == "file":
        archive.write_bytes(os.urandom(300_000))
    else:
        archive.mkdir()
        for number in range(1_000):
            (archive / f"{number}.dat").write_bytes(b"row\n")
    pace = 0.0
    # the first is measured and killed when it has all been copied
    for number in range(KILLS + 1):
        copying = subprocess.Popen(
            [sys.executable, "-c", COPYING, shop.container.id, archive],
            env=project.environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert copying.stdout is not None
        assert copying.stdout.readline() == "begun\n"
        started = time.monotonic()
        if number:
            time.sleep(pace * number / KILLS)
        else:
            assert copying.stdout.readline() == "copied\n"
            pace = time.monotonic() - started
        copying.kill()
        copying.communicate()
        assert eventually(lambda: tools(shop) == [])
        assert [line for line in files(shop) if "dbtasks" in line] == []
    # nor has anything of it died as an orphan by a signal
    assert shop.crashes() == []


def test_a_backup_and_a_restore_that_end_well_leave_nothing_inside(shop: Box, project: Project):
    assert run(project, "db.backup", DATABASE_URL=url(shop)).returncode == 0
    ran: Any = run(project, "db.restore", "--file=latest", "--yes", DATABASE_URL=url(shop))
    assert ran.returncode == 0, ran.stderr
