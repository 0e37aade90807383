"""Older rows files into a SQLite file that has the tables: the declared type says what a value is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.errors import ArchiveDamaged, DbTasksError, LoadFailed, Refused
from dbtasks.plans import LoadRequest, LoadStrategy
from dbtasks.settings import Settings
from tests.older_files import METADATA, older, table, text_of
from tests.sqlite.test_rows_restore import content, settings_of

SCHEMA = """
CREATE TABLE person (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, born DATETIME, loud AS (upper(name)));
CREATE TABLE pet (owner INTEGER REFERENCES person (id), tame BOOLEAN, weight REAL, photo BLOB, tags JSON, price NUMERIC);
CREATE TABLE heard (what TEXT);
CREATE TRIGGER born AFTER INSERT ON pet BEGIN INSERT INTO heard VALUES ('insert'); END;
INSERT INTO person (id, name) VALUES (1, 'before');
"""
PET = ("owner", "tame", "weight", "photo", "tags", "price")
ROWS = {
    "PERSON": table(["id", "name", "born", "loud"], [7, "Ada", "2024-01-02T03:04:05", "ADA"]),
    "pet": table(
        PET,
        [7, True, 1.5, "\\x00ff", {"a": [1, 2.50]}, 12],
        [None, False, 3, "b'\\x00'", "[1]", 0.25],
        [None] * 6,
    ),
}
REFUSED = [
    ("owner", True, "BOOLEAN"),
    ("owner", "7", "would make one of it"),
    ("weight", float("nan"), "NaN"),
    ("price", "0.1", "would make one of it"),
    ("owner", "+4912345", "would make one of it"),
    ("price", ".5", "would make one of it"),
    ("price", " 5. ", "would make one of it"),
    ("weight", 9007199254740993, "more digits"),
    ("photo", "00ff", "base64"),
    ("photo", {"a": 1}, "an object"),
    ("weight", [1], "a list"),
    ("name", 5, "make a text"),
]


@pytest.fixture
def live(tmp_path: Path) -> Path:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
    return path


def planned(config: Settings, file: Path) -> dbtasks.RestorePlan:
    job = dbtasks.RestoreJob(str(file), request=LoadRequest(unverified=True), skip_safety_backup=True)
    return dbtasks.plan_restore(config, job)


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_c09_an_older_file_comes_back_into_the_tables_that_are_there(live: Path, tmp_path: Path) -> None:
    config = settings_of(live)
    plan = planned(config, older(tmp_path, ROWS))
    assert plan.load.strategy is LoadStrategy.ROWS
    assert any("loud is computed here" in text for text in plan.warnings)
    # it knows of its columns but their names
    assert not any("NULL" in text for text in plan.warnings)
    result = dbtasks.restore(config, plan)
    assert (result.tables, result.rows) == (2, 4)
    assert rows(live, "SELECT * FROM person") == [(7, "Ada", "2024-01-02T03:04:05", "ADA")]
    assert rows(live, "SELECT * FROM pet") == [
        (7, 1, 1.5, b"\x00\xff", '{"a": [1, 2.5]}', 12),
        (None, 0, 3.0, b"\x00", "[1]", 0.25),
        (None,) * 6,
    ]
    assert rows(live, "SELECT * FROM heard") == []
    assert rows(live, "SELECT seq FROM sqlite_sequence") == [(7,)]


@pytest.mark.parametrize(("column", "value", "said"), REFUSED)
def test_b06_what_could_be_two_things_is_refused_by_name(
    live: Path, tmp_path: Path, column: str, value: object, said: str
) -> None:
    if column == "name":
        tables = {"person": table(["id", "name"], [1, value]), "pet": table(PET)}
    else:
        row = [value if c == column else None for c in PET]
        tables = {"person": table(["id", "name"]), "pet": table(PET, row)}
    before = content(live)
    with pytest.raises(Refused, match=rf"{column}: .*{said}"):
        planned(settings_of(live), older(tmp_path, tables))
    assert content(live) == before


def test_b04_a_number_that_sqlite_would_round_is_refused(live: Path, tmp_path: Path) -> None:
    file = older(tmp_path, {"pet": table(PET, [None, None, None, None, None, 2**70])})
    with pytest.raises(Refused, match=r"pet.price: a number of more digits"):
        planned(settings_of(live), file)


@pytest.mark.parametrize(
    ("tables", "kind", "match"),
    [
        ({"nowhere": table(["a"])}, Refused, "lacks tables"),
        ({"pet": table(["owner", "age"])}, Refused, "age is not there"),
        ({"person": ROWS["PERSON"]}, Refused, "pet is not in the backup and refers to person"),
        ({"person": table(["id", "name"], [1, None]), "pet": table(PET)}, LoadFailed, "NOT NULL"),
    ],
)  # fmt: skip
def test_e18_what_does_not_fit_leaves_everything_as_it_was(
    live: Path, tmp_path: Path, tables: dict[str, Any], kind: type[DbTasksError], match: str
) -> None:
    before, config = content(live), settings_of(live)
    with pytest.raises(kind, match=match):
        dbtasks.restore(config, planned(config, older(tmp_path, tables)))
    assert content(live) == before


def test_where_no_tables_are_it_is_refused_with_what_would_make_them(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="does not say what they are") as caught:
        planned(settings_of(tmp_path / "new.db"), older(tmp_path, ROWS))
    assert "schema_command" in caught.value.hint
    assert not (tmp_path / "new.db").exists()


def test_the_migration_it_was_made_at_is_told_where_it_is_another(live: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(live)) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
        connection.execute("INSERT INTO alembic_version VALUES ('aaa')")
    plan = planned(settings_of(live), older(tmp_path, ROWS))
    assert any(str(METADATA["migration_version"]) in text and "aaa" in text for text in plan.warnings)


def test_a_file_that_nobody_packed_is_no_damage_and_told_how_to_pack_it(live: Path, tmp_path: Path) -> None:
    file = tmp_path / "plain.backup.gz"
    file.write_text(text_of(ROWS))
    with pytest.raises(Refused, match="is not gzip") as caught:
        planned(settings_of(live), file)
    assert caught.value.hint.startswith("pack a copy: cat plain.backup.gz | gzip >")


def test_single_tables_are_not_taken_from_it_and_that_is_told_as_it_is(live: Path, tmp_path: Path) -> None:
    job = dbtasks.TablesJob(("PERSON",), str(older(tmp_path, ROWS)), unverified=True)
    with pytest.raises(Refused, match="holds rows only, without the definitions") as caught:
        dbtasks.plan_restore_tables(settings_of(live), job)
    assert "restored whole it fills the tables that are there" in caught.value.hint


def test_c03_one_that_is_cut_is_to_be_copied_anew(live: Path, tmp_path: Path) -> None:
    file = older(tmp_path, ROWS)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ArchiveDamaged, match="ends early") as caught:
        planned(settings_of(live), file)
    assert caught.value.hint.startswith("copy it anew from where it came, or choose another")
