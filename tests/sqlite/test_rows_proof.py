"""Rows backups of SQLite proven by a restore: a temporary file made of their words and rows, checked, counted, gone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import Refused, UsageError
from dbtasks.executors.verify import plan_proofs
from dbtasks.models import Backup, Format
from dbtasks.plans import DumpRequest
from tests.sqlite.databases import leftovers, settings
from tests.sqlite.test_portable import ODD


def made_of(path: Path, script: str, **request: bool) -> tuple[dbtasks.Settings, Backup]:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
        connection.commit()
    config = settings(path.parent, path)
    return config, dbtasks.backup(
        config, dbtasks.BackupJob(request=DumpRequest(format=Format.ROWS, **request))
    )


def proven(config: dbtasks.Settings, made: Backup) -> dbtasks.Verified:
    return dbtasks.verify(config, [made], restore=True)[0]


def test_everything_it_can_hold_is_proven_in_a_temporary_file_and_nothing_is_left(tmp_path: Path) -> None:
    config, made = made_of(tmp_path / "app.db", ODD)
    (tmp_path / "app.db").unlink()
    done = proven(config, made)
    assert done.ok, done.how
    assert done.restored is not None
    assert done.restored.rows == sum(made.manifest.counts.values())
    assert done.restored.how.startswith("restored into a temporary file; ")
    assert list((config.backup_dir / ".proofs").iterdir()) == []
    assert leftovers(tmp_path) == []
    (stored,) = dbtasks.list_backups(config).backups
    assert stored.manifest.restored_how == done.restored.how


def test_what_this_sqlite_cannot_make_is_why_there_is_no_proof_and_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.create_collation("ours", lambda a, b: (a > b) - (a < b))
        connection.executescript("CREATE TABLE t (a TEXT COLLATE ours); INSERT INTO t VALUES ('x')")
        connection.execute("CREATE INDEX by_a ON t (a)")
        connection.commit()
    config = settings(tmp_path, path)
    made = dbtasks.backup(config, dbtasks.BackupJob(request=DumpRequest(format=Format.ROWS)))
    with pytest.raises(Refused, match=r"cannot be proven by a restore: .*no such collation sequence"):
        proven(config, made)
    with pytest.raises(Refused, match="cannot be proven by a restore"):
        plan_proofs(config, [made])
    (stored,) = dbtasks.list_backups(config).backups
    assert (stored.manifest.damage, stored.manifest.restored_at) == ("", None)


@pytest.mark.parametrize("part", ["schema_only", "data_only"])
def test_b10_a_part_is_proven_by_what_it_holds_and_rows_alone_cannot_be(tmp_path: Path, part: str) -> None:
    config, made = made_of(
        tmp_path / "app.db", "CREATE TABLE a (x); INSERT INTO a VALUES (1)", **{part: True}
    )
    if part == "schema_only":
        assert proven(config, made).ok
        return
    with pytest.raises(Refused, match="holds rows alone"):
        proven(config, made)


def test_a_database_without_tables_is_proven_too(tmp_path: Path) -> None:
    config, made = made_of(tmp_path / "app.db", "CREATE VIEW v AS SELECT 1")
    assert proven(config, made).ok


def test_a_place_on_a_server_means_nothing_for_it(tmp_path: Path) -> None:
    config, made = made_of(tmp_path / "app.db", "CREATE TABLE a (x)")
    with pytest.raises(UsageError, match="means nothing for SQLite"):
        dbtasks.verify(config, [made], restore=True, where="server")
