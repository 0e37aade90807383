"""Dumps in every format and on every version: what is in them, and that it is all from one moment."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import stat
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

from dbtasks.errors import Busy, RightMissing, UsageError, VersionMismatch
from dbtasks.events import CommandStarted, Event, Phase
from dbtasks.models import Compression, Format, TableCount, Type
from dbtasks.plans import DumpRequest
from dbtasks.stores.local import LocalStore
from tests.fix_postgres import PASSWORD, PgDatabase, PgServer
from tests.postgres.dumping import dumped, engine_of, restored, rows_of

SHOP = """
    CREATE TABLE customers(id serial PRIMARY KEY, name text);
    INSERT INTO customers(name) SELECT 'customer ' || i FROM generate_series(1, 1000) i;
    CREATE TABLE orders(id int, day date) PARTITION BY RANGE (day);
    CREATE TABLE orders_2026 PARTITION OF orders FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    INSERT INTO orders SELECT i, '2026-05-05' FROM generate_series(1, 50) i;
    CREATE TABLE nothing(a int);
    CREATE SEQUENCE unused;
"""
SHOP_ROWS = {"public.customers": 1000, "public.nothing": 0, "public.orders_2026": 50}


@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.SQL, Format.DIRECTORY])
def test_a_dump_of_each_format_holds_all_and_says_so(
    any_db: PgDatabase, tmp_path: Path, format_: Format
) -> None:
    any_db.run(SHOP)
    events: list[Event] = []
    with dumped(any_db, tmp_path, DumpRequest(format=format_), on_event=events.append) as made:
        data = made.archive.path.read_bytes()
        assert made.dumped.sha256 == hashlib.sha256(data).hexdigest()
        assert stat.S_IMODE(made.archive.path.stat().st_mode) == 0o600
    assert rows_of(made) == SHOP_ROWS
    assert made.dumped.not_counted == ""
    assert made.dumped.sequences == ("public.customers_id_seq=1000", "public.unused")
    assert made.plan.complete
    assert made.plan.not_included == ()
    assert made.plan.tables == tuple(SHOP_ROWS)
    assert made.plan.tool_version.startswith(f"pg_dump {any_db.server.version}")
    assert made.plan.why == "asked for"
    assert Phase("dump", f"{any_db.name} by {made.plan.tool_version}") in events
    assert "to its end" in made.checked.how or "last lines" in made.checked.how


def test_the_bytes_of_each_table_are_recorded(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(SHOP)
    with dumped(pg_db, tmp_path) as made:
        sizes = {table.name: table.bytes for table in made.dumped.tables}
    assert sizes["public.nothing"] == 0
    assert (sizes["public.customers"] or 0) > 40_000


def test_a_custom_dump_restores_with_plain_pg_restore(any_db: PgDatabase, tmp_path: Path) -> None:
    any_db.run(SHOP)
    with dumped(any_db, tmp_path) as made, any_db.server.fresh() as copy:
        restored(made, any_db.server, copy)
        assert copy.run("SELECT count(*), max(name) FROM customers") == [(1000, "customer 999")]
        assert copy.run("SELECT count(*) FROM orders") == [(50,)]


def test_the_codec_is_what_the_tool_can_and_not_what_its_version_promises(
    pg16: PgServer, pg17: PgServer, pg18: PgServer, tmp_path: Path
) -> None:
    chosen = {}
    for server in (pg16, pg17, pg18):
        with server.fresh() as database, dumped(database, tmp_path) as made:
            chosen[server.version] = made.plan.compression
            assert made.archive.path.read_bytes()[:5] == b"PGDMP"
    assert chosen == {16: Compression.GZIP, 17: Compression.ZSTD, 18: Compression.GZIP}


def test_zstd_asked_of_a_tool_without_it_is_refused_before_any_byte(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    with pytest.raises(VersionMismatch, match="cannot write zstd") as caught:
        attempt(pg_db, tmp_path, DumpRequest(compression=Compression.ZSTD))
    assert "gzip" in caught.value.hint


@pytest.mark.parametrize(
    ("codec", "suffix", "start"),
    [
        (Compression.GZIP, ".sql.gz", b"\x1f\x8b"),
        (Compression.ZSTD, ".sql.zst", b"\x28\xb5\x2f\xfd"),
        (Compression.NONE, ".sql", b"--\n--"),
    ],
)
def test_sql_is_compressed_by_us_with_each_codec(
    pg_db: PgDatabase, tmp_path: Path, codec: Compression, suffix: str, start: bytes
) -> None:
    pg_db.run(SHOP)
    with dumped(pg_db, tmp_path, DumpRequest(format=Format.SQL, compression=codec)) as made:
        data = made.archive.path.read_bytes()
    assert made.plan.suffix == suffix
    assert data.startswith(start)
    assert made.dumped.raw_size_bytes
    if codec is Compression.GZIP:
        assert len(gzip.decompress(data)) == made.dumped.raw_size_bytes


@pytest.mark.parametrize("codec", [Compression.NONE, Compression.GZIP])
def test_custom_dumps_take_the_codec_they_are_given(
    pg_db: PgDatabase, tmp_path: Path, codec: Compression
) -> None:
    pg_db.run("CREATE TABLE t AS SELECT repeat('recognisable ', 1000) AS a")
    with dumped(pg_db, tmp_path, DumpRequest(compression=codec)) as made:
        assert (b"recognisable recognisable" in made.archive.path.read_bytes()) == (codec is Compression.NONE)


def test_a_directory_dump_is_one_flat_tar_that_any_tar_reads(pg17: PgServer, tmp_path: Path) -> None:
    with pg17.fresh() as database:
        database.run(SHOP)
        with dumped(database, tmp_path, DumpRequest(format=Format.DIRECTORY, jobs=2)) as made:
            assert not (made.archive.path.parent / "directory").exists() or not any(
                (made.archive.path.parent / "directory").iterdir()
            )
            with tarfile.open(made.archive.path) as tar:
                names = tar.getnames()
            listed = subprocess.run(
                ["tar", "-tf", made.archive.path], capture_output=True, text=True, check=True
            )
    assert names[0] == "toc.dat"
    assert listed.stdout.split() == names
    assert made.plan.suffix == ".dir.tar"
    assert made.plan.jobs == 2


def test_jobs_for_a_dump_that_is_one_stream_is_a_mistake(pg_db: PgDatabase, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--format=directory"):
        attempt(pg_db, tmp_path, DumpRequest(jobs=2))
    with pytest.raises(UsageError, match="SQLite"):
        attempt(pg_db, tmp_path, DumpRequest(format=Format.SQLITE))


def test_a24_an_empty_database_is_a_good_backup(any_db: PgDatabase, tmp_path: Path) -> None:
    with dumped(any_db, tmp_path) as made:
        assert made.archive.path.stat().st_size > 0
    assert made.dumped.tables == ()
    assert made.plan.complete


@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.SQL])
def test_b01_dump_and_counts_are_from_one_moment_while_others_write(
    pg_db: PgDatabase, tmp_path: Path, format_: Format
) -> None:
    pg_db.run(
        "CREATE TABLE a(x int); CREATE TABLE z(x int); CREATE TABLE wide AS SELECT repeat('x', 500) FROM generate_series(1, 20000)"
    )
    stop = threading.Event()

    def write() -> None:
        with contextlib.closing(pg_db.connect()) as connection, connection.cursor() as cursor:
            while not stop.is_set():
                cursor.execute("INSERT INTO a VALUES (1); INSERT INTO z VALUES (1)")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with dumped(pg_db, tmp_path, DumpRequest(format=format_)) as made, pg_db.server.fresh() as copy:
            counts = rows_of(made)
            assert counts["public.a"] == counts["public.z"]
            if format_ is Format.CUSTOM:
                restored(made, pg_db.server, copy)
                assert copy.run("SELECT count(*) FROM a") == [(counts["public.a"],)]
                assert copy.run("SELECT count(*) FROM z") == [(counts["public.z"],)]
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize("emptying", ["TRUNCATE t", "ALTER TABLE t ALTER a TYPE bigint"])
def test_b02_b03_a_table_emptied_or_rewritten_after_the_snapshot_is_never_backed_up_as_empty(
    pg_db: PgDatabase, tmp_path: Path, emptying: str
) -> None:
    """Both show an empty table even to older snapshots: they have to wait from before the snapshot on."""
    pg_db.run("CREATE TABLE t AS SELECT generate_series(1, 100) AS a")
    store = LocalStore(tmp_path / "backups")
    emptier = threading.Thread(target=pg_db.run, args=(emptying,))

    def truncate(event: Event) -> None:
        if isinstance(event, Phase) and event.name == "dump":
            emptier.start()
            emptier.join(0.5)
            assert emptier.is_alive()

    with engine_of(pg_db, tmp_path, lock_timeout=1.0) as engine, store.draft(Type.MANUAL) as draft:
        plan = engine.plan_dump(DumpRequest())
        # pg_dump now queues behind the TRUNCATE, which waits for us: nothing but the time limit ends that
        with pytest.raises(Busy, match=r"public\.t: process \d+ \(postgres\) waits for"):
            engine.dump(plan, draft, truncate)
    emptier.join()


def test_globals_hold_the_roles_and_are_private(pg_db: PgDatabase, tmp_path: Path) -> None:
    role = pg_db.server.create_role()
    with dumped(pg_db, tmp_path, globals_=True) as made:
        text = made.globals.read_text()
        assert stat.S_IMODE(made.globals.stat().st_mode) == 0o600
    assert f"CREATE ROLE {role.user}" in text
    assert "SCRAM-SHA-256$" in text
    assert "dump complete" in text
    assert made.plan.globals


def test_globals_need_a_superuser_and_say_so_before_any_byte(
    pg: PgServer, pg_db: PgDatabase, tmp_path: Path
) -> None:
    with pytest.raises(RightMissing, match="superuser"):
        attempt(pg_db.seen_by(pg.create_role()), tmp_path, globals_=True)


def test_a_hostile_database_name_is_only_a_name(pg: PgServer, tmp_path: Path) -> None:
    for name in ("host=elsewhere dbname=x", "postgresql://elsewhere/x", 'it\'s "a" \\ name\n', "-Fp"):
        database = pg.create_database(name)
        try:
            database.run("CREATE TABLE here(a int)")
            with dumped(database, tmp_path, globals_=True) as made:
                assert rows_of(made) == {"public.here": 0}
        finally:
            pg.drop_database(name)


def test_g04_no_password_is_in_any_argument_or_event(pg_db: PgDatabase, tmp_path: Path) -> None:
    # larger than a pipe: pg_dump still runs when its first megabyte has arrived
    pg_db.run("CREATE TABLE wide AS SELECT md5(i::text) FROM generate_series(1, 200000) i")
    seen: list[Event] = []
    lines: set[bytes] = set()

    def watch(event: Event) -> None:
        seen.append(event)
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                lines.add(path.read_bytes())

    with dumped(pg_db, tmp_path, DumpRequest(compression=Compression.NONE), on_event=watch):
        pass
    started = [event for event in seen if isinstance(event, CommandStarted)]
    assert any(event.command.startswith("pg_dump --format=custom") for event in started)
    assert any(b"pg_dump" in line for line in lines) or os.name != "posix"
    assert not [line for line in lines if PASSWORD.encode() in line]
    assert PASSWORD not in str(seen)


def test_warnings_of_pg_dump_reach_the_result(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(
        """CREATE TABLE chicken(id int PRIMARY KEY, egg int); CREATE TABLE egg(id int PRIMARY KEY, chicken int);
        ALTER TABLE chicken ADD FOREIGN KEY (egg) REFERENCES egg; ALTER TABLE egg ADD FOREIGN KEY (chicken) REFERENCES chicken"""
    )
    with dumped(pg_db, tmp_path, DumpRequest(data_only=True)) as made:
        assert len(made.dumped.warnings) == 1
        assert "circular foreign-key constraints" in made.dumped.warnings[0]


def test_no_owner_leaves_the_owner_out_of_the_script(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t(a int)")
    for no_owner in (False, True):
        request = DumpRequest(format=Format.SQL, compression=Compression.NONE, no_owner=no_owner)
        with dumped(pg_db, tmp_path, request) as made:
            assert ("OWNER TO" in made.archive.path.read_text()) == (not no_owner)
        assert made.plan.complete


def test_schema_only_and_data_only_say_what_is_missing(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(SHOP)
    with dumped(pg_db, tmp_path, DumpRequest(schema_only=True)) as made:
        assert not made.plan.complete
        assert made.plan.not_included == ("all rows (--schema-only)",)
        assert TableCount("public.customers", rows=None, data=False) in made.dumped.tables
    with dumped(pg_db, tmp_path, DumpRequest(data_only=True)) as made:
        assert made.plan.not_included == ("all definitions (--data-only)",)
        assert rows_of(made) == SHOP_ROWS
    with pytest.raises(UsageError, match="leave nothing"):
        attempt(pg_db, tmp_path, DumpRequest(schema_only=True, data_only=True))


def attempt(
    database: PgDatabase, root: Path, request: DumpRequest | None = None, *, globals_: bool = False
) -> None:
    """Plan only: what is refused, is refused here."""
    with engine_of(database, root) as engine:
        engine.plan_dump(request or DumpRequest(), globals_=globals_)
