"""Whatever stands in a SQLite file: what is told before is what happens, and what arrives is proved."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from tests.postgres.leaving import Move, move

__all__ = ["move"]

DECLARED = [
    *("", "INTEGER", "BOOLEAN", "TEXT", "VARCHAR(5)", "BLOB", "REAL", "NUMERIC", "DECIMAL(6,2)", "DATE", "DATETIME"),
    *("TIME", "UUID", "JSON", "JSONB", "TIMESTAMPTZ", "BIGINT", "DOUBLE"),
]  # fmt: skip
VALUES: list[Any] = [
    *(None, 0, 1, -1, 5, 2**62, 1.5, 1e300, 4.71316385632163e16, float("inf"), -0.0, "a", "é\t\\N", "", "2024-01-01"),
    *("2024-01-01 10:00:00", "2024-01-01T10:00:00.1234567Z", "10:00", "{}", "[1", "true", b"", b"\xff", bytes(16)),
    *(1700000000, 1700000000000, 2460000.5, "6f9619ff8b86d011b42d00cf4fc964ff", "12.50", "a\0b"),
    # longer than what is held
    *("x" * 300_000, b"\x00" * 300_000),
]  # fmt: skip
KEYS = ["id INTEGER PRIMARY KEY, ", "id INTEGER PRIMARY KEY, ", "id TEXT PRIMARY KEY, ", ""]


def anything(path: Path, seed: int) -> int:
    """Fill a file with tables of any types and any values; returns how many rows there are."""
    chance = random.Random(seed)
    rows = 0
    path.unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        for number in range(12):
            key = chance.choice(KEYS)
            columns = [
                f'"{chance.choice(("c ", "C"))}{place}" {chance.choice(DECLARED)}{chance.choice(("", "", " NOT NULL", " DEFAULT 0"))}'
                for place in range(chance.randint(1, 5))
            ]
            connection.execute(f'CREATE TABLE "T{number}" ({key}{", ".join(columns)})')
            pool = chance.sample(VALUES, chance.randint(1, 6))
            for own in range(chance.randint(0, 30)):
                row = [
                    *([own] if "INTEGER P" in key else [f"k{own}"] if key else []),
                    *chance.choices(pool, k=len(columns)),
                ]
                marks = ",".join("?" * len(row))
                done = connection.execute(f'INSERT OR IGNORE INTO "T{number}" VALUES ({marks})', row)
                rows += done.rowcount
    return rows


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 30))]
)
def test_any_file_is_migrated_but_for_the_rows_that_were_told_and_proved(move: Move, seed: int) -> None:
    rows = anything(move.path, seed)
    plan = move.plan(on_error=dbtasks.OnError.SKIP)
    report = move.migrate(on_error=dbtasks.OnError.SKIP)
    assert report.rows + report.rejected == rows
    assert (report.rejected > 0) is (plan.misfits > 0)
    assert report.rejected <= plan.misfits
    assert plan.rejects == {one.name: one.proof.rejected for one in report.tables if one.proof.rejected}
