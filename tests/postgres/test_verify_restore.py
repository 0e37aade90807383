"""A backup proven by a restore on the server of its database: beside everything, compared, stamped, and dropped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.engines.postgres.access import HostAccess
from dbtasks.engines.postgres.exchange.claim import claim_key
from dbtasks.engines.postgres.loading.beside import MARK
from dbtasks.engines.postgres.names import new_name, scratch_name
from dbtasks.errors import Busy, CannotReach, Refused, RightMissing, VersionMismatch
from dbtasks.events import Event, Warned
from dbtasks.manifest import SUFFIX, dump_manifest
from dbtasks.models import Backup, Format
from dbtasks.psql import connect_psql
from dbtasks.sessions import PREPARE
from tests.conftest import REPOSITORY, Project
from tests.fix_postgres import PgDatabase, PgServer
from tests.moments import at_phase
from tests.postgres.projects import configured, made_with
from tests.postgres.restoring import databases, engine_on
from tests.postgres.rich import ROWS, archive_of, fill

FORMATS = [Format.CUSTOM, Format.DIRECTORY, Format.SQL]


def proven(
    config: dbtasks.Settings, *backups: Backup, where: str = "server", **options: Any
) -> dbtasks.Verified:
    return dbtasks.verify(config, backups, restore=True, where=where, **options)[0]


def forged(backup: Backup, **changes: Any) -> Backup:
    manifest = replace(backup.manifest, **changes)
    backup.path.with_name(backup.path.name + SUFFIX).write_bytes(dump_manifest(manifest))
    return replace(backup, manifest=manifest)


def stored(config: dbtasks.Settings) -> Backup:
    return dbtasks.list_backups(config).backups[0]


@pytest.fixture
def shop(pg_db: PgDatabase, tmp_path: Path) -> tuple[dbtasks.Settings, PgDatabase]:
    pg_db.run("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item SELECT generate_series(1, 10)")
    return configured(tmp_path, pg_db), pg_db


Shop = tuple[dbtasks.Settings, PgDatabase]


# -- what a proof shows -----------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
def test_a_rich_database_is_proven_on_its_own_server_and_nothing_is_left(
    any_db: PgDatabase, format_: Format, tmp_path: Path
) -> None:
    fill(any_db)
    config = configured(tmp_path, any_db)
    made = made_with(config, format=format_)
    seen: list[list[str]] = []
    done = proven(config, made, on_event=at_phase("check", lambda: seen.append(databases(any_db))))
    assert done.ok, done.how
    assert done.restored is not None
    assert (done.restored.tables, done.restored.rows) == (len(ROWS), sum(ROWS.values()))
    assert f"a scratch database of localhost:{any_db.server.port} (PostgreSQL " in done.restored.how
    assert done.restored.how.endswith(f"{len(ROWS)} tables, {sum(ROWS.values())} rows as in the manifest")
    assert done.restored.warnings == ()
    (during,) = seen
    assert len(during) == 2
    assert during[1].startswith(f"{any_db.name}__verify__new_")
    assert databases(any_db) == [any_db.name]
    assert stored(config).manifest.restored_how == done.restored.how
    assert [p.name for p in config.backup_dir.rglob(".*draft")] == []


def test_the_live_database_is_not_touched_whoever_works_in_it(shop: Shop) -> None:
    config, database = shop
    made = made_with(config)
    with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE item IN ACCESS EXCLUSIVE MODE; DELETE FROM item")
        assert proven(config, made).ok
        cursor.execute("COMMIT")
    database.server.drop_database(database.name)
    assert proven(config, made).ok, "nor need it be there"
    assert databases(database) == []


def test_what_is_asked_goes_through_a_psql_held_open_as_in_a_container_too(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, database = shop
    made = made_with(config)

    def by_psql(self: Any, name: str) -> Any:
        prepare = (PREPARE, {"lock": "30000ms"})
        return connect_psql(self.runner, name, user=self._target.user, env={}, prepare=prepare)

    monkeypatch.setattr(HostAccess, "session", by_psql)
    assert proven(config, made).ok
    assert databases(database) == [database.name]


def test_b10_a_partial_backup_is_proven_by_what_it_holds(shop: Shop) -> None:
    config, database = shop
    database.run(
        "CREATE TABLE other (id int); INSERT INTO other VALUES (1), (2); CREATE TABLE third (id int)"
    )
    for request, rows in (
        ({"tables": ("item",)}, 10),
        ({"exclude_data": ("other",)}, 10),
        ({"exclude_tables": ("other",)}, 10),
        ({"schema_only": True}, 0),
    ):
        made = made_with(config, **request)
        done = proven(config, made)
        assert done.ok, done.how
        assert done.restored is not None
        assert done.restored.rows == rows
    bare = made_with(config, exclude_data=("other",))
    tables = tuple(replace(t, data=False, rows=None) for t in bare.manifest.tables)
    done = proven(config, forged(bare, tables=tables))
    assert (done.ok, done.exit_code) == (False, 5)
    assert "public.item: 10 instead of 0" in done.how
    rows_only = made_with(config, data_only=True)
    with pytest.raises(Refused, match="rows only"):
        proven(config, rows_only)
    assert not stored(config).manifest.damage


def test_a_backup_whose_rows_were_not_counted_says_so(shop: Shop) -> None:
    config, _ = shop
    made = forged(made_with(config), not_counted="a table was locked")
    done = proven(config, made)
    assert done.restored is not None
    assert done.restored.how.endswith("1 table, 10 rows, not compared: a table was locked")


def test_a_dry_run_names_the_server_and_makes_no_database(shop: Shop, project: Project) -> None:
    _, database = shop
    project.mount()
    environ = {
        "DATABASE_URL": database.url,
        "DBTASKS_PG_BIN": str(database.server.bin),
        "DBTASKS_VIA": "host",
    }
    assert project.invoke("db.backup", **environ).returncode == 0
    ran = project.invoke("db.verify", "--restore", "--dry-run", **environ)
    assert ran.returncode == 0, ran.stderr
    assert f"  and restore it into a scratch database of localhost:{database.server.port} (" in ran.stdout
    done = project.invoke("db.verify", "--restore", "--in=server", **environ)
    assert done.returncode == 0, done.stderr
    assert "1 table, 10 rows as in the manifest, in " in done.stdout
    assert databases(database) == [database.name]


# -- what a proof finds --------------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
def test_c06_e19_rows_that_differ_from_the_manifest_are_named_and_mark_the_backup(
    shop: Shop, format_: Format
) -> None:
    config, database = shop
    made = made_with(config, format=format_)
    tables = tuple(replace(t, rows=11) for t in made.manifest.tables)
    done = proven(config, forged(made, tables=tables))
    assert (done.ok, done.exit_code) == (False, 5)
    assert "public.item: 10 instead of 11" in done.how
    assert stored(config).manifest.damage == done.how
    assert databases(database) == [database.name]


ONLY_LIVE = """
    CREATE FUNCTION public.live() RETURNS boolean LANGUAGE sql AS
        $$SELECT pg_catalog.current_database() NOT LIKE '%\\_\\_new\\_%'$$;
    CREATE TABLE picky (a int CHECK (public.live()));
    INSERT INTO picky VALUES (1);
"""


@pytest.mark.parametrize("format_", FORMATS)
def test_e04_a_backup_that_cannot_be_loaded_fails_its_proof_and_is_not_called_damaged(
    shop: Shop, format_: Format
) -> None:
    config, database = shop
    database.run(ONLY_LIVE)
    made = made_with(config, format=format_)
    done = proven(config, made)
    assert (done.ok, done.exit_code) == (False, 5)
    assert "picky" in done.how
    assert "not marked" in done.how
    assert not stored(config).manifest.damage
    assert stored(config).manifest.restored_at is None
    assert databases(database) == [database.name]


def test_e02_e03_what_the_server_lacks_is_no_fault_of_the_archive(shop: Shop) -> None:
    config, database = shop
    made = made_with(config)
    with pytest.raises(VersionMismatch, match="nosuch"):
        proven(config, forged(made, extensions={"nosuch": "1.0"}))
    with pytest.raises(VersionMismatch, match="made from PostgreSQL 99"):
        proven(config, forged(made, server_version="99.1"))
    assert not stored(config).manifest.damage
    several = dbtasks.verify(
        config, [forged(made, server_version="99.1"), made], restore=True, where="server"
    )
    assert [(r.ok, r.exit_code) for r in several] == [(False, 3), (True, 0)]
    assert "not proven: " in several[0].how
    assert databases(database) == [database.name]


def test_a_sequence_that_did_not_come_is_found(shop: Shop) -> None:
    config, _ = shop
    done = proven(config, forged(made_with(config), sequences=("public.ticket=5",)))
    assert (done.ok, done.exit_code) == (False, 5)
    assert "the sequence public.ticket did not come back" in done.how


# -- rights ---------------------------------------------------------------------------------


def test_d19_without_the_right_to_create_databases_the_server_is_no_place_and_nothing_is_marked(
    pg: PgServer, tmp_path: Path
) -> None:
    owner = pg.create_role("LOGIN")
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        mine.run("CREATE TABLE item (id int)")
        config = configured(tmp_path, mine)
        made = made_with(config)
        with pytest.raises(RightMissing, match="may not create databases") as caught:
            proven(config, made)
        assert "CREATEDB" in caught.value.hint
        assert caught.value.state == "nothing was touched"
        assert not stored(config).manifest.damage


def test_a_server_that_takes_no_writes_is_no_place_and_nothing_is_marked(
    pg: PgServer, tmp_path: Path
) -> None:
    """What a standby says, said to one role."""
    reader = pg.create_role("LOGIN CREATEDB")
    with pg.fresh(f"OWNER {reader.user}") as database:
        mine = database.seen_by(reader)
        mine.run("CREATE TABLE item (id int)")
        config = configured(tmp_path, mine)
        made = made_with(config)
        pg.run("postgres", f"ALTER ROLE {reader.user} SET default_transaction_read_only = on")
        with pytest.raises(CannotReach, match="takes no writes"):
            proven(config, made)
        assert not stored(config).manifest.damage


def test_e01_owners_that_the_role_may_not_give_are_left_out_and_told(pg: PgServer, tmp_path: Path) -> None:
    ordinary = pg.create_role("LOGIN CREATEDB")
    with pg.fresh() as database:
        database.run("CREATE TABLE item (id int); INSERT INTO item VALUES (1)")
        made = made_with(configured(tmp_path, database))
        config = configured(tmp_path, database.seen_by(ordinary))
        events: list[Event] = []
        done = proven(config, made, on_event=events.append)
        assert done.ok, done.how
        said = [event.text for event in events if isinstance(event, Warned)]
        assert any("owners and privileges are left out" in text for text in said)


def test_what_only_a_superuser_may_create_is_a_right_that_is_missing(pg: PgServer, tmp_path: Path) -> None:
    ordinary = pg.create_role("LOGIN CREATEDB")
    with pg.fresh() as database:
        database.run(
            "CREATE FUNCTION public.hook() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN END$$;"
            "CREATE EVENT TRIGGER hooked ON ddl_command_end EXECUTE FUNCTION public.hook()"
        )
        made = made_with(configured(tmp_path, database))
        config = configured(tmp_path, database.seen_by(ordinary))
        with pytest.raises(RightMissing, match="could not be loaded"):
            proven(config, made)
        assert not stored(config).manifest.damage
        assert databases(database) == [database.name]


def test_somebodys_file_is_not_loaded_by_a_role_that_could_do_harm(
    pg: PgServer, shop: Shop, tmp_path: Path
) -> None:
    """Promise 7 holds for a proof as for a restore."""
    _, database = shop
    foreign = replace(archive_of(database, tmp_path, Format.CUSTOM), manifest=None)
    with (
        engine_on(database) as engine,
        pytest.raises(Refused, match="could run programs"),
        engine.scratch(foreign),
    ):
        raise AssertionError("it was loaded")
    ordinary = database.seen_by(pg.create_role("LOGIN CREATEDB"))
    with engine_on(ordinary) as engine, engine.scratch(foreign) as loaded:
        assert loaded.counts() == {"public.item": 10}
    assert databases(database) == [database.name]


# -- where to -------------------------------------------------------------------------------------


def clients_of(server: PgServer, root: Path) -> Path:
    """A folder with the client tools alone, as most machines have it."""
    folder = root / "clients"
    folder.mkdir()
    for name in ("pg_dump", "pg_restore", "psql"):
        (folder / name).symlink_to(server.bin / name)
    return folder


def test_g19_a_backup_of_another_server_is_not_loaded_into_this_one_by_itself(shop: Shop) -> None:
    config, database = shop
    made = made_with(config)
    strange = forged(made, database=replace(made.manifest.database, server="elsewhere:5432"))
    with pytest.raises(CannotReach, match="on another server than the configured"):
        # no server's binaries there, so that it ends with that refusal
        proven(replace(config, pg_bin=clients_of(database.server, config.root)), strange, where="auto")
    assert proven(config, strange, where="server").ok
    assert databases(database) == [database.name]


def test_a_server_that_does_not_answer_is_asked_once_for_all_backups(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = shop
    made = [made_with(config) for _ in range(3)]
    target = replace(config.require_target(), port=1)
    away = replace(config, target=target)
    strays = [forged(backup, database=target.identity) for backup in made]
    asked: list[str] = []
    session = HostAccess.session

    def counted(self: Any, name: str) -> Any:
        asked.append(name)
        return session(self, name)

    monkeypatch.setattr(HostAccess, "session", counted)
    done = dbtasks.verify(away, strays, restore=True, where="server")
    assert [(r.ok, r.exit_code) for r in done] == [(False, 3)] * 3
    assert all("cannot be reached" in r.how for r in done)
    assert len(asked) == 1


# -- one at a time, and what is left behind ----------------------------------------------------------


@contextlib.contextmanager
def locked(database: PgDatabase, name: str) -> Iterator[None]:
    with contextlib.closing(database.server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (claim_key(name),))
        yield


def test_h05_h08_a_proof_waits_for_no_restore_and_a_second_proof_of_the_database_is_busy(shop: Shop) -> None:
    config, database = shop
    made = made_with(config)
    with locked(database, database.name):
        assert proven(config, made).ok
    with locked(database, scratch_name(database.name)), pytest.raises(Busy):
        proven(config, made)
    assert not stored(config).manifest.damage


def test_a10_an_interrupted_proof_drops_what_it_loaded(shop: Shop) -> None:
    config, database = shop
    made = made_with(config)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        proven(config, made, on_event=at_phase("check", stop))
    assert databases(database) == [database.name]
    assert dbtasks.list_runs(config)[0].exit_code == 130


SLOW = """
    CREATE FUNCTION public.wait() RETURNS boolean LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_catalog.pg_sleep(CASE WHEN pg_catalog.current_database() LIKE '%\\_\\_new\\_%' THEN 60 ELSE 0 END);
        RETURN true; END $$;
    CREATE TABLE slow (a int CHECK (public.wait()));
    INSERT INTO slow VALUES (1);
"""


Slow = Callable[[], list[tuple[int]]]


@pytest.fixture
def slow(shop: Shop, project: Project) -> tuple[PgDatabase, dict[str, str], Slow]:
    """A project whose backup takes a minute to load into a scratch database, and who is at it."""
    _, database = shop
    database.run(SLOW)
    project.mount()
    environ = {
        "DATABASE_URL": database.url,
        "DBTASKS_PG_BIN": str(database.server.bin),
        "DBTASKS_VIA": "host",
    }
    assert project.invoke("db.backup", **environ).returncode == 0
    asleep = "SELECT pid FROM pg_stat_activity WHERE left(datname, %s) = %s AND wait_event = 'PgSleep'"
    new = f"{database.name}__verify__new_"
    return database, environ, lambda: database.server.run("postgres", asleep, (len(new), new))


def ended(
    project: Project, environ: dict[str, str], loading: Slow, act: Callable[[Any], object]
) -> tuple[int, str]:
    """Start a proof, do something once it loads, and return how it ended and what it said."""
    proof = project.start("db.verify", "--restore", "--in=server", **environ)
    try:
        for _ in range(600):
            if loading():
                break
            time.sleep(0.05)
        assert loading()
        act(proof)
        _, said = proof.communicate(timeout=60)
    finally:
        proof.kill()
        proof.communicate()
    return proof.returncode, said


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a10_h05_backups_go_on_beside_a_proof_and_a_signal_ends_it_with_its_tools(
    slow: tuple[PgDatabase, dict[str, str], Slow], project: Project, number: int
) -> None:
    database, environ, loading = slow

    def act(proof: Any) -> None:
        assert project.invoke("db.backup", **environ).returncode == 0
        proof.send_signal(number)

    code, said = ended(project, environ, loading, act)
    assert code == 130, said
    assert databases(database) == [database.name]
    assert loading() == []


def test_a03_a_server_that_ends_the_load_is_no_fault_of_the_archive(
    slow: tuple[PgDatabase, dict[str, str], Slow], project: Project
) -> None:
    database, environ, loading = slow

    def act(proof: Any) -> None:
        for (pid,) in loading():
            database.server.run("postgres", "SELECT pg_terminate_backend(%s)", (pid,))

    code, said = ended(project, environ, loading, act)
    assert code == 3, said
    assert "the server went away while" in said
    assert databases(database) == [database.name]
    assert "damaged" not in project.invoke("db.list", **environ).stdout


KILLED = """
import os, pathlib, signal, sys, dbtasks
url, tools, root = sys.argv[1:]
config = dbtasks.load_settings(pathlib.Path(root), environ={}, url=url, pg_bin=tools, via="host")
def die(event):
    if getattr(event, "name", "") == "check":
        os.kill(os.getpid(), signal.SIGKILL)
dbtasks.verify(config, [dbtasks.find(config, "latest")], restore=True, where="server", on_event=die)
"""


@pytest.mark.fault
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a08_d08_what_a_killed_proof_leaves_is_dropped_by_the_next_and_nobody_elses(shop: Shop) -> None:
    config, database = shop
    made = made_with(config)
    command = [sys.executable, "-c", KILLED, database.url, str(database.server.bin), str(config.root)]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    assert killed.returncode == -signal.SIGKILL
    (left,) = set(databases(database)) - {database.name}
    assert left.startswith(f"{database.name}__verify__new_")
    unmarked = new_name(scratch_name(database.name), "abcdef")
    marked_otherwise = f"{database.name}__new_abcdef"
    for name in (unmarked, marked_otherwise):
        database.server.create_database(name)
    database.server.run("postgres", f"COMMENT ON DATABASE \"{marked_otherwise}\" IS '{MARK}'")
    # a killed client's backend needs a moment to notice
    for _ in range(100):
        assert proven(config, made).ok
        if left not in databases(database):
            break
    assert databases(database) == sorted([database.name, unmarked, marked_otherwise])


def test_d20_the_longest_name_still_tells_a_proof_from_a_restore(pg: PgServer, tmp_path: Path) -> None:
    name = "long_" + "x" * 58
    database = pg.create_database(name)
    try:
        database.run("CREATE TABLE item (id int)")
        config = configured(tmp_path, database)
        made = made_with(config)
        seen: list[str] = []

        def look() -> None:
            rows = pg.run(
                "postgres", "SELECT datname FROM pg_database WHERE datname LIKE '%\\_\\_verify\\_\\_new\\_%'"
            )
            seen.extend(row[0] for row in rows)

        assert proven(config, made, on_event=at_phase("check", look)).ok
        (during,) = seen
        assert len(during.encode()) <= 63
        assert during.startswith("long_xxx")
    finally:
        pg.drop_database(name)
