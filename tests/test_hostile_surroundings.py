"""What lies around a run and would lead it elsewhere: files of the user's, stray variables, file names, planted links."""

from __future__ import annotations

import os
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import DbTasksError
from dbtasks.models import Format
from dbtasks.plans import DumpRequest, LoadRequest
from tests.conftest import Project
from tests.fix_postgres import PgDatabase, PgServer
from tests.sqlite.databases import content, make, run, settings, tree

PSQLRC = """\
\\set AUTOCOMMIT off
\\set ON_ERROR_ROLLBACK on
\\set ON_ERROR_STOP off
\\echo planted
\\! touch {planted}
"""


@pytest.fixture
def shop(pg_db: PgDatabase, project: Project) -> PgDatabase:
    project.mount()
    pg_db.run("CREATE TABLE t AS SELECT generate_series(1, 10) AS a")
    return pg_db


def environ(shop: PgDatabase) -> dict[str, str]:
    return {"DATABASE_URL": shop.url, "DBTASKS_PG_BIN": str(shop.server.bin), "DBTASKS_VIA": "host"}


@pytest.mark.parametrize("way", ["beside", "in place"])
def test_g17_a_psqlrc_of_the_user_changes_nothing_and_runs_nothing(
    project: Project, shop: PgDatabase, way: str
) -> None:
    home, planted = project.root / "home", project.root / "planted"
    home.mkdir()
    for name in (".psqlrc", f".psqlrc-{shop.server.version}", "elsewhere"):
        (home / name).write_text(PSQLRC.format(planted=planted))
    given = {**environ(shop), "HOME": str(home), "PSQLRC": str(home / "elsewhere"), "PGSYSCONFDIR": str(home)}
    assert project.invoke("db.backup", "--format=sql", **given).returncode == 0
    shop.run("DELETE FROM t")
    flags = ("--in-place",) if way == "in place" else ()
    ran = project.invoke("db.restore", "--file=latest", "--yes", *flags, **given)
    assert ran.returncode == 0, ran.stderr
    assert shop.run("SELECT count(*) FROM t") == [(10,)]
    assert not planted.exists()
    assert "planted" not in ran.stdout


def test_g18_stray_variables_of_libpq_lead_no_task_elsewhere(
    project: Project, shop: PgDatabase, pg16: PgServer
) -> None:
    service = project.root / "services"
    service.write_text(f"[other]\nhost={pg16.host}\nport={pg16.port}\ndbname=postgres\n")
    stray = {
        "PGHOST": "nowhere.invalid",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": str(pg16.port),
        "PGDATABASE": "postgres",
        "PGUSER": "somebody",
        "PGPASSWORD": "wrong",
        "PGSERVICE": "other",
        "PGSERVICEFILE": str(service),
        "PGOPTIONS": "-c default_transaction_read_only=on -c search_path=nowhere",
        "PGDATESTYLE": "German",
        "PGTZ": "Asia/Kathmandu",
        "PGCLIENTENCODING": "LATIN1",
        "PGAPPNAME": "somebody else",
    }
    for arguments in (("db.info",), ("db.backup",), ("db.restore", "--file=latest", "--yes")):
        ran = project.invoke(*arguments, **environ(shop), **stray)
        assert ran.returncode == 0, ran.stderr
    assert shop.run("SELECT count(*) FROM t") == [(10,)]


# -- file names ---------------------------------------------------------------------------

OUTSIDE = (
    "",
    " ",
    "\n",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "manual/../../../../../../etc/passwd",
    "/dev/zero",
    "/proc/self/mem",
    "latest\n",
    "latest:../manual",
    "a\nb",
    "\0",
    "a\0b",
    "~root/.ssh/id_rsa",
    "-rf",
)


@pytest.mark.parametrize("selector", OUTSIDE, ids=repr)
@pytest.mark.parametrize("unverified", [False, True])
def test_g13_a_selector_that_leads_elsewhere_is_refused_and_nothing_is_written(
    tmp_path: Path, selector: str, unverified: bool
) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    (tmp_path / "backups").mkdir(mode=0o700)
    before = tree(tmp_path)
    job = dbtasks.RestoreJob(selector, request=LoadRequest(unverified=unverified), dry_run=True)
    with pytest.raises(DbTasksError) as caught:
        dbtasks.plan_restore(config, job)
    assert caught.value.exit_code in (2, 4, 5, 6, 9)
    with pytest.raises(DbTasksError):
        dbtasks.show(config, selector)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "output",
    ["no/such/folder/x.sqlite3", "app.db", "a\0b", "x\ny", "x\\y", "/dev/null", "/proc/x.sqlite3", "link"],
)
def test_g13_an_output_that_cannot_be_or_is_there_already_is_refused_and_stays(
    tmp_path: Path, output: str
) -> None:
    make(tmp_path / "app.db")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "link").symlink_to(victim)
    config = settings(tmp_path)
    before = content(tmp_path / "app.db")
    with pytest.raises(DbTasksError) as caught:
        dbtasks.backup(config, dbtasks.BackupJob(output=Path(output)))
    assert caught.value.exit_code in (2, 9)
    assert victim.read_text() == "precious"
    assert content(tmp_path / "app.db") == before
    assert not list(tmp_path.rglob("*.draft"))


NAMES = (
    "-rf.dump",
    "--help",
    "a b.dump",
    "\x1b[31mred\x07.dump",
    "'; touch x; '.dump",
    "$(touch x).dump",
    "%s%n.dump",
    "ü\udcff.dump",
)


@pytest.mark.long
@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.DIRECTORY])
def test_g14_an_archive_of_any_name_is_read_and_restored_as_a_file(
    pg_db: PgDatabase, tmp_path: Path, format_: Format
) -> None:
    pg_db.run("CREATE TABLE t (a text)")
    config = dbtasks.load_settings(
        tmp_path, environ={}, url=pg_db.url, pg_bin=str(pg_db.server.bin), via="host"
    )
    for name in NAMES:
        pg_db.run("TRUNCATE t; INSERT INTO t VALUES (%s)", (ascii(name),))
        request = DumpRequest(format=format_, jobs=1)
        made = dbtasks.backup(config, dbtasks.BackupJob(request=request, output=tmp_path / name))
        assert made.path.name == name
    for name in NAMES[::4]:
        request_ = LoadRequest(drop_old=True, jobs=1)
        job = dbtasks.RestoreJob(f"./{name}", skip_safety_backup=True, request=request_)
        dbtasks.restore(config, dbtasks.plan_restore(config, job))
        assert pg_db.run("SELECT a FROM t") == [(ascii(name),)]
    assert not list(tmp_path.rglob("x"))


@pytest.mark.skipif(sys.platform == "win32", reason="names Windows does not have")
def test_g14_foreign_files_of_any_name_are_listed_without_their_control_characters(project: Project) -> None:
    project.mount()
    make(project.root / "app.db")
    folder = project.root / "backups" / "manual"
    folder.mkdir(parents=True)
    for parent in (folder, folder.parent):
        parent.chmod(0o700)
    for name in (*NAMES, "x\ny.dump"):
        (folder / name).write_text("somebody's")
    given = {"DATABASE_URL": "sqlite:///app.db"}
    for arguments in (("db.list", "--all"), ("db.list", "--all", "--json"), ("db.info",)):
        ran = project.invoke(*arguments, **given)
        assert ran.returncode == 0, ran.stderr
        assert not [c for c in ran.stdout + ran.stderr if not (c.isprintable() or c in "\n\udcff")]
    assert "-rf.dump" in project.invoke("db.list", "--all", **given).stdout


# -- modes and links ----------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_g11_everything_a_run_writes_is_private_under_any_umask(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path, keep="1")
    before = os.umask(0)
    try:
        dbtasks.backup(config)
        run(path, "DELETE FROM note")
        dbtasks.restore(config, dbtasks.plan_restore(config))
        dbtasks.verify(config, dbtasks.list_backups(config).backups)
        dbtasks.backup(config)
        dbtasks.cleanup(config, dbtasks.plan_cleanup(config))
    finally:
        os.umask(before)
    found = {p: stat.S_IMODE(p.stat().st_mode) for p in (config.backup_dir, *config.backup_dir.rglob("*"))}
    assert {p.name for p in found} >= {"log.jsonl", "restores", ".locks", "safety", "manual"}
    assert not [p for p, mode in found.items() if mode != (0o700 if p.is_dir() else 0o600)]


@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
@pytest.mark.parametrize("name", ["log.jsonl", ".gitignore"])
def test_g12_a_link_planted_among_a_stores_own_files_is_not_written_through(
    tmp_path: Path, name: str
) -> None:
    make(tmp_path / "app.db")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "backups").mkdir(mode=0o700)
    (tmp_path / "backups" / name).symlink_to(victim)
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    dbtasks.restore(config, dbtasks.plan_restore(config))
    assert victim.read_text() == "precious"
    assert made.id in [backup.id for backup in dbtasks.list_backups(config).backups]


# -- clocks -------------------------------------------------------------------------------

MOMENT = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_h01_two_backups_of_one_second_are_both_kept(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    made = [dbtasks.backup(config, now=lambda: MOMENT) for _ in range(5)]
    assert len({backup.path for backup in made}) == 5
    assert {b.id for b in dbtasks.list_backups(config).backups} == {b.id for b in made}


def test_h09_a_clock_that_was_set_back_changes_neither_order_nor_what_cleanup_keeps(tmp_path: Path) -> None:
    """By the manifests' own times: file times are turned round and mean nothing."""
    make(tmp_path / "app.db")
    config = settings(tmp_path, keep="2")
    hours = (0, 1, 2, 0.5)  # the last run's clock was set back by ninety minutes
    made = [dbtasks.backup(config, now=lambda h=hour: MOMENT + timedelta(hours=h)) for hour in hours]
    for number, backup in enumerate(made):
        os.utime(backup.path, (9e8 - number * 1e6,) * 2)
    listed = dbtasks.list_backups(config).backups
    assert [backup.id for backup in listed] == [made[i].id for i in (2, 1, 3, 0)]
    assert all("Z_" in backup.path.name for backup in listed)
    dbtasks.cleanup(config, dbtasks.plan_cleanup(config))
    assert [b.id for b in dbtasks.list_backups(config).backups] == [made[2].id, made[1].id]


def test_h09_shifted_local_time_tells_two_backups_of_the_repeated_hour_apart(
    project: Project, tmp_path: Path
) -> None:
    """In Berlin 02:30 comes twice that night; the names say which is which."""
    project.mount()
    make(project.root / "app.db")
    config = settings(project.root)
    early, late = (
        dbtasks.backup(config, now=lambda at=at: at) for at in (MOMENT, MOMENT + timedelta(hours=1))
    )
    ran = project.invoke("db.list", DATABASE_URL="sqlite:///app.db", TZ="Europe/Berlin")
    first, second = (line for line in ran.stdout.splitlines() if early.id in line or late.id in line)
    assert late.id in first
    assert early.id in second
    assert "20261025T003000Z" in early.path.name
    assert "20261025T013000Z" in late.path.name
