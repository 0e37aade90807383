"""The guard over what has shrunk: an emptied database's backups are kept, marked, told, and push out nothing."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.anomaly import find_anomaly, source_of, suspensions
from dbtasks.errors import NotFound, UsageError
from dbtasks.events import Event, Warned
from dbtasks.journal import read_log
from dbtasks.manifest import dump_manifest
from dbtasks.models import Backup, Compression, Format, TableCount, Type
from tests.conftest import Project
from tests.fix_postgres import PgDatabase
from tests.samples import MOMENT, a_backup
from tests.sqlite.databases import count, make, run, settings

# -- what is an anomaly ----------------------------------------------------------------


def holding(days: int = 0, name: str = "", **changes: Any) -> Backup:
    """A backup made so many days after the first; `rows` gives its tables."""
    rows = changes.pop("rows", {"orders": 5000, "customer": 100})
    tables = tuple(TableCount(table, n) for table, n in rows.items())
    started_at = MOMENT + timedelta(days=days)
    return a_backup(id=name or f"day{days}", started_at=started_at, tables=tables, **changes)


def judged(made: Backup, *earlier: Backup, limit: float | None = 0.5) -> str:
    return find_anomaly(made.manifest, earlier, limit)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"orders": 0, "customer": 0}, "0 of 5,100 rows; orders: 0 of 5,000 rows"),
        ({}, "0 of 5,100 rows"),
        ({"orders": 2499, "customer": 100}, "orders: 2,499 of 5,000 rows"),
        ({"orders": 2500, "customer": 0}, "2,500 of 5,100 rows"),
        # half is not less than half
        ({"orders": 2500, "customer": 100}, ""),
        # small tables come and go
        ({"orders": 5000, "customer": 0}, ""),
        # a table renamed, or a partition whose time is over, is no loss while the sum is there
        ({"archive": 5000, "customer": 100}, ""),
        ({"customer": 100}, "100 of 5,100 rows"),
        ({"orders": 9000, "customer": 900}, ""),
    ],
)
def test_rows_are_compared_in_sum_and_per_large_table(rows: dict[str, int], told: str) -> None:
    found = judged(holding(1, rows=rows), holding(0))
    if told:
        assert found.startswith("less than 50% of day0: ")
        assert told in found
    else:
        assert found == ""


@pytest.mark.parametrize(
    ("before", "now", "told"), [(19, 1, False), (19, 0, True), (20, 9, True), (0, 0, False)]
)
def test_a_database_of_a_few_rows_may_shrink_until_none_is_left(before: int, now: int, told: bool) -> None:
    assert bool(judged(holding(1, rows={"a": now}), holding(0, rows={"a": before}))) is told


BIG = 4 << 20


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ({"size_bytes": BIG}, {"size_bytes": BIG // 2 - 1}, True),
        ({"size_bytes": BIG}, {"size_bytes": BIG // 2}, False),
        # below a megabyte a size says nothing
        ({"size_bytes": 1000_000}, {"size_bytes": 10}, False),
        # made in another way: nothing to compare
        ({"size_bytes": BIG, "compression": Compression.NONE}, {"size_bytes": 10}, False),
        ({"size_bytes": BIG}, {"size_bytes": 10, "format": Format.SQL}, False),
        # but before it was compressed it was the same
        (
            {"size_bytes": BIG, "raw_size_bytes": BIG, "compression": Compression.NONE},
            {"size_bytes": 10, "raw_size_bytes": BIG - 1},
            False,
        ),
        ({"size_bytes": 10, "raw_size_bytes": BIG}, {"size_bytes": 10, "raw_size_bytes": 10}, True),
    ],
)
def test_sizes_are_compared_where_both_were_made_alike(
    before: dict[str, Any], now: dict[str, Any], told: bool
) -> None:
    found = judged(holding(1, **now), holding(0, **before))
    assert bool(found) is told
    assert not told or "of 4,194,304 bytes" in found


def test_rows_that_were_not_counted_are_not_taken_for_none() -> None:
    assert judged(holding(1, rows={}, not_counted="a right is missing"), holding(0)) == ""
    assert judged(holding(1, rows={"orders": 1}), holding(0, not_counted="a right is missing")) == ""


def test_the_measure_is_the_last_normal_one_of_this_database_and_server_of_whatever_type() -> None:
    few = {"orders": 10, "customer": 20}
    full, small = holding(0), holding(5, rows=few)
    assert judged(small, full)
    assert judged(small, replace(full, manifest=replace(full.manifest, type=Type.WEEKLY)))
    for other in (
        holding(0, system_identifier="another"),
        holding(0, type=Type.SAFETY),
        holding(0, damage="checksum"),
        holding(0, anomaly="less than 50% of x"),
    ):
        assert judged(small, other) == ""
    # one that was pinned or accepted is the measure; those that merely followed are not
    assert judged(small, full, holding(1, rows=few, anomaly="less"))
    assert judged(small, full, holding(1, rows=few, anomaly="less", pinned=True)) == ""
    assert judged(small, full, holding(1, rows=few, anomaly="less", anomaly_accepted=True)) == ""
    assert judged(small) == ""


def test_a_safety_backup_is_not_judged() -> None:
    assert judged(holding(1, rows={}, type=Type.SAFETY), holding(0)) == ""


def test_what_is_left_out_on_purpose_is_no_loss() -> None:
    partial = {"complete": False, "not_included": ("rows of public.orders",)}
    without = holding(1, rows={"customer": 100}, **partial)
    assert judged(without, holding(0)) == ""
    assert judged(holding(2, rows={"customer": 10}, **partial), without, holding(0))
    # a table backed up alone is no measure for the whole that was made before it
    alone = holding(1, rows={"customer": 100}, complete=False, not_included=("all other tables",))
    assert judged(holding(2, rows={}), alone, holding(0))
    assert judged(holding(2), alone) == ""


def test_a_file_of_no_bytes_is_an_anomaly_although_nothing_of_it_is_left_out() -> None:
    nothing = holding(1, rows={}, complete=False, not_included=("no tables were there: the file is empty",))
    assert judged(nothing, holding(0))


@pytest.mark.parametrize(("limit", "told"), [(None, False), (0.01, False), (0.9, True), (1.0, True)])
def test_the_limit_decides_and_none_lifts_it(limit: float | None, told: bool) -> None:
    some = holding(1, rows={"orders": 4000, "customer": 100})
    assert bool(judged(some, holding(0), limit=limit)) is told


def test_a_suspension_ends_with_a_normal_backup_of_as_much_with_a_pin_or_a_word() -> None:
    shrunk = holding(1, "shrunk", rows={}, anomaly="less than 50% of day0")
    source = source_of(shrunk.manifest)
    assert suspensions([holding(0), shrunk])[source].backup is shrunk
    assert not suspensions([holding(0), shrunk, holding(2)])
    assert not suspensions([replace(shrunk, manifest=replace(shrunk.manifest, pinned=True))])
    assert not suspensions([replace(shrunk, manifest=replace(shrunk.manifest, anomaly_accepted=True))])
    assert not suspensions([replace(shrunk, manifest=replace(shrunk.manifest, damage="cut"))])
    full = holding(1, "shrunk", rows={"orders": 10, "customer": 1}, anomaly="less than 50% of day0")
    alone = holding(2, rows={"customer": 1}, complete=False, not_included=("all other tables",))
    assert suspensions([full, alone, holding(2, type=Type.SAFETY)])[source].backup is full
    elsewhere = holding(2, system_identifier="another")
    assert suspensions([full, elsewhere])[source].backup is full


# -- what becomes of it ---------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path) -> tuple[dbtasks.Settings, Path]:
    """A file of 100 items, backed up, of which a single backup is to stay."""
    path = make(tmp_path / "app.db")
    config = settings(tmp_path, keep="1")
    dbtasks.backup(config)
    return config, path


def night(config: dbtasks.Settings, heard: list[Event] | None = None) -> dbtasks.Backup:
    """Back up and clean up, as a Celery task of the documentation does."""
    made = dbtasks.backup(config, on_event=(heard if heard is not None else []).append)
    dbtasks.cleanup(config, dbtasks.plan_cleanup(config))
    return made


def listed(config: dbtasks.Settings) -> list[str]:
    return [backup.id for backup in dbtasks.list_backups(config).backups]


def test_nightly_backups_of_an_emptied_database_never_push_out_the_real_one(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    (real,) = listed(config)
    run(path, "DELETE FROM item")
    heard: list[Event] = []
    nights = [night(config, heard) for _ in range(4)]
    assert listed(config) == [*(made.id for made in reversed(nights)), real]
    assert all(f"less than 50% of {real}: 1 of 101 rows" in made.manifest.anomaly for made in nights)
    (warned,) = {event.text for event in heard if isinstance(event, Warned) and nights[0].id in event.text}
    assert "the backup was made" in warned
    assert f"db.cleanup --accept={nights[0].id}" in warned
    plan = dbtasks.plan_cleanup(config)
    assert plan.going == 0
    assert nights[-1].id in plan.suspended
    assert dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(real))).rows == 101
    assert count(path) == 100


def test_the_next_normal_backup_ends_it_and_those_that_had_shrunk_take_nobodys_place(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = replace(shop[0], keep=2), shop[1]
    second = dbtasks.backup(config).id
    first = listed(config)[-1]
    before = sqlite3.connect(path)
    with closing(before), closing(sqlite3.connect(":memory:")) as kept:
        before.backup(kept)
        run(path, "DELETE FROM item")
        emptied = [night(config).id for _ in range(3)]
        kept.backup(before)
    normal = night(config)
    assert normal.manifest.anomaly == ""
    # two normal ones stay, and two of the others
    assert listed(config) == [normal.id, emptied[2], emptied[1], second]
    assert first not in listed(config)


def test_one_that_is_pinned_is_normal_and_the_measure_from_then_on(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    (real,) = listed(config)
    run(path, "DELETE FROM item WHERE id > 9")
    shrunk = night(config)
    manifest = shrunk.path.with_name(f"{shrunk.path.name}.manifest.json")
    manifest.write_bytes(dump_manifest(replace(shrunk.manifest, pinned=True)))
    assert dbtasks.plan_cleanup(config).suspended == ""
    following = night(config)
    assert following.manifest.anomaly == ""
    assert real not in listed(config)


def test_one_that_is_accepted_is_normal_and_says_so(shop: tuple[dbtasks.Settings, Path]) -> None:
    config, path = shop
    (real,) = listed(config)
    run(path, "DELETE FROM item WHERE id > 9")
    shrunk = night(config)
    plan = dbtasks.plan_cleanup(config, accept=shrunk.id[:4])
    assert [backup.id for backup in plan.retention.removed] == [real]
    assert listed(config) == [shrunk.id, real]
    assert dbtasks.find(config, shrunk.id).manifest.anomalous
    result = dbtasks.cleanup(config, plan)
    assert (result.accepted, listed(config)) == (shrunk.id, [shrunk.id])
    manifest = dbtasks.find(config, shrunk.id).manifest
    assert (manifest.anomalous, manifest.anomaly_accepted, bool(manifest.anomaly)) == (False, True, True)
    assert night(config).manifest.anomaly == ""


def test_only_a_backup_that_has_shrunk_can_be_accepted(shop: tuple[dbtasks.Settings, Path]) -> None:
    config, _ = shop
    with pytest.raises(UsageError, match="counts as normal already"):
        dbtasks.plan_cleanup(config, accept="latest")
    with pytest.raises(NotFound):
        dbtasks.plan_cleanup(config, accept="nosuch")
    make(config.root / "other.db")
    other = dbtasks.backup(settings(config.root, "other.db"))
    with pytest.raises(UsageError, match=r"backup of other\.db"):
        dbtasks.plan_cleanup(config, accept=other.id)


def test_no_flag_of_the_cleanup_goes_past_it_but_the_one_that_names_the_backup(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    run(path, "DELETE FROM item")
    shrunk = dbtasks.backup(config)
    for type_ in (None, Type.MANUAL):
        plan = dbtasks.plan_cleanup(config, policy=dbtasks.Policy(keep=1), type_=type_)
        assert (plan.going, shrunk.id in plan.suspended) == (0, True)
    unlimited = replace(config, shrink_limit=None)
    assert dbtasks.backup(unlimited).manifest.anomaly == ""
    assert dbtasks.plan_cleanup(unlimited).suspended == ""


def test_a_cleanup_that_is_suspended_leaves_the_database_a_restore_replaced_as_well(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    pg_db.run("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item SELECT generate_series(1, 2000)")
    tools = {"via": "host", "pg_bin": str(pg_db.server.bin)}
    config = dbtasks.load_settings(tmp_path, environ={}, url=pg_db.url, **tools)
    real = dbtasks.backup(config)
    pg_db.run("DELETE FROM item")
    emptied = dbtasks.backup(config)
    assert f"less than 50% of {real.id}: 0 of 2,000 rows" in emptied.manifest.anomaly
    pg_db.run("INSERT INTO item SELECT generate_series(1, 2000)")
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(emptied.id))
    assert any(emptied.manifest.anomaly in text for text in plan.warnings)
    assert plan.consent.protected
    old = dbtasks.restore(config, plan).old
    assert dbtasks.backup(config).manifest.anomaly
    coming = dbtasks.plan_cleanup(config)
    assert coming.replaced == ()
    assert [(one.database, one.reason) for one in coming.staying] == [(old, "the cleanup is suspended")]


def test_a_table_that_lost_most_of_its_rows_is_named_on_postgresql(tmp_path: Path, pg_db: PgDatabase) -> None:
    pg_db.run(
        "CREATE TABLE a (id int); INSERT INTO a SELECT generate_series(1, 5000);"
        "CREATE TABLE b (id int); INSERT INTO b SELECT generate_series(1, 1000)"
    )
    tools = {"via": "host", "pg_bin": str(pg_db.server.bin)}
    config = dbtasks.load_settings(tmp_path, environ={}, url=pg_db.url, **tools)
    dbtasks.backup(config)
    pg_db.run("DELETE FROM b WHERE id > 400")
    assert "public.b: 400 of 1,000 rows" in dbtasks.backup(config).manifest.anomaly
    # the same table left out is none: what both hold is what is compared
    without = replace(config, exclude_data=("b",))
    assert dbtasks.backup(without).manifest.anomaly == ""


# -- the tasks ----------------------------------------------------------------------------


@pytest.fixture
def host(project: Project) -> Project:
    project.mount()
    project.dotenv("DATABASE_URL=sqlite:///app.db\nDBTASKS_KEEP=1\n")
    make(project.root / "app.db")
    return project


def document(host: Project, *arguments: str) -> dict[str, Any]:
    ran = host.invoke(*arguments, "--json")
    parsed = json.loads(ran.stdout)
    assert isinstance(parsed, dict)
    assert parsed["exit_code"] == ran.returncode
    return parsed


def test_the_run_ends_with_8_and_every_screen_shows_it(host: Project) -> None:
    real = document(host, "db.backup")["backup"]["id"]
    run(host.root / "app.db", "DELETE FROM item")
    ran = host.invoke("db.backup")
    assert ran.returncode == 8
    assert "the backup was made, and it holds less than 50% of" in ran.stderr
    (backup, _) = document(host, "db.list")["backups"]
    assert backup["anomaly"].startswith(f"less than 50% of {real}: ")
    assert backup["anomaly_accepted"] is False
    assert "latest anomaly" in host.invoke("db.list").stdout.replace("anomaly latest", "latest anomaly")
    assert f"Anomaly     less than 50% of {real}" in host.invoke("db.show").stdout
    again = document(host, "db.backup")
    assert (again["exit_code"], again["ok"]) == (8, False)
    assert "cleanup" not in again
    assert any("nothing is cleaned up" in text for text in again["warnings"])
    (newest, *_) = document(host, "db.log")["runs"]
    assert (newest["ok"], newest["exit_code"], newest["backup"]) == (False, 8, again["backup"]["id"])
    assert "the backup was made, and it holds less than 50%" in newest["message"]
    assert read_log(host.root / "backups")[0].extra["anomaly"] == again["backup"]["anomaly"]
    assert any("cleanup is suspended" in text for text in document(host, "db.info")["notes"])


@pytest.mark.long
def test_the_cleanup_says_why_nothing_goes_and_goes_on_when_the_backup_is_accepted(host: Project) -> None:
    for _ in range(2):
        document(host, "db.backup", "--skip-cleanup")
    run(host.root / "app.db", "DELETE FROM item")
    shrunk = document(host, "db.backup")["backup"]["id"]
    shown = host.invoke("db.cleanup", "--yes")
    assert shown.returncode == 0
    assert f"cleanup is suspended: {shrunk} holds less than 50%" in shown.stdout
    assert f"db.cleanup --accept={shrunk}" in shown.stdout
    assert "the cleanup is suspended, not among the newest 1" in shown.stdout
    planned = document(host, "db.cleanup", f"--accept={shrunk}", "--dry-run")
    assert (planned["suspended"], planned["accepted"]) == (None, shrunk)
    assert [d["keep"] for d in planned["decisions"]] == [True, False, False]
    assert document(host, "db.cleanup", "--dry-run")["suspended"]
    assert document(host, "db.cleanup", f"--accept={shrunk}")["exit_code"] == 6
    done = document(host, "db.cleanup", f"--accept={shrunk}", "--yes")
    assert (done["accepted"], len(done["removed"])) == (shrunk, 2)
    assert document(host, "db.backup")["exit_code"] == 0
    assert document(host, "db.cleanup", "--accept=nosuch")["exit_code"] == 4


def test_a_normal_backup_of_another_part_says_that_the_cleanup_is_still_suspended(
    project: Project, pg_db: PgDatabase
) -> None:
    project.mount()
    project.dotenv(f"DATABASE_URL={pg_db.url}\nDBTASKS_VIA=host\nDBTASKS_PG_BIN={pg_db.server.bin}\n")
    pg_db.run("CREATE TABLE a (id int); INSERT INTO a SELECT generate_series(1, 50); CREATE TABLE b (id int)")
    document(project, "db.backup")
    pg_db.run("DELETE FROM a")
    assert document(project, "db.backup")["exit_code"] == 8
    alone = document(project, "db.backup", "--table=b")
    assert alone["exit_code"] == 0
    assert any("cleanup is suspended" in text for text in alone["warnings"])


def test_a_backup_is_accepted_where_nothing_goes_without_a_question(host: Project) -> None:
    document(host, "db.backup")
    run(host.root / "app.db", "DELETE FROM item")
    shrunk = document(host, "db.backup")["backup"]["id"]
    accepted = host.invoke("db.cleanup", f"--accept={shrunk}", "--keep=9")
    assert accepted.returncode == 0, accepted.stderr
    assert f"{shrunk} counts as normal from now on" in accepted.stdout
    assert "(taken for normal)" in host.invoke("db.show", f"--file={shrunk}").stdout


@pytest.mark.parametrize("value", ["0", "1.5", "-1", "half", "nan"])
def test_a_limit_that_makes_no_sense_is_an_error(host: Project, value: str) -> None:
    ran = host.invoke("db.backup", DBTASKS_SHRINK_LIMIT=value)
    assert ran.returncode == 2
    assert "shrink_limit" in ran.stderr
    assert "a number above 0, at most 1, or none" in ran.stderr


def test_another_limit_and_none_at_all_are_settings(host: Project) -> None:
    document(host, "db.backup")
    run(host.root / "app.db", "DELETE FROM item WHERE id > 79")
    assert host.invoke("db.backup", DBTASKS_SHRINK_LIMIT="0.9").returncode == 8
    assert host.invoke("db.backup").returncode == 0
    run(host.root / "app.db", "DELETE FROM item")
    assert host.invoke("db.backup", DBTASKS_SHRINK_LIMIT="none").returncode == 0
