"""How deep a copy is looked into: wholly where that is quick, page by page where it is large."""

import sqlite3
from contextlib import closing

import pytest

from dbtasks import backup, verify
from dbtasks.engines.sqlite import facts
from dbtasks.errors import ArchiveDamaged
from tests.sqlite.databases import settings


@pytest.fixture
def forgetful(tmp_path):
    """A database whose index does not know the later rows."""
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1); CREATE INDEX ix ON t (a)")
        (row,) = connection.execute("SELECT * FROM sqlite_master WHERE name = 'ix'").fetchall()
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = 'ix'")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO t VALUES (2)")
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)
    return settings(tmp_path, path)


def test_a_small_copy_is_checked_with_its_indexes(forgetful):
    with pytest.raises(ArchiveDamaged, match="integrity_check") as caught:
        backup(forgetful)
    assert "ix" in caught.value.details
    assert not list(forgetful.backup_dir.rglob("*.sqlite3"))


def test_a_large_copy_is_checked_page_by_page_and_verify_compares_its_indexes(forgetful, monkeypatch):
    monkeypatch.setattr(facts, "FULL_CHECK_BYTES", 0)
    made = backup(forgetful)
    assert "quick_check passed" in made.manifest.verified_how
    (verified,) = verify(forgetful, [made])
    assert not verified.ok
    assert "integrity_check" in verified.how
    assert "ix" in verified.how


def test_a_large_copy_with_a_page_of_noise_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(facts, "FULL_CHECK_BYTES", 0)
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", ((f"{n:0>500}",) for n in range(500)))
        connection.commit()
    with path.open("r+b") as file:
        file.seek(20 * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(ArchiveDamaged, match=r"shop\.db is not a readable SQLite database"):
        backup(settings(tmp_path, path))


def test_tables_examined_side_by_side_keep_their_order_and_their_counts(tmp_path):
    path = tmp_path / "many.db"
    with closing(sqlite3.connect(path)) as connection:
        for number in range(50):
            connection.execute(f"CREATE TABLE t{number:02} (id INTEGER PRIMARY KEY, up REFERENCES t00 (id))")
            rows = ((None, n + 1) for n in range(number))
            connection.executemany(f"INSERT INTO t{number:02} VALUES (?, ?)", rows)
        connection.commit()
    examined = facts.examine(path)
    assert list(examined.rows.items()) == [(f"t{number:02}", number) for number in range(50)]
    # t00 is empty: every row of the others breaks its key
    assert [text.partition(":")[0] for text in examined.broken] == [
        f"t{number:02}" for number in range(1, 50)
    ]
