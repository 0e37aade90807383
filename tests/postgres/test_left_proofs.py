"""What killed proofs and comparisons leave on the server: named by db.info, removed by db.cleanup and by whatever proves next."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import dbtasks
from dbtasks.engines.postgres.loading import beside
from dbtasks.engines.postgres.names import new_name, scratch_name
from dbtasks.executors.restoring.left_proofs import find_left_proofs
from dbtasks.stores.proofs import left_marks
from tests.conftest import REPOSITORY, Project
from tests.fix_postgres import PgDatabase
from tests.moments import at_phase
from tests.ordinary_user import a_folder, as_ordinary_user, forked
from tests.postgres.projects import configured, made_with
from tests.postgres.restoring import databases
from tests.postgres.test_verify_restore import KILLED, proven

pytestmark = [pytest.mark.fault, pytest.mark.skipif(os.name != "posix", reason="SIGKILL")]

Shop = tuple[dbtasks.Settings, PgDatabase]


@pytest.fixture
def shop(pg_db: PgDatabase, tmp_path: Path) -> Shop:
    pg_db.run("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item SELECT generate_series(1, 10)")
    config = configured(tmp_path, pg_db)
    made_with(config)
    return config, pg_db


def killed(shop: Shop) -> str:
    """Kill a proof while it checks; returns the name of the database that it leaves, when its sessions are gone."""
    config, database = shop
    command = [sys.executable, "-c", KILLED, database.url, str(database.server.bin), str(config.root)]
    ran = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    assert ran.returncode == -signal.SIGKILL
    return left(shop)


def killed_in(act: Callable[[], object]) -> None:
    _, status = os.waitpid(forked(act), 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def left(shop: Shop) -> str:
    config, database = shop
    (name,) = set(databases(database)) - {database.name}
    for _ in range(200):
        if find_left_proofs(config).databases:
            break
        time.sleep(0.05)
    assert find_left_proofs(config).names == (name,)
    return name


def assert_gone(shop: Shop) -> None:
    config, database = shop
    assert databases(database) == [database.name]
    assert [*(config.backup_dir / ".proofs").iterdir()] == []
    assert find_left_proofs(config).names == ()


def told(config: dbtasks.Settings) -> list[str]:
    return [text for text in dbtasks.inspect(config).warnings if "killed proof" in text]


def test_a08_what_a_killed_proof_left_is_told_with_its_command_and_removed_by_it(
    shop: Shop, project: Project
) -> None:
    config, database = shop
    name = killed(shop)
    mine = new_name(scratch_name(database.name), "abcdef")
    database.server.create_database(mine)
    assert told(config) == [
        f"{name} was left over by a killed proof or comparison: db.cleanup removes it, and so does the next db.verify"
    ]
    plan = dbtasks.plan_cleanup(config)
    assert (plan.proofs.names, plan.removals.left_over) == ((name,), 1)
    assert set(databases(database)) == {database.name, name, mine}, "a plan removes nothing"
    result = dbtasks.cleanup(config, plan)
    assert (result.swept, result.failed) == ((name,), ())
    assert mine in databases(database), "of the same kind of name, and nobody's leftover"
    database.server.drop_database(mine)
    assert_gone(shop)
    assert told(config) == []


def test_a08_the_next_verify_removes_it_also_without_a_restore(shop: Shop) -> None:
    config, _ = shop
    killed(shop)
    dbtasks.verify(config, [dbtasks.find(config, "latest")])
    assert_gone(shop)


def test_a08_a_database_that_was_not_marked_yet_is_known_by_its_name(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = shop

    def act() -> None:
        made = beside._create_from_manifest

        def kill(*arguments: object) -> None:
            made(*arguments)  # type: ignore[arg-type]
            die()

        monkeypatch.setattr(beside, "_create_from_manifest", kill)
        proven(config, dbtasks.find(config, "latest"))

    killed_in_root(act)
    left(shop)
    dbtasks.cleanup(config, dbtasks.plan_cleanup(config))
    assert_gone(shop)


def killed_in_root(act: Callable[[], object]) -> None:
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            act()
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def test_a08_what_a_killed_comparison_left_is_told_and_removed_by_the_next_one(shop: Shop) -> None:
    config, database = shop
    killed_in_root(lambda: dbtasks.diff_rows(config, on_event=at_phase("compare", die)))
    (name,) = set(databases(database)) - {database.name}
    for _ in range(200):
        if find_left_proofs(config).databases:
            break
        time.sleep(0.05)
    folders = list((config.backup_dir / ".proofs").iterdir())
    assert len(folders) == 2, "its file, and what tells of the database"
    assert find_left_proofs(config).databases == (name,)
    assert len(told(config)) == 2
    assert not dbtasks.diff_rows(config).differs
    assert_gone(shop)


def test_a08_one_that_somebody_is_connected_to_stays_and_is_told(shop: Shop) -> None:
    config, database = shop
    name = killed(shop)
    with contextlib.closing(database.server.connect(name)):
        plan = dbtasks.plan_cleanup(config)
        assert plan.proofs.names == ()
        assert "left over by an earlier proof, stays while" in plan.proofs.in_use[name]
        assert any(
            name in text and "db.cleanup drops it afterwards" in text
            for text in dbtasks.inspect(config).warnings
        )
        dbtasks.verify(config, [dbtasks.find(config, "latest")])
        assert name in databases(database)
        assert len(left_marks(config.backup_dir)) == 1, "it is not forgotten"
    for _ in range(200):
        if find_left_proofs(config).databases:
            break
        time.sleep(0.05)
    dbtasks.cleanup(config, dbtasks.plan_cleanup(config))
    assert_gone(shop)


def test_what_a_living_proof_made_is_nobodys_leftover(shop: Shop) -> None:
    config, _ = shop
    seen: list[tuple[str, ...]] = []
    look = at_phase("check", lambda: seen.append((*find_left_proofs(config).names, *told(config))))
    assert proven(config, dbtasks.find(config, "latest"), on_event=look).ok
    assert seen == [()]
    assert_gone(shop)


def test_a_folder_that_may_not_be_entered_is_no_reason_against_a_proof(pg_db: PgDatabase) -> None:
    pg_db.run("CREATE TABLE item (id int)")
    with a_folder() as home:

        def act() -> None:
            config = configured(home, pg_db)
            made = made_with(config)
            proofs = config.backup_dir / ".proofs"
            proofs.mkdir(mode=0o000)
            try:
                assert proven(config, made).ok
                assert told(config) == []
                assert dbtasks.plan_cleanup(config).proofs.names == ()
            finally:
                proofs.chmod(0o700)

        as_ordinary_user(act)


@pytest.mark.long
def test_the_task_lists_and_removes_it(shop: Shop, project: Project) -> None:
    config, database = shop
    name = killed(shop)
    project.mount()
    environ = {"DATABASE_URL": database.url, "DBTASKS_BACKUP_DIR": str(config.backup_dir)}
    planned = project.invoke("db.cleanup", "--dry-run", **environ)
    assert f"remove  {name}: left over by a killed proof or comparison" in planned.stdout, planned.stderr
    done = project.invoke("db.cleanup", "--yes", **environ)
    assert f"removed {name}, which an earlier run had left over" in done.stdout, done.stderr
    assert_gone(shop)
