"""What people read when something went well or wrong: said of the right thing, in the right tense, without leftovers."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

import dbtasks
from tests.conftest import Project
from tests.fix_postgres import PgDatabase
from tests.sqlite.databases import make, settings


@pytest.mark.parametrize("task", ["db.backup", "db.info"])
def test_a_server_that_is_away_is_told_without_escaped_tabs(project: Project, task: str) -> None:
    project.mount()
    with socket.socket() as nobody:
        # bound and not listening: nobody else gets the port, and nobody answers there
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql://app@127.0.0.1:{nobody.getsockname()[1]}/shop"
        ran = project.invoke(task, DATABASE_URL=url, DBTASKS_VIA="host")
    told = ran.stdout + ran.stderr
    assert "cannot be reached" in told
    assert "\\x09" not in told
    if task == "db.backup":
        assert "Is the server running" in told


def test_one_thing_is_one_thing(project: Project) -> None:
    project.mount()
    make(project.root / "app.db")
    environ = {"DATABASE_URL": "sqlite:///app.db"}
    for _ in range(2):
        assert project.invoke("db.backup", "--skip-cleanup", **environ).returncode == 0
    ran = project.invoke("db.cleanup", "--keep=1", **environ)
    assert ran.returncode == 6
    assert "1 thing would be removed" in ran.stderr
    done = project.invoke("db.cleanup", "--keep=1", "--yes", **environ)
    assert done.stdout.startswith("✓ removed 1 backup, kept 1, freed ")


def test_a_cleanup_that_dropped_a_replaced_database_names_it(project: Project, pg_db: PgDatabase) -> None:
    project.mount()
    pg_db.run("CREATE TABLE public.t (id int PRIMARY KEY)")
    environ = {"DATABASE_URL": pg_db.url, "DBTASKS_PG_BIN": str(pg_db.server.bin)}
    assert project.invoke("db.backup", **environ).returncode == 0
    assert project.invoke("db.restore", "--file=latest", "--yes", **environ).returncode == 0
    done = project.invoke("db.cleanup", "--yes", **environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"✓ dropped {pg_db.name}__before_")
    assert "removed 0" not in done.stdout


def test_after_a_restore_into_a_new_database_nothing_is_said_not_to_exist_yet(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(into="copy.db"))
    assert plan.why_no_safety == "copy.db does not exist yet"
    result = dbtasks.restore(config, plan)
    assert result.way_back == "there is no way back, and nothing to go back to: copy.db did not exist before"
