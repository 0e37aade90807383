"""What is bound to a database by its identity: told before a swap, on a server that can have all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import dbtasks
from dbtasks.engines.postgres.loading.load import loading, plan_load
from dbtasks.errors import Busy, Refused
from dbtasks.events import Event
from dbtasks.models import Format
from dbtasks.plans import LoadRequest
from tests.fix_postgres import PgDatabase, PgServer, server_of_its_own
from tests.postgres.restoring import databases, engine_on, restore
from tests.postgres.rich import archive_of, count, fingerprint
from tests.postgres.test_undo import backed_up, rows
from tests.postgres.test_undo import restore as restored
from tests.postgres.test_undo import undo as undone

# one worker has them all: it starts the servers once
pytestmark = pytest.mark.xdist_group("replicating")

IN_PLACE = LoadRequest(in_place=True)


@pytest.fixture(scope="module", params=[16, 18], ids=lambda version: f"pg{version}")
def replicating(request: pytest.FixtureRequest) -> Iterator[PgServer]:
    """A server with logical replication and prepared transactions, as productive ones have it."""
    with server_of_its_own(request.param, wal_level="logical", max_prepared_transactions="4") as server:
        yield server


@pytest.fixture
def shop(replicating: PgServer) -> Iterator[PgDatabase]:
    with replicating.fresh() as database:
        database.run("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item SELECT generate_series(1, 10)")
        yield database


def prepare(database: PgDatabase, gid: str, statement: str = "DELETE FROM item WHERE id = 1") -> None:
    database.run(f"BEGIN; {statement}; PREPARE TRANSACTION '{gid}'")


def test_d14_a_logical_slot_is_named_and_stays_with_a_restore_in_place(
    shop: PgDatabase, tmp_path: Path
) -> None:
    archive = archive_of(shop, tmp_path, Format.CUSTOM)
    before = fingerprint(shop)
    slot = f"slot_{shop.name}"
    shop.run("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
    shop.run("SELECT pg_create_physical_replication_slot(%s)", (f"{slot}_physical",))
    try:
        with engine_on(shop) as engine:
            with pytest.raises(Refused, match=f"the replication slot {slot} would stay") as refused:
                plan_load(engine, archive, LoadRequest())
            assert "--in-place" in refused.value.hint
            assert f"{slot}_physical" not in refused.value.message, "that one belongs to the whole server"
            shop.run("DELETE FROM item")
            restore(engine, archive, IN_PLACE)
        assert fingerprint(shop) == before
        held = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
        assert shop.run(held) == [(slot,)]
    finally:
        shop.run("SELECT pg_drop_replication_slot(%s)", (slot,))
        shop.run("SELECT pg_drop_replication_slot(%s)", (f"{slot}_physical",))


@pytest.mark.parametrize("request_", [LoadRequest(), IN_PLACE], ids=["swap", "in place"])
def test_d14_a_prepared_transaction_is_named_and_nothing_waits_for_it(
    shop: PgDatabase, tmp_path: Path, request_: LoadRequest
) -> None:
    archive = archive_of(shop, tmp_path, Format.CUSTOM)
    prepare(shop, "from the shop''s bank")
    try:
        with engine_on(shop) as engine, pytest.raises(Refused, match="transaction from the shop's bank"):
            plan_load(engine, archive, request_)
    finally:
        shop.run("ROLLBACK PREPARED 'from the shop''s bank'")
    with engine_on(shop) as engine:
        restore(engine, archive, request_)
    assert count(shop) == {"public.item": 10}


@pytest.mark.long
def test_d14_what_is_prepared_between_plan_and_swap_is_named_as_what_keeps_the_database_in_use(
    shop: PgDatabase, tmp_path: Path
) -> None:
    archive = archive_of(shop, tmp_path, Format.CUSTOM)
    with engine_on(shop, lock_timeout=1) as engine:
        plan = plan_load(engine, archive, LoadRequest())
        prepare(shop, "late")
        try:
            with (
                pytest.raises(Busy, match="still in use after 1 s: the prepared transaction late") as busy,
                loading(engine, plan, archive, list[Event]().append) as loaded,
            ):
                loaded.commit()
        finally:
            shop.run("ROLLBACK PREPARED 'late'")
    assert f"{shop.name} is as it was" in busy.value.state
    assert databases(shop) == [shop.name]
    assert count(shop) == {"public.item": 10}


def test_an_owner_who_is_no_superuser_is_told_of_all_of_them(replicating: PgServer, tmp_path: Path) -> None:
    owner = replicating.create_role("LOGIN CREATEDB")
    with replicating.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        mine.run("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item VALUES (1)")
        archive = archive_of(mine, tmp_path, Format.CUSTOM)
        name = f"sub_{database.name}"
        database.run(
            f"CREATE SUBSCRIPTION {name} CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false, slot_name = NONE)"
        )
        database.run("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
        prepare(mine, f"gid_{name}")
        try:
            with engine_on(mine) as engine, pytest.raises(Refused) as refused:
                plan_load(engine, archive, LoadRequest())
            for what in (f"replication slot {name}", f"subscription {name}", f"transaction gid_{name}"):
                assert what in refused.value.message
        finally:
            mine.run(f"ROLLBACK PREPARED 'gid_{name}'")
            database.run("SELECT pg_drop_replication_slot(%s)", (name,))
            database.run(f"DROP SUBSCRIPTION {name}")


@pytest.mark.long
@pytest.mark.parametrize("where", ["the live one", "the kept one"])
def test_an_undo_leaves_databases_alone_that_something_is_bound_to(
    shop: PgDatabase, tmp_path: Path, where: str
) -> None:
    shop.run("DROP TABLE item")
    config = backed_up(tmp_path, shop)
    old = restored(config).old
    assert old
    bound = shop if where == "the live one" else PgDatabase(shop.server, old)
    prepare(bound, "bound", "DELETE FROM item")
    try:
        if where == "the live one":
            with pytest.raises(Refused, match="the prepared transaction bound"):
                dbtasks.plan_undo(config)
        else:
            plan = dbtasks.plan_undo(config)
            assert plan.way == "safety backup"
            assert "the prepared transaction bound would stay" in plan.why
        assert rows(shop) == 10
    finally:
        bound.run("ROLLBACK PREPARED 'bound'")
    assert undone(config).way == "rename"
    assert rows(shop) == 6


# -- tablespaces --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spaces(replicating: PgServer) -> Iterator[PgServer]:
    """The same server, with two more tablespaces inside its own folder."""
    with_them = "SET allow_in_place_tablespaces = on; "
    for name in ("fast", "slow"):
        connection = replicating.connect()
        with connection.cursor() as cursor:
            cursor.execute(with_them)
            cursor.execute(f"CREATE TABLESPACE {name} LOCATION ''")
        connection.close()
    yield replicating


SPACE = """
    SELECT spcname FROM pg_tablespace t JOIN pg_database d ON d.dattablespace = t.oid WHERE datname = current_database()
"""


def test_d17_a_database_and_its_tables_stay_in_their_tablespaces(spaces: PgServer, tmp_path: Path) -> None:
    with spaces.fresh("TABLESPACE fast") as database:
        database.run("CREATE TABLE here AS SELECT 1 a; CREATE TABLE there TABLESPACE slow AS SELECT 2 a")
        lies = "SELECT relname, coalesce(spcname, '') FROM pg_class c LEFT JOIN pg_tablespace t ON t.oid = reltablespace WHERE relname IN ('here', 'there') ORDER BY 1"
        before = database.run(lies)
        assert before == [("here", ""), ("there", "slow")]
        for format_ in (Format.CUSTOM, Format.SQL):
            archive = archive_of(database, tmp_path, format_)
            with engine_on(database) as engine:
                restore(engine, archive, LoadRequest(drop_old=True))
            assert database.run(SPACE) == [("fast",)]
            assert database.run(lies) == before


def test_d19_a_role_that_may_not_create_in_the_databases_tablespace_restores_in_place(
    spaces: PgServer, tmp_path: Path
) -> None:
    owner = spaces.create_role("LOGIN CREATEDB")
    with spaces.fresh(f"OWNER {owner.user} TABLESPACE fast") as database:
        mine = database.seen_by(owner)
        mine.run("CREATE TABLE item AS SELECT 1 a")
        archive = archive_of(mine, tmp_path, Format.CUSTOM)
        mine.run("DELETE FROM item")
        with engine_on(mine) as engine:
            plan, _, _ = restore(engine, archive)
        assert plan.strategy == "in place"
        assert "may not create in the tablespace fast" in plan.why_in_place
        assert (database.run(SPACE), count(mine)) == ([("fast",)], {"public.item": 1})
