"""The project's own command makes the tables of a rows restore: beside, so that its failure leaves nothing."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dbtasks
from dbtasks.engines.postgres.names import is_new_name
from dbtasks.errors import (
    CountsDiffer,
    DbTasksError,
    Interrupted,
    LoadFailed,
    Refused,
    RightMissing,
    ToolMissing,
    UsageError,
)
from dbtasks.events import Event
from dbtasks.models import Type
from dbtasks.plans import LoadRequest, LoadStrategy, TargetState
from dbtasks.settings import Settings
from tests.conftest import Project
from tests.fix_postgres import PASSWORD, PgDatabase
from tests.older_files import METADATA, older, table
from tests.postgres.test_orphans import until
from tests.postgres.test_rows_restore import backed_up, settings_of

TABLES = """
CREATE TABLE customer (id serial PRIMARY KEY, name text NOT NULL);
CREATE TABLE item (id int PRIMARY KEY, customer_id int REFERENCES customer (id), price numeric(9, 2));
CREATE TABLE revision (version text);
CREATE TABLE seeded (word text);
CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql RETURN upper($1);
CREATE VIEW loud AS SELECT shout(name) FROM customer;
INSERT INTO customer (name) VALUES ('seed'); INSERT INTO revision VALUES ('4f1c2ab90d11'); INSERT INTO seeded VALUES ('kept');
"""
HEAD = "import os, sys, time\nimport psycopg2\nurl = os.environ['DATABASE_URL']\n"
MAKES = HEAD + f"with psycopg2.connect(url) as connection:\n    connection.cursor().execute('''{TABLES}''')\n"
WAITS = MAKES + (
    "import subprocess\nchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "held = psycopg2.connect(url)\nopen('pids.part', 'w').write(f'{os.getpid()} {child.pid}')\n"
    "os.rename('pids.part', 'pids')\ntime.sleep(600)\n"
)
COMMAND = f"{shlex.quote(sys.executable)} make.py"
ROWS = {
    "item": table(["id", "customer_id", "price"], [1, 5, "0.10"], [2, None, None]),
    "customer": table(["id", "name"], [5, "Ada"]),
}


def config_for(database: PgDatabase, root: Path, script: str = MAKES, **flags: str) -> Settings:
    (root / "make.py").write_text(script)
    return settings_of(database, root, schema_command=COMMAND, **flags)


def planned(
    config: Settings, file: Path | str, into: str | None = None, **request: object
) -> dbtasks.RestorePlan:
    asked = LoadRequest(unverified=True, **request)  # type: ignore[arg-type]
    return dbtasks.plan_restore(config, dbtasks.RestoreJob(str(file), into=into, request=asked))


def databases(database: PgDatabase) -> set[str]:
    return {name for (name,) in database.run("SELECT datname FROM pg_database")}


def test_into_a_missing_database_the_command_makes_the_tables_and_the_rows_follow(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    config = config_for(pg_db, tmp_path)
    before = databases(pg_db)
    plan = planned(config, older(tmp_path, ROWS), into=f"{pg_db.name}_new")
    assert (plan.load.strategy, plan.load.state) == (LoadStrategy.CREATE, TargetState.MISSING)
    assert any("run in it: " in step and "make.py" in step for step in plan.load.steps)
    assert databases(pg_db) == before
    result = dbtasks.restore(config, plan)
    assert databases(pg_db) - before == {f"{pg_db.name}_new"}
    made = PgDatabase(pg_db.server, f"{pg_db.name}_new")
    # what the command filled itself: the backup's tables are emptied first, the others stay
    assert made.run("SELECT id, name FROM customer") == [(5, "Ada")]
    items = made.run("SELECT id, customer_id, price::text FROM item ORDER BY 1")
    assert items == [(1, 5, "0.10"), (2, None, None)]
    kept = made.run("SELECT (SELECT word FROM seeded), (SELECT version FROM revision)")
    assert kept == [("kept", "4f1c2ab90d11")]
    # functions and views are the command's, and the next number is behind the rows
    assert made.run("SELECT * FROM loud") == [("ADA",)]
    assert made.run("INSERT INTO customer (name) VALUES ('x') RETURNING id") == [(6,)]
    assert result.safety_backup is None
    pg_db.run(f'DROP DATABASE "{made.name}"')


def test_into_an_empty_database_it_is_exchanged_and_a_backup_of_ours_comes_back_by_it_too(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    with pg_db.server.fresh() as source:
        source.run(TABLES)
        source.run("INSERT INTO item VALUES (7, 1, 2.50)")
        made = backed_up(settings_of(source, tmp_path))
    pg_db.run(f"ALTER DATABASE \"{pg_db.name}\" SET work_mem = '7MB'")
    config = config_for(pg_db, tmp_path)
    before = databases(pg_db)
    plan = planned(config, made.path)
    assert (plan.load.strategy, plan.load.state) == (LoadStrategy.SWAP, TargetState.EMPTY)
    assert not plan.load.creates
    result = dbtasks.restore(config, plan)
    assert result.old is None
    assert databases(pg_db) == before
    assert pg_db.run("SELECT id, price::text FROM item") == [(7, "2.50")]
    # the portable schema has no function: the command was there
    assert pg_db.run("SELECT shout('a'), current_setting('work_mem')") == [("A", "7MB")]


def test_e18_tables_of_other_types_than_the_backups_are_refused_by_name_and_nothing_is_left(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    with pg_db.server.fresh() as source:
        source.run(TABLES)
        made = backed_up(settings_of(source, tmp_path))
    config = config_for(pg_db, tmp_path, MAKES.replace("numeric(9, 2)", "numeric(9, 3)"))
    before = databases(pg_db)
    with pytest.raises(
        Refused, match=r"price is numeric\(9,3\) here, and numeric\(9,2\) in the backup"
    ) as caught:
        dbtasks.restore(config, planned(config, made.path))
    assert caught.value.hint == (
        "let DBTASKS_SCHEMA_COMMAND make the tables of the backup's revision; or DBTASKS_SCHEMA_COMMAND=none, and the"
        " backup makes them itself"
    )
    assert databases(pg_db) == before


def test_an_adopted_older_file_is_compared_with_its_manifest(pg_db: PgDatabase, tmp_path: Path) -> None:
    config = config_for(pg_db, tmp_path)
    job = dbtasks.AdoptJob(str(older(tmp_path, ROWS)), type=Type.MANUAL)
    made = dbtasks.adopt(config, dbtasks.plan_adopt(config, job))
    assert dbtasks.restore(config, planned(config, made.id)).checked_against_manifest


def test_g11_the_command_is_led_by_its_environment_alone_and_no_secret_stands_in_its_arguments(
    pg_db: PgDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "import json, os, sys\njson.dump([sys.argv, dict(os.environ)], open('told.json', 'w'))\n"
    config = config_for(pg_db, tmp_path, told + MAKES)
    events: list[Event] = []
    plan = planned(config, older(tmp_path, ROWS))
    with monkeypatch.context() as surroundings:
        surroundings.setenv("PGHOSTADDR", "192.0.2.1")
        surroundings.setenv("POSTGRES_DB", "somewhere_else")
        dbtasks.restore(config, plan, on_event=events.append)
    argv, environment = json.loads((tmp_path / "told.json").read_text())
    assert argv == ["make.py"]
    new = environment["PGDATABASE"]
    assert new.startswith(pg_db.name)
    assert new != pg_db.name
    assert {environment[name] for name in ("POSTGRES_DB", "DB_NAME", "DB_DATABASE")} == {new}
    assert {environment[name] for name in ("PGPASSWORD", "DB_PASSWORD", "POSTGRES_PASSWORD")} == {PASSWORD}
    assert environment["DATABASE_URL"].endswith(f"/{new}")
    assert environment["DBTASKS_HOOK_MIGRATION_VERSION"] == METADATA["migration_version"]
    assert "PGHOSTADDR" not in environment
    assert PASSWORD not in str(events)


FAILURES: dict[str, tuple[str, type[DbTasksError], str]] = {
    "a bad end": (HEAD + "print('last words', url); sys.exit(3)", LoadFailed, "exited 3"),
    "half of it": (MAKES + "sys.exit('could not go on')", LoadFailed, "exited 1"),
    "no tables": (HEAD, Refused, "ended with 0 and made no tables in the database that DATABASE_URL led"),
    "a table is missing": (MAKES.replace("CREATE TABLE item", "CREATE TABLE items"), Refused, "lacks tables"),
    "a column is missing": (MAKES.replace("price numeric", "cost numeric"), Refused, "price is not there"),
    "a value does not fit": (MAKES.replace("customer_id int REFERENCES customer (id)", "customer_id date"), Refused, "no ISO 8601|a number"),
    "a key does not hold": (MAKES.replace("price numeric(9, 2)", "price numeric(9, 2) NOT NULL"), LoadFailed, "do not go in|null"),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("what", FAILURES)
@pytest.mark.parametrize("state", ["empty", "missing"])
def test_a_failure_leaves_nothing_and_says_the_commands_last_words(
    pg_db: PgDatabase, tmp_path: Path, what: str, state: str
) -> None:
    script, kind, match = FAILURES[what]
    config = config_for(pg_db, tmp_path, script)
    before = databases(pg_db)
    plan = planned(config, older(tmp_path, ROWS), into=None if state == "empty" else f"{pg_db.name}_new")
    with pytest.raises(kind, match=match) as caught:
        dbtasks.restore(config, plan)
    assert databases(pg_db) == before
    assert pg_db.run("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [(0,)]
    assert "was not touched" in caught.value.state
    if what == "a bad end":
        assert "last words postgresql://" in caught.value.details
    said = f"{caught.value.message}{caught.value.details}{caught.value.hint}{caught.value.state}"
    assert PASSWORD not in said


def is_gone(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_command_that_takes_too_long_is_ended_with_what_it_started(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    script = HEAD + (
        "import subprocess\nchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open('pid', 'w').write(str(child.pid))\nprint('waiting', flush=True)\ntime.sleep(600)\n"
    )
    config = config_for(pg_db, tmp_path, script, schema_timeout="2")
    before = databases(pg_db)
    with pytest.raises(LoadFailed, match="took longer than 2 s") as caught:
        dbtasks.restore(config, planned(config, older(tmp_path, ROWS)))
    assert "waiting" in caught.value.details
    assert databases(pg_db) == before
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_a23_an_interruption_ends_the_command_and_leaves_nothing(pg_db: PgDatabase, tmp_path: Path) -> None:
    script = HEAD + "open('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    config = config_for(pg_db, tmp_path, script)
    plan = planned(config, older(tmp_path, ROWS))
    before = databases(pg_db)
    at_work = (
        f"import os, signal, time\nwhile not os.path.exists({str(tmp_path / 'pid')!r}): time.sleep(0.05)\n"
        f"time.sleep(0.2)\nos.kill({os.getpid()}, signal.SIGINT)"
    )
    with (
        subprocess.Popen([sys.executable, "-c", at_work], start_new_session=True) as sender,
        pytest.raises(Interrupted) as caught,
    ):
        dbtasks.restore(config, plan)
        sender.kill()
    assert "as it was" in caught.value.state
    assert databases(pg_db) == before
    assert is_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.fault
@pytest.mark.skipif(sys.platform == "win32", reason="nothing there ends a command with us")
@pytest.mark.parametrize("into", [None, "another"])
def test_d08_a_killed_restore_takes_its_command_along_and_cleanup_drops_what_that_was_making(
    project: Project, pg_db: PgDatabase, into: str | None
) -> None:
    project.mount()
    name = f"{pg_db.name}_{into}" if into else pg_db.name
    flags = (f"--into={name}",) if into else ()
    (project.root / "make.py").write_text(WAITS)
    given = {"DATABASE_URL": pg_db.url, "DBTASKS_VIA": "python", "DBTASKS_SCHEMA_COMMAND": COMMAND}
    file = older(project.root, ROWS)
    running = project.start("db.restore", f"--file={file}", "--unverified", "--yes", *flags, **given)
    until((project.root / "pids").exists)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate(timeout=60)
    pids = (project.root / "pids").read_text().split()
    assert [is_gone(int(pid)) for pid in pids] == [True, True], "the command, and what it has started"
    (left,) = (found for found in databases(pg_db) if is_new_name(name, found))
    connected = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    until(lambda: pg_db.server.run("postgres", connected, (left,)) == [(0,)])
    config = settings_of(pg_db, project.root)
    told = [
        text
        for text in dbtasks.inspect(config).warnings
        if text.startswith(f"{left} was left over by the killed restore")
    ]
    assert [text.endswith(f"{f' into {name}' if into else ''}: db.cleanup removes it") for text in told] == [
        True
    ]
    cleaning = dbtasks.plan_cleanup(config)
    assert cleaning.remains.names == (left,)
    assert dbtasks.cleanup(config, cleaning).swept == (left,)
    assert left not in databases(pg_db)
    assert dbtasks.plan_cleanup(config).remains.names == ()


def test_a_command_that_works_in_the_live_database_is_found_out(pg_db: PgDatabase, tmp_path: Path) -> None:
    config = config_for(pg_db, tmp_path, MAKES.replace("connect(url)", f"connect({pg_db.url!r})"))
    before = databases(pg_db)
    with pytest.raises(Refused, match=f"made its tables in {pg_db.name} itself") as caught:
        dbtasks.restore(config, planned(config, older(tmp_path, ROWS)))
    assert "holds what schema_command made" in caught.value.state
    assert databases(pg_db) == before
    assert pg_db.run("SELECT name FROM customer") == [("seed",)]


def test_where_tables_are_it_is_not_run(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(TABLES)
    config = config_for(pg_db, tmp_path, "raise SystemExit('run')")
    plan = planned(config, older(tmp_path, ROWS))
    assert plan.load.schema_command == ""
    dbtasks.restore(config, plan)
    assert pg_db.run("SELECT name FROM customer") == [("Ada",)]


def test_where_something_else_is_the_backups_own_schema_is_taken_and_that_is_told(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    with pg_db.server.fresh() as source:
        source.run("CREATE TABLE t (v int)")
        made = backed_up(settings_of(source, tmp_path))
    pg_db.run("CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1")
    plan = planned(config_for(pg_db, tmp_path), made.path)
    assert plan.load.creates == ("public.t",)
    assert any("is not run" in text for text in plan.warnings)


def test_what_cannot_be_is_said_before_anything_is_touched(pg_db: PgDatabase, tmp_path: Path) -> None:
    file = older(tmp_path, ROWS)
    config = settings_of(pg_db, tmp_path, schema_command="no-such-program upgrade head")
    with pytest.raises(ToolMissing, match="no-such-program of schema_command was not found in PATH"):
        planned(config, file)
    config = settings_of(pg_db, tmp_path, schema_command="bin/migrate")
    with pytest.raises(ToolMissing, match="bin/migrate"):
        planned(config, file)
    config = config_for(pg_db, tmp_path)
    with pytest.raises(UsageError, match="--in-place does not go with schema_command"):
        planned(config, file, in_place=True)
    role = pg_db.server.create_role("LOGIN NOSUPERUSER NOCREATEDB")
    with pytest.raises(RightMissing, match="may not create databases") as caught:
        planned(config_for(pg_db.seen_by(role), tmp_path), file)
    assert "make.py" in caught.value.hint


def test_a_damaged_file_is_found_before_the_command_is_run(pg_db: PgDatabase, tmp_path: Path) -> None:
    config = config_for(pg_db, tmp_path, "open('ran', 'w')")
    with pytest.raises(CountsDiffer):
        planned(config, older(tmp_path, {"item": table(["id"], [1], count=2)}))
    assert not (tmp_path / "ran").exists()


def test_after_load_runs_in_what_was_made_without_any_client_tools(pg_db: PgDatabase, tmp_path: Path) -> None:
    (tmp_path / "after.sql").write_text("INSERT INTO seeded VALUES ('after');\n")
    config = config_for(pg_db, tmp_path, after_load="after.sql", pg_bin=str(tmp_path))
    dbtasks.restore(config, planned(config, older(tmp_path, ROWS)))
    assert pg_db.run("SELECT word FROM seeded ORDER BY 1") == [("after",), ("kept",)]
    dbtasks.restore(config, planned(config, older(tmp_path, ROWS), into=f"{pg_db.name}_new"))
    made = PgDatabase(pg_db.server, f"{pg_db.name}_new")
    assert made.run("SELECT word FROM seeded ORDER BY 1") == [("after",), ("kept",)]
    made.server.run("postgres", f'DROP DATABASE "{made.name}"')


def test_a_proof_by_a_restore_is_of_the_backups_own_schema_and_never_runs_it(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE t (v int); INSERT INTO t VALUES (1)")
    config = config_for(pg_db, tmp_path, "open('ran', 'w')")
    made = backed_up(config)
    (proof,) = dbtasks.verify(config, [made], restore=True)
    assert proof.restored is not None
    assert proof.restored.rows == 1
    assert not (tmp_path / "ran").exists()
