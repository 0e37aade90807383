"""Parts of a SQLite database in rows backups whose tables refer to others that were left out: whole, and told as that."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.errors import LoadFailed
from tests.sqlite.test_rows import made_of
from tests.sqlite.test_rows_creation import planned
from tests.sqlite.test_rows_proof import proven
from tests.sqlite.test_rows_restore import backed_up, fails, run, settings_of

PETS = """
CREATE TABLE person (id INTEGER PRIMARY KEY);
CREATE TABLE shop (id INTEGER PRIMARY KEY);
CREATE TABLE pet (id INTEGER PRIMARY KEY, owner INT REFERENCES PERSON (id), shop INT REFERENCES shop (id));
INSERT INTO person VALUES (1), (2);
INSERT INTO shop VALUES (7);
INSERT INTO pet VALUES (10, 1, 7), (11, 2, 7);
"""
LEAVE_PERSON_OUT = [
    {"exclude_tables": ("person",)},
    {"exclude_data": ("person",)},
    {"tables": ("pet", "shop")},
]
SAID = (
    "pet refers to person, whose rows are not in the backup: restored where no tables are, its rows lack them"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return made_of(tmp_path / "app.db", PETS)


@pytest.mark.parametrize("part", LEAVE_PERSON_OUT, ids=["no table", "no rows", "others"])
def test_a_part_that_refers_to_what_was_left_out_is_whole_and_that_is_told(
    path: Path, tmp_path: Path, part: dict[str, Any]
) -> None:
    config = settings_of(path)
    made = backed_up(config, **part)
    assert SAID in made.manifest.warnings
    done = proven(config, made)
    assert done.ok, done.how
    copy = tmp_path / "copy.db"
    plan = planned(path, made, copy)
    assert any(
        text.lower().startswith("pet refers to person, whose rows are not in") for text in plan.warnings
    )
    dbtasks.restore(config, plan)
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT id, owner FROM pet").fetchall() == [(10, 1), (11, 2)]


def test_a_key_that_is_broken_inside_a_part_is_counted_alike_when_it_is_backed_up_and_when_it_is_made(
    path: Path, tmp_path: Path
) -> None:
    run(path, "INSERT INTO pet VALUES (12, 99, 7), (13, 1, 99)")
    config = settings_of(path)
    made = backed_up(config, exclude_tables=("person",))
    assert "pet: once a row breaks a foreign key" in made.manifest.warnings
    assert proven(config, made).ok
    dbtasks.restore(config, planned(path, made, tmp_path / "copy.db"))
    assert run(tmp_path / "copy.db", "SELECT count(*) FROM pet") == [(4,)]


def test_rows_of_a_part_still_have_to_find_those_that_are_there(path: Path) -> None:
    made = backed_up(settings_of(path), tables=("pet",))
    run(path, "DELETE FROM pet", "DELETE FROM person")
    fails(path, made, LoadFailed, "pet: 2 times a row breaks a foreign key")
