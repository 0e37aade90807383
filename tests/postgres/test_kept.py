"""The databases that restores replaced: that they pile up is said, and what drops them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

import dbtasks
from dbtasks.clock import utc_now
from dbtasks.console.cleanup import kept_text
from dbtasks.console.documents import restore_plan_document
from dbtasks.console.info import info_document, info_lines
from dbtasks.console.restore_tables import (
    tables_document,
    tables_lines,
    tables_plan_document,
    tables_plan_lines,
)
from dbtasks.console.screens import restore_lines, restore_plan_lines
from dbtasks.console.text import many
from dbtasks.console.undo import undo_plan_document, undo_plan_lines
from dbtasks.executors.cleanup import Removals
from dbtasks.executors.restoring.kept import KeptDatabase
from tests.conftest import Project
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.restoring import databases
from tests.postgres.test_undo import backed_up, restore


def told(config: dbtasks.Settings) -> str:
    return "\n".join(info_lines(dbtasks.inspect(config), utc_now(), None))


@pytest.mark.long
def test_databases_that_restores_replaced_are_counted_with_their_size_and_what_drops_them(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    config = backed_up(tmp_path, pg_db)
    assert dbtasks.inspect(config).kept == ()
    first = restore(config, "latest:manual")
    assert first.older == ()
    time.sleep(1.1)  # names go by the second
    second = restore(config, "latest:manual")
    (older,) = second.older
    assert (older.name, older.recorded) == (first.old, True)
    assert older.size_bytes
    assert "earlier restores left 1 database, " in "\n".join(restore_lines(second))
    assert "iB: db.cleanup drops what no undo needs" in "\n".join(restore_lines(second))
    report = dbtasks.inspect(config)
    assert [one.name for one in report.kept] == [first.old, second.old]
    assert report.store.next_cleanup == Removals(backups=0, databases=2)
    said = told(config)
    assert "Replaced    2 databases, " in said
    assert "db.cleanup drops what no undo needs" in said
    assert "The next cleanup removes 2 replaced databases." in said
    document = info_document(report)
    assert document["store"]["next_cleanup"] == 2
    assert document["store"]["next_cleanup_removes"] == {
        "backups": 0,
        "databases": 2,
        "left_over": 0,
        "drafts": 0,
    }
    assert [one["name"] for one in document["replaced"]] == [first.old, second.old]
    for plan, shown, plan_document, names in (
        (dbtasks.plan_restore(config), restore_plan_lines, restore_plan_document, [first.old, second.old]),
        (
            dbtasks.plan_restore_tables(config, dbtasks.TablesJob(("item",))),
            tables_plan_lines,
            tables_plan_document,
            [first.old, second.old],
        ),
        # the last one is what comes back
        (dbtasks.plan_undo(config), undo_plan_lines, undo_plan_document, [first.old]),
    ):
        assert [one["name"] for one in plan_document(plan)["plan"]["older"]] == names
        line = shown(plan, utc_now())[-1]
        assert line.startswith(f"Older    earlier restores left {many(len(names), 'database')}, ")
        assert line.endswith("iB: db.cleanup drops what no undo needs")
    dbtasks.cleanup(config, dbtasks.plan_cleanup(config))
    assert databases(pg_db) == [pg_db.name]
    assert "Replaced" not in told(config)


def test_one_that_no_restore_of_this_folder_kept_is_named_as_such(pg_db: PgDatabase, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    restored = restore(backed_up(here, pg_db))
    pg_db.run("DROP TABLE item")
    config = backed_up(there, pg_db)
    assert dbtasks.plan_cleanup(config).replaced == ()
    (kept,) = dbtasks.inspect(config).kept
    assert (kept.name, kept.recorded) == (restored.old, False)
    assert f"no record here knows {restored.old}: db.cleanup where it was restored, or DROP DATABASE" in told(
        config
    )
    assert "db.cleanup drops what" not in told(config)


def test_a_restore_of_one_table_tells_them_as_well(pg_db: PgDatabase, tmp_path: Path) -> None:
    config = backed_up(tmp_path, pg_db)
    old = restore(config, "latest:manual").old
    job = dbtasks.TablesJob(("item",), skip_safety_backup=True)
    result = dbtasks.restore_tables(config, dbtasks.plan_restore_tables(config, job))
    assert [one["name"] for one in tables_document(result)["restore"]["older"]] == [old]
    assert tables_lines(result)[-1].startswith("  earlier restores left 1 database, ")


def test_a_size_that_the_role_may_not_ask_for_is_left_out(pg: PgServer, tmp_path: Path) -> None:
    role = pg.create_role("LOGIN CREATEDB")
    with pg.fresh(f'OWNER "{role.user}"') as owned:
        config = backed_up(tmp_path, owned.seen_by(role))
        old = restore(config).old
        pg.run("postgres", f'ALTER DATABASE "{old}" OWNER TO postgres')
        pg.run("postgres", f'REVOKE CONNECT ON DATABASE "{old}" FROM PUBLIC')
        assert list(dbtasks.inspect(config).kept) == [KeptDatabase(str(old), None, True)]
        assert "Replaced    1 database: db.cleanup" in told(config)


def test_sizes_that_are_known_in_part_are_told_as_at_least_that() -> None:
    kept = (KeptDatabase("a", 1024, True), KeptDatabase("b", None, True), KeptDatabase("c", None, False))
    said = kept_text(kept)
    assert said.startswith(
        "3 databases, 1.0 KiB and more: db.cleanup drops what no undo needs; no record here knows c: "
    )


def test_the_task_says_what_earlier_restores_left(project: Project, pg_db: PgDatabase) -> None:
    project.mount()
    pg_db.run("CREATE TABLE t AS SELECT generate_series(1, 10) AS a")
    environ = {"DATABASE_URL": pg_db.url, "DBTASKS_PG_BIN": str(pg_db.server.bin), "DBTASKS_VIA": "host"}
    assert project.invoke("db.backup", **environ).returncode == 0
    first = project.invoke("db.restore", "--file=latest", "--yes", "--json", **environ)
    old = json.loads(first.stdout)["restore"]["old"]
    time.sleep(1.1)
    second = project.invoke("db.restore", "--file=1", "--yes", "--json", **environ)
    assert [one["name"] for one in json.loads(second.stdout)["restore"]["older"]] == [old]
