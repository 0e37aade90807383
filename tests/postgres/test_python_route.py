"""The way without client tools: taken when it is named, and by `auto` only when there is nothing better to lose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.engines.routes import open_engine
from dbtasks.errors import CannotReach, RouteUnavailable, ToolMissing, UsageError, VersionMismatch
from dbtasks.events import Event, RouteTaken, Warned
from dbtasks.executors.backup import BackupJob
from dbtasks.models import Format, Route
from dbtasks.plans import DumpRequest
from dbtasks.settings import Settings
from tests.conftest import Project
from tests.fix_postgres import PgDatabase

NO_DOCKER = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


@pytest.fixture
def db(pg_db: PgDatabase) -> PgDatabase:
    pg_db.run(
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1); CREATE VIEW v AS SELECT 1 AS one;"
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"
    )
    return pg_db


def settings_of(database: PgDatabase, root: Path, *, tools: bool = False, **flags: Any) -> Settings:
    """Settings of a machine without Docker, and without client tools unless asked for."""
    if tools:
        flags["pg_bin"] = str(database.server.bin)
    return dbtasks.load_settings(root, environ=NO_DOCKER, url=database.url, **flags)


@pytest.fixture(autouse=True)
def no_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no client tool be on this machine's PATH, and no Docker engine answer."""
    monkeypatch.setenv("DOCKER_HOST", NO_DOCKER["DOCKER_HOST"])
    (tmp_path / "no-tools").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "no-tools"))


def told(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Warned)]


def test_auto_comes_to_it_last_and_warns_of_what_is_missing(db: PgDatabase, tmp_path: Path) -> None:
    events: list[Event] = []
    made = dbtasks.backup(settings_of(db, tmp_path), on_event=events.append)
    assert (made.manifest.format, made.manifest.route, made.manifest.complete) == (
        Format.ROWS,
        Route.PYTHON,
        False,
    )
    (warning,) = told(events)
    assert warning.startswith("by psycopg2 alone, not by a container: Docker is not running here")
    assert "; not by the host: " in warning
    assert warning.endswith(
        "such a backup is partial; not in it: 1 function (public.f); 1 view (public.v); owners, privileges, comments"
    )
    assert warning in made.manifest.warnings
    assert [event.route for event in events if isinstance(event, RouteTaken)] == [Route.PYTHON]


def test_three_nights_without_tools_replace_no_complete_backup(db: PgDatabase, tmp_path: Path) -> None:
    complete = dbtasks.backup(settings_of(db, tmp_path, tools=True))
    assert complete.manifest.complete
    bare = settings_of(db, tmp_path, keep="1")
    for _ in range(3):
        with pytest.raises(CannotReach) as caught:
            dbtasks.backup(bare)
        assert caught.value.exit_code == 3
        assert isinstance(caught.value, ToolMissing)
        assert caught.value.message.endswith(
            "without client tools only a partial backup could be made,"
            f" and there is a complete one ({complete.id})"
        )
        assert caught.value.hint.endswith("--via=python makes the partial one all the same")
    assert [b.id for b in dbtasks.list_backups(bare).backups] == [complete.id]
    # by name it is made, without a warning, and pushes nothing out
    events: list[Event] = []
    made = dbtasks.backup(bare, BackupJob(via="python"), on_event=events.append)
    assert told(events) == []
    assert dbtasks.plan_cleanup(bare).retention.removed == ()
    assert {b.id for b in dbtasks.list_backups(bare).backups} == {complete.id, made.id}


def test_a_damaged_complete_backup_protects_nothing(db: PgDatabase, tmp_path: Path) -> None:
    complete = dbtasks.backup(settings_of(db, tmp_path, tools=True))
    complete.path.chmod(0o600)
    complete.path.write_bytes(b"PGDMP")
    config = settings_of(db, tmp_path, tools=True)
    assert not dbtasks.verify(config, [complete])[0].ok
    assert dbtasks.backup(settings_of(db, tmp_path)).manifest.format is Format.ROWS


@pytest.mark.parametrize(
    "request_",
    [DumpRequest(format=Format.CUSTOM), DumpRequest(no_owner=True), DumpRequest(extra=("--no-comments",))],
    ids=["format", "no_owner", "extra"],
)
def test_what_only_pg_dump_does_does_not_come_to_it(
    db: PgDatabase, tmp_path: Path, request_: DumpRequest
) -> None:
    with pytest.raises(ToolMissing):
        dbtasks.backup(settings_of(db, tmp_path), BackupJob(request=request_))


def test_a_folder_of_tools_that_has_none_does_not_come_to_it(db: PgDatabase, tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="pg_dump was not found in pg_bin"):
        dbtasks.backup(settings_of(db, tmp_path, pg_bin=str(tmp_path / "no-tools")))


def test_a_configured_format_does_not_come_to_it_either(db: PgDatabase, tmp_path: Path) -> None:
    with pytest.raises(ToolMissing):
        dbtasks.backup(settings_of(db, tmp_path, format="sql"))


def test_a_list_that_names_it_goes_on_to_it(db: PgDatabase, tmp_path: Path) -> None:
    dbtasks.backup(settings_of(db, tmp_path, tools=True))
    made = dbtasks.backup(settings_of(db, tmp_path, via="host,python"))
    assert made.manifest.route is Route.PYTHON
    by_tools = dbtasks.backup(settings_of(db, tmp_path, tools=True, via="host,python"))
    assert (by_tools.manifest.route, by_tools.manifest.format) == (Route.HOST, Format.CUSTOM)


@pytest.mark.parametrize("via", ["auto", "python"])
def test_a_rows_backup_goes_that_way_although_there_are_tools(
    db: PgDatabase, tmp_path: Path, via: str
) -> None:
    events: list[Event] = []
    made = dbtasks.backup(
        settings_of(db, tmp_path, tools=True, via=via, format="rows"), on_event=events.append
    )
    assert (made.manifest.format, made.manifest.route) == (Format.ROWS, Route.PYTHON)
    assert told(events) == []


def test_names_that_do_not_go_together_are_refused(db: PgDatabase, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="via=host means client tools"):
        dbtasks.backup(settings_of(db, tmp_path, via="host", format="rows"))
    with pytest.raises(UsageError, match="format=custom is made by pg_dump, and the python route has none"):
        dbtasks.backup(settings_of(db, tmp_path, via="python", format="custom"))


def test_what_needs_client_tools_says_so(db: PgDatabase, tmp_path: Path) -> None:
    made = dbtasks.backup(settings_of(db, tmp_path, tools=True))
    config = settings_of(db, tmp_path, via="python")
    with pytest.raises(RouteUnavailable, match="the python route has no client tools"):
        dbtasks.plan_restore(config, dbtasks.RestoreJob(file=made.id))
    with pytest.raises(RouteUnavailable, match="the python route has no client tools"):
        dbtasks.diff(config, made.id)


def test_a_restore_never_comes_to_it_by_itself(db: PgDatabase, tmp_path: Path) -> None:
    with open_engine(settings_of(db, tmp_path), restoring=True) as engine:
        assert engine.route is Route.HOST


def test_a17_a_tool_that_is_too_old_is_refused_and_this_way_is_named(
    db: PgDatabase, tmp_path: Path, pg_servers: Any
) -> None:
    old = pg_servers(16)
    config = dbtasks.load_settings(tmp_path, environ=NO_DOCKER, url=db.url, pg_bin=str(old.bin))
    with pytest.raises(VersionMismatch) as caught:
        dbtasks.backup(config)
    assert "--via=python makes a partial backup without any" in caught.value.hint


def test_db_info_shows_it_and_what_a_backup_would_do(db: PgDatabase, tmp_path: Path) -> None:
    report = dbtasks.inspect(settings_of(db, tmp_path))
    python = report.routes[-1]
    assert (python.route, python.usable, python.used) == ("python", True, True)
    assert python.why.endswith("tables and their rows only, a partial backup (--format=rows)")
    assert report.problems == ()
    dbtasks.backup(settings_of(db, tmp_path, tools=True))
    report = dbtasks.inspect(settings_of(db, tmp_path))
    assert any("there is a complete one" in problem for problem in report.problems)
    report = dbtasks.inspect(settings_of(db, tmp_path, tools=True))
    assert [(route.route, route.used) for route in report.routes] == [
        ("container", False),
        ("host", True),
        ("python", False),
    ]


def test_from_the_command_line_in_an_empty_folder(db: PgDatabase, project: Project) -> None:
    project.mount()
    environ = {**NO_DOCKER, "DATABASE_URL": db.url}
    done = project.invoke("db.backup", "--via=python", "--json", **environ)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["route"], told["backup"]["format"], told["backup"]["all_tables"]) == ("python", "rows", True)
    planned = project.invoke("db.backup", "--format=rows", "--dry-run", **environ)
    assert "not in it: 1 view (public.v)" in planned.stdout
    refused = project.invoke("db.backup", "--format=rows", "--compression=zstd", **environ)
    assert refused.returncode == 2
    assert "a rows backup is gzip" in refused.stderr
    shown = project.invoke("db.info", **environ)
    assert "python    ✓ psycopg2 2." in shown.stdout
