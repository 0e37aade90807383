"""`db.restore` with something killed in the middle of its load: the task itself, what feeds, what is fed, or the session."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from dbtasks.engines.postgres.names import is_new_name
from tests.conftest import Project
from tests.fix_postgres import PgDatabase
from tests.postgres.restoring import databases
from tests.postgres.rich import fingerprint
from tests.postgres.test_orphans import until

pytestmark = [
    pytest.mark.fault,
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="finds a task's tools in /proc"),
]

SLOW = """
    CREATE FUNCTION public.wait() RETURNS boolean LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_catalog.pg_sleep(3) WHERE pg_catalog.current_setting('application_name') = 'dbtasks'
            OR pg_catalog.current_database() LIKE '%\\_\\_new\\_%';
        RETURN true; END $$;
    CREATE TABLE public.a_first AS SELECT generate_series(1, 1000) a;
    CREATE TABLE public.b_slow (a int CHECK (public.wait()));
    INSERT INTO public.b_slow VALUES (1);
    CREATE TABLE public.c_more AS SELECT repeat(md5(i::text), 20) a FROM generate_series(1, 12000) i;
    SELECT lo_from_bytea(0, 'large');
"""
"""The second table takes its time, and behind it come more bytes than any pipe holds: all who take part are at it."""
TASK, SESSION = "the task", "the session"
CASES = [
    *(("in place", format_, TASK) for format_ in ("custom", "directory", "sql")),
    *(("in place", format_, "psql") for format_ in ("custom", "directory", "sql")),
    *(("in place", format_, "pg_restore") for format_ in ("custom", "directory")),
    *(("in place", format_, SESSION) for format_ in ("custom", "sql")),
    *(("beside", format_, TASK) for format_ in ("custom", "directory", "sql")),
    *(("beside", format_, "pg_restore") for format_ in ("custom", "directory")),
    *(("beside", "sql", victim) for victim in ("psql", SESSION)),
    ("beside", "custom", SESSION),
]


@pytest.fixture
def shop(project: Project, pg_db: PgDatabase) -> dict[str, str]:
    project.mount()
    pg_db.run(SLOW)
    return {"DATABASE_URL": pg_db.url, "DBTASKS_PG_BIN": str(pg_db.server.bin), "DBTASKS_VIA": "host"}


def of(parent: int, name: str) -> list[int]:
    """The processes of a name that another one started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(") ")[2].split()
            if int(words[1]) == parent and (folder / "comm").read_text().strip() == name:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize(("strategy", "format_", "victim"), CASES)
def test_d05_d08_d09_whatever_of_a_restore_is_killed_in_its_middle_the_live_database_is_as_it_was(
    project: Project, shop: dict[str, str], pg_db: PgDatabase, strategy: str, format_: str, victim: str
) -> None:
    assert project.invoke("db.backup", f"--format={format_}", **shop).returncode == 0
    pg_db.run("DELETE FROM public.a_first WHERE a > 3; CREATE TABLE public.newer (a int)")
    before = fingerprint(pg_db)
    name = pg_db.name
    asleep = "SELECT pid FROM pg_stat_activity WHERE left(datname, %s) = %s AND wait_event = 'PgSleep'"

    def loading() -> list[int]:
        return [pid for (pid,) in pg_db.server.run("postgres", asleep, (len(name), name))]

    flags = ("--in-place",) if strategy == "in place" else ()
    running = project.start("db.restore", "--file=latest", "--yes", *flags, **shop)
    until(loading)
    if victim == SESSION:
        pg_db.server.run("postgres", "SELECT pg_terminate_backend(%s)", (loading()[0],))
    else:
        victims = [running.pid] if victim == TASK else of(running.pid, victim)
        assert victims, "the load is in its middle, and it is there"
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
    _, said = running.communicate(timeout=60)
    if victim == TASK:
        assert running.returncode == -signal.SIGKILL
    else:
        assert running.returncode == 9, said
        assert f"state: {name} was not touched" in said or f"state: {name} is as it was" in said
        assert "what it held when this began was backed up, as " in said
        assert "Traceback" not in said
    connected = "SELECT count(*) FROM pg_stat_activity WHERE left(datname, %s) = %s"
    until(lambda: pg_db.server.run("postgres", connected, (len(name), name)) == [(0,)])
    assert fingerprint(pg_db) == before
    left = [found for found in databases(pg_db) if found != name]
    assert all(is_new_name(name, found) for found in left)
    assert len(left) == (victim == TASK and strategy == "beside")
    if victim == TASK:
        _goes_on(project, shop, pg_db)


def _goes_on(project: Project, shop: dict[str, str], database: PgDatabase) -> None:
    """No lock, no half-loaded database and no file of the dead run is in the way of the next."""
    again = project.invoke("db.restore", "--file=latest", "--yes", "--drop-old", "--json", **shop)
    assert again.returncode == 0, again.stdout + again.stderr
    assert json.loads(again.stdout)["restore"]["counts_checked"]
    assert database.run("SELECT count(*) FROM public.a_first") == [(1000,)]
    assert databases(database) == [database.name]
