"""Rows of a backup beside those of the live database or of another backup, where both are SQLite's; and the task itself."""

from __future__ import annotations

import gzip
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.console.diff_rows import rows_diff_lines
from dbtasks.errors import ArchiveDamaged, CountsDiffer, NotFound, Refused, StoreFull, TargetUnreachable
from dbtasks.events import Phase, RowsSoFar
from dbtasks.executors.diff_rows import RowsDiff, RowsSide, TableRows
from dbtasks.models import EngineName, Format
from dbtasks.rows.comparison.compare import RowValues
from tests.conftest import REPOSITORY, Project
from tests.sqlite.databases import leftovers, run, settings, tree

SECRET = "4111 1111 1111 1111"
SHOP = f"""
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price);
CREATE TABLE pair (region TEXT, number INTEGER, card TEXT, PRIMARY KEY (region, number)) WITHOUT ROWID;
CREATE TABLE log (a, b);
CREATE TABLE "ta""ble
-- \\! x" ("sel ect" TEXT PRIMARY KEY, "select" INT);
INSERT INTO item VALUES (1, 'one', 1), (2, 'two', 2.5), (10, 'ten', x'00ff'), (11, 'eleven', '{SECRET}');
INSERT INTO pair VALUES ('eu', 1, '{SECRET}'), ('us', 1, NULL), ('us', 2, NULL);
INSERT INTO log VALUES (1, 'x'), (1, 'x'), (1, 'x'), (NULL, NULL);
INSERT INTO "ta""ble
-- \\! x" VALUES ('a"b', 1), (NULL, 2), (NULL, 2);
"""
HOSTILE = 'ta"ble\n-- \\! x'
CHANGES = """
UPDATE item SET price = 1.0 WHERE id = 1;
DELETE FROM item WHERE id IN (2, 10);
INSERT INTO item VALUES (12, 'new', NULL);
UPDATE pair SET card = 'other' WHERE region = 'eu';
DELETE FROM log WHERE rowid = 1;
INSERT INTO log VALUES (1, x'78');
INSERT INTO "ta""ble
-- \\! x" VALUES (NULL, 3);
CREATE TABLE more (a);
"""


def script(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)


def backup(config: dbtasks.Settings, format_: str, **request: Any) -> str:
    asked = dbtasks.DumpRequest(format=Format(format_), **request)
    return dbtasks.backup(config, dbtasks.BackupJob(request=asked)).id


def numbers(diff: dbtasks.RowsDiff) -> dict[str, tuple[int, int, int]]:
    return {t.name: (t.added, t.removed, t.changed) for t in diff.tables if t.differs}


def table(diff: dbtasks.RowsDiff, name: str) -> TableRows:
    (found,) = [table for table in diff.tables if table.name == name]
    return found


@pytest.fixture
def shop(tmp_path: Path) -> tuple[dbtasks.Settings, Path]:
    """A small shop; its file lies where the settings say."""
    script(tmp_path / "app.db", SHOP)
    return settings(tmp_path), tmp_path / "app.db"


@pytest.mark.parametrize("format_", ["sqlite", "rows"])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_rows_that_came_went_and_changed_are_told_by_key_and_nothing_is_left(
    tmp_path: Path, format_: str, compression: str
) -> None:
    path = tmp_path / "app.db"
    script(path, SHOP)
    config = settings(tmp_path, compression=compression if format_ == "sqlite" else "gzip")
    made = backup(config, format_)
    same = dbtasks.diff_rows(config, made)
    assert (same.differs, same.not_compared) == (False, {})
    assert {t.name: t.backup_rows for t in same.tables} == {"item": 4, "pair": 3, "log": 4, HOSTILE: 3}
    script(path, CHANGES)
    before = tree(tmp_path)
    found = dbtasks.diff_rows(config, made)
    assert numbers(found) == {
        "item": (1, 2, 1),
        "pair": (0, 0, 1),
        "log": (1, 1, 0),
        HOSTILE: (1, 0, 0),
        "more": (0, 0, 0),
    }
    item = table(found, "item")
    assert [dict(row.key) for row in item.removed_rows] == [{"id": 2}, {"id": 10}], "in the order of the key"
    assert [dict(row.key) for row in item.changed_rows] == [{"id": 1}], "an integer is no real"
    assert [dict(row.key) for row in table(found, "pair").changed_rows] == [{"region": "eu", "number": 1}]
    assert [dict(row.key) for row in table(found, HOSTILE).added_rows] == [{"sel ect": None}]
    assert SECRET not in repr(found)
    assert "ten" not in repr(found)
    assert tree(tmp_path) == before
    assert leftovers(tmp_path) == []
    assert list((tmp_path / "backups" / ".proofs").rglob("*")) == []


def test_values_are_told_when_they_are_asked_for_and_only_of_rows_that_differ(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    made = backup(config, "rows")
    script(path, CHANGES)
    script(path, f"INSERT INTO log VALUES (7, '{'w' * 5000}')")
    found = dbtasks.diff_rows(config, made, values=True)
    (changed,) = table(found, "pair").changed_rows
    assert changed.backup == (("region", "eu"), ("number", 1), ("card", SECRET))
    assert changed.against == (("region", "eu"), ("number", 1), ("card", "other"))
    (removed, blob) = table(found, "item").removed_rows
    assert (removed.backup, removed.against) == ((("id", 2), ("name", "two"), ("price", 2.5)), None)
    assert dict(blob.backup or ())["price"] == {"blob": "00ff"}
    added = {
        dict(row.against or ())["a"]: dict(row.against or ())["b"] for row in table(found, "log").added_rows
    }
    assert added[1] == {"blob": "78"}
    assert added[7] == f"{'w' * 1000}… (5,000)"
    assert "two" in repr(found)
    assert "eleven" not in repr(found)


def test_two_backups_are_compared_without_any_database_in_both_directions(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    first = backup(config, "sqlite")
    script(path, CHANGES)
    second = backup(config, "rows")
    path.unlink()
    there = dbtasks.diff_rows(config, first, second, tables=["item", "log"])
    back = dbtasks.diff_rows(config, second, first, tables=["item", "log"])
    assert numbers(there) == {"item": (1, 2, 1), "log": (1, 1, 0)}
    assert numbers(back) == {"item": (2, 1, 1), "log": (1, 1, 0)}
    assert (there.backup.name, there.against.name, there.against.live) == (first, second, False)
    with pytest.raises(TargetUnreachable):
        dbtasks.diff_rows(config, first)
    with pytest.raises(NotFound):
        dbtasks.diff_rows(config, first, "nosuch")


def test_a_live_file_is_read_in_one_transaction_while_others_write(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    script(path, "PRAGMA journal_mode = wal;" + SHOP)
    config = settings(tmp_path)
    made = backup(config, "rows")
    seen: list[str] = []

    def meanwhile(event: object) -> None:
        if isinstance(event, Phase) and event.detail.startswith("the rows of"):
            seen.append(event.detail)
            run(path, "DELETE FROM item WHERE id = (SELECT max(id) FROM item)")

    assert not dbtasks.diff_rows(config, made, on_event=meanwhile).differs
    assert len(seen) == 2
    assert numbers(dbtasks.diff_rows(config, made)) == {"item": (0, 2, 0)}


def test_more_than_a_few_rows_of_a_kind_are_counted_and_the_first_few_named(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    made = backup(config, "rows")
    script(
        path,
        "WITH RECURSIVE n (i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 400)"
        " INSERT INTO item SELECT i, 'n', i FROM n",
    )
    item = table(dbtasks.diff_rows(config, made), "item")
    assert item.added == 301
    assert [dict(row.key)["id"] for row in item.added_rows] == [100, 101, 102, 103, 104]


def test_a_virtual_table_and_what_was_left_out_are_named_and_no_difference(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    script(path, SHOP + "CREATE VIRTUAL TABLE words USING fts5 (a); INSERT INTO words VALUES ('x')")
    config = settings(tmp_path)
    whole, part = backup(config, "sqlite"), backup(config, "rows", tables=("item",))
    assert dbtasks.diff_rows(config, whole).not_compared == {
        "words": "it is a virtual table: its module makes what is in it"
    }
    found = dbtasks.diff_rows(config, part)
    assert not found.differs
    assert set(found.not_compared) == {"pair", "log", HOSTILE, "words"}
    assert "does not hold all tables" in found.not_compared["log"]


def test_a_damaged_backup_ends_it_and_leaves_nothing_behind(
    shop: tuple[dbtasks.Settings, Path], tmp_path: Path
) -> None:
    config, _ = shop
    document = gzip.decompress(dbtasks.find(config, backup(config, "rows")).path.read_bytes())
    theirs = tmp_path / "theirs.json.gz"
    theirs.write_bytes(gzip.compress(document))
    with pytest.raises(Refused, match="no manifest"):
        dbtasks.diff_rows(config, "./theirs.json.gz")
    assert not dbtasks.diff_rows(config, "./theirs.json.gz", unverified=True).differs
    theirs.write_bytes(gzip.compress(document.replace(b'[1,"one",1],\n', b"")))
    with pytest.raises(CountsDiffer, match="item holds 3 rows"):
        dbtasks.diff_rows(config, "./theirs.json.gz", unverified=True)
    theirs.write_bytes(gzip.compress(document)[:-40])
    with pytest.raises(ArchiveDamaged):
        dbtasks.diff_rows(config, "./theirs.json.gz", unverified=True)
    for row in (
        b'[1,"one"],',
        b'[1,"one",[2]],',
        b'[1,"one",{"a":"b","c":"d"}],',
        b'[1,"one",{"blob":"x"}],',
        b"[1 2],",
    ):
        theirs.write_bytes(gzip.compress(document.replace(b'[1,"one",1],', row)))
        with pytest.raises(ArchiveDamaged, match="a row of item"):
            dbtasks.diff_rows(config, "./theirs.json.gz", unverified=True)
    assert list((tmp_path / "backups" / ".proofs").rglob("*")) == []


def test_c02_a_full_disk_is_told_with_what_helps(
    shop: tuple[dbtasks.Settings, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, path = shop
    script(
        path,
        "WITH RECURSIVE n (i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)"
        " INSERT INTO log SELECT i, i FROM n",
    )
    made = backup(config, "rows")
    opened = sqlite3.connect

    def small(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = opened(*arguments, **options)
        if ".proofs" in str(arguments[0]):
            connection.execute("PRAGMA max_page_count=20")
        return connection

    monkeypatch.setattr("dbtasks.rows.comparison.compare.sqlite3.connect", small)
    with pytest.raises(StoreFull, match="no space left for the comparison") as caught:
        dbtasks.diff_rows(config, made)
    assert "--table" in caught.value.hint


def test_the_file_of_a_comparison_is_private(shop: tuple[dbtasks.Settings, Path], tmp_path: Path) -> None:
    config, _ = shop
    made = backup(config, "rows")
    seen: list[int] = []

    def look(event: object) -> None:
        if isinstance(event, Phase) and event.name == "compare":
            held = [p for p in (tmp_path / "backups" / ".proofs").rglob("archive*") if p.is_file()]
            seen.extend(path.stat().st_mode & 0o777 for path in held)

    dbtasks.diff_rows(config, made, on_event=look)
    assert seen == [0o600]


PEAK = """
import pathlib, resource, sys
import dbtasks
config = dbtasks.load_settings(sys.argv[1], environ={}, url=sys.argv[2])
diff = dbtasks.diff_rows(config, sys.argv[3])
(table,) = [table for table in diff.tables if table.name == "item"]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
status = pathlib.Path("/proc/self/status")
if status.exists():
    # Linux hands the peak of whoever started this process on in the other figure
    peak = int(status.read_text().partition("VmHWM:")[2].split()[0])
print(table.backup_rows, table.changed, peak)
"""


@pytest.mark.long
def test_memory_does_not_grow_with_the_number_of_rows(tmp_path: Path) -> None:
    peaks = {}
    # the workbench's cache, 16 MiB, is full with the smaller one already
    for rows in (300_000, 600_000):
        root = tmp_path / str(rows)
        root.mkdir()
        path = root / "app.db"
        # keys in no order at all
        script(
            path,
            "CREATE TABLE item (id TEXT PRIMARY KEY, body TEXT);"
            f" WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
            " INSERT INTO item SELECT hex(randomblob(16)), hex(randomblob(20)) FROM n",
        )
        config = settings(root)
        made = backup(config, "rows")
        run(path, "UPDATE item SET body = 'x' WHERE id < '8'")
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(root), f"sqlite:///{path}", made],
            capture_output=True,
            text=True,
            check=True,
            cwd=REPOSITORY,
        )
        count, changed, peak = map(int, done.stdout.split())
        assert count == rows
        assert changed > rows / 3
        peaks[rows] = peak
    assert peaks[600_000] < peaks[300_000] + 4 * 1024, peaks
    assert peaks[600_000] < 96 * 1024, peaks


# -- the task ---------------------------------------------------------------------------------


@pytest.fixture
def mounted(project: Project) -> Project:
    project.mount()
    script(project.root / "app.db", SHOP)
    project.dotenv("DATABASE_URL=sqlite:///app.db\n")
    assert project.invoke("db.backup", "--format=rows").returncode == 0
    return project


def test_the_screen_names_rows_by_key_and_ends_with_10_where_it_is_asked_to(mounted: Project) -> None:
    same = mounted.invoke("db.diff", "--rows", "--exit-code")
    assert same.returncode == 0, same.stderr
    assert same.stdout.splitlines()[-2:] == ["Rows     4 tables with the same rows", "No row differs."]
    script(mounted.root / "app.db", CHANGES)
    ran = mounted.invoke("db.diff", "--rows", "--exit-code")
    assert ran.returncode == 10, ran.stderr
    lines = ran.stdout.splitlines()
    assert [line.split() for line in lines if line.lstrip().startswith(("item", "Rows"))] == [
        ["Rows", "table", "backup", "live", "added", "removed", "changed"],
        ["item", "4", "3", "1", "2", "1"],
    ]
    assert "Added    item  id 12" in lines
    assert "Removed  item  id 2, 10" in lines
    assert 'pair  region, number ("eu", 1)' in ran.stdout
    assert lines[-1].endswith(": 3 rows added, 3 rows removed, 2 rows changed, 1 table on one side only.")
    assert SECRET not in ran.stdout + ran.stderr
    assert "\n-- " not in ran.stdout, "a name's line break is shown, not sent"
    shown = mounted.invoke("db.diff", "--rows", "--values", "--table=pair")
    assert shown.returncode == 0
    assert f'Changed  pair  region, number ("eu", 1): card "{SECRET}" → "other"' in shown.stdout.splitlines()
    assert "item" not in shown.stdout


def test_a_row_that_is_nothing_but_its_key_is_told_by_the_key_alone() -> None:
    side = RowsSide("app.db", live=True, database=None, engine=EngineName.SQLITE, tables=1)
    row = RowValues((("version", "zzz"),), None, (("version", "zzz"),))
    found = TableRows("v", "v", in_backup=True, in_against=True, added=1, key=("version",), added_rows=(row,))
    lines = rows_diff_lines(RowsDiff(side, side, (found,), {}, ()), datetime.now(UTC))
    assert 'Added    v  version "zzz"' in lines


def test_the_document_holds_values_only_when_they_are_asked_for(mounted: Project) -> None:
    script(mounted.root / "app.db", CHANGES)
    bare = mounted.invoke("db.diff", "--rows", "--json")
    assert SECRET not in bare.stdout
    document = json.loads(bare.stdout)
    (pair,) = [t for t in document["rows"]["tables"] if t["table"] == "pair"]
    assert (document["exit_code"], document["rows"]["differs"], pair["changed"]) == (0, True, 1)
    assert pair["examples"]["changed"] == [
        {"key": {"region": "eu", "number": 1}, "backup": None, "against": None}
    ]
    full = json.loads(mounted.invoke("db.diff", "--rows", "--values", "--table=pair", "--json").stdout)
    ((only,),) = ([t["examples"]["changed"] for t in full["rows"]["tables"]],)
    assert only[0]["backup"]["card"] == SECRET


def test_flags_about_rows_are_refused_without_rows_and_a_table_that_is_not_there_is(mounted: Project) -> None:
    for flags, said in (
        (("--values",), "--values is about single rows: add --rows"),
        (("--table=item",), "--table is about single rows: add --rows"),
        (("--rows", "--table=items"), "--table=items: there is no such table"),
    ):
        ran = mounted.invoke("db.diff", *flags)
        assert (ran.returncode, said in ran.stderr) == (2, True), ran.stderr


def test_a_dry_run_says_where_the_rows_would_come_from_and_reads_none(mounted: Project) -> None:
    before = tree(mounted.root)
    ran = mounted.invoke("db.diff", "--rows", "--dry-run", "--json")
    document = json.loads(ran.stdout)
    assert document["dry_run"] is True
    assert document["would_compare"]["against"] == "app.db, live"
    assert tree(mounted.root) == before
    plain = mounted.invoke("db.diff")
    assert plain.returncode == 0, plain.stderr
    assert "Schema " in plain.stdout, "without the flag it is about definitions"


@pytest.mark.parametrize("format_", ["rows", "sqlite"])
def test_the_rows_read_are_told_of_all_that_the_manifest_counts(tmp_path: Path, format_: str) -> None:
    script(tmp_path / "app.db", SHOP)
    config = settings(tmp_path)
    made = backup(config, format_)
    told: list[RowsSoFar] = []
    dbtasks.diff_rows(
        config, made, on_event=lambda event: told.append(event) if isinstance(event, RowsSoFar) else None
    )
    of_backup = [one for one in told if one.total is not None]
    assert of_backup[-1] == RowsSoFar(14, 14)
    assert told[-1] == RowsSoFar(14), "of the live database nobody counted them"
