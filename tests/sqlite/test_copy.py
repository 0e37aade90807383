"""A copy made while others work on the database: one state of it, and nobody's locks lost."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

import dbtasks
from dbtasks.engines.sqlite.dump import copy_live
from dbtasks.settings import Settings, load_settings


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


@pytest.mark.parametrize(("journal", "copies"), [("delete", 30), ("persist", 10), ("wal", 30)])
def test_f02_every_copy_under_a_steady_writer_is_one_state(
    path: Path, tmp_path: Path, journal: str, copies: int
):
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
    try:
        for number in range(copies):
            copy = tmp_path / f"copy{number}"
            copy_live(path, copy, 30.0)
            assert rows_of(copy) == 2000
            with closing(sqlite3.connect(f"file:{copy}?immutable=1", uri=True)) as connection:
                assert connection.execute("SELECT count(DISTINCT name) FROM item").fetchone() == (1,)
    finally:
        over.set()
        writer.join()


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
