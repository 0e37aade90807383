"""What stands between a restore and the wrong database: doubts, refusals, and proofs looked at again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import Busy, Declined, Interrupted, LoadFailed, NeedsConfirmation, Refused
from dbtasks.events import Event, Phase, Warned
from dbtasks.guards import consent_needed, nobody_to_ask, settle
from dbtasks.manifest import dump_manifest
from dbtasks.models import Compression, Format, PostgresTarget, Type
from tests.conftest import Project
from tests.fix_postgres import PgDatabase
from tests.sqlite.databases import content, count, make, run, settings

HOSTS = ["localhost", "LOCALHOST", "127.0.0.1", "::1", "[::1]", "/var/run/postgresql", ""]


def at(name: str, act: Callable[[], object]) -> Callable[[Event], None]:
    """Return a listener that acts when a phase of this name begins."""

    def listen(event: Event) -> None:
        if isinstance(event, Phase) and event.name == name:
            act()

    return listen


# -- which file ------------------------------------------------------------------


@pytest.mark.parametrize("into", ["backups/x.db", "sub/../backups/manual/x.db", "BACKUP"])
def test_a_restore_into_the_backup_folder_is_refused(tmp_path: Path, into: str) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    (tmp_path / "sub").mkdir()
    before = made.path.read_bytes()
    with pytest.raises(Refused, match="backup folder"):
        dbtasks.plan_restore(config, dbtasks.RestoreJob(into=into.replace("BACKUP", str(made.path))))
    assert made.path.read_bytes() == before


# SQLite itself takes a file of one byte for an empty database
@pytest.mark.parametrize("work", ["ten years of work", "1"])
def test_a_restore_into_a_file_that_is_no_database_is_refused_and_moves_nothing(
    tmp_path: Path, work: str
) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    thesis = tmp_path / "thesis.odt"
    thesis.write_text(work)
    with pytest.raises(Refused, match=r"thesis\.odt exists and is not a SQLite database"):
        dbtasks.plan_restore(config, dbtasks.RestoreJob(into="thesis.odt"))
    assert thesis.read_text() == work
    assert not list(tmp_path.glob("*__before_*"))


@pytest.mark.parametrize("left", [b"nothing of a database is left", b"1"])
def test_a_configured_database_that_is_damaged_is_still_moved_aside(tmp_path: Path, left: bytes) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    path.write_bytes(left)
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(into="app.db"))
    result = dbtasks.restore(config, plan)
    assert count(path) == 100
    assert result.old is not None
    assert (Path(result.old) / "app.db").read_bytes() == left


# -- whose backup ----------------------------------------------------------------


def test_h13_a_backup_of_another_database_needs_the_typed_name(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    make(tmp_path / "other.db", 7)
    config = settings(tmp_path)
    other = dbtasks.backup(settings(tmp_path, "other.db"))
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(other.id))
    assert "this backup is of other.db and goes into app.db" in plan.warnings
    assert not settle(plan.target, plan.consent, yes=True, confirm=None)
    assert settle(plan.target, plan.consent, yes=True, confirm="app")
    with pytest.raises(Declined):
        settle(plan.target, plan.consent, yes=True, confirm="other")
    refusal = nobody_to_ask(plan.target, plan.consent)
    assert isinstance(refusal, NeedsConfirmation)
    assert "is of other.db" in refusal.message
    assert "--confirm=app.db" in refusal.hint


def test_into_says_clearly_enough_where_another_databases_backup_goes(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    make(tmp_path / "other.db", 7)
    other = dbtasks.backup(settings(tmp_path, "other.db"))
    plan = dbtasks.plan_restore(settings(tmp_path), dbtasks.RestoreJob(other.id, into="third.db"))
    assert not plan.consent.protected


def test_a_backup_of_another_environment_needs_the_typed_name(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    made = dbtasks.backup(settings(tmp_path, environment="staging"))
    plan = dbtasks.plan_restore(settings(tmp_path, environment="production"), dbtasks.RestoreJob(made.id))
    assert "this backup was made in staging and goes into production" in plan.warnings
    assert not settle(plan.target, plan.consent, yes=True, confirm=None)
    same = dbtasks.plan_restore(settings(tmp_path, environment="staging"), dbtasks.RestoreJob(made.id))
    assert settle(same.target, same.consent, yes=True, confirm=None)


@pytest.mark.parametrize("entry", [host for host in HOSTS if host])
@pytest.mark.parametrize("host", HOSTS)
def test_protecting_one_spelling_of_this_machine_protects_all(entry: str, host: str) -> None:
    assert consent_needed(PostgresTarget("shop", host=host), (entry,)).protected
    assert not consent_needed(PostgresTarget("shop", host="db.example"), (entry,)).protected


def test_protect_matches_names_and_hosts_in_any_case() -> None:
    target = PostgresTarget("Shop", host="DB.example")
    assert consent_needed(target, ("shop",)).protected
    assert consent_needed(target, ("db.Example",)).protected
    assert not consent_needed(target, ("shop2", "localhost")).protected


LABELS = [
    ("production", "development", "this backup was made in production and goes into development", True),
    ("development", "production", "this backup was made in development and goes into production", True),
    (
        "production",
        "",
        "this backup was made in production and goes into app.db, of which no environment is known",
        False,
    ),
    ("", "production", "this backup was made where no environment was set and goes into production", True),
]


@pytest.mark.long
@pytest.mark.parametrize(("of", "into", "told", "typed"), LABELS)
def test_g19_a_backup_of_another_environment_is_told_by_both_names_in_plan_screen_and_json(
    project: Project, of: str, into: str, told: str, typed: bool
) -> None:
    project.mount()
    make(project.root / "app.db")
    environ = {"DATABASE_URL": "sqlite:///app.db"}
    made = project.invoke("db.backup", DBTASKS_ENVIRONMENT=of, **environ)
    assert made.returncode == 0, made.stderr
    there = {**environ, "DBTASKS_ENVIRONMENT": into}
    for flags in ((), ("--into=copy.db",)):
        words = told.replace("app.db", "copy.db") if flags else told
        screen = project.invoke("db.restore", "--file=latest", "--dry-run", *flags, **there)
        assert words in screen.stderr
        first, _, third, *_ = screen.stdout.splitlines()
        assert first.endswith(f"  [{of}]") is bool(of)
        assert f"  [{into}]: " in third or not into
        document = json.loads(
            project.invoke("db.restore", "--file=latest", "--dry-run", "--json", *flags, **there).stdout
        )
        assert words in document["warnings"]
        assert words in document["plan"]["elsewhere"]
        assert document["plan"]["from"]["environment"] == (of or None)
        assert document["plan"]["environment"] == (into or None)
        # what --into names was chosen
        assert document["plan"]["protected"] is (typed and not flags)
    ran = project.invoke("db.restore", "--file=latest", "--yes", **there)
    assert ran.returncode == (6 if typed else 0)


def test_g19_a_backup_from_before_the_label_goes_by_itself_where_it_replaces_nothing(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    made = dbtasks.backup(settings(tmp_path))
    config = settings(tmp_path, environment="production")
    assert dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id)).consent.protected
    path.unlink()
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id))
    assert not plan.consent.protected
    assert plan.elsewhere == ("this backup was made where no environment was set and goes into production",)


@pytest.mark.parametrize("into", ["app.db", "./app.db", "sqlite:///app.db"])
def test_the_configured_database_stays_guarded_when_into_names_it(tmp_path: Path, into: str) -> None:
    make(tmp_path / "app.db")
    made = dbtasks.backup(settings(tmp_path, environment="staging"))
    config = settings(tmp_path, environment="production")
    assert dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id, into=into)).consent.protected


def test_a_restore_of_the_same_database_in_the_same_environment_has_no_word_for_it(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path, environment="production")
    dbtasks.backup(config)
    plan = dbtasks.plan_restore(config)
    assert (plan.elsewhere, plan.warnings) == ((), ())


@pytest.mark.long
@pytest.mark.parametrize("task", ["db.restore", "db.undo"])
@pytest.mark.parametrize(
    "protect", ["APP", "", *(pytest.param(name, marks=pytest.mark.long) for name in ("app.db", "other"))]
)
def test_a_name_is_asked_for_alike_before_a_restore_and_an_undo(
    project: Project, task: str, protect: str
) -> None:
    project.mount()
    path = make(project.root / "app.db")
    environ = {"DATABASE_URL": "sqlite:///app.db"}
    assert project.invoke("db.backup", **environ).returncode == 0
    assert project.invoke("db.restore", "--file=latest", "--yes", **environ).returncode == 0
    environ["DBTASKS_PROTECT"] = protect
    before = path.read_bytes()
    flags = (task, "--file=latest") if task == "db.restore" else (task,)
    for wrong in (
        ("--confirm=other",),
        ("--confirm=other", "--yes"),
        ("--confirm=other", "--dry-run"),
        ("--confirm=",),
    ):
        refused = project.invoke(*flags, *wrong, **environ)
        assert refused.returncode == 6, (wrong, refused.stderr)
    guarded = protect.lower() in ("app", "app.db")
    nobody = project.invoke(*flags, **environ)
    assert nobody.returncode == 6
    assert ("add --confirm=app.db" if guarded else "add --yes") in nobody.stderr
    assert path.read_bytes() == before
    assert project.invoke(*flags, "--yes", **environ).returncode == (6 if guarded else 0)
    for name in ("app", "app.db"):
        assert project.invoke(*flags, f"--confirm={name}", **environ).returncode == 0


def test_a_restore_into_a_protected_name_that_is_not_there_is_not_told_as_overwriting(
    project: Project,
) -> None:
    project.mount()
    path = make(project.root / "app.db")
    environ = {"DATABASE_URL": "sqlite:///app.db", "DBTASKS_PROTECT": "app.db"}
    assert project.invoke("db.backup", **environ).returncode == 0
    asked = ("db.restore", "--file=latest", "--yes")
    assert "this overwrites app.db" in project.invoke(*asked, **environ).stderr
    path.unlink()
    refused = project.invoke(*asked, **environ)
    assert refused.returncode == 6
    assert "this restores into app.db" in refused.stderr
    assert "overwrites" not in refused.stderr
    assert "--confirm=app.db, or into another database with --into=NAME" in refused.stderr
    assert not path.exists()
    planned = project.invoke("db.restore", "--file=latest", "--dry-run", **environ).stdout
    assert "Consent  only its name will do, typed or as --confirm=app.db: it is protected\n" in planned
    plain = {**environ, "DBTASKS_PROTECT": ""}
    assert "Consent" not in project.invoke("db.restore", "--file=latest", "--dry-run", **plain).stdout
    # what is there and holds nothing is overwritten by nobody, either; but it is there, and asked about
    path.touch()
    refused = project.invoke("db.restore", "--file=latest", **plain)
    assert (refused.returncode, "this restores into app.db" in refused.stderr) == (6, True)


@pytest.mark.long
def test_an_undo_and_a_table_say_in_the_plan_that_only_the_name_will_do(project: Project) -> None:
    project.mount()
    make(project.root / "app.db")
    environ = {"DATABASE_URL": "sqlite:///app.db"}
    assert project.invoke("db.backup", **environ).returncode == 0
    assert project.invoke("db.restore", "--file=latest", "--yes", **environ).returncode == 0
    for flags in (("db.undo",), ("db.restore", "--file=latest", "--table=item")):
        for protect, told in (("app", True), ("", False)):
            planned = project.invoke(*flags, "--dry-run", **environ, DBTASKS_PROTECT=protect)
            assert planned.returncode == 0, planned.stderr
            assert ("Consent  only its name will do" in planned.stdout) is told


# -- what is proved again --------------------------------------------------------


def test_a_target_that_was_filled_after_the_plan_is_not_overwritten(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    path.unlink()
    sqlite3.connect(path).close()
    plan = dbtasks.plan_restore(config)
    path.unlink(missing_ok=True)
    make(path, 3)
    with pytest.raises(Refused, match="when the restore was planned"):
        dbtasks.restore(config, plan)
    assert count(path) == 3


def test_c07_an_archive_that_is_replaced_while_it_is_restored_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    make(tmp_path / "evil.db", 2)
    run(path, "DELETE FROM item WHERE id > 49")
    plan = dbtasks.plan_restore(config)
    swap = at("check", lambda: made.path.write_bytes((tmp_path / "evil.db").read_bytes()))
    with pytest.raises(Refused, match="was replaced while it was being restored") as caught:
        dbtasks.restore(config, plan, on_event=swap)
    assert "is as it was" in caught.value.state
    assert count(path) == 50


def test_h05_a_restore_while_a_backup_is_at_work_is_refused_and_the_other_way_round(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    plan, before = dbtasks.plan_restore(config), content(path)
    refused: list[str] = []

    def refuse(act: Callable[[], object]) -> Callable[[], None]:
        def attempt() -> None:
            with pytest.raises(Busy, match=r"another run is working on app\.db") as caught:
                act()
            refused.append(caught.value.hint)

        return attempt

    dbtasks.backup(config, on_event=at("dump", refuse(lambda: dbtasks.restore(config, plan))))
    dbtasks.restore(config, plan, on_event=at("load", refuse(lambda: dbtasks.backup(config))))
    assert [hint.split()[0] for hint in refused] == ["db.backup", "db.restore"]
    assert content(path) == before


def broken(path: Path, table: str, rows: int) -> None:
    """Make rows whose foreign keys lead nowhere."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, item REFERENCES item (id))")
        connection.executemany(f"INSERT INTO {table} (item) VALUES (?)", [(9000 + n,) for n in range(rows)])


def test_f14_what_the_source_had_broken_comes_back_and_is_named_by_table(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    broken(path, "orphan", 2000)
    broken(path, "stray", 1)
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    assert made.manifest.warnings == (
        "orphan: 2,000 times a row breaks a foreign key",
        "stray: once a row breaks a foreign key",
    )
    before = content(path)
    run(path, "DELETE FROM item")
    dbtasks.restore(config, dbtasks.plan_restore(config))
    assert content(path) == before


def test_f14_a_warning_about_something_else_does_not_excuse_a_broken_key(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    broken(path, "orphan", 2)
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    for warnings in ((), ("app.db holds no tables",), ("stray: 2 times a row breaks a foreign key",)):
        manifest = made.path.with_name(f"{made.path.name}.manifest.json")
        manifest.write_bytes(dump_manifest(replace(made.manifest, warnings=warnings)))
        with pytest.raises(LoadFailed, match="orphan: 2 times a row breaks a foreign key") as caught:
            dbtasks.restore(config, dbtasks.plan_restore(config))
        assert "is as it was" in caught.value.state


def test_f14_somebodys_own_file_may_be_broken_where_its_user_takes_it_as_it_is(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    broken(make(tmp_path / "theirs.db", 5), "orphan", 1)
    config, heard = settings(tmp_path), []
    request = dbtasks.LoadRequest(unverified=True)
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob("theirs.db", request=request))
    dbtasks.restore(config, plan, on_event=heard.append)
    assert Warned("orphan: once a row breaks a foreign key") in heard
    assert count(tmp_path / "app.db") == 5


def test_f14_a_foreign_key_that_cannot_be_checked_stops_neither_backup_nor_restore(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    run(path, "CREATE TABLE wrong (body REFERENCES item (body))")
    run(path, "INSERT INTO wrong VALUES ('x')")
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    assert any("wrong: its foreign keys cannot be checked" in text for text in made.manifest.warnings)
    dbtasks.restore(config, dbtasks.plan_restore(config))


# -- the way back ----------------------------------------------------------------


def safety_of(config: dbtasks.Settings) -> str:
    (safety,) = (b for b in dbtasks.list_backups(config).backups if b.manifest.type is Type.SAFETY)
    return safety.id


def test_a_restore_that_fails_after_its_safety_backup_names_it(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    plan = dbtasks.plan_restore(config)
    with pytest.raises(dbtasks.DbTasksError) as caught:
        dbtasks.restore(config, plan, on_event=at("load", lambda: made.path.write_bytes(b"?")))
    assert safety_of(config) in caught.value.state
    assert "is as it was" in caught.value.state or "not touched" in caught.value.state


def test_a_restore_that_is_interrupted_after_its_safety_backup_names_it(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    plan = dbtasks.plan_restore(config)
    with pytest.raises(Interrupted) as caught:
        dbtasks.restore(config, plan, on_event=at("load", stop))
    assert f"what it held when this began was backed up, as {safety_of(config)}" in caught.value.state


def test_the_way_back_is_quoted_for_the_shell(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    make(tmp_path / "a copy; rm x.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(into="a copy; rm x.db"))
    assert dbtasks.restore(config, plan).way_back.endswith(" --into='a copy; rm x.db'")


def test_the_safety_backup_does_not_fail_over_a_codec_meant_for_other_tools(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    pg_db.run("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item VALUES (1)")
    config = dbtasks.load_settings(
        tmp_path, environ={}, url=pg_db.url, via="host", pg_bin=str(pg_db.server.bin)
    )
    made = dbtasks.backup(config)
    # this server's tools have no zstd, and a directory dump of three jobs is no safety backup's business
    picky = replace(config, compression=Compression.ZSTD, format=Format.SQL, jobs=3)
    result = dbtasks.restore(picky, dbtasks.plan_restore(picky, dbtasks.RestoreJob(made.id)))
    assert result.safety_backup is not None
    assert result.safety_backup.manifest.format is Format.CUSTOM
