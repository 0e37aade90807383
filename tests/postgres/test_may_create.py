"""A load inside a database: why there and not beside is told, and the right to create is proved before anything is dropped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import RightMissing
from tests.conftest import Project
from tests.fix_postgres import PgServer
from tests.postgres.projects import configured

TABLES = (
    "CREATE TABLE item AS SELECT generate_series(1, 9) AS a; CREATE SCHEMA shop;"
    ' CREATE TABLE shop.t AS SELECT 1 AS a; CREATE SCHEMA "odd.name"; CREATE TABLE "odd.name".t (a int)'
)


def planned(
    config: dbtasks.Settings, into: str | None = None, role: str | None = None
) -> dbtasks.RestorePlan:
    request = dbtasks.LoadRequest(no_owner=role is not None, role=role)
    return dbtasks.plan_restore(config, dbtasks.RestoreJob(into=into, request=request))


@pytest.mark.long
@pytest.mark.parametrize("by_role", [False, True])
def test_d19_a_role_that_may_not_create_inside_is_told_before_anything_is_touched_with_the_grant(
    any_pg: PgServer, tmp_path: Path, by_role: bool
) -> None:
    """What the hint says is enough."""
    owner = any_pg.create_role()
    name = owner.user
    if by_role:
        name = any_pg.create_role("NOLOGIN").user
        any_pg.run("postgres", f"GRANT {name} TO {owner.user}")
    with any_pg.fresh(f"OWNER {owner.user}") as own, any_pg.fresh() as theirs:
        mine = own.seen_by(owner)
        mine.run(TABLES)
        config = configured(tmp_path, mine)
        dbtasks.backup(config)
        theirs.run("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        role = name if by_role else None
        with pytest.raises(RightMissing) as refused:
            planned(config, theirs.name, role)
        error = refused.value
        assert f"{name} may not create anything in the schema public or a schema" in error.message
        assert f"the role {owner.user} may not create databases" in error.message
        assert error.state == "nothing was touched"
        grants = error.hint.partition(f"in {theirs.name}: ")[2].partition(" or choose")[0]
        assert grants == (
            f'GRANT CREATE ON SCHEMA "public" TO "{name}"; GRANT CREATE ON DATABASE "{theirs.name}" TO "{name}";'
        )
        theirs.run(grants)
        result = dbtasks.restore(config, planned(config, theirs.name, role))
        assert result.rows == 10
        assert theirs.run('SELECT count(*) FROM item, shop.t LEFT JOIN "odd.name".t o ON true') == [(9,)]


def test_what_needs_no_schema_of_its_own_needs_no_right_to_make_one(pg: PgServer, tmp_path: Path) -> None:
    owner = pg.create_role()
    with pg.fresh(f"OWNER {owner.user}") as own, pg.fresh() as theirs:
        mine = own.seen_by(owner)
        mine.run("CREATE TABLE item AS SELECT 1 AS a")
        config = configured(tmp_path, mine)
        dbtasks.backup(config)
        theirs.run(f"GRANT CREATE ON SCHEMA public TO {owner.user}")
        assert dbtasks.restore(config, planned(config, theirs.name)).rows == 1


@pytest.mark.long
def test_an_ordinary_role_gets_into_no_maintenance_database_and_is_told_what_it_is(
    project: Project, pg: PgServer
) -> None:
    owner = pg.create_role("LOGIN CREATEDB")
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        mine.run("CREATE TABLE item AS SELECT 1 AS a")
        dbtasks.backup(configured(project.root, mine))
        project.mount()
        environ = {"DATABASE_URL": mine.url, "DBTASKS_VIA": "host", "DBTASKS_PG_BIN": str(pg.bin)}
        flags = ("db.restore", "--file=latest", "--into=postgres")
        for how in ("--yes", "--dry-run"):
            refused = project.invoke(*flags, how, **environ)
            assert refused.returncode == 3, refused.stderr
            assert 'GRANT CREATE ON SCHEMA "public" TO' in refused.stderr
            assert "  state: nothing was touched\n" in refused.stderr
        shown = project.invoke(*flags, "--dry-run", **{**environ, "DATABASE_URL": database.url})
        assert shown.returncode == 0, shown.stderr
        assert "warning: postgres is a maintenance database" in shown.stderr
        elsewhere = ("db.restore", "--file=latest", f"--into={database.name}_x", "--dry-run")
        assert "maintenance" not in project.invoke(*elsewhere, **environ).stderr


@pytest.mark.long
def test_why_it_is_loaded_in_place_stands_beside_the_strategy(project: Project, pg: PgServer) -> None:
    owner = pg.create_role()
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        mine.run("CREATE TABLE item AS SELECT 1 AS a")
        dbtasks.backup(configured(project.root, mine))
        project.mount()
        environ = {"DATABASE_URL": mine.url, "DBTASKS_VIA": "host", "DBTASKS_PG_BIN": str(pg.bin)}
        flags = ("db.restore", "--file=latest", "--dry-run")
        why = f"the role {owner.user} may not create databases"
        shown = project.invoke(*flags, **environ).stdout.splitlines()
        assert f"Steps    in place: {why}" in shown
        assert "Route    host: asked for" in shown
        plan = json.loads(project.invoke(*flags, "--json", **environ).stdout)["plan"]
        assert (plan["why"], plan["why_in_place"]) == ("asked for", why)
        beside = project.invoke(*flags, "--json", **{**environ, "DATABASE_URL": database.url})
        assert json.loads(beside.stdout)["plan"]["why_in_place"] is None
        in_place = project.invoke(*flags, "--in-place", **environ, DBTASKS_DROP_OLD="on")
        assert "Steps    in place: asked for" in in_place.stdout
        assert "drop_old" not in in_place.stderr
        nothing_to_drop = project.invoke(*flags, "--drop-old", **environ)
        assert "warning: drop_old means nothing in place: no old database is kept" in nothing_to_drop.stderr
