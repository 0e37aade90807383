"""The copy of a file's own bytes: only where nobody writes, and the backup API where it cannot be had."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

import dbtasks
from dbtasks.engines.sqlite.at_rest import copy_at_rest
from dbtasks.settings import Settings, load_settings

ROWS = "INSERT INTO item (name) VALUES {}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    return database(tmp_path / "shop" / "app.db", 2000)


def database(path: Path, rows: int) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)")
        connection.executemany(
            "INSERT INTO item (name) VALUES (?)", ((f"item {n}" * 9,) for n in range(rows))
        )
    return path


def settings(path: Path) -> Settings:
    (path.parent / ".git").mkdir(exist_ok=True)
    return load_settings(path.parent, environ={}, url=f"sqlite:///{path}")


def rows_of(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return int(connection.execute("SELECT count(*) FROM item").fetchone()[0])


def programme(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put another `cp` first in the way; `$CP` is the real one."""
    folder.mkdir()
    real = shutil.which("cp")
    (folder / "cp").write_text(f"#!/bin/sh\nCP={real}\nPATH=/usr/bin:/bin\n{script}\n")
    (folder / "cp").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_the_copy_is_the_file_byte_by_byte_and_private(path: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    assert copy_at_rest(path, copy, 1.0)
    assert copy.read_bytes() == path.read_bytes()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["app.db"]


def test_f02_a_writer_waits_while_the_bytes_are_copied_and_is_not_in_the_copy(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    programme(
        tmp_path / "bin", monkeypatch, f'touch {tmp_path}/begun; sleep 1; "$CP" "$@"; touch {tmp_path}/ended'
    )
    ended_before_commit: list[bool] = []

    def write() -> None:
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE item SET name = 'changed'")
            connection.execute("DELETE FROM item WHERE id % 2 = 0")
            connection.execute("COMMIT")
            ended_before_commit.append((tmp_path / "ended").exists())

    writer = threading.Thread(target=write)
    writer.start()
    before = path.read_bytes()
    backup = dbtasks.backup(settings(path))
    writer.join()
    assert ended_before_commit == [True]
    assert rows_of(backup.path) == 2000
    assert backup.path.read_bytes() == before
    assert rows_of(path) == 1000


@pytest.mark.parametrize("journal", ["delete", "truncate", "persist"])
def test_f02_thirty_copies_under_a_steady_writer_are_each_one_state(path: Path, tmp_path: Path, journal: str):
    over = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA journal_mode={journal}")
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("PRAGMA cache_size=10")
            while not over.is_set():
                # every row says the same at every commit
                connection.execute(
                    "UPDATE item SET name = (SELECT hex(randomblob(60)) FROM item WHERE id = 1) || ''"
                )

    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE item SET name = hex(zeroblob(60))")
    writer = threading.Thread(target=write)
    writer.start()
    copied = 0
    try:
        for number in range(30):
            copy = tmp_path / f"copy{number}"
            copied += copy_at_rest(path, copy, 30.0)
            assert rows_of(copy) == 2000
            with closing(sqlite3.connect(f"file:{copy}?immutable=1", uri=True)) as connection:
                assert connection.execute("SELECT count(DISTINCT name) FROM item").fetchone() == (1,)
    finally:
        over.set()
        writer.join()
    assert copied == 30


def test_f01_a_database_in_wal_mode_is_left_to_the_backup_api(path: Path, tmp_path: Path):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("DELETE FROM item WHERE id > 500")
        copy = tmp_path / "copy"
        assert not copy_at_rest(path, copy, 1.0)
        assert not copy.exists()
        assert rows_of(dbtasks.backup(settings(path)).path) == 500


def test_a_copy_that_breaks_off_is_thrown_away_and_the_backup_api_takes_over(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    programme(tmp_path / "bin", monkeypatch, f'touch {tmp_path}/tried; head -c 5000 "$1" >"$2"; exit 1')
    assert rows_of(dbtasks.backup(settings(path)).path) == 2000
    assert (tmp_path / "tried").exists()


def test_another_file_that_comes_in_the_places_of_the_first_is_not_copied_without_a_lock(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    other = database(tmp_path / "other.db", 30)
    programme(tmp_path / "bin", monkeypatch, f'mv {other} "$1"; "$CP" "$@"')
    copy = tmp_path / "copy"
    assert not copy_at_rest(path, copy, 1.0)
    assert not copy.exists()


def test_f12_a_file_of_no_bytes_is_left_to_the_backup_api(tmp_path: Path):
    empty = tmp_path / "app.db"
    empty.touch()
    assert not copy_at_rest(empty, tmp_path / "copy", 1.0)
    assert not (tmp_path / "copy").exists()


def test_without_cp_the_backup_api_copies(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not copy_at_rest(path, tmp_path / "copy", 1.0)
    assert rows_of(dbtasks.backup(settings(path)).path) == 2000


BEGIN = """
import sqlite3, sys
try:
    sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as exc:
    print(exc)
"""


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_backup_inside_an_application_leaves_the_locks_of_its_own_connections(path: Path, journal: str):
    """POSIX drops a process's locks on a file when it closes any descriptor of it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as own:
        own.execute(f"PRAGMA journal_mode={journal}")
        own.execute("BEGIN IMMEDIATE")
        dbtasks.backup(settings(path))
        tried = subprocess.run(
            [sys.executable, "-c", BEGIN, str(path)], capture_output=True, text=True, check=True
        )
        assert tried.stdout.strip() == "database is locked"
        own.execute("DELETE FROM item WHERE id > 10")
        own.execute("COMMIT")
    with closing(sqlite3.connect(path)) as again:
        assert again.execute("SELECT count(*) FROM item").fetchone() == (10,)
