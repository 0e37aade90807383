"""Where a restore may go: names the server keeps whole, and no database others are made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbtasks.engines.postgres.loading.load import plan_load
from dbtasks.errors import Refused, UsageError
from dbtasks.models import Archive, Format
from dbtasks.plans import DumpRequest, LoadRequest
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.restoring import databases, engine_on, restore
from tests.postgres.rich import archive_of


@pytest.fixture
def archive(pg_db: PgDatabase, tmp_path: Path) -> Archive:
    pg_db.run("CREATE TABLE t (a int)")
    return archive_of(pg_db, tmp_path, Format.CUSTOM)


@pytest.mark.parametrize("name", ["template0", "template1"])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_template_of_the_server_is_no_target(
    pg: PgServer, archive: Archive, name: str, in_place: bool
) -> None:
    with engine_on(PgDatabase(pg, name)) as engine, pytest.raises(Refused, match=f"{name} is a template"):
        plan_load(engine, archive, LoadRequest(in_place=in_place))


@pytest.mark.parametrize("in_place", [False, True])
def test_a_database_marked_as_template_is_no_target(
    pg_db: PgDatabase, archive: Archive, in_place: bool
) -> None:
    mark = f"UPDATE pg_database SET datistemplate = %s WHERE datname = '{pg_db.name}'"
    pg_db.server.run("postgres", mark, (True,))
    try:
        with engine_on(pg_db) as engine, pytest.raises(Refused, match="marked as a template") as refused:
            plan_load(engine, archive, LoadRequest(in_place=in_place))
    finally:
        pg_db.server.run("postgres", mark, (False,))
    assert refused.value.state == "nothing was touched"


def test_the_maintenance_database_of_the_settings_is_no_target(pg_db: PgDatabase, archive: Archive) -> None:
    with engine_on(pg_db, maintenance_db=pg_db.name) as engine, pytest.raises(Refused) as refused:
        plan_load(engine, archive, LoadRequest(in_place=True))
    assert "maintenance_db" in refused.value.hint


@pytest.mark.parametrize("name", ["x" * 64, "ü" * 32, "a" * 62 + "ü"])
def test_d20_a_name_the_server_would_cut_is_refused(pg_db: PgDatabase, archive: Archive, name: str) -> None:
    with engine_on(PgDatabase(pg_db.server, name)) as engine:
        with pytest.raises(UsageError, match="bytes long"):
            plan_load(engine, archive, LoadRequest())
        with pytest.raises(UsageError, match="bytes long"):
            engine.plan_dump(DumpRequest())


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_what_is_no_name_at_all_is_refused(pg_db: PgDatabase, archive: Archive, name: str) -> None:
    with engine_on(PgDatabase(pg_db.server, name)) as engine, pytest.raises(UsageError):
        plan_load(engine, archive, LoadRequest())


def test_d20_the_longest_name_is_taken(pg_db: PgDatabase, archive: Archive) -> None:
    name = pg_db.name + "ü" * ((63 - len(pg_db.name)) // 2)
    with engine_on(PgDatabase(pg_db.server, name)) as engine:
        restore(engine, archive)
        restore(engine, archive)
    assert name in databases(pg_db)
