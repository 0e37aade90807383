"""A swap replaces the database whole: what the backup does not know, what a template holds, and names as long as can be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import StoreUnusable
from dbtasks.models import Format
from dbtasks.plans import DumpRequest, LoadRequest, LoadStrategy
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.projects import configured
from tests.postgres.restoring import databases, engine_on, restore
from tests.postgres.rich import archive_of, count, fill, fingerprint
from tests.postgres.test_restore import FORMATS

IN_THE_WAY = """
    CREATE VIEW public.later AS SELECT * FROM public.orders;
    CREATE MATERIALIZED VIEW public.latest AS SELECT * FROM public.later;
    CREATE TABLE public.newer AS SELECT 1 AS a;
    DELETE FROM public.orders WHERE id < 100;
"""


@pytest.mark.long
@pytest.mark.parametrize("format_", FORMATS)
def test_d10_d11_d12_a_view_and_a_table_the_backup_does_not_know_are_told_and_gone_with_the_old_database(
    any_db: PgDatabase, format_: Format, tmp_path: Path
) -> None:
    fill(any_db)
    wanted = fingerprint(any_db)
    config = configured(tmp_path, any_db)
    dbtasks.backup(config, dbtasks.BackupJob(request=DumpRequest(format=format_)))
    any_db.run(IN_THE_WAY)
    before = fingerprint(any_db)
    plan = dbtasks.plan_restore(config)
    assert plan.load.strategy is LoadStrategy.SWAP
    told = {change.name: (change.backup_rows, change.live_rows) for change in plan.changes}
    assert told["public.newer"] == (None, 1)
    assert told["public.orders_2025"][0] == 213
    assert plan.drift.schema
    assert {"public.later", "public.latest", "public.newer"} <= {
        o.name for o in plan.drift.schema.only_against
    }
    done = dbtasks.restore(config, plan)
    assert fingerprint(any_db) == wanted, "rows are not doubled, keys are all there"
    assert done.old
    assert fingerprint(PgDatabase(any_db.server, done.old)) == before


@pytest.mark.long
@pytest.mark.parametrize("in_place", [False, True], ids=["beside", "in place"])
@pytest.mark.parametrize("format_", FORMATS)
def test_d13_a_second_restore_of_any_format_doubles_nothing(
    pg_db: PgDatabase, format_: Format, in_place: bool, tmp_path: Path
) -> None:
    fill(pg_db)
    pg_db.run("CREATE TABLE public.without_key AS SELECT 1 AS a")
    wanted = fingerprint(pg_db)
    archive = archive_of(pg_db, tmp_path, format_)
    for _ in range(2):
        with engine_on(pg_db) as engine:
            restore(engine, archive, LoadRequest(in_place=in_place, drop_old=not in_place))
        assert fingerprint(pg_db) == wanted
    assert databases(pg_db) == [pg_db.name]


# -- templates -----------------------------------------------------------------------


@pytest.fixture
def polluted(pg: PgServer) -> Iterator[PgServer]:
    """What somebody once typed while connected to template1: tables, one of which ours is called too, and a schema."""
    pg.run(
        "template1",
        "CREATE TABLE public.t (b text); CREATE TABLE public.polluted (a int); CREATE SCHEMA leftover;"
        " CREATE FUNCTION leftover.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    )
    try:
        yield pg
    finally:
        pg.run(
            "template1",
            "DROP TABLE public.t, public.polluted; DROP SCHEMA leftover CASCADE",
        )


@pytest.mark.long
@pytest.mark.parametrize("state", ["present", "missing"])
@pytest.mark.parametrize("format_", FORMATS)
def test_d18_what_lies_in_template1_comes_neither_beside_nor_into_a_database_that_is_made(
    polluted: PgServer, tmp_path: Path, format_: Format, state: str
) -> None:
    with polluted.fresh("TEMPLATE template0") as database:
        database.run("CREATE TABLE public.t AS SELECT 1 AS a")
        wanted = fingerprint(database)
        archive = archive_of(database, tmp_path, format_)
        if state == "missing":
            polluted.drop_database(database.name)
        with engine_on(database) as engine:
            plan, _, _ = restore(engine, archive)
        assert plan.strategy is (LoadStrategy.CREATE if state == "missing" else LoadStrategy.SWAP)
        assert fingerprint(database) == wanted


def test_d18_what_lies_in_template1_does_not_come_into_a_proof(polluted: PgServer, tmp_path: Path) -> None:
    with polluted.fresh("TEMPLATE template0") as database:
        database.run("CREATE TABLE public.t AS SELECT 1 AS a")
        config = configured(tmp_path, database)
        made = dbtasks.backup(config)
        (proven,) = dbtasks.verify(config, [made], restore=True, where="server")
        assert proven.ok, proven


# -- long names -------------------------------------------------------------------------


LONG = {
    "63 letters": "x" * 63,
    "63 bytes, two to a letter": "x" + "ö" * 31,
    "63 bytes, three to a letter": "日" * 21,
    "63 bytes, four to a letter": "🐘" * 15 + "abc",
    "62 bytes, cut inside a letter": "ö" * 31,
}


@pytest.mark.long
@pytest.mark.parametrize("name", LONG.values(), ids=LONG)
def test_d20_a_name_of_63_bytes_goes_through_restore_undo_and_cleanup(
    pg: PgServer, tmp_path: Path, name: str
) -> None:
    database = pg.create_database(name)

    def there() -> set[str]:
        return {found for (found,) in pg.run("postgres", "SELECT datname FROM pg_database")} - others

    others = {found for (found,) in pg.run("postgres", "SELECT datname FROM pg_database")} - {name}
    try:
        assert there() == {name}, "the server has cut it"
        database.run("CREATE TABLE public.item AS SELECT generate_series(1, 10) id")
        config = configured(tmp_path, database)
        dbtasks.backup(config)
        database.run("DELETE FROM public.item WHERE id > 6")
        done = dbtasks.restore(config, dbtasks.plan_restore(config))
        assert done.old
        assert len(done.old.encode()) <= 63
        assert there() == {name, done.old}
        assert count(database)["public.item"] == 10
        undone = dbtasks.undo(config, dbtasks.plan_undo(config))
        assert (undone.way, count(database)["public.item"]) == ("rename", 6)
        again = dbtasks.restore(config, dbtasks.plan_restore(config))
        assert dbtasks.cleanup(config, dbtasks.plan_cleanup(config)).ok
        assert there() <= {name, again.old}
        assert count(database)["public.item"] == 10
    finally:
        for found in there():
            pg.drop_database(found)


def test_d20_two_databases_whose_long_names_begin_alike_keep_their_own(pg: PgServer, tmp_path: Path) -> None:
    """What is kept of both would be called the same, but for the seconds and a number."""
    names = ["ü" * 30 + letter * 3 for letter in "ab"]
    kept = {}
    try:
        for number, name in enumerate(names):
            database = pg.create_database(name)
            database.run(f"CREATE TABLE public.item AS SELECT {number} AS mine")
            config = configured(tmp_path / str(number), database)
            dbtasks.backup(config)
            kept[name] = dbtasks.restore(config, dbtasks.plan_restore(config)).old
        assert len(set(kept.values())) == 2
        first = configured(tmp_path / "0", PgDatabase(pg, names[0]))
        dbtasks.cleanup(first, dbtasks.plan_cleanup(first))
        second = configured(tmp_path / "1", PgDatabase(pg, names[1]))
        assert dbtasks.undo(second, dbtasks.plan_undo(second)).way == "rename"
        assert PgDatabase(pg, names[1]).run("SELECT mine FROM public.item") == [(1,)]
        assert PgDatabase(pg, names[0]).run("SELECT mine FROM public.item") == [(0,)]
    finally:
        for (found,) in pg.run("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'üüü%%'", ()):
            pg.drop_database(found)


# -- the safety backup ------------------------------------------------------------------


@pytest.mark.parametrize("in_place", [False, True], ids=["beside", "in place"])
@pytest.mark.parametrize("why", ["the folder", "the dump"])
def test_d21_where_the_present_cannot_be_saved_nothing_is_loaded(
    pg: PgServer, tmp_path: Path, why: str, in_place: bool
) -> None:
    owner = pg.create_role("LOGIN CREATEDB")
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        mine.run("CREATE TABLE public.item AS SELECT generate_series(1, 10) id")
        config = configured(tmp_path, mine)
        made = dbtasks.backup(config)
        mine.run("DELETE FROM public.item")
        plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(request=LoadRequest(in_place=in_place)))
        if why == "the folder":
            (config.backup_dir / "safety").write_text("a file where the folder should be")
        else:
            # somebody makes a table that this role may not read
            database.run("CREATE TABLE public.hidden AS SELECT 1 a")
        before, there = fingerprint(database), databases(database)
        events: list[object] = []
        with pytest.raises(dbtasks.DbTasksError) as caught:
            dbtasks.restore(config, plan, on_event=events.append)
        assert caught.value.exit_code == (2 if why == "the folder" else 3), caught.value
        assert isinstance(caught.value, StoreUnusable) is (why == "the folder")
        assert (
            f"{mine.name} was not touched: without a safety backup the restore did not start"
            in caught.value.state
        )
        assert not {"create", "load", "drop", "swap"} & {getattr(event, "name", "") for event in events}
        assert (fingerprint(database), databases(database)) == (before, there)
        assert [backup.id for backup in dbtasks.list_backups(config).backups] == [made.id]
