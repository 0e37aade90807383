"""Event triggers and the restore of a whole rows backup: named by the plan, and by the refusal where one refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import Refused
from tests.fix_postgres import PgDatabase
from tests.postgres.test_event_triggers import SEES
from tests.postgres.test_rows_creation import planned as planned_into
from tests.postgres.test_rows_restore import backed_up, planned, settings_of

TABLES = """
    CREATE TABLE par (id int PRIMARY KEY); CREATE TABLE t (id int REFERENCES par);
    INSERT INTO par VALUES (1); INSERT INTO t VALUES (1);
"""
RULE = """
    CREATE FUNCTION public.rule() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN {} END$$;
    CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION public.rule();
"""
REFUSES = "IF session_user = current_user THEN RAISE EXCEPTION 'no ddl here'; END IF;"
UNQUALIFIED = "INSERT INTO log VALUES (tg_tag);"


@pytest.mark.parametrize(
    ("does", "said"), [(REFUSES, "no ddl here"), (UNQUALIFIED, 'relation "log" does not exist')]
)
@pytest.mark.parametrize("way", ["in place", "creating"])
def test_an_event_trigger_that_refuses_or_fails_is_named_and_nothing_is_changed(
    pg_db: PgDatabase, tmp_path: Path, way: str, does: str, said: str
) -> None:
    pg_db.run(TABLES)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    pg_db.run("INSERT INTO par VALUES (2)")
    with pg_db.server.fresh() as empty:
        database = pg_db if way == "in place" else empty
        if way == "in place":
            database.run("CREATE TABLE log (what text)")
        database.run(RULE.format(does))
        plan = planned(config, made) if way == "in place" else planned_into(config, made, empty.name)
        assert f"{SEES}watching" in plan.warnings
        with pytest.raises(Refused, match=f"the event trigger watching refused it: .*{said}") as caught:
            dbtasks.restore(config, plan)
        assert 'ALTER EVENT TRIGGER "watching" DISABLE' in caught.value.hint
        assert f"{database.name} is as it was" in caught.value.state
        if way == "in place":
            assert pg_db.run("SELECT id FROM par ORDER BY 1") == [(1,), (2,)]
        database.run("ALTER EVENT TRIGGER watching DISABLE")
        again = planned(config, made) if way == "in place" else planned_into(config, made, empty.name)
        assert f"{SEES}watching" not in again.warnings
        dbtasks.restore(config, again)


def test_an_event_trigger_on_indexes_alone_is_named_too(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(TABLES)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    pg_db.run(RULE.format("").replace("ddl_command_end", "ddl_command_end WHEN TAG IN ('CREATE INDEX')"))
    assert f"{SEES}watching" in planned(config, made).warnings
