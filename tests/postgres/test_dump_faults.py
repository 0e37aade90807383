"""Dumps that break off, must wait or may not: nothing is left, and the cause is named."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dbtasks import backup, list_backups, list_runs, load_settings
from dbtasks.errors import (
    Busy,
    CannotReach,
    DbTasksError,
    DumpFailed,
    RightMissing,
    StoreFull,
    ToolMissing,
    VersionMismatch,
)
from dbtasks.events import Event, Phase, Progress
from dbtasks.models import Format
from dbtasks.plans import DumpRequest
from dbtasks.stores.local import LocalStore
from tests.fix_postgres import PASSWORD, PgDatabase, PgServer
from tests.postgres.dumping import dumped, engine_of, rows_of

BIG = """CREATE TABLE big AS SELECT i, (SELECT string_agg(md5(random()::text), '') FROM generate_series(i, i + 99)) AS text
    FROM generate_series(1, 3000) i"""
FORMATS = [Format.CUSTOM, Format.SQL]


@pytest.fixture
def big_db(pg_db: PgDatabase) -> PgDatabase:
    """Enough rows that pg_dump is still writing when the first megabyte has arrived."""
    pg_db.run(BIG)
    return pg_db


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """After each test: no child of ours runs, and no draft lies about."""
    yield
    assert not [name for name in children().values() if name.startswith("pg_")]
    assert not list((tmp_path / "backups").rglob("archive"))
    assert not list((tmp_path / "backups").rglob("*.draft"))


def children() -> dict[int, str]:
    """Return this process' children by name."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            pid, _, rest = status.read_text().partition(" (")
            name, _, fields = rest.rpartition(") ")
            if int(fields.split()[1]) == os.getpid():
                found[int(pid)] = name
    return found


def at_first_progress(act: Callable[[], object]) -> Callable[[Event], None]:
    done: list[bool] = []

    def on_event(event: Event) -> None:
        if isinstance(event, Progress) and not done:
            done.append(True)
            act()

    return on_event


def failing(
    database: PgDatabase, root: Path, on_event: Callable[[Event], None], format_: Format = Format.CUSTOM
) -> DbTasksError:
    with (
        pytest.raises(DbTasksError) as caught,
        dumped(database, root, DumpRequest(format=format_), on_event=on_event),
    ):
        pass
    return caught.value


@pytest.mark.fault
@pytest.mark.parametrize("format_", FORMATS)
def test_a02_pg_dump_killed_midway_is_a_failed_dump(
    big_db: PgDatabase, tmp_path: Path, format_: Format
) -> None:
    def kill() -> None:
        for pid, name in children().items():
            if name == "pg_dump":
                os.kill(pid, signal.SIGKILL)

    error = failing(big_db, tmp_path, at_first_progress(kill), format_)
    assert type(error) is DumpFailed
    assert "killed by signal 9" in error.message
    assert "nothing was published" in error.state


@pytest.mark.fault
@pytest.mark.parametrize("format_", FORMATS)
def test_a03_the_server_ending_the_session_is_a_failed_dump_with_its_words(
    big_db: PgDatabase, tmp_path: Path, format_: Format
) -> None:
    def terminate() -> None:
        big_db.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    error = failing(big_db, tmp_path, at_first_progress(terminate), format_)
    assert type(error) is DumpFailed
    assert "terminating connection" in error.details or "connection" in error.details


@pytest.mark.fault
def test_a03_dropping_the_database_by_force_is_a_failed_dump(big_db: PgDatabase, tmp_path: Path) -> None:
    error = failing(big_db, tmp_path, at_first_progress(lambda: big_db.server.drop_database(big_db.name)))
    assert type(error) is DumpFailed


@pytest.mark.fault
@pytest.mark.skipif(os.name != "posix", reason="file size limits as POSIX has them")
@pytest.mark.parametrize("format_", FORMATS)
def test_a04_a05_a06_a_full_disk_ends_the_dump_and_its_child(
    big_db: PgDatabase, tmp_path: Path, format_: Format
) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        error = failing(big_db, tmp_path, lambda event: None, format_)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert type(error) is StoreFull
    assert "no space left" in error.message


@pytest.mark.fault
@pytest.mark.parametrize("format_", FORMATS)
def test_a10_ctrl_c_ends_pg_dump_and_the_counting(
    big_db: PgDatabase, tmp_path: Path, format_: Format
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        dumped(big_db, tmp_path, DumpRequest(format=format_), on_event=at_first_progress(interrupt)),
    ):
        pass
    gone(big_db)


def gone(database: PgDatabase) -> None:
    """Expect that nobody is connected any more."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    for _ in range(100):
        if database.run(query) == [(0,)]:
            return
        time.sleep(0.05)
    raise AssertionError("a session is left")


@pytest.mark.parametrize(
    "wrong", ["a closed port", "no such host", "the password", "no such role", "no such database"]
)
def test_a01_a_database_that_is_not_reached_leaves_no_backup_and_a_line_in_the_log(
    pg_db: PgDatabase, tmp_path: Path, wrong: str
) -> None:
    good = pg_db.url
    url = {
        "a closed port": good.replace(f":{pg_db.server.port}/", ":1/"),
        "no such host": good.replace("127.0.0.1", "nowhere.invalid"),
        "the password": good.replace("postgres:", "postgres:wrong"),
        "no such role": good.replace("postgres:", "nobody_knows:"),
        "no such database": f"{good}_not",
    }[wrong]
    config = load_settings(
        tmp_path, environ={}, url=url, pg_bin=str(pg_db.server.bin), via="host", connect_timeout="3"
    )
    with pytest.raises(CannotReach) as caught:
        backup(config)
    assert caught.value.exit_code == 3
    assert "\n" not in caught.value.message
    listed = list_backups(config)
    assert (listed.backups, listed.foreign) == ((), ())
    (run,) = list_runs(config)
    assert (run.task, run.ok, run.exit_code) == ("backup", False, 3)


def test_a17_pg_dump_16_against_server_18_is_refused_before_any_byte(
    pg16: PgServer, pg_db: PgDatabase, tmp_path: Path
) -> None:
    with (
        pytest.raises(
            VersionMismatch, match=r"pg_dump 16\.\d+ \(host\) is older than the server 18\.\d+"
        ) as caught,
        dumped(pg_db, tmp_path, tools=pg16),
    ):
        pass
    assert "PostgreSQL 18" in caught.value.hint


def test_a_newer_pg_dump_dumps_an_older_server(pg16: PgServer, pg18: PgServer, tmp_path: Path) -> None:
    with pg16.fresh() as database:
        database.run("CREATE TABLE t AS SELECT 1 AS a")
        with dumped(database, tmp_path, tools=pg18) as made:
            assert rows_of(made) == {"public.t": 1}
            assert made.plan.tool_version.startswith("pg_dump 18")


def test_no_tools_at_all_is_said_before_anything_else(pg_db: PgDatabase, tmp_path: Path) -> None:
    with (
        engine_of(pg_db, tmp_path, pg_bin=tmp_path) as engine,
        pytest.raises(ToolMissing, match="pg_dump was not found"),
    ):
        engine.plan_dump(DumpRequest())


def test_a18_a_locked_table_ends_the_dump_in_time_and_names_the_holder(
    any_db: PgDatabase, tmp_path: Path
) -> None:
    any_db.run('CREATE TABLE free(a int); CREATE TABLE "Held"(a int)')
    with contextlib.closing(any_db.connect()) as holder, holder.cursor() as cursor:
        cursor.execute("""SET application_name = 'long report'; BEGIN; LOCK TABLE "Held" """)
        with pytest.raises(Busy) as caught, dumped(any_db, tmp_path, lock_timeout=0.5):
            pass
        assert (
            f"public.Held: process {holder.info.backend_pid} (postgres, long report) holds"
            in caught.value.message
        )
    assert "lock_timeout" in caught.value.hint


def test_a19_row_level_security_is_refused_and_filtered_rows_are_a_partial_backup(
    pg: PgServer, pg_db: PgDatabase, tmp_path: Path
) -> None:
    role = pg.create_role()
    pg_db.run(
        f"""CREATE TABLE secret(a int); INSERT INTO secret SELECT generate_series(1, 100);
        ALTER TABLE secret ENABLE ROW LEVEL SECURITY; GRANT SELECT ON secret TO {role.user};
        CREATE POLICY half ON secret USING (a <= 50)"""
    )
    seen = pg_db.seen_by(role)
    with pytest.raises(RightMissing, match=r"hides rows of public\.secret") as caught, dumped(seen, tmp_path):
        pass
    assert "BYPASSRLS" in caught.value.hint
    with dumped(seen, tmp_path, DumpRequest(extra=("--enable-row-security",))) as made:
        assert rows_of(made) == {"public.secret": 50}
        assert not made.plan.complete
    with dumped(seen, tmp_path, DumpRequest(schema_only=True)):
        pass
    with dumped(pg_db, tmp_path) as made:
        assert rows_of(made) == {"public.secret": 100}


@pytest.mark.parametrize(
    ("grants", "named"),
    [
        ("GRANT USAGE ON SCHEMA app TO %s", "app.s, app.t"),
        ("GRANT USAGE ON SCHEMA app TO %s; GRANT SELECT ON ALL TABLES IN SCHEMA app TO %s", "app.s"),
        (
            "GRANT SELECT ON ALL TABLES IN SCHEMA app TO %s; GRANT SELECT ON ALL SEQUENCES IN SCHEMA app TO %s",
            "app",
        ),
    ],
    ids=["nothing", "tables only", "no schema"],
)
def test_a25_what_may_not_be_read_is_named_before_any_byte(
    pg: PgServer, pg_db: PgDatabase, tmp_path: Path, grants: str, named: str
) -> None:
    role = pg.create_role()
    pg_db.run("CREATE SCHEMA app; CREATE TABLE app.t(a int); CREATE SEQUENCE app.s")
    pg_db.run(grants.replace("%s", role.user))
    with pytest.raises(RightMissing, match=f"may not read {named}"), dumped(pg_db.seen_by(role), tmp_path):
        pass
    with dumped(pg_db.seen_by(role), tmp_path, DumpRequest(exclude_tables=("app.t", "app.s"))):
        pass


def test_a_reading_role_is_enough_for_a_whole_backup(pg: PgServer, pg_db: PgDatabase, tmp_path: Path) -> None:
    role = pg.create_role()
    pg_db.run(f"CREATE SCHEMA app; CREATE TABLE app.t(a serial); GRANT pg_read_all_data TO {role.user}")
    with dumped(pg_db.seen_by(role), tmp_path) as made:
        assert made.plan.complete
        assert rows_of(made) == {"app.t": 0}


@contextlib.contextmanager
def emptier_in_the_way(database: PgDatabase) -> Iterator[None]:
    """Queue an uncommitted TRUNCATE behind the dump's own lock: pg_dump, which comes later, waits for it."""
    with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        worker = threading.Thread(target=cursor.execute, args=("TRUNCATE big",))
        worker.start()
        try:
            until(lambda: waiting(database, "TRUNCATE"))
        except AssertionError:
            # closing it would wait for the TRUNCATE, which waits for the dump, which is us
            connection.cancel()
            raise
        try:
            yield
        finally:
            worker.join()
            cursor.execute("ROLLBACK")


def until(condition: Callable[[], object]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came true")


def waiting(database: PgDatabase, statement: str) -> bool:
    """Whether such a statement waits in this database; our own count of rows may wait as well, before pg_dump comes."""
    own = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    ((number,),) = database.run(
        "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        f" WHERE NOT l.granted AND l.database = {own} AND a.query LIKE '{statement} %'"
    )
    return bool(number)


@pytest.mark.fault
def test_a10_ctrl_c_ends_a_directory_dump_and_its_workers(big_db: PgDatabase, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:

        def interrupt() -> None:
            until(lambda: waiting(big_db, "LOCK TABLE"))
            os.kill(os.getpid(), signal.SIGINT)

        def on_event(event: Event) -> None:
            if isinstance(event, Phase) and event.name == "dump":
                stack.enter_context(emptier_in_the_way(big_db))
                threading.Thread(target=interrupt).start()

        request = DumpRequest(format=Format.DIRECTORY, jobs=2)
        with (
            pytest.raises(KeyboardInterrupt),
            dumped(big_db, tmp_path, request, on_event=on_event, lock_timeout=60.0),
        ):
            pass


PARENT = """
import sys
from pathlib import Path
from dbtasks.events import Phase
from dbtasks.models import Format
from dbtasks.plans import DumpRequest
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.dumping import dumped
port, bin_, name, root = sys.argv[1:]
server = PgServer(18, int(port), "127.0.0.1", "postgres", sys.stdin.readline()[:-1], Path(bin_), Path("/tmp"))
def on_event(event):
    if isinstance(event, Phase) and event.name == "dump":
        print("locked", flush=True)
        sys.stdin.readline()
with dumped(PgDatabase(server, name), Path(root), DumpRequest(format=Format.DIRECTORY), on_event=on_event, lock_timeout=60.0):
    pass
"""


@pytest.mark.fault
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a08_an_orphaned_pg_dump_keeps_its_draft_and_the_next_sweep_takes_it(
    big_db: PgDatabase, tmp_path: Path
) -> None:
    server, store = big_db.server, LocalStore(tmp_path / "backups")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(server.port), str(server.bin), big_db.name, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdin
        assert parent.stdout
        parent.stdin.write(f"{PASSWORD}\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == "locked\n"
        with emptier_in_the_way(big_db):
            parent.stdin.write("\n")
            parent.stdin.flush()
            until(lambda: waiting(big_db, "LOCK TABLE"))
            parent.kill()
            parent.wait()
            assert store.sweep() == []
            assert len(list((tmp_path / "backups" / "manual").glob("*.draft"))) == 1
            assert not list(store.entries())
    # the orphan ends by itself, and with it the lock on its draft
    until(store.sweep)
    assert not list(store.entries())
