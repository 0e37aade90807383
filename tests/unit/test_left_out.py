"""What is held to count the rows that will be left out lies in a file: memory stays flat."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

COUNTING = """
import sys
from pathlib import Path
from dbtasks.rows.migration.choices import choose, survey_for
from dbtasks.rows.migration.left_out import left_out
from tests.postgres.migrated import opened
with opened(Path(sys.argv[1])) as (connection, schema):
    survey = survey_for(schema, [], None)
    survey.read(connection)
    choices = choose(schema, survey)
    found = left_out(connection, schema, choices, None, skip=True)
status = Path("/proc/self/status").read_text()
print(found.rows["seen"], found.rows["of"], int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


def counted(path: Path, rows: int) -> list[int]:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            f"""PRAGMA foreign_keys = OFF;
            CREATE TABLE seen (at DATETIME PRIMARY KEY, note TEXT);
            CREATE TABLE of (id INTEGER PRIMARY KEY, at DATETIME REFERENCES seen (at));
            WITH n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {rows - 1})
                INSERT INTO seen SELECT datetime(1000000000 + i, 'unixepoch'), CASE WHEN i % 2 THEN x'00' END FROM n;
            INSERT INTO of SELECT rowid, at FROM seen;
            INSERT INTO seen SELECT replace(at, ' ', 'T'), '' FROM seen WHERE rowid % 4 = 1"""
        )
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    return [int(number) for number in done.stdout.split()]


@pytest.mark.long
def test_b09_memory_does_not_grow_with_the_rows_that_are_counted(tmp_path: Path) -> None:
    seen, of, few = counted(tmp_path / "few.db", 20_000)
    # every second row fits nowhere, every fourth has a key that is there already
    assert (seen, of) == (15_000, 10_000)
    seen, of, many = counted(tmp_path / "many.db", 400_000)
    assert (seen, of) == (300_000, 200_000)
    assert many < few + 25
