"""Restores of SQLite rows backups where no tables are: into a file that is empty or missing."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.engines.sqlite.rows import backup as rows
from dbtasks.errors import Refused
from dbtasks.models import Backup, Format
from dbtasks.plans import DumpRequest, LoadRequest, LoadStrategy, TargetState
from dbtasks.settings import Settings
from tests.moments import failures_at_each_phase
from tests.sqlite.databases import leftovers
from tests.sqlite.portable import described
from tests.sqlite.test_portable import ODD, content


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(ODD)
        connection.execute("CREATE VIEW seen AS SELECT 1")
        connection.commit()
    return path


def settings_of(path: Path) -> Settings:
    return dbtasks.load_settings(path.parent, environ={}, url=f"sqlite:///{path}")


def backed_up(path: Path) -> Backup:
    return dbtasks.backup(settings_of(path), dbtasks.BackupJob(request=DumpRequest(format=Format.ROWS)))


def planned(path: Path, made: Backup | Path, into: Path | None = None) -> dbtasks.RestorePlan:
    file = str(made) if isinstance(made, Path) else made.id
    job = dbtasks.RestoreJob(
        file, into=str(into) if into else None, request=LoadRequest(unverified=isinstance(made, Path))
    )
    return dbtasks.plan_restore(settings_of(path), job)


@pytest.mark.parametrize("state", [TargetState.MISSING, TargetState.EMPTY])
@pytest.mark.parametrize("beside", [True, False], ids=["into another", "the configured"])
def test_everything_comes_up_in_a_file_that_is_empty_or_missing(
    path: Path, tmp_path: Path, state: TargetState, beside: bool
) -> None:
    made, schema = backed_up(path), described(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP VIEW seen")
        connection.commit()
    rows = content(path)
    copy = tmp_path / "copy.db" if beside else path
    if not beside:
        path.unlink()
    if state is TargetState.EMPTY:
        copy.touch()
    plan = planned(path, made, copy if beside else None)
    strategy = LoadStrategy.CREATE if state is TargetState.MISSING else LoadStrategy.SWAP
    assert (plan.load.state, plan.load.strategy, plan.safety) == (state, strategy, False)
    assert set(plan.load.creates) == set(plan.load.fills) == {table.name for table in schema.tables}
    assert plan.warnings[-1].startswith("not in the backup, and not made: 1 view (seen); ")
    result = dbtasks.restore(settings_of(path), plan)
    assert result.checked_against_manifest
    assert described(copy) == schema
    assert content(copy) == rows
    assert copy.stat().st_mode & 0o077 == 0 or state is TargetState.EMPTY
    assert leftovers(tmp_path) == []


def test_a_file_of_views_alone_is_refused_by_their_names_and_goes_as_the_hint_says(path: Path) -> None:
    made, schema = backed_up(path), described(path)
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            'CREATE VIEW "se en" AS SELECT 1; CREATE TRIGGER told INSTEAD OF INSERT ON "se en" BEGIN SELECT 1; END'
        )
    before = path.read_bytes()
    with pytest.raises(Refused, match=r"holds no table, but 1 view \(se en\)") as caught:
        planned(path, made)
    assert caught.value.state == "nothing was touched"
    assert "tables already" not in caught.value.message
    assert path.read_bytes() == before
    copy = path.with_name("copy.db")
    dbtasks.restore(settings_of(path), planned(path, made, copy))
    assert described(copy) == schema
    (statement,) = re.findall(r"DROP VIEW .*?;", caught.value.hint)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()
    dbtasks.restore(settings_of(path), planned(path, made))
    assert described(path) == schema


def test_a_failure_at_any_phase_leaves_no_file(path: Path, tmp_path: Path) -> None:
    made, copy = backed_up(path), tmp_path / "copy.db"
    plan = planned(path, made, copy)
    seen: list[str] = []
    config = settings_of(path)
    for phase, _ in failures_at_each_phase(lambda stop: dbtasks.restore(config, plan, on_event=stop)):
        seen.append(phase)
        assert not copy.exists()
        assert leftovers(tmp_path) == []
    assert seen.count("create") == 2
    assert copy.exists()


def test_what_sqlite_lacks_is_listed_before_anything_is_touched(path: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.create_function("shout", 1, str.upper, deterministic=True)
        connection.create_collation("ours", lambda a, b: (a > b) - (a < b))
        connection.executescript(
            "CREATE INDEX loud ON counted (shout(name)); CREATE INDEX sorted ON counted (name COLLATE ours)"
        )
    made = backed_up(path)
    with pytest.raises(Refused, match="cannot be made here") as caught:
        planned(path, made, tmp_path / "copy.db")
    assert caught.value.details.splitlines() == [
        "the index loud needs what is not there: no such function: shout",
        "the index sorted needs what is not there: no such collation sequence: ours",
    ]
    assert not (tmp_path / "copy.db").exists()


def test_a_part_makes_the_tables_that_are_in_it(path: Path, tmp_path: Path) -> None:
    request = DumpRequest(format=Format.ROWS, tables=("counted", "child"), exclude_data=("child",))
    made = dbtasks.backup(settings_of(path), dbtasks.BackupJob(request=request))
    copy = tmp_path / "copy.db"
    plan = planned(path, made, copy)
    assert (plan.load.creates, plan.load.fills) == (("child", "counted"), ("counted",))
    dbtasks.restore(settings_of(path), plan)
    assert [table.name for table in described(copy).tables] == ["child", "counted"]


@pytest.mark.parametrize("beside", [True, False])
def test_the_numbers_in_its_header_come_back_with_the_tables(
    path: Path, tmp_path: Path, beside: bool
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 41")
        connection.execute("PRAGMA application_id = -7")
    made = backed_up(path)
    copy = tmp_path / "copy.db" if beside else path
    if not beside:
        path.unlink()
    dbtasks.restore(settings_of(path), planned(path, made, copy if beside else None))
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (41,)
        assert connection.execute("PRAGMA application_id").fetchone() == (-7,)
        connection.execute("PRAGMA user_version = 42")
    # rows that go into tables that are there leave the file's own numbers alone
    dbtasks.restore(settings_of(path), planned(path, made, copy if beside else None))
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (42,)


def test_the_revision_is_that_of_the_rows_and_not_of_the_plan(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say(version: str) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num TEXT)")
            connection.execute("DELETE FROM alembic_version")
            connection.execute("INSERT INTO alembic_version VALUES (?)", (version,))
            connection.commit()

    real = rows.dump_rows

    def migrated(*arguments: Any) -> Any:
        say("after")
        return real(*arguments)

    say("before")
    monkeypatch.setattr(rows, "dump_rows", migrated)
    made = backed_up(path)
    assert made.manifest.revision is not None
    assert made.manifest.revision.revisions == ("after",)
    with gzip.open(made.path, "rb") as stream:
        assert json.load(stream)["metadata"]["migration_version"] == "after"


def test_a_file_that_holds_nothing_but_sqlites_own_tables_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE t (a INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t VALUES (7)"
        )
    made = backed_up(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("ANALYZE; DROP TABLE t")
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    plan = planned(path, made)
    assert (plan.load.state, plan.load.creates) == (TargetState.EMPTY, ("t",))
    dbtasks.restore(settings_of(path), plan)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO t DEFAULT VALUES")
        assert connection.execute("SELECT a FROM t").fetchall() == [(7,), (8,)]
