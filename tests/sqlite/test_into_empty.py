"""A restore into a file that was empty when it was planned: nothing of it is saved, so nothing may have come in up to the copy."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.engines.sqlite import into_empty
from dbtasks.errors import Busy, Refused
from dbtasks.plans import TargetState
from tests.moments import at_phase

from .databases import SIDECARS, ask, assert_whole, content, holder, leftovers, make, process, run, settings

WRITER = """
import sqlite3, sys, time
c = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
c.execute("BEGIN IMMEDIATE")
c.execute("CREATE TABLE customer (n)")
c.executemany("INSERT INTO customer VALUES (?)", [(n,) for n in range(5000)])
print("ready", flush=True)
time.sleep(float(sys.argv[2]))
c.execute("COMMIT")
print("committed", flush=True)
"""

AT_ONCE = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
c.execute("CREATE TABLE customer (n)")
"""

MIGRATING = """
import sqlite3, sys
print("ready", flush=True)
for path in map(str.strip, sys.stdin):
    c = sqlite3.connect(path, timeout=20, isolation_level=None)
    c.execute("CREATE TABLE customer (n)")
    c.close()
    print("made", flush=True)
"""


def no_bytes(path: Path) -> None:
    path.write_bytes(b"")


def emptied(path: Path) -> None:
    run(path, "CREATE TABLE gone (n)")
    run(path, "DROP TABLE gone")


def under_wal(path: Path) -> None:
    run(path, "PRAGMA journal_mode=wal")


EMPTY: list[Callable[[Path], None]] = [no_bytes, emptied, under_wal]
whatever_is_empty = pytest.mark.parametrize("empty", EMPTY)


def planned(
    root: Path, empty: Callable[[Path], object], page_size: int = 4096, rows: int = 100
) -> tuple[Path, dbtasks.Settings, dbtasks.RestorePlan, list[str]]:
    """Plan a restore into an empty file; returns what the backup holds, too."""
    path = make(root / "app.db", rows, page_size=page_size)
    config = settings(root)
    dbtasks.backup(config)
    before = content(path)
    path.unlink()
    empty(path)
    plan = dbtasks.plan_restore(config)
    assert (plan.load.state, plan.safety) == (TargetState.EMPTY, False)
    return path, config, plan, before


@contextmanager
def writing_at_swap(path: Path, seconds: float) -> Iterator[Callable[..., None]]:
    """An application that has written and not committed when the restore goes live, and commits so much later."""
    with ExitStack() as stack:
        started: list[subprocess.Popen[str]] = []

        def write() -> None:
            started.append(stack.enter_context(process(WRITER, path, seconds)))

        yield at_phase("swap", write)
        (application,) = started
        assert application.stdout and application.stdout.readline() == "committed\n"
        assert application.wait() == 0


@whatever_is_empty
def test_h08_what_an_application_commits_while_a_restore_waits_for_it_is_not_overwritten(
    tmp_path: Path, empty: Callable[[Path], object]
) -> None:
    path, config, plan, _ = planned(tmp_path, empty)
    with writing_at_swap(path, 0.5) as on_event, pytest.raises(Refused) as caught:
        dbtasks.restore(config, plan, on_event=on_event)
    assert caught.value.message == "app.db was empty when the restore was planned, and is present now"
    assert caught.value.state == "app.db was not touched"
    assert run(path, "SELECT count(*) FROM customer") == [(5000,)]
    assert run(path, "SELECT name FROM sqlite_master") == [("customer",)]
    assert run(path, "PRAGMA journal_mode") == [("wal" if empty is under_wal else "delete",)]
    assert_whole(path)
    assert leftovers(tmp_path) == []


@whatever_is_empty
@pytest.mark.parametrize("is_open", [False, True], ids=["alone", "others_have_it_open"])
def test_h08_what_comes_in_between_the_look_at_an_empty_file_and_the_copy_is_locked_out_or_seen(
    tmp_path: Path, empty: Callable[[Path], object], is_open: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, config, plan, before = planned(tmp_path, empty)
    copy, came_in = into_empty.copy_pages, list[bool]()

    def write_then_copy(*given: Any, **named: Any) -> None:
        ran = subprocess.run(
            [sys.executable, "-c", AT_ONCE, str(path)], capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0 or "database is locked" in ran.stderr, ran.stderr
        came_in.append(ran.returncode == 0)
        copy(*given, **named)

    monkeypatch.setattr(into_empty, "copy_pages", write_then_copy)
    with ExitStack() as stack:
        if is_open:
            stack.enter_context(holder(path, "SELECT count(*) FROM sqlite_master"))
        try:
            dbtasks.restore(config, plan)
        except Refused as exc:
            assert exc.message == "app.db was empty when the restore was planned, and is present now"
            held = ["customer"]
        else:
            assert content(path) == before
            held = ["item", "item_body", "note"]
        assert run(path, "SELECT name FROM sqlite_master ORDER BY name") == [(name,) for name in held]
    # under WAL there is no lock that could be kept from the one to the other
    assert came_in == [empty is under_wal]
    assert (held == ["customer"]) is (empty is under_wal)
    assert_whole(path)


@whatever_is_empty
@pytest.mark.parametrize(("page_size", "rows"), [(512, 100), (4096, 40_000), (65536, 100)])
def test_an_empty_file_is_filled_whatever_its_pages_and_nothing_is_left_beside_it(
    tmp_path: Path, empty: Callable[[Path], object], page_size: int, rows: int
) -> None:
    path, config, plan, before = planned(tmp_path, empty, page_size, rows)
    result = dbtasks.restore(config, plan)
    assert (content(path), result.warnings) == (before, ())
    assert rows == 100 or run(path, "PRAGMA page_count")[0][0] > 2 * into_empty.STEP
    assert run(path, "PRAGMA journal_mode") == [("wal" if empty is under_wal else "delete",)]
    assert run(path, "PRAGMA page_size") == [(page_size,)]
    assert_whole(path)
    assert [path.with_name(f"app.db{suffix}").exists() for suffix in SIDECARS] == [False] * 3


@whatever_is_empty
def test_f10_an_application_that_has_the_empty_file_open_sees_what_was_restored_and_writes_on(
    tmp_path: Path, empty: Callable[[Path], object]
) -> None:
    path, config, plan, before = planned(tmp_path, empty)
    with holder(path, "SELECT count(*) FROM sqlite_master") as application:
        dbtasks.restore(config, plan)
        assert content(path) == before
        assert ask(application, "SELECT count(*) FROM item") == "[(100,)]"
        assert ask(application, "DELETE FROM item WHERE id = 2") == "[]"
    assert run(path, "SELECT count(*) FROM item") == [(99,)]
    assert_whole(path)


def test_a_backup_of_a_single_page_goes_into_an_empty_file_that_nobody_else_has_open(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    run(path, "CREATE VIEW one AS SELECT 1 AS n")
    config = settings(tmp_path, lock_timeout="0.3")
    dbtasks.backup(config)
    for empty in EMPTY:
        path.unlink()
        empty(path)
        plan = dbtasks.plan_restore(config)
        assert plan.load.state is TargetState.EMPTY
        if empty is under_wal:
            with holder(path, "SELECT count(*) FROM sqlite_master") as application:
                with pytest.raises(Busy, match=f"process {application.pid} has it open") as caught:
                    dbtasks.restore(config, plan)
                assert caught.value.state == "app.db is as it was"
                assert ask(application, "CREATE TABLE mine (n)") == "[]"
                assert ask(application, "DROP TABLE mine") == "[]"
        dbtasks.restore(config, plan)
        assert run(path, "SELECT n FROM one") == [(1,)]
        assert_whole(path)


@pytest.mark.long
@whatever_is_empty
@pytest.mark.parametrize("is_open", [False, True], ids=["alone", "others_have_it_open"])
def test_h08_an_application_that_makes_its_tables_at_the_same_moment_loses_none(
    tmp_path: Path, empty: Callable[[Path], object], is_open: bool
) -> None:
    path, config, plan, _ = planned(tmp_path, empty)
    with process(MIGRATING) as application:
        assert application.stdin and application.stdout
        for number in range(50):
            for suffix in ("", *SIDECARS):
                path.with_name(f"app.db{suffix}").unlink(missing_ok=True)
            empty(path)
            with ExitStack() as stack:
                if is_open:
                    other = stack.enter_context(closing(sqlite3.connect(path)))
                    other.execute("SELECT count(*) FROM sqlite_master").fetchone()

                def begin(number: int = number) -> None:
                    assert application.stdin
                    application.stdin.write(f"{path}\n")
                    application.stdin.flush()
                    # who of the two comes first is not known
                    time.sleep(number % 10 / 1000)

                names = {"customer"}
                try:
                    dbtasks.restore(config, plan, on_event=at_phase("swap", begin))
                    names |= {"item", "item_body", "note"}
                except Refused as exc:
                    assert "was empty when the restore was planned" in exc.message
                assert application.stdout.readline() == "made\n"
                assert {name for (name,) in run(path, "SELECT name FROM sqlite_master")} == names
            assert_whole(path)
