"""What a killed migration leaves on the server: named by db.info, removed by db.cleanup and by the next migration, nobody else's touched."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

import dbtasks
from dbtasks.engines.postgres.exchange.leftovers import MARK
from dbtasks.engines.postgres.migration import arrival
from dbtasks.engines.postgres.names import new_name
from dbtasks.errors import OperationFailed
from dbtasks.executors.restoring.left_proofs import find_left_proofs
from dbtasks.stores.proofs import left_marks
from tests.moments import at_phase
from tests.postgres.leaving import Move, move
from tests.postgres.test_left_proofs import die, killed_in_root

__all__ = ["move"]

pytestmark = [pytest.mark.fault, pytest.mark.skipif(os.name != "posix", reason="SIGKILL")]


def killed(move: Move, phase: str = "check") -> str:
    """Kill a migration; returns the name of the database that it leaves, when its sessions are gone."""
    plan = move.plan()
    killed_in_root(lambda: dbtasks.migrate(move.settings(), plan, on_event=at_phase(phase, die)))
    return left(move)


def left(move: Move) -> str:
    until(lambda: bool(find_left_proofs(move.settings()).databases))
    (name,) = find_left_proofs(move.settings()).names
    assert name in move.databases()
    return name


def until(done: Callable[[], bool]) -> None:
    """Wait: a killed client's backend needs a moment to notice."""
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def told(settings: dbtasks.Settings) -> list[str]:
    return [text for text in dbtasks.inspect(settings).warnings if "migration" in text]


def assert_gone(move: Move) -> None:
    assert [*(move.store / ".proofs").iterdir()] == []
    assert find_left_proofs(move.settings()).names == ()
    assert told(move.settings()) == []


def test_d14_what_a_killed_migration_left_is_told_with_its_command_and_removed_by_it(move: Move) -> None:
    name = killed(move)
    assert name.startswith(f"{move.name}__new_")
    mine, marked = new_name(move.name, "abcdef"), new_name(move.name, "abcdeg")
    for other in (mine, marked):
        move.server.create_database(other)
    move.server.run("postgres", f"COMMENT ON DATABASE \"{marked}\" IS '{MARK}'")
    assert told(move.settings()) == [
        f"{name} was left over by a killed or failed migration: db.cleanup removes it, and so does the next db.migrate"
    ]
    plan = dbtasks.plan_cleanup(move.settings())
    assert (plan.proofs.names, plan.removals.left_over) == ((name,), 1)
    assert name in move.databases(), "a plan removes nothing"
    result = dbtasks.cleanup(move.settings(), plan)
    assert (result.swept, result.failed) == ((name,), ())
    assert move.databases() == [mine, marked], "of the same kind of name, and nobody's leftover"
    for other in (mine, marked):
        move.server.drop_database(other)
    assert_gone(move)


def test_d14_the_tasks_name_it_and_remove_it(move: Move) -> None:
    name = killed(move)
    environ = {"DATABASE_URL": move.server.url(move.name)}
    planned = move.project.invoke("db.cleanup", "--dry-run", **environ)
    assert f"remove  {name}: left over by a killed or failed migration" in planned.stdout, planned.stderr
    done = move.project.invoke("db.cleanup", "--yes", **environ)
    assert f"removed {name}, which an earlier run had left over" in done.stdout, done.stderr
    assert move.databases() == []
    assert_gone(move)


@pytest.mark.long
def test_d14_a_database_that_was_not_marked_yet_is_known_by_its_name_and_goes_with_the_next_migration(
    move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, create = move.plan(), arrival._create

    def kill(*arguments: object) -> None:
        create(*arguments)  # type: ignore[arg-type]
        die()

    def act() -> None:
        monkeypatch.setattr(arrival, "_create", kill)
        dbtasks.migrate(move.settings(), plan)

    killed_in_root(act)
    left(move)
    assert move.migrate().rows == 5
    assert move.databases() == [move.name]
    assert_gone(move)


def test_d14_a_migration_killed_when_its_database_had_its_name_leaves_a_folder_that_goes(move: Move) -> None:
    plan, bring_in = move.plan(), arrival._Made.bring_in

    def act() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(arrival._Made, "bring_in", lambda made: (bring_in(made), die()))
            dbtasks.migrate(move.settings(), plan)

    killed_in_root(act)
    assert move.databases() == [move.name]
    (folder,) = (move.store / ".proofs").iterdir()
    assert told(move.settings()) == [
        f"{folder} was left over by a killed or failed migration: db.cleanup removes it, and so does the next db.migrate"
    ]
    result = dbtasks.cleanup(move.settings(), dbtasks.plan_cleanup(move.settings()))
    assert result.swept == (str(folder),)
    assert move.database.run("SELECT count(*) FROM orders") == [(3,)]
    assert_gone(move)


@pytest.mark.long
def test_d14_one_that_somebody_is_connected_to_stays_and_is_told(move: Move) -> None:
    name = killed(move)
    with contextlib.closing(move.server.connect(name)):
        plan = dbtasks.plan_cleanup(move.settings())
        assert plan.proofs.names == ()
        assert "left over by an earlier migration, stays while" in plan.proofs.in_use[name]
        assert any(
            name in text and "db.cleanup drops it afterwards" in text for text in told(move.settings())
        )
        dbtasks.cleanup(move.settings(), plan)
        assert name in move.databases()
        assert len(left_marks(move.store)) == 1, "it is not forgotten"
    left(move)
    dbtasks.cleanup(move.settings(), dbtasks.plan_cleanup(move.settings()))
    assert move.databases() == []
    assert_gone(move)


def test_d14_one_of_another_server_that_had_this_address_is_told_and_not_touched(move: Move) -> None:
    name = killed(move)
    (mark,) = left_marks(move.store)
    file = mark.folder / "proof"
    assert mark.system_identifier
    file.write_text(json.dumps({**json.loads(file.read_text()), "system_identifier": "1"}))
    plan = dbtasks.plan_cleanup(move.settings())
    assert plan.proofs.names == ()
    assert told(move.settings()) == [plan.proofs.in_use[name]]
    assert f"is on another server, which had the address {mark.server}" in plan.proofs.in_use[name]
    forced = replace(plan, proofs=replace(plan.proofs, databases=(name,)))
    assert dbtasks.cleanup(move.settings(), forced).swept == ()
    assert name in move.databases()


@pytest.mark.long
def test_d14_the_source_tells_where_a_killed_migration_to_elsewhere_is_removed(move: Move) -> None:
    name = killed(move)
    own = dbtasks.load_settings(move.project.root, environ={}, url=f"sqlite:///{move.path}")
    (text,) = told(own)
    assert text.startswith(
        f"{name} at localhost:{move.server.port} may be left over by a killed or failed migration"
    )
    assert f"where {move.name} there is the configured database" in text
    assert text.endswith(f"where that server is gone for good, remove {left_marks(move.store)[0].folder}")
    dbtasks.cleanup(own, dbtasks.plan_cleanup(own))
    assert name in move.databases()
    # the next migration from here is at that server
    plan = dbtasks.plan_migration(own, dbtasks.MigrationJob(target=move.server.url(move.name)))
    dbtasks.migrate(own, plan)
    assert move.databases() == [move.name]
    assert_gone(move)


def test_d14_a_project_with_another_database_of_that_server_removes_it_too(move: Move) -> None:
    plan = move.plan(target=f"{move.name}_other")
    killed_in_root(lambda: dbtasks.migrate(move.settings(), plan, on_event=at_phase("check", die)))
    name = left(move)
    assert name.startswith(f"{move.name}_other__new_")
    assert dbtasks.cleanup(move.settings(), dbtasks.plan_cleanup(move.settings())).swept == (name,)
    assert move.databases() == []
    assert_gone(move)


@pytest.mark.long
def test_d14_what_a_failed_migration_could_not_drop_is_told_as_well(move: Move) -> None:
    role = move.server.create_role("LOGIN CREATEDB")
    with contextlib.ExitStack() as stack:

        def enter() -> None:
            (name,) = move.databases()
            # a superuser's session is not to be ended by an ordinary role
            stack.enter_context(contextlib.closing(move.server.connect(name)))
            raise OperationFailed("something breaks")

        with pytest.raises(OperationFailed, match="something breaks"):
            dbtasks.migrate(move.settings(role), move.plan(role), on_event=at_phase("check", enter))
        (name,) = move.databases()
        assert any(
            f"{name}, left over by an earlier migration, stays" in text for text in told(move.settings(role))
        )
    until(lambda: find_left_proofs(move.settings(role)).databases == (name,))
    dbtasks.cleanup(move.settings(role), dbtasks.plan_cleanup(move.settings(role)))
    assert move.databases() == []
    assert_gone(move)


def test_what_a_living_migration_makes_is_nobodys_leftover(move: Move) -> None:
    seen: list[object] = []

    def look() -> None:
        seen.append((find_left_proofs(move.settings()).names, told(move.settings())))

    dbtasks.migrate(move.settings(), move.plan(), on_event=at_phase("check", look))
    assert seen
    assert set(map(str, seen)) == {"((), [])"}
    assert_gone(move)
