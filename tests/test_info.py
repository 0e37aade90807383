"""db.info says before the bad day that no backup could be made, and what somebody should look at; it never fails."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import ANY

import pytest

import dbtasks
from dbtasks.console.info import info_lines
from dbtasks.engines import survey as surveying
from dbtasks.engines.survey import Survey, TableSize
from dbtasks.errors import StoreFull, StoreUnusable, UsageError
from dbtasks.events import Event, Phase, RouteTaken
from dbtasks.executors.cleanup import Removals
from dbtasks.executors.inspecting import exposure
from dbtasks.executors.inspecting.exposure import open_to_others
from dbtasks.plans import TargetState
from dbtasks.revisions import Revision
from tests.conftest import Project
from tests.disks import CAN_MOUNT, fill_up, small_disk
from tests.fix_postgres import PgDatabase, PgServer
from tests.samples import MOMENT
from tests.sqlite.databases import make, run, settings
from tests.terminal import at_terminal

T = TypeVar("T")
posix = pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")


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
    if os.geteuid() == 0:
        # git itself refuses a repository of another user's
        os.chown(tmp_path, 65534, 65534)
        assert any("git tracks one file" in text for text in dbtasks.inspect(config).warnings)
    (tmp_path / ".git" / "index").write_bytes(b"no index")
    (said,) = [text for text in dbtasks.inspect(config).warnings if "git" in text]
    assert said.startswith(f"git does not say whether it tracks files in {config.backup_dir} (")
    assert said.endswith(f": git -C {shlex.quote(str(config.backup_dir))} ls-files")


@posix
def test_a_repository_of_another_users_runs_nothing_of_its_configuration(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    script = tmp_path / "hook"
    script.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(tmp_path / 'ran'))}\n")
    script.chmod(0o755)
    subprocess.run(["git", "-C", str(tmp_path), "init"], check=True, capture_output=True)
    for key in ("core.fsmonitor", "core.sshCommand", "core.pager"):
        subprocess.run(["git", "-C", str(tmp_path), "config", key, str(script)], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "add", "-f", "app.db"], capture_output=True, check=False)
    (tmp_path / "ran").unlink(missing_ok=True)
    dbtasks.inspect(config)
    assert not (tmp_path / "ran").exists()


@posix
def test_g20_a_backup_dir_that_is_a_link_is_judged_by_what_it_leads_to(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    (tmp_path / "disk").mkdir(mode=0o700)
    (tmp_path / "backups").symlink_to(tmp_path / "disk")
    config = settings(tmp_path)
    dbtasks.backup(config)
    assert dbtasks.inspect(config).warnings == ()
    (tmp_path / "disk").chmod(0o755)
    (said,) = dbtasks.inspect(config).warnings
    assert said.endswith(f"chmod -R go-rwx {shlex.quote(str(tmp_path / 'disk'))}")
    subprocess.run(said.rpartition(": ")[2], shell=True, check=True)
    assert dbtasks.inspect(config).warnings == ()


@posix
def test_g20_a_file_that_a_password_is_read_from_is_told_when_it_is_open(tmp_path: Path) -> None:
    secret, plain = tmp_path / "secret", tmp_path / "host"
    secret.write_text("hidden\n")
    plain.write_text("127.0.0.1\n")
    for path in (secret, plain):
        path.chmod(0o644)
    environ = {
        "POSTGRES_HOST_FILE": str(plain),
        "POSTGRES_PORT": "1",
        "POSTGRES_PASSWORD_FILE": str(secret),
    }
    config = dbtasks.load_settings(tmp_path, environ=environ, via="host")
    warnings = dbtasks.inspect(config).warnings
    assert [text for text in warnings if "holds a password" in text] == [
        f"{secret} holds a password and is open to other users (mode 0644): chmod 600 {shlex.quote(str(secret))}"
    ]
    assert "hidden" not in str(warnings)
    secret.chmod(0o600)
    assert dbtasks.inspect(config).warnings == ()


@posix
def test_g20_invokes_configuration_is_told_when_it_holds_the_password_and_is_open(project: Project) -> None:
    project.mount()
    file = project.root / "invoke.yaml"
    file.write_text("dbtasks:\n  url: postgresql://app:hidden@127.0.0.1:1/shop\n  via: host\n")
    file.chmod(0o644)
    seen = json.loads(project.invoke("db.info", "--json").stdout)
    told = [text for text in seen["notes"] if str(file) in text]
    assert told == [
        f"{file} holds a password and is open to other users (mode 0644): chmod 600 {shlex.quote(str(file))}"
    ]
    file.chmod(0o600)
    assert not [t for t in json.loads(project.invoke("db.info", "--json").stdout)["notes"] if str(file) in t]


@posix
def test_g20_what_others_can_read_is_named_with_the_command_that_mends_it(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    assert open_to_others(config.backup_dir) == []
    assert dbtasks.inspect(config).warnings == ()
    manifest = made.path.with_name(f"{made.path.name}.manifest.json")
    log = config.backup_dir / "log.jsonl"
    for path in (made.path, manifest, log):
        path.chmod(0o640)
        assert open_to_others(config.backup_dir) == [path]
        (said,) = dbtasks.inspect(config).warnings
        assert said == (
            f"{path} is open to other users (mode 0640): chmod -R go-rwx {shlex.quote(str(config.backup_dir))}"
        )
        path.chmod(0o600)
    for folder in (config.backup_dir, made.path.parent):
        folder.chmod(0o755)
        assert open_to_others(config.backup_dir) == [folder]
        folder.chmod(0o700)
    subprocess.run(["chmod", "-R", "a+rX", str(config.backup_dir)], check=True)
    (said,) = dbtasks.inspect(config).warnings
    assert " more in " in said
    subprocess.run(said.rpartition(": ")[2], shell=True, check=True)
    report = dbtasks.inspect(config)
    assert report.warnings == ()
    assert report.problems == ()


@posix
@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("DATABASE_URL=postgresql://app:hidden@localhost/shop", True),
        ("POSTGRES_PASSWORD=hidden", True),
        ("AWS_SECRET_ACCESS_KEY=hidden", True),
        ("AWS_ACCESS_KEY=hidden", True),
        ("CLIENT_SECRET=hidden", True),
        ("API_TOKEN=hidden", True),
        ("AGE_PASSPHRASE=hidden", True),
        ("DB_PASS=hidden", True),
        ("SMTP_PASS=hidden", True),
        ("MYSQL_PWD=hidden", True),
        ("DATABASE_URL=postgresql://localhost/shop?user=app&password=hidden", True),
        ("PWD=/srv/shop", False),
        ("PGPASSFILE=/home/me/.pgpass", False),
        ("BYPASS=on", False),
        ("DATABASE_URL=postgresql://app@localhost/shop", False),
        ("DATABASE_URL=sqlite:///app.db", False),
        ("POSTGRES_PASSWORD_FILE=/run/secrets/password", False),
        ("POSTGRES_PASSWORD=", False),
    ],
)
def test_g20_a_dotenv_that_others_can_read_is_told_when_it_holds_a_password(
    tmp_path: Path, line: str, secret: bool
) -> None:
    make(tmp_path / "app.db")
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"{line}\n")
    dotenv.chmod(0o644)
    config = settings(tmp_path)
    found = [text for text in dbtasks.inspect(config).warnings if str(dotenv) in text]
    assert bool(found) is secret
    assert not any("hidden" in text for text in found)
    if secret:
        assert found[0].endswith(f"(mode 0644): chmod 600 {shlex.quote(str(dotenv))}")
        dotenv.chmod(0o600)
        assert not any(str(dotenv) in text for text in dbtasks.inspect(config).warnings)


def test_where_files_have_no_modes_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    monkeypatch.setattr(exposure, "POSIX", False)
    assert dbtasks.inspect(config).warnings == ()
    dbtasks.backup(config)
    config.backup_dir.chmod(0o777)
    (said,) = dbtasks.inspect(config).warnings
    assert "keeps nobody out" in said


def test_what_the_next_cleanup_removes_is_told(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path, keep="1")
    assert dbtasks.inspect(config).store.next_cleanup == Removals()
    for _ in range(3):
        dbtasks.backup(config)
    report = dbtasks.inspect(config)
    assert report.store.next_cleanup == Removals(backups=2)
    assert any("The next cleanup removes 2 backups." in line for line in info_lines(report, MOMENT, None))


# -- what --check fails on ------------------------------------------------------------


def test_a_database_that_is_away_is_a_problem_and_everything_else_is_still_told(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    path.unlink()
    report = dbtasks.inspect(config)
    assert report.problems == (
        f"app.db is missing: there is no file {path} (db.restore brings the latest backup back)",
    )
    assert (report.state, report.facts) == (TargetState.MISSING, None)
    assert report.store.latest is not None
    assert report.store.latest.id == made.id
    assert report.forecast is not None


def test_a_server_that_is_away_is_a_problem_and_everything_else_is_still_told(tmp_path: Path) -> None:
    config = dbtasks.load_settings(
        tmp_path, environ={}, url="postgresql://app:hidden@127.0.0.1:1/shop", via="host"
    )
    report = dbtasks.inspect(config)
    (problem,) = report.problems
    assert "127.0.0.1" in problem
    assert "hidden" not in str(report)
    assert [(r.route, r.usable) for r in report.routes] == [
        ("container", False),
        ("host", False),
        ("python", False),
    ]
    assert all(route.why for route in report.routes)
    assert report.store.policy.startswith("Per database")


def test_a_server_that_does_not_answer_is_waited_for_once_by_each_route(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        port = silent.getsockname()[1]
        config = dbtasks.load_settings(
            tmp_path,
            environ={},
            url=f"postgresql://app@127.0.0.1:{port}/shop",
            via="host",
            connect_timeout="2",
            pg_bin=str(pg_db.server.bin),
        )
        report = dbtasks.inspect(config)
        silent.setblocking(False)
        calls = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                silent.accept()[0].close()
                calls += 1
    assert calls == 1
    host = report.routes[1]
    assert (host.usable, host.used) == (False, True)
    assert [tool.name for tool in host.tools] == ["pg_dump", "pg_restore", "psql"]
    assert report.problems == (host.why,)


def test_a_damaged_file_is_told_with_what_is_wrong_and_what_helps(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    data = bytearray(path.read_bytes())
    data[4096:4196] = b"\xff" * 100
    path.write_bytes(data)
    report = dbtasks.inspect(settings(tmp_path))
    assert report.state is TargetState.DAMAGED
    (problem,) = report.problems
    assert problem.startswith("app.db is damaged: ")
    assert problem.endswith(" (db.restore brings the latest backup back)")
    assert len(problem) > len("app.db is damaged:  (db.restore brings the latest backup back)")


def test_a_database_the_server_does_not_have_is_told_with_what_helps(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    config = dbtasks.load_settings(
        tmp_path,
        environ={},
        url=pg_db.url.replace(pg_db.name, "nowhere"),
        via="host",
        pg_bin=str(pg_db.server.bin),
    )
    report = dbtasks.inspect(config)
    assert report.problems == (
        "nowhere is missing: its server has no database of this name (db.restore brings the latest backup back)",
    )


def test_no_database_at_all_is_a_problem(tmp_path: Path) -> None:
    report = dbtasks.inspect(dbtasks.load_settings(tmp_path, environ={}, via="host"))
    assert report.target is None
    assert any("no database is configured" in text for text in report.problems)
    (problem,) = dbtasks.inspect(dbtasks.load_settings(tmp_path, environ={})).problems
    assert "no database is configured" in problem
    assert "a container was looked for as well: Docker is not running here" in problem


def test_a_newest_backup_that_is_damaged_is_a_problem_an_older_one_a_warning(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    older, newest = dbtasks.backup(config), dbtasks.backup(config)
    for backup in (older, newest):
        backup.path.write_bytes(backup.path.read_bytes()[:-1])
        report = dbtasks.inspect(config)
        if backup is older:
            assert report.problems == ()
            assert f"damaged backups, which count for nothing: {older.id}" in report.warnings
            assert report.store.latest is not None
            assert report.store.latest.id == newest.id
    assert report.problems[0].startswith(f"the newest backup, {newest.id}, is damaged")
    assert f"damaged backups, which count for nothing: {older.id}" in report.warnings
    assert set(report.store.damaged) == {older.id, newest.id}
    assert report.store.latest is None


@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_no_safety_backup_stands_in_for_ordinary_ones_that_are_no_use(tmp_path: Path, harm: str) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    older, newest = dbtasks.backup(config), dbtasks.backup(config)
    restored = dbtasks.restore(config, dbtasks.plan_restore(config))
    assert dbtasks.inspect(config).problems == ()
    for backup in (older, newest):
        if harm == "cut":
            backup.path.write_bytes(backup.path.read_bytes()[:-1])
        else:
            backup.path.unlink()
    report = dbtasks.inspect(config)
    assert restored.safety_backup
    assert report.store.newest
    assert report.store.newest.id == restored.safety_backup.id
    (problem,) = report.problems
    assert problem.startswith(f"the newest backup, {newest.id}, is damaged: ")
    told = "archives are missing" if harm == "gone" else "damaged backups"
    assert [text.rpartition(": ")[2] for text in report.warnings if told in text] == [older.id]


def test_a_part_that_is_whole_does_not_hide_that_no_complete_backup_is(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    pg_db.run("CREATE TABLE item (id int)")
    config = pg_settings(tmp_path, pg_db)
    whole = dbtasks.backup(config)
    dbtasks.backup(config, dbtasks.BackupJob(request=dbtasks.DumpRequest(schema_only=True)))
    assert dbtasks.inspect(config).problems == ()
    whole.path.write_bytes(whole.path.read_bytes()[:-1])
    (problem,) = dbtasks.inspect(config).problems
    assert problem.startswith(f"no whole and complete backup is left; the newest, {whole.id}, is damaged: ")


def test_a_next_backup_that_will_not_fit_is_a_problem(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    assert dbtasks.inspect(config).forecast is None
    made = dbtasks.backup(config)
    report = dbtasks.inspect(config)
    assert report.problems == ()
    assert report.forecast is not None
    assert (report.forecast.size_bytes, report.forecast.based_on) == (made.manifest.size_bytes, 1)
    # its line in the log says that the last one was larger than any disk
    log = config.backup_dir / "log.jsonl"
    line = json.loads(log.read_text())
    log.write_text(json.dumps({**line, "size_bytes": 1 << 60}) + "\n")
    report = dbtasks.inspect(config)
    assert report.forecast is not None
    assert not report.forecast.fits
    assert any("the next backup will not fit" in text for text in report.problems)


def test_a_first_backup_that_may_not_fit_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
    report = dbtasks.inspect(config)
    assert report.problems == ()
    assert any("the first backup may not fit" in text for text in report.warnings)
    dbtasks.backup(config)
    report = dbtasks.inspect(config)
    assert any("the next backup will not fit" in text for text in report.problems)
    assert report.warnings == ()


@pytest.mark.parametrize("codec", ["none", "gzip"])
def test_the_configured_compression_counts_for_a_file_outside_the_tasks_as_well(
    tmp_path: Path, codec: str
) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path, compression=codec)
    made = dbtasks.backup(config)
    assert str(made.manifest.compression) == codec
    coming = dbtasks.inspect(config).forecast
    assert coming is not None
    beside = made.manifest.raw_size_bytes if codec == "gzip" else 0
    assert coming.needs_bytes == made.manifest.size_bytes + beside
    # backups of the other codec are of another size and take another time
    other = settings(tmp_path, compression="none" if codec == "gzip" else "gzip")
    assert dbtasks.inspect(other).forecast is None


if CAN_MOUNT:

    def test_what_a_compressed_backup_needs_while_it_is_made_is_what_the_forecast_says(
        tmp_path: Path,
    ) -> None:
        path = make(tmp_path / "app.db")
        run(path, "CREATE TABLE bulk (body)")
        run(path, "INSERT INTO bulk VALUES (zeroblob(400000))")
        with small_disk(tmp_path / "disk", size="2m") as disk:
            config = settings(tmp_path, compression="gzip", backup_dir=str(disk / "backups"))
            dbtasks.backup(config)
            fill_up(disk, leave=200_000)  # room for many archives, and not for the copy
            assert any("the next backup will not fit" in text for text in dbtasks.inspect(config).problems)
            with pytest.raises(StoreFull):
                dbtasks.backup(config)


# -- what the server says of itself ----------------------------------------------------


def test_the_largest_tables_are_named_with_all_that_belongs_to_them(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    pg_db.run("""
        CREATE TABLE small (a int);
        INSERT INTO small VALUES (1);
        CREATE TABLE "Large.one" (id int PRIMARY KEY, body text);
        INSERT INTO "Large.one" SELECT g, repeat('x', 500) FROM generate_series(1, 2000) g;
        CREATE TABLE child (b text) INHERITS (small);
        CREATE TABLE grandchild (c text) INHERITS (child);
        INSERT INTO grandchild SELECT g, 'b', 'c' FROM generate_series(1, 200) g;
        CREATE TABLE parts (id int, day int) PARTITION BY LIST (day);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
        CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
        INSERT INTO parts SELECT g, g % 2 + 1 FROM generate_series(1, 4000) g;
    """)
    report = dbtasks.inspect(pg_settings(tmp_path, pg_db))
    assert report.survey is not None
    named = [table.name for table in report.survey.largest]
    assert named == ['public."Large.one"', "public.parts", "public.small"]
    ((total,),) = pg_db.run("SELECT pg_total_relation_size('\"Large.one\"')")
    assert report.survey.largest[0].size_bytes == total
    ((family,),) = pg_db.run(
        "SELECT pg_total_relation_size('small') + pg_total_relation_size('child') + pg_total_relation_size('grandchild')"
    )
    assert report.survey.largest[2].size_bytes == family
    assert report.survey.started_at is not None


def test_a_table_that_somebody_holds_hides_only_the_sizes_and_is_not_waited_for(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    pg_db.run("CREATE TABLE t (a int)")
    with contextlib.closing(pg_db.connect()) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        ((pid,),) = cursor.fetchall()
        cursor.execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        report = at_once(holder, lambda: dbtasks.inspect(pg_settings(tmp_path, pg_db, lock_timeout="120")))
    assert report.survey is not None
    assert report.survey.largest == ()
    assert report.survey.sizes_unknown == "a table is locked"
    assert report.survey.started_at is not None
    assert report.facts is not None
    assert report.forecast is None
    assert report.problems == ()
    (said,) = [text for text in report.warnings if "locked" in text]
    assert said.startswith(f"public.t is locked by process {pid}")
    assert said.endswith("a backup made now would wait, up to lock_timeout = 120 s")


def test_a_migration_table_that_somebody_holds_hides_only_the_revision(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    pg_db.run("CREATE TABLE alembic_version (version_num varchar(32)); CREATE TABLE t (a int)")
    with contextlib.closing(pg_db.connect()) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        report = at_once(holder, lambda: dbtasks.inspect(pg_settings(tmp_path, pg_db, lock_timeout="120")))
    assert report.facts is not None
    assert len(report.facts.tables) == 2
    assert report.problems == ()
    assert [text for text in report.warnings if "public.alembic_version is locked by process" in text]
    lines = info_lines(report, MOMENT, None)
    assert "Migration   not known: its table is locked" in lines


def test_a_sqlite_file_that_somebody_holds_is_told_at_once(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        report = at_once(holder, lambda: dbtasks.inspect(settings(tmp_path, lock_timeout="120")))
    (problem,) = report.problems
    assert f"{path} is locked by another process" in problem
    assert report.routes[0].used


def at_once(holder: Any, act: Callable[[], T]) -> T:
    """Do it while somebody holds a lock; who waits as long as a backup would is let go and fails."""
    waited = threading.Event()

    def let_go() -> None:
        waited.set()
        holder.rollback()

    guard = threading.Timer(60, let_go)
    guard.start()
    try:
        return act()
    finally:
        guard.cancel()
        guard.join()
        assert not waited.is_set(), "it waited for the lock"


def test_docker_is_not_asked_where_only_the_host_is_named_and_said_to_be_asked_elsewhere(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    heard: list[Event] = []
    report = dbtasks.inspect(pg_settings(tmp_path, pg_db), on_event=heard.append)
    assert [event for event in heard if isinstance(event, Phase)] == []
    assert report.surroundings.unknown == "Docker is not asked: via=host"
    config = dbtasks.load_settings(tmp_path, environ={}, url=pg_db.url, pg_bin=str(pg_db.server.bin))
    report = dbtasks.inspect(config, on_event=heard.append)
    assert Phase("docker", "asked what runs here") in heard
    assert "Docker is not running here" in report.surroundings.unknown
    assert "Docker is not running here" in report.routes[0].why


def test_a_sqlite_file_that_is_long_to_read_is_not_read_to_its_end_for_its_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "app.db", rows=3000, width=500)
    assert dbtasks.inspect(settings(tmp_path)).survey == Survey(
        (TableSize("item", ANY), TableSize("note", 4096))
    )
    monkeypatch.setattr(surveying, "READ_SECONDS", 0.0)
    report = dbtasks.inspect(settings(tmp_path))
    assert report.survey is not None
    assert report.survey.largest == ()
    assert "too large to look through" in report.survey.sizes_unknown
    assert report.facts is not None


def test_each_way_to_the_server_is_told_and_which_one_is_used(tmp_path: Path, pg_db: PgDatabase) -> None:
    report = dbtasks.inspect(pg_settings(tmp_path, pg_db))
    container, host, python = report.routes
    assert (host.route, host.usable, host.used) == ("host", True, True)
    assert [tool.name for tool in host.tools] == ["pg_dump", "pg_restore", "psql"]
    assert container.why == "not asked for: via=host"
    assert (python.usable, python.used) == (True, False)
    assert "tables and their rows only" in python.why


def test_a17_a_way_whose_tools_are_older_than_the_server_is_not_usable(
    tmp_path: Path, pg_db: PgDatabase, pg16: PgServer
) -> None:
    report = dbtasks.inspect(pg_settings(tmp_path, pg_db, pg_bin=str(pg16.bin)))
    host = report.routes[1]
    assert not host.usable
    assert "is older than the server 18." in host.why


def test_tools_that_are_missing_are_named(tmp_path: Path, pg_db: PgDatabase) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("pg_dump", "pg_restore"):
        (folder / tool).symlink_to(pg_db.server.bin / tool)
    host = dbtasks.inspect(pg_settings(tmp_path, pg_db, pg_bin=str(folder))).routes[1]
    assert host.usable
    assert host.why.endswith("psql missing")
    host = dbtasks.inspect(pg_settings(tmp_path, pg_db, pg_bin=str(folder), format="sql")).routes[1]
    assert not host.usable
    assert "psql was not found" in host.why


# -- the screen ----------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("environ", [{}, {"NO_COLOR": "1", "LC_ALL": "C"}])
def test_forty_columns_hold_every_line_but_for_long_words(project: Project, environ: dict[str, str]) -> None:
    project.mount()
    make(project.root / "app.db")
    project.dotenv("DATABASE_URL=sqlite:///app.db\n")
    assert project.invoke("db.backup").returncode == 0
    seen = at_terminal(project, "db.info", columns=40, **environ)
    assert seen.returncode == 0
    assert "\x1b" not in seen.text
    for line in seen.lines:
        assert len(line) <= 40 or len(line.split()) <= 2, line
    words = " ".join(seen.text.split())
    for text in ("Database app.db", "the newest 3 stay; never fewer than 1 backup.", "keep = 3", "newest"):
        assert text in words


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
    assert not [event for event in heard if not isinstance(event, RouteTaken)]
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
