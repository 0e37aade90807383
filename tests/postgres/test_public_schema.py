"""The schema `public` belongs to the first superuser up to PostgreSQL 14, and a newer pg_dump writes that down.

Tried on every version by giving it to the superuser.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.models import Backup, Format
from dbtasks.plans import LoadRequest, LoadStrategy
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.projects import configured, made_with

FORMATS = (Format.CUSTOM, Format.SQL, Format.DIRECTORY)
OWNER = "SELECT pg_get_userbyid(nspowner), obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'public'"


def taken_away(database: PgDatabase) -> None:
    """Make `public` what it is up to PostgreSQL 14: the superuser's, and open to all."""
    database.run(
        "ALTER SCHEMA public OWNER TO postgres; GRANT ALL ON SCHEMA public TO PUBLIC;"
        "COMMENT ON SCHEMA public IS 'what everybody shares'"
    )


def brought_back(config: dbtasks.Settings, made: Backup, **request: Any) -> dbtasks.RestorePlan:
    job = dbtasks.RestoreJob(file=str(made.path), request=LoadRequest(**request))
    plan = dbtasks.plan_restore(config, job)
    dbtasks.restore(config, plan)
    return plan


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("strategy", [LoadStrategy.IN_PLACE, LoadStrategy.SWAP], ids=str)
def test_who_may_not_give_public_away_leaves_it_as_it_is_and_says_so(
    any_pg: PgServer, tmp_path: Path, format_: Format, strategy: LoadStrategy
) -> None:
    role = any_pg.create_role("LOGIN CREATEDB" if strategy is LoadStrategy.SWAP else "LOGIN")
    with any_pg.fresh(f"OWNER {role.user}") as database:
        ((in_new_ones, _),) = database.run(OWNER)
        taken_away(database)
        mine = database.seen_by(role)
        mine.run("CREATE TABLE t AS SELECT 1 AS a; GRANT SELECT ON t TO PUBLIC")
        config = configured(tmp_path, mine)
        made = made_with(config, format=format_)
        mine.run("DELETE FROM t")
        plan = brought_back(config, made)
        assert plan.load.strategy is strategy
        words = f"the schema public keeps its owner: {role.user} may not give it to postgres, whose it is in the backup"
        assert [text for text in plan.warnings if "public" in text] == [words]
        assert mine.run("SELECT a FROM t") == [(1,)]
        assert mine.run("SELECT has_table_privilege('public', 't', 'SELECT')") == [(True,)]
        keeper = "postgres" if strategy is LoadStrategy.IN_PLACE else in_new_ones
        assert database.run(OWNER) == [(keeper, "what everybody shares")]


def test_a_superuser_gives_public_to_whom_it_belonged(pg_db: PgDatabase, tmp_path: Path) -> None:
    role = pg_db.server.create_role("NOLOGIN")
    pg_db.run(f'CREATE TABLE t (a int); ALTER SCHEMA public OWNER TO "{role.user}"')
    config = configured(tmp_path, pg_db)
    plan = brought_back(config, made_with(config))
    assert [text for text in plan.warnings if "public" in text] == []
    assert pg_db.run(OWNER)[0][0] == role.user


def test_a_member_gives_public_to_its_role(pg_db: PgDatabase, tmp_path: Path) -> None:
    server = pg_db.server
    team, role = server.create_role("NOLOGIN").user, server.create_role("LOGIN CREATEDB")
    server.run(
        "postgres", f'GRANT "{team}" TO "{role.user}"; ALTER DATABASE "{pg_db.name}" OWNER TO "{role.user}"'
    )
    pg_db.run(f'ALTER SCHEMA public OWNER TO "{team}"')
    mine = pg_db.seen_by(role)
    mine.run("CREATE TABLE t AS SELECT 1 AS a")
    config = configured(tmp_path, mine)
    plan = brought_back(config, made_with(config))
    assert [text for text in plan.warnings if "public" in text] == []
    assert pg_db.run(OWNER)[0][0] == team
