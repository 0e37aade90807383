"""The SQLite databases: a shop with keys, indexes, text and blobs; a few very wide rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from .words import Prose

__all__ = ["build_shop", "build_wide"]

SEED = 20261122
WIDE_VALUE_BYTES = 50_000_000
WIDE_ROWS = 3
SHOP = """
CREATE TABLE user (id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(80) NOT NULL, email TEXT UNIQUE,
    active BOOLEAN NOT NULL, balance DECIMAL(12,2), joined DATETIME NOT NULL);
CREATE TABLE purchase (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES user (id), state TEXT NOT NULL,
    placed DATETIME NOT NULL, remark TEXT);
CREATE TABLE purchase_line (purchase_id INTEGER NOT NULL REFERENCES purchase (id), line INTEGER NOT NULL,
    quantity INTEGER, price REAL, PRIMARY KEY (purchase_id, line));
CREATE TABLE document (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES user (id), title TEXT, body TEXT, content BLOB);
"""
INDEXES = """
CREATE INDEX purchase_user ON purchase (user_id);
CREATE INDEX purchase_placed ON purchase (placed);
CREATE INDEX document_user ON document (user_id);
"""
AT_ONE_GB = {"user": 180_000, "purchase": 450_000, "document": 150_000}


def build_shop(path: Path, scale: float) -> int:
    """Make a file of about `scale` GB; return its size in bytes."""
    prose = Prose(SEED)
    phrases = [prose.text(prose.random.randint(3, 12)) for _ in range(4000)]
    users, purchases, documents = (max(20, int(number * scale)) for number in AT_ONE_GB.values())
    with closing(_new(path)) as connection, connection:
        connection.executescript(SHOP)
        for table, width, rows in (
            ("user", 6, _users(phrases, users)),
            ("purchase", 5, _purchases(phrases, purchases, users)),
            ("purchase_line", 4, _lines(purchases)),
            ("document", 5, _documents(prose, phrases, documents, users)),
        ):
            marks = ", ".join("?" * width)
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        connection.executescript(INDEXES)
    return path.stat().st_size


def build_wide(path: Path, value_bytes: int = WIDE_VALUE_BYTES) -> int:
    """Make a file of a few rows whose single values are very large."""
    with closing(_new(path)) as connection, connection:
        connection.execute("CREATE TABLE wide (id INTEGER PRIMARY KEY, body TEXT, content BLOB)")
        for i in range(WIDE_ROWS):
            connection.execute(
                "INSERT INTO wide VALUES (?, CAST(randomblob(?) AS TEXT), randomblob(?))",
                (i, value_bytes // 2, value_bytes),
            )
    return path.stat().st_size


def _new(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def _moment(i: int) -> str:
    return f"20{19 + i % 7}-{1 + i % 12:02}-{1 + i % 28:02} {i % 24:02}:{i % 60:02}:{i * 7 % 60:02}"


def _users(phrases: list[str], number: int) -> Iterator[tuple[object, ...]]:
    for i in range(1, number + 1):
        balance = i % 100_003 / 7 if i % 9 else None
        yield i, phrases[i % 3989][:60], f"u{i}@example.org", int(i % 10 > 0), balance, _moment(i)


def _purchases(phrases: list[str], number: int, users: int) -> Iterator[tuple[object, ...]]:
    for i in range(1, number + 1):
        remark = phrases[i % 3967] if i % 4 == 0 else None
        yield i, 1 + i * 7919 % users, ("new", "paid", "sent", "done")[i & 3], _moment(i), remark


def _lines(purchases: int) -> Iterator[tuple[object, ...]]:
    for i in range(1, purchases + 1):
        for line in range(1, 2 + i % 3):
            yield i, line, 1 + i % 9, (i * 31 + line) % 30_011 / 100


def _documents(prose: Prose, phrases: list[str], number: int, users: int) -> Iterator[tuple[object, ...]]:
    random = prose.random
    for i in range(1, number + 1):
        body = "\n".join(random.choices(phrases, k=40))
        content = random.randbytes(random.randint(0, 5000))
        yield i, 1 + i % users, phrases[i % 3943], body, content
