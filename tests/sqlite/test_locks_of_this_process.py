"""A program that calls dbtasks may have the file open itself: what it locked stays locked.

POSIX takes all locks a process has on a file off it when the process closes any descriptor of that file.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import dbtasks
from dbtasks.engines.sqlite.leaving import leaving_rows
from dbtasks.models import SqliteTarget

from .databases import count, make, settings

TRY = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None) as connection:
    connection.execute("BEGIN IMMEDIATE")
"""

WRITE = """
import sqlite3, sys
from contextlib import closing
with closing(sqlite3.connect(sys.argv[1], isolation_level=None)) as connection:
    connection.execute("DELETE FROM item WHERE id = 0")
"""


def is_locked(path: Path) -> bool:
    """Whether another process may not write."""
    ran = subprocess.run([sys.executable, "-c", TRY, str(path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0 or "database is locked" in ran.stderr, ran.stderr
    return ran.returncode != 0


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Write in this process, and have not committed yet."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM note")
        assert is_locked(path)
        yield
        connection.execute("ROLLBACK")
    assert not is_locked(path)


def restored_into(root: Path) -> None:
    dbtasks.plan_restore(settings(root), dbtasks.RestoreJob(into="other.db"))


def migrated_from(root: Path) -> None:
    # nothing listens there: the source is looked at first
    config = dbtasks.load_settings(root, environ={}, url="postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(dbtasks.errors.DbTasksError):
        dbtasks.plan_migration(config, dbtasks.MigrationJob(source="other.db"))


def left(root: Path) -> None:
    with leaving_rows(SqliteTarget(root / "other.db"), 5.0) as held:
        assert held.tables == ("item", "note")


@pytest.mark.parametrize("look", [restored_into, migrated_from, left])
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_file_that_this_process_writes_to_stays_locked_when_it_is_looked_at(
    tmp_path: Path, journal: str, look: Callable[[Path], None]
) -> None:
    make(tmp_path / "app.db")
    dbtasks.backup(settings(tmp_path))
    other = make(tmp_path / "other.db", 5, journal=journal)
    with written_to(other):
        look(tmp_path)
        assert is_locked(other)


def test_a_file_whose_rows_are_read_stays_locked_against_whoever_closes_it_last(tmp_path: Path) -> None:
    """Who closes a file under WAL and finds nobody else there removes the log, under the reader's feet."""
    path = make(tmp_path / "app.db", 5, journal="wal")
    with leaving_rows(SqliteTarget(path), 5.0) as held:
        ran = subprocess.run(
            [sys.executable, "-c", WRITE, str(path)], capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        assert path.with_name("app.db-wal").exists()
        assert held.count("item") == 5
    assert count(path) == 4
