"""The server's lock is lost while its restore is at work: nothing takes effect, and what is told is the state it leaves."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import dbtasks
from dbtasks.engines.postgres.exchange.claim import claim_key
from dbtasks.engines.postgres.exchange.leftovers import MARK
from dbtasks.engines.postgres.loading.load import loading
from dbtasks.engines.postgres.migration.arrival import arriving
from dbtasks.engines.postgres.names import new_name
from dbtasks.errors import Busy, OperationFailed
from dbtasks.events import ignore
from dbtasks.journal import read_restores
from dbtasks.models import Format
from dbtasks.plans import LoadRequest, TargetState
from tests.fix_postgres import PgDatabase, PgServer
from tests.moments import at_phase
from tests.postgres.leaving import Move, move
from tests.postgres.projects import configured, made_with
from tests.postgres.restoring import databases, engine_on

__all__ = ["move"]

KEYED = "locktype = 'advisory' AND objsubid = 1 AND ((classid::bigint << 32) | objid::bigint) = %s"
WAYS = {
    "beside": (Format.CUSTOM, LoadRequest()),
    "in place": (Format.CUSTOM, LoadRequest(in_place=True)),
    "rows": (Format.ROWS, LoadRequest()),
}


def end_claim(server: PgServer, name: str) -> None:
    """End the session that holds the lock on restores of a database, as an administrator may."""
    ended = server.run(
        "postgres",
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE {KEYED}",
        (claim_key(name),),
    )
    assert ended == [(True,)]


def shop(root: Path, database: PgDatabase, format_: Format = Format.CUSTOM) -> dbtasks.Settings:
    """Back up ten items and leave six."""
    database.run("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item SELECT generate_series(1, 10)")
    config = configured(root, database, via="python" if format_ is Format.ROWS else "host")
    made_with(config, format=format_)
    database.run("DELETE FROM item WHERE id > 6")
    return config


def items(database: PgDatabase) -> int:
    ((number,),) = database.run("SELECT count(*) FROM item")
    return int(number)


def told_as_lost(error: OperationFailed, name: str) -> None:
    assert (type(error), error.exit_code) == (OperationFailed, 9)
    assert f"another restore of {name} may have been at work: the session that kept others away ended" in (
        error.message
    )
    assert error.hint == (
        "begin again; the server's log says what ended that session,"
        " unless something between here and the server cut a connection that was quiet"
    )
    assert not_known(name) in error.state
    assert "as it was" not in error.state


def not_known(name: str) -> str:
    return f"this run changed nothing in {name}; what another one did to it meanwhile is not known here"


@pytest.mark.parametrize("way", WAYS)
def test_h08_a_restore_that_lost_the_servers_lock_while_it_loaded_touches_nothing(
    pg_db: PgDatabase, tmp_path: Path, way: str
) -> None:
    format_, request = WAYS[way]
    config = shop(tmp_path, pg_db, format_)
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(request=request))
    with contextlib.closing(pg_db.connect()) as application, application.cursor() as cursor:
        with pytest.raises(OperationFailed) as caught:
            dbtasks.restore(
                config, plan, on_event=at_phase("load", lambda: end_claim(pg_db.server, pg_db.name))
            )
        # not even a session was ended
        cursor.execute("SELECT count(*) FROM item")
        assert cursor.fetchall() == [(6,)]
    told_as_lost(caught.value, pg_db.name)
    assert databases(pg_db) == [pg_db.name]
    assert read_restores(config.backup_dir)[0]["state"] == "failed; it changed nothing"
    # and begun again it goes through
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(request=request)))
    assert items(pg_db) == 10


@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.ROWS])
def test_h08_a_restore_of_one_table_that_lost_the_servers_lock_touches_nothing(
    pg_db: PgDatabase, tmp_path: Path, format_: Format
) -> None:
    config = shop(tmp_path, pg_db, format_)
    plan = dbtasks.plan_restore_tables(config, dbtasks.TablesJob(("item",)))
    listen = at_phase("load", lambda: end_claim(pg_db.server, pg_db.name))
    with pytest.raises(OperationFailed) as caught:
        dbtasks.restore_tables(config, plan, on_event=listen)
    told_as_lost(caught.value, pg_db.name)
    assert items(pg_db) == 6


def test_h08_whoever_took_the_lost_lock_is_named_and_left_alone(pg_db: PgDatabase, tmp_path: Path) -> None:
    config = shop(tmp_path, pg_db)
    with contextlib.ExitStack() as stack:

        def overtake() -> None:
            end_claim(pg_db.server, pg_db.name)
            other = stack.enter_context(contextlib.closing(pg_db.server.connect("postgres")))
            with other.cursor() as cursor:
                cursor.execute("SET application_name = 'dbtasks restore elsewhere 4711'")
                cursor.execute("SELECT pg_advisory_lock(%s)", (claim_key(pg_db.name),))

        plan = dbtasks.plan_restore(config)
        with pytest.raises(Busy) as caught:
            dbtasks.restore(config, plan, on_event=at_phase("swap", overtake))
        held = pg_db.server.run(
            "postgres", f"SELECT count(*) FROM pg_locks WHERE {KEYED}", (claim_key(pg_db.name),)
        )
        assert held == [(1,)]
    assert caught.value.exit_code == 7
    assert "is under way on this server: dbtasks restore elsewhere 4711, as postgres" in caught.value.message
    assert "the session that kept others away ended" in caught.value.details
    assert not_known(pg_db.name) in caught.value.state
    assert "as it was" not in caught.value.state
    assert (items(pg_db), databases(pg_db)) == (6, [pg_db.name])


def test_h08_a_lock_lost_while_the_names_are_exchanged_leaves_them_as_they_were(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    """The exchange may have to wait for sessions to end: whoever waits half a minute has to ask again."""
    config = shop(tmp_path, pg_db)
    plan = dbtasks.plan_restore(config)
    with (
        engine_on(pg_db) as engine,
        engine.claimed(),
        loading(engine, plan.load, plan.archive, ignore) as loaded,
        pytest.raises(OperationFailed) as caught,
    ):
        loaded.commit(lambda _: end_claim(pg_db.server, pg_db.name))
    told_as_lost(caught.value, pg_db.name)
    assert (items(pg_db), databases(pg_db)) == (6, [pg_db.name])


def test_h08_an_undo_that_lost_the_servers_lock_exchanges_no_names(pg_db: PgDatabase, tmp_path: Path) -> None:
    config = shop(tmp_path, pg_db)
    dbtasks.restore(config, dbtasks.plan_restore(config))
    before = databases(pg_db)
    listen = at_phase("swap", lambda: end_claim(pg_db.server, pg_db.name))
    with pytest.raises(OperationFailed) as caught:
        dbtasks.undo(config, dbtasks.plan_undo(config), on_event=listen)
    told_as_lost(caught.value, pg_db.name)
    assert caught.value.state == not_known(pg_db.name)
    assert (items(pg_db), databases(pg_db)) == (10, before)
    dbtasks.undo(config, dbtasks.plan_undo(config))
    assert items(pg_db) == 6


def test_h08_a_lock_that_another_took_while_the_names_are_exchanged_leaves_them_too(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    config = shop(tmp_path, pg_db)
    plan = dbtasks.plan_restore(config)
    with contextlib.closing(pg_db.server.connect("postgres")) as other, other.cursor() as cursor:

        def overtake(_: object) -> None:
            end_claim(pg_db.server, pg_db.name)
            cursor.execute("SELECT pg_advisory_lock(%s)", (claim_key(pg_db.name),))

        with (
            engine_on(pg_db) as engine,
            engine.claimed(),
            loading(engine, plan.load, plan.archive, ignore) as loaded,
            pytest.raises(Busy) as caught,
        ):
            loaded.commit(overtake)
    assert caught.value.state == not_known(pg_db.name)
    assert (items(pg_db), databases(pg_db)) == (6, [pg_db.name])


def test_h08_a_database_whose_migration_lost_the_servers_lock_behind_its_commit_gets_no_name(
    move: Move,
) -> None:
    with (
        engine_on(move.database) as engine,
        engine.claimed(),
        pytest.raises(OperationFailed) as caught,
        arriving(engine, TargetState.MISSING, "zzzzzz") as arrival,
    ):
        arrival.commit()
        end_claim(move.server, move.name)
    told_as_lost(caught.value, move.name)
    assert caught.value.state == not_known(move.name)
    assert move.databases() == []


@pytest.mark.parametrize("is_there", [False, True], ids=["missing", "empty"])
def test_h08_a_migration_that_lost_the_servers_lock_leaves_nothing(move: Move, is_there: bool) -> None:
    if is_there:
        move.server.create_database(move.name)
    listen = at_phase("commit", lambda: end_claim(move.server, move.name))
    with pytest.raises(OperationFailed) as caught:
        dbtasks.migrate(move.settings(), move.plan(), on_event=listen)
    told_as_lost(caught.value, move.name)
    assert caught.value.state == not_known(move.name)
    assert move.databases() == ([move.name] if is_there else [])
    if is_there:
        assert move.database.run(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ) == [(0,)]


def test_h08_what_another_restore_did_meanwhile_is_not_told_as_how_it_was(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    pg_db.run("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item SELECT generate_series(1, 100)")
    there = configured(tmp_path / "there", pg_db)
    made_with(there)
    pg_db.run("DROP TABLE item")
    here = shop(tmp_path / "here", pg_db)

    def overtake() -> None:
        end_claim(pg_db.server, pg_db.name)
        in_place = dbtasks.RestoreJob(request=LoadRequest(in_place=True))
        dbtasks.restore(there, dbtasks.plan_restore(there, in_place))

    with pytest.raises(OperationFailed) as caught:
        dbtasks.restore(here, dbtasks.plan_restore(here), on_event=at_phase("swap", overtake))
    told_as_lost(caught.value, pg_db.name)
    (record,) = read_restores(here.backup_dir)
    assert caught.value.state == (
        f"{not_known(pg_db.name)}; what it held when this began was backed up, as {record['safety_backup']}"
    )
    assert record["state"] == "failed; it changed nothing"
    assert items(pg_db) == 100


def test_h08_a_lock_taken_meanwhile_in_another_database_of_the_server_lets_nothing_take_effect(
    pg: PgServer, pg_db: PgDatabase, tmp_path: Path
) -> None:
    config = shop(tmp_path, pg_db)
    with pg.fresh() as elsewhere, contextlib.closing(elsewhere.connect()) as other, other.cursor() as cursor:

        def overtake() -> None:
            cursor.execute("SET application_name = 'dbtasks restore elsewhere 4711'")
            cursor.execute("SELECT pg_advisory_lock(%s)", (claim_key(pg_db.name),))

        plan = dbtasks.plan_restore(config)
        with pytest.raises(Busy) as caught:
            dbtasks.restore(config, plan, on_event=at_phase("swap", overtake))
    assert "is under way on this server: dbtasks restore elsewhere 4711, as postgres" in caught.value.message
    assert caught.value.details == (
        "somebody else holds the lock on it as well, in another database of the server"
    )
    assert not_known(pg_db.name) in caught.value.state
    assert (items(pg_db), databases(pg_db)) == (6, [pg_db.name])


@pytest.mark.long
@pytest.mark.fault
def test_h08_a_lock_lost_while_sessions_will_not_end_is_told_as_that_and_at_once(
    pg: PgServer, pg_db: PgDatabase, tmp_path: Path
) -> None:
    role = pg.create_role("LOGIN CREATEDB")
    pg.run("postgres", f"ALTER DATABASE {pg_db.name} OWNER TO {role.user}")
    pg_db.run(f"GRANT ALL ON SCHEMA public TO {role.user}")
    config = shop(tmp_path, pg_db.seen_by(role))
    plan, swapping, ended = dbtasks.plan_restore(config), threading.Event(), threading.Event()

    def lose() -> None:
        swapping.wait(60)
        time.sleep(1)
        end_claim(pg, pg_db.name)
        ended.set()

    # a superuser's session, which the role cannot end
    with contextlib.closing(pg_db.connect()):
        losing = threading.Thread(target=lose)
        losing.start()
        with pytest.raises(OperationFailed) as caught:
            dbtasks.restore(config, plan, on_event=at_phase("swap", swapping.set))
        losing.join()
    assert ended.is_set()
    told_as_lost(caught.value, pg_db.name)


def left_over(database: PgDatabase) -> str:
    """Make what a killed restore leaves, and one that is about to exchange the names looks like."""
    name = new_name(database.name, "zzzzzz")
    database.server.create_database(name)
    database.server.run("postgres", f"COMMENT ON DATABASE \"{name}\" IS '{MARK}'")
    return name


def test_h08_whoever_lost_the_servers_lock_drops_no_leftover(pg_db: PgDatabase) -> None:
    name = left_over(pg_db)
    with engine_on(pg_db) as engine, engine.claimed():
        end_claim(pg_db.server, pg_db.name)
        with pytest.raises(OperationFailed) as caught:
            engine.drop_left_over(name)
    told_as_lost(caught.value, pg_db.name)
    assert databases(pg_db) == [pg_db.name, name]
    with engine_on(pg_db) as engine, engine.claimed():
        engine.drop_left_over(name)
    assert databases(pg_db) == [pg_db.name]


def test_h08_a_restore_that_lost_the_servers_lock_over_its_safety_backup_sweeps_nothing(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    config = shop(tmp_path, pg_db)
    plan, name = dbtasks.plan_restore(config), left_over(pg_db)
    listen = at_phase("safety", lambda: end_claim(pg_db.server, pg_db.name))
    with pytest.raises(OperationFailed) as caught:
        dbtasks.restore(config, plan, on_event=listen)
    told_as_lost(caught.value, pg_db.name)
    assert (items(pg_db), databases(pg_db)) == (6, [pg_db.name, name])


def test_h08_a_migration_that_lost_the_servers_lock_sweeps_nothing(move: Move) -> None:
    plan, name = move.plan(), left_over(move.database)
    listen = at_phase("create", lambda: end_claim(move.server, move.name))
    with pytest.raises(OperationFailed) as caught:
        dbtasks.migrate(move.settings(), plan, on_event=listen)
    told_as_lost(caught.value, move.name)
    assert move.databases() == [name]


@pytest.fixture
def hurried(pg: PgServer, pg_db: PgDatabase) -> Iterator[PgDatabase]:
    """A database whose owner's idle sessions the server ends after a second."""
    role = pg.create_role("LOGIN CREATEDB")
    pg.run("postgres", f"ALTER DATABASE {pg_db.name} OWNER TO {role.user}")
    pg_db.run(f"GRANT ALL ON SCHEMA public TO {role.user}")
    for name in ("idle_session_timeout", "idle_in_transaction_session_timeout"):
        pg.run("postgres", f"ALTER ROLE {role.user} SET {name} = '1s'")
    yield pg_db.seen_by(role)


@pytest.mark.long
def test_h08_no_timeout_for_idle_sessions_ends_the_one_that_holds_the_lock(
    hurried: PgDatabase, tmp_path: Path
) -> None:
    config = shop(tmp_path, hurried)
    dbtasks.restore(config, dbtasks.plan_restore(config), on_event=at_phase("load", lambda: time.sleep(2)))
    assert items(hurried) == 10
