"""A restore or an undo killed between any two of its steps: what is live, what is said, and what it left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.engines.postgres.names import is_new_name, new_name
from dbtasks.engines.routes import open_engine
from dbtasks.errors import Busy, Refused
from dbtasks.executors.cleanup import CleanupResult
from dbtasks.executors.restoring.killed import told_of_killed
from dbtasks.journal import read_restores, write_restore
from tests.conftest import REPOSITORY, Project
from tests.fix_postgres import PgDatabase
from tests.postgres.restoring import databases, engine_on
from tests.postgres.test_orphans import until
from tests.postgres.test_swap import ABOUT
from tests.postgres.test_undo import Shop, backed_up, record_of, restore, rows

pytestmark = pytest.mark.long

STEPPING = """
import os, signal, sys
from pathlib import Path
import dbtasks
from dbtasks.executors import undo as undoing
from dbtasks.executors.restoring import present
from dbtasks.psql import PsqlSession, render
from dbtasks.runners.host import HostRunner
from dbtasks.sessions import PsycopgSession

number, what, root, url, tools = sys.argv[1:]
config = dbtasks.load_settings(Path(root), environ={}, url=url, via="host", pg_bin=tools, keep="9")
steps = None  # counted from the record on: what comes before it only reads, and backs up

def step(text):
    global steps
    if text.startswith("record"):
        steps = steps or []
    if steps is None:
        return
    steps.append(text)
    if len(steps) > int(number) if number.isdigit() else text == number:
        print(text, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

def before(owner, name, told):
    act = getattr(owner, name)
    def stepping(*given, **named):
        step(told(*given))
        return act(*given, **named)
    setattr(owner, name, stepping)

for session in (PsycopgSession, PsqlSession):
    before(session, "execute", lambda self, query, *rest: render(query))
before(HostRunner, "run", lambda self, command, *rest: command.tool)
for module in (present, undoing):
    before(module, "write_restore", lambda root, id_, record: "record " + record["state"])

if what == "undo":
    dbtasks.undo(config, dbtasks.plan_undo(config))
else:
    flags = {"in place": {"in_place": True}, "drop old": {"drop_old": True}}.get(what, {})
    job = dbtasks.RestoreJob("latest:manual", request=dbtasks.LoadRequest(**flags))
    dbtasks.restore(config, dbtasks.plan_restore(config, job))
step("the end")
"""
BEFORE, AFTER, OF_ITS_OWN = 7, 10, "work_mem=3MB"
SETTING = """
    SELECT array_to_string(setconfig, ',') FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase
    WHERE datname = current_database()
"""


@pytest.fixture
def shop(tmp_path: Path, pg_db: PgDatabase) -> Shop:
    """Seven items; the backup has ten; the last restore replaced six."""
    name = f'"{pg_db.name}"'
    pg_db.run(f"ALTER DATABASE {name} SET work_mem TO '3MB'; COMMENT ON DATABASE {name} IS 'the shop''s'")
    pg_db.run(f"ALTER DATABASE {name} CONNECTION LIMIT 17; REVOKE ALL ON DATABASE {name} FROM PUBLIC")
    config = backed_up(tmp_path, pg_db)
    restore(config)
    pg_db.run("DELETE FROM item WHERE id > 7")
    return config, pg_db


@dataclass(frozen=True)
class Died:
    """How far one run came."""

    step: str
    """Before which it was killed; nothing where it came to its end."""

    @property
    def is_over(self) -> bool:
        return not self.step


def killed_before(step: int | str, what: str, shop: Shop) -> Died:
    """Run it and kill it before so many steps, or before the first of that name."""
    config, database = shop
    arguments = (str(step), what, str(config.root), database.url, str(database.server.bin))
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ran = subprocess.run(
        [sys.executable, "-c", STEPPING, *arguments], env=environ, capture_output=True, text=True, check=False
    )
    assert ran.returncode in (0, -signal.SIGKILL), ran.stderr
    assert (ran.returncode == 0) is (ran.stdout == "")
    return Died(ran.stdout.strip())


def about(database: PgDatabase) -> list[Any]:
    return [*database.run(ABOUT), *database.run(SETTING)]


def look(shop: Shop, died: Died, live: tuple[int, int], mine: list[Any]) -> bool:
    """See that the live database is one of the two and takes a row; return whether it is the new one."""
    config, database = shop
    there = rows(database)
    assert there in live, died
    assert about(database) == mine, died
    assert database.run("INSERT INTO item VALUES (99) RETURNING id") == [(99,)]
    database.run("DELETE FROM item WHERE id = 99")
    safeties = [b for b in dbtasks.list_backups(config).backups if str(b.manifest.type) == "safety"]
    assert all(result.ok for result in dbtasks.verify(config, safeties[:1]))
    return there == live[1]


def clean_up(config: dbtasks.Settings) -> CleanupResult:
    return dbtasks.cleanup(config, dbtasks.plan_cleanup(config))


def left(database: PgDatabase) -> list[str]:
    return [name for name in databases(database) if is_new_name(database.name, name)]


def told(config: dbtasks.Settings) -> list[str]:
    """What db.info says of killed restores, and nothing of all it asks besides."""
    with open_engine(config) as engine:
        return list(told_of_killed(config, engine))


EXCHANGE = ["record swapping", "BEGIN", "ALTER", "COMMENT", "ALTER", "COMMIT"]
WALKS = {
    "drop old": ["record loading", "CREATE", "COMMENT", "pg_restore", "ANALYZE", *EXCHANGE, "DROP", "record done"],
    "in place": ["record loading", "BEGIN", "DROP", "ANALYZE", "record swapping", "COMMIT", "record done"],
    "undo": [*EXCHANGE, "record done"],
}  # fmt: skip


def is_along(wanted: list[str], steps: list[str]) -> bool:
    """Whether all of these were met, in this order, whatever else was."""
    going = iter(steps)
    return all(any(step.startswith(word) for step in going) for word in wanted)


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("what", WALKS)
def test_d08_d16_a_kill_between_any_two_steps_leaves_one_of_two_whole_databases_and_says_how_to_go_on(
    shop: Shop, what: str
) -> None:
    config, database = shop
    mine, steps, effects = about(database), list[str](), list[bool]()
    live = (BEFORE, 6) if what == "undo" else (BEFORE, AFTER)
    while not (died := killed_before(len(steps), what, shop)).is_over:
        until(lambda: _nobody_at_it(database))
        steps.append(died.step)
        effects.append(look(shop, died, live, mine))
        id_ = record_of(config)["id"] if len(steps) > 1 else ""
        _go_on(shop, died, id_, effects[-1])
        _as_it_was(shop, what)
    assert is_along(WALKS[what], steps), steps
    assert effects == sorted(effects), "from one step on, and only from there, the new one is live"
    assert effects[steps.index("COMMIT") + 1 :] == [True] * (len(steps) - steps.index("COMMIT") - 1)
    assert not effects[steps.index("COMMIT")]


def _nobody_at_it(database: PgDatabase) -> bool:
    at_it = "SELECT count(*) FROM pg_stat_activity WHERE left(datname, %s) = %s AND datname <> %s"
    name = database.name
    return database.server.run("postgres", at_it, (len(name), name, name)) == [(0,)]


def _go_on(shop: Shop, died: Died, id_: str, took_effect: bool) -> None:
    """What is said fits what is there, what was left is offered and goes, and the next undo knows what to take back."""
    config, database = shop
    remains = left(database)
    assert remains in ([], [new_name(database.name, id_)]), died
    said = told(config)
    # behind its last record a run only gives its lock back
    if id_ and record_of(config)["state"] != "done":
        assert any(f"{id_} was killed: {database.name} is " in text and "db." in text for text in said), died
        # the names tell whether they were exchanged; of a transaction nothing does
        unsure = record_of(config)["strategy"] == "in place" and record_of(config)["state"] == "swapping"
        assert any("is as it was;" in text for text in said) is not (took_effect or unsure), died
    assert [text.split()[0] for text in said if "left over" in text] == remains, died
    plan = dbtasks.plan_cleanup(config)
    assert list(plan.remains.names) == remains, died
    shown = {*plan.replaced, *(one.database for one in plan.staying)}
    kept = str(record_of(config).get("old"))
    assert kept in databases(database) or kept not in shown, "what never came to be is not shown as kept"
    assert list(clean_up(config).swept) == remains, died
    assert left(database) == []
    assert not [text for text in told(config) if "left over" in text]
    plan = dbtasks.plan_undo(config)
    assert (plan.last.id == id_) or not took_effect
    if took_effect:
        dbtasks.undo(config, plan)
        assert rows(database) == BEFORE


def _as_it_was(shop: Shop, what: str) -> None:
    """Seven items again, and no other database of ours; to be undone is a restore that has replaced six."""
    config, database = shop
    for name in databases(database):
        if name != database.name:
            database.server.drop_database(name)
    if what == "undo":
        database.run("DELETE FROM item; INSERT INTO item SELECT generate_series(1, 6)")
        restore(config, "latest:manual")
    database.run("DELETE FROM item; INSERT INTO item SELECT generate_series(1, 7)")


# -- what a killed restore left --------------------------------------------------------------


def half_loaded(shop: Shop) -> str:
    """Kill a restore in its middle; returns the database it leaves."""
    config, database = shop
    assert killed_before(3, "restore", shop).step == "pg_restore"
    until(lambda: _nobody_at_it(database))
    (name,) = left(database)
    assert name.endswith(record_of(config)["id"])
    return name


def test_d08_what_a_killed_restore_left_is_told_offered_and_dropped_by_the_tasks(
    shop: Shop, project: Project
) -> None:
    config, database = shop
    name = half_loaded(shop)
    project.mount()
    environ = {
        "DATABASE_URL": database.url,
        "DBTASKS_PG_BIN": str(database.server.bin),
        "DBTASKS_VIA": "host",
        "DBTASKS_BACKUP_DIR": str(config.backup_dir),
    }
    info = project.invoke("db.info", **environ).stdout
    assert f"{name} was left over by the killed restore {name[-6:]}: " in info
    (made,) = (b.id for b in dbtasks.list_backups(config).backups if b.manifest.type is dbtasks.Type.MANUAL)
    again = f"invoke db.restore --file={made} does it again"
    assert f"was killed: {database.name} is as it was; {again}" in info
    planned = project.invoke("db.restore", "--file=latest:manual", "--dry-run", **environ)
    assert f"1. drop {name}, left over by an earlier restore" in planned.stdout
    offered = project.invoke("db.cleanup", **environ)
    assert offered.returncode == 6, "nobody is there to ask"
    assert f"drop    {name}: left over by the killed restore {name[-6:]}" in offered.stderr
    assert name in databases(database)
    done = project.invoke("db.cleanup", "--yes", **environ)
    assert done.returncode == 0, done.stderr
    assert f"removed {name}, which an earlier run had left over" in done.stdout
    assert name not in databases(database)
    info = project.invoke("db.info", **environ).stdout
    assert "was killed: " not in info
    assert "left over" not in info


def test_d08_the_next_backup_takes_away_what_a_killed_restore_left(shop: Shop) -> None:
    config, database = shop
    name = half_loaded(shop)
    dbtasks.backup(config)
    clean_up(config)
    assert name not in databases(database)


def test_a_half_loaded_database_that_somebody_uses_stays_and_is_tried_again(shop: Shop) -> None:
    config, database = shop
    name = half_loaded(shop)
    plan = dbtasks.plan_cleanup(config)
    connection = database.server.connect(name)
    try:
        assert dbtasks.plan_cleanup(config).remains.names == ()
        done = dbtasks.cleanup(config, plan)
        assert (done.swept, [text.split(",")[0] for text in done.failed]) == ((), [name])
        with engine_on(database) as engine, pytest.raises(Busy, match="in use"):
            engine.drop_left_over(name)
    finally:
        connection.close()
    assert name in databases(database)


@pytest.mark.parametrize("ending", ["", "__new_", "__new_abcdefg", "__new_abc-ef", "_2__new_abcdef", "__before_abcdef"])  # fmt: skip
def test_nothing_of_another_name_is_dropped_as_left_over(pg_db: PgDatabase, ending: str) -> None:
    name = pg_db.name + ending
    if ending:
        pg_db.server.create_database(name)
    with engine_on(pg_db) as engine, pytest.raises(Refused, match="is not what a restore"):
        engine.drop_left_over(name)
    assert name in databases(pg_db)


def test_a_database_whose_name_only_looks_like_it_is_not_left_over(shop: Shop) -> None:
    config, database = shop
    half_loaded(shop)
    other = database.server.create_database(f"{database.name}__new_abc123")
    assert other.name not in dbtasks.plan_cleanup(config).remains.names
    clean_up(config)
    assert other.name in databases(database)


def test_a_cleanup_without_an_answer_of_the_server_says_what_it_does_not_know(shop: Shop) -> None:
    config, _ = shop
    half_loaded(shop)
    away = dbtasks.load_settings(
        config.root, environ={}, url="postgresql://u@127.0.0.1:1/x", via="host", connect_timeout="1"
    )
    record = record_of(config)
    assert away.target is not None
    moved = {**record, "database": str(away.target.identity), "name": "x"}
    write_restore(config.backup_dir, "zzzzzz", {**moved, "id": "zzzzzz"})
    assert dbtasks.plan_cleanup(away).remains.why_unknown
    assert clean_up(away).ok
    assert [r["id"] for r in read_restores(config.backup_dir) if r.get("swept_at")] == []


def test_a_restore_killed_before_its_exchange_is_judged_by_what_was_live_then(shop: Shop) -> None:
    """A later restore has changed which database is live: that tells nothing of the one before."""
    config, database = shop
    number = 3
    while killed_before(number, "restore", shop).step != "BEGIN":
        number += 1
    killed = record_of(config)["id"]
    restored = restore(config, "latest:manual")
    assert clean_up(config).ok
    states = {record["id"]: str(record["state"]) for record in read_restores(config.backup_dir)}
    assert states[killed].startswith("failed")
    assert states[restored.id] == "done"
    assert rows(database) == AFTER


def test_d08_a_cleanup_does_not_show_what_a_restore_had_dropped_when_it_was_killed(shop: Shop) -> None:
    config, database = shop
    assert not killed_before("record done", "drop old", shop).is_over
    until(lambda: _nobody_at_it(database))
    gone = record_of(config)["old"]
    assert gone not in databases(database)
    for _ in range(2):
        plan = dbtasks.plan_cleanup(config)
        assert gone not in {*plan.replaced, *(one.database for one in plan.staying)}
        # the first says what became of it, and the next goes by what it said
        assert dbtasks.cleanup(config, plan).ok
    undo = dbtasks.plan_undo(config)
    assert undo.last.id == record_of(config)["id"]
    dbtasks.undo(config, undo)
    assert rows(database) == BEFORE


def test_d08_a_cleanup_shows_only_what_is_there_when_the_undo_of_an_undo_was_killed(shop: Shop) -> None:
    config, database = shop
    dbtasks.undo(config, dbtasks.plan_undo(config))
    time.sleep(1.1)  # names go by the second, and one that is free again may be given again
    assert not killed_before("record done", "undo", shop).is_over
    until(lambda: _nobody_at_it(database))
    plan = dbtasks.plan_cleanup(config)
    shown = {*plan.replaced, *(one.database for one in plan.staying)}
    assert shown == {name for name in databases(database) if name.startswith(f"{database.name}__")}
