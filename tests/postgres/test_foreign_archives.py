"""Files that are not ours: never loaded by a login that could act on the server's machine through them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dbtasks.engines.postgres.holes import MENDED, known_holes
from dbtasks.engines.postgres.load import plan_load
from dbtasks.errors import Refused
from dbtasks.models import Archive, Format
from dbtasks.plans import LoadRequest
from dbtasks.runners import ToolVersion
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.restoring import engine_on, restore
from tests.postgres.rich import archive_of, count

ORDINARY = "LOGIN CREATEDB"


def foreign(database: PgDatabase, folder: Path, format_: Format = Format.CUSTOM) -> Archive:
    return replace(archive_of(database, folder, format_), manifest=None)


@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.DIRECTORY])
@pytest.mark.parametrize("role", [None, "pg_monitor"])
def test_a_superuser_loads_no_file_without_a_manifest_not_even_by_another_role(
    pg_db: PgDatabase, format_: Format, role: str | None, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE t (a int)")
    archive = foreign(pg_db, tmp_path, format_)
    with engine_on(pg_db) as engine:
        for in_place in (False, True):
            with pytest.raises(Refused, match="no manifest") as refused:
                plan_load(engine, archive, LoadRequest(unverified=True, role=role, in_place=in_place))
            assert "ordinary role" in refused.value.hint
            assert "--role is no protection" in refused.value.hint
            assert refused.value.state == "nothing was touched"


@pytest.mark.parametrize("power", ["pg_execute_server_program", "pg_write_server_files", "postgres"])
def test_a_role_that_can_become_a_powerful_one_is_refused_too(
    pg: PgServer, power: str, tmp_path: Path
) -> None:
    role = pg.create_role(ORDINARY + " NOINHERIT")
    with pg.fresh(f"OWNER {role.user}") as database:
        mine = database.seen_by(role)
        mine.run("CREATE TABLE t (a int)")
        archive = foreign(database, tmp_path)
        with engine_on(mine) as engine:
            plan_load(engine, archive, LoadRequest(unverified=True, no_owner=True))
            pg.run("postgres", f'GRANT {power} TO "{role.user}"')
            with pytest.raises(Refused, match="no manifest"):
                plan_load(engine, archive, LoadRequest(unverified=True, no_owner=True))


def test_an_ordinary_role_loads_it_and_hears_of_the_holes_of_its_tools(pg: PgServer, tmp_path: Path) -> None:
    role = pg.create_role(ORDINARY)
    with pg.fresh(f"OWNER {role.user}") as database:
        mine = database.seen_by(role)
        mine.run("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
        archive = foreign(mine, tmp_path)
        mine.run("DELETE FROM t")
        with engine_on(mine) as engine:
            plan, _, _ = restore(engine, archive, LoadRequest(unverified=True))
            version = engine.runner.version("pg_restore")
        assert count(mine) == {"public.t": 1}
    assert [text for text in plan.warnings if "security holes" in text] == [
        f"pg_restore {hole}" for hole in known_holes(version)
    ]


def test_a_backup_of_ours_is_loaded_by_a_superuser_without_a_word_of_holes(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE t (a int)")
    with engine_on(pg_db) as engine:
        plan, _, _ = restore(engine, archive_of(pg_db, tmp_path, Format.CUSTOM))
    assert plan.warnings == ()


@pytest.mark.parametrize("major", MENDED)
def test_each_major_release_of_the_tools_has_one_that_mends_it(major: int) -> None:
    minor = MENDED[major]
    assert known_holes(ToolVersion(major, minor)) == known_holes(ToolVersion(major, minor + 1)) == ()
    (said,) = known_holes(ToolVersion(major, minor - 1))
    assert said == f"{major}.{minor - 1} has known security holes, which {major}.{minor} mends"


def test_releases_without_support_are_named_and_unknown_ones_are_not_blamed() -> None:
    assert "no more releases" in known_holes(ToolVersion(13, 23))[0]
    assert known_holes(ToolVersion(19, 0)) == ()
