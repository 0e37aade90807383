"""Rows with values that are too long to be held: restored and compared to the last bit, and what processes hold of them."""

from __future__ import annotations

import gzip
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.errors import ArchiveDamaged
from dbtasks.models import Backup
from dbtasks.plans import LoadRequest
from dbtasks.settings import Settings
from tests.conftest import REPOSITORY
from tests.fix_postgres import PgDatabase
from tests.postgres.test_across import rows_of
from tests.postgres.test_rows_across import backed_up, planned, sqlite_of
from tests.postgres.test_rows_restore import settings_of

MB = 1 << 20
LONGEST_JSON = 2 * MB
"""Of JSON a comparison across engines holds the whole document."""
NARROW = 'zwischen é "\\ \n\x01'


def a_file(path: Path, characters: int, *, encoding: str = "UTF-8") -> Path:
    """Make a SQLite file with long texts, blobs and documents of JSON in rows between narrow ones."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA encoding = '{encoding}'")
        connection.execute(
            "CREATE TABLE item (id INTEGER PRIMARY KEY, body TEXT, content BLOB, j JSON, after TEXT)"
        )
        text, blob = 'é"\\\n\x01zwölf' * (characters // 11), os.urandom(characters + 3)
        document = '{"a": ["\\u00e9\\n", 1.50, null], "b": "' + "x" * min(characters, LONGEST_JSON) + '"}'
        rows: list[tuple[Any, ...]] = [
            (1, "one", b"\x00\xff", "{}", NARROW),
            (2, text, None, "[]", NARROW),
            (3, None, blob, None, NARROW),
            (4, "four", b"", "true", None),
            (5, None, None, document, NARROW),
            (6, text[::-1], blob[::-1], None, None),
        ]
        connection.executemany("INSERT INTO item VALUES (?, ?, ?, ?, ?)", rows)
    return path


TABLE = "CREATE TABLE item (id int PRIMARY KEY, body text, content bytea, j json, c char(5), after text);"


def a_database(database: PgDatabase, characters: int) -> None:
    database.run(
        TABLE
        + "INSERT INTO item VALUES (1, 'one', '\\x00ff', '{}', 'a', 'é'), (4, 'four', '', NULL, NULL, NULL);"
        f"INSERT INTO item SELECT 2, repeat(md5('a') || '\\é\"' || chr(10), {characters // 37} + 1), NULL, '[]', 'b', 'b';"
        f"INSERT INTO item SELECT 3, NULL, decode(repeat('00ff5c22', {characters // 4} + 1), 'hex'), NULL, 'c', 'c'"
    )


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, Backup]]:
    """Yield a project, a SQLite file with values of more than a MB, and its rows backup."""
    root = tmp_path_factory.mktemp("wide")
    path = a_file(root / "a.db", 3 * MB // 2)
    yield root, path, backed_up(sqlite_of(path, root))


def restored(config: Settings, backup: Backup) -> None:
    dbtasks.restore(config, planned(config, backup))


def numbers(diff: dbtasks.RowsDiff) -> tuple[int, int, int]:
    (table,) = diff.tables
    return table.added, table.removed, table.changed


@pytest.mark.parametrize("encoding", ["UTF-8", pytest.param("UTF-16le", marks=pytest.mark.long)])
def test_b09_wide_rows_of_sqlite_come_back_with_every_bit(tmp_path: Path, encoding: str) -> None:
    path = a_file(tmp_path / "a.db", 3 * MB // 2, encoding=encoding)
    # text that is none, where a file may hold such
    odd = b"\xff\x00" * 700_001 if encoding == "UTF-8" else b"a\x00" * 700_001
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO item VALUES (9, CAST(? AS TEXT), ?, 'x', CAST(? AS TEXT))", (odd, odd, odd[:8])
        )
        connection.execute("CREATE TABLE bare (a TEXT PRIMARY KEY, b BLOB) WITHOUT ROWID")
        connection.execute("INSERT INTO bare VALUES ('x', zeroblob(2000000))")
    config = sqlite_of(path, tmp_path)
    before = bits_of(path)
    backup = backed_up(config)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE item SET body = 'other', content = NULL")
    restored(config, backup)
    assert bits_of(path) == before
    new = tmp_path / "new.db"
    restored(sqlite_of(new, tmp_path), backup)
    if encoding == "UTF-8":
        assert bits_of(new) == before
    diff = dbtasks.diff_rows(config, backup.id)
    assert not diff.differs


def bits_of(path: Path) -> list[Any]:
    """Return every value of the file by its storage class and its bytes."""
    with closing(sqlite3.connect(path)) as connection:
        names = ("body", "content", "j", "after")
        told = ", ".join(f"typeof({n}), CAST({n} AS BLOB)" for n in names)
        held: list[Any] = connection.execute(f"SELECT id, {told} FROM item ORDER BY id").fetchall()
        (bare,) = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'bare'").fetchone()
        return held + (connection.execute("SELECT * FROM bare").fetchall() if bare else [])


@pytest.mark.long
def test_b09_wide_rows_go_into_the_other_engine_and_back_equal(
    wide: tuple[Path, Path, Backup], pg_db: PgDatabase
) -> None:
    root, path, backup = wide
    there = settings_of(pg_db, root)
    restored(there, backup)
    # of a declared JSON that long, too, it is known that it is JSON
    query = "SELECT attname, atttypid::regtype::text FROM pg_attribute WHERE attrelid = 'item'::regclass AND attnum > 0"
    assert dict(pg_db.run(query)) == {
        "id": "bigint",
        "body": "text",
        "content": "bytea",
        "j": "json",
        "after": "text",
    }
    assert numbers(dbtasks.diff_rows(there, backup.id)) == (0, 0, 0)
    back = root / "back.db"
    restored(sqlite_of(back, root), backed_up(there))
    assert rows_of(back) == rows_of(path)


def test_long_texts_are_no_json_where_they_are_none(pg_db: PgDatabase, tmp_path: Path) -> None:
    path = a_file(tmp_path / "a.db", 3 * MB // 2)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE item SET j = j || ']' WHERE id = 5")
    there = settings_of(pg_db, tmp_path)
    restored(there, backed_up(sqlite_of(path, tmp_path)))
    query = (
        "SELECT atttypid::regtype::text FROM pg_attribute WHERE attrelid = 'item'::regclass AND attname = 'j'"
    )
    assert pg_db.run(query) == [("text",)]


@pytest.mark.long
def test_one_character_of_a_long_value_is_a_change_and_is_told_by_its_beginning(
    wide: tuple[Path, Path, Backup], pg_db: PgDatabase
) -> None:
    root, path, backup = wide
    there = settings_of(pg_db, root)
    restored(there, backup)
    pg_db.run("UPDATE item SET body = body || '.' WHERE id = 2")
    pg_db.run(
        "UPDATE item SET content = set_byte(content, 1000000, 255 - get_byte(content, 1000000)) WHERE id = 3"
    )
    # the same document, as another text
    pg_db.run("UPDATE item SET j = replace(j::text, '1.50', '15e-1')::json WHERE id = 5")
    diff = dbtasks.diff_rows(there, backup.id, values=True)
    assert numbers(diff) == (0, 0, 2)
    (table,) = diff.tables
    changed = {dict(row.key)["id"]: row for row in table.changed_rows}
    assert set(changed) == {2, 3}
    ours, theirs = dict(changed[2].backup or ()), dict(changed[2].against or ())
    with closing(sqlite3.connect(path)) as connection:
        ((text,),) = connection.execute("SELECT body FROM item WHERE id = 2")
    assert ours["body"] == f"{text[:1000]}… ({len(text):,})"
    assert theirs["body"] == f"{text[:1000]}… ({len(text) + 1:,})"
    assert ours["after"] == theirs["after"] == NARROW


def test_long_values_that_were_held_are_like_those_that_came_in_parts(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    # a third of a megabyte: long, and in no row that is too wide to be held
    text = "repeat('é', 350000)"
    pg_db.run(
        "CREATE TABLE t (id int PRIMARY KEY, a text, p char(360000), b text);"
        f"INSERT INTO t SELECT 1, {text}, {text}, 'x'; INSERT INTO t SELECT 2, repeat('z', 3000000), {text}, 'x'"
    )
    config = settings_of(pg_db, tmp_path)
    backup = backed_up(config)
    # what is held on one side comes in parts on the other; char(n) and text are alike but for blanks
    pg_db.run(
        "ALTER TABLE t ALTER p TYPE text; ALTER TABLE t ADD c text; UPDATE t SET p = rpad(p, 2000000) WHERE id = 1;"
        "UPDATE t SET c = repeat('c', 2000000)"
    )
    diff = dbtasks.diff_rows(config, backup.id)
    assert numbers(diff) == (0, 0, 0)
    pg_db.run("UPDATE t SET p = 'y' || p WHERE id = 1")
    assert numbers(dbtasks.diff_rows(config, backup.id)) == (0, 0, 1)


def test_a_damaged_wide_row_is_told_and_nothing_is_touched(
    wide: tuple[Path, Path, Backup], tmp_path: Path
) -> None:
    _, path, backup = wide
    document = gzip.decompress(backup.path.read_bytes())
    crafted = tmp_path / "crafted.json.gz"
    # a quote in the middle of a long text: it ends there, and what follows is no value
    at = document.index(b"zw\xc3\xb6lf", MB)
    crafted.write_bytes(gzip.compress(document[:at] + b'"' + document[at:], 1))
    live = tmp_path / "live.db"
    live.write_bytes(path.read_bytes())
    config = sqlite_of(live, tmp_path)
    job = dbtasks.RestoreJob(str(crafted), request=LoadRequest(unverified=True))
    before = live.read_bytes()
    with pytest.raises(ArchiveDamaged, match=r"a row of item cannot be read"):
        dbtasks.restore(config, dbtasks.plan_restore(config, job))
    assert live.read_bytes() == before
    with pytest.raises(ArchiveDamaged, match=r"a row of item is none"):
        dbtasks.diff_rows(config, str(crafted), unverified=True)


# -- real processes ---------------------------------------------------------------------------

START = """
import sys
from pathlib import Path
import dbtasks
config = dbtasks.load_settings(sys.argv[1], environ={}, url=sys.argv[2], via="auto" if "sqlite" in sys.argv[2] else "python")
"""
RESTORE = """
dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(sys.argv[3], skip_safety_backup=True)))
"""
DIFF = """
assert not dbtasks.diff_rows(config, sys.argv[3], values=True).differs
"""
TELL = """
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""
LONG = 50
"""The longest value, in MB."""


def peak_mb(what: str, url: str, backup: Backup) -> int:
    done = subprocess.run(
        [sys.executable, "-c", START + what + TELL, str(backup.path.parents[2]), url, backup.path],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.long
def test_b09_a_value_of_50_mb_is_never_held_but_where_sqlite_itself_puts_its_row_together(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    peaks: dict[int, dict[str, int]] = {}
    for megabytes in (1, LONG):
        root = tmp_path / str(megabytes)
        root.mkdir()
        path = a_file(root / "a.db", megabytes * MB // 2)
        here, new, back = (f"sqlite:///{root / name}" for name in (path.name, "new.db", "back.db"))
        there = pg_db.url
        pg_db.run("DROP TABLE IF EXISTS item")
        held = peaks[megabytes] = {}
        backup = backed_up(sqlite_of(path, root))
        held["SQLite, compared"] = peak_mb(DIFF, here, backup)
        held["into SQLite's tables"] = peak_mb(RESTORE, here, backup)
        held["into a new SQLite file"] = peak_mb(RESTORE, new, backup)
        held["into PostgreSQL from SQLite"] = peak_mb(RESTORE, there, backup)
        held["PostgreSQL and SQLite, compared"] = peak_mb(DIFF, there, backup)
        pg_db.run("DROP TABLE item")
        a_database(pg_db, megabytes * MB)
        backup = backed_up(settings_of(pg_db, root))
        held["PostgreSQL, compared"] = peak_mb(DIFF, there, backup)
        held["into PostgreSQL's tables"] = peak_mb(RESTORE, there, backup)
        held["into SQLite from PostgreSQL"] = peak_mb(RESTORE, back, backup)
    for name, peak in peaks[LONG].items():
        # twice the row where SQLite makes one of it, and a few blocks on their way
        held_by_sqlite = 2 * LONG if "SQLite's tables" in name or "SQLite f" in name else 0
        assert peak < peaks[1][name] + held_by_sqlite + 24, (name, peaks)
