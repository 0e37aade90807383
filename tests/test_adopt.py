"""db.adopt: somebody else's file becomes a backup of the configured database, as a copy, and stays somebody else's."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import stat
import subprocess
from pathlib import Path

import jsonschema
import pytest

import dbtasks
from dbtasks.errors import ArchiveDamaged, DbTasksError, NotFound, Refused, SettingsError, WrongEngine
from dbtasks.manifest import load_manifest
from dbtasks.models import Format, Type
from tests.conftest import REPOSITORY, Project
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.rich import count, fill, tool
from tests.postgres.test_foreign_scripts import ordinary
from tests.sqlite.databases import content, make, run, settings
from tests.sqlite.databases import count as rows

SCHEMA = json.loads((REPOSITORY / "dbtasks" / "manifest.schema.json").read_text("utf-8"))
OLD = 1_700_000_000
"""A day in November 2023."""


def adopted(config: dbtasks.Settings, path: Path, **job: object) -> dbtasks.Backup:
    return dbtasks.adopt(config, dbtasks.plan_adopt(config, dbtasks.AdoptJob(str(path), **job)))  # type: ignore[arg-type]


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A database somebody copied, a while ago."""
    (tmp_path / "elsewhere").mkdir()
    path = make(tmp_path / "elsewhere" / "theirs.db", 77)
    os.utime(path, (OLD, OLD))
    return path


# -- SQLite --------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_c09_a_copied_database_becomes_a_backup_and_the_file_stays_as_it_is(
    tmp_path: Path, theirs: Path, packed: bool
) -> None:
    if packed:
        whole = gzip.compress(theirs.read_bytes())
        theirs = theirs.with_name("theirs.db.gz")
        theirs.write_bytes(whole)
        os.utime(theirs, (OLD, OLD))
    live = make(tmp_path / "app.db", 10)
    config = settings(tmp_path)
    before = (theirs.read_bytes(), theirs.stat())
    made = adopted(config, theirs, note="from the old server")
    assert (theirs.read_bytes(), theirs.stat().st_mtime, theirs.stat().st_nlink) == (
        before[0],
        before[1].st_mtime,
        1,
    )
    assert made.path.read_bytes() == before[0]
    assert not made.path.samefile(theirs)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert made.path.name == f"app_20231114T221320Z_{made.id}.sqlite3{'.gz' if packed else ''}"
    manifest = made.manifest
    assert manifest.foreign
    assert manifest.adoption
    assert manifest.adoption.file == theirs.name
    assert "of which database it is" in manifest.adoption.unknown
    assert manifest.server_version.startswith("SQLite 3.")
    assert (manifest.note, manifest.type, manifest.complete) == ("from the old server", Type.MANUAL, True)
    assert manifest.counts["item"] == 77
    written = made.path.with_name(f"{made.path.name}.manifest.json").read_bytes()
    assert load_manifest(written) == manifest
    jsonschema.validate(json.loads(written), SCHEMA)
    # it can be restored without another word, and its rows are compared
    result = dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id)))
    assert result.checked_against_manifest
    assert rows(live) == 77
    assert dbtasks.verify(config, [made])[0].ok


def test_an_adopted_file_is_never_latest_and_pushes_no_backup_out(tmp_path: Path, theirs: Path) -> None:
    make(tmp_path / "app.db", 10)
    config = settings(tmp_path, keep="1")
    own = dbtasks.backup(config)
    os.utime(theirs)
    new = adopted(config, theirs)
    other = make(tmp_path / "elsewhere" / "older.db", 5)
    os.utime(other, (OLD, OLD))
    plan = dbtasks.plan_adopt(config, dbtasks.AdoptJob(str(other)))
    assert any("the next cleanup would remove it" in text for text in plan.warnings)
    old = dbtasks.adopt(config, plan)
    assert [b.id for b in dbtasks.list_backups(config).backups] == [new.id, own.id, old.id]
    for selector in ("latest", "latest:manual"):
        assert dbtasks.find(config, selector).id == own.id
    cleanup = dbtasks.plan_cleanup(config)
    assert {d.backup.id: d.keep for d in cleanup.retention.decisions} == {
        new.id: True,
        own.id: True,
        old.id: False,
    }
    assert all(
        "adopted, counted apart" in d.reasons
        for d in cleanup.retention.decisions
        if d.backup.id in (new.id, old.id)
    )


def test_where_only_adopted_files_are_latest_says_to_name_one(tmp_path: Path, theirs: Path) -> None:
    make(tmp_path / "app.db", 10)
    config = settings(tmp_path)
    made = adopted(config, theirs)
    with pytest.raises(NotFound) as missing:
        dbtasks.find(config, "latest")
    assert f"--file={made.id} (adopted, never latest)" in missing.value.hint


def test_a_file_that_is_in_the_list_already_is_not_taken_twice(tmp_path: Path, theirs: Path) -> None:
    make(tmp_path / "app.db", 10)
    config = settings(tmp_path)
    first = adopted(config, theirs)
    again = theirs.rename(theirs.with_name("another name.db"))
    plan = dbtasks.plan_adopt(config, dbtasks.AdoptJob(str(again)))
    assert plan.existing
    assert dbtasks.adopt(config, plan).id == first.id
    assert adopted(config, first.path).id == first.id
    assert len(dbtasks.list_backups(config).backups) == 1


def test_a_file_in_another_databases_list_is_adopted_for_this_one(tmp_path: Path, theirs: Path) -> None:
    make(tmp_path / "app.db", 10)
    first = adopted(settings(tmp_path), theirs)
    other = settings(tmp_path, "other.db")
    plan = dbtasks.plan_adopt(other, dbtasks.AdoptJob(str(theirs)))
    assert plan.existing is None
    second = dbtasks.adopt(other, plan)
    assert second.id != first.id
    assert [b.id for b in dbtasks.list_backups(other).backups] == [second.id]
    assert [b.id for b in dbtasks.list_backups(settings(tmp_path)).backups] == [first.id]


@pytest.mark.parametrize("type_", [Type.DAILY, Type.SAFETY, Type.MONTHLY])
def test_a_file_in_the_list_as_another_type_is_told_by_both_types(project: Project, type_: Type) -> None:
    project.mount()
    path, config = make(project.root / "app.db", 10), settings(project.root)
    asked = Type.DAILY if type_ is Type.SAFETY else type_
    made = dbtasks.backup(config, dbtasks.BackupJob(type=asked))
    if type_ is Type.SAFETY:
        run(path, "DELETE FROM item WHERE id > 5")
        saved = dbtasks.restore(config, dbtasks.plan_restore(config)).safety_backup
        assert saved
        made = saved
    copy = project.root / "copy.db"
    copy.write_bytes(made.path.read_bytes())
    for flags in ((), ("--dry-run",)):
        told = project.invoke(
            "db.adopt", f"--file={copy}", "--type=monthly", *flags, DATABASE_URL="sqlite:///app.db"
        )
        assert told.returncode == 0, told.stderr
        assert f"in the list already, as {made.id}, {type_}: " in told.stdout
        warned = f"{made.id} stays a {type_} backup" in told.stderr
        assert warned is (type_ is not Type.MONTHLY)
        assert ("not adopted as monthly" in told.stderr) is warned


def test_a_foreign_file_in_the_store_is_adopted_by_its_name_and_stays(tmp_path: Path, theirs: Path) -> None:
    make(tmp_path / "app.db", 10)
    config = settings(tmp_path)
    dbtasks.backup(config)
    inside = tmp_path / "backups" / "manual" / "db_20300101_000000.sqlite3"
    inside.write_bytes(theirs.read_bytes())
    made = adopted(config, Path(inside.name), type=Type.MONTHLY)
    assert made.path.parent.name == "monthly"
    assert [file.path for file in dbtasks.list_backups(config).foreign] == [inside]


def test_a_damaged_file_is_named_and_nothing_is_published(tmp_path: Path, theirs: Path) -> None:
    make(tmp_path / "app.db", 10)
    config = settings(tmp_path)
    theirs.write_bytes(theirs.read_bytes()[:-3000])
    with pytest.raises(ArchiveDamaged):
        adopted(config, theirs)
    theirs.write_bytes(b"")
    with pytest.raises(ArchiveDamaged, match="is empty"):
        adopted(config, theirs)
    assert not (tmp_path / "backups" / "manual").exists()
    with pytest.raises(NotFound):
        adopted(config, theirs.with_name("nothing.db"))
    with pytest.raises(SettingsError, match="safety"):
        adopted(config, theirs, type=Type.SAFETY)


def test_a_half_database_with_its_journal_beside_it_is_refused(tmp_path: Path, theirs: Path) -> None:
    make(tmp_path / "app.db", 10)
    theirs.with_name("theirs.db-wal").write_bytes(b"x" * 100)
    with pytest.raises(Refused, match=r"theirs\.db-wal"):
        adopted(settings(tmp_path), theirs)


def test_a_file_that_is_missing_is_not_said_to_be_as_it_was(tmp_path: Path, theirs: Path) -> None:
    make(tmp_path / "app.db", 10)
    config = settings(tmp_path)
    with pytest.raises(NotFound, match=r"^there is no file .*nosuch\.db$"):
        dbtasks.plan_adopt(config, dbtasks.AdoptJob("nosuch.db"))
    plan = dbtasks.plan_adopt(config, dbtasks.AdoptJob(str(theirs)))
    theirs.unlink()
    with pytest.raises(NotFound, match="is not there any more") as gone:
        dbtasks.adopt(config, plan)
    assert gone.value.state == "nothing was published"
    assert dbtasks.list_backups(config).backups == ()


def test_c07_a_file_that_changes_after_the_plan_is_not_published(tmp_path: Path, theirs: Path) -> None:
    make(tmp_path / "app.db", 10)
    config = settings(tmp_path)
    plan = dbtasks.plan_adopt(config, dbtasks.AdoptJob(str(theirs)))
    run(theirs, "DELETE FROM item")
    with pytest.raises(ArchiveDamaged, match="changed since") as changed:
        dbtasks.adopt(config, plan)
    assert changed.value.state == "nothing was published"
    assert dbtasks.list_backups(config).backups == ()
    assert [path.name for path in (tmp_path / "backups" / "manual").iterdir()] == []


def test_broken_foreign_keys_come_along_and_are_known_when_it_is_restored(tmp_path: Path) -> None:
    live = make(tmp_path / "app.db", 10)
    theirs = make(tmp_path / "theirs.db", 3)
    run(theirs, "CREATE TABLE child (a INTEGER REFERENCES item (id))")
    run(theirs, "INSERT INTO child VALUES (99999)")
    config = settings(tmp_path)
    made = adopted(config, theirs)
    assert any("foreign key" in text for text in made.manifest.warnings)
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id)))
    assert content(live) == content(theirs)


# -- the task ---------------------------------------------------------------------------


def test_the_task_shows_what_is_known_and_what_is_not(project: Project, theirs: Path) -> None:
    project.mount()
    make(project.root / "app.db", 10)
    environ = {"DATABASE_URL": "sqlite:///app.db"}
    looked = project.invoke("db.adopt", f"--file={theirs}", "--dry-run", **environ)
    assert looked.returncode == 0, looked.stderr
    for text in ("Would adopt", "as manual", "unknown: of which database it is", "Nothing was written"):
        assert text in looked.stdout
    assert not (project.root / "backups" / "manual").exists()
    made = project.invoke("db.adopt", f"--file={theirs}", "--type=monthly", "--json", **environ)
    document = json.loads(made.stdout)
    assert (document["ok"], document["already"], document["backup"]["foreign"]) == (True, False, True)
    id_ = document["backup"]["id"]
    listed = project.invoke("db.list", **environ).stdout
    assert f"{id_}  adopted  monthly" in listed
    assert "latest" not in listed
    shown = project.invoke("db.show", f"--file={id_}", **environ).stdout
    assert "from theirs.db" in shown
    assert "unknown: of which database it is" in shown
    again = project.invoke("db.adopt", f"--file={theirs}", **environ)
    assert (again.returncode, f"already, as {id_}" in again.stdout) == (0, True)
    logged = json.loads(project.invoke("db.log", "--json", **environ).stdout)["runs"]
    assert [(run["task"], run["backup"]) for run in logged] == [("adopt", id_)]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [((), 2), (("--file=none.db",), 4), (("--file=tasks.py",), 6), (("--file=app.db", "--type=hourly"), 2)],
)
def test_the_task_ends_with_the_code_of_what_is_wrong(
    project: Project, arguments: tuple[str, ...], code: int
) -> None:
    project.mount()
    make(project.root / "app.db", 10)
    ended = project.invoke("db.adopt", *arguments, "--json", DATABASE_URL="sqlite:///app.db")
    assert ended.returncode == code, ended.stderr
    assert json.loads(ended.stdout)["exit_code"] == code


# -- PostgreSQL --------------------------------------------------------------------------

WAYS = {
    "custom": ("-Fc",),
    "plain": ("-Fp",),
    "tar": ("-Ft",),
    "plain, rows as INSERTs": ("-Fp", "--inserts"),
    "custom, rows as INSERTs": ("-Fc", "--inserts"),
}


def configured(database: PgDatabase, root: Path) -> dbtasks.Settings:
    return dbtasks.load_settings(
        root, environ={}, url=database.url, pg_bin=str(database.server.bin), via="host"
    )


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_c09_a_dump_by_pg_dump_is_counted_by_its_copies_and_restored_with_its_counts_compared(
    any_pg: PgServer, tmp_path: Path, way: tuple[str, ...]
) -> None:
    with any_pg.fresh() as source, any_pg.fresh() as database:
        fill(source)
        mine = ordinary(any_pg, database)
        config = configured(mine, tmp_path)
        path = tmp_path / "theirs"
        tool(any_pg, "pg_dump", *way, "--file", str(path), source.name)
        if "-Ft" in way and any_pg.version >= 17:
            with pytest.raises(WrongEngine, match="large objects") as refused:
                adopted(config, path)
            assert "pg_restore --file=theirs.sql theirs" in refused.value.hint
            path.unlink()
            source.run("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
            tool(any_pg, "pg_dump", *way, "--file", str(path), source.name)
        made = adopted(config, path)
        manifest = made.manifest
        assert manifest.complete
        assert manifest.tool_version.startswith(f"pg_dump {any_pg.version}.")
        assert manifest.server_version.startswith(f"{any_pg.version}.")
        assert manifest.encoding == "UTF8"
        assert "of which server and database it is" in manifest.adoption.unknown  # type: ignore[union-attr]
        inserts = "--inserts" in way
        assert bool(manifest.not_counted) is inserts
        expected = {} if inserts else {name.replace('"', ""): n for name, n in count(source).items()}
        assert {name.replace('"', ""): n for name, n in manifest.counts.items()} == expected
        assert "-- " not in made.path.name
        request = dbtasks.LoadRequest(no_owner=True)
        plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id, request=request))
        result = dbtasks.restore(config, plan)
        assert result.checked_against_manifest is not inserts
        assert count(mine) == count(source)


def test_an_adopted_dump_is_loaded_by_no_superuser(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t (a int)")
    config = configured(pg_db, tmp_path)
    for format_ in ("c", "p", "t"):
        path = tmp_path / f"theirs.{format_}"
        tool(pg_db.server, "pg_dump", f"-F{format_}", "--file", str(path), pg_db.name)
        made = adopted(config, path)
        for request in (dbtasks.LoadRequest(), dbtasks.LoadRequest(unverified=True, role="pg_monitor")):
            with pytest.raises(Refused, match="made by somebody else and adopted") as refused:
                dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id, request=request))
            assert "ordinary role" in refused.value.hint


def test_a_manifest_that_says_it_was_adopted_is_foreign_whatever_else_it_says(
    tmp_path: Path, theirs: Path
) -> None:
    make(tmp_path / "app.db", 10)
    made = adopted(settings(tmp_path), theirs)
    path = made.path.with_name(f"{made.path.name}.manifest.json")
    document = json.loads(path.read_text("utf-8"))
    document["foreign"] = False
    assert load_manifest(json.dumps(document).encode()).foreign
    assert dbtasks.backup(settings(tmp_path)).manifest.foreign is False


@pytest.mark.parametrize(
    ("way", "lacks"),
    [
        (("--schema-only",), "all rows"),
        (("--data-only",), "all definitions"),
        (("--exclude-table-data=public.t",), "rows of public.t"),
    ],
)
def test_what_can_be_seen_to_be_missing_makes_it_partial(
    pg: PgServer, tmp_path: Path, way: tuple[str, ...], lacks: str
) -> None:
    with pg.fresh() as database:
        mine = ordinary(pg, database)
        mine.run("CREATE TABLE public.t AS SELECT 1 AS a; CREATE TABLE public.u AS SELECT 2 AS a")
        path = tmp_path / "theirs.dump"
        tool(pg, "pg_dump", "-Fc", *way, "--file", str(path), mine.name)
        made = adopted(configured(mine, tmp_path), path)
        assert not made.manifest.complete
        assert made.manifest.not_included[0].startswith(lacks)
        with pytest.raises(Refused):
            dbtasks.plan_restore(configured(mine, tmp_path), dbtasks.RestoreJob(made.id))


def test_rows_loaded_through_a_partitioned_table_are_not_counted_and_the_dump_is_whole(
    pg: PgServer, tmp_path: Path
) -> None:
    with pg.fresh() as source, pg.fresh() as database:
        source.run(
            "CREATE TABLE public.p (a int) PARTITION BY HASH (a);"
            "CREATE TABLE public.p0 PARTITION OF public.p FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
            "CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
            "INSERT INTO public.p SELECT generate_series(1, 10)"
        )
        mine = ordinary(pg, database)
        path = tmp_path / "theirs.sql"
        tool(pg, "pg_dump", "--load-via-partition-root", "--no-owner", "--file", str(path), source.name)
        config = configured(mine, tmp_path)
        made = adopted(config, path)
        assert made.manifest.complete
        assert "public.p" in made.manifest.not_counted
        dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id)))
        assert mine.run("SELECT count(*) FROM public.p") == [(10,)]


def test_g01_a_hostile_script_is_not_adopted(pg: PgServer, tmp_path: Path) -> None:
    with pg.fresh() as database:
        path = tmp_path / "theirs.sql"
        script = tool(pg, "pg_dump", database.name)
        path.write_bytes(script.replace(b"SET statement_timeout", b"\\! touch x\nSET statement_timeout", 1))
        with pytest.raises(Refused, match=r"meta-command.*line \d+"):
            adopted(configured(database, tmp_path), path)
        assert not (tmp_path / "backups" / "manual").exists()


def test_a_file_of_the_other_engine_is_refused(pg_db: PgDatabase, tmp_path: Path, theirs: Path) -> None:
    with pytest.raises(WrongEngine, match="sqlite"):
        adopted(configured(pg_db, tmp_path), theirs)
    path = tmp_path / "theirs.sql"
    tool(pg_db.server, "pg_dump", "--file", str(path), pg_db.name)
    make(tmp_path / "app.db", 1)
    with pytest.raises(WrongEngine, match="postgresql"):
        adopted(settings(tmp_path), path)


def test_adopting_needs_no_server(pg: PgServer, tmp_path: Path) -> None:
    with pg.fresh() as database:
        database.run("CREATE TABLE public.t AS SELECT 1 AS a")
        path = tmp_path / "theirs.dump"
        tool(pg, "pg_dump", "-Fc", "--file", str(path), database.name)
    config = dbtasks.load_settings(
        tmp_path, environ={}, url="postgresql://u@127.0.0.1:1/gone", pg_bin=str(pg.bin), via="host"
    )
    assert adopted(config, path).manifest.counts == {"public.t": 1}


def test_every_format_is_named_by_its_own_bytes(pg_db: PgDatabase, tmp_path: Path) -> None:
    config = configured(pg_db, tmp_path)
    found = []
    for way in ("c", "p", "t"):
        path = tmp_path / "misnamed.sqlite3"
        path.unlink(missing_ok=True)
        tool(pg_db.server, "pg_dump", f"-F{way}", "--file", str(path), pg_db.name)
        made = adopted(config, path)
        found.append((made.manifest.format, "".join(made.path.suffixes)))
    assert found == [(Format.CUSTOM, ".dump"), (Format.SQL, ".sql"), (Format.DIRECTORY, ".dir.tar")]


def test_a_folder_of_pg_dump_is_taken_when_it_is_packed_as_the_refusal_says(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE public.t AS SELECT 1 AS a")
    config, path = configured(pg_db, tmp_path), tmp_path / "a folder"
    tool(pg_db.server, "pg_dump", "-Fd", "--file", str(path), pg_db.name)
    with pytest.raises(WrongEngine, match="pg_dump -Fd") as refused:
        adopted(config, path)
    command = refused.value.hint.partition(": ")[2]
    subprocess.run(shlex.split(command), cwd=tmp_path, check=True)
    assert adopted(config, tmp_path / "a folder.dir.tar").manifest.counts == {"public.t": 1}


def test_pg_restore_that_is_not_there_is_said(tmp_path: Path, pg_db: PgDatabase) -> None:
    path, nothing = tmp_path / "theirs.dump", tmp_path / "no-tools"
    nothing.mkdir()
    tool(pg_db.server, "pg_dump", "-Fc", "--file", str(path), pg_db.name)
    config = dbtasks.load_settings(tmp_path, environ={}, url=pg_db.url, pg_bin=str(nothing), via="host")
    with pytest.raises(DbTasksError) as missing:
        adopted(config, path)
    assert missing.value.exit_code == 3
