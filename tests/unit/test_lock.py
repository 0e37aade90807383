"""Run locks, against real second processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from dbtasks.errors import Busy, StoreUnusable
from dbtasks.lock import run_lock
from tests.conftest import REPOSITORY
from tests.samples import SHOP

HOLD = """
import sys
from pathlib import Path
from dbtasks.lock import run_lock
from dbtasks.models import (EngineName, Identity)

identity = Identity(EngineName.POSTGRESQL, sys.argv[2], sys.argv[3])
with run_lock(Path(sys.argv[1]), identity, "db.backup") as descriptor:
    {inside}
"""
WAIT = "print('held', flush=True); sys.stdin.read()"
LEAVE_A_CHILD = """
    import os, subprocess
    child = subprocess.Popen(
        ["sh", "-c", "echo held $$; exec sleep 600"], pass_fds=[descriptor], start_new_session=True
    )
    sys.stdin.read()
"""


@contextmanager
def holder(root: Path, inside: str = WAIT) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that holds the shop's lock until its stdin ends."""
    command = [sys.executable, "-c", HOLD.format(inside=inside), str(root), SHOP.server, SHOP.name]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("held")
        try:
            yield process, line
        finally:
            process.kill()


def assert_free(root: Path) -> None:
    with run_lock(root, SHOP, "db.backup"):
        pass


def test_h05_a_second_run_is_told_who_holds_the_lock_and_since_when(tmp_path):
    with holder(tmp_path) as (process, _), pytest.raises(Busy) as caught:
        assert_free(tmp_path)
    assert caught.value.exit_code == 7
    assert "shop on localhost:5432" in caught.value.message
    assert "db.backup runs since 20" in caught.value.hint
    assert f"(process {process.pid})" in caught.value.hint


def test_a_second_run_in_the_same_process_is_busy_too(tmp_path):
    with run_lock(tmp_path, SHOP, "db.backup"), pytest.raises(Busy):
        assert_free(tmp_path)


def test_the_lock_is_free_after_the_block_and_after_an_exception(tmp_path):
    assert_free(tmp_path)
    with pytest.raises(KeyError), run_lock(tmp_path, SHOP, "db.backup"):
        raise KeyError
    assert_free(tmp_path)


@pytest.mark.fault
def test_h06_the_lock_is_free_at_once_when_its_holder_is_killed(tmp_path):
    with holder(tmp_path) as (process, _):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert_free(tmp_path)


@pytest.mark.fault
def test_h07_the_lock_lives_as_long_as_a_child_that_inherited_it(tmp_path):
    with holder(tmp_path, LEAVE_A_CHILD) as (process, line):
        child = int(line.split()[1])
        try:
            process.send_signal(signal.SIGKILL)
            process.wait()
            with pytest.raises(Busy):
                assert_free(tmp_path)
        finally:
            os.kill(child, signal.SIGKILL)
        # the pipe ends when its last writer, the child, is gone
        assert process.stdout is not None
        process.stdout.read()
        assert_free(tmp_path)


def test_two_databases_do_not_wait_for_each_other(tmp_path):
    others = [
        replace(SHOP, name="shop_test"),
        replace(SHOP, server="db.example.org:5432"),
        replace(SHOP, name="Shop"),
        replace(SHOP, name="shop/../shop"),
    ]
    with run_lock(tmp_path, SHOP, "db.backup"):
        for other in others:
            with run_lock(tmp_path, other, "db.backup"):
                pass


def test_h13_a_long_or_odd_name_makes_a_plain_file_name(tmp_path):
    with run_lock(tmp_path, replace(SHOP, name="../" + "ü\n$ -" * 100), "db.backup"):
        (path,) = (tmp_path / ".locks").iterdir()
    assert len(path.name) < 80
    assert path.name.isascii()


def test_the_message_survives_a_lock_file_with_nonsense_in_it(tmp_path):
    with holder(tmp_path):
        (path,) = (tmp_path / ".locks").iterdir()
        for nonsense in ("", "{", "[]", '{"pid": "x", "since": 3, "task": null}'):
            path.write_text(nonsense)
            with pytest.raises(Busy, match="another run is working on shop"):
                assert_free(tmp_path)


def test_g11_the_lock_file_is_private_under_any_umask(tmp_path):
    before = os.umask(0)
    try:
        with run_lock(tmp_path, SHOP, "db.backup"):
            (path,) = (tmp_path / ".locks").iterdir()
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.parent.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)


def test_g12_a_link_in_its_place_is_not_followed(tmp_path):
    with run_lock(tmp_path, SHOP, "db.backup"):
        (path,) = (tmp_path / ".locks").iterdir()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.unlink()
    path.symlink_to(victim)
    with pytest.raises(StoreUnusable):
        assert_free(tmp_path)
    assert victim.read_text() == "precious"


def test_a26_a_folder_that_cannot_hold_it_is_named(tmp_path):
    (tmp_path / ".locks").write_text("in the way")
    with pytest.raises(StoreUnusable, match=r"cannot open the lock file .*\.locks"):
        assert_free(tmp_path)
