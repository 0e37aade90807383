"""Backups by psycopg2 alone: what is in them, in which state of the database, and what is said to be missing."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

import dbtasks
from dbtasks.engines.postgres.dumping import held_tables as held_module
from dbtasks.engines.postgres.dumping.held_tables import UNTOUCHED, lock_tables
from dbtasks.engines.postgres.rows import backup as rows_module
from dbtasks.engines.routes import open_engine
from dbtasks.errors import (
    ArchiveDamaged,
    Busy,
    DumpFailed,
    RightMissing,
    StoreFull,
    UsageError,
    WrongEngine,
)
from dbtasks.events import Event, OnEvent, Phase, Progress, ignore
from dbtasks.executors.backup import BackupJob
from dbtasks.executors.browse import show
from dbtasks.models import Archive, Backup, Compression, Format, Route, Type
from dbtasks.plans import DumpRequest
from dbtasks.schemas import table_name
from dbtasks.settings import Settings
from dbtasks.stores.local import LocalStore
from tests.conftest import REPOSITORY
from tests.fix_postgres import PASSWORD, PgDatabase, PgServer
from tests.postgres import rich
from tests.postgres.rows_file import bits, document, put_back, rows_in, written

HOSTILE = table_name("public", rich.HOSTILE)


def settings_of(database: PgDatabase, root: Path, **flags: Any) -> Settings:
    return dbtasks.load_settings(root, environ={}, url=database.url, via="python", **flags)


def backed_up(
    database: PgDatabase,
    root: Path,
    on_event: OnEvent = ignore,
    *,
    flags: dict[str, Any] | None = None,
    **request: Any,
) -> Backup:
    config = settings_of(database, root, **(flags or {}))
    return dbtasks.backup(config, BackupJob(request=DumpRequest(**request)), on_event=on_event)


def at(kind: type[Event], act: Callable[[], object]) -> OnEvent:
    """Do something once, when the first event of a kind comes (of a phase: the dump's)."""
    done: list[bool] = []

    def hear(event: Event) -> None:
        due = isinstance(event, kind) and (not isinstance(event, Phase) or event.name == "dump")
        if due and not done:
            done.append(True)
            act()

    return hear


def nothing_is_there(root: Path) -> bool:
    return not [path for path in (root / "backups").rglob("*") if path.is_file() and "manual" in path.parts]


# -- what is in it ------------------------------------------------------------------------------


def test_b06_b07_b08_every_row_stands_once_under_its_name(any_db: PgDatabase, tmp_path: Path) -> None:
    rich.fill(any_db)
    made = backed_up(any_db, tmp_path)
    assert (made.manifest.format, made.manifest.route) == (Format.ROWS, Route.PYTHON)
    assert made.path.name.endswith(".json.gz")
    read = document(made.path)
    # as manifests spell it: a quote makes a name ambiguous
    expected = {(HOSTILE if rich.HOSTILE in name else name): rows for name, rows in rich.ROWS.items()}
    assert {name: len(rows_in(read, name)) for name in read["tables"]} == expected == made.manifest.counts
    tables = {table["name"]: table for table in read["metadata"]["schema"]["tables"]}
    # a partitioned table is described, and its rows are in its partitions
    assert tables["public.orders"]["partition_by"] == "RANGE (day)"
    assert tables["public.orders_2025"]["partition_of"] == "public.orders"
    assert set(tables) == {*expected, "public.orders", "public.orders_2026"}
    # what is computed is described and not held; an identity's numbers are
    assert read["tables"]["App Data.Upper Case"] == {
        "columns": ["id", "Sel ect"],
        "data": [[7, "x"]],
        "row_count": 1,
    }
    assert (
        next(c for c in tables["App Data.Upper Case"]["columns"] if c["name"] == "doubled")["generated"]
        == "(id * 2)"
    )
    assert tables["public.customer"]["columns"][0]["identity"] == "always"
    assert tables["public.child"]["inherits"] == ["public.parent"]
    hostile = read["tables"][HOSTILE]
    assert hostile["columns"] == [rich.HOSTILE, "select"]
    assert sorted(hostile["data"], key=str) == [["\\.", 1], [None, 2]]


def test_one_row_is_one_line_and_the_document_begins_with_what_it_is(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(
        "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('ab12');"
        "CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;"
        "CREATE TABLE t (a int, gone int, b text); ALTER TABLE t DROP COLUMN gone; INSERT INTO t VALUES (1, E'x\\ny'), (2, NULL)"
    )
    made = backed_up(pg_db, tmp_path)
    text = gzip.decompress(made.path.read_bytes()).decode()
    assert '"public.t": {"columns": ["a", "b"], "data": [\n[1,"x\\ny"],\n[2,null]\n], "row_count": 2}' in text
    assert '"public.nothing": {"columns": [], "data": [\n[],\n[]\n], "row_count": 2}' in text
    metadata = json.loads(text)["metadata"]
    assert list(metadata)[:4] == ["timestamp", "migration_version", "database_name", "database_host"]
    assert metadata["timestamp"].endswith("Z")
    assert (metadata["migration_version"], metadata["database_name"]) == ("ab12", pg_db.name)
    assert (metadata["layout"], metadata["engine"]) == (1, "postgresql")
    assert "password" not in text
    assert PASSWORD not in text


def test_b10_sequences_stand_where_they_stand(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(
        "CREATE SEQUENCE unused START 7; CREATE SEQUENCE used INCREMENT 5 CYCLE MAXVALUE 1000; SELECT nextval('used'), nextval('used');"
        "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY, s serial)"
    )
    pg_db.run("INSERT INTO t DEFAULT VALUES")
    made = backed_up(pg_db, tmp_path)
    held = {one["name"]: one for one in document(made.path)["metadata"]["schema"]["sequences"]}
    assert (held["public.unused"]["last_value"], held["public.unused"]["is_called"]) == (7, False)
    assert (
        held["public.used"]["last_value"],
        held["public.used"]["increment"],
        held["public.used"]["cycle"],
    ) == (6, 5, True)
    assert (held["public.t_id_seq"]["table"], held["public.t_id_seq"]["column"]) == ("public.t", "id")
    assert held["public.t_s_seq"]["type"] == "integer"
    assert "public.used=6" in made.manifest.sequences


def test_b10_b11_what_it_does_not_hold_is_counted_and_named(pg_db: PgDatabase, tmp_path: Path) -> None:
    rich.fill(pg_db)
    pg_db.run(f"ALTER DATABASE {pg_db.name} SET work_mem = '8MB'; COMMENT ON DATABASE {pg_db.name} IS 'mine'")
    made = backed_up(pg_db, tmp_path)
    assert not made.manifest.complete
    assert made.manifest.all_tables
    assert made.manifest.not_included == (
        "3 functions (public.add_one, public.shout, public.stamp)",
        "1 procedure (public.nop)",
        "2 views (public.loud, public.loudest)",
        "1 materialized view (public.totals)",
        "1 trigger (stamped)",
        "1 rule (ignore_nothing)",
        "1 table's row-level security, which is off in a new one (public.parent)",
        "1 row-level security policy (all_of_it)",
        "1 statistics object (both_of_them)",
        "3 large objects",
        "owners, privileges, comments",
    )
    assert any("work_mem" in line for line in made.manifest.database_settings)
    with pg_db.server.fresh() as empty:
        assert backed_up(empty, tmp_path).manifest.not_included == ("owners, privileges, comments",)


def test_b11_what_a_table_or_a_database_has_beyond_its_definition_is_named(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(
        "CREATE TABLE safe (id int PRIMARY KEY, a text); ALTER TABLE safe ENABLE ROW LEVEL SECURITY;"
        "CREATE TABLE tuned (id int PRIMARY KEY, a text, b int) WITH (fillfactor = 70);"
        "ALTER TABLE tuned REPLICA IDENTITY FULL; ALTER TABLE tuned CLUSTER ON tuned_pkey;"
        "ALTER TABLE tuned ALTER a SET STORAGE EXTERNAL; ALTER TABLE tuned ALTER b SET STATISTICS 500;"
        "CREATE UNLOGGED SEQUENCE light; CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple);"
        "CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler; CREATE TYPE base;"
        "CREATE FUNCTION base_in(cstring) RETURNS base LANGUAGE internal IMMUTABLE STRICT AS 'textin';"
        "CREATE FUNCTION base_out(base) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';"
        "CREATE TYPE base (INPUT = base_in, OUTPUT = base_out); CREATE CAST (base AS text) WITHOUT FUNCTION;"
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC; CREATE TYPE span AS RANGE (SUBTYPE = numeric)"
    )
    assert backed_up(pg_db, tmp_path).manifest.not_included == (
        # a range's own functions are nobody's
        "2 functions (public.base_in, public.base_out)",
        "1 table's row-level security, which is off in a new one (public.safe)",
        "1 text search dictionary (words)",
        "1 base type (base)",
        "1 cast (public.base to text)",
        "1 access method (other)",
        "1 replica identity (public.tuned)",
        "1 table's CLUSTER index (public.tuned)",
        "1 table's storage settings (public.tuned)",
        "2 columns' storage or statistics settings (public.tuned.a, public.tuned.b)",
        "1 sequence's being unlogged (public.light)",
        "1 set of default privileges",
        "owners, privileges, comments",
    )


def test_b11_an_identity_that_a_partition_has_of_its_own_is_named(pg16: PgServer, tmp_path: Path) -> None:
    with pg16.fresh() as database:
        database.run(
            "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, d int) PARTITION BY LIST (d);"
            "CREATE TABLE t1 (id int NOT NULL GENERATED BY DEFAULT AS IDENTITY, d int);"
            "CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2); ALTER TABLE t ATTACH PARTITION t1 FOR VALUES IN (1)"
        )
        made = backed_up(database, tmp_path)
        assert made.manifest.not_included[0] == "1 partition's own identity (public.t1)"


def test_types_keys_and_indexes_are_described(pg_db: PgDatabase, tmp_path: Path) -> None:
    rich.fill(pg_db)
    schema = document(backed_up(pg_db, tmp_path).path)["metadata"]["schema"]
    types = {one["name"]: one for one in schema["types"]}
    assert types["public.mood"]["labels"] == ["sad", "it's ok", "happy\\n"]
    assert types["public.positive"]["base"] == "integer"
    assert types["public.positive"]["checks"][0]["definition"] == "CHECK ((VALUE > 0))"
    assert [c["name"] for c in types["public.point3"]["attributes"]] == ["x", "y", "z"]
    assert schema["schemas"] == ["App Data"]
    tables = {table["name"]: table for table in schema["tables"]}
    assert tables["public.orders"]["primary_key"]["columns"] == ["id", "day"]
    (reference,) = tables["public.orders"]["foreign_keys"]
    assert (reference["columns"], reference["references"], reference["referenced"]) == (
        ["customer_id"],
        "public.customer",
        ["id"],
    )
    assert [index["name"] for index in tables["public.orders"]["indexes"]] == ["orders_note"]
    assert "primary_key" not in tables["public.orders_2025"]


def test_foreign_temporary_and_unlogged_tables(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(
        "CREATE UNLOGGED TABLE fast (a int); INSERT INTO fast VALUES (1); CREATE FOREIGN DATA WRAPPER far;"
        "CREATE SERVER away FOREIGN DATA WRAPPER far; CREATE FOREIGN TABLE there (a int) SERVER away"
    )
    with contextlib.closing(pg_db.connect()) as other, other.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE passing (a int)")
        made = backed_up(pg_db, tmp_path)
    read = document(made.path)
    assert list(read["tables"]) == ["public.fast"]
    assert made.manifest.not_included[:2] == ("1 foreign table (public.there)", "1 foreign server (away)")
    assert read["metadata"]["schema"]["tables"][0]["unlogged"] is True


def test_b05_b10_types_of_an_extension_come_as_their_text(pg17: PgServer, tmp_path: Path) -> None:
    with pg17.fresh() as database:
        database.run(
            "CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE TABLE v (h hstore, c citext);"
            """INSERT INTO v VALUES ('"a b"=>"1,\\"x", c=>NULL', E'Ab\\nC'), (NULL, '')"""
        )
        made = backed_up(database, tmp_path)
        read = document(made.path)
        (described,) = read["metadata"]["schema"]["tables"]
        assert [column["type"] for column in described["columns"]] == ["public.hstore", "public.citext"]
        assert set(read["metadata"]["extensions"]) == {"citext", "hstore", "plpgsql"}
        assert "2 extensions, but for their names (citext, hstore)" in made.manifest.not_included
        # its own types, functions and operators are not counted: they come with it
        assert not [p for p in made.manifest.not_included if "function" in p or "operator" in p]
        database.run("CREATE TABLE back (LIKE v)")
        put_back(database, "back", rows_in(read, "public.v"))
        assert bits(database, "back") == bits(database, "v")


# -- values that are too long to be held ----------------------------------------------------------

LONG = """
CREATE TABLE long (id int, t text, b bytea, j jsonb, n text[], v char(8), w boolean, x text);
INSERT INTO long VALUES (1, repeat('é"\\' || E'\\n', 500000), '\\x00ff', '{}', NULL, 'ab', true, 'short');
INSERT INTO long SELECT 2, 'short', decode(repeat('00ff5c22', 600000), 'hex'), NULL, '{}', NULL, NULL, E'\\t';
INSERT INTO long SELECT 3, NULL, NULL, jsonb_build_object('a', repeat(md5('x') || E'\\x01"', 60000)), NULL, 'null', false, NULL;
INSERT INTO long SELECT 4, NULL, NULL, NULL, ARRAY[NULL, repeat('z', 3000000)], NULL, NULL, NULL;
INSERT INTO long SELECT i, 'narrow ' || i FROM generate_series(5, 1000) i;
"""


def test_b09_rows_too_wide_for_memory_come_in_slices_and_keep_every_bit(any_db: PgDatabase) -> None:
    any_db.run(LONG)
    rows = rows_in(written(any_db), "public.long")
    assert [row[0] for row in rows[-4:]] == [1, 2, 3, 4]
    any_db.run("CREATE TABLE back (LIKE long)")
    put_back(any_db, "back", rows)
    # wide rows come last: the source is put into that order
    any_db.run("CREATE TABLE ordered (LIKE long); INSERT INTO ordered SELECT * FROM long ORDER BY id < 5, id")
    assert bits(any_db, "back") == bits(any_db, "ordered")


PEAK = """
import sys
from pathlib import Path
import dbtasks
from dbtasks.executors.backup import BackupJob
dbtasks.backup(dbtasks.load_settings(sys.argv[1], environ={}, url=sys.argv[2], via="python"))
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


def peak_mb(database: PgDatabase, root: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PEAK, root, database.url],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    return int(done.stdout)


@pytest.mark.long
def test_b09_memory_does_not_grow_with_the_rows_nor_with_one_value(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x')")
    small = peak_mb(pg_db, tmp_path)
    pg_db.run("INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 600000) i")
    many = peak_mb(pg_db, tmp_path)
    pg_db.run("INSERT INTO t SELECT 1, repeat(md5('a'), 1600000)")
    wide = peak_mb(pg_db, tmp_path)
    # 50 MB of rows, then a value of 50 MB: neither is ever held
    assert max(many, wide) < small + 25
    assert max(many, wide) < 100


# -- one state of the database --------------------------------------------------------------------


def test_b01_what_is_committed_meanwhile_is_in_no_table(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(
        "CREATE TABLE a (id int, sum int); INSERT INTO a SELECT i, 1 FROM generate_series(1, 50000) i;"
        "CREATE TABLE z (id int, sum int); INSERT INTO z SELECT * FROM a"
    )
    made = backed_up(
        pg_db,
        tmp_path,
        at(
            Progress,
            lambda: pg_db.run("UPDATE a SET sum = 2; UPDATE z SET sum = 2; INSERT INTO z VALUES (0, 2)"),
        ),
    )
    read = document(made.path)
    for table in ("public.a", "public.z"):
        assert sum(row[1] for row in rows_in(read, table)) == 50000
    assert made.manifest.counts == {"public.a": 50000, "public.z": 50000}
    assert pg_db.run("SELECT count(*) FROM z") == [(50001,)]


@pytest.mark.parametrize("act", ["TRUNCATE z", "ALTER TABLE z ALTER id TYPE bigint", "DROP TABLE z"])
def test_b02_b03_nobody_empties_or_rewrites_a_table_under_it(
    pg_db: PgDatabase, tmp_path: Path, act: str
) -> None:
    pg_db.run(
        "CREATE TABLE a (id int); INSERT INTO a VALUES (1); CREATE TABLE z (id int); INSERT INTO z VALUES (1), (2)"
    )
    refused: list[bool] = []

    def try_it() -> None:
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            pg_db.run(f"SET lock_timeout = '100ms'; {act}")
        refused.append(True)

    made = backed_up(pg_db, tmp_path, at(Phase, try_it))
    assert refused
    assert made.manifest.counts == {"public.a": 1, "public.z": 2}


@pytest.mark.parametrize(
    ("act", "ends_it"),
    [
        ("ALTER TYPE mood RENAME VALUE 'a' TO 'z'", True),
        ("ALTER TYPE pair ADD ATTRIBUTE b int", True),
        ("ALTER TYPE mood ADD VALUE 'more'; CREATE TYPE other AS ENUM ()", False),
    ],
)
def test_b02_b03_a_type_that_is_changed_under_its_values_ends_it(
    pg_db: PgDatabase, tmp_path: Path, act: str, ends_it: bool
) -> None:
    pg_db.run("CREATE TYPE mood AS ENUM ('a'); CREATE TYPE pair AS (a int)")
    pg_db.run("CREATE TABLE t (m mood, p pair); INSERT INTO t VALUES ('a', '(1)')")

    def change() -> None:
        pg_db.run(act)

    if not ends_it:
        backed_up(pg_db, tmp_path, at(Phase, change))
        return
    with pytest.raises(DumpFailed, match="were changed while rows were read: public") as caught:
        backed_up(pg_db, tmp_path, at(Phase, change))
    assert caught.value.state == UNTOUCHED
    assert nothing_is_there(tmp_path)


def test_a18_a_table_that_stays_locked_is_named_with_who_holds_it(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t (a int)")
    with contextlib.closing(pg_db.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE t")
        with pytest.raises(Busy, match=r"public\.t: process \d+ \(postgres\) holds an ACCESS EXCLUSIVE lock"):
            backed_up(pg_db, tmp_path, flags={"lock_timeout": "0.3"})
    assert nothing_is_there(tmp_path)


# -- what is refused, and what breaks off ---------------------------------------------------------


def test_a19_row_level_security_is_an_error_that_names_the_table(pg_db: PgDatabase, tmp_path: Path) -> None:
    role = pg_db.server.create_role()
    pg_db.run(
        f"CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 100); ALTER TABLE t ENABLE ROW LEVEL SECURITY;"
        f'CREATE POLICY half ON t USING (a <= 50); GRANT SELECT ON t TO "{role.user}"; ALTER ROLE "{role.user}" SET row_security = on'
    )
    with pytest.raises(RightMissing, match=r"row-level security hides rows of public\.t") as caught:
        backed_up(pg_db.seen_by(role), tmp_path)
    assert "--enable-row-security" not in caught.value.hint
    assert nothing_is_there(tmp_path)
    # switched on between the plan and the dump: the server itself refuses, and nothing is filtered
    pg_db.run("ALTER TABLE t DISABLE ROW LEVEL SECURITY")
    config = settings_of(pg_db.seen_by(role), tmp_path)
    with open_engine(config) as engine, LocalStore(tmp_path / "backups").draft(Type.MANUAL) as draft:
        plan = engine.plan_dump(DumpRequest())
        pg_db.run("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
        with pytest.raises(RightMissing, match='row-level security policy for table "t"'):
            engine.dump(plan, draft)


def test_a20_a_statement_timeout_of_the_role_does_not_end_it(pg_db: PgDatabase, tmp_path: Path) -> None:
    role = pg_db.server.create_role()
    pg_db.run(
        "CREATE TABLE t AS SELECT generate_series(1, 200000) AS a, md5('x') AS b;"
        f'GRANT SELECT ON t TO "{role.user}"; ALTER ROLE "{role.user}" SET statement_timeout = \'20ms\''
    )
    assert backed_up(pg_db.seen_by(role), tmp_path).manifest.rows == 200000


@pytest.mark.parametrize("what", ["TABLE t (a int)", "SEQUENCE s"])
def test_a25_what_may_not_be_read_is_named(pg_db: PgDatabase, tmp_path: Path, what: str) -> None:
    role = pg_db.server.create_role()
    pg_db.run(f"CREATE {what}")
    with pytest.raises(RightMissing, match=rf"the role may not read public\.{what.split()[1]}"):
        backed_up(pg_db.seen_by(role), tmp_path)
    assert nothing_is_there(tmp_path)


def test_a03_a_session_ended_by_the_server_leaves_nothing(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t AS SELECT i, md5(i::text) AS b FROM generate_series(1, 300000) i")
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    with pytest.raises(DumpFailed, match="broke off") as caught:
        backed_up(pg_db, tmp_path, at(Progress, lambda: pg_db.run(end, (pg_db.name,))))
    assert caught.value.state == "nothing was published; earlier backups are untouched"
    assert nothing_is_there(tmp_path)
    assert threading.active_count() == 1


def test_a10_an_interruption_ends_the_query_and_leaves_nothing(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t AS SELECT i, md5(i::text) AS b FROM generate_series(1, 300000) i")

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backed_up(pg_db, tmp_path, at(Progress, interrupt))
    assert nothing_is_there(tmp_path)
    assert threading.active_count() == 1
    busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid() AND state = 'active'"
    assert pg_db.run(busy, (pg_db.name,)) == [(0,)]


def test_a04_a_full_disk_in_the_middle_leaves_nothing_and_no_query_behind(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE t AS SELECT i, md5(i::text) AS b FROM generate_series(1, 300000) i")

    def fill() -> None:
        raise StoreFull("no space left on the disk")

    with pytest.raises(StoreFull):
        backed_up(pg_db, tmp_path, at(Progress, fill))
    assert nothing_is_there(tmp_path)
    assert threading.active_count() == 1


def test_b02_a_table_that_appears_while_the_others_are_locked_is_locked_as_well(
    pg_db: PgDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pg_db.run("CREATE TABLE a (id int); INSERT INTO a VALUES (1)")
    locked: list[list[str]] = []

    def lock(session: Any, tables: Any) -> None:
        locked.append([str(table) for table in tables])
        lock_tables(session, tables)
        if len(locked) == 1:
            pg_db.run("CREATE TABLE late (id int); INSERT INTO late VALUES (1), (2)")

    monkeypatch.setattr(held_module, "lock_tables", lock)
    made = backed_up(pg_db, tmp_path)
    assert locked == [["public.a"], ["public.a", "public.late"]]
    assert made.manifest.counts == {"public.a": 1, "public.late": 2}


def test_text_that_is_not_utf8_is_refused_by_name(pg: PgServer, tmp_path: Path) -> None:
    with pg.fresh("ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'") as database:
        database.run("CREATE TABLE good (a text); INSERT INTO good VALUES ('x'); CREATE TABLE odd (a text)")
        assert backed_up(database, tmp_path).manifest.rows == 1
        with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET client_encoding = SQL_ASCII; INSERT INTO odd VALUES (E'\\xff')")
        with pytest.raises(DumpFailed, match=r"public\.odd holds text that is not UTF-8") as caught:
            backed_up(database, tmp_path)
        assert "--format=custom" in caught.value.hint


# -- parts -----------------------------------------------------------------------------------------


@pytest.fixture
def shop(pg_db: PgDatabase) -> PgDatabase:
    pg_db.run(
        "CREATE TABLE customer (id int PRIMARY KEY); INSERT INTO customer VALUES (1);"
        "CREATE TABLE orders (id int, c int REFERENCES customer); INSERT INTO orders VALUES (1, 1), (2, 1); CREATE TABLE log (a int)"
    )
    return pg_db


@pytest.mark.parametrize(
    ("request_", "rows", "part"),
    [
        ({"tables": ("orders",)}, {"public.orders": 2}, "all other tables than public.orders (it holds only public.orders)"),
        ({"exclude_tables": ("log", "orders")}, {"public.customer": 1}, "table public.log, public.orders"),
        ({"exclude_data": ("orders",)}, {"public.customer": 1, "public.log": 0}, "rows of public.orders"),
        ({"schema_only": True}, {}, "all rows (--schema-only)"),
        ({"data_only": True}, {"public.customer": 1, "public.log": 0, "public.orders": 2}, "all definitions (--data-only)"),
    ],
    ids=lambda value: next(iter(value), "none") if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_part_is_what_was_asked_for_and_says_so(
    shop: PgDatabase, tmp_path: Path, request_: dict[str, Any], rows: dict[str, int], part: str
) -> None:
    made = backed_up(shop, tmp_path, **request_)
    read = document(made.path)
    assert {name: len(rows_in(read, name)) for name in read["tables"]} == rows == made.manifest.counts
    assert made.manifest.not_included[0] == part
    assert not made.manifest.all_tables
    assert ("schema" in read["metadata"]) is not request_.get("data_only", False)
    if "exclude_data" in request_:
        assert {table["name"] for table in read["metadata"]["schema"]["tables"]} == {
            "public.customer",
            "public.log",
            "public.orders",
        }


@pytest.mark.parametrize(
    ("request_", "globals_", "named"),
    [
        ({"extra": ("--no-comments",)}, False, "arguments after --"),
        ({"no_owner": True}, False, "--no-owner"),
        ({"jobs": 2}, False, "--jobs"),
        ({}, True, "--globals"),
        ({"compression": Compression.ZSTD}, False, "a rows backup is gzip"),
        ({"tables": ("nosuch",)}, False, "there is no such table"),
    ],
)
def test_what_means_nothing_for_rows_is_refused_by_name(
    shop: PgDatabase, tmp_path: Path, request_: dict[str, Any], globals_: bool, named: str
) -> None:
    job = BackupJob(request=DumpRequest(format=Format.ROWS, **request_), globals=globals_)
    with pytest.raises(UsageError, match=named):
        dbtasks.backup(settings_of(shop, tmp_path), job)
    assert nothing_is_there(tmp_path)


def test_no_word_of_large_objects_being_in_it(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE f (o oid); INSERT INTO f VALUES (lo_from_bytea(0, 'x'))")
    made = backed_up(pg_db, tmp_path, tables=("f",))
    assert made.manifest.warnings == ()
    assert "1 large object" in made.manifest.not_included


# -- reading it again -------------------------------------------------------------------------------


def test_c01_c03_c04_damage_is_found(shop: PgDatabase, tmp_path: Path) -> None:
    shop.run("INSERT INTO log SELECT generate_series(1, 3000)")
    made = backed_up(shop, tmp_path)
    config = settings_of(shop, tmp_path)
    whole = made.path.read_bytes()
    plain = gzip.decompress(whole)
    copy = tmp_path / "copy.json.gz"

    def told(data: bytes) -> str:
        copy.write_bytes(data)
        with pytest.raises(ArchiveDamaged) as caught:
            _check(config, copy)
        return caught.value.message

    for cut in (30, len(whole) // 3, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        told(whole[:cut])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 4
    told(bytes(flipped))
    # packed well, and not what we wrote
    assert "ends before its end" in told(gzip.compress(plain[: len(plain) // 2]))
    assert "stands behind its end" in told(gzip.compress(plain + b"x"))
    assert "is no row" in told(gzip.compress(plain.replace(b"[17],\n", b"17,\n")))
    assert "its layout is 2" in told(gzip.compress(plain.replace(b'"layout": 1', b'"layout": 2')))
    assert "not UTF-8" in told(gzip.compress(plain.replace(b"[17],", b'["\xff"],')))
    copy.write_bytes(gzip.compress(plain.replace(b"[17],\n", b"")))
    with pytest.raises(
        dbtasks.errors.CountsDiffer, match=r"public\.log holds 2,999 rows, and says that it has 3,000"
    ):
        _check(config, copy)


def _check(config: Settings, path: Path) -> None:
    from dbtasks.engines.routes import open_checker

    with open_checker(config, Format.ROWS) as engine:
        engine.check(Archive(path, Format.ROWS, Compression.GZIP, None))


def test_db_verify_reads_it_to_its_end_and_marks_a_damaged_one(shop: PgDatabase, tmp_path: Path) -> None:
    made = backed_up(shop, tmp_path)
    config = settings_of(shop, tmp_path)
    (verified,) = dbtasks.verify(config, [dbtasks.find(config, made.id)])
    assert verified.ok
    assert verified.how == "sha256; gzip decompressed to its end, every row counted"
    data = bytearray(made.path.read_bytes())
    data[-6] ^= 1
    made.path.chmod(0o600)
    made.path.write_bytes(data)
    (verified,) = dbtasks.verify(config, [dbtasks.find(config, made.id)])
    assert (verified.ok, verified.exit_code) == (False, 5)


def test_its_rows_are_taken_out_by_hand_with_the_commands_shown(shop: PgDatabase, tmp_path: Path) -> None:
    made = backed_up(shop, tmp_path)
    commands = show(settings_of(shop, tmp_path), made.id).by_hand
    done = subprocess.run(["sh", "-c", commands[0]], capture_output=True, text=True, check=True)
    assert done.stdout.endswith(": OK\n")
    assert all(f"gzip -dc {made.path} | jq" in line for line in commands[2:])
    assert '.tables["public.customer"].data[] | @csv' in commands[-1]


@pytest.mark.parametrize("data_only", [False, True])
def test_what_its_tables_were_made_of_is_shown_by_the_command_shown(
    shop: PgDatabase, tmp_path: Path, data_only: bool
) -> None:
    made = backed_up(shop, tmp_path, data_only=data_only)
    (command,) = (line for line in show(settings_of(shop, tmp_path), made.id).by_hand if ".metadata" in line)
    assert "jq '.metadata | .schema // .outline'" in command
    if shutil.which("jq"):
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
        told = json.loads(done.stdout)
    else:
        metadata = document(made.path)["metadata"]
        told = metadata.get("schema") or metadata["outline"]
    customer = next(table for table in told["tables"] if table["name"] == "public.customer")
    assert {"name": "id", "type": "integer"}.items() <= customer["columns"][0].items()
    assert ("primary_key" in customer) is not data_only


def test_c09_a_rows_file_without_a_manifest_is_adopted(shop: PgDatabase, tmp_path: Path) -> None:
    made = backed_up(shop, tmp_path)
    alone = tmp_path / "alone.json.gz"
    alone.write_bytes(made.path.read_bytes())
    other = tmp_path / "other"
    other.mkdir()
    config = settings_of(shop, other)
    taken = dbtasks.adopt(config, dbtasks.plan_adopt(config, dbtasks.AdoptJob(str(alone)))).manifest
    assert (taken.format, taken.foreign, taken.complete) == (Format.ROWS, True, False)
    assert taken.counts == made.manifest.counts
    assert taken.archive.endswith(".json.gz")
    assert taken.server_version == made.manifest.server_version
    # nobody knows whether it is of this database, or of all its tables
    assert dbtasks.list_backups(config).latest is None
    lite = dbtasks.load_settings(other, environ={}, url="sqlite:///app.db")
    with pytest.raises(WrongEngine, match="holds a postgresql database"):
        dbtasks.plan_adopt(lite, dbtasks.AdoptJob(str(alone)))


# -- latest, and what others push out ----------------------------------------------------------------


def test_latest_is_the_rows_of_all_tables_only_while_there_is_no_complete_one(
    shop: PgDatabase, tmp_path: Path
) -> None:
    config = settings_of(shop, tmp_path)
    rows = backed_up(shop, tmp_path)
    part = backed_up(shop, tmp_path, tables=("log",))
    catalog = dbtasks.list_backups(config)
    assert catalog.latest is not None
    assert (catalog.latest.id, catalog.find("latest").id) == (rows.id, rows.id)
    assert catalog.about_latest == (
        f"there is no complete backup of this database: latest is {rows.id}, the newest that holds the rows of all its tables"
    )
    by_tools = dbtasks.load_settings(
        tmp_path, environ={}, url=shop.url, via="host", pg_bin=str(shop.server.bin)
    )
    complete = dbtasks.backup(by_tools)
    newer = backed_up(shop, tmp_path)
    catalog = dbtasks.list_backups(config)
    assert catalog.find("latest").id == complete.id
    assert catalog.about_latest == ""
    assert {b.id for b in catalog.backups} == {rows.id, part.id, complete.id, newer.id}


def test_h04_the_last_one_of_all_rows_stays_while_there_is_no_complete_one(
    shop: PgDatabase, tmp_path: Path
) -> None:
    config = settings_of(shop, tmp_path, keep="1")
    rows = backed_up(shop, tmp_path)
    for _ in range(2):
        backed_up(shop, tmp_path, tables=("log",))
    plan = dbtasks.plan_cleanup(config)
    assert rows.id in {b.id for b in plan.retention.kept}


def test_a24_rows_that_shrank_are_told_although_a_function_was_added(
    shop: PgDatabase, tmp_path: Path
) -> None:
    shop.run("INSERT INTO log SELECT generate_series(1, 5000)")
    backed_up(shop, tmp_path)
    shop.run("TRUNCATE log; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    assert "public.log: 0 of 5,000 rows" in backed_up(shop, tmp_path).manifest.anomaly


@pytest.fixture(autouse=True)
def no_draft_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert not list((tmp_path / "backups").rglob("*.draft"))


# -- of one moment -----------------------------------------------------------------------------------


def test_the_revision_is_that_of_the_rows_and_not_of_the_plan(
    shop: PgDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.run("CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('before')")
    real = rows_module.dump_rows

    def migrated(*arguments: Any) -> Any:
        shop.run("UPDATE alembic_version SET version_num = 'after'")
        return real(*arguments)

    monkeypatch.setattr(rows_module, "dump_rows", migrated)
    made = backed_up(shop, tmp_path)
    assert document(made.path)["metadata"]["migration_version"] == "after"
    assert made.manifest.revision is not None
    assert made.manifest.revision.revisions == ("after",)


XML = (
    '<?xml version="1.0" encoding="latin1"?><a>ä &amp; <!-- c --><![CDATA[<b>]]></a>',
    "  <a  b='1'\n/>\n",
    "only a text, with &lt;",
    "<a/><b/>",
    "",
)


@pytest.mark.long
def test_xml_comes_back_to_the_letter_whatever_the_role_takes_for_it(pg17: PgServer, tmp_path: Path) -> None:
    # the one server of the tests that knows xml
    with pg17.fresh() as database:
        quoted = [text.replace("'", "''") for text in XML]
        values = ", ".join(f"({number}, '{text}')" for number, text in enumerate(quoted))
        database.run(f"CREATE TABLE held (id int PRIMARY KEY, x xml); INSERT INTO held VALUES {values}")
        query = "SELECT id, x::text FROM held ORDER BY 1"
        before = database.run(query)
        assert [text for _, text in before] == list(XML)
        made = backed_up(database, tmp_path)
        config = settings_of(database, tmp_path)
        database.run(f'DELETE FROM held; ALTER DATABASE "{database.name}" SET xmloption = document')
        dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id)))
        assert database.run(query) == before
