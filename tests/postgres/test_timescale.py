"""TimescaleDB's order of calls and its refusals, on a real server with a stand-in for the extension."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import dbtasks
from dbtasks.errors import (
    Busy,
    LoadFailed,
    Refused,
    RightMissing,
    VersionMismatch,
)
from dbtasks.events import Event, Phase
from dbtasks.models import Format
from dbtasks.runners import Command
from tests.conftest import Project
from tests.fix_postgres import PgDatabase, PgServer, server_of_its_own
from tests.postgres.dumping import engine_of
from tests.postgres.projects import configured
from tests.postgres.restoring import databases
from tests.postgres.rows_file import document, rows_in
from tests.timescale_stub import HYPERTABLES, OLDER, VERSION, install

FORMATS = [Format.CUSTOM, Format.SQL, Format.DIRECTORY]
TOLD = {
    r"CREATE DATABASE": "create database",
    r"CREATE EXTENSION \"timescaledb\" .*VERSION '([\d.]+)'": "create extension {}",
    r"stub: pre_restore": "pre_restore",
    r"COPY \S*_hyper_1_2_chunk .*FROM stdin": "load",
    r"COPY \S+ .*FROM stdin": "row",
    r"stub: post_restore": "post_restore",
    r"stub: workers of \S+ (\w+)": "workers {}",
    r"SELECT count\(\*\) FROM \"public\"\.\"metric\"": "count",
    r"statement: ANALYZE": "analyze",
    r"ALTER DATABASE \S+ RENAME TO \S+": "rename",
    r"DROP DATABASE": "drop database",
}


class Call(NamedTuple):
    """One line of the server's log that tells of a step."""

    database: str
    said: str
    pid: str


@dataclass(frozen=True)
class Stub:
    """A server whose extensions lie in a folder of ours, and whose log says every statement."""

    server: PgServer
    folder: Path

    def offers(self, *versions: str) -> None:
        """Let it have these versions, and no other, from now on."""
        install(self.folder, *versions)

    def listen(self) -> Callable[[], list[Call]]:
        """Return what tells the calls that the server hears from now on."""
        log = self.server.socket_dir.parent / "log"
        start = log.stat().st_size

        def calls() -> list[Call]:
            text = log.read_bytes()[start:].decode()
            return [call for line in text.splitlines() for call in _calls(line)]

        return calls


def _calls(line: str) -> Iterator[Call]:
    if "LOG:" not in line:
        return
    database, pid, told = line.split("|", 2)
    for pattern, words in TOLD.items():
        if found := re.search(pattern, told):
            yield Call(database, words.format(*found.groups()), pid)


def order(calls: list[Call]) -> list[str]:
    """What was said, each once where it was heard several times in a row."""
    said = [call.said for call in calls]
    said = [call for call in said if call != "row"]
    return [call for call, before in zip(said, [None, *said], strict=False) if call != before]


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with tempfile.TemporaryDirectory(prefix="dbtasks-stub-", dir="/tmp") as name:
        folder = Path(name)
        install(folder, OLDER, VERSION)
        settings = {
            "extension_control_path": f"{folder}:$system",
            "log_statement": "all",
            "log_line_prefix": "%d|%p|",
        }
        with server_of_its_own(18, **settings) as server:
            yield Stub(server, folder)


@pytest.fixture(autouse=True)
def both_versions(stub: Stub) -> None:
    stub.offers(OLDER, VERSION)


@pytest.fixture
def metrics(stub: Stub) -> Iterator[PgDatabase]:
    with stub.server.fresh() as database:
        database.run("CREATE EXTENSION timescaledb")
        database.run(HYPERTABLES)
        yield database


def backup(config: dbtasks.Settings, **request: Any) -> dbtasks.Backup:
    return dbtasks.backup(config, dbtasks.BackupJob(request=dbtasks.DumpRequest(**request)))


def restore(config: dbtasks.Settings, file: str = "latest", into: str = "", **request: Any) -> Any:
    skip = request.pop("skip_safety_backup", False)
    job = dbtasks.RestoreJob(
        file, into=into or None, request=dbtasks.LoadRequest(**request), skip_safety_backup=skip
    )
    return dbtasks.restore(config, dbtasks.plan_restore(config, job))


def restoring_mode(database: PgDatabase) -> list[tuple[Any, ...]]:
    return database.run(
        "SELECT line FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) line"
        " WHERE d.datname = current_database() AND line LIKE 'timescaledb.restoring=%%'"
    )


# -- the order of calls -------------------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
def test_e20_a_backup_is_loaded_between_the_two_calls_and_its_workers_start_when_it_is_live(
    stub: Stub, metrics: PgDatabase, tmp_path: Path, format_: Format
) -> None:
    config = configured(tmp_path, metrics)
    backup(config, format=format_)
    metrics.run("DELETE FROM public.metric WHERE value > 5")
    calls = stub.listen()
    done = restore(config, skip_safety_backup=True)
    heard = calls()
    new = next(call.database for call in heard if call.said == "pre_restore")
    assert new.startswith(f"{metrics.name}__new_")
    begin = next(i for i, call in enumerate(heard) if call.said == "create database")
    assert order(heard[begin:]) == [
        "create database",
        f"create extension {VERSION}",
        "pre_restore",
        "workers stopped",
        "load",
        "post_restore",
        "workers started",
        "workers stopped",
        "analyze",
        "count",
        "rename",
        "workers started",
    ]
    assert heard[-1][:2] == (metrics.name, "workers started"), "of the database that is live now"
    assert (done.tables, done.rows, done.warnings) == (2, 103, ())
    assert metrics.run("SELECT count(*) FROM public.metric") == [(100,)]
    assert metrics.run("SELECT * FROM public.daily")[0][1] == 20.5
    assert metrics.run(
        "SELECT value FROM _timescaledb_catalog.metadata WHERE key = 'timescaledb_version'"
    ) == [(VERSION,)]
    assert restoring_mode(metrics) == []


FAILS_BESIDE = """
    CREATE FUNCTION public.{name}() RETURNS boolean LANGUAGE plpgsql AS $body$
    BEGIN
        IF current_database() LIKE '%%\\_\\_new\\_%%' THEN {does}; END IF;
        RETURN true;
    END $body$;
    CREATE TABLE public.z_last (id int CHECK (public.{name}()));
    INSERT INTO public.z_last VALUES (1);
"""
"""A table that cannot be loaded into the database a restore makes."""
GIVEN_UP = [
    "pre_restore",
    "workers stopped",
    "load",
    "post_restore",
    "workers started",
    "workers stopped",
    "drop database",
]
"""What is heard of a load that does not come to its end."""


@pytest.mark.parametrize("format_", FORMATS)
def test_e20_post_restore_is_called_after_a_failed_load_too_and_no_worker_starts(
    stub: Stub, metrics: PgDatabase, tmp_path: Path, format_: Format
) -> None:
    metrics.run(FAILS_BESIDE.format(name="no", does="RAISE EXCEPTION 'not here'"))
    config = configured(tmp_path, metrics)
    backup(config, format=format_)
    calls = stub.listen()
    with pytest.raises(LoadFailed, match=r"could not be loaded|broke off") as failed:
        restore(config, skip_safety_backup=True)
    heard = order(calls())
    assert heard[heard.index("pre_restore") :] == GIVEN_UP
    assert "not here" in (failed.value.details or "")
    assert failed.value.state == f"{metrics.name} was not touched"
    assert databases(metrics) == [metrics.name]


@pytest.mark.long
@pytest.mark.fault
def test_e20_post_restore_is_called_after_an_interrupted_load_too(
    stub: Stub, metrics: PgDatabase, project: Project
) -> None:
    metrics.run(FAILS_BESIDE.format(name="slow", does="PERFORM pg_sleep(120)"))
    project.mount()
    environ = {"DATABASE_URL": metrics.url, "DBTASKS_VIA": "host", "DBTASKS_PG_BIN": str(metrics.server.bin)}
    assert project.invoke("db.backup", **environ).returncode == 0
    calls = stub.listen()
    running = project.start("db.restore", "--file=latest", "--yes", **environ)
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    deadline = time.monotonic() + 60
    while stub.server.run("postgres", sleeping) != [(1,)]:
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130, told
    heard = order(calls())
    assert heard[heard.index("pre_restore") :] == GIVEN_UP
    assert databases(metrics) == [metrics.name]


def test_e20_an_error_of_post_restore_is_the_failure_of_the_restore(
    stub: Stub, metrics: PgDatabase, tmp_path: Path
) -> None:
    metrics.run("UPDATE _timescaledb_catalog.metadata SET value = '1.0' WHERE key = 'timescaledb_version'")
    config = configured(tmp_path, metrics)
    backup(config)
    with pytest.raises(LoadFailed, match="catalog version mismatch"):
        restore(config)
    assert databases(metrics) == [metrics.name]
    assert metrics.run("SELECT count(*) FROM public.metric") == [(100,)]


def test_e20_several_jobs_do_not_count_and_that_is_said(
    stub: Stub, metrics: PgDatabase, tmp_path: Path
) -> None:
    config = configured(tmp_path, metrics, jobs="4")
    backup(config, format=Format.DIRECTORY)
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob())
    assert any("loaded by one job" in warning for warning in plan.warnings)
    calls = stub.listen()
    restore(config)
    assert len({call.pid for call in calls() if call.said == "row"}) == 1
    assert plan.load.steps[:2] == (
        f"create a new database beside {metrics.name} with the extension timescaledb {VERSION} in it,"
        " SELECT timescaledb_pre_restore()",
        f"load {plan.archive.path.name} into it by one job, then SELECT timescaledb_post_restore(),"
        " also after a failure",
    )


def test_e20_an_extension_outside_public_comes_back_where_it_was(stub: Stub, tmp_path: Path) -> None:
    with stub.server.fresh() as database:
        database.run("CREATE SCHEMA tsdb; CREATE EXTENSION timescaledb SCHEMA tsdb")
        database.run(HYPERTABLES)
        config = configured(tmp_path, database)
        backup(config)
        calls = stub.listen()
        restore(config)
        assert {"pre_restore", "post_restore"} <= set(order(calls()))
        where = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'timescaledb'"
        assert database.run(where) == [("tsdb",)]
        assert database.run("SELECT count(*) FROM public.metric") == [(100,)]


def test_e20_a_restoring_mode_left_by_somebody_is_not_carried_over(
    metrics: PgDatabase, tmp_path: Path
) -> None:
    config = configured(tmp_path, metrics)
    backup(config)
    metrics.run(f"ALTER DATABASE \"{metrics.name}\" SET timescaledb.restoring = 'on'")
    metrics.run(f"ALTER DATABASE \"{metrics.name}\" SET work_mem = '7MB'")
    assert restoring_mode(metrics) == [("timescaledb.restoring=on",)]
    restore(config)
    assert restoring_mode(metrics) == []
    assert metrics.run("SHOW work_mem") == [("7MB",)]


# -- the same version --------------------------------------------------------------------------


def test_e20_the_extension_comes_in_the_version_of_the_backup_not_in_the_servers_newest(
    stub: Stub, tmp_path: Path
) -> None:
    with stub.server.fresh() as database:
        database.run(f"CREATE EXTENSION timescaledb VERSION '{OLDER}'")
        database.run(HYPERTABLES)
        config = configured(tmp_path, database)
        assert backup(config).manifest.extensions["timescaledb"] == OLDER
        calls = stub.listen()
        done = restore(config)
        assert f"create extension {OLDER}" in order(calls())
        installed = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
        assert database.run(installed) == [(OLDER,)]
        assert done.warnings == ()


def test_e20_another_version_is_refused_before_anything_is_touched(
    stub: Stub, metrics: PgDatabase, project: Project
) -> None:
    project.mount()
    environ = {"DATABASE_URL": metrics.url, "DBTASKS_VIA": "host", "DBTASKS_PG_BIN": str(metrics.server.bin)}
    assert project.invoke("db.backup", **environ).returncode == 0
    stub.offers(OLDER)
    calls = stub.listen()
    refused = project.invoke("db.restore", "--file=latest", "--yes", **environ)
    assert refused.returncode == 3
    assert f"was made with TimescaleDB {VERSION}, and this server has {OLDER}" in refused.stderr
    assert "nothing was touched" in refused.stderr
    assert f"timescale/timescaledb:{VERSION}-pg18" in refused.stderr
    assert "ALTER EXTENSION timescaledb UPDATE" in refused.stderr
    assert not {"create database", "rename", "pre_restore"} & set(order(calls()))
    assert databases(metrics) == [metrics.name]


def test_e20_a_server_without_timescaledb_is_refused(
    pg_db: PgDatabase, metrics: PgDatabase, tmp_path: Path
) -> None:
    config = configured(tmp_path, metrics)
    backup(config)
    with pytest.raises(VersionMismatch, match=f"TimescaleDB {VERSION}, and this server has no TimescaleDB"):
        dbtasks.plan_restore(config, dbtasks.RestoreJob(into=pg_db.url))


# -- what is refused -----------------------------------------------------------------------------


def test_e20_a_login_that_is_no_superuser_is_refused(stub: Stub, metrics: PgDatabase, tmp_path: Path) -> None:
    backup(configured(tmp_path, metrics))
    role = stub.server.create_role("LOGIN CREATEDB")
    stub.server.run("postgres", f'ALTER DATABASE "{metrics.name}" OWNER TO "{role.user}"')
    config = configured(tmp_path, metrics.seen_by(role))
    with pytest.raises(RightMissing, match="only a superuser may stop"):
        dbtasks.plan_restore(config, dbtasks.RestoreJob())


def test_e20_in_place_and_as_another_role_are_refused(
    stub: Stub, metrics: PgDatabase, tmp_path: Path
) -> None:
    config = configured(tmp_path, metrics)
    backup(config)
    for request, words in (
        (dbtasks.LoadRequest(in_place=True), "the backup holds TimescaleDB, .* never in place"),
        (dbtasks.LoadRequest(role="postgres"), "whose catalog no other role"),
    ):
        with pytest.raises(Refused, match=words):
            dbtasks.plan_restore(config, dbtasks.RestoreJob(request=request))
    # nor is a backup without it loaded in place over one that has it
    with stub.server.fresh() as plain:
        plain.run("CREATE TABLE public.t (a int)")
        backup(configured(tmp_path, plain))
        plain.run("CREATE EXTENSION timescaledb")
        request = dbtasks.LoadRequest(in_place=True)
        with pytest.raises(Refused, match=f"{plain.name} has TimescaleDB, .* never in place"):
            dbtasks.plan_restore(configured(tmp_path, plain), dbtasks.RestoreJob(request=request))
        # where no database can be created nothing is left but that: the right is what is missing
        role = stub.server.create_role("LOGIN")
        stub.server.run("postgres", f'ALTER DATABASE "{plain.name}" OWNER TO "{role.user}"')
        plain.run(f'ALTER TABLE public.t OWNER TO "{role.user}"')
        config = configured(tmp_path, plain.seen_by(role))
        with pytest.raises(RightMissing, match=r"never in place; the role .* may not create databases"):
            dbtasks.plan_restore(config, dbtasks.RestoreJob())


def test_e20_a_file_that_is_not_ours_is_refused_by_name(metrics: PgDatabase, tmp_path: Path) -> None:
    config = configured(tmp_path, metrics)
    made = backup(config)
    foreign = tmp_path / "somebodys.dump"
    foreign.write_bytes(made.path.read_bytes())
    job = dbtasks.RestoreJob(str(foreign), request=dbtasks.LoadRequest(unverified=True))
    with pytest.raises(Refused, match=r"somebodys\.dump is not ours and holds TimescaleDB"):
        dbtasks.plan_restore(config, job)


@pytest.mark.parametrize(
    "request_",
    [
        {"tables": ("metric",)},
        {"tables": ("device", "metric")},
        {"tables": ("_timescaledb_internal._hyper_1_1_chunk",)},
        {"tables": ("_timescaledb_internal._materialized_hypertable_2",)},
        {"exclude_tables": ("public.metric",)},
        {"exclude_data": ("metric",)},
    ],
    ids=str,
)
def test_e20_a_backup_takes_no_hypertable_apart(
    metrics: PgDatabase, tmp_path: Path, request_: dict[str, Any]
) -> None:
    config = configured(tmp_path, metrics)
    with pytest.raises(Refused, match="is a hypertable of TimescaleDB or part of one"):
        backup(config, **request_)
    assert dbtasks.list_backups(config).backups == ()


def test_e20_nor_do_the_settings_and_other_tables_can_be_named(metrics: PgDatabase, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"public\.metric is a hypertable"):
        backup(configured(tmp_path, metrics, exclude_data="metric"))
    made = backup(configured(tmp_path, metrics), tables=("device",))
    assert made.manifest.counts == {"public.device": 3}
    # of a backup of single tables the extension is no part
    done = restore(configured(tmp_path, metrics), made.manifest.id, into=f"{metrics.name}_device")
    assert (done.tables, done.rows) == (1, 3)
    config = configured(tmp_path, metrics)
    schema = backup(config, schema_only=True).manifest
    assert "hypertables come back from it as plain tables: public.metric" in schema.warnings


def test_e20_no_hypertable_comes_back_alone_whether_it_is_still_there_or_not(
    metrics: PgDatabase, tmp_path: Path
) -> None:
    config = configured(tmp_path, metrics)
    # one that has no chunk yet is told by nothing but the manifest once it is gone
    metrics.run(
        "CREATE TABLE public.idle (at timestamptz NOT NULL);"
        "INSERT INTO _timescaledb_catalog.hypertable (schema_name, table_name, associated_schema_name,"
        " associated_table_prefix, num_dimensions) VALUES ('public', 'idle', '_timescaledb_internal', '_hyper_3', 1)"
    )
    backup(config)
    for gone in (False, True):
        if gone:
            metrics.run("DROP EXTENSION timescaledb CASCADE; DROP TABLE public.metric, public.idle CASCADE")
        for name in ("metric", "idle"):
            for as_name in (None, "of_yesterday"):
                job = dbtasks.TablesJob((name,), as_name=as_name)
                with pytest.raises(Refused, match=rf"public\.{name} is a hypertable of TimescaleDB"):
                    dbtasks.plan_restore_tables(config, job)
    with pytest.raises(Refused, match="_hyper_1_1_chunk is a part of TimescaleDB"):
        dbtasks.plan_restore_tables(config, dbtasks.TablesJob(("_timescaledb_internal._hyper_1_1_chunk",)))
    metrics.run("DELETE FROM public.device")
    job = dbtasks.TablesJob(("device",))
    dbtasks.restore_tables(config, dbtasks.plan_restore_tables(config, job))
    assert metrics.run("SELECT count(*) FROM public.device") == [(3,)]


# -- what a backup says ---------------------------------------------------------------------------


def test_e20_a_hypertable_is_one_table_with_all_its_rows(metrics: PgDatabase, tmp_path: Path) -> None:
    config = configured(tmp_path, metrics)
    manifest = backup(config).manifest
    assert {(table.name, table.rows, table.hypertable) for table in manifest.tables} == {
        ("public.device", 3, False),
        ("public.metric", 100, True),
    }
    chunks = (
        "SELECT sum(pg_table_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'public.metric'::regclass"
    )
    assert [(table.bytes,) for table in manifest.tables if table.hypertable] == metrics.run(chunks)
    assert manifest.sequences == ()
    assert dbtasks.inspect(config).facts.tables == ("public.device", "public.metric")
    found = dbtasks.find(config, manifest.id)
    assert [table.hypertable for table in found.manifest.tables] == [False, True]


def test_e20_what_pg_dump_says_of_the_catalog_every_time_is_no_warning(
    metrics: PgDatabase, tmp_path: Path
) -> None:
    with engine_of(metrics, tmp_path) as engine:
        command = Command("pg_dump", ("--file=/dev/null",), env={"PGDATABASE": metrics.name})
        with engine.runner.reading(command) as source:
            source.read()
    assert "circular foreign-key constraints" in source.said
    assert "hypertable" in source.said
    for format_ in FORMATS:
        assert backup(configured(tmp_path, metrics), format=format_).manifest.warnings == ()


def test_e20_chunks_that_came_and_went_are_no_difference(metrics: PgDatabase, tmp_path: Path) -> None:
    config = configured(tmp_path, metrics)
    backup(config)
    assert not dbtasks.diff(config).differs
    metrics.run(
        "DROP TABLE _timescaledb_internal._hyper_1_1_chunk;"
        "CREATE TABLE _timescaledb_internal._hyper_1_3_chunk (CHECK (at >= '2026-01-15Z')) INHERITS (public.metric);"
        "CREATE INDEX ON _timescaledb_internal._hyper_1_3_chunk (at);"
        "GRANT SELECT ON _timescaledb_internal._hyper_1_3_chunk TO PUBLIC;"
        "INSERT INTO _timescaledb_internal._hyper_1_3_chunk SELECT '2026-01-16Z', i, i FROM generate_series(1, 7) i"
    )
    found = dbtasks.diff(config)
    assert [(t.name, t.backup_rows, t.against_rows) for t in found.tables] == [("public.metric", 100, 67)]
    assert found.schema is not None
    assert not found.schema.differs
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob())
    assert [(c.name, c.backup_rows, c.live_rows) for c in plan.changes] == [("public.metric", 100, 67)]


# -- workers, proofs and the way back ------------------------------------------------------------


@pytest.mark.long
def test_e20_an_exchange_that_fails_leaves_the_live_databases_workers_running(
    stub: Stub, metrics: PgDatabase, tmp_path: Path
) -> None:
    config = configured(tmp_path, metrics, lock_timeout="1")
    backup(config)
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(skip_safety_backup=True))
    with contextlib.closing(stub.server.connect()) as holder, holder.cursor() as cursor:

        def hold(event: Event) -> None:
            # the exchange sets a comment between the two names, for which this makes it wait
            if isinstance(event, Phase) and event.name == "swap":
                cursor.execute("BEGIN; LOCK TABLE pg_catalog.pg_shdescription IN SHARE MODE")

        calls = stub.listen()
        with pytest.raises(Busy) as busy:
            dbtasks.restore(config, plan, on_event=hold)
    assert busy.value.state == f"{metrics.name} is as it was"
    heard = order([call for call in calls() if call.database in (metrics.name, "postgres")])
    assert heard[heard.index("rename") :][:2] == ["rename", "workers started"]
    assert metrics.run("SELECT count(*) FROM public.metric") == [(100,)]


def test_e20_an_undo_starts_the_workers_of_the_database_that_comes_back(
    stub: Stub, metrics: PgDatabase, tmp_path: Path
) -> None:
    config = configured(tmp_path, metrics)
    backup(config)
    metrics.run("DELETE FROM public.metric WHERE value > 5")
    restore(config)
    calls = stub.listen()
    done = dbtasks.undo(config, dbtasks.plan_undo(config))
    assert order(calls())[-2:] == ["rename", "workers started"]
    assert calls()[-1].database == metrics.name
    assert done.warnings == ()
    assert metrics.run("SELECT count(*) FROM public.metric") == [(10,)]


def test_e20_workers_that_may_not_be_started_are_told_with_the_statement_that_does(
    stub: Stub, metrics: PgDatabase, tmp_path: Path
) -> None:
    role = stub.server.create_role("LOGIN CREATEDB")
    stub.server.run("postgres", f'ALTER DATABASE "{metrics.name}" OWNER TO "{role.user}"')
    config = configured(tmp_path, metrics)
    backup(config)
    restore(config)
    kept = next(name for name in databases(metrics) if name != metrics.name)
    stub.server.run("postgres", f'ALTER DATABASE "{kept}" OWNER TO "{role.user}"')
    owner = configured(tmp_path, metrics.seen_by(role))
    done = dbtasks.undo(owner, dbtasks.plan_undo(owner))
    (warning,) = [text for text in done.warnings if "background workers" in text]
    assert "must be superuser to start background workers" in warning
    assert warning.endswith("SELECT _timescaledb_functions.start_background_workers()")


@pytest.mark.parametrize("format_", FORMATS)
def test_e20_a_proof_loads_between_the_two_calls_and_leaves_no_worker_behind(
    stub: Stub, metrics: PgDatabase, tmp_path: Path, format_: Format
) -> None:
    config = configured(tmp_path, metrics)
    made = backup(config, format=format_)
    calls = stub.listen()
    (verified,) = dbtasks.verify(config, [made], restore=True, where="server")
    assert verified.restored is not None
    assert (verified.restored.tables, verified.restored.rows) == (2, 103)
    heard = order(calls())
    assert heard[heard.index("create database") :] == [
        "create database",
        f"create extension {VERSION}",
        "pre_restore",
        "workers stopped",
        "load",
        "post_restore",
        "workers started",
        "workers stopped",
        "count",
        "drop database",
    ]
    assert databases(metrics) == [metrics.name]


@pytest.mark.parametrize("format_", FORMATS)
def test_e20_the_commands_shown_restore_by_hand_what_has_timescaledb(
    stub: Stub, metrics: PgDatabase, project: Project, format_: Format
) -> None:
    project.mount()
    environ = {"DATABASE_URL": metrics.url, "DBTASKS_VIA": "host", "DBTASKS_PG_BIN": str(metrics.server.bin)}
    assert project.invoke("db.backup", f"--format={format_}", **environ).returncode == 0
    shown = json.loads(project.invoke("db.show", "--json", **environ).stdout)["by_hand"]
    server = stub.server
    login = {
        "PATH": f"{server.bin}:{os.environ['PATH']}",
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGUSER": server.user,
        "PGPASSWORD": server.password,
    }
    calls = stub.listen()
    for command in shown:
        subprocess.run(
            ["bash", "-c", command], cwd=project.root, env=login, check=True, stdout=subprocess.DEVNULL
        )
    assert {"pre_restore", "load", "post_restore"} <= set(order(calls()))
    again = PgDatabase(server, f"{metrics.name}_restored")
    assert again.run("SELECT count(*) FROM public.metric") == [(100,)]
    assert restoring_mode(again) == []


# -- rows, without client tools ---------------------------------------------------------------------


def test_e20_a_rows_backup_holds_a_hypertables_rows_and_says_that_it_is_a_plain_table_in_it(
    metrics: PgDatabase, tmp_path: Path
) -> None:
    made = backup(configured(tmp_path, metrics, via="python"), format=Format.ROWS)
    assert {(table.name, table.rows, table.hypertable) for table in made.manifest.tables} == {
        ("public.device", 3, False),
        ("public.metric", 100, True),
    }
    assert (
        "hypertables but for their rows: a plain table in it is public.metric" in made.manifest.not_included
    )
    assert "_timescaledb_" not in str(made.manifest.not_included)
    held = document(made.path)
    assert set(held["tables"]) == {"public.device", "public.metric"}
    ((lived,),) = metrics.run("SELECT json_agg(x::text ORDER BY x::text) FROM public.metric x")
    assert len(lived) == len(rows_in(held, "public.metric")) == 100
    assert [table["name"] for table in held["metadata"]["schema"]["tables"]] == [
        "public.device",
        "public.metric",
    ]


def test_e20_rows_go_into_no_hypertable_and_into_the_other_tables_of_such_a_database(
    metrics: PgDatabase, tmp_path: Path
) -> None:
    config = configured(tmp_path, metrics, via="python")
    made = backup(config, format=Format.ROWS)
    with pytest.raises(Refused, match=r"public\.metric is a hypertable of TimescaleDB") as caught:
        restore(config, made.id)
    assert caught.value.state == "nothing was touched"
    device = backup(config, format=Format.ROWS, tables=("device",))
    assert metrics.run("SELECT count(*) FROM public.metric") == [(100,)]
    metrics.run("UPDATE public.device SET name = 'changed'")
    result = restore(config, device.id, skip_safety_backup=True)
    assert (result.tables, result.rows) == (1, 3)
    assert metrics.run("SELECT count(*) FROM public.device WHERE name = 'changed'") == [(0,)]
