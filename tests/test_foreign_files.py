"""Files of other tools among the backups (C09): shown, never taken for ours, restored only when that is asked for."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import ArchiveDamaged, NotFound, Refused
from dbtasks.plans import LoadRequest
from tests.conftest import Project
from tests.fix_postgres import PASSWORD, PgDatabase, PgServer
from tests.sqlite.databases import content, count, make, run, settings

UNVERIFIED = LoadRequest(unverified=True)


def by_sqlite(root: Path) -> Path:
    """A database file somebody copied."""
    return make(root / "theirs.db", 77)


def gzipped(root: Path) -> Path:
    path = root / "theirs.sqlite3.gz"
    path.write_bytes(gzip.compress(by_sqlite(root).read_bytes()))
    return path


@pytest.mark.parametrize("made", [by_sqlite, gzipped], ids=["plain", "gzip"])
@pytest.mark.parametrize("place", ["backups/manual", "backups", "."])
def test_c09_a_file_of_another_tool_is_foreign_and_comes_in_only_by_name_and_unverified(
    tmp_path: Path, made: Callable[[Path], Path], place: str
) -> None:
    path = make(tmp_path / "app.db", 10)
    config = settings(tmp_path, keep="1")
    own = dbtasks.backup(config)
    before = content(path)
    theirs = tmp_path / place / "db_20300101_000000.sqlite3"
    shutil.copyfile(made(tmp_path), theirs)
    listed = dbtasks.list_backups(config)
    assert [backup.id for backup in listed.backups] == [own.id]
    assert [file.path for file in listed.foreign] == ([theirs] if "backups" in place else [])
    assert dbtasks.find(config, "latest").id == own.id
    with pytest.raises(NotFound):
        dbtasks.find(config, "2")
    # neither counted nor removed by the retention
    plan = dbtasks.plan_cleanup(config)
    assert plan.going == 0
    dbtasks.cleanup(config, plan)
    assert theirs.exists()
    with pytest.raises(Refused, match="no manifest") as caught:
        dbtasks.plan_restore(config, dbtasks.RestoreJob(str(theirs)))
    assert "--unverified" in caught.value.hint
    assert content(path) == before
    # taken at the user's word, but not before it was read to its end
    whole = theirs.read_bytes()
    theirs.write_bytes(whole[:-5000])
    with pytest.raises(ArchiveDamaged):
        dbtasks.plan_restore(config, dbtasks.RestoreJob(str(theirs), request=UNVERIFIED))
    assert content(path) == before
    theirs.write_bytes(whole)
    result = dbtasks.restore(
        config, dbtasks.plan_restore(config, dbtasks.RestoreJob(str(theirs), request=UNVERIFIED))
    )
    assert count(path) == 77
    assert not result.checked_against_manifest
    assert result.safety_backup
    assert theirs.exists()


def test_c09_the_tasks_show_a_foreign_file_apart_and_never_number_it(project: Project) -> None:
    project.mount()
    make(project.root / "app.db", 10)
    (project.root / "backups" / "daily").mkdir(parents=True, mode=0o700)
    (project.root / "backups").chmod(0o700)
    shutil.copyfile(
        project.root / "app.db", project.root / "backups" / "daily" / "db_20300101_000000.sqlite3"
    )
    environ = {"DATABASE_URL": "sqlite:///app.db"}
    assert project.invoke("db.backup", **environ).returncode == 0
    assert "1 foreign file (--all)" in project.invoke("db.list", **environ).stdout
    shown = project.invoke("db.list", "--all", **environ).stdout
    assert "db_20300101_000000.sqlite3" in shown
    assert shown.count("latest") == 1
    assert project.invoke("db.restore", "--file=2", "--yes", **environ).returncode == 4
    assert (
        project.invoke("db.restore", "--file=db_20300101_000000.sqlite3", "--yes", **environ).returncode == 6
    )
    run(project.root / "app.db", "DELETE FROM note")
    taken = ("db.restore", "--file=db_20300101_000000.sqlite3", "--unverified", "--yes")
    assert project.invoke(*taken, **environ).returncode == 0
    assert count(project.root / "app.db", "note") == 1


@pytest.mark.long
@pytest.mark.parametrize("format_", ["c", "p", "d", "t"])
def test_c09_an_archive_of_pg_dump_is_foreign_and_never_latest(
    pg: PgServer, pg_db: PgDatabase, tmp_path: Path, format_: str
) -> None:
    role = pg.create_role()
    pg.run("postgres", f"ALTER DATABASE {pg_db.name} OWNER TO {role.user}; ALTER ROLE {role.user} CREATEDB")
    own = pg_db.seen_by(role)
    own.run("CREATE TABLE t AS SELECT generate_series(1, 7) AS a")
    config = dbtasks.load_settings(tmp_path, environ={}, url=own.url, pg_bin=str(pg.bin), via="host")
    made = dbtasks.backup(config)
    theirs = _dumped(own, tmp_path / "backups" / "manual" / "db_20300101_000000.backup", format_)
    own.run("INSERT INTO t VALUES (8)")
    listed = dbtasks.list_backups(config)
    assert [backup.id for backup in listed.backups] == [made.id]
    assert [file.path for file in listed.foreign] == [theirs]
    assert dbtasks.find(config, "latest").id == made.id
    with pytest.raises(Refused, match="no manifest"):
        dbtasks.plan_restore(config, dbtasks.RestoreJob(theirs.name))
    whole, job = theirs.read_bytes(), dbtasks.RestoreJob(theirs.name, request=UNVERIFIED)
    theirs.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(ArchiveDamaged):
        dbtasks.plan_restore(config, job)
    theirs.write_bytes(whole)
    dbtasks.restore(config, dbtasks.plan_restore(config, job))
    assert own.run("SELECT count(*) FROM t") == [(7,)]


def _dumped(database: PgDatabase, path: Path, format_: str) -> Path:
    server, folder = database.server, path.with_name("laid")
    target = folder if format_ == "d" else path
    command = [server.bin / "pg_dump", f"-F{format_}", "-f", target, "-w", "-h", server.host]
    subprocess.run(
        [*command, "-p", str(server.port), "-U", server.user, database.name],
        env={"PGPASSWORD": PASSWORD, "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )
    if format_ == "d":
        subprocess.run(["tar", "-cf", path, "-C", folder, "."], check=True)
        shutil.rmtree(folder)
    return path
