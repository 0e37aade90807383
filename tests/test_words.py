"""What people read when something went well or wrong: said of the right thing, in the right tense, without leftovers."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path

import pytest

import dbtasks
from tests.conftest import Project
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.rich import tool
from tests.sqlite.databases import make, run, settings


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
    assert "1 backup would be removed" in ran.stderr
    done = project.invoke("db.cleanup", "--keep=1", "--yes", **environ)
    assert done.stdout.startswith("✓ removed 1 backup, kept 1, freed ")


@pytest.mark.long
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


@pytest.mark.long
def test_one_session_is_ended_and_one_object_is_dropped(project: Project, pg_db: PgDatabase) -> None:
    project.mount()
    pg_db.run("CREATE TABLE public.t AS SELECT 1 AS a")
    environ = {"DATABASE_URL": pg_db.url, "DBTASKS_PG_BIN": str(pg_db.server.bin), "DBTASKS_VIA": "host"}
    assert project.invoke("db.backup", **environ).returncode == 0
    with contextlib.closing(pg_db.connect()):
        beside = project.invoke("db.restore", "--file=latest", "--dry-run", **environ).stdout
    assert "exchange the names in one transaction; 1 session is ended" in beside
    in_place = project.invoke("db.restore", "--file=latest", "--in-place", "--dry-run", **environ).stdout
    assert f"in one transaction: drop 1 object of {pg_db.name}" in in_place


def test_one_more_table_is_one_more_table(project: Project) -> None:
    project.mount()
    path = make(project.root / "app.db")
    environ = {"DATABASE_URL": "sqlite:///app.db"}
    for number in range(21):
        run(path, f"CREATE TABLE t{number} (a)")
    assert project.invoke("db.backup", **environ).returncode == 0
    for number in range(21):
        run(path, f"INSERT INTO t{number} VALUES (1)")
    told = project.invoke("db.restore", "--file=latest", "--dry-run", **environ).stdout
    assert "… and 1 more table\n" in told


@pytest.mark.long
def test_a_script_without_counts_is_said_not_to_be_compared_and_why(project: Project, pg: PgServer) -> None:
    project.mount()
    role = pg.create_role("LOGIN CREATEDB")
    with pg.fresh(f'OWNER "{role.user}"') as database:
        owned = database.seen_by(role)
        owned.run("CREATE TABLE t AS SELECT 1 AS a")
        environ = {"DATABASE_URL": owned.url, "DBTASKS_PG_BIN": str(pg.bin), "DBTASKS_VIA": "host"}
        dump = project.root / "theirs.sql"
        dump.write_bytes(tool(pg, "pg_dump", "-Fp", "--inserts", "--no-owner", database.name))
        done = project.invoke("db.restore", "--file=theirs.sql", "--unverified", "--yes", **environ)
        assert done.returncode == 0, done.stderr
        assert "1 table, 1 row, not compared: theirs.sql has no manifest that says how many" in done.stdout
        adopted = json.loads(project.invoke("db.adopt", "--file=theirs.sql", "--json", **environ).stdout)
        done = project.invoke("db.restore", f"--file={adopted['backup']['id']}", "--yes", **environ)
        assert done.returncode == 0, done.stderr
        assert "1 table, 1 row, not compared: " in done.stdout
        assert "manifest that says" not in done.stdout


def test_a_meta_command_is_shown_as_it_stands_in_the_script(project: Project, pg_db: PgDatabase) -> None:
    project.mount()
    environ = {"DATABASE_URL": pg_db.url, "DBTASKS_PG_BIN": str(pg_db.server.bin), "DBTASKS_VIA": "host"}
    dump = project.root / "theirs.sql"
    begin, first, rest = tool(pg_db.server, "pg_dump", "-Fp", pg_db.name).partition(
        b"SET lock_timeout = 0;\n"
    )
    dump.write_bytes(begin + first + b"\\! touch here\n" + rest)
    refused = project.invoke("db.restore", "--file=theirs.sql", "--unverified", "--yes", **environ)
    assert refused.returncode == 6
    assert "the meta-command '\\! touch here', which psql would run on this machine" in refused.stderr
