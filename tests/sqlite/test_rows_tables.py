"""Single tables of a SQLite rows backup back into a live file: created, their rows replaced, or beside."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.errors import Refused, UsageError
from dbtasks.models import Format
from dbtasks.plans import DumpRequest
from dbtasks.rows import sqlite_schema
from tests.sqlite.databases import assert_whole, content, leftovers, run, settings
from tests.test_one_table import Shop, bring, filled, plan


def backed_up(config: dbtasks.Settings, **request: Any) -> dbtasks.Backup:
    return dbtasks.backup(config, dbtasks.BackupJob(request=DumpRequest(format=Format.ROWS, **request)))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    path = filled(tmp_path / "app.db")
    config = settings(tmp_path)
    backed_up(config)
    return config, path


def test_e06_a_table_that_was_dropped_comes_back_with_keys_indexes_and_next_number(shop: Shop) -> None:
    config, path = shop
    run(path, "DROP TRIGGER noting")
    run(path, "DROP TRIGGER gone")
    before = sorted(content(path))
    run(path, "DROP TABLE item")
    planned = plan(config, "item")
    assert "item: a rows backup holds no triggers, it comes without" in planned.warnings
    said: list[object] = []
    result = dbtasks.restore_tables(config, planned, on_event=said.append)
    assert (result.rows, result.checked_against_manifest) == ({"item": 100}, True)
    # the backup's other tables are made only to look into them
    assert " tables'" not in str(said)
    assert (result.safety_backup, result.way_back) == (None, 'DROP TABLE "item";')
    assert sorted(content(path)) == before
    assert_whole(path)
    assert run(path, "INSERT INTO item (price) VALUES (3) RETURNING id, doubled") == [(101, 6)]
    assert leftovers(config.root) == []


def test_e06_e09_e13_e14_rows_are_replaced_in_place_and_nothing_else_is_touched(shop: Shop) -> None:
    config, path = shop
    run(path, "DELETE FROM item WHERE id < 50")
    run(path, "INSERT INTO item (name) VALUES ('since')")
    run(path, "UPDATE customer SET name = 'x' || id")
    run(path, "DELETE FROM log")
    result = bring(config, "item", "pair")
    assert result.rows == {"item": 100, "pair": 1}
    assert result.safety_backup is not None
    assert run(path, "SELECT count(*), sum(price), sum(doubled) FROM item") == [(100, 5050, 10100)]
    assert run(path, "SELECT count(*) FROM log") == [(0,)], "no trigger fired"
    assert run(path, "SELECT count(*) FROM customer WHERE name LIKE 'x%'") == [(5,)]
    assert run(path, "INSERT INTO item (price) VALUES (3) RETURNING id") == [(102,)]


def test_a_copy_beside_has_its_own_indexes_and_no_foreign_keys(shop: Shop) -> None:
    config, path = shop
    assert bring(config, "item", as_name="item_then").rows == {"item_then": 100}
    assert run(path, "SELECT count(*) FROM pragma_foreign_key_list('item_then')") == [(0,)]


def test_e10_e07_foreign_keys_in_the_way_and_unknown_tables_are_refused_by_name(shop: Shop) -> None:
    config, path = shop
    run(path, "INSERT INTO customer (name) VALUES ('new')")
    run(path, "INSERT INTO item (name, price, customer) VALUES ('newer', 1, 6)")
    before = content(path)
    with pytest.raises(Refused, match="1 row of item would refer to rows of customer"):
        bring(config, "customer")
    with pytest.raises(UsageError, match="holds no such table"):
        plan(config, "itm")
    assert content(path) == before


def test_rows_that_were_left_out_hold_up_what_would_be_emptied_only(shop: Shop) -> None:
    config, path = shop
    made = backed_up(config, exclude_data=("pair",))
    with pytest.raises(Refused, match="the rows of pair were left out"):
        plan(config, "pair", file=made.id)
    run(path, "DROP TABLE pair")
    assert bring(config, "pair", file=made.id).rows == {"pair": 0}
    alone = backed_up(config, data_only=True)
    with pytest.raises(Refused, match="holds rows only, without the definitions"):
        plan(config, "item", file=alone.id)


CHILD = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY, n TEXT); INSERT INTO person VALUES (1, 'a'), (2, 'b');"
    "CREATE TABLE pet (id INTEGER PRIMARY KEY, owner INTEGER NOT NULL REFERENCES PERSON (id));"
    "INSERT INTO pet VALUES (10, 1), (11, 2), (12, 7)"
)
"""The pet of 7 had no owner when the backup was made; foreign keys are off in SQLite by itself."""


def of_pets(tmp_path: Path, format_: Format, **request: Any) -> tuple[dbtasks.Settings, Path, dbtasks.Backup]:
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.executescript(CHILD)
    config = settings(tmp_path)
    saved = dbtasks.backup(config, dbtasks.BackupJob(request=DumpRequest(format=format_, **request)))
    return config, tmp_path / "app.db", saved


@pytest.mark.parametrize("format_", [Format.ROWS, Format.SQLITE])
@pytest.mark.parametrize("gone", [("DELETE FROM pet",), ("DROP TABLE pet",)], ids=["replaced", "created"])
def test_e10_a_table_whose_rows_refer_to_one_that_is_gone_by_now_is_refused_by_number(
    tmp_path: Path, format_: Format, gone: tuple[str]
) -> None:
    config, path, saved = of_pets(tmp_path, format_)
    run(path, *gone)
    run(path, "DELETE FROM person WHERE id = 2")
    before = content(path)
    with pytest.raises(
        Refused, match=r"^1 row of pet would refer to rows of person that are not there"
    ) as said:
        bring(config, "pet", file=saved.id)
    assert "bring back that table too: --table=person" in said.value.hint
    assert content(path) == before
    run(path, "INSERT INTO person VALUES (2, 'b again')")
    assert bring(config, "pet", file=saved.id).rows == {"pet": 3}, "what dangled in the backup may dangle"
    assert run(path, "SELECT * FROM pragma_foreign_key_check") == [("pet", 12, "PERSON", 0)]


@pytest.mark.parametrize(
    "part", [{"exclude_data": ("person",)}, {"tables": ("pet",)}], ids=["no rows", "no table"]
)
def test_e10_a_part_without_the_rows_referred_to_is_no_word_for_what_may_dangle(
    tmp_path: Path, part: dict[str, Any]
) -> None:
    config, path, saved = of_pets(tmp_path, Format.ROWS, **part)
    run(path, "DELETE FROM pet")
    with pytest.raises(
        Refused, match=r"^1 row of pet would refer to rows of person that are not there"
    ) as said:
        bring(config, "pet", file=saved.id)
    assert "the backup holds no rows of person" in said.value.hint
    run(path, "INSERT INTO person VALUES (7, 'g')")
    assert bring(config, "pet", file=saved.id).rows == {"pet": 3}
    assert run(path, "SELECT * FROM pragma_foreign_key_check") == []


def test_e10_a_table_that_refers_to_none_that_was_ever_there_comes_back_as_it_was(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.executescript(
            "CREATE TABLE pet (id INTEGER REFERENCES nobody); INSERT INTO pet VALUES (1)"
        )
    config = settings(tmp_path)
    saved = backed_up(config)
    run(tmp_path / "app.db", "DELETE FROM pet")
    assert bring(config, "pet", file=saved.id).rows == {"pet": 1}


@pytest.mark.parametrize("told", [True, False], ids=["by SQLite", "by its module's own names"])
def test_a_table_that_is_only_named_like_the_insides_of_a_virtual_one_is_backed_up(
    tmp_path: Path, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # an SQLite before 3.37 has no such list, and says nothing
    monkeypatch.setattr(
        sqlite_schema, "TABLE_LIST", "PRAGMA main.table_list" if told else "PRAGMA no_such_list"
    )
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.executescript(
            "CREATE VIRTUAL TABLE docs USING fts5 (body); CREATE TABLE docs_archive (id INTEGER PRIMARY KEY);"
            "CREATE VIRTUAL TABLE old USING 'FTS4' (body); CREATE TABLE old_data (id INTEGER PRIMARY KEY);"
            "CREATE VIRTUAL TABLE boxes USING rtree (id, low, high); CREATE TABLE boxes_x (id INTEGER PRIMARY KEY);"
            "INSERT INTO docs VALUES ('x'); INSERT INTO docs_archive VALUES (1), (2); INSERT INTO boxes_x VALUES (3)"
        )
    saved = backed_up(settings(tmp_path))
    assert saved.manifest.counts == {"boxes_x": 1, "docs_archive": 2, "old_data": 0}
