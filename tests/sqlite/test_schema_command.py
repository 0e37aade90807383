"""The project's own command makes the tables of a rows restore into a SQLite file: beside, so that its failure leaves nothing."""

from __future__ import annotations

import os
import shlex
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.errors import DbTasksError, LoadFailed, Refused, SettingsError, ToolMissing
from dbtasks.plans import LoadRequest, LoadStrategy, TargetState
from dbtasks.settings import Settings
from dbtasks.stores.drafts import dead_drafts
from tests.conftest import Project
from tests.older_files import older, table
from tests.postgres.test_orphans import until
from tests.postgres.test_schema_command import is_gone
from tests.sqlite.test_rows_restore import backed_up, settings_of

TABLES = """
CREATE TABLE person (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL);
CREATE TABLE pet (owner INTEGER REFERENCES person (id), tame BOOLEAN);
CREATE TABLE seeded (word TEXT);
CREATE VIEW pets AS SELECT * FROM pet;
INSERT INTO person (name) VALUES ('seed'); INSERT INTO seeded VALUES ('kept');
"""
HEAD = (
    "import os, sqlite3, sys\npath = os.environ['DATABASE_URL'].removeprefix('sqlite:///')\n"
    "assert path == os.environ['DATABASE_PATH']\n"
)
MAKES = (
    HEAD + "connection = sqlite3.connect(path)\nconnection.execute('PRAGMA journal_mode=WAL')\n"
    f"connection.executescript('''{TABLES}''')\n"
)
WAITS = MAKES + (
    "import time\nopen('pid.part', 'w').write(str(os.getpid()))\nos.rename('pid.part', 'pid')\ntime.sleep(600)\n"
)
COMMAND = f"{shlex.quote(sys.executable)} make.py"
ROWS = {"pet": table(["owner", "tame"], [5, True]), "person": table(["id", "name"], [5, "Ada"])}


def config_for(path: Path, script: str = MAKES) -> Settings:
    (path.parent / "make.py").write_text(script)
    return settings_of(path, schema_command=COMMAND)


def planned(config: Settings, file: Path) -> dbtasks.RestorePlan:
    job = dbtasks.RestoreJob(str(file), request=LoadRequest(unverified=True))
    return dbtasks.plan_restore(config, job)


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"backups"}


@pytest.mark.parametrize("state", [TargetState.MISSING, TargetState.EMPTY])
def test_the_command_makes_the_tables_and_the_rows_follow(tmp_path: Path, state: TargetState) -> None:
    live = tmp_path / "app.db"
    if state is TargetState.EMPTY:
        live.touch()
    config = config_for(live)
    plan = planned(config, older(tmp_path, ROWS))
    assert plan.load.state is state
    assert plan.load.strategy is (LoadStrategy.CREATE if state is TargetState.MISSING else LoadStrategy.SWAP)
    assert any("make.py" in step for step in plan.load.steps)
    before = names_in(tmp_path)
    dbtasks.restore(config, plan)
    assert names_in(tmp_path) == before | {"app.db"}
    assert rows(live, "SELECT * FROM pets") == [(5, 1)]
    assert rows(live, "SELECT * FROM person") == [(5, "Ada")]
    assert rows(live, "SELECT * FROM seeded") == [("kept",)]
    assert rows(live, "SELECT seq FROM sqlite_sequence") == [(5,)]


def test_a_backup_of_ours_comes_back_by_it_too(tmp_path: Path) -> None:
    source = tmp_path / "source.db"
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript(TABLES)
    made = backed_up(settings_of(source))
    config = config_for(tmp_path / "app.db")
    plan = planned(config, made.path)
    assert not plan.load.creates
    dbtasks.restore(config, plan)
    # the portable schema has no view: the command was there
    assert rows(tmp_path / "app.db", "SELECT * FROM pets") == []
    assert rows(tmp_path / "app.db", "SELECT name FROM person") == [("seed",)]


FAILURES: dict[str, tuple[str, type[DbTasksError], str]] = {
    "a bad end": (MAKES + "print('last words')\nsys.exit(3)", LoadFailed, "exited 3"),
    "no tables": (HEAD, Refused, "ended with 0 and made no tables in the database that DATABASE_URL led"),
    "a column is missing": (MAKES.replace("tame BOOLEAN", "wild BOOLEAN"), Refused, "tame is not there"),
    "a value does not fit": (MAKES.replace("tame BOOLEAN", "tame INTEGER"), Refused, "true or false"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_a_failure_leaves_nothing_and_says_the_commands_last_words(tmp_path: Path, what: str) -> None:
    script, kind, match = FAILURES[what]
    config = config_for(tmp_path / "app.db", script)
    plan = planned(config, older(tmp_path, ROWS))
    before = names_in(tmp_path)
    with pytest.raises(kind, match=match) as caught:
        dbtasks.restore(config, plan)
    assert names_in(tmp_path) == before
    assert "was not touched" in caught.value.state
    if what == "a bad end":
        assert caught.value.details == "last words"


@pytest.mark.fault
@pytest.mark.skipif(sys.platform == "win32", reason="nothing there ends a command with us")
def test_d08_a_killed_restore_takes_its_command_along_and_cleanup_removes_what_that_was_making(
    project: Project,
) -> None:
    project.mount()
    live = project.root / "app.db"
    (project.root / "make.py").write_text(WAITS)
    given = {"DATABASE_URL": "sqlite:///app.db", "DBTASKS_SCHEMA_COMMAND": COMMAND}
    file = older(project.root, ROWS)
    running = project.start("db.restore", f"--file={file}", "--unverified", "--yes", **given)
    until((project.root / "pid").exists)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate(timeout=60)
    assert is_gone(int((project.root / "pid").read_text()))
    (left,) = map(str, dead_drafts(project.root))
    config = settings_of(live)
    told = dbtasks.inspect(config).warnings
    assert f"{left} was left over by an earlier restore: db.cleanup removes it" in told
    cleaning = dbtasks.plan_cleanup(config)
    assert cleaning.remains.names == (left,)
    assert dbtasks.cleanup(config, cleaning).swept == (left,)
    assert not Path(left).exists()
    assert not live.exists()


@pytest.mark.fault
@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="nothing there ends a command with us")
def test_d08_a_command_that_does_not_end_when_it_is_told_to_is_killed(project: Project) -> None:
    project.mount()
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    (project.root / "make.py").write_text(deaf + WAITS)
    given = {"DATABASE_URL": "sqlite:///app.db", "DBTASKS_SCHEMA_COMMAND": COMMAND}
    file = older(project.root, ROWS)
    running = project.start("db.restore", f"--file={file}", "--unverified", "--yes", **given)
    until((project.root / "pid").exists)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate(timeout=60)
    pid = int((project.root / "pid").read_text())
    until(lambda: is_gone(pid))


def test_a_command_that_works_in_the_live_file_is_found_out(tmp_path: Path) -> None:
    live = tmp_path / "app.db"
    config = config_for(live, MAKES.replace("connect(path)", f"connect({str(live)!r})"))
    with pytest.raises(Refused, match=r"made its tables in app.db itself") as caught:
        dbtasks.restore(config, planned(config, older(tmp_path, ROWS)))
    assert "holds what schema_command made" in caught.value.state
    assert rows(live, "SELECT name FROM person") == [("seed",)]


def test_a_program_that_is_not_there_is_said_before_anything_is_touched(tmp_path: Path) -> None:
    config = settings_of(tmp_path / "app.db", schema_command="no-such-program")
    with pytest.raises(ToolMissing, match="no-such-program"):
        planned(config, older(tmp_path, ROWS))


def test_the_setting_is_read_as_a_shell_would_and_none_unsets_it(tmp_path: Path) -> None:
    live = tmp_path / "app.db"
    assert settings_of(live, schema_command="run 'a b' c").schema_command == ("run", "a b", "c")
    assert settings_of(live, schema_command="none").schema_command == ()
    assert settings_of(live).schema_command == ()
    with pytest.raises(SettingsError, match="quotes in pairs"):
        settings_of(live, schema_command="run 'a")
    assert settings_of(live, schema_command="run '&&' 'a;' \"|\"").schema_command == ("run", "&&", "a;", "|")
    for command in ("make a && make b", "make; load", "make > out", "make | tee"):
        with pytest.raises(SettingsError, match="no shell reads it"):
            settings_of(live, schema_command=command)
