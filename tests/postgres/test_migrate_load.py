"""Rows of a SQLite file arrive in tables of PostgreSQL that are made for them: all of them, or the first that fails is named."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from hashlib import md5
from pathlib import Path

import pytest

from dbtasks.errors import CountsDiffer, LoadFailed
from tests.conftest import REPOSITORY
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.arriving import arrive
from tests.postgres.test_across import made

SHOP = """
    CREATE TABLE customer (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, vip BOOLEAN, photo BLOB, rating REAL);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customer, day DATE, total NUMERIC(10,2));
    INSERT INTO customer VALUES (1, 'tab' || char(9) || 'line' || char(10) || 'back\\slash', 1, x'00ff', 1.5),
        (2, '', 0, NULL, 1e15), (7, 'Zoë 😀', NULL, x'', -0.1);
    INSERT INTO orders VALUES (10, 1, '2024-02-29', 12.5), (11, 7, NULL, 3), (12, NULL, '2025-01-01', NULL);
"""


def tables_of(database: PgDatabase) -> list[tuple[str, ...]]:
    return database.run("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")


def test_every_row_arrives_and_is_proved_on_both_sides(any_db: PgDatabase, tmp_path: Path) -> None:
    path = made(tmp_path / "a.db", SHOP)
    proofs = arrive(path, any_db).proofs
    assert any_db.run("SELECT id, name, vip, photo::text, rating FROM customer ORDER BY id") == [
        (1, "tab\tline\nback\\slash", True, "\\x00ff", 1.5),
        (2, "", False, None, 1e15),
        (7, "Zoë 😀", None, "\\x", -0.1),
    ]
    customer, orders = proofs["customer"], proofs["orders"]
    assert (customer.source_rows, customer.target_rows, customer.rejected) == (3, 3, 0)
    assert (customer.key, customer.key_low, customer.key_high) == (("id",), ("1",), ("7",))
    assert (orders.key_low, orders.key_high, orders.foreign_keys) == (("10",), ("12",), 1)
    assert len(orders.checksum) == 32 and orders.checksum != customer.checksum
    assert [(one.column, one.value, one.proved) for one in customer.next_values] == [("id", 8, "insert")]
    any_db.run("INSERT INTO customer (name) VALUES ('next')")
    assert any_db.run("SELECT max(id) FROM customer") == [(8,)]


def test_the_checksum_does_not_depend_on_the_order_of_rows(pg_db: PgDatabase, tmp_path: Path) -> None:
    one = made(tmp_path / "a.db", "CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('x'), ('y'), ('z')")
    other = made(tmp_path / "b.db", "CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('z'), ('x'), ('y')")
    third = made(tmp_path / "c.db", "CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('z'), ('x'), ('x')")
    found = [arrive(path, pg_db, keep=False).proofs["t"].checksum for path in (one, other, third)]
    assert found[0] == found[1] != found[2]


MISFITS = """
    CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
    INSERT INTO t SELECT i, i FROM n;
    UPDATE t SET a = 'soon' WHERE id IN (1234, 2000);
"""


def test_the_first_row_that_does_not_fit_its_type_stops_and_is_named(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    path = made(tmp_path / "a.db", MISFITS)
    with pytest.raises(LoadFailed) as caught:
        arrive(path, pg_db, types={"public.t.a": "integer"})
    assert str(caught.value) == "a row of t does not go in: row 1234: a does not fit its type"
    assert caught.value.details == "a: 'soon' is no whole number"
    assert tables_of(pg_db) == []


CHECKED = """
    CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) INSERT INTO t SELECT i, i FROM n;
    UPDATE t SET a = -1 WHERE id IN (17, 1042, 2500);
"""


def test_the_first_row_that_the_server_turns_down_stops_and_is_named(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE t (id bigint PRIMARY KEY, a bigint CHECK (a >= 0))")
    path = made(tmp_path / "a.db", CHECKED)
    with pytest.raises(
        LoadFailed, match=r'row 17: new row for relation "t" violates check constraint "t_a_check"'
    ):
        arrive(path, pg_db, live=True)
    assert pg_db.run("SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize("batch_size", [100, 1_000])
def test_rows_that_fail_are_left_out_each_with_its_reason_and_its_values(
    pg_db: PgDatabase, tmp_path: Path, batch_size: int
) -> None:
    pg_db.run("CREATE TABLE t (id bigint PRIMARY KEY, a bigint CHECK (a >= 0))")
    path = made(tmp_path / "a.db", CHECKED)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE t SET a = 'word' WHERE id = 3")
    arrived = arrive(path, pg_db, types={"public.t.a": "bigint"}, live=True, skip=True, batch_size=batch_size)
    assert arrived.ids == {"t": [1042, 17, 2500, 3]}
    documents = {reject.row_id: reject.document for reject in arrived.rejects}
    assert documents[3]["values"] == {"id": 3, "a": "word"}
    assert "violates check constraint" in documents[17]["reason"]
    proof = arrived.proofs["t"]
    assert (proof.source_rows, proof.target_rows, proof.rejected, proof.key_high) == (
        2500,
        2496,
        4,
        ("2499",),
    )
    assert pg_db.run("SELECT count(*), max(id) FROM t") == [(2496, 2499)]


def test_a_type_that_rounds_is_found_by_the_proof_which_names_the_rows(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE t (id bigint, at timestamp(0) without time zone)")
    path = made(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER, at TIMESTAMP);"
        " INSERT INTO t VALUES (1, '2024-01-01 00:00:00'), (2, '2024-01-01 00:00:00.25'), (3, '2024-01-01 00:00:00.75')",
    )
    with pytest.raises(
        CountsDiffer, match=r"public\.t does not hold what t has .*: not there as it was: row (2|3)"
    ):
        arrive(path, pg_db, live=True)
    assert pg_db.run("SELECT count(*) FROM t") == [(0,)]


def test_the_row_that_differs_is_named_whatever_its_checksum_begins_with(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE t (id bigint, at timestamp(0) without time zone)")
    path = made(tmp_path / "a.db", "CREATE TABLE t (id INTEGER, at TIMESTAMP)")
    for number in range(1, 9):
        made(path, f"DELETE FROM t; INSERT INTO t VALUES ({number}, '2024-01-01 00:00:00.25')")
        with pytest.raises(CountsDiffer, match="not there as it was: row 1 of t"):
            arrive(path, pg_db, live=True)


ARRIVING = """
import sys
from pathlib import Path
from dbtasks.models import PostgresTarget
from dbtasks.secrets import Secret
from tests.postgres.arriving import arrived
target = PostgresTarget(sys.argv[2], host=sys.argv[3], port=int(sys.argv[4]), user=sys.argv[5], password=Secret(sys.argv[6]))
arrived(Path(sys.argv[1]), target, types=dict([sys.argv[7:9]] if sys.argv[7:] else []))
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


def peak_mb(path: Path, database: PgDatabase, *cast: str) -> int:
    target = database.target
    arguments = (
        path,
        target.database,
        target.host,
        target.port,
        target.user,
        database.server.password,
        *cast,
    )
    done = subprocess.run(
        [sys.executable, "-c", ARRIVING, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    return int(done.stdout)


@pytest.mark.long
def test_b09_memory_does_not_grow_with_the_rows_nor_with_one_value(pg: PgServer, tmp_path: Path) -> None:
    path = made(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b BLOB, c REAL); INSERT INTO t VALUES (1, 'x', x'00', 0.5)",
    )
    peaks = []
    for more in (
        "",
        "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)"
        " INSERT INTO t SELECT i, 'some text ' || i, zeroblob(i % 50), i FROM n",
        "INSERT INTO t VALUES (60001, replace(hex(zeroblob(12500000)), '00', 'line' || char(10)), zeroblob(50000000), 1)",
    ):
        made(path, more)
        with pg.fresh() as database:
            peaks.append(peak_mb(path, database))
            digest = "SELECT md5(a), md5(b) FROM t ORDER BY id DESC LIMIT 1"
            found = database.run(digest)
    with closing(sqlite3.connect(path)) as connection:
        ((text, blob),) = connection.execute("SELECT a, b FROM t ORDER BY id DESC LIMIT 1")
    assert found == [(md5(text.encode()).hexdigest(), md5(blob).hexdigest())]
    assert len(text) == 62_500_000
    assert max(peaks[1:]) < peaks[0] + 25
    assert max(peaks) < 128


@pytest.mark.long
def test_b09_memory_does_not_grow_with_one_document_of_jsonb(pg: PgServer, tmp_path: Path) -> None:
    path = made(
        tmp_path / "a.db", "CREATE TABLE t (j TEXT, id INTEGER PRIMARY KEY); INSERT INTO t VALUES ('[1]', 1)"
    )
    peaks = []
    # one long text, its names not in the order in which the server has them
    for more in (
        "",
        """INSERT INTO t VALUES ('{"longer": 1.50, "b": "' || replace(hex(zeroblob(10000000)), '00', 'é\\n') || '"}', 2)""",
    ):
        made(path, more)
        with pg.fresh() as database:
            peaks.append(peak_mb(path, database, "public.t.j", "jsonb"))
            found = database.run("SELECT length(j ->> 'b') FROM t ORDER BY id DESC LIMIT 1")
    assert found == [(20_000_000,)]
    assert peaks[1] < peaks[0] + 25


def test_text_that_is_none_is_one_row_that_does_not_go_in(pg_db: PgDatabase, tmp_path: Path) -> None:
    path = made(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT);"
        "INSERT INTO t VALUES (1, 'one'), (2, CAST(x'ff41' AS TEXT)), (3, 'a' || char(0)), (4, 'four')",
    )
    types = {"public.t.a": "text"}
    arrived = arrive(path, pg_db, types=types, skip=True)
    assert arrived.ids == {"t": [2, 3]}
    assert [reject.reason for reject in arrived.rejects] == [
        "a: '\\xffA' is no UTF-8",
        "a: 'a\\x00' holds a zero byte",
    ]
    assert arrived.rejects[0].values == {"id": 2, "a": {"text": "ff41"}}
    assert pg_db.run("SELECT id FROM t") == [(1,), (4,)]


def test_chinook_arrives_whole(chinook: Path, pg_db: PgDatabase, tmp_path: Path) -> None:
    path = tmp_path / "chinook.db"
    shutil.copy(chinook / "Chinook_Sqlite.sqlite", path)
    proofs = arrive(path, pg_db).proofs
    with closing(sqlite3.connect(path)) as connection:
        counts = {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in proofs}
    assert {name: proof.target_rows for name, proof in proofs.items()} == counts
    assert (len(proofs), sum(proof.foreign_keys for proof in proofs.values())) == (11, 11)
    assert all(one.proved == "insert" for proof in proofs.values() for one in proof.next_values)


def test_a_key_of_two_columns_and_no_rowid_names_rows_by_it(pg_db: PgDatabase, tmp_path: Path) -> None:
    path = made(
        tmp_path / "a.db",
        "CREATE TABLE t (a INTEGER, b TEXT, c TEXT, PRIMARY KEY (b, a)) WITHOUT ROWID;"
        "INSERT INTO t VALUES (1, 'x', '5'), (2, 'y', 'word'), (3, 'a', '7')",
    )
    arrived = arrive(path, pg_db, types={"public.t.c": "integer"}, skip=True)
    assert arrived.ids == {"t": ["'y', 2"]}
    proof = arrived.proofs["t"]
    assert (proof.key, proof.key_low, proof.key_high) == (("b", "a"), ("a", "1"), ("x", "3"))


KEYED = """
    CREATE TABLE p (mail TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE t (mail TEXT PRIMARY KEY REFERENCES p (mail), n, d TEXT) WITHOUT ROWID;
    INSERT INTO p VALUES ('jo@x.org'), ('jim@x.org');
    INSERT INTO t VALUES ('jo@x.org', 1, '2024-01-01'), ('jim@x.org', 2, '2024-01-02');
"""
# what is wrong with a row, and what the message says of it: it is kept in the log
UNSAID = [
    ("UPDATE t SET n = 'secret' WHERE n = 2", "a row of t does not go in: n does not fit its type"),
    ("UPDATE t SET n = -7 WHERE n = 2", 'a row of t does not go in: new row for relation "t" violates check constraint "t_n"'),
    ("DELETE FROM p WHERE mail = 'jim@x.org'", "a row of t does not go in: mail: leads to no row of public.p"),
    ("UPDATE t SET d = '2024-01-01T00:00' WHERE n = 2", 'a row of t does not go in: duplicate key value violates unique constraint "t_d_key"'),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "message"), UNSAID)
def test_a_row_that_is_told_by_its_key_is_named_in_the_details_and_not_in_what_is_logged(
    pg_db: PgDatabase, tmp_path: Path, fault: str, message: str
) -> None:
    pg_db.run(
        "CREATE TABLE p (mail text PRIMARY KEY);"
        "CREATE TABLE t (mail text PRIMARY KEY REFERENCES p, n bigint CONSTRAINT t_n CHECK (n > 0), d timestamp UNIQUE)"
    )
    path = made(tmp_path / "a.db", f"{KEYED} {fault}")
    types = {"public.t.n": "bigint", "public.t.d": "timestamp without time zone"}
    with pytest.raises(LoadFailed) as caught:
        arrive(path, pg_db, types=types, live=True)
    assert str(caught.value).startswith(message)
    assert "@x.org" not in str(caught.value) + caught.value.hint
    assert "secret" not in str(caught.value)
    assert re.search(r"row 'ji?[om]@x\.org'", caught.value.details)


def test_rows_that_differ_are_named_by_their_key_in_the_details(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t (mail text PRIMARY KEY, at timestamp(0) without time zone)")
    path = made(
        tmp_path / "a.db",
        "CREATE TABLE t (mail TEXT PRIMARY KEY, at TIMESTAMP) WITHOUT ROWID;"
        "INSERT INTO t VALUES ('jo@x.org', '2024-01-01 00:00:00'), ('jim@x.org', '2024-01-01 00:00:00.25')",
    )
    with pytest.raises(CountsDiffer) as caught:
        arrive(path, pg_db, live=True)
    assert str(caught.value).endswith("not there as it was: rows of t")
    assert caught.value.details.startswith("row 'jim@x.org'\n")
