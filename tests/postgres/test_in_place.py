"""Restoring inside one transaction of the live database, for roles that may not create one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from dbtasks.engines.postgres.loading.load import loading, plan_load
from dbtasks.errors import LoadFailed, Refused, RightMissing
from dbtasks.events import Event, ignore
from dbtasks.models import Format
from dbtasks.plans import LoadRequest, LoadStrategy
from tests.fix_postgres import PgDatabase, PgServer, server_of_its_own
from tests.postgres.restoring import databases, engine_on, restore
from tests.postgres.rich import ROWS, archive_of, count, fill, fingerprint, tool
from tests.postgres.test_restore import FORMATS, TRAILER, plain, scripted

IN_PLACE = LoadRequest(in_place=True)


@pytest.mark.parametrize("format_", FORMATS)
def test_d10_d11_d12_a_role_without_createdb_gets_everything_back_in_place(
    any_pg: PgServer, format_: Format, tmp_path: Path
) -> None:
    owner = any_pg.create_role()
    with any_pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        fill(mine)
        before = fingerprint(mine)
        archive = archive_of(mine, tmp_path, format_)
        mine.run(
            "CREATE VIEW public.later AS SELECT * FROM public.loudest; CREATE TABLE public.newer (a int);"
            " CREATE SCHEMA fresh; CREATE AGGREGATE fresh.every(*) (SFUNC = int4inc, STYPE = int4, INITCOND = 0);"
            " CREATE TABLE fresh.child () INHERITS (public.parent); CREATE SEQUENCE fresh.s;"
            " DELETE FROM public.orders; ALTER TYPE public.mood ADD VALUE 'new';"
            " SELECT lo_create(0)"
        )
        with engine_on(mine) as engine:
            plan, swapped, counts = restore(engine, archive)
        assert plan.strategy is LoadStrategy.IN_PLACE
        assert plan.why_in_place == f"the role {owner.user} may not create databases"
        assert plan.why == engine.why
        assert {
            "DROP VIEW IF EXISTS public.later CASCADE",
            "DROP TABLE IF EXISTS public.newer CASCADE",
        } <= set(plan.drops)
        assert "DROP SCHEMA IF EXISTS fresh CASCADE" in plan.drops
        assert plain(counts) == plain(ROWS)
        assert fingerprint(mine) == before
        assert mine.run("SELECT count(*) FROM pg_largeobject_metadata") == [(3,)]
        assert swapped.old is None
        assert databases(database) == [database.name]
        assert mine.run("INSERT INTO public.customer (name) VALUES ('next') RETURNING id") == [(51,)]


def test_in_place_can_be_asked_for(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t AS SELECT 1 a")
    archive = archive_of(pg_db, tmp_path, Format.CUSTOM)
    pg_db.run("DELETE FROM t")
    oid = "SELECT oid FROM pg_database WHERE datname = current_database()"
    before = pg_db.run(oid)
    with engine_on(pg_db) as engine:
        plan, _, _ = restore(engine, archive, IN_PLACE)
    assert plan.why_in_place == "asked for"
    assert pg_db.run(oid) == before
    assert count(pg_db) == {"public.t": 1}
    assert pg_db.run("SELECT count(*) FROM pg_stats WHERE tablename = 't'") == [(1,)]


def test_a_constraint_that_fails_at_the_commit_changes_nothing(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int REFERENCES a DEFERRABLE INITIALLY DEFERRED)"
    )
    before = fingerprint(pg_db)
    script = tool(pg_db.server, "pg_dump", "-Fp", pg_db.name)
    archive = scripted(
        pg_db, tmp_path, script.replace(TRAILER, b"INSERT INTO public.b VALUES (1);\n\n" + TRAILER)
    )
    with engine_on(pg_db) as engine, pytest.raises(LoadFailed, match="did not commit") as failed:
        restore(engine, archive, IN_PLACE)
    assert "violates foreign key" in failed.value.details
    assert fingerprint(pg_db) == before


def test_a_short_wait_for_a_lock_is_no_failure(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t AS SELECT 1 a")
    archive = archive_of(pg_db, tmp_path, Format.CUSTOM)
    reader = subprocess.Popen(
        [
            pg_db.server.bin / "psql",
            "-X",
            "-q",
            "-h",
            pg_db.server.host,
            "-p",
            str(pg_db.server.port),
            "-U",
            "postgres",
            "-d",
            pg_db.name,
            "-c",
            "BEGIN; SELECT * FROM t; SELECT pg_sleep(2); COMMIT",
        ],
        env={"PATH": os.environ["PATH"], "PGPASSWORD": pg_db.server.password},
        stdout=subprocess.DEVNULL,
    )
    while not pg_db.run("SELECT 1 FROM pg_locks WHERE relation = 't'::regclass"):
        time.sleep(0.02)
    with engine_on(pg_db, lock_timeout=30) as engine:
        restore(engine, archive, IN_PLACE)
    assert reader.wait() == 0
    assert count(pg_db) == {"public.t": 1}


@pytest.mark.fault
def test_d05_when_this_process_is_killed_nothing_is_committed(pg_db: PgDatabase, tmp_path: Path) -> None:
    fill(pg_db)
    before = fingerprint(pg_db)
    archive = archive_of(pg_db, tmp_path, Format.SQL)
    program = f"""
import os, signal, pickle
from pathlib import Path
from dbtasks.models import (Archive, Compression, Format, PostgresTarget)
from dbtasks.plans import LoadRequest
from dbtasks.secrets import Secret
from dbtasks.engines.postgres.loading.load import loading, plan_load
from tests.postgres.restoring import engine_of
from tests.samples import a_manifest
archive = Archive(Path({str(archive.path)!r}), Format.SQL, Compression.GZIP,
                  a_manifest(format=Format.SQL, sha256={archive.manifest and archive.manifest.sha256!r}))
target = PostgresTarget({pg_db.name!r}, {pg_db.server.host!r}, {pg_db.server.port}, "postgres", Secret({pg_db.server.password!r}))
with engine_of(target, tools=Path({str(pg_db.server.bin)!r})) as engine:
    plan = plan_load(engine, archive, LoadRequest(in_place=True))
    with loading(engine, plan, archive, lambda event: None) as loaded:
        assert sum(loaded.counts().values()) > 500
        os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    for _ in range(200):
        if pg_db.run(others) == [(0,)]:
            break
        time.sleep(0.05)
    assert fingerprint(pg_db) == before


def test_leaving_without_a_commit_changes_nothing(pg_db: PgDatabase, tmp_path: Path) -> None:
    fill(pg_db)
    archive = archive_of(pg_db, tmp_path, Format.CUSTOM)
    pg_db.run("CREATE TABLE public.newer AS SELECT 1 a")
    before = fingerprint(pg_db)
    with engine_on(pg_db) as engine:
        plan = plan_load(engine, archive, IN_PLACE)
        with loading(engine, plan, archive, list[Event]().append) as loaded:
            assert plain(loaded.counts()) == plain(ROWS)
        assert fingerprint(pg_db) == before


def test_too_many_objects_for_the_servers_lock_table_are_refused_naming_the_setting(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    archive = archive_of(pg_db, tmp_path, Format.CUSTOM)
    for _ in range(8):
        pg_db.run("SELECT count(lo_create(0)) FROM generate_series(1, 2000)")
    with engine_on(pg_db) as engine:
        with pytest.raises(Refused, match="locks") as refused:
            plan_load(engine, archive, IN_PLACE)
        assert "max_locks_per_transaction" in refused.value.hint
        assert plan_load(engine, archive, LoadRequest()).strategy is LoadStrategy.SWAP


@pytest.mark.long
@pytest.mark.parametrize("format_", FORMATS)
def test_what_the_load_itself_creates_counts_among_the_locks(format_: Format, tmp_path: Path) -> None:
    """Into a database that holds next to nothing, on a server with room for some hundred locks."""
    small = server_of_its_own(18, max_locks_per_transaction="10", max_connections="20")
    with small as server, server.fresh() as source, server.fresh() as database:
        for number in range(90):
            source.run(f"CREATE TABLE t{number} (a int PRIMARY KEY)")
        database.run("CREATE TABLE t (a int)")
        before = fingerprint(database)
        archive = archive_of(source, tmp_path, format_)
        with engine_on(database) as engine, pytest.raises(Refused, match="locks") as refused:
            plan_load(engine, archive, IN_PLACE)
        assert "max_locks_per_transaction" in refused.value.hint
        assert "without --in-place" in refused.value.hint
        assert fingerprint(database) == before
        for number in range(30, 90):
            source.run(f"DROP TABLE t{number}")
        with engine_on(database) as engine:
            restore(engine, archive_of(source, tmp_path, format_), IN_PLACE)
        assert len(count(database)) == 30, "what is let through fits"


def test_what_belongs_to_others_is_named_before_anything_is_touched(pg: PgServer, tmp_path: Path) -> None:
    owner = pg.create_role()
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        mine.run("CREATE TABLE t (a int)")
        archive = archive_of(mine, tmp_path, Format.CUSTOM)
        database.run("CREATE TABLE public.theirs (a int)")
        with engine_on(mine) as engine, pytest.raises(RightMissing, match=r"table public\.theirs"):
            plan_load(engine, archive, LoadRequest())


@pytest.mark.parametrize("format_", FORMATS)
def test_extensions_and_their_schemas_stay_where_they_are(
    pg17: PgServer, format_: Format, tmp_path: Path
) -> None:
    owner = pg17.create_role()
    with pg17.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        database.run(f'CREATE SCHEMA "Ext" AUTHORIZATION {owner.user}; CREATE EXTENSION hstore SCHEMA "Ext"')
        database.run("CREATE EXTENSION dblink")
        mine.run("CREATE TABLE t (a \"Ext\".hstore); INSERT INTO t VALUES ('a=>1')")
        before = fingerprint(mine)
        archive = archive_of(
            mine, tmp_path, format_, extensions={"plpgsql": "1.0", "hstore": "1.8", "dblink": "1.2"}
        )
        mine.run("DELETE FROM t")
        with engine_on(mine) as engine:
            plan, _, _ = restore(engine, archive)
        assert plan.strategy is LoadStrategy.IN_PLACE
        assert not any("Ext" in statement for statement in plan.drops)
        assert fingerprint(mine) == before


MADE_MEANWHILE = {
    "a view": "CREATE VIEW later AS SELECT * FROM t",
    "a partition": "CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2); INSERT INTO t VALUES (2)",
    "a foreign key": "CREATE TABLE child (a int REFERENCES t); INSERT INTO child VALUES (1)",
    "a table in a schema": "CREATE TABLE apart.more AS SELECT 1 a",
    "large objects": "SELECT lo_create(0)",
}
LISTED = """
    CREATE TABLE t (a int PRIMARY KEY) PARTITION BY LIST (a); CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1);
    INSERT INTO t VALUES (1); CREATE SCHEMA apart;
"""


@pytest.mark.parametrize("what", MADE_MEANWHILE)
def test_d12_what_was_made_after_the_plan_is_not_dropped_with_what_it_showed(
    pg_db: PgDatabase, what: str, tmp_path: Path
) -> None:
    pg_db.run(LISTED)
    archive = archive_of(pg_db, tmp_path, Format.CUSTOM)
    with engine_on(pg_db) as engine:
        plan = plan_load(engine, archive, IN_PLACE)
        pg_db.run(MADE_MEANWHILE[what])
        before = fingerprint(pg_db)
        with pytest.raises(Refused) as refused, loading(engine, plan, archive, ignore):
            pass
        assert refused.value.exit_code == 6
        assert refused.value.state == f"{pg_db.name} is as it was"
        assert "--dry-run" in refused.value.hint
        assert fingerprint(pg_db) == before
        restore(engine, archive, IN_PLACE)
    assert pg_db.run("SELECT count(*) FROM pg_class WHERE relname IN ('later', 't2', 'child', 'more')") == [
        (0,)
    ]


def test_d12_what_is_made_while_the_load_waits_for_its_locks_is_not_dropped_either(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(LISTED)
    archive = archive_of(pg_db, tmp_path, Format.CUSTOM)
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass"
    with engine_on(pg_db) as engine, closing(pg_db.connect()) as other:
        plan = plan_load(engine, archive, IN_PLACE)
        with other.cursor() as cursor:
            cursor.execute("BEGIN; CREATE VIEW later AS SELECT * FROM t")

            def commit() -> None:
                while pg_db.run(waits) != [(1,)]:
                    time.sleep(0.05)
                cursor.execute("COMMIT")

            committing = threading.Thread(target=commit)
            committing.start()
            with pytest.raises(Refused), loading(engine, plan, archive, ignore):
                pass
            committing.join()
    assert pg_db.run("SELECT a FROM later") == [(1,)]


def test_a_partition_of_somebody_elses_is_shown_and_goes_with_its_table(pg: PgServer, tmp_path: Path) -> None:
    owner, other = pg.create_role(), pg.create_role()
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        mine.run(LISTED)
        before = fingerprint(mine)
        archive = archive_of(mine, tmp_path, Format.CUSTOM)
        database.run(f"ALTER TABLE t1 OWNER TO {other.user}")
        with engine_on(mine) as engine:
            plan, _, _ = restore(engine, archive, IN_PLACE)
        assert "DROP TABLE IF EXISTS public.t1 CASCADE" in plan.drops
        assert fingerprint(mine) == before


def test_owners_are_left_out_when_asked(pg: PgServer, tmp_path: Path) -> None:
    other = pg.create_role()
    with pg.fresh() as database:
        database.run(
            f"CREATE TABLE t (a int); ALTER TABLE t OWNER TO {other.user}; GRANT ALL ON t TO {other.user}"
        )
        for format_ in FORMATS:
            archive = archive_of(database, tmp_path, format_)
            with engine_on(database) as engine:
                restore(engine, archive, LoadRequest(in_place=True, no_owner=True))
                assert database.run("SELECT tableowner FROM pg_tables WHERE tablename = 't'") == [
                    ("postgres",)
                ]
                database.run(f"ALTER TABLE t OWNER TO {other.user}")


def test_timeouts_of_the_role_do_not_end_a_load(pg: PgServer, tmp_path: Path) -> None:
    owner = pg.create_role()
    pg.run("postgres", f"ALTER ROLE {owner.user} SET statement_timeout = '300ms'")
    pg.run("postgres", f"ALTER ROLE {owner.user} SET idle_in_transaction_session_timeout = '300ms'")
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        mine.run("CREATE TABLE t (a int)")
        archive = archive_of(mine, tmp_path, Format.CUSTOM)
        with engine_on(mine) as engine:
            restore(engine, archive, before_commit=lambda loaded: time.sleep(1))
        assert count(mine) == {"public.t": 0}


def test_names_in_a_database_of_another_encoding(pg: PgServer, tmp_path: Path) -> None:
    with pg.fresh("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0") as database:
        database.run('CREATE TABLE "größe" AS SELECT \'ü\'::text AS "ä"')
        for format_ in FORMATS:
            archive = archive_of(database, tmp_path, format_)
            database.run('DELETE FROM "größe"')
            with engine_on(database) as engine:
                plan, _, counts = restore(engine, archive, IN_PLACE)
            assert plan.drops == ('DROP TABLE IF EXISTS public."größe" CASCADE',)
            assert counts == {"public.größe": 1}
            assert database.run('SELECT "ä" FROM "größe"') == [("ü",)]
