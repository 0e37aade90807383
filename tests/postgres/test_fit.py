"""What is proved before a restore touches anything: each refusal names the way that is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import dbtasks
from dbtasks.engines.postgres.archive.contents import Contents
from dbtasks.engines.postgres.loading.load import plan_load
from dbtasks.errors import Refused, RightMissing, ToolMissing, UsageError, VersionMismatch
from dbtasks.models import Archive, Format
from dbtasks.plans import LoadRequest, LoadStrategy, TargetState
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.restoring import databases, engine_on, restore
from tests.postgres.rich import archive_of, fingerprint
from tests.postgres.test_restore import FORMATS


def changed(archive: Archive, **changes: object) -> Archive:
    assert archive.manifest is not None
    return replace(archive, manifest=replace(archive.manifest, **changes))


@pytest.fixture
def full(pg_db: PgDatabase) -> PgDatabase:
    pg_db.run("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item VALUES (1), (2)")
    return pg_db


def test_a_plan_says_what_is_there_and_what_will_be_done(full: PgDatabase, tmp_path: Path) -> None:
    archive = archive_of(full, tmp_path, Format.CUSTOM)
    before = fingerprint(full)
    with engine_on(full) as engine:
        plan = plan_load(engine, archive, LoadRequest())
    assert (plan.strategy, plan.state) == (LoadStrategy.SWAP, TargetState.PRESENT)
    assert plan.live_rows == {"public.item": 2}
    assert plan.facts is not None
    assert plan.drops == ()
    assert any(full.name in step and "__before_" in step for step in plan.steps)
    assert fingerprint(full) == before
    assert databases(full) == [full.name]


def test_e03_an_older_server_is_refused(pg16: PgServer, full: PgDatabase, tmp_path: Path) -> None:
    archive = archive_of(full, tmp_path, Format.CUSTOM)
    with (
        pg16.fresh() as target,
        engine_on(target, tools=full.server.bin) as engine,
        pytest.raises(VersionMismatch, match=r"18\.\d.*16") as refused,
    ):
        plan_load(engine, archive, LoadRequest())
    assert "18" in refused.value.hint


@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.DIRECTORY])
def test_tools_that_cannot_read_the_archive_are_named(
    pg16: PgServer, pg18: PgServer, format_: Format, tmp_path: Path
) -> None:
    with pg16.fresh() as database:
        database.run("CREATE TABLE t (a int)")
        archive = archive_of(database, tmp_path, format_, tools=pg18.bin, tool_version="18.4")
        with engine_on(database) as engine, pytest.raises(VersionMismatch, match=r"pg_restore 16\..*18\.4"):
            plan_load(engine, archive, LoadRequest())


def test_missing_tools_are_named(full: PgDatabase, tmp_path: Path) -> None:
    archive = archive_of(full, tmp_path, Format.CUSTOM)
    with engine_on(full, tools=tmp_path) as engine, pytest.raises(ToolMissing, match="pg_restore"):
        plan_load(engine, archive, LoadRequest())


def test_e02_missing_extensions_are_named(full: PgDatabase, tmp_path: Path) -> None:
    archive = archive_of(full, tmp_path, Format.CUSTOM)
    archive = changed(archive, extensions={"plpgsql": "1.0", "postgis": "3.4", "timescaledb": "2.1"})
    with engine_on(full) as engine, pytest.raises(VersionMismatch, match="postgis, timescaledb"):
        plan_load(engine, archive, LoadRequest())


@pytest.mark.long
def test_an_extension_only_a_superuser_may_create_is_named(pg17: PgServer, tmp_path: Path) -> None:
    owner = pg17.create_role("LOGIN CREATEDB")
    with pg17.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        database.run("CREATE EXTENSION dblink")
        mine.run("CREATE EXTENSION hstore; CREATE TABLE t (a hstore)")
        archive = archive_of(
            mine, tmp_path, Format.CUSTOM, extensions={"plpgsql": "1.0", "hstore": "1.7", "dblink": "1.2"}
        )
        with engine_on(mine) as engine:
            with pytest.raises(RightMissing, match="dblink"):
                plan_load(engine, archive, LoadRequest())
            assert plan_load(engine, archive, LoadRequest(in_place=True)).strategy is LoadStrategy.IN_PLACE
            database.run("DROP EXTENSION dblink")
            trusted = archive_of(
                mine, tmp_path, Format.CUSTOM, extensions={"plpgsql": "1.0", "hstore": "1.7"}
            )
            plan, _, _ = restore(engine, trusted)
    assert any("hstore: 1.7 in the backup, 1.8 here" in text for text in plan.warnings)


@pytest.mark.parametrize("format_", FORMATS)
def test_e01_every_kind_of_missing_role_is_named_and_created_or_left_out(
    pg16: PgServer, pg18: PgServer, format_: Format, tmp_path: Path
) -> None:
    with pg16.fresh() as source, pg18.fresh() as target:
        owner = pg16.create_role(name=f'Ow"ner {format_}')
        reader = pg16.create_role(name=f"reader_{format_}")
        default = pg16.create_role(name=f"default_{format_}")
        limited = pg16.create_role(name=f"limited_{format_}")
        quoted = '"' + owner.user.replace('"', '""') + '"'
        source.run(
            f"CREATE TABLE t (a int); ALTER TABLE t OWNER TO {quoted}; GRANT SELECT ON t TO {reader.user}"
        )
        source.run(f"ALTER DEFAULT PRIVILEGES FOR ROLE {default.user} GRANT SELECT ON TABLES TO PUBLIC")
        source.run(
            "CREATE TABLE u (a int); COMMENT ON TABLE u IS 'x;\nGRANT ALL ON TABLE u TO nobody_at_all;'"
        )
        archive = archive_of(source, tmp_path, format_)
        with engine_on(target) as engine:
            with pytest.raises(RightMissing) as refused:
                plan_load(engine, archive, LoadRequest())
            for role in (owner, reader, default):
                assert role.user in refused.value.message
            assert "nobody_at_all" not in refused.value.message
            assert "--no-owner" in refused.value.hint
            plan_load(engine, archive, LoadRequest(no_owner=True))
            source.run(f"CREATE POLICY p ON t TO {limited.user} USING (true)")
            with_policy = archive_of(source, tmp_path, format_)
            with pytest.raises(RightMissing, match=limited.user) as refused:
                plan_load(engine, with_policy, LoadRequest(no_owner=True))
            assert f'CREATE ROLE "{limited.user}"' in refused.value.hint
        source.run("DROP TABLE t; DROP TABLE u")
        source.run(f"DROP OWNED BY {default.user}")


def test_objects_of_a_role_one_is_no_member_of_are_named(pg: PgServer, tmp_path: Path) -> None:
    me, other = pg.create_role("LOGIN CREATEDB"), pg.create_role()
    with pg.fresh(f"OWNER {me.user}") as database:
        database.run(f"CREATE TABLE t (a int); ALTER TABLE t OWNER TO {other.user}")
        archive = archive_of(database, tmp_path, Format.CUSTOM)
        with engine_on(database.seen_by(me)) as engine:
            with pytest.raises(RightMissing, match=other.user) as refused:
                plan_load(engine, archive, LoadRequest())
            assert "--no-owner" in refused.value.hint
            restore(engine, archive, LoadRequest(no_owner=True))


def test_d19_a_database_that_cannot_be_created_is_said_with_the_grant(
    pg: PgServer, full: PgDatabase, tmp_path: Path
) -> None:
    archive = archive_of(full, tmp_path, Format.CUSTOM)
    weak = pg.create_role()
    with (
        engine_on(PgDatabase(weak, "not_there")) as engine,
        pytest.raises(RightMissing, match="may not create databases") as refused,
    ):
        plan_load(engine, archive, LoadRequest())
    assert f'ALTER ROLE "{weak.user}" CREATEDB' in refused.value.hint
    with pytest.raises(RightMissing, match="no such role") as refused, engine_on(full) as engine:
        plan_load(engine, archive, LoadRequest(role="nobody_of_that_name"))
    assert 'CREATE ROLE "nobody_of_that_name";' in refused.value.hint


def test_a_role_that_may_not_be_set_is_told_with_the_grant_for_rows_too(pg: PgServer, tmp_path: Path) -> None:
    me, other = pg.create_role(), pg.create_role()
    with pg.fresh(f'OWNER "{me.user}"') as database:
        mine = database.seen_by(me)
        mine.run("CREATE TABLE item AS SELECT 1 AS a")
        config = dbtasks.load_settings(tmp_path, environ={}, url=mine.url, pg_bin=str(pg.bin))
        for format_, via in ((Format.CUSTOM, "host"), (Format.ROWS, "python")):
            config = replace(config, format=format_, via=(via,))
            made = dbtasks.backup(config)
            for role, told, hint in (
                (
                    other.user,
                    f"{me.user} is not a member of that role",
                    f'GRANT "{other.user}" TO "{me.user}";',
                ),
                ("nobody", "there is no such role", 'CREATE ROLE "nobody";'),
            ):
                job = dbtasks.RestoreJob(made.id, request=dbtasks.LoadRequest(role=role))
                with pytest.raises(RightMissing, match=told) as refused:
                    dbtasks.plan_restore(config, job)
                assert hint in refused.value.hint
                assert refused.value.state == "nothing was touched"


def test_a_partial_backup_never_replaces_a_database(full: PgDatabase, tmp_path: Path) -> None:
    archive = changed(
        archive_of(full, tmp_path, Format.CUSTOM), complete=False, not_included=("table public.big",)
    )
    with engine_on(full) as engine:
        for request in (LoadRequest(), LoadRequest(in_place=True)):
            with pytest.raises(Refused, match=r"partial.*public\.big") as refused:
                plan_load(engine, archive, request)
            assert "--into" in refused.value.hint
    other = PgDatabase(full.server, f"{full.name}_other")
    with engine_on(other) as engine:
        plan, _, _ = restore(engine, archive)
    assert plan.strategy is LoadStrategy.CREATE


def test_rows_without_definitions_are_refused_everywhere(full: PgDatabase, tmp_path: Path) -> None:
    archive = changed(
        archive_of(full, tmp_path, Format.CUSTOM, "--data-only"),
        complete=False,
        not_included=("all definitions (--data-only)",),
    )
    for database in (full, PgDatabase(full.server, "not_there")):
        with engine_on(database) as engine, pytest.raises(Refused, match="rows only"):
            plan_load(engine, archive, LoadRequest())


def test_a_script_of_somebody_else_is_refused_to_a_superuser(full: PgDatabase, tmp_path: Path) -> None:
    archive = replace(archive_of(full, tmp_path, Format.SQL), manifest=None)
    with engine_on(full) as engine, pytest.raises(Refused, match="no manifest"):
        plan_load(engine, archive, LoadRequest(unverified=True))


def test_a_subscription_of_the_live_database_is_named(full: PgDatabase, tmp_path: Path) -> None:
    archive = archive_of(full, tmp_path, Format.CUSTOM)
    full.run("CREATE SUBSCRIPTION sub CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)")
    try:
        with engine_on(full) as engine:
            for request in (LoadRequest(), LoadRequest(in_place=True)):
                with pytest.raises(Refused, match="the subscription sub"):
                    plan_load(engine, archive, request)
    finally:
        full.run("ALTER SUBSCRIPTION sub SET (slot_name = NONE)")
        full.run("DROP SUBSCRIPTION sub")


def test_flags_that_contradict_each_other_are_refused(full: PgDatabase, tmp_path: Path) -> None:
    archive = archive_of(full, tmp_path, Format.CUSTOM)
    with engine_on(full) as engine, pytest.raises(UsageError, match="--drop-old"):
        plan_load(engine, archive, LoadRequest(in_place=True, drop_old=True))
    with (
        engine_on(PgDatabase(full.server, "not_there")) as engine,
        pytest.raises(UsageError, match="--in-place"),
    ):
        plan_load(engine, archive, LoadRequest(in_place=True))


def test_live_rows_that_may_not_be_read_are_a_warning(pg: PgServer, tmp_path: Path) -> None:
    owner = pg.create_role("LOGIN CREATEDB")
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        mine.run("CREATE TABLE t (a int)")
        archive = archive_of(mine, tmp_path, Format.CUSTOM)
        database.run("CREATE TABLE secret (a int)")
        with engine_on(mine) as engine:
            plan = plan_load(engine, archive, LoadRequest())
    assert plan.live_rows == {}
    assert any("not counted" in text and "secret" in text for text in plan.warnings)


STATEMENTS = {
    b'ALTER TABLE public.t OWNER TO "a ""b; c";': ({'a "b; c'}, set(), set()),
    b"ALTER FUNCTION public.f(a integer, b text) OWNER TO bob;": ({"bob"}, set(), set()),
    b"GRANT SELECT,INSERT ON TABLE public.t TO bob WITH GRANT OPTION;": (set(), {"bob"}, set()),
    b"GRANT ALL ON SCHEMA s TO PUBLIC;": (set(), set(), set()),
    b'REVOKE ALL ON FUNCTION public.f() FROM "X y";': (set(), {"X y"}, set()),
    b"ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA s GRANT SELECT ON TABLES TO b;": ({"a"}, {"b"}, set()),
    b"SET SESSION AUTHORIZATION 'bob';": ({"bob"}, set(), set()),
    b'CREATE POLICY p ON public.t FOR SELECT TO bob, "C d" USING (true);': (set(), set(), {"bob", "C d"}),
    b"CREATE POLICY p ON public.t USING (true);": (set(), set(), set()),
    b"CREATE TABLE public.t (a text DEFAULT ' OWNER TO x;');": (set(), set(), set()),
    b"ALTER TABLE ONLY public.t ALTER COLUMN a SET DEFAULT 1;": (set(), set(), set()),
}


@pytest.mark.parametrize("statement", STATEMENTS)
def test_roles_are_read_out_of_statements(statement: bytes) -> None:
    contents = Contents()
    assert contents.take(statement) is False
    assert (contents.owners, contents.named, contents.in_policies) == STATEMENTS[statement]
