"""db.info --check says before the bad day that no backup could be made; the list says that it cannot be read."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import StoreUnusable, UsageError
from dbtasks.revisions import Revision
from tests.fix_postgres import PgDatabase, PgServer
from tests.sqlite.databases import make, run, settings


@pytest.fixture(autouse=True)
def no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker is not what these tests ask for, and its client leaves a socket open where there is no engine."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")


def pg_settings(root: Path, database: PgDatabase, **flags: str) -> dbtasks.Settings:
    flags.setdefault("pg_bin", str(database.server.bin))
    return dbtasks.load_settings(root, environ={}, url=database.url, via="host", **flags)


def test_a_sound_project_has_no_problems(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    assert dbtasks.inspect(settings(tmp_path)).problems == ()


def test_a_sound_server_has_no_problems(tmp_path: Path, pg_db: PgDatabase) -> None:
    assert dbtasks.inspect(pg_settings(tmp_path, pg_db)).problems == ()


def test_a17_tools_older_than_the_server_are_a_problem(
    tmp_path: Path, pg_db: PgDatabase, pg16: PgServer
) -> None:
    report = dbtasks.inspect(pg_settings(tmp_path, pg_db, pg_bin=str(pg16.bin)))
    assert len(report.problems) == 1
    assert "no backup can be made: pg_dump 16" in report.problems[0]
    assert report.facts is not None


def test_missing_tools_are_a_problem(tmp_path: Path, pg_db: PgDatabase) -> None:
    (tmp_path / "bin").mkdir()
    report = dbtasks.inspect(pg_settings(tmp_path, pg_db, pg_bin=str(tmp_path / "bin")))
    assert any("pg_dump" in text for text in report.problems)


def test_a_backup_dir_that_is_a_file_is_a_problem_and_no_empty_list(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    (tmp_path / "backups").write_text("")
    report = dbtasks.inspect(settings(tmp_path))
    assert any("is not a folder" in text for text in report.problems)
    with pytest.raises(StoreUnusable, match="cannot list the backup folder"):
        dbtasks.list_backups(settings(tmp_path))


def test_a_backup_dir_that_does_not_exist_yet_is_none(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path, backup_dir="far/away/backups")
    assert dbtasks.list_backups(config).backups == ()
    assert dbtasks.inspect(config).problems == ()


def test_a_backup_dir_below_a_file_is_a_problem(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    (tmp_path / "file").write_text("")
    config = settings(tmp_path, backup_dir="file/backups")
    assert dbtasks.inspect(config).problems


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX rights")
def test_a_backup_dir_that_cannot_be_written_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    if os.geteuid() == 0:  # to root everything is writable
        real = os.access
        monkeypatch.setattr(os, "access", lambda p, m: Path(p) != config.backup_dir and real(p, m))
    else:
        config.backup_dir.chmod(0o500)
    try:
        assert any("cannot be written" in text for text in dbtasks.inspect(config).problems)
    finally:
        config.backup_dir.chmod(0o700)


def test_backups_that_git_tracks_are_warned_of(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.fail("these tests need git")
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    made = dbtasks.backup(config)

    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    git("init")
    assert not any("git tracks" in text for text in dbtasks.inspect(config).warnings)
    git("add", "--force", str(made.path))
    assert any("git tracks one file" in text for text in dbtasks.inspect(config).warnings)


def test_migration_table_says_where_the_revision_is_read_from(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    run(path, "CREATE TABLE ours (version_num TEXT)")
    run(path, "INSERT INTO ours VALUES ('a1b2')")
    assert dbtasks.backup(settings(tmp_path)).manifest.revision is None
    made = dbtasks.backup(settings(tmp_path, migration_table="ours"))
    assert made.manifest.revision == Revision("alembic", ("a1b2",))


# -- what a backup does not do ----------------------------------------------------


def test_output_onto_an_existing_file_is_refused_before_the_dump(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    (tmp_path / "mine.txt").write_text("mine")
    job, heard = dbtasks.BackupJob(output=Path("mine.txt")), []
    with pytest.raises(UsageError, match="exists already"):
        dbtasks.backup(settings(tmp_path), job, on_event=heard.append)
    with pytest.raises(UsageError, match="exists already"):
        dbtasks.plan_backup(settings(tmp_path), job)
    assert heard == []
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a24_backups_of_an_emptied_file_push_no_real_one_out(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path, keep="1")
    real = dbtasks.backup(config)
    path.write_bytes(b"")
    for _ in range(3):
        empty = dbtasks.backup(config)
        assert not empty.manifest.complete
        assert "holds no tables" in empty.manifest.warnings[0]
        dbtasks.cleanup(config, dbtasks.plan_cleanup(config))
    assert dbtasks.find(config, "latest").id == real.id
