"""SQL that runs in a loaded backup before it goes live: on SQLite, through the settings, and through the task."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.errors import LoadFailed, Refused
from dbtasks.events import Event, Phase
from dbtasks.journal import read_restores
from tests.conftest import REPOSITORY, Project
from tests.sqlite.databases import assert_whole, content, count, leftovers, make, run, settings

SECRET = "ada.lovelace@really.example"
SCHEMA = f"""
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, email TEXT, phone TEXT);
CREATE TABLE session (id INTEGER PRIMARY KEY, customer REFERENCES customer (id) ON DELETE CASCADE);
INSERT INTO customer VALUES (1, 'Ada', '{SECRET}', '1815'), (2, 'Bob', 'bob@really.example', NULL);
INSERT INTO session VALUES (1, 1), (2, 2), (3, 2);
"""


def recipe(engine: str) -> str:
    """The script that docs/scrub.md shows for an engine."""
    page = (REPOSITORY / "docs" / "scrub.md").read_text("utf-8")
    section = page.partition(f"\n## {engine}\n")[2].partition("\n## ")[0]
    (script,) = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)
    return str(script)


@pytest.fixture
def shop(tmp_path: Path) -> tuple[dbtasks.Settings, Path]:
    """A database of people, backed up; what is live now is another one."""
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(SCHEMA)
    config = settings(tmp_path)
    dbtasks.backup(config)
    run(path, "INSERT INTO customer VALUES (3, 'Cy', 'cy@here.example', '1')")
    return config, path


def restore(
    config: dbtasks.Settings, *scripts: str, heard: list[Event] | None = None, **job: Any
) -> dbtasks.RestoreResult:
    """Restore the latest backup with these scripts as files."""
    files = []
    for number, script in enumerate(scripts):
        files.append(config.root / f"script{number}.sql")
        files[-1].write_text(script)
    request = dbtasks.LoadRequest(after_load=tuple(files))
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(request=request, **job))
    return dbtasks.restore(config, plan, on_event=(heard if heard is not None else []).append)


def test_the_recipe_of_the_page_scrubs_before_anybody_sees_it_and_no_byte_is_left(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    live: list[str] = []

    class Watching(list[Event]):
        """Looks into the live file at each event."""

        def append(self, event: Event) -> None:
            super().append(event)
            live.append(run(path, "SELECT group_concat(name, ' ') FROM customer ORDER BY id")[0][0])

    heard: list[Event] = Watching()
    done = restore(config, recipe("SQLite"), heard=heard)
    assert set(live[:-1]) <= {"Ada Bob Cy", "Customer 1 Customer 2"}
    assert live[0] == "Ada Bob Cy"
    assert run(path, "SELECT group_concat(name, ' ') FROM customer") == [("Customer 1 Customer 2",)]
    assert run(path, "SELECT name, email, phone FROM customer") == [
        ("Customer 1", "customer1@example.invalid", None),
        ("Customer 2", "customer2@example.invalid", None),
    ]
    assert count(path, "session") == 0
    assert SECRET.encode() not in path.read_bytes()
    assert_whole(path)
    phases = [event.name for event in heard if isinstance(event, Phase)]
    assert phases.index("check") < phases.index("after_load") < phases.index("swap")
    # the counts are those that are live
    assert (done.rows, done.tables, [file.name for file in done.after_load]) == (2, 2, ["script0.sql"])
    (record,) = read_restores(config.backup_dir)
    assert (record["after_load"], record["rows"]) == (
        [str(done.after_load[0])],
        {"customer": 2, "session": 0},
    )
    assert leftovers(config.root) == []


def test_what_is_overwritten_stays_in_no_page_even_without_a_vacuum(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    restore(config, "UPDATE customer SET email = 'x; y'; DELETE FROM customer WHERE id = 1")
    assert SECRET.encode() not in path.read_bytes()
    # keys cascade as they do in an application
    assert count(path, "session") == 2


def test_a_vacuum_may_stand_anywhere_and_a_trigger_holds_semicolons(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    restore(
        config,
        "UPDATE customer SET email = NULL; VACUUM; /* again */ vacuum;\n"
        "CREATE TRIGGER t AFTER INSERT ON customer BEGIN UPDATE customer SET phone = 1; DELETE FROM session; END;",
    )
    assert SECRET.encode() not in path.read_bytes()
    run(path, "INSERT INTO customer (id) VALUES (9)")
    assert count(path, "session") == 0


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_several_run_in_order_in_whatever_journal_mode_the_backup_has(tmp_path: Path, journal: str) -> None:
    path = make(tmp_path / "app.db", 10, journal=journal)
    config = settings(tmp_path)
    dbtasks.backup(config)
    done = restore(
        config, "CREATE TABLE done (n); INSERT INTO done VALUES (1);", "UPDATE done SET n = n + 41;"
    )
    assert run(path, "SELECT n FROM done") == [(42,)]
    assert done.tables == 3
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (
            "UPDATE customer SET name = 'x';\nUPDATE nosuch SET a = 1;",
            "failed at line 2: no such table: nosuch",
        ),
        ("SELECT 1; -- one; two\n\n  SELECT 2;  /* ; */\n\nTRUNCATE customer", "failed at line 5"),
        ("PRAGMA foreign_keys=OFF; DELETE FROM customer;", "session: 3 times a row breaks a foreign key"),
    ],
)
def test_one_that_fails_swaps_nothing(shop: tuple[dbtasks.Settings, Path], script: str, told: str) -> None:
    config, path = shop
    before = content(path)
    with pytest.raises(LoadFailed, match=told) as caught:
        restore(config, script)
    assert caught.value.hint.startswith("correct it and restore again; after_load=none")
    assert "app.db is as it was" in caught.value.state
    assert content(path) == before
    assert leftovers(config.root) == []
    (record,) = read_restores(config.backup_dir)
    assert record["state"].startswith("failed")


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("BEGIN; DELETE FROM customer; COMMIT;", "BEGIN and COMMIT are the restore's to say"),
        ("SAVEPOINT a;", "SAVEPOINT is the restore's to say"),
        ("ATTACH 'app.db' AS live; DELETE FROM live.customer;", "no other file may be reached"),
        ("VACUUM INTO 'copy.db';", "no other file may be reached"),
        ("SELECT 1;\n.read other.sql\n", r"a command of the sqlite3 shell \(line 2\)"),
    ],
)
def test_one_that_reaches_further_than_the_loaded_database_is_refused(
    shop: tuple[dbtasks.Settings, Path], script: str, told: str
) -> None:
    config, path = shop
    before = content(path)
    with pytest.raises(Refused, match=told) as caught:
        restore(config, script)
    hint = "say it in SQL" if "shell" in told else "take that out"
    assert caught.value.hint == f"{hint} and restore again; after_load=none restores without such files"
    assert content(path) == before
    assert not (config.root / "copy.db").exists()


def test_one_that_cannot_be_read_is_refused_before_anything_is_touched(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, _ = shop
    request = dbtasks.LoadRequest(after_load=(config.root / "nosuch.sql",))
    with pytest.raises(Refused, match=r"after_load: .*nosuch\.sql cannot be read: No such file") as caught:
        dbtasks.plan_restore(config, dbtasks.RestoreJob(request=request))
    assert caught.value.state == "nothing was touched"
    assert caught.value.hint.startswith("make it a file of UTF-8 text that this user may read")
    assert not (config.backup_dir / "restores").exists()


def test_it_runs_in_a_database_that_was_missing_or_named_by_into_too(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    path.unlink()
    restore(config, "DELETE FROM session;")
    assert (count(path, "session"), count(path, "customer")) == (0, 2)
    restore(config, "DELETE FROM session;", into="copy.db")
    assert count(config.root / "copy.db", "session") == 0


def test_an_undo_runs_nothing_and_brings_back_what_was_there(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db", 10)
    (tmp_path / "scrub.sql").write_text("DELETE FROM note; DELETE FROM item;")
    config = settings(tmp_path, after_load="scrub.sql")
    dbtasks.backup(config)
    before = content(path)
    done = dbtasks.restore(config, dbtasks.plan_restore(config))
    assert (count(path), done.after_load) == (0, (tmp_path / "scrub.sql",))
    dbtasks.undo(config, dbtasks.plan_undo(config))
    assert content(path) == before


# -- the setting and the task ---------------------------------------------------------------


@pytest.fixture
def host(project: Project) -> Project:
    project.mount()
    (project.root / "db").mkdir()
    (project.root / "db" / "scrub.sql").write_text("DELETE FROM item WHERE id >= 3;")
    project.dotenv("DATABASE_URL=sqlite:///app.db\nDBTASKS_AFTER_LOAD=db/scrub.sql\n")
    make(project.root / "app.db", 10)
    assert project.invoke("db.backup").returncode == 0
    return project


def test_the_plan_names_it_as_a_step_and_the_result_says_that_it_ran(host: Project) -> None:
    planned = host.invoke("db.restore", "--file=latest", "--dry-run")
    assert "2. run scrub.sql in it, check it again" in planned.stdout
    plan = json.loads(host.invoke("db.restore", "--file=latest", "--dry-run", "--json").stdout)["plan"]
    assert plan["after_load"] == [str(host.root / "db" / "scrub.sql")]
    assert count(host.root / "app.db") == 10
    subfolder = host.root / "db"
    done = host.invoke("db.restore", "--file=latest", "--yes", cwd=subfolder)
    assert done.returncode == 0, done.stderr
    assert "2 tables, 4 rows, equal to the manifest before after_load" in done.stdout
    assert "scrub.sql ran in it before it went live" in done.stdout
    assert count(host.root / "app.db") == 3
    result = json.loads(host.invoke("db.restore", "--file=latest", "--yes", "--json").stdout)["restore"]
    assert result["after_load"] == [str(host.root / "db" / "scrub.sql")]


def test_none_leaves_it_out_and_a_failing_one_ends_with_9(host: Project) -> None:
    ran = host.invoke("db.restore", "--file=latest", "--yes", DBTASKS_AFTER_LOAD="none")
    assert (ran.returncode, count(host.root / "app.db")) == (0, 10)
    (host.root / "db" / "scrub.sql").write_text("DELETE FROM nosuch;")
    ran = host.invoke("db.restore", "--file=latest", "--yes")
    assert ran.returncode == 9
    assert "scrub.sql failed at line 1: no such table: nosuch\n" in ran.stderr
    assert ran.stderr.count("no such table: nosuch") == 1
    assert "app.db is as it was" in ran.stderr
    assert count(host.root / "app.db") == 10
    ran = host.invoke("db.restore", "--file=latest", "--yes", DBTASKS_AFTER_LOAD="gone.sql")
    assert ran.returncode == 6
    assert "gone.sql cannot be read" in ran.stderr
