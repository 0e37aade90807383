"""Into another server by its url: what is proved there, what is kept there, and where its password is never seen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import dbtasks
from dbtasks.errors import RightMissing, SettingsError, UsageError, VersionMismatch, WrongEngine
from dbtasks.executors.restoring.destination import bares_password, reaching
from dbtasks.journal import read_restores
from dbtasks.models import PostgresTarget, Type
from tests.conftest import Project
from tests.fix_postgres import PASSWORD, PgDatabase, PgServer
from tests.postgres.restoring import databases
from tests.postgres.rich import count
from tests.sqlite.databases import make, settings


@pytest.fixture
def there(pg: PgServer) -> Iterator[PgDatabase]:
    """A database of another, newer server than the one that is backed up."""
    with pg.fresh() as database:
        yield database


@pytest.fixture
def here(pg16: PgServer) -> Iterator[PgDatabase]:
    with pg16.fresh() as database:
        database.run(
            "CREATE TABLE public.item (id int PRIMARY KEY); INSERT INTO public.item VALUES (1), (2), (3)"
        )
        yield database


@pytest.fixture
def config(here: PgDatabase, there: PgDatabase, tmp_path: Path) -> dbtasks.Settings:
    """Settings of the older server; the tools are the newer one's, which serve both."""
    tools = {"via": "host", "pg_bin": str(there.server.bin)}
    made = dbtasks.load_settings(tmp_path, environ={}, url=here.url, environment="production", **tools)
    dbtasks.backup(made)
    return made


def restore(config: dbtasks.Settings, into: str, **request: Any) -> dbtasks.RestoreResult:
    job = dbtasks.RestoreJob(into=into, request=dbtasks.LoadRequest(**request))
    return dbtasks.restore(config, dbtasks.plan_restore(config, job))


def test_a_backup_goes_into_another_server_and_what_was_there_is_saved_as_that_databases(
    config: dbtasks.Settings, here: PgDatabase, there: PgDatabase
) -> None:
    there.run("CREATE TABLE public.other (a int); INSERT INTO public.other VALUES (1)")
    done = restore(config, there.url)
    assert count(there) == {"public.item": 3}
    assert count(here) == {"public.item": 3}
    assert databases(here) == [here.name]
    assert done.safety_backup is not None
    safety = done.safety_backup.manifest
    assert (safety.database, safety.counts) == (there.target.identity, {"public.other": 1})
    # a label of this project is none of another server's
    assert safety.environment is None
    assert safety.id not in {backup.id for backup in dbtasks.list_backups(config).backups}
    (record,) = read_restores(config.backup_dir)
    assert (record["name"], record["server"]) == (there.name, there.target.identity.server)
    ((identifier,),) = there.run("SELECT system_identifier::text FROM pg_control_system()")
    assert record["system_identifier"] == identifier


@pytest.mark.long
def test_it_is_taken_back_with_that_database_configured_or_by_the_command_that_is_printed(
    config: dbtasks.Settings, there: PgDatabase, tmp_path: Path
) -> None:
    there.run("CREATE TABLE public.other (a int)")
    done = restore(config, there.url)
    assert done.safety_backup is not None
    place = f"postgresql://postgres@127.0.0.1:{there.server.port}/{there.name}"
    assert done.way_back == f"db.restore --file={done.safety_backup.id} --into={place}"
    tools = {"via": "host", "pg_bin": str(there.server.bin)}
    other = dbtasks.load_settings(tmp_path, environ={}, url=there.url, **tools)
    dbtasks.undo(other, dbtasks.plan_undo(other))
    assert count(there) == {"public.other": 0}
    assert restore(config, there.url).old
    dbtasks.restore(
        config, dbtasks.plan_restore(config, dbtasks.RestoreJob(done.safety_backup.id, into=there.url))
    )
    assert count(there) == {"public.other": 0}


def test_a_database_that_does_not_exist_there_is_made(config: dbtasks.Settings, there: PgDatabase) -> None:
    url = there.server.url(f"{there.name}__new")
    done = restore(config, url)
    assert done.safety_backup is None
    assert databases(there) == [there.name, f"{there.name}__new"]


def test_the_plan_says_in_words_where_it_comes_from_and_where_it_goes(
    config: dbtasks.Settings, here: PgDatabase, there: PgDatabase
) -> None:
    there.run("CREATE TABLE public.other (a int)")
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(into=there.url))
    named, labelled, served = plan.elsewhere
    assert named == f"this backup is of {here.target.identity} and goes into {there.target.identity}"
    assert labelled == (
        f"this backup was made in production and goes into {there.name}, of which no environment is known"
    )
    assert "made on another server" in served
    assert set(plan.elsewhere) <= set(plan.warnings)
    assert plan.environment is None
    assert not plan.consent.protected


@pytest.mark.parametrize("protect", ["127.0.0.1", "NAME"])
def test_protect_holds_for_it_by_host_and_by_name(
    config: dbtasks.Settings, there: PgDatabase, protect: str, tmp_path: Path
) -> None:
    tools = {"via": "host", "pg_bin": str(there.server.bin), "protect": protect.replace("NAME", there.name)}
    guarded = dbtasks.load_settings(tmp_path, environ={}, url="postgresql://db.example/shop", **tools)
    (backup,) = dbtasks.list_backups(config).backups
    plan = dbtasks.plan_restore(guarded, dbtasks.RestoreJob(backup.id, into=there.url))
    assert (plan.consent.protected, plan.consent.name) == (True, there.name)


def test_nothing_has_to_be_configured_for_a_backup_that_is_named(
    config: dbtasks.Settings, there: PgDatabase, tmp_path: Path
) -> None:
    (backup,) = dbtasks.list_backups(config).backups
    bare = dbtasks.load_settings(tmp_path, environ={}, via="host", pg_bin=str(there.server.bin))
    assert bare.target is None
    plan = dbtasks.plan_restore(bare, dbtasks.RestoreJob(backup.id, into=there.url))
    dbtasks.restore(bare, plan)
    assert count(there) == {"public.item": 3}


def test_an_older_server_there_is_refused(there: PgDatabase, here: PgDatabase, tmp_path: Path) -> None:
    there.run("CREATE TABLE public.t (a int)")
    tools = {"via": "host", "pg_bin": str(there.server.bin)}
    newer = dbtasks.load_settings(tmp_path, environ={}, url=there.url, **tools)
    dbtasks.backup(newer)
    with pytest.raises(VersionMismatch, match="and this server is 16"):
        dbtasks.plan_restore(newer, dbtasks.RestoreJob(into=here.url))
    assert count(here) == {"public.item": 3}


def test_e01_roles_that_are_missing_there_are_listed_with_the_lines_that_make_them_and_can_be_left_out(
    config: dbtasks.Settings, here: PgDatabase, there: PgDatabase
) -> None:
    owner, reader = (here.server.create_role("NOLOGIN").user for _ in range(2))
    odd = here.server.create_role("NOLOGIN", name=f'od"d {owner}').user
    quoted = odd.replace('"', '""')
    here.run(
        f'ALTER TABLE public.item OWNER TO "{owner}"; GRANT SELECT ON public.item TO "{reader}", "{quoted}"'
    )
    dbtasks.backup(config)
    with pytest.raises(RightMissing, match="roles that do not exist on this server") as caught:
        restore(config, there.url)
    for name in (owner, reader, odd):
        assert name in caught.value.message
    for line in (f'CREATE ROLE "{owner}"', f'CREATE ROLE "{reader}"', f'CREATE ROLE "{quoted}"'):
        assert line in caught.value.hint
    assert "--no-owner" in caught.value.hint
    assert count(there) == {}
    role = there.server.create_role("NOLOGIN")
    there.server.run("postgres", f'GRANT CREATE ON DATABASE "{there.name}" TO "{role.user}"')
    there.run(f'ALTER SCHEMA public OWNER TO "{role.user}"')
    done = restore(config, there.url, no_owner=True)
    assert any("owners and privileges are left out (--no-owner)" in text for text in done.warnings)
    assert there.run("SELECT tableowner, count(*) FROM pg_tables WHERE tablename = 'item' GROUP BY 1") == [
        ("postgres", 1)
    ]
    # the lines it names do help
    for statement in caught.value.hint.partition(": ")[2].split("; "):
        there.server.run("postgres", statement)
    restore(config, there.url)
    assert there.run("SELECT tableowner FROM pg_tables WHERE tablename = 'item'") == [(owner,)]


def test_e01_everything_can_belong_to_a_role_that_is_there(
    config: dbtasks.Settings, here: PgDatabase, there: PgDatabase
) -> None:
    here.run(f'ALTER TABLE public.item OWNER TO "{here.server.create_role("NOLOGIN").user}"')
    dbtasks.backup(config)
    role = there.server.create_role("NOLOGIN")
    target = there.server.url(f"{there.name}__made")
    restore(config, target, no_owner=True, role=role.user)
    rows = there.server.run(
        f"{there.name}__made", "SELECT tableowner FROM pg_tables WHERE tablename = 'item'"
    )
    assert rows == [(role.user,)]


def test_what_names_the_own_servers_container_and_databases_leads_nowhere_there(tmp_path: Path) -> None:
    flags = {
        "via": "container",
        "container": "shop-db-1",
        "maintenance_db": "defaultdb",
        "environment": "production",
    }
    own = dbtasks.load_settings(tmp_path, environ={}, url="postgresql://db.example/shop", **flags)
    other = reaching(own, PostgresTarget("shop", host="other.example"))
    assert (other.container, other.maintenance_db, other.environment, other.via) == (
        None,
        None,
        None,
        ("auto",),
    )
    assert reaching(own, PostgresTarget("copy", host="db.example")) is own


def test_a_database_of_another_engine_is_refused_and_so_is_a_url_nobody_can_read(
    config: dbtasks.Settings, tmp_path: Path
) -> None:
    with pytest.raises(WrongEngine):
        dbtasks.plan_restore(config, dbtasks.RestoreJob(into=f"sqlite:///{tmp_path}/x.db"))
    for url in ("mysql://u:s3cr3t@h/d", "postgresql://u:s3cr3t@h:port/d", "postgresql://u:s3:cr3t@@h/%zz"):
        with pytest.raises(SettingsError) as caught:
            dbtasks.plan_restore(config, dbtasks.RestoreJob(into=url))
        assert "cr3t" not in f"{caught.value.message}{caught.value.hint}{caught.value.details}"
    with pytest.raises(UsageError, match="into_url"):
        dbtasks.plan_restore(config, dbtasks.RestoreJob(into="@"))


def test_a_sqlite_file_may_be_named_by_its_url_too(tmp_path: Path) -> None:
    make(tmp_path / "app.db", 7)
    own = settings(tmp_path)
    dbtasks.backup(own)
    done = restore(own, "sqlite:///copy.db")
    assert (done.rows, (tmp_path / "copy.db").is_file()) == (8, True)


@pytest.mark.parametrize(
    ("into", "bare"),
    [
        ("shop_check", False),
        ("@", False),
        ("postgresql://host/name", False),
        ("postgresql://app@host:5433/name", False),
        ("postgresql://app:secret@host/name", True),
        ("postgresql://host/name?user=app&password=secret", True),
        ("sqlite:///copy.db", False),
    ],
)
def test_a_password_on_the_command_line_is_noticed(into: str, bare: bool) -> None:
    assert bares_password(into) is bare


# -- the task -------------------------------------------------------------------------------


@pytest.fixture
def host(project: Project, here: PgDatabase, there: PgDatabase) -> Project:
    project.mount()
    project.dotenv(f"DATABASE_URL={here.url}\nDBTASKS_VIA=host\nDBTASKS_PG_BIN={there.server.bin}\n")
    assert project.invoke("db.backup").returncode == 0
    return project


def nowhere(host: Project, *outputs: str) -> None:
    """See that no text, log or record holds the password in any form."""
    kept = [path.read_text("utf-8") for path in (host.root / "backups").rglob("*.json*")]
    for text in (*outputs, *kept):
        for form in (PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD)):
            assert form not in text


@pytest.mark.long
def test_g04_a_password_in_into_is_shown_nowhere_and_its_owner_is_warned(
    host: Project, there: PgDatabase
) -> None:
    there.run("CREATE TABLE public.other (a int)")
    flags = ("db.restore", "--echo", "--file=latest", f"--into={there.url}", "--yes")
    planned = host.invoke(*flags, "--dry-run")
    assert "the password in --into can be read by everybody on this machine" in planned.stderr
    assert "--into=@" in planned.stderr
    done = host.invoke(*flags, INVOKE_DEBUG="")
    assert done.returncode == 0, done.stderr
    as_json = host.invoke(*flags, "--json")
    back = json.loads(as_json.stdout)["restore"]["way_back"]
    assert f"--into=postgresql://postgres@127.0.0.1:{there.server.port}/{there.name}" in back
    nowhere(host, planned.stdout, planned.stderr, done.stdout, done.stderr, as_json.stdout, as_json.stderr)
    # the command that is printed works, where libpq finds the password by itself
    passfile = host.root / "pgpass"
    passfile.write_text(
        f"127.0.0.1:*:*:*:{PASSWORD.replace(chr(92), chr(92) * 2).replace(':', chr(92) + ':')}\n"
    )
    passfile.chmod(0o600)
    back = host.invoke(*back.split(), "--yes", PGPASSFILE=str(passfile))
    assert back.returncode == 0, back.stderr
    assert "the password in --into" not in back.stderr


def test_g04_the_setting_into_url_keeps_it_off_the_command_line(host: Project, there: PgDatabase) -> None:
    secret = host.root / "into"
    secret.write_text(there.url)
    done = host.invoke("db.restore", "--file=latest", "--into=@", "--yes", DBTASKS_INTO_URL_FILE=str(secret))
    assert done.returncode == 0, done.stderr
    assert "the password in --into" not in done.stderr
    assert count(there) == {"public.item": 3}
    info = host.invoke("db.info", "--json", DBTASKS_INTO_URL=there.url)
    (shown,) = [entry for entry in json.loads(info.stdout)["settings"] if entry["name"] == "into_url"]
    assert (shown["value"], shown["source"]) == ("***", "DBTASKS_INTO_URL in the environment")
    wrong = host.invoke("db.list", DBTASKS_INTO_URL=f"nonsense://x:{quote(PASSWORD, safe='')}@h/d")
    assert wrong.returncode == 2
    assert "into_url: nonsense:// databases are not supported" in wrong.stderr
    nowhere(host, done.stdout, done.stderr, info.stdout, info.stderr, wrong.stdout, wrong.stderr)
    unset = host.invoke("db.restore", "--file=latest", "--into=@", "--yes")
    assert unset.returncode == 2
    assert "set DBTASKS_INTO_URL" in unset.stderr


def test_the_plan_as_json_names_both_sides(host: Project, here: PgDatabase, there: PgDatabase) -> None:
    there.run("CREATE TABLE public.other (a int)")
    ran = host.invoke(
        "db.restore", "--file=latest", f"--into={there.url}", "--dry-run", "--json", DBTASKS_ENVIRONMENT="dev"
    )
    document = json.loads(ran.stdout)
    plan = document["plan"]
    assert plan["from"] == {
        "engine": "postgresql",
        "server": here.target.identity.server,
        "name": here.name,
        "environment": None,
    }
    assert (plan["target"]["name"], plan["environment"]) == (there.name, None)
    assert any(text.startswith("this backup is of ") for text in plan["elsewhere"])
    assert set(plan["elsewhere"]) <= set(document["warnings"])
    assert [backup.manifest.type for backup in dbtasks.list_backups(settings_of(host, here)).backups] == [
        Type.MANUAL
    ]


def settings_of(host: Project, database: PgDatabase) -> dbtasks.Settings:
    return dbtasks.load_settings(host.root, environ={}, url=database.url)
