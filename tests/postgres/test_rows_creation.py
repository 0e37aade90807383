"""Restores of rows backups where their tables are not: into an empty database, into a missing one, by an ordinary role."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.errors import Refused, RightMissing
from dbtasks.models import Backup
from dbtasks.plans import LoadRequest, LoadStrategy, TargetState
from dbtasks.settings import Settings
from tests.fix_postgres import PgDatabase, PgServer
from tests.moments import failures_at_each_phase
from tests.postgres import odd, rich
from tests.postgres.portable import described, lines_of, texts_of
from tests.postgres.test_rows_restore import backed_up, settings_of


def planned(config: Settings, made: Backup, into: str, **request: Any) -> dbtasks.RestorePlan:
    job = dbtasks.RestoreJob(made.id, into=into, request=LoadRequest(**request))
    return dbtasks.plan_restore(config, job)


def names_of(server: PgServer) -> set[str]:
    return {name for (name,) in server.run("postgres", "SELECT datname FROM pg_database")}


@pytest.mark.parametrize("state", [TargetState.EMPTY, TargetState.MISSING])
def test_everything_comes_up_in_a_database_that_is_empty_or_missing(
    any_db: PgDatabase, tmp_path: Path, state: TargetState
) -> None:
    any_db.run(odd.schema_for(any_db.server.version))
    config = settings_of(any_db, tmp_path)
    made = backed_up(config)
    with any_db.server.fresh() as copy:
        if state is TargetState.MISSING:
            any_db.server.drop_database(copy.name)
        plan = planned(config, made, copy.name)
        assert plan.load.state is state
        strategy = LoadStrategy.CREATE if state is TargetState.MISSING else LoadStrategy.ROWS
        assert (plan.load.strategy, plan.safety) == (strategy, False)
        assert set(plan.load.creates) == {table.name for table in described(any_db).tables}
        result = dbtasks.restore(config, plan)
        assert result.checked_against_manifest
        assert lines_of(described(copy)) == lines_of(described(any_db))
        assert texts_of(copy) == texts_of(any_db)
        # nothing else is left on the server
        assert not {name for name in names_of(any_db.server) if "__" in name}


def test_an_ordinary_role_makes_its_tables_in_its_own_empty_database(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    rich.fill(pg_db)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    role = pg_db.server.create_role()
    with pg_db.server.fresh(f'OWNER "{role.user}"') as copy:
        own = settings_of(copy.seen_by(role), tmp_path)
        dbtasks.restore(own, dbtasks.plan_restore(own, dbtasks.RestoreJob(made.id)))
        assert texts_of(copy) == texts_of(pg_db)
        owners = copy.run(
            "SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname IN ('public', 'App Data')"
        )
        assert owners == [(role.user,)]
        pg_db.server.drop_database(copy.name)
        with pytest.raises(RightMissing, match="may not create databases"):
            dbtasks.plan_restore(own, dbtasks.RestoreJob(made.id))


def test_a_role_that_may_create_no_schema_fills_those_that_are_there(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE SCHEMA shop; CREATE TABLE shop.t (a int PRIMARY KEY); INSERT INTO shop.t VALUES (1)")
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    role = pg_db.server.create_role()
    with pg_db.server.fresh() as copy:
        copy.run(f'CREATE SCHEMA shop AUTHORIZATION "{role.user}"')
        own = settings_of(copy.seen_by(role), tmp_path)
        dbtasks.restore(own, dbtasks.plan_restore(own, dbtasks.RestoreJob(made.id)))
        assert texts_of(copy) == texts_of(pg_db) == {"shop.t": [("1",)]}


def test_what_was_made_beforehand_counts_and_what_is_missing_is_listed(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    function = "CREATE FUNCTION public.shout(text) RETURNS text LANGUAGE sql VOLATILE AS 'SELECT upper($1)';"
    pg_db.run(f"{function} CREATE TABLE t (a text DEFAULT public.shout('x')); INSERT INTO t DEFAULT VALUES")
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    with pg_db.server.fresh() as copy:
        with pytest.raises(Refused, match="cannot be made here") as caught:
            planned(config, made, copy.name)
        assert (
            caught.value.details
            == "the default of public.t.a needs function public.shout(), which is not there"
        )
        copy.run(function)
        dbtasks.restore(config, planned(config, made, copy.name))
        assert texts_of(copy) == texts_of(pg_db) == {"public.t": [("X",)]}
        pg_db.server.drop_database(copy.name)
        # what the maintenance database has does not count for a new one
        pg_db.server.run("postgres", function)
        try:
            with pytest.raises(Refused, match="cannot be made here"):
                planned(config, made, copy.name)
        finally:
            pg_db.server.run("postgres", "DROP FUNCTION public.shout(text)")


def test_a_database_with_other_tables_gets_none(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    with pg_db.server.fresh() as copy:
        copy.run("CREATE TABLE other (a int)")
        with pytest.raises(Refused, match=r"lacks tables of .*: public\.t"):
            planned(config, made, copy.name)


@pytest.mark.long
@pytest.mark.parametrize("state", [TargetState.EMPTY, TargetState.MISSING])
def test_a_failure_at_any_phase_leaves_it_as_empty_or_missing_as_it_was(
    pg_db: PgDatabase, tmp_path: Path, state: TargetState
) -> None:
    rich.fill(pg_db)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    with pg_db.server.fresh() as copy:
        if state is TargetState.MISSING:
            pg_db.server.drop_database(copy.name)
        before = names_of(pg_db.server)
        seen: list[str] = []
        plan = planned(config, made, copy.name)
        for phase, _ in failures_at_each_phase(lambda stop: dbtasks.restore(config, plan, on_event=stop)):
            seen.append(phase)
            assert names_of(pg_db.server) == before
            if state is TargetState.EMPTY:
                assert described(copy).tables == ()
        assert "create" in seen


def test_a_file_of_somebody_is_not_made_by_a_superuser(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t (a int DEFAULT 5, b text DEFAULT gen_random_uuid()); INSERT INTO t VALUES (1)")
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    alone = tmp_path / "sent.json.gz"
    shutil.copy(made.path, alone)
    role = pg_db.server.create_role()
    with pg_db.server.fresh(f'OWNER "{role.user}"') as copy:
        job = dbtasks.RestoreJob(str(alone), into=copy.name, request=LoadRequest(unverified=True))
        with pytest.raises(Refused, match="could run programs"):
            dbtasks.plan_restore(config, job)
        own = settings_of(copy.seen_by(role), tmp_path)
        job = dbtasks.RestoreJob(str(alone), request=LoadRequest(unverified=True))
        plan = dbtasks.plan_restore(own, job)
        assert any("whatever that role may" in text for text in plan.warnings)
        dbtasks.restore(own, plan)
        assert copy.run("SELECT a FROM t") == [(1,)]


@pytest.mark.parametrize("state", [TargetState.EMPTY, TargetState.MISSING])
def test_a_backup_of_definitions_alone_makes_its_tables_where_none_are(
    pg_db: PgDatabase, tmp_path: Path, state: TargetState
) -> None:
    pg_db.run("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)")
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config, schema_only=True)
    with pytest.raises(Refused, match="holds no rows"):
        dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id))
    with pg_db.server.fresh() as copy:
        if state is TargetState.MISSING:
            pg_db.server.drop_database(copy.name)
        dbtasks.restore(config, planned(config, made, copy.name))
        assert lines_of(described(copy)) == lines_of(described(pg_db))
        assert texts_of(copy) == {"public.t": []}


def test_a_check_whose_function_leans_on_the_search_path_is_met_where_tables_are_made(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    functions = """
        CREATE FUNCTION public.inner_f(int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1 > 0';
        CREATE FUNCTION public.outer_f(int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN inner_f($1); END';
    """
    pg_db.run(f"{functions} CREATE TABLE t (a int CHECK (public.outer_f(a))); INSERT INTO t VALUES (1)")
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    with pg_db.server.fresh() as copy:
        copy.run(functions)
        dbtasks.restore(config, planned(config, made, copy.name))
        assert texts_of(copy) == {"public.t": [("1",)]}
