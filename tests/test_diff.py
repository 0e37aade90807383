"""A backup beside the live database or another backup, where the database is a SQLite file; and the task itself."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.errors import ArchiveDamaged, Busy, NotFound, Refused, TargetUnreachable, WrongEngine
from dbtasks.schemas import ObjectChange
from tests.conftest import Project
from tests.migrating import TOOLS, Tool
from tests.sqlite.databases import holder, leftovers, make, run, settings, tree, writer

DRIFT = """
ALTER TABLE item ADD COLUMN price NUMERIC;
CREATE TABLE coupon (id INTEGER PRIMARY KEY, code TEXT UNIQUE);
CREATE INDEX coupon_code ON coupon (code);
DROP INDEX item_body;
DELETE FROM item WHERE id >= 90;
INSERT INTO coupon VALUES (1, 'a'), (2, 'b');
"""


def script(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)


def named(changes: tuple[ObjectChange, ...]) -> list[str]:
    return [f"{change.type} {change.name}" for change in changes]


def differences(summary: dbtasks.DiffSummary) -> set[tuple[str, int | None, int | None]]:
    return {(table.name, table.backup_rows, table.against_rows) for table in summary.tables}


@pytest.fixture
def shop(tmp_path: Path) -> tuple[dbtasks.Settings, Path]:
    """A file of 100 items with one backup."""
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    return config, path


# -- against the live database -------------------------------------------------------


def test_a_backup_that_was_just_made_does_not_differ(shop: tuple[dbtasks.Settings, Path]) -> None:
    config, _ = shop
    summary = dbtasks.diff(config)
    assert not summary.differs
    assert (summary.tables, summary.equal_tables, summary.not_counted) == ((), 2, "")
    assert summary.schema is not None
    assert not summary.schema.differs


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_rows_tables_and_definitions_that_differ_are_named(tmp_path: Path, compression: str) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path, compression=compression)
    dbtasks.backup(config)
    script(path, DRIFT)
    before = tree(tmp_path)
    summary = dbtasks.diff(config)
    assert differences(summary) == {("item", 100, 90), ("coupon", None, 2)}
    assert summary.equal_tables == 1
    drift = summary.schema
    assert drift is not None
    assert named(drift.only_in_backup) == ["index item_body"]
    assert named(drift.only_against) == ["index coupon_code", "table coupon"]
    assert named(drift.changed) == ["table item"]
    assert drift.changed[0].details == ("- price NUMERIC",)
    assert summary.differs
    assert tree(tmp_path) == before, "nothing is written, unpacked or left behind"
    assert leftovers(tmp_path) == []


def test_after_a_restore_nothing_differs_any_more(shop: tuple[dbtasks.Settings, Path]) -> None:
    config, path = shop
    script(path, DRIFT)
    made = dbtasks.list_backups(config).backups[0].id
    assert dbtasks.diff(config, made).differs
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made)))
    assert not dbtasks.diff(config, made).differs


def test_an_application_that_writes_without_pause_is_not_in_the_way(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    with writer(path):
        summary = dbtasks.diff(replace(config, lock_timeout=30))
    assert summary.not_counted == ""


def test_a_file_that_stays_locked_is_busy_and_one_that_is_open_is_told(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    with holder(path, "BEGIN EXCLUSIVE"), pytest.raises(Busy):
        dbtasks.diff(replace(config, lock_timeout=0.3))
    with holder(path, "SELECT 1") as application:
        assert dbtasks.diff(config).sessions == (f"process {application.pid} has the file open",)


def test_a_backup_can_be_made_while_a_comparison_is_under_way(shop: tuple[dbtasks.Settings, Path]) -> None:
    config, _ = shop
    made = []

    def meanwhile(event: object) -> None:
        if not made:
            made.append(dbtasks.backup(config))

    assert not dbtasks.diff(config, on_event=meanwhile).differs
    assert made


# -- against another backup ----------------------------------------------------------


def test_two_backups_are_compared_without_any_database(shop: tuple[dbtasks.Settings, Path]) -> None:
    config, path = shop
    first = dbtasks.list_backups(config).backups[0].id
    script(path, DRIFT)
    second = dbtasks.backup(config).id
    path.unlink()
    summary = dbtasks.diff(config, first, second)
    assert (summary.backup.name, summary.against.name, summary.against.live) == (first, second, False)
    assert differences(summary) == {("item", 100, 90), ("coupon", None, 2)}
    assert summary.sessions == ()
    assert differences(dbtasks.diff(config, "latest", first)) == {("item", 90, 100), ("coupon", 2, None)}
    with pytest.raises(TargetUnreachable):
        dbtasks.diff(config, first)


def test_a_file_of_another_engine_is_refused_as_either_side(
    shop: tuple[dbtasks.Settings, Path], tmp_path: Path
) -> None:
    config, _ = shop
    foreign = tmp_path / "shop.sql"
    foreign.write_text(
        "--\n-- PostgreSQL database dump\n--\n\n--\n-- PostgreSQL database dump complete\n--\n\n"
    )
    for file, against in (("shop.sql", None), ("shop.sql", "latest"), ("latest", "./shop.sql")):
        with pytest.raises(WrongEngine):
            dbtasks.diff(config, f"./{file}" if file == "shop.sql" else file, against, unverified=True)


# -- what cannot be compared is said ---------------------------------------------------


def test_a_file_without_manifest_is_refused_until_it_is_asked_for_and_counted_then(
    shop: tuple[dbtasks.Settings, Path], tmp_path: Path
) -> None:
    config, _ = shop
    make(tmp_path / "other.sqlite3", 40)
    with pytest.raises(Refused, match="no manifest"):
        dbtasks.diff(config, "./other.sqlite3")
    summary = dbtasks.diff(config, "./other.sqlite3", unverified=True)
    assert differences(summary) == {("item", 40, 100)}
    assert summary.backup.database is None


def test_a_backup_of_another_database_and_rows_that_nobody_counted_are_said(
    shop: tuple[dbtasks.Settings, Path], tmp_path: Path
) -> None:
    config, _ = shop
    make(tmp_path / "other.db")
    made = dbtasks.list_backups(config).backups[0]
    assert any(
        "app.db" in note and "other.db" in note
        for note in dbtasks.diff(settings(tmp_path, "other.db"), made.id).notes
    )
    manifest = made.path.with_name(f"{made.path.name}.manifest.json")
    document = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**document, "not_counted": "it was a bad day"}))
    summary = dbtasks.diff(config)
    assert (summary.tables, summary.not_counted) == ((), "it was a bad day")


def test_a_damaged_backup_is_no_comparison(shop: tuple[dbtasks.Settings, Path]) -> None:
    config, _ = shop
    made = dbtasks.list_backups(config).backups[0]
    made.path.write_bytes(b"not a database at all" * 300)
    with pytest.raises(ArchiveDamaged):
        dbtasks.diff(config, made.id)
    dbtasks.verify(config, [made])
    with pytest.raises(ArchiveDamaged, match="found damaged"):
        dbtasks.diff(config, made.id)
    with pytest.raises(NotFound):
        dbtasks.diff(config)


def test_a_single_bit_that_turned_is_no_comparison_either(shop: tuple[dbtasks.Settings, Path]) -> None:
    config, _ = shop
    made = dbtasks.list_backups(config).backups[0]
    dbtasks.backup(config)
    whole = made.path.read_bytes()
    # bytes that no reader of the definitions looks at
    made.path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for file, against in ((made.id, None), (made.id, "latest"), ("latest", made.id)):
        with pytest.raises(ArchiveDamaged, match="does not have the checksum of its manifest") as caught:
            dbtasks.diff(config, file, against)
        assert caught.value.exit_code == 5


# -- the migration step ------------------------------------------------------------------


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_each_tools_migration_step_comes_with_its_command(tmp_path: Path, tool: Tool) -> None:
    path = make(tmp_path / "app.db")
    script(path, f"{tool.make}; {tool.first};")
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    same = dbtasks.diff(config).migration
    assert same is not None
    assert (same.tool, same.order) == (tool.name, "same")
    script(path, f"{tool.then};")
    summary = dbtasks.diff(config)
    step = summary.migration
    assert step is not None
    assert (step.tool, step.order, step.command, step.only_against) == (
        tool.name,
        tool.order,
        tool.command,
        tool.missing,
    )
    assert summary.differs
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id))
    assert plan.drift.migration == step
    assert dbtasks.restore(config, plan).migration == step


# -- a restore's plan ----------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_the_plan_of_a_restore_shows_what_happens_to_the_definitions(
    tmp_path: Path, compression: str
) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path, compression=compression)
    dbtasks.backup(config)
    script(path, DRIFT)
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob("latest"))
    assert plan.drift.schema == dbtasks.diff(config).schema
    beside = dbtasks.plan_restore(config, dbtasks.RestoreJob("latest", into="new.db"))
    assert beside.drift.schema is None


# -- the task --------------------------------------------------------------------------------


@pytest.fixture
def mounted(project: Project) -> Project:
    project.mount()
    project.dotenv("DATABASE_URL=sqlite:///shop.db\n")
    make(project.root / "shop.db")
    return project


def document(project: Project, *arguments: str) -> dict[str, Any]:
    ran = project.invoke(*arguments, "--json")
    found = json.loads(ran.stdout)
    assert found["exit_code"] == ran.returncode
    return dict(found)


@pytest.mark.long
def test_the_task_shows_it_in_words_and_ends_with_10_only_when_asked_to(mounted: Project) -> None:
    assert mounted.invoke("db.backup").returncode == 0
    same = mounted.invoke("db.diff", "--exit-code")
    assert (same.returncode, same.stdout.splitlines()[-1]) == (0, "No difference found.")
    script(mounted.root / "shop.db", DRIFT)
    log = (mounted.root / "backups" / "log.jsonl").read_text()
    ran = mounted.invoke("db.diff")
    assert ran.returncode == 0
    made = document(mounted, "db.list")["backups"][0]["id"]
    assert [line for line in ran.stdout.splitlines() if not line.startswith(("Backup", "Against"))] == [
        "Rows     table   backup  live",
        "         coupon       –     2  will be gone",
        "         item       100    90  +10",
        "         1 table with the same number of rows; counting does not see rows that were changed in place",
        "Schema   comes back: index item_body",
        "         will be gone: table coupon (with 1 object of its own)",
        "         changes: table item",
        "           - price NUMERIC",
        f"Restoring {made} would take away 2 rows and 1 table, and bring back 10 rows.",
    ]
    planned = mounted.invoke("db.restore", "--file=latest", "--dry-run")
    told = [" ".join(line.split()) for line in planned.stdout.splitlines()]
    assert "Rows table backup live" in told
    assert "coupon – 2 will be gone" in told
    assert "item 100 90 +10" in told
    changes = document(mounted, "db.restore", "--file=latest", "--dry-run")["plan"]["changes"]
    assert [tuple(change.values()) for change in changes] == [("coupon", None, 2), ("item", 100, 90)]
    assert mounted.invoke("db.diff", "--exit-code").returncode == 10
    found = document(mounted, "db.diff", "--exit-code")
    assert (found["ok"], found["exit_code"], found["diff"]["differs"]) == (False, 10, True)
    assert (mounted.root / "backups" / "log.jsonl").read_text() == log


def test_the_screen_of_two_backups_speaks_of_neither_as_live(mounted: Project) -> None:
    first = document(mounted, "db.backup")["backup"]["id"]
    script(mounted.root / "shop.db", DRIFT)
    assert mounted.invoke("db.backup").returncode == 0
    ran = mounted.invoke("db.diff", f"--file={first}", "--against=latest")
    assert ran.returncode == 0
    assert "live" not in ran.stdout
    assert "only in the other: table coupon" in ran.stdout


def test_names_with_control_characters_are_shown_and_not_sent(mounted: Project) -> None:
    assert mounted.invoke("db.backup").returncode == 0
    run(mounted.root / "shop.db", 'CREATE TABLE "e\x1b[2Jvil\n" (a)')
    ran = mounted.invoke("db.diff")
    assert "\x1b" not in ran.stdout
    assert r"e\x1b[2Jvil\x0a" in ran.stdout


def test_many_differences_are_cut_on_the_screen_and_whole_in_the_document(mounted: Project) -> None:
    assert mounted.invoke("db.backup").returncode == 0
    script(mounted.root / "shop.db", ";".join(f"CREATE TABLE t{i:03} (a)" for i in range(300)))
    ran = mounted.invoke("db.diff")
    assert len(ran.stdout.splitlines()) < 60
    assert "… and 280 more" in ran.stdout
    found = document(mounted, "db.diff")["diff"]
    assert len(found["tables"]) == len(found["schema"]["only_against"]) == 300


def test_the_plan_and_the_end_of_a_restore_show_the_migration_step(mounted: Project) -> None:
    alembic = TOOLS[0]
    script(mounted.root / "shop.db", f"{alembic.make}; {alembic.first};")
    assert mounted.invoke("db.backup").returncode == 0
    script(mounted.root / "shop.db", f"{DRIFT}; {alembic.then};")
    planned = mounted.invoke("db.restore", "--file=latest", "--dry-run")
    assert "Schema   comes back: index item_body\n" in planned.stdout
    assert (
        "Migrate  alembic: backup at 9be03d2a1f00, live at 4f1c2ab90d11: their order is not known\n"
        "         after restoring it, run: alembic upgrade head\n" in planned.stdout
    )
    plan = document(mounted, "db.restore", "--file=latest", "--dry-run")["plan"]
    assert plan["migration"]["command"] == "alembic upgrade head"
    assert [o["name"] for o in plan["schema"]["only_against"]] == ["coupon_code", "coupon"]
    done = mounted.invoke("db.restore", "--file=latest", "--yes")
    assert "its schema stands at alembic 9be03d2a1f00; run: alembic upgrade head\n" in done.stdout
    again = mounted.invoke("db.restore", "--file=latest", "--yes")
    assert (
        "its schema stands at alembic 9be03d2a1f00, as before: there is no migration to run" in again.stdout
    )
