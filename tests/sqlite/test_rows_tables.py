"""Single tables of a SQLite rows backup back into a live file: created, their rows replaced, or beside."""

from __future__ import annotations

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.errors import DbTasksError, Refused, UsageError
from dbtasks.models import Format
from dbtasks.plans import DumpRequest
from dbtasks.rows.sqlite import schema as sqlite_schema
from tests.sqlite.databases import assert_whole, content, leftovers, run, settings
from tests.sqlite.test_rows import HOSTILE
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


@pytest.mark.parametrize("with_parents", [True, False], ids=["held by the backup", "left out of it"])
def test_e10_rows_that_would_refer_to_none_are_refused_though_only_their_table_is_asked_for(
    shop: Shop, with_parents: bool
) -> None:
    config, path = shop
    made = backed_up(config, exclude_data=() if with_parents else ("customer",))
    run(path, "DELETE FROM item WHERE customer = 3")
    run(path, "DELETE FROM customer WHERE id = 3")
    before = content(path)
    with pytest.raises(Refused, match="20 rows of item would refer to rows of customer that are not there"):
        bring(config, "item", file=made.id)
    assert content(path) == before
    assert bring(config, "item", "customer").rows == {"item": 100, "customer": 5}


def test_rows_that_referred_to_none_in_the_backup_too_come_back(shop: Shop) -> None:
    config, path = shop
    run(path, "INSERT INTO item (name, price, customer) VALUES ('lost', 1, 77)")
    made = backed_up(config)
    run(path, "DELETE FROM item")
    assert bring(config, "item", file=made.id).rows == {"item": 101}


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


def test_autoincrement_in_a_comment_counts_nothing(shop: Shop) -> None:
    config, path = shop
    said = "CREATE TABLE quiet (id INTEGER PRIMARY KEY /* no AUTOINCREMENT: numbers may come again */)"
    run(path, said)
    run(path, "INSERT INTO quiet VALUES (4)")
    made = backed_up(config, tables=("quiet",))
    run(path, "DROP TABLE quiet")
    assert bring(config, "quiet", file=made.id).rows == {"quiet": 1}


# -- collations ------------------------------------------------------------------------------------


def test_a_child_finds_its_parent_by_the_parents_collation(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            "CREATE TABLE town (name TEXT PRIMARY KEY COLLATE NOCASE, note TEXT COLLATE RTRIM);"
            "CREATE TABLE house (id INTEGER PRIMARY KEY, town TEXT COLLATE RTRIM REFERENCES town (name));"
            "CREATE INDEX by_town ON house (town COLLATE NOCASE, id);"
            "INSERT INTO town VALUES ('Ulm', 'x  '); INSERT INTO house VALUES (1, 'ULM'), (2, 'ulm')"
        )
    config = settings(tmp_path)
    backed_up(config)
    whole = sorted(content(path))
    run(path, "DELETE FROM house")
    assert bring(config, "house").rows == {"house": 2}
    run(path, "DROP TABLE house")
    assert bring(config, "house").rows == {"house": 2}
    assert sorted(content(path)) == whole
    assert bring(config, "house", as_name="house_then").rows == {"house_then": 2}
    # the copy compares as the table it was made from
    assert run(path, "SELECT count(*) FROM house_then WHERE town = 'ulm   '") == [(1,)]


@pytest.fixture
def ours(tmp_path: Path) -> Shop:
    """A table whose column sorts by a collation that only its application has, beside one that does not."""
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.create_collation("ours", lambda a, b: (a > b) - (a < b))
        connection.executescript(
            "CREATE TABLE sorted (id INTEGER PRIMARY KEY, name TEXT COLLATE ours);"
            "CREATE TABLE plain (id INTEGER PRIMARY KEY, name TEXT);"
            "INSERT INTO sorted VALUES (1, 'b'), (2, 'a'); INSERT INTO plain VALUES (1, 'x')"
        )
    config = settings(tmp_path)
    backed_up(config)
    return config, path


def test_another_table_with_a_collation_that_is_not_here_stands_in_nobodys_way(ours: Shop) -> None:
    config, path = ours
    run(path, "DELETE FROM plain")
    assert bring(config, "plain").rows == {"plain": 1}
    run(path, "DROP TABLE plain")
    assert bring(config, "plain").rows == {"plain": 1}


@pytest.mark.parametrize("way", ["replaced", "created", "beside"])
def test_a_table_with_a_collation_that_is_not_here_is_refused_by_name_with_the_way_that_is_left(
    ours: Shop, way: str
) -> None:
    config, path = ours
    run(path, "DROP TABLE sorted" if way == "created" else "DELETE FROM sorted")
    before = content(path)
    with pytest.raises(Refused, match=r"the table sorted needs what is not there: .*: ours") as caught:
        plan(config, "sorted", as_name="sorted_then" if way == "beside" else None)
    assert caught.value.state == "nothing was touched"
    assert "db.show" in caught.value.hint
    assert content(path) == before


# -- crafted files -----------------------------------------------------------------------------------

DEFINITION = '"definition": "CREATE TABLE t (a TEXT, b INTEGER)"'
INDEX = '"definition": "CREATE INDEX i ON t (a)"'


@pytest.fixture
def canary(tmp_path: Path) -> Shop:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            "CREATE TABLE canary (a); INSERT INTO canary VALUES (1);"
            "CREATE TABLE t (a TEXT, b INTEGER); CREATE INDEX i ON t (a); INSERT INTO t VALUES ('x', 1);"
            "CREATE TABLE other (a)"
        )
    config = settings(tmp_path)
    backed_up(config, tables=("t", "other"))
    return config, path


@pytest.mark.parametrize("way", ["replaced", "created", "beside"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (DEFINITION, '"definition": "CREATE TABLE t (a TEXT, b INTEGER); DROP TABLE canary"'),
        (DEFINITION, '"definition": "DROP TABLE canary"'),
        (DEFINITION, '"definition": "CREATE TABLE t AS SELECT * FROM canary"'),
        (DEFINITION, '"definition": "CREATE TABLE t (a TEXT, b AS ((SELECT count(*) FROM canary)))"'),
        (DEFINITION, '"definition": "CREATE TABLE t (a TEXT, b INTEGER AS (1))"'),
        (DEFINITION, '"definition": "CREATE TABLE t (a TEXT)"'),
        (DEFINITION, '"definition": "CREATE TABLE canary (a TEXT, b INTEGER)"'),
        (DEFINITION, '"definition": "CREATE VIRTUAL TABLE t USING fts5 (a, b)"'),
        (DEFINITION, '"definition": "ATTACH \'evil.db\' AS t"'),
        (DEFINITION, '"definition": "CREATE TRIGGER t AFTER INSERT ON canary BEGIN DELETE FROM canary; END"'),
        ('"definition": "CREATE TABLE other (a)"', '"definition": "DROP TABLE canary"'),
        (INDEX, '"definition": "CREATE INDEX i ON t (a); DROP TABLE canary"'),
        (INDEX, '"definition": "CREATE INDEX i ON canary (a)"'),
        (INDEX, '"definition": "CREATE TRIGGER i AFTER INSERT ON t BEGIN DELETE FROM canary; END"'),
        (INDEX, '"definition": "DELETE FROM canary"'),
        ('["a", "b"], "data"', '["a) SELECT 1, 2; DROP TABLE canary; --", "b"], "data"'),
        ('"t": {"columns"', '"canary": {"columns"'),
        ('["x",1]', '["x",1,2]'),
    ],
)
def test_g21_a_crafted_document_of_which_one_table_is_asked_runs_nothing_and_changes_nothing(
    canary: Shop, old: str, new: str, way: str
) -> None:
    config, path = canary
    crafted = crafted_of(config, old, new)
    if way == "created":
        run(path, "DROP TABLE t")
    before = content(path)
    with pytest.raises(DbTasksError):
        bring(config, "t", file=str(crafted), unverified=True, as_name="t_then" if way == "beside" else None)
    assert content(path) == before
    assert not list(config.root.glob("evil*"))
    assert leftovers(config.root) == []


def test_g21_a_default_that_would_load_a_library_is_never_evaluated(canary: Shop) -> None:
    config, path = canary
    said = '"definition": "CREATE TABLE t (a TEXT, b INTEGER DEFAULT (load_extension(1)))"'
    run(path, "DROP TABLE t")
    assert bring(config, "t", file=str(crafted_of(config, DEFINITION, said)), unverified=True).rows == {
        "t": 1
    }
    # SQLite takes it from nobody but who says it himself, and does so when it would be needed
    with pytest.raises(sqlite3.OperationalError, match="unsafe use of load_extension"):
        run(path, "INSERT INTO t (a) VALUES ('y')")


def crafted_of(config: dbtasks.Settings, old: str, new: str) -> Path:
    (made,) = dbtasks.list_backups(config).backups
    text = gzip.decompress(made.path.read_bytes()).decode()
    assert old in text
    crafted = config.root / "crafted.json.gz"
    crafted.write_bytes(gzip.compress(text.replace(old, new).encode()))
    return crafted


@pytest.mark.parametrize("way", ["replaced", "created", "beside"])
def test_g21_hostile_names_of_tables_columns_and_indexes_are_names(tmp_path: Path, way: str) -> None:
    path = tmp_path / "app.db"
    name = '"' + HOSTILE.replace('"', '""') + '"'
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("CREATE TABLE canary (a); INSERT INTO canary VALUES (1)")
        connection.execute(f'CREATE TABLE {name} ({name} TEXT, "x); DROP TABLE canary; --" INTEGER)')
        connection.execute(f'CREATE INDEX "i{name[1:]} ON {name} ({name})')
        connection.execute(f"INSERT INTO {name} VALUES ('a', 1)")
    config = settings(tmp_path)
    backed_up(config)
    if way != "beside":
        run(path, f"DROP TABLE {name}" if way == "created" else f"DELETE FROM {name}")
    copy = HOSTILE + " then" if way == "beside" else HOSTILE
    assert bring(config, HOSTILE, as_name=copy if way == "beside" else None).rows == {copy: 1}
    quoted = copy.replace('"', '""')
    assert run(path, f'SELECT * FROM "{quoted}"') == [("a", 1)]
    assert run(path, "SELECT * FROM canary") == [(1,)]
