"""`db.diff` of a rows backup of SQLite: the words of its tables and indexes beside those of the file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import dbtasks
from dbtasks.models import Format
from dbtasks.plans import DumpRequest
from dbtasks.rows.comparison.definitions import TOLD
from tests.older_files import older, table
from tests.sqlite.databases import run, settings
from tests.sqlite.test_portable import ODD
from tests.test_diff import differences, named


def backed_up(config: dbtasks.Settings, **request: object) -> str:
    made = DumpRequest(format=Format.ROWS, **request)  # type: ignore[arg-type]
    return dbtasks.backup(config, dbtasks.BackupJob(request=made)).id


@pytest.fixture
def odd(tmp_path: Path) -> tuple[dbtasks.Settings, Path]:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(ODD)
        connection.executescript(
            "CREATE VIEW seen AS SELECT 1; CREATE VIRTUAL TABLE docs USING fts5 (body);"
            "CREATE TRIGGER noted AFTER INSERT ON grown BEGIN SELECT 1; END"
        )
    return settings(tmp_path), path


def test_what_was_just_backed_up_does_not_differ_whatever_stands_around_the_tables(
    odd: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = odd
    made = backed_up(config)
    run(path, "DROP VIEW seen")
    summary = dbtasks.diff(config, made)
    assert summary.schema is not None
    assert not summary.differs, summary
    assert TOLD in summary.notes
    assert "1 trigger (noted)" in "\n".join(summary.notes)


def test_tables_indexes_and_columns_that_differ_are_named(odd: tuple[dbtasks.Settings, Path]) -> None:
    config, path = odd
    made = backed_up(config)
    plain = dbtasks.backup(config).id
    run(path, "DROP INDEX if_any")
    run(path, "CREATE TABLE later (x)")
    run(path, "CREATE INDEX sooner ON grown (a)")
    run(path, "ALTER TABLE grown ADD COLUMN c REAL")
    run(path, "DELETE FROM child WHERE id = 5")
    summary = dbtasks.diff(config, made)
    drift = summary.schema
    assert drift is not None
    assert named(drift.only_in_backup) == ["index if_any"]
    assert named(drift.only_against) == ["index sooner", "table later"]
    assert [(one.name, one.details) for one in drift.changed] == [("grown", ("- c REAL",))]
    assert differences(summary) == {("child", 2, 1), ("later", None, 0)}
    # a backup of the file itself is told as far as one of rows tells it
    same = dbtasks.diff(config, made, plain)
    assert same.schema is not None
    assert not same.differs, same
    assert not dbtasks.diff(config, plain, made).differs
    later = dbtasks.backup(config).id
    assert dbtasks.diff(config, made, later).schema == drift


def test_a_part_says_nothing_of_other_tables(odd: tuple[dbtasks.Settings, Path]) -> None:
    config, path = odd
    made = backed_up(config, tables=("grown",))
    run(path, "CREATE TABLE later (x)")
    assert not dbtasks.diff(config, made).differs


def test_an_older_file_is_compared_by_its_tables_and_the_names_of_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    run_script(
        path, "CREATE TABLE Person (id INTEGER PRIMARY KEY, name TEXT, since TEXT); CREATE TABLE pet (x)"
    )
    file = older(tmp_path, {"person": table(["name", "id", "phone"], ["Ada", 1, None])})
    summary = dbtasks.diff(settings(tmp_path), str(file), unverified=True)
    assert summary.schema is not None
    assert [(one.name, one.details) for one in summary.schema.changed] == [("Person", ("+ phone", "- since"))]
    assert (summary.schema.only_in_backup, summary.schema.only_against) == ((), ())
    assert differences(summary) == {("Person", 1, 0)}
    assert any("whether or not they were there: pet" in note for note in summary.notes)


def run_script(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(script)
