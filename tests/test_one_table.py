"""One table of a backup back into a live SQLite file, and the task itself for both engines' flags."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.engines.sqlite import live_transaction
from dbtasks.errors import (
    ArchiveDamaged,
    Busy,
    CountsDiffer,
    Interrupted,
    LoadFailed,
    NotFound,
    Refused,
    TargetUnreachable,
    UsageError,
)
from dbtasks.journal import read_log, read_restores
from dbtasks.manifest import SUFFIX, dump_manifest
from dbtasks.plans import PartWay
from tests.conftest import Project
from tests.sqlite.databases import assert_whole, content, holder, leftovers, run, settings, writer
from tests.terminal import at_terminal

SHOP = """
CREATE TABLE customer (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE COLLATE NOCASE);
CREATE TABLE item (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL DEFAULT 'a''b', price NUMERIC CHECK (price >= 0),
    doubled NUMERIC GENERATED ALWAYS AS (price * 2) STORED, customer INTEGER REFERENCES customer (id) ON DELETE CASCADE);
CREATE INDEX item_name ON item (lower(name)) WHERE price > 1;
CREATE UNIQUE INDEX item_both ON item (name, price DESC);
CREATE TABLE log (what TEXT);
CREATE TABLE plain (a, b BLOB);
CREATE TABLE pair (k TEXT, v TEXT, PRIMARY KEY (k, v)) WITHOUT ROWID;
CREATE VIEW dear AS SELECT id, name FROM item WHERE price > 50;
CREATE TRIGGER noting AFTER INSERT ON item BEGIN INSERT INTO log VALUES ('in ' || NEW.id); END;
CREATE TRIGGER gone AFTER DELETE ON item BEGIN INSERT INTO log VALUES ('out; ' || OLD.id); END;
"""


def filled(path: Path) -> Path:
    """A shop of 100 items."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(SHOP)
        connection.executemany("INSERT INTO customer (name) VALUES (?)", [(f"c{i}",) for i in range(1, 6)])
        items = [(f"i{i}", i, 1 + i % 5) for i in range(1, 101)]
        connection.executemany("INSERT INTO item (name, price, customer) VALUES (?, ?, ?)", items)
        connection.execute("DELETE FROM log")
        connection.execute("INSERT INTO pair VALUES ('k', 'v')")
    return path


@pytest.fixture
def shop(tmp_path: Path) -> tuple[dbtasks.Settings, Path]:
    """Such a shop with one backup."""
    path = filled(tmp_path / "app.db")
    run(path, "INSERT INTO plain (rowid, a, b) VALUES (7, 'x', x'00ff'), (9, NULL, 1.5)")
    config = settings(tmp_path)
    dbtasks.backup(config)
    return config, path


Shop = tuple[dbtasks.Settings, Path]


def plan(config: dbtasks.Settings, *tables: str, **job: Any) -> dbtasks.TablesPlan:
    return dbtasks.plan_restore_tables(config, dbtasks.TablesJob(tables, **job))


def bring(config: dbtasks.Settings, *tables: str, **job: Any) -> dbtasks.TablesResult:
    return dbtasks.restore_tables(config, plan(config, *tables, **job))


# -- gone, and there ---------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_e06_a_table_that_was_dropped_comes_back_with_keys_indexes_triggers_and_next_number(
    shop: Shop, tmp_path: Path, compression: str
) -> None:
    _, path = shop
    config = settings(tmp_path, compression=compression)
    dbtasks.backup(config)
    before = sorted(content(path))
    run(path, "INSERT INTO plain VALUES ('later', 1)")
    run(path, "DROP TABLE item")
    result = bring(config, "item")
    assert result.rows == {"item": 100}
    assert result.safety_backup is None
    assert result.way_back == 'DROP TABLE "item";'
    run(path, "DELETE FROM plain WHERE a = 'later'")
    assert sorted(content(path)) == before
    assert_whole(path)
    assert run(path, "INSERT INTO item (price) VALUES (3) RETURNING id, doubled") == [(101, 6)]
    assert run(path, "SELECT what FROM log") == [("in 101",)]
    assert leftovers(tmp_path) == []


def test_e06_e09_e13_e14_rows_are_replaced_in_place_and_nothing_else_is_touched(shop: Shop) -> None:
    config, path = shop
    run(path, "DELETE FROM item WHERE id < 50")
    run(path, "UPDATE item SET price = 0")
    run(path, "INSERT INTO item (name) VALUES ('since')")
    run(path, "UPDATE customer SET name = 'x' || id")
    run(path, "DELETE FROM log")
    result = bring(config, "item")
    assert result.rows == {"item": 100}
    assert result.checked_against_manifest
    assert result.safety_backup is not None
    assert result.way_back == "db.undo"
    assert run(path, "SELECT count(*), sum(price), sum(doubled) FROM item") == [(100, 5050, 10100)]
    assert run(path, "SELECT count(*) FROM log") == [(0,)]
    assert run(path, "SELECT count(*) FROM customer WHERE name LIKE 'x%'") == [(5,)]
    assert run(path, "SELECT count(*) FROM dear") == [(50,)]
    # number 101 was given out since
    assert run(path, "INSERT INTO item (price) VALUES (3) RETURNING id") == [(102,)]
    assert run(path, "SELECT what FROM log") == [("in 102",)]
    assert_whole(path)


def test_rows_keep_their_own_numbers_and_tables_without_them_come_too(shop: Shop) -> None:
    config, path = shop
    before = run(path, "SELECT rowid, a, b, typeof(b) FROM plain")
    run(path, "DELETE FROM plain")
    run(path, "DELETE FROM pair")
    assert bring(config, "plain", "pair").rows == {"plain": 2, "pair": 1}
    assert run(path, "SELECT rowid, a, b, typeof(b) FROM plain") == before
    assert run(path, "SELECT * FROM pair") == [("k", "v")]


def test_an_undo_takes_back_a_table_and_undoing_an_added_one_is_about_the_restore_before(shop: Shop) -> None:
    config, path = shop
    run(path, "DELETE FROM item WHERE id > 60")
    before = content(path)
    bring(config, "item")
    bring(config, "item", as_name="item_again")
    record, *_ = read_restores(config.backup_dir)
    assert record["strategy"] == "tables added"
    planned = dbtasks.plan_undo(config)
    assert planned.last.strategy == "tables"
    changes = {(t.name, t.restored_rows, t.live_rows, t.back_rows) for t in planned.changes}
    assert changes == {("item", 100, 100, 60), ("item_again", None, 100, None)}
    dbtasks.undo(config, planned)
    assert content(path) == before


# -- beside ----------------------------------------------------------------------------------


def test_a_copy_beside_has_keys_checks_indexes_and_numbers_of_its_own_and_no_foreign_keys_or_triggers(
    shop: Shop,
) -> None:
    config, path = shop
    run(path, "DELETE FROM item WHERE id > 10")
    live = run(path, "SELECT * FROM item")
    result = bring(config, "item", as_name='item "of" then')
    assert result.rows == {'item "of" then': 100}
    assert result.safety_backup is None
    name = '"item ""of"" then"'
    assert result.way_back == f"DROP TABLE {name};"
    assert run(path, f"SELECT count(*), sum(doubled) FROM {name}") == [(100, 10100)]
    assert run(path, "SELECT * FROM item") == live
    columns = 'SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)'
    assert run(path, columns, 'item "of" then') == run(path, columns, "item")
    indexes = 'SELECT "unique", partial FROM pragma_index_list(?) ORDER BY 1, 2'
    assert run(path, indexes, 'item "of" then') == run(path, indexes, "item")
    assert run(path, "SELECT * FROM pragma_foreign_key_list(?)", 'item "of" then') == []
    with pytest.raises(sqlite3.IntegrityError):
        run(path, f"INSERT INTO {name} (price) VALUES (-1)")
    assert run(path, f"INSERT INTO {name} (price) VALUES (1) RETURNING id") == [(101,)]
    # deleting live rows does not reach it
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("DELETE FROM customer")
    assert run(path, f"SELECT count(*) FROM {name}") == [(101,)]
    assert_whole(path)
    run(path, result.way_back)
    with pytest.raises(Refused, match="has something of that name"):
        plan(config, "item", as_name="ITEM_both")


HOSTILE = [
    "CREATE TABLE t (a INTEGER REFERENCES customer(id) ON DELETE SET NULL ON UPDATE NO ACTION NOT NULL DEFAULT 3, b)",
    "CREATE TABLE t (a, b, FOREIGN KEY (a, b) REFERENCES pair (k, v) DEFERRABLE INITIALLY DEFERRED, UNIQUE (a))",
    "CREATE TABLE t (a CONSTRAINT \"REFERENCES x\" REFERENCES customer MATCH FULL NOT DEFERRABLE CHECK (a <> ')'), b TEXT)",
    "CREATE TABLE t (a, b, CONSTRAINT fk FOREIGN KEY (a) REFERENCES customer ON UPDATE CASCADE, CONSTRAINT one CHECK (b <> 'FOREIGN KEY'))",
    "CREATE TABLE [t] (\"references\" TEXT DEFAULT 'x, REFERENCES y (z)', -- REFERENCES\n b REFERENCES customer /* , ( */)",
    "CREATE TABLE `t` (a PRIMARY KEY, b REFERENCES t)",
    "CREATE TABLE 't'(a,b)",
]


@pytest.mark.parametrize("sql", HOSTILE)
def test_a_copys_definition_loses_its_foreign_keys_and_nothing_else(shop: Shop, sql: str) -> None:
    config, path = shop
    run(path, sql)
    run(path, "CREATE INDEX [t index] ON t(b)")
    dbtasks.backup(config)
    bring(config, "t", as_name="u")
    columns = 'SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)'
    assert run(path, columns, "u") == run(path, columns, "t")
    assert run(path, "SELECT * FROM pragma_foreign_key_list('u')") == []
    indexes = "SELECT count(*) FROM pragma_index_list(?)"
    assert run(path, indexes, "u") == run(path, indexes, "t")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t (a INTEGER, CHECK (t.a > 0))",
        "CREATE TABLE t (a INTEGER); CREATE INDEX ti ON t (a) WHERE t.a > 1",
    ],
)
def test_a_definition_that_names_its_own_table_inside_is_no_copys_and_the_plan_says_so(
    shop: Shop, sql: str
) -> None:
    config, path = shop
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{sql}; INSERT INTO t VALUES (1), (2)")
    dbtasks.backup(config)
    with pytest.raises(
        Refused, match=r"definition of t cannot be spelt under another name: no such column: t\.a"
    ):
        plan(config, "t", as_name="u")
    run(path, "DROP TABLE t")
    assert bring(config, "t").rows == {"t": 2}


def test_b07_hostile_names_of_tables_and_columns(shop: Shop) -> None:
    config, path = shop
    name = 'we"ird\n; DROP TABLE item; --'
    quoted = '"' + name.replace('"', '""') + '"'
    run(path, f'CREATE TABLE {quoted} ({quoted} TEXT, "select" INTEGER, rowid TEXT)')
    run(path, f'CREATE INDEX "on {quoted[1:]} ON {quoted} ({quoted})')
    run(path, f"INSERT INTO {quoted} VALUES ('a', 1, 'r'), (NULL, 2, 's')")
    dbtasks.backup(config)
    before = sorted(content(path))
    run(path, f"DELETE FROM {quoted}")
    bring(config, name)
    assert sorted(content(path)) == before
    run(path, f"DROP TABLE {quoted}")
    bring(config, name)
    assert sorted(content(path)) == before
    bring(config, name, as_name="x'y")
    assert run(path, 'SELECT * FROM "x\'y"') == run(path, f"SELECT * FROM {quoted}")


# -- refused --------------------------------------------------------------------------------------


def test_e10_rows_of_other_tables_that_would_lose_their_counterpart_are_refused_and_named(shop: Shop) -> None:
    config, path = shop
    run(path, "INSERT INTO customer (name) VALUES ('new')")
    run(path, "UPDATE item SET customer = 6 WHERE id < 4")
    before = content(path)
    with pytest.raises(Refused, match="3 rows of item would refer to rows of customer") as refused:
        bring(config, "customer")
    assert "--table=item" in refused.value.hint
    assert "is as it was" in refused.value.state
    assert content(path) == before
    # with the rows that refer, or where every one keeps its counterpart, it is done
    assert bring(config, "customer", "item").rows == {"customer": 5, "item": 100}
    run(path, "UPDATE customer SET name = name || '!'")
    bring(config, "customer")
    assert run(path, "SELECT count(*) FROM item") == [(100,)]


def test_e10_rows_that_come_without_their_counterpart_are_refused_and_named(shop: Shop) -> None:
    config, path = shop
    run(path, "DELETE FROM item WHERE customer = 2")
    run(path, "DELETE FROM customer WHERE id = 2")
    with pytest.raises(Refused, match="20 rows of item would refer to rows of customer") as refused:
        bring(config, "item")
    assert "--table=customer" in refused.value.hint


def test_e10_a_row_that_finds_its_counterpart_again_does_not_hide_one_that_loses_it(shop: Shop) -> None:
    config, path = shop
    run(path, "INSERT INTO customer (id, name) VALUES (9, 'new')")
    run(path, "INSERT INTO item (name, price, customer) VALUES ('newer', 1, 9)")
    run(path, "DELETE FROM customer WHERE id = 2")
    before = content(path)
    with pytest.raises(Refused, match="1 row of item would refer to rows of customer"):
        bring(config, "customer")
    assert content(path) == before
    run(path, "DELETE FROM item WHERE name = 'newer'")
    bring(config, "customer")
    assert run(path, "PRAGMA foreign_key_check") == []


def test_e10_what_was_missing_before_is_no_reason_against_it(shop: Shop) -> None:
    config, path = shop
    run(path, "INSERT INTO item (name, price, customer) VALUES ('of nobody', 1, 77)")
    assert bring(config, "customer").rows == {"customer": 5}
    assert len(run(path, "PRAGMA foreign_key_check")) == 1


def test_e18_columns_that_differ_are_listed_before_anything_is_touched(shop: Shop) -> None:
    config, path = shop
    run(path, "ALTER TABLE plain RENAME COLUMN b TO c")
    run(path, "ALTER TABLE plain ADD COLUMN must INTEGER NOT NULL DEFAULT 1")
    run(path, "DROP TABLE pair")
    run(path, "CREATE TABLE pair (k INTEGER, v TEXT, w TEXT NOT NULL)")
    with pytest.raises(Refused, match="b is gone"):
        plan(config, "plain")
    with pytest.raises(Refused, match="k was TEXT and is INTEGER; w is new and may not be empty"):
        plan(config, "pair")
    run(path, "ALTER TABLE log ADD COLUMN at TEXT DEFAULT 'now'")
    assert any("at did not exist" in text for text in plan(config, "log").warnings)
    assert read_restores(config.backup_dir) == []


def test_e07_a_table_the_backup_does_not_hold_is_an_error_with_the_nearest_names(shop: Shop) -> None:
    config, _ = shop
    for name, hint in (("itm", "did you mean item?"), ("ITEM", "Upper and lower case"), ("x*", "it holds ")):
        with pytest.raises(UsageError, match="holds no such table") as unknown:
            plan(config, name)
        assert hint in unknown.value.hint
    with pytest.raises(Refused, match="that is a view"):
        plan(config, "dear")
    with pytest.raises(UsageError):
        plan(config, "sqlite_sequence")


def test_f15_virtual_tables_and_what_they_keep_are_refused_by_name(shop: Shop) -> None:
    config, path = shop
    run(path, "CREATE VIRTUAL TABLE search USING fts5(body)")
    run(path, "CREATE TABLE search_history (a)")
    dbtasks.backup(config)
    with pytest.raises(Refused, match="virtual table"):
        plan(config, "search")
    with pytest.raises(Refused, match="keeps its own data"):
        plan(config, "search_content")
    assert bring(config, "search_history").rows == {"search_history": 0}


def test_what_takes_the_name_of_something_that_would_be_created_is_named(shop: Shop) -> None:
    config, path = shop
    run(path, "DROP TABLE item")
    run(path, "CREATE INDEX item_both ON plain (a)")
    with pytest.raises(Refused, match="the index item_both of item would be created"):
        plan(config, "item")
    run(path, "CREATE VIEW item AS SELECT 1")
    with pytest.raises(Refused, match="item is a view in the live file"):
        plan(config, "item")


def test_e15_a_load_that_fails_leaves_the_file_as_it_was(shop: Shop) -> None:
    config, path = shop
    run(path, "DELETE FROM item")
    run(path, "CREATE UNIQUE INDEX only_one ON item (customer)")
    before = content(path)
    with pytest.raises(LoadFailed, match="UNIQUE constraint failed") as failed:
        bring(config, "item")
    assert "is as it was" in failed.value.state
    assert "what it held when this began was backed up" in failed.value.state
    assert content(path) == before
    assert read_restores(config.backup_dir)[0]["state"].startswith("failed")


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_e15_e19_rows_that_are_not_those_of_the_manifest_are_taken_back_and_so_is_the_next_number(
    shop: Shop, tmp_path: Path, compression: str
) -> None:
    _, path = shop
    config = settings(tmp_path, compression=compression)
    made = dbtasks.backup(config)
    tables = tuple(replace(t, rows=99) if t.name == "item" else t for t in made.manifest.tables)
    manifest = made.path.with_name(made.path.name + SUFFIX)
    manifest.write_bytes(dump_manifest(replace(made.manifest, tables=tables)))
    run(path, "DELETE FROM item WHERE id > 5")
    run(path, "UPDATE sqlite_sequence SET seq = 3 WHERE name = 'item'")
    before = content(path)
    number = run(path, "SELECT seq FROM sqlite_sequence WHERE name = 'item'")
    for job in ({}, {"as_name": "copy"}):
        with pytest.raises(CountsDiffer) as differ:
            bring(config, "item", **job)
        assert differ.value.exit_code == 5
        assert "100 instead of 99" in differ.value.details
        assert content(path) == before
    assert run(path, "SELECT seq FROM sqlite_sequence WHERE name = 'item'") == number
    assert leftovers(tmp_path) == []


def test_a10_an_interrupt_in_the_middle_of_the_rows_ends_it_and_the_file_is_as_it_was(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, path = shop
    run(path, "DELETE FROM item WHERE id > 50")
    before = content(path)

    def pressed() -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return 0

    monkeypatch.setattr(live_transaction, "_breathe", pressed)
    monkeypatch.setattr(live_transaction, "BREATH", 500)
    with pytest.raises(Interrupted, match="restore of item was interrupted") as interrupted:
        bring(config, "item")
    assert "app.db is as it was" in interrupted.value.state
    assert "what it held when this began was backed up" in interrupted.value.state
    assert content(path) == before
    assert leftovers(path.parent) == []


KILLED = """
import os, signal, sys
import dbtasks
from dbtasks.engines.sqlite.part import load as load_part
load_part._raise_sequence = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
config = dbtasks.load_settings(sys.argv[1], environ={}, url="sqlite:///app.db")
dbtasks.restore_tables(config, dbtasks.plan_restore_tables(config, dbtasks.TablesJob(("item",))))
"""


@pytest.mark.fault
def test_h06_a_run_that_is_killed_meanwhile_leaves_the_file_as_it_was_and_the_next_one_goes_on(
    shop: Shop, tmp_path: Path
) -> None:
    config, path = shop
    run(path, "DELETE FROM item WHERE id > 50")
    before = content(path)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert content(path) == before
    assert read_restores(config.backup_dir)[0]["state"] == "loading"
    with pytest.raises(NotFound, match="nothing to undo"):
        dbtasks.plan_undo(config)
    assert bring(config, "item").rows == {"item": 100}
    assert leftovers(tmp_path) == []


def test_what_changed_since_the_plan_is_noticed_when_the_file_is_locked(shop: Shop) -> None:
    config, path = shop
    run(path, "DROP TABLE log")
    planned = plan(config, "log")
    run(path, "CREATE TABLE log (what TEXT)")
    with pytest.raises(Refused, match="changed since this was planned"):
        dbtasks.restore_tables(config, planned)


def test_f11_a_file_that_stays_locked_is_busy_and_as_it_was(shop: Shop, tmp_path: Path) -> None:
    _, path = shop
    config = settings(tmp_path, lock_timeout="0.3")
    with holder(path, "BEGIN IMMEDIATE"), pytest.raises(Busy):
        bring(config, "item", skip_safety_backup=True)


@pytest.mark.long
def test_f10_an_application_writes_on_meanwhile(shop: Shop) -> None:
    config, path = shop
    config = replace(config, lock_timeout=30)
    run(path, "CREATE TABLE body (body)")
    dbtasks.backup(config)
    run(path, "DROP VIEW dear")
    run(path, "ALTER TABLE item RENAME TO thing")
    run(path, "CREATE TABLE item (id INTEGER PRIMARY KEY, body TEXT)")
    with writer(path):
        bring(config, "body", "customer")
    assert_whole(path)


def test_sql_files_for_whole_restores_are_not_passed_by_unseen(shop: Shop, tmp_path: Path) -> None:
    _, path = shop
    before = content(path)
    (tmp_path / "scrub.sql").write_text("UPDATE customer SET name = 'nobody' || id;")
    scrubbing = settings(tmp_path, after_load="scrub.sql")
    for job in ({}, {"as_name": "copy"}):
        with pytest.raises(Refused, match=r"after_load is set \(scrub\.sql\), and is not run") as refused:
            plan(scrubbing, "customer", **job)
        assert "DBTASKS_AFTER_LOAD=none" in refused.value.hint
    assert content(path) == before
    assert plan(settings(tmp_path, after_load="none"), "customer", as_name="copy").part.tables


def test_a_table_of_another_databases_backup_is_told_and_asked_about(shop: Shop, tmp_path: Path) -> None:
    config, path = shop
    made = dbtasks.find(config, "latest")
    other = replace(config, environment="staging", target=replace(config.target, path=tmp_path / "other.db"))
    path.rename(tmp_path / "other.db")
    found = plan(other, "log", file=str(made.path))
    assert "this backup is of app.db and goes into other.db" in found.elsewhere
    assert any("no environment was set and goes into staging" in text for text in found.elsewhere)
    assert set(found.elsewhere) <= set(found.warnings)
    assert len(set(found.warnings)) == len(found.warnings)
    assert found.consent.reason


def test_damage_is_found_before_anything_is_touched(shop: Shop) -> None:
    config, path = shop
    (made,) = dbtasks.list_backups(config).backups
    data = bytearray(made.path.read_bytes())
    data[5000] ^= 255
    made.path.chmod(0o600)
    made.path.write_bytes(data)
    before = content(path)
    with pytest.raises(ArchiveDamaged):
        plan(config, "item")
    assert content(path) == before


def test_without_a_database_or_a_backup_there_is_nothing_to_bring(shop: Shop) -> None:
    config, path = shop
    with pytest.raises(NotFound):
        plan(config, "item", file="99")
    path.unlink()
    with pytest.raises(TargetUnreachable, match="does not exist"):
        plan(config, "item")
    assert [run_.ok for run_ in read_log(config.backup_dir)][:2] == [False, False]


# -- the task -----------------------------------------------------------------------------------------


@pytest.fixture
def mounted(project: Project) -> Project:
    project.mount()
    project.dotenv("DATABASE_URL=sqlite:///app.db\n")
    with closing(sqlite3.connect(project.root / "app.db")) as connection, connection:
        connection.executescript(SHOP)
        connection.execute("INSERT INTO customer (name) VALUES ('one'), ('two')")
    assert project.invoke("db.backup").returncode == 0
    return project


def test_the_task_shows_the_plan_asks_for_the_name_and_says_how_to_go_back(mounted: Project) -> None:
    path = mounted.root / "app.db"
    run(path, "DELETE FROM customer WHERE id = 2")
    looked = mounted.invoke("db.restore", "--file=latest", "--table=customer", "--dry-run")
    assert looked.returncode == 0, looked.stderr
    for text in (
        "only the tables below",
        "its rows are replaced",
        "whole database is taken first",
        "Nothing was touched",
    ):
        assert text in looked.stdout
    assert run(path, "SELECT count(*) FROM customer") == [(1,)]
    asked = mounted.invoke("db.restore", "--file=latest", "--table=customer")
    assert asked.returncode == 6
    assert "--yes" in asked.stderr
    assert "this replaces rows in app.db" in asked.stderr
    assert "--as=NAME" in asked.stderr
    done = mounted.invoke("db.restore", "--file=latest", "--table=customer", "--table=log", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["restore"]
    assert (told["tables"], told["rows"], told["rows_of"]) == (2, 2, {"customer": 2, "log": 0})
    assert told["way_back"] == "db.undo"
    back = mounted.invoke("db.undo", "--yes")
    assert back.returncode == 0, back.stderr
    assert run(path, "SELECT count(*) FROM customer") == [(1,)]


def test_adding_a_table_needs_no_word_but_where_the_database_is_protected(mounted: Project) -> None:
    added = mounted.invoke("db.restore", "--file=latest", "--table=customer", "--as=then")
    assert added.returncode == 0, added.stderr
    assert 'back again: DROP TABLE "then";' in added.stdout
    refused = mounted.invoke(
        "db.restore", "--file=latest", "--table=customer", "--as=again", "--yes", DBTASKS_PROTECT="app.db"
    )
    assert refused.returncode == 6
    assert "this adds a table to app.db" in refused.stderr
    assert "hint: add --confirm=app.db\n" in refused.stderr
    assert "overwrites" not in refused.stderr
    nothing = mounted.invoke("db.undo", "--yes")
    assert nothing.returncode == 4


@pytest.mark.long
@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--table=customer", "--in-place"], "--in-place"),
        (["--table=customer", "--drop-old"], "--drop-old"),
        (["--table=customer", "--into=other.db"], "--into"),
        (["--as=x"], "--table"),
        (["--table=customer", "--table=log", "--as=x"], "--as"),
        (["--table=customer", "--no-owner"], "--no-owner"),
        (["--table=custmer"], "did you mean customer?"),
    ],
)
def test_flags_that_do_not_go_together_are_refused_by_name(
    mounted: Project, flags: list[str], named: str
) -> None:
    refused = mounted.invoke("db.restore", "--file=latest", "--yes", *flags)
    assert refused.returncode == 2, refused.stderr
    assert named in refused.stderr


def test_at_a_terminal_the_name_is_typed(mounted: Project) -> None:
    path = mounted.root / "app.db"
    asked = ("db.restore", "--file=latest", "--table=customer")
    run(path, "DELETE FROM customer")
    declined = at_terminal(mounted, *asked, dialog=[("to go on:", "no\n")])
    assert declined.returncode == 6
    assert run(path, "SELECT count(*) FROM customer") == [(0,)]
    assert at_terminal(mounted, *asked, dialog=[("to go on:", "app\n")]).returncode == 0
    assert run(path, "SELECT count(*) FROM customer") == [(2,)]


def test_the_plan_says_of_each_table_how_it_comes(shop: Shop) -> None:
    config, path = shop
    run(path, "DROP TABLE pair")
    planned = plan(config, "item", "pair")
    told = {t.name: (t.way, t.backup_rows, t.live_rows) for t in planned.part.tables}
    assert told == {"item": (PartWay.REPLACE, 100, 100), "pair": (PartWay.CREATE, 1, None)}
    assert planned.overwrites
    assert planned.safety
