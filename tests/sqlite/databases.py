"""Real SQLite files and real processes that use them."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from dbtasks.settings import Settings, load_settings

SIDECARS = ("-wal", "-shm", "-journal")


def make(
    path: Path, rows: int = 100, *, journal: str = "delete", page_size: int = 4096, width: int = 20
) -> Path:
    """Create a database of two tables, item (with an index) and note."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA page_size={page_size}")
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, body TEXT NOT NULL)")
        connection.execute("CREATE INDEX item_body ON item (body)")
        connection.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, item REFERENCES item (id))")
        connection.executemany("INSERT INTO item VALUES (?, ?)", (body(i, width) for i in range(rows)))
        connection.execute("INSERT INTO note VALUES (1, 1)")
    return path


def body(number: int, width: int = 20) -> tuple[int, str]:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return number, (digest * (width // 64 + 1))[:width]


def run(path: Path, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Run one statement in a connection of its own and commit."""
    with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
        return connection.execute(sql, parameters).fetchall()


def count(path: Path, table: str = "item") -> int:
    return int(run(path, f"SELECT count(*) FROM {table}")[0][0])


def assert_whole(path: Path) -> None:
    """Every page is sound, and the index agrees with its table."""
    assert run(path, "PRAGMA integrity_check") == [("ok",)]


def content(path: Path) -> list[str]:
    """Return everything the database holds, as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def settings(root: Path, database: Path | str = "app.db", **flags: Any) -> Settings:
    """Return settings of a project in `root`, from nothing but these flags."""
    flags.setdefault("lock_timeout", "5")
    return load_settings(root, environ={}, url=f"sqlite:///{database}", **flags)


def tree(root: Path) -> dict[str, tuple[str, int]]:
    """Return every file below a folder with its bytes' hash and its mode."""
    return {
        str(path.relative_to(root)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.lstat().st_mode,
        )
        for path in sorted(root.rglob("*"))
    }


def archives(root: Path) -> list[Path]:
    """Return every published archive below a backup folder."""
    return sorted(p for p in (root / "backups").rglob("*.sqlite3*") if not p.name.endswith(".json"))


def leftovers(root: Path) -> list[str]:
    """Return what no run may leave behind: drafts, scratch folders, staged files."""
    known = {".gitignore", ".locks", ".proofs", ".git", ".env"}
    return [str(p.relative_to(root)) for p in root.rglob(".*") if p.name not in known]


@contextmanager
def process(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run Python code in another process; entered when it has printed its first line."""
    started = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout and started.stdin
    try:
        assert started.stdout.readline().strip() == "ready"
        yield started
    finally:
        started.kill()
        started.wait()
        started.stdout.close()
        started.stdin.close()


WRITER = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
n = 0
while True:
    n += 1
    c.execute("BEGIN IMMEDIATE")
    c.execute("INSERT INTO item (body) VALUES (?)", ("w%d" % n,))
    c.execute("UPDATE item SET body = body || 'x' WHERE id = ?", (n % 50,))
    c.execute("COMMIT")
    if n == 3:
        print("ready", flush=True)
"""

HOLDER = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
for statement in sys.argv[2:]:
    c.execute(statement).fetchall()
print("ready", flush=True)
for line in sys.stdin:
    try:
        print(c.execute(line).fetchall(), flush=True)
    except sqlite3.Error as exc:
        print("ERROR", exc, flush=True)
"""


def writer(path: Path) -> Any:
    """Run a process that commits without pause."""
    return process(WRITER, path)


def holder(path: Path, *statements: str) -> Any:
    """Run an application that has run these statements and keeps its connection open."""
    return process(HOLDER, path, *statements)


def ask(application: subprocess.Popen[str], sql: str) -> str:
    """Let the application run one more statement; returns what it saw."""
    assert application.stdin and application.stdout
    application.stdin.write(f"{sql}\n")
    application.stdin.flush()
    return application.stdout.readline().strip()


CRASH = """
import os, sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("PRAGMA cache_size=5")
c.execute("BEGIN")
c.execute("UPDATE item SET body = body || body || body")
print("ready", flush=True)
sys.stdin.read()
"""


def crash_in_transaction(path: Path) -> Path:
    """Kill a process half-way through a large change: the file is half new, its journal is hot."""
    with process(CRASH, path) as crashing:
        os.kill(crashing.pid, signal.SIGKILL)
        crashing.wait()
    journal = path.with_name(f"{path.name}-journal")
    assert journal.stat().st_size > 0
    return journal


CRASH_WAL = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("PRAGMA journal_mode=wal").fetchone()
c.execute("PRAGMA wal_autocheckpoint=0")
c.execute("CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY, body TEXT NOT NULL)")
c.executemany("INSERT INTO item (body) VALUES (?)", [("wal %d" % i,) for i in range(int(sys.argv[2]))])
print("ready", flush=True)
sys.stdin.read()
"""


def crash_with_wal(path: Path, rows: int) -> Path:
    """Kill a process whose commits lie in the -wal only."""
    with process(CRASH_WAL, path, rows) as crashing:
        os.kill(crashing.pid, signal.SIGKILL)
        crashing.wait()
    wal = path.with_name(f"{path.name}-wal")
    assert wal.stat().st_size > 0
    return wal
