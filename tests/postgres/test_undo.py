"""Taking a restore back by rename: which database is which, who may be connected, and kills in between."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.engines.postgres.access import HostAccess
from dbtasks.engines.postgres.exchange import swap
from dbtasks.errors import Busy, NotFound, Refused, TargetUnreachable
from dbtasks.executors.undo import UndoWay
from dbtasks.journal import read_restores, write_restore
from dbtasks.psql import connect_psql
from dbtasks.sessions import PREPARE
from tests.conftest import REPOSITORY, Project
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.projects import configured
from tests.postgres.restoring import databases
from tests.postgres.rich import count
from tests.postgres.test_swap import eight_writers

Shop = tuple[dbtasks.Settings, PgDatabase]


def backed_up(root: Path, database: PgDatabase, **flags: Any) -> dbtasks.Settings:
    """Back up ten items and leave six."""
    database.run("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item SELECT generate_series(1, 10)")
    config = configured(root, database, **flags)
    dbtasks.backup(config)
    database.run("DELETE FROM item WHERE id > 6")
    return config


@pytest.fixture
def shop(tmp_path: Path, pg_db: PgDatabase) -> Shop:
    return backed_up(tmp_path, pg_db), pg_db


@pytest.fixture
def any_shop(tmp_path: Path, any_db: PgDatabase) -> Shop:
    return backed_up(tmp_path, any_db), any_db


def restore(config: dbtasks.Settings, file: str = "latest", **request: Any) -> dbtasks.RestoreResult:
    skip = request.pop("skip_safety_backup", False)
    job = dbtasks.RestoreJob(file, request=dbtasks.LoadRequest(**request), skip_safety_backup=skip)
    return dbtasks.restore(config, dbtasks.plan_restore(config, job))


def undo(config: dbtasks.Settings) -> dbtasks.UndoResult:
    return dbtasks.undo(config, dbtasks.plan_undo(config))


def rows(database: PgDatabase) -> int:
    return count(database)["public.item"]


def oid(database: PgDatabase) -> int:
    ((number,),) = database.run("SELECT oid FROM pg_database WHERE datname = current_database()")
    return int(number)


def record_of(config: dbtasks.Settings) -> dict[str, Any]:
    return read_restores(config.backup_dir)[0]


# -- by rename -------------------------------------------------------------------------


@pytest.mark.long
def test_the_replaced_database_itself_comes_back_with_all_that_is_its_own(any_shop: Shop) -> None:
    config, database = any_shop
    name = f'"{database.name}"'
    database.run(f"COMMENT ON DATABASE {name} IS 'the shop''s'")
    before = oid(database)
    restored = restore(config)
    database.run(f"COMMENT ON DATABASE {name} IS 'another'")
    database.run("INSERT INTO item VALUES (77)")
    after = oid(database)
    assert restored.way_back == "db.undo"
    done = undo(config)
    assert (done.way, done.undone.id, done.rows) == (UndoWay.RENAME, restored.id, 6)
    assert (oid(database), rows(database)) == (before, 6)
    comment = (
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    )
    assert database.run(comment) == [("the shop's",)]
    assert done.old is not None
    assert databases(database) == sorted([database.name, done.old])
    kept = PgDatabase(database.server, done.old)
    assert (oid(kept), rows(kept)) == (after, 11)
    assert kept.run(comment) == [("another",)]


def test_an_undo_by_rename_moves_no_row_however_many_there_are(shop: Shop) -> None:
    """A second is all it takes because nothing is copied: what the server writes for it is a few catalog rows."""
    config, database = shop
    database.run("CREATE TABLE filler AS SELECT i, repeat(md5(i::text), 8) FROM generate_series(1, 60000) i")
    files = "SELECT relname, pg_relation_filepath(oid) FROM pg_class WHERE relname IN ('item', 'filler') ORDER BY 1"
    before = database.run(files)
    size = database.run("SELECT pg_relation_size('filler')")[0][0]
    restore(config)
    plan = dbtasks.plan_undo(config)
    start = database.server.run("postgres", "SELECT pg_current_wal_lsn()::text")[0][0]
    done = dbtasks.undo(config, plan)
    written = database.server.run("postgres", "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), %s)", (start,))
    assert (done.way, database.run(files)) == (UndoWay.RENAME, before)
    assert written[0][0] * 20 < size


def test_d13_an_undo_of_an_undo_of_an_undo_goes_on_between_the_two_databases(shop: Shop) -> None:
    config, database = shop
    restore(config)
    for expected in (6, 10, 6, 10):
        done = undo(config)
        assert done.way is UndoWay.RENAME
        assert rows(database) == expected
        assert len(databases(database)) == 2
    assert [r["kind"] for r in read_restores(config.backup_dir)] == ["undo"] * 4 + ["restore"]


def test_the_plan_shows_both_databases_rows_and_who_will_be_ended(shop: Shop) -> None:
    config, database = shop
    restored = restore(config)
    database.run("INSERT INTO item SELECT generate_series(11, 13); CREATE TABLE newer (a int)")
    with contextlib.closing(database.connect()):
        plan = dbtasks.plan_undo(config, dry_run=True)
    changes = {(t.name, t.restored_rows, t.live_rows, t.back_rows) for t in plan.changes}
    assert changes == {("public.item", 10, 13, 6), ("public.newer", None, 0, None)}
    assert plan.last.id == restored.id
    assert len(plan.sessions) == 1
    assert plan.replaced_is_kept == f"{database.name}__before_<time>"
    assert restored.old is not None
    assert restored.old in plan.steps[0]
    assert not plan.consent.protected
    assert rows(database) == 13


@pytest.mark.long
def test_d14_d16_clients_that_reconnect_at_once_do_not_defeat_the_undo(any_shop: Shop) -> None:
    config, database = any_shop
    database.run("CREATE TABLE visit (a int)")
    dbtasks.backup(config)
    restore(config)
    with eight_writers(database):
        before = oid(database)
        done = undo(config)
        assert oid(database) != before
        for _ in range(400):
            if count(database)["public.visit"]:
                break
            time.sleep(0.05)
    assert done.sessions_ended >= 8
    assert count(database)["public.visit"] > 0, "the application goes on in the database that came back"


@pytest.mark.long
def test_a_session_that_may_not_be_ended_is_named_and_nothing_changes(pg: PgServer, tmp_path: Path) -> None:
    owner = pg.create_role("LOGIN CREATEDB")
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        config = backed_up(tmp_path, mine, lock_timeout="1")
        restored = restore(config)
        plan = dbtasks.plan_undo(config)
        with contextlib.closing(database.connect()), pytest.raises(Busy, match=r"process \d+ \(postgres\)"):
            dbtasks.undo(config, plan)
        assert rows(mine) == 10
        assert str(record_of(config)["state"]).startswith("failed")
        assert undo(config).undone.id == restored.id
        assert rows(mine) == 6


def test_what_an_undo_keeps_is_written_down_before_the_exchange(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, database = shop
    restored = restore(config)
    live = oid(database)
    seen: list[tuple[dict[str, Any], list[str]]] = []
    exchange = swap._exchange

    def look(*arguments: Any) -> None:
        seen.append((record_of(config), databases(database)))
        exchange(*arguments)

    monkeypatch.setattr(swap, "_exchange", look)
    done = undo(config)
    record, there = seen[0]
    assert (record["kind"], record["state"], record["undoes"]) == ("undo", "swapping", restored.id)
    assert (record["old"], record["took"]) == (done.old, restored.old)
    assert record["kept_oid"] == live
    assert done.old not in there


def test_d16_a_bug_behind_the_exchange_leaves_an_undo_that_the_next_one_finds(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, database = shop
    restore(config)
    exchange = swap._exchange

    def and_a_bug(*arguments: Any) -> None:
        exchange(*arguments)
        raise ValueError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(swap, "_exchange", and_a_bug)
        with pytest.raises(ValueError, match="a bug"):
            undo(config)
    assert rows(database) == 6
    assert record_of(config)["state"] == "swapping"
    undo(config)
    assert rows(database) == 10


def test_what_is_asked_and_exchanged_goes_through_a_psql_held_open_as_in_a_container_too(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, database = shop

    def by_psql(self: Any, name: str) -> Any:
        prepare = (PREPARE, {"lock": "30000ms"})
        return connect_psql(self.runner, name, user=self._target.user, env={}, prepare=prepare)

    monkeypatch.setattr(HostAccess, "session", by_psql)
    restore(config)
    plan = dbtasks.plan_undo(config)
    assert {(t.restored_rows, t.live_rows, t.back_rows) for t in plan.changes} == {(10, 10, 6)}
    assert not plan.consent.protected
    assert dbtasks.undo(config, plan).way is UndoWay.RENAME
    assert rows(database) == 6
    undo(config)
    assert rows(database) == 10


def test_a_kept_database_that_went_to_somebody_else_fails_and_is_written_down_as_failed(
    pg: PgServer, tmp_path: Path
) -> None:
    owner = pg.create_role("LOGIN CREATEDB")
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        config = backed_up(tmp_path, mine)
        restored = restore(config)
        plan = dbtasks.plan_undo(config)
        pg.run("postgres", f'ALTER DATABASE "{restored.old}" OWNER TO postgres')
        with pytest.raises(dbtasks.DbTasksError, match="must be owner"):
            dbtasks.undo(config, plan)
        assert str(record_of(config)["state"]).startswith("failed")
        assert rows(mine) == 10
        assert dbtasks.plan_undo(config).way is UndoWay.SAFETY


# -- by the safety backup ----------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("way", ["cleanup", "drop_old", "by hand"])
def test_where_the_old_database_is_gone_the_safety_backup_comes_back(shop: Shop, way: str) -> None:
    config, database = shop
    restored = restore(config, drop_old=way == "drop_old")
    if way == "cleanup":
        plan = dbtasks.plan_cleanup(config)
        assert (plan.replaced, plan.staying) == ((restored.old,), ())
        dbtasks.cleanup(config, plan)
    elif way == "by hand":
        database.server.drop_database(restored.old or "")
    assert databases(database) == [database.name]
    database.run("INSERT INTO item VALUES (11)")
    plan_ = dbtasks.plan_undo(config)
    assert plan_.way is UndoWay.SAFETY
    assert {(t.restored_rows, t.live_rows, t.back_rows) for t in plan_.changes} == {(10, 11, 6)}
    assert not plan_.consent.protected
    done = dbtasks.undo(config, plan_)
    assert rows(database) == 6
    assert done.safety_backup is not None
    assert done.old in databases(database)
    assert undo(config).way is UndoWay.RENAME
    assert rows(database) == 11


def test_d19_a_restore_in_place_is_taken_back_in_place(pg: PgServer, tmp_path: Path) -> None:
    owner = pg.create_role()
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        config = backed_up(tmp_path, mine)
        before = oid(mine)
        assert restore(config).way_back == "db.undo"
        assert record_of(config)["live_oid"] == before
        plan = dbtasks.plan_undo(config)
        assert not plan.consent.protected
        assert plan.restoring is not None
        assert plan.restoring.load.strategy == "in place"
        dbtasks.undo(config, plan)
        assert (oid(mine), rows(mine)) == (before, 6)
        undo(config)
        assert rows(mine) == 10


def test_a_role_that_may_no_longer_rename_goes_by_the_safety_backup(pg: PgServer, tmp_path: Path) -> None:
    owner = pg.create_role("LOGIN CREATEDB")
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        config = backed_up(tmp_path, mine)
        restore(config)
        pg.run("postgres", f"ALTER ROLE {owner.user} NOCREATEDB")
        plan = dbtasks.plan_undo(config)
        assert plan.way is UndoWay.SAFETY
        assert "CREATEDB" in plan.why
        dbtasks.undo(config, plan)
        assert rows(mine) == 6


def test_what_would_stay_with_the_other_database_is_told_and_nothing_is_exchanged(shop: Shop) -> None:
    config, database = shop
    restore(config, skip_safety_backup=True)
    name = f"sub_{database.name}"
    database.run(
        f"CREATE SUBSCRIPTION {name} CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE)"
    )
    try:
        with pytest.raises(Refused, match=f"the subscription {name}"):
            dbtasks.plan_undo(config)
    finally:
        database.run(f"DROP SUBSCRIPTION {name}")
    assert rows(database) == 10


# -- changed hands ------------------------------------------------------------------------


def test_a_restore_from_another_machine_since_is_refused(shop: Shop, tmp_path: Path) -> None:
    config, database = shop
    safety = restore(config).safety_backup
    elsewhere = configured(tmp_path / "elsewhere", database)
    made = dbtasks.backup(elsewhere)
    restore(elsewhere, made.id)
    with pytest.raises(Refused, match=r"changed hands.*restored or made anew by somebody else") as caught:
        dbtasks.plan_undo(config)
    assert safety is not None
    assert f"--file={safety.id}" in caught.value.hint
    assert rows(database) == 10


def test_a_database_that_was_made_anew_or_dropped_is_refused(shop: Shop) -> None:
    config, database = shop
    restore(config)
    database.server.drop_database(database.name)
    with pytest.raises(Refused, match="any more"):
        dbtasks.plan_undo(config)
    database.server.create_database(database.name)
    with pytest.raises(Refused, match="changed hands"):
        dbtasks.plan_undo(config)


def test_a_kept_database_that_is_another_one_is_refused(shop: Shop) -> None:
    config, database = shop
    old = restore(config).old
    assert old
    database.server.drop_database(old)
    database.server.create_database(old)
    with pytest.raises(Refused, match="is not the database that was replaced"):
        dbtasks.plan_undo(config)
    assert rows(database) == 10


def test_databases_that_change_between_plan_and_act_are_not_exchanged(shop: Shop) -> None:
    config, database = shop
    old = restore(config).old
    assert old
    plan = dbtasks.plan_undo(config)
    database.server.drop_database(old)
    database.server.create_database(old)
    with pytest.raises(Refused, match="when this was planned"):
        dbtasks.undo(config, plan)
    assert rows(database) == 10


def test_another_server_at_the_address_is_refused(shop: Shop) -> None:
    config, database = shop
    restore(config)
    record = record_of(config)
    write_restore(config.backup_dir, str(record["id"]), {**record, "system_identifier": "1"})
    with pytest.raises(Refused, match="another server answers"):
        dbtasks.plan_undo(config)
    assert rows(database) == 10


def test_a_record_from_before_the_numbers_were_kept_needs_the_typed_name(shop: Shop) -> None:
    config, database = shop
    restore(config)
    record = {k: v for k, v in record_of(config).items() if k not in ("live_oid", "kept_oid", "kind", "rows")}
    write_restore(config.backup_dir, str(record["id"]), record)
    plan = dbtasks.plan_undo(config)
    assert (plan.way, plan.last.kind) == (UndoWay.RENAME, "restore")
    assert plan.consent.protected
    assert "does not prove" in plan.consent.reason
    dbtasks.undo(config, plan)
    assert rows(database) == 6


def test_a_crafted_name_in_a_record_renames_nothing(shop: Shop) -> None:
    config, database = shop
    restore(config, skip_safety_backup=True)
    record = record_of(config)
    victim = database.server.create_database(f"{database.name}_victim")
    forged = {**record, "old": victim.name, "kept_oid": oid(victim)}
    write_restore(config.backup_dir, str(record["id"]), forged)
    with pytest.raises(Refused, match="is not a database that a restore"):
        dbtasks.plan_undo(config)
    assert victim.name in databases(database)


def test_a_database_that_is_kept_although_it_was_empty_is_proved_like_any_other(shop: Shop) -> None:
    config, _ = shop
    restore(config)
    record = {**record_of(config), "before": "empty"}
    write_restore(config.backup_dir, str(record["id"]), record)
    assert dbtasks.plan_undo(config).way is UndoWay.RENAME
    write_restore(config.backup_dir, str(record["id"]), {**record, "live_oid": 1})
    with pytest.raises(Refused, match="changed hands"):
        dbtasks.plan_undo(config)


def test_rows_that_may_not_be_counted_are_said_not_to_be(pg: PgServer, tmp_path: Path) -> None:
    owner = pg.create_role("LOGIN CREATEDB")
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        config = backed_up(tmp_path, mine)
        restore(config)
        database.run("CREATE TABLE hidden AS SELECT 1 AS a")
        plan = dbtasks.plan_undo(config)
        assert plan.way is UndoWay.RENAME
        assert "public.hidden" in plan.not_counted
        assert plan.changes == ()
        dbtasks.undo(config, plan)
        assert rows(mine) == 6


# -- nothing to go back to -------------------------------------------------------------------


def test_a_restore_into_an_empty_or_missing_database_has_nothing_to_go_back_to(
    shop: Shop, tmp_path: Path
) -> None:
    config, database = shop
    made = dbtasks.list_backups(config).backups[0]
    for prepare in (lambda: None, lambda: database.server.create_database(database.name)):
        database.server.drop_database(database.name)
        prepare()
        assert "nothing to go back to" in restore(config, made.id).way_back
        with pytest.raises(NotFound, match="nothing to go back to"):
            dbtasks.plan_undo(config)
    assert rows(database) == 10


def test_no_way_back_is_told_as_such(shop: Shop) -> None:
    config, database = shop
    restore(config, skip_safety_backup=True, drop_old=True)
    with pytest.raises(NotFound, match="no way back was kept"):
        dbtasks.plan_undo(config)
    assert rows(database) == 10


# -- killed ----------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
import dbtasks
from dbtasks.engines.postgres.exchange import swap

when, what, root, url, tools = sys.argv[1:]
config = dbtasks.load_settings(Path(root), environ={}, url=url, via="host", pg_bin=tools, keep="9")
exchange = swap._exchange

def dying(engine, session, *rest):
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    if when == "between":
        execute, done = session.execute, []
        def count(statement, *more):
            execute(statement, *more)
            done.append(1)
            if len(done) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
        session.execute = count
    exchange(engine, session, *rest)
    os.kill(os.getpid(), signal.SIGKILL)

swap._exchange = dying
if what == "undo":
    dbtasks.undo(config, dbtasks.plan_undo(config))
else:
    dbtasks.restore(config, dbtasks.plan_restore(config))
"""


def killed(when: str, what: str, config: dbtasks.Settings, database: PgDatabase) -> None:
    arguments = (when, what, str(config.root), database.url, str(database.server.bin))
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], env=environ, capture_output=True, text=True
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr


@pytest.mark.long
@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_d16_an_undo_killed_around_the_exchange_is_understood_by_the_next(shop: Shop, when: str) -> None:
    config, database = shop
    restored = restore(config)
    killed(when, "undo", config, database)
    assert record_of(config)["state"] == "swapping"
    took_effect = when == "after"
    assert rows(database) == (6 if took_effect else 10), "the live name leads to a whole database"
    assert len(databases(database)) == 2
    killed_id = record_of(config)["id"]
    plan = dbtasks.plan_undo(config)
    assert not plan.consent.protected, "the server shows which is which"
    assert plan.last.id == (killed_id if took_effect else restored.id)
    dbtasks.undo(config, plan)
    assert rows(database) == (10 if took_effect else 6)
    states = {r["id"]: str(r["state"]) for r in read_restores(config.backup_dir)}
    assert states[killed_id].startswith("swapping" if took_effect else "failed")


@pytest.mark.long
@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_d08_d16_a_restore_killed_around_the_exchange_is_understood_by_the_next_undo(
    shop: Shop, when: str
) -> None:
    config, database = shop
    first = restore(config)
    database.run("INSERT INTO item VALUES (11)")
    killed(when, "restore", config, database)
    took_effect = when == "after"
    assert rows(database) == (10 if took_effect else 11)
    done = undo(config)
    assert (done.undone.id == first.id) is not took_effect
    assert rows(database) == (11 if took_effect else 6)


def test_a_restore_killed_before_it_exchanged_anything_leaves_the_one_before_to_be_undone(shop: Shop) -> None:
    config, database = shop
    first = restore(config)
    killed_one = {**record_of(config), "id": "aaaaaa", "state": "loading", "old": None, "live_oid": None}
    killed_one |= {"started_at": "2099-01-01T00:00:00+00:00", "kept_oid": None, "rows": None}
    write_restore(config.backup_dir, "aaaaaa", killed_one)
    assert undo(config).undone.id == first.id
    assert rows(database) == 6


def test_after_a_killed_undo_a_restore_goes_on_as_ever(shop: Shop) -> None:
    config, database = shop
    restore(config)
    killed("before", "undo", config, database)
    restored = restore(config)
    assert undo(config).undone.id == restored.id
    assert rows(database) == 10


@pytest.mark.long
@pytest.mark.parametrize("what", ["undo", "restore"])
def test_a_server_that_goes_away_over_the_commit_is_asked_by_the_next_undo(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    config, database = shop
    restore(config)
    if what == "restore":
        database.run("INSERT INTO item VALUES (11)")
    exchange = swap._exchange

    def lost(*arguments: Any) -> None:
        exchange(*arguments)
        raise TargetUnreachable("the connection broke over the COMMIT")

    def away(*arguments: Any) -> bool:
        raise TargetUnreachable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(swap, "_exchange", lost)
        patched.setattr(swap, "_is_live", away)
        with pytest.raises(TargetUnreachable) as caught:
            undo(config) if what == "undo" else restore(config)
    assert "is not known" in caught.value.state
    record = record_of(config)
    assert (record["kind"], record["state"]) == (what, "swapping"), "nobody knows, and nobody says so"
    assert rows(database) == (6 if what == "undo" else 10)
    assert undo(config).undone.id == record["id"]
    assert rows(database) == (10 if what == "undo" else 11)


# -- cleanup ---------------------------------------------------------------------------------


def test_h03_the_only_way_back_stays_through_a_cleanup_which_says_why(shop: Shop) -> None:
    config, database = shop
    first = restore(config)
    second = restore(config, skip_safety_backup=True)
    plan = dbtasks.plan_cleanup(config)
    assert plan.replaced == (first.old,)
    assert [one.database for one in plan.staying] == [second.old]
    assert "only way back from the last restore" in plan.staying[0].reason
    dbtasks.cleanup(config, plan)
    assert databases(database) == sorted([database.name, str(second.old)])
    assert undo(config).way is UndoWay.RENAME


@pytest.mark.parametrize("harm", ["damaged", "gone"])
def test_h03_a_safety_backup_that_is_no_use_saves_the_old_database(shop: Shop, harm: str) -> None:
    config, database = shop
    restored = restore(config)
    assert restored.safety_backup is not None
    path = restored.safety_backup.path
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-9])
        dbtasks.verify(config, [restored.safety_backup])
    plan = dbtasks.plan_cleanup(config)
    assert plan.replaced == ()
    assert [one.database for one in plan.staying] == [restored.old]
    assert restored.safety_backup.id in plan.staying[0].reason
    dbtasks.cleanup(config, plan)
    undo(config)
    assert rows(database) == 6


def test_h03_after_an_undo_what_it_kept_stays_until_the_next_restore(shop: Shop) -> None:
    config, database = shop
    restore(config)
    kept = undo(config).old
    plan = dbtasks.plan_cleanup(config)
    assert plan.replaced == (), "what came back by its name is live, and is not said to be dropped"
    assert [one.database for one in plan.staying] == [kept]
    assert "undo" in plan.staying[0].reason
    dbtasks.cleanup(config, plan)
    assert databases(database) == sorted([database.name, str(kept)])
    undo(config)
    assert rows(database) == 10
    restore(config)
    gone = dbtasks.plan_cleanup(config)
    # a name that an undo made free may have been given again within the second
    assert len(gone.replaced) == 2
    dbtasks.cleanup(config, gone)
    assert databases(database) == [database.name]


def test_a_backup_between_restore_and_undo_cleans_up_and_the_undo_still_works(shop: Shop) -> None:
    config, database = shop
    restore(config)
    dbtasks.backup(config)
    dbtasks.cleanup(config, dbtasks.plan_cleanup(config))
    assert undo(config).way is UndoWay.SAFETY
    assert rows(database) == 6


# -- the task ----------------------------------------------------------------------------------


def test_the_tasks_own_words_name_the_undo_and_what_is_kept(project: Project, pg_db: PgDatabase) -> None:
    project.mount()
    pg_db.run("CREATE TABLE public.item (id int PRIMARY KEY); INSERT INTO public.item VALUES (1)")
    environ = {"DATABASE_URL": pg_db.url, "DBTASKS_PG_BIN": str(pg_db.server.bin), "DBTASKS_VIA": "host"}
    assert project.invoke("db.backup", **environ).returncode == 0
    pg_db.run("DELETE FROM item")
    ran = project.invoke("db.restore", "--file=latest", "--skip-safety-backup", "--yes", **environ)
    assert "back again: invoke db.undo\n" in ran.stdout
    assert "the only way back" in ran.stdout
    listed = project.invoke("db.cleanup", "--dry-run", **environ)
    assert f"keep    {pg_db.name}__before_" in listed.stdout
    assert "the only way back from the last restore" in listed.stdout
    shown = project.invoke("db.undo", "--dry-run", **environ)
    assert f"Kept     what {pg_db.name} holds now, as {pg_db.name}__before_<time>" in shown.stdout
    done = project.invoke("db.undo", "--yes", **environ)
    assert done.returncode == 0, done.stderr
    assert " by rename in " in done.stdout
    assert f"what it held until now is kept as {pg_db.name}__before_" in done.stdout
    assert pg_db.run("SELECT count(*) FROM item") == [(0,)]


def test_a_claim_from_another_machine_holds_the_undo_off(shop: Shop) -> None:
    from dbtasks.engines.postgres.exchange.claim import claimed
    from tests.postgres.restoring import engine_on

    config, database = shop
    restore(config)
    plan = dbtasks.plan_undo(config)
    with engine_on(database) as engine, claimed(engine), pytest.raises(Busy, match="under way"):
        dbtasks.undo(config, plan)
    assert rows(database) == 10
    assert len(read_restores(config.backup_dir)) == 1
