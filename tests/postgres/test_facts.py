"""What a live database says about itself, on every major version there is."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dbtasks.engines.postgres import PostgresEngine
from dbtasks.errors import LoginRefused, RightMissing, TargetUnreachable
from dbtasks.models import PostgresTarget, Revision
from dbtasks.plans import TargetState
from dbtasks.secrets import Secret
from dbtasks.settings import Settings, load_settings
from tests.fix_postgres import PgDatabase, PgServer

Engines = Callable[..., PostgresEngine]


@pytest.fixture
def engine_for(tmp_path: Path) -> Iterator[Engines]:
    with contextlib.ExitStack() as stack:

        def make(target: PostgresTarget, **changes: Any) -> PostgresEngine:
            settings: Settings = replace(load_settings(tmp_path, environ={}), lock_timeout=2.0, **changes)
            return stack.enter_context(PostgresEngine(target, settings, why="asked for"))

        yield make


def test_facts_of_a_database_with_everything_in_it(any_db: PgDatabase, engine_for: Engines) -> None:
    any_db.run(
        """CREATE SCHEMA "Sh.op"; CREATE TABLE "Sh.op"."Or""ders"(a int); CREATE TABLE plain(a serial);
        CREATE TABLE parted(a int) PARTITION BY LIST (a); CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
        CREATE VIEW v AS SELECT 1; CREATE TABLE alembic_version(version_num text);
        INSERT INTO alembic_version VALUES ('abc')"""
    )
    facts = engine_for(any_db.target).facts()
    assert facts.server_version.startswith(str(any_db.server.version))
    assert facts.size_bytes > 1_000_000
    assert facts.tables == (
        '"Sh.op"."Or""ders"',
        "public.alembic_version",
        "public.parted_1",
        "public.plain",
    )
    assert "plpgsql" in facts.extensions
    assert (facts.encoding, facts.collation, facts.ctype) == ("UTF8", "C.UTF-8", "C.UTF-8")
    assert facts.system_identifier.isdecimal()
    assert facts.revision == Revision("alembic", ("abc",))
    assert facts.sessions == 0


def test_other_sessions_are_counted_and_our_own_is_not(pg_db: PgDatabase, engine_for: Engines) -> None:
    with contextlib.closing(pg_db.connect()), contextlib.closing(pg_db.connect()):
        assert engine_for(pg_db.target).facts().sessions == 2


def test_b11_database_level_settings_are_statements_that_work(
    any_db: PgDatabase, engine_for: Engines
) -> None:
    name, role = any_db.name, any_db.server.create_role().user
    any_db.run(f"""ALTER DATABASE {name} SET search_path = "$user", "My Schema", public;
        ALTER DATABASE {name} SET app."select" = 'a, b=''c''';
        ALTER DATABASE {name} SET temp_tablespaces = '';
        ALTER ROLE {role} IN DATABASE {name} SET work_mem = '8MB'""")
    lines = engine_for(any_db.target).facts().settings
    stored = "SELECT setrole, setconfig FROM pg_db_role_setting ORDER BY 1"
    before = sorted(map(repr, any_db.run(stored)))
    any_db.run(f"ALTER DATABASE {name} RESET ALL; ALTER ROLE {role} IN DATABASE {name} RESET ALL")
    for line in lines:
        any_db.run(line)
    assert sorted(map(repr, any_db.run(stored))) == before
    assert len(lines) == 4


def test_b08_rows_of_partitions_and_children_are_counted_once_each(
    any_db: PgDatabase, engine_for: Engines
) -> None:
    any_db.run(
        """CREATE TABLE parted(a int) PARTITION BY LIST (a);
        CREATE TABLE p1 PARTITION OF parted FOR VALUES IN (1) PARTITION BY LIST (a);
        CREATE TABLE p11 PARTITION OF p1 FOR VALUES IN (1);
        INSERT INTO parted SELECT 1 FROM generate_series(1, 7);
        CREATE TABLE parent(a int); CREATE TABLE child() INHERITS (parent);
        INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1), (2);
        CREATE TABLE "new\nline %s"(a int); INSERT INTO "new\nline %s" VALUES (1)""".replace("%s", "%")
    )
    assert engine_for(any_db.target).row_counts() == {
        "public.child": 2,
        "public.new\nline %": 1,
        "public.p11": 7,
        "public.parent": 1,
    }


def test_a19_rows_hidden_by_row_level_security_are_an_error_and_not_a_smaller_number(
    pg: PgServer, pg_db: PgDatabase, engine_for: Engines
) -> None:
    role = pg.create_role()
    pg_db.run(
        f"""CREATE TABLE secret(a int); INSERT INTO secret SELECT generate_series(1, 100);
        ALTER TABLE secret ENABLE ROW LEVEL SECURITY; GRANT SELECT ON secret TO {role.user};
        CREATE POLICY half ON secret USING (a <= 50)"""
    )
    with pytest.raises(RightMissing, match=r"public\.secret"):
        engine_for(pg_db.seen_by(role).target).row_counts()


def test_tables_of_extensions_are_left_to_the_extension(pg17: PgServer, engine_for: Engines) -> None:
    with pg17.fresh() as database:
        database.run("CREATE EXTENSION hstore; CREATE TABLE part_of_it(a int)")
        database.run("ALTER EXTENSION hstore ADD TABLE part_of_it")
        engine = engine_for(database.target)
        assert engine.facts().tables == ()
        assert engine.facts().extensions["hstore"]
        assert engine.state() is TargetState.EMPTY


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE t(a int)",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TYPE mood AS ENUM ('good')",
        "CREATE DOMAIN d AS int",
        "CREATE SEQUENCE s",
        "CREATE SCHEMA other",
        "SELECT lo_create(0)",
    ],
)
def test_a_database_that_holds_anything_is_present_and_otherwise_empty(
    pg_db: PgDatabase, engine_for: Engines, statement: str
) -> None:
    assert engine_for(pg_db.target).state() is TargetState.EMPTY
    pg_db.run(statement)
    assert engine_for(pg_db.target).state() is TargetState.PRESENT


def test_a_database_that_is_not_there_is_missing(any_pg: PgServer, engine_for: Engines) -> None:
    engine = engine_for(any_pg.target("no 'such' \"one\""))
    assert engine.state() is TargetState.MISSING
    assert engine.server_version() // 10_000 == any_pg.version


def test_a_database_whose_files_are_gone_is_damaged(any_db: PgDatabase, engine_for: Engines) -> None:
    ((folder,),) = any_db.run(
        "SELECT current_setting('data_directory') || '/base/' || oid FROM pg_database"
        " WHERE datname = current_database()"
    )
    any_db.run("CHECKPOINT")
    shutil.move(folder, f"{folder}.away")
    try:
        assert engine_for(any_db.target).state() is TargetState.DAMAGED
    finally:
        shutil.move(f"{folder}.away", folder)


def test_a_database_behind_a_wrong_password_is_neither_missing_nor_damaged(
    pg_db: PgDatabase, engine_for: Engines
) -> None:
    with pytest.raises(LoginRefused):
        engine_for(replace(pg_db.target, password=Secret("wrong"))).state()
    with pytest.raises(TargetUnreachable):
        engine_for(replace(pg_db.target, port=1)).state()


def test_the_maintenance_database_is_template1_where_postgres_cannot_be_reached(
    pg: PgServer, pg_db: PgDatabase, engine_for: Engines
) -> None:
    chosen = engine_for(pg_db.target, maintenance_db=pg_db.name)
    with chosen.maintenance_session() as session:
        assert session.rows("SELECT current_database()") == [(pg_db.name,)]
    role = pg.create_role()
    pg.run("postgres", "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
    try:
        with engine_for(pg_db.seen_by(role).target).maintenance_session() as session:
            assert session.rows("SELECT current_database()") == [("template1",)]
    finally:
        pg.run("postgres", "GRANT CONNECT ON DATABASE postgres TO PUBLIC")


def test_a_role_with_no_rights_still_gets_the_facts(
    pg: PgServer, pg_db: PgDatabase, engine_for: Engines
) -> None:
    pg_db.run("CREATE TABLE alembic_version(version_num text)")
    facts = engine_for(pg_db.seen_by(pg.create_role()).target).facts()
    assert facts.tables == ("public.alembic_version",)
    assert facts.revision is None
