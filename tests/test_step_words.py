"""What a restore says while it goes: one table is not several, and a COMMIT is no exchange of names."""

from __future__ import annotations

from pathlib import Path

import pytest

import dbtasks
from dbtasks.clock import utc_now
from dbtasks.console.screens import restore_plan_lines
from dbtasks.events import Event, Phase
from dbtasks.models import Format
from dbtasks.plans import DumpRequest, LoadRequest
from tests.fix_postgres import PgDatabase
from tests.postgres.test_rows_restore import backed_up, settings_of
from tests.postgres.test_schema_command import TABLES, config_for
from tests.sqlite.databases import run, settings


def steps_of(config: dbtasks.Settings, plan: dbtasks.RestorePlan) -> list[tuple[str, str]]:
    heard: list[Event] = []
    dbtasks.restore(config, plan, on_event=heard.append)
    return [(event.name, event.detail) for event in heard if isinstance(event, Phase)]


def test_one_table_of_a_rows_backup_is_one_table_in_the_plan_and_on_the_way_in_sqlite(tmp_path: Path) -> None:
    run(tmp_path / "app.db", "CREATE TABLE item (id INTEGER PRIMARY KEY)")
    config = settings(tmp_path)
    made = dbtasks.backup(config, dbtasks.BackupJob(request=DumpRequest(format=Format.ROWS)))
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id, into="other.db"))
    assert (
        plan.load.steps[0] == f"make 1 table of {made.path.name} in a new file beside, fill it, make indexes"
    )
    steps = steps_of(config, plan)
    assert ("create", "1 table") in steps
    assert steps[-1][0] == "swap"
    back = steps_of(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id)))
    assert [name for name, _ in back if name in ("swap", "commit")] == ["commit"]


def test_one_table_of_a_rows_backup_is_one_table_in_the_plan_and_on_the_way_in_postgresql(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE item (id int); INSERT INTO item VALUES (1)")
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    steps = steps_of(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id)))
    assert [name for name, _ in steps if name in ("swap", "commit")] == ["commit"]
    pg_db.run("DROP TABLE item")
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id))
    assert plan.load.steps[0].startswith(f"in one transaction: make 1 object of {made.path.name}")
    shown = restore_plan_lines(plan, utc_now())
    assert not any("comes back" in line for line in shown)
    steps = steps_of(config, plan)
    assert ("create", "1 table") in steps
    assert [name for name, _ in steps if name in ("swap", "commit")] == ["commit"]


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "beside"])
def test_a_load_in_place_ends_in_a_commit_and_one_beside_in_an_exchange_of_names(
    pg_db: PgDatabase, tmp_path: Path, in_place: bool
) -> None:
    pg_db.run("CREATE TABLE item (id int); INSERT INTO item VALUES (1)")
    config = dbtasks.load_settings(
        tmp_path, environ={}, url=pg_db.url, via="host", pg_bin=str(pg_db.server.bin)
    )
    made = dbtasks.backup(config)
    job = dbtasks.RestoreJob(made.id, request=LoadRequest(in_place=in_place))
    steps = steps_of(config, dbtasks.plan_restore(config, job))
    named = [name for name, _ in steps if name in ("swap", "commit")]
    assert named == ["commit" if in_place else "swap"]


def test_rows_into_what_the_command_made_are_loaded_once(pg_db: PgDatabase, tmp_path: Path) -> None:
    with pg_db.server.fresh() as source:
        source.run(TABLES)
        made = backed_up(settings_of(source, tmp_path))
    config = config_for(pg_db, tmp_path)
    asked = LoadRequest(unverified=True)
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(str(made.path), request=asked))
    names = [name for name, _ in steps_of(config, plan)]
    assert names.count("load") == 1
    assert names.index("schema") < names.index("load")
