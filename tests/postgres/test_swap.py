"""The exchange of names: what is carried over, and who may be connected meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import pytest

from dbtasks.engines import Loaded
from dbtasks.engines.postgres.loading.beside import LoadedBeside
from dbtasks.engines.postgres.loading.load import loading, plan_load
from dbtasks.errors import Busy, CannotReach, Refused
from dbtasks.events import Event
from dbtasks.models import Format
from dbtasks.plans import LoadRequest, LoadStrategy
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.restoring import databases, engine_on, restore
from tests.postgres.rich import archive_of, count, fingerprint
from tests.postgres.test_orphans import until

ABOUT = """
    SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider,
           datconnlimit, shobj_description(oid, 'pg_database')
    FROM pg_database WHERE datname = current_database()
"""
ACL = "SELECT datacl::text FROM pg_database WHERE datname = current_database()"


@pytest.fixture
def shop(any_db: PgDatabase, tmp_path: Path) -> PgDatabase:
    any_db.run("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item SELECT generate_series(1, 10)")
    return any_db


def test_d17_everything_pg_dump_leaves_out_is_carried_over(any_pg: PgServer, tmp_path: Path) -> None:
    owner, guest = any_pg.create_role(), any_pg.create_role()
    with any_pg.fresh(
        f"OWNER {owner.user} LC_COLLATE 'C' LC_CTYPE 'C' ENCODING 'LATIN1' TEMPLATE template0"
    ) as database:
        name = f'"{database.name}"'
        database.run("CREATE TABLE t AS SELECT 'ü'::text AS a")
        database.run(f"COMMENT ON DATABASE {name} IS 'the shop''s'")
        database.run(f"ALTER DATABASE {name} CONNECTION LIMIT 17")
        database.run(
            f"REVOKE ALL ON DATABASE {name} FROM PUBLIC; GRANT CONNECT ON DATABASE {name} TO {guest.user} WITH GRANT OPTION"
        )
        database.run(f"ALTER DATABASE {name} SET timezone TO 'Asia/Tokyo'")
        database.run(f"ALTER DATABASE {name} SET search_path TO public, \"$user\", 'a b'")
        database.run(f"ALTER ROLE {guest.user} IN DATABASE {name} SET work_mem TO '3MB'")
        archive = archive_of(database, tmp_path, Format.CUSTOM)
        about, acl = database.run(ABOUT), database.run(ACL)
        settings = database.run(
            "SELECT setrole, setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase WHERE datname = current_database() ORDER BY 1"
        )
        with engine_on(database) as engine:
            _, swapped, _ = restore(engine, archive)
        assert swapped.warnings == ()
        assert database.run(ABOUT) == about
        assert sorted(str(database.run(ACL)[0][0]).strip("{}").split(",")) == sorted(
            str(acl[0][0]).strip("{}").split(",")
        )
        assert (
            database.run(
                "SELECT setrole, setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase WHERE datname = current_database() ORDER BY 1"
            )
            == settings
        )
        assert len(settings) == 2
        assert database.seen_by(guest).run("SHOW work_mem") == [("3MB",)]
        assert database.run("SELECT a FROM t") == [("ü",)]


PROVIDERS = {
    (16, "i"): "LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'",
    (17, "i"): "LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'",
    (18, "i"): "LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'",
    (17, "b"): "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'",
    (18, "b"): "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'",
}
WITHOUT_ICU = {16, 17, 18}
"""Servers of the wheels that were built without it: named, so that nothing passes silently, and a wheel that has it is noticed."""


@pytest.mark.parametrize(("version", "provider"), PROVIDERS)
def test_a_locale_of_icu_and_of_the_server_itself_is_carried_over(
    pg_servers: Callable[[int], PgServer], tmp_path: Path, version: int, provider: str
) -> None:
    server, options = pg_servers(version), PROVIDERS[version, provider]
    options = f"TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING 'UTF8' {options}"
    if provider == "i" and version in WITHOUT_ICU:
        with pytest.raises(psycopg2.errors.FeatureNotSupported), server.fresh(options):
            pass
        return
    with server.fresh(options) as database:
        asked = "SELECT datlocprovider, row_to_json(d)->>(CASE WHEN current_setting('server_version_num')::int < 170000 THEN 'daticulocale' ELSE 'datlocale' END) FROM pg_database d WHERE datname = current_database()"
        archive = archive_of(database, tmp_path, Format.CUSTOM)
        database.run("CREATE TABLE t (a int)")
        before = database.run(asked)
        with engine_on(database) as engine:
            restore(engine, archive)
        assert before == database.run(asked)
        assert before[0] == (provider, options.split("'")[-2])


def test_d18_what_lies_in_template1_does_not_come_along(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t (a int)")
    archive = archive_of(pg_db, tmp_path, Format.CUSTOM)
    server = pg_db.server
    server.run("template1", "CREATE TABLE public.polluted (a int)")
    try:
        with engine_on(pg_db) as engine:
            restore(engine, archive)
    finally:
        server.run("template1", "DROP TABLE public.polluted")
    assert list(count(pg_db)) == ["public.t"]


def test_d14_open_sessions_are_told_in_the_plan_and_ended(shop: PgDatabase, tmp_path: Path) -> None:
    archive = archive_of(shop, tmp_path, Format.CUSTOM)
    idle, busy = shop.connect(), shop.connect()
    with contextlib.closing(idle), contextlib.closing(busy), busy.cursor() as cursor:
        busy.autocommit = False
        cursor.execute("DELETE FROM item")
        with engine_on(shop) as engine:
            plan, swapped, _ = restore(engine, archive)
        assert len(plan.sessions) == 2
        assert "idle in transaction" in " ".join(plan.sessions)
        assert swapped.sessions_ended == 2
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("SELECT 1")
    assert count(shop) == {"public.item": 10}


@dataclass
class Writer:
    """An application that connects, writes, and connects again whatever happens to it."""

    database: PgDatabase
    stop: threading.Event
    connected: int = 0
    ended: int = 0
    errors: set[str] = field(default_factory=set)

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                with contextlib.closing(self.database.connect()) as connection, connection.cursor() as cursor:
                    self.connected += 1
                    while not self.stop.is_set():
                        cursor.execute("INSERT INTO public.visit VALUES (1)")
            except psycopg2.OperationalError as exc:
                self.ended += 1
                self.errors.add(str(exc).strip().splitlines()[0])


@contextlib.contextmanager
def eight_writers(database: PgDatabase) -> Iterator[list[Writer]]:
    """Eight such applications; the block begins when each is connected."""
    stop = threading.Event()
    writers = [Writer(database, stop) for _ in range(8)]
    threads = [threading.Thread(target=writer.run) for writer in writers]
    for thread in threads:
        thread.start()
    try:
        while any(writer.connected == 0 for writer in writers):
            time.sleep(0.01)
        yield writers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_d14_d16_eight_clients_that_reconnect_at_once_do_not_defeat_the_swap(
    any_db: PgDatabase, tmp_path: Path
) -> None:
    any_db.run("CREATE TABLE visit (a int); INSERT INTO visit SELECT generate_series(1, 1000)")
    archive = archive_of(any_db, tmp_path, Format.CUSTOM)
    any_db.run("CREATE TABLE newer (a int)")
    with eight_writers(any_db) as writers:
        with engine_on(any_db) as engine:
            _, swapped, counts = restore(engine, archive)
        for _ in range(400):
            if count(any_db)["public.visit"] > 1000:
                break
            time.sleep(0.05)
    assert counts == {"public.visit": 1000}
    assert swapped.sessions_ended >= 8
    assert all(writer.ended >= 1 for writer in writers)
    assert "public.newer" not in count(any_db)
    assert "public.newer" in count(PgDatabase(any_db.server, swapped.old or ""))
    assert count(any_db)["public.visit"] > 1000, "the application goes on in the restored database"
    assert any_db.run("SELECT datallowconn FROM pg_database WHERE datname = current_database()") == [(True,)]


@pytest.mark.long
def test_a_session_that_may_not_be_ended_is_named_and_nothing_changes(pg: PgServer, tmp_path: Path) -> None:
    owner = pg.create_role("LOGIN CREATEDB")
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        mine.run("CREATE TABLE t AS SELECT 1 a")
        archive = archive_of(mine, tmp_path, Format.CUSTOM)
        before = fingerprint(mine)
        with contextlib.closing(database.connect()), engine_on(mine, lock_timeout=1) as engine:
            plan = plan_load(engine, archive, LoadRequest())
            with (
                pytest.raises(Busy, match=r"process \d+ \(postgres\)") as busy,
                loading(engine, plan, archive, list[Event]().append) as loaded,
            ):
                loaded.commit()
        assert database.name in busy.value.state
        assert fingerprint(mine) == before
        assert databases(database) == [database.name]


def test_the_old_database_is_dropped_when_that_is_asked_for(shop: PgDatabase, tmp_path: Path) -> None:
    archive = archive_of(shop, tmp_path, Format.CUSTOM)
    with engine_on(shop) as engine:
        plan, swapped, _ = restore(engine, archive, LoadRequest(drop_old=True))
    assert swapped.old is None
    assert databases(shop) == [shop.name]
    assert any("dropped" in step for step in plan.steps)


def test_d13_a_restore_twice_gives_the_backup_and_not_its_double(shop: PgDatabase, tmp_path: Path) -> None:
    shop.run("CREATE TABLE without_key AS SELECT 1 a")
    archive = archive_of(shop, tmp_path, Format.CUSTOM)
    with engine_on(shop) as engine:
        _, first, _ = restore(engine, archive)
        _, second, _ = restore(engine, archive)
    assert count(shop) == {"public.item": 10, "public.without_key": 1}
    assert first.old != second.old
    assert databases(shop) == sorted([shop.name, first.old or "", second.old or ""])


def test_a_session_in_the_new_database_is_ended_and_not_counted_as_one_of_the_live_one(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    """Ours may be on the way out still when the names are exchanged."""
    pg_db.run("CREATE TABLE t AS SELECT 1 AS a")
    archive = archive_of(pg_db, tmp_path, Format.CUSTOM)
    with contextlib.ExitStack() as stack, engine_on(pg_db) as engine:

        def stay(loaded: Loaded) -> None:
            assert isinstance(loaded, LoadedBeside)
            stack.enter_context(contextlib.closing(PgDatabase(pg_db.server, loaded.new).connect()))

        stack.enter_context(contextlib.closing(pg_db.connect()))
        _, swapped, _ = restore(engine, archive, before_commit=stay)
    assert swapped.sessions_ended == 1


CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"


@pytest.mark.long
def test_an_owner_who_may_create_databases_needs_no_superuser(any_pg: PgServer, tmp_path: Path) -> None:
    owner = any_pg.create_role("LOGIN CREATEDB")
    with any_pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        mine.run("CREATE TABLE t AS SELECT 1 a; CREATE SCHEMA s; CREATE TABLE s.u (a int)")
        for format_ in (Format.CUSTOM, Format.SQL, Format.DIRECTORY):
            archive = archive_of(mine, tmp_path, format_)
            mine.run("DELETE FROM t")
            with contextlib.closing(mine.connect()), engine_on(mine) as engine:
                # what was closed a moment ago may still be on its way out
                until(lambda: database.server.run("postgres", CONNECTED, (database.name,)) == [(1,)])
                plan, swapped, _ = restore(engine, archive)
            assert plan.strategy is LoadStrategy.SWAP
            assert swapped.sessions_ended == 1
            assert count(mine) == {"public.t": 1, "s.u": 0}
            assert mine.run(ABOUT)[0][0] == owner.user


def test_the_maintenance_database_itself_can_be_restored(pg: PgServer, tmp_path: Path) -> None:
    """Databases are then renamed from template1; named in the settings it is refused."""
    with pg.fresh() as source:
        source.run("CREATE TABLE t (a int)")
        archive = archive_of(source, tmp_path, Format.CUSTOM)
    postgres = PgDatabase(pg, "postgres")
    with engine_on(postgres) as engine:
        plan = plan_load(engine, archive, LoadRequest())
        assert plan.strategy is LoadStrategy.SWAP
    with (
        engine_on(postgres, maintenance_db="postgres") as engine,
        pytest.raises(Refused, match="maintenance database itself"),
    ):
        plan_load(engine, archive, LoadRequest())
    with engine_on(PgDatabase(pg, "not_there"), maintenance_db="gone") as engine, pytest.raises(CannotReach):
        plan_load(engine, archive, LoadRequest())
