"""Rows of SQLite's that no key of PostgreSQL's lets in: orphans, duplicates, rows without a value; named, or left out with what refers to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbtasks.engines.postgres.migration import cascade
from dbtasks.engines.postgres.migration import keys as migrate_keys
from dbtasks.errors import LoadFailed
from tests.fix_postgres import PgDatabase
from tests.postgres.arriving import arrive
from tests.postgres.test_across import made

ORPHANS = """
    PRAGMA foreign_keys = OFF;
    CREATE TABLE region (id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE shop (id INTEGER PRIMARY KEY, region_id INTEGER REFERENCES region (id) ON DELETE CASCADE);
    CREATE TABLE sale (id INTEGER PRIMARY KEY, shop_id INTEGER REFERENCES shop (id), before_id INTEGER REFERENCES sale (id));
    INSERT INTO region VALUES (1, 'north');
    INSERT INTO shop VALUES (1, 1), (2, 99), (3, NULL);
    INSERT INTO sale VALUES (1, 1, NULL), (2, 2, 1), (3, 1, 2), (4, 1, 3), (5, 3, NULL), (6, 77, 5);
"""


def test_rows_that_refer_to_nothing_stop_and_are_named(pg_db: PgDatabase, tmp_path: Path) -> None:
    path = made(tmp_path / "a.db", ORPHANS)
    with pytest.raises(LoadFailed) as caught:
        arrive(path, pg_db)
    assert str(caught.value) == "a row of sale does not go in: row 6: shop_id: leads to no row of public.shop"
    assert "--on-error=skip" in caught.value.hint
    assert pg_db.run("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_rows_that_refer_to_a_row_left_out_are_left_out_as_well(pg_db: PgDatabase, tmp_path: Path) -> None:
    arrived = arrive(made(tmp_path / "a.db", ORPHANS), pg_db, skip=True)
    assert arrived.ids == {"shop": [2], "sale": [2, 3, 4, 6]}
    reasons = {(reject.table, reject.row_id): reject.reason for reject in arrived.rejects}
    assert reasons["shop", 2] == "region_id: leads to no row of public.region"
    assert reasons["sale", 4] == "before_id: leads to no row of public.sale"
    assert pg_db.run("SELECT id FROM sale ORDER BY id") == [(1,), (5,)]
    proof = arrived.proofs["sale"]
    assert (proof.source_rows, proof.target_rows, proof.rejected, proof.key_high) == (6, 2, 4, ("5",))
    assert pg_db.run("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated") == [(3,)]
    assert [one.value for one in proof.next_values] == [7]


def test_p02_a_long_chain_of_rows_that_are_left_out_is_found_at_once(
    pg_db: PgDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(
        tmp_path / "a.db",
        "PRAGMA foreign_keys = OFF;"
        "CREATE TABLE p (id INTEGER PRIMARY KEY, up INTEGER REFERENCES p (id), s INTEGER REFERENCES s (id));"
        "CREATE TABLE s (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p (id));"
        "CREATE TABLE apart (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p (id));"
        "WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)"
        " INSERT INTO p SELECT i, CASE i WHEN 100 THEN 9999 WHEN 1 THEN NULL ELSE i - 1 END, i FROM n;"
        "INSERT INTO s SELECT id, CASE id WHEN 50 THEN 300 ELSE 1 END FROM p; INSERT INTO apart VALUES (1, 1), (2, 49)",
    )
    read, again = [], migrate_keys.read_again
    monkeypatch.setattr(migrate_keys, "read_again", lambda *given: read.append(given) or again(*given))
    arrived = arrive(path, pg_db, skip=True)
    assert (sorted(arrived.ids["p"]), arrived.ids["s"]) == ([*range(50, 401)], [50])
    assert len(read) == 3
    assert {one.reason for one in arrived.rejects if one.row_id == 100} == {"up: leads to no row of public.p"}
    assert pg_db.run("SELECT count(*), max(id) FROM p") == [(49, 49)]
    assert pg_db.run("SELECT count(*) FROM s") == [(399,)]
    assert pg_db.run("SELECT count(*) FROM apart") == [(2,)]
    assert pg_db.run("SELECT count(*) FROM pg_class WHERE relname LIKE 'dbtasks%'") == [(0,)]


def test_rows_are_left_out_where_no_temporary_tables_may_be_made(
    pg_db: PgDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # who owns the test's server may make them, whatever is revoked
    monkeypatch.setattr(cascade, "MAY", "SELECT false AS may")
    monkeypatch.setattr(cascade, "MADE", "no SQL")
    arrived = arrive(made(tmp_path / "a.db", ORPHANS), pg_db, skip=True)
    assert arrived.ids == {"shop": [2], "sale": [2, 3, 4, 6]}


def test_circles_of_keys_arrive_as_they_are(pg_db: PgDatabase, tmp_path: Path) -> None:
    path = made(
        tmp_path / "a.db",
        "CREATE TABLE a (id INTEGER PRIMARY KEY, b INTEGER REFERENCES b (id));"
        "CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a (id));"
        "INSERT INTO a VALUES (1, 2); INSERT INTO b VALUES (2, 1)",
    )
    proofs = arrive(path, pg_db).proofs
    assert [proofs[name].foreign_keys for name in "ab"] == [1, 1]


DUPLICATES = """
    CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT UNIQUE, day TEXT);
    CREATE UNIQUE INDEX days ON t (day DESC);
    INSERT INTO t VALUES (1, '7', '2024-01-01'), (2, '07', '2024-01-02'), (3, '+7', '2024-01-03'), (4, '8', '2024-01-1'),
        (5, NULL, NULL), (6, NULL, NULL);
    UPDATE t SET day = '2024-01-01 ' WHERE id = 4;
"""


def test_values_that_were_two_and_are_one_in_their_new_type_are_named(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    path = made(tmp_path / "a.db", DUPLICATES)
    with pytest.raises(LoadFailed, match='2 rows of t do not go in: row 2, 3: "code": is there already'):
        arrive(path, pg_db, types={"public.t.code": "integer"})
    arrived = arrive(path, pg_db, types={"public.t.code": "integer"}, skip=True)
    assert arrived.ids == {"t": [2, 3]}
    assert pg_db.run("SELECT id, code FROM t ORDER BY id") == [(1, 7), (4, 8), (5, None), (6, None)]


def test_a_unique_index_is_a_key_as_well(pg_db: PgDatabase, tmp_path: Path) -> None:
    path = made(tmp_path / "a.db", DUPLICATES)
    types = {"public.t.day": "numeric"}
    text = "UPDATE t SET day = CASE id WHEN 1 THEN '1' WHEN 2 THEN '1.0' WHEN 3 THEN '+1' ELSE NULL END"
    made(path, text)
    with pytest.raises(LoadFailed, match=r"of t do not go in: row .*: day: is there already"):
        arrive(path, pg_db, types=types)
    arrived = arrive(path, pg_db, types=types, skip=True)
    assert arrived.ids == {"t": [2, 3]}
    assert arrived.proofs["t"].target_rows == 4
    ((definition,),) = pg_db.run("SELECT indexdef FROM pg_indexes WHERE indexname = 'days'")
    assert definition.startswith("CREATE UNIQUE INDEX days")


BESIDE_OTHERS = [
    """
    CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, code TEXT);
    CREATE UNIQUE INDEX a_first ON t (a); CREATE UNIQUE INDEX b_codes ON t (code);
    INSERT INTO t VALUES (1, 'x', '7'), (2, 'y', '07'), (3, 'z', '8');
    """,
    """
    CREATE TABLE a (id INTEGER PRIMARY KEY, a TEXT); CREATE UNIQUE INDEX a_first ON a (a);
    CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT UNIQUE);
    INSERT INTO t VALUES (1, '7'), (2, '07'), (3, '8');
    """,
    """
    CREATE TABLE a (id INTEGER PRIMARY KEY, a TEXT); CREATE UNIQUE INDEX a_first ON a (a);
    CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT);
    CREATE UNIQUE INDEX b_codes ON t (code DESC); CREATE UNIQUE INDEX c_last ON t (id, code);
    INSERT INTO t VALUES (1, '7'), (2, '07'), (3, '8');
    """,
]


@pytest.mark.parametrize("script", BESIDE_OTHERS, ids=["own", "another table's", "in between"])
def test_a_row_that_is_twice_is_named_and_left_out_beside_other_unique_indexes(
    pg_db: PgDatabase, tmp_path: Path, script: str
) -> None:
    path = made(tmp_path / "a.db", script)
    types = {"public.t.code": "integer"}
    with pytest.raises(LoadFailed, match=r"a row of t does not go in: row 2: .*code.*: is there already"):
        arrive(path, pg_db, types=types)
    assert arrive(path, pg_db, types=types, skip=True).ids == {"t": [2]}
    assert pg_db.run("SELECT id FROM t ORDER BY 1") == [(1,), (3,)]
    assert pg_db.run("SELECT count(*) FROM pg_indexes WHERE indexname = 'a_first'") == [(1,)]


def test_equal_rows_of_a_table_without_a_key_are_told_one_by_one(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t (a text UNIQUE)")
    path = made(tmp_path / "a.db", "CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('x'), ('y'), ('x'), ('x')")
    arrived = arrive(path, pg_db, live=True, skip=True)
    assert arrived.ids == {"t": [3, 4]}


def test_a_row_without_a_value_that_has_to_be_there_is_left_out(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t (id bigint PRIMARY KEY, a text NOT NULL)")
    path = made(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (1, 'x'), (2, NULL)",
    )
    arrived = arrive(path, pg_db, live=True, skip=True)
    assert arrived.ids == {"t": [2]}
    assert arrived.rejects[0].reason == "a: NULL, and the column takes none"


def test_b07_hostile_names_and_values_are_named_and_left_out_like_any_other(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    path = made(
        tmp_path / "a.db",
        """PRAGMA foreign_keys = OFF;
        CREATE TABLE "we""ird.t %s {0}" ("rowid" TEXT, "a b\\c" INTEGER PRIMARY KEY, "; DROP" TEXT UNIQUE);
        CREATE TABLE "select" (id INTEGER PRIMARY KEY, "%(x)s" INTEGER REFERENCES "we""ird.t %s {0}" ("a b\\c"));
        INSERT INTO "we""ird.t %s {0}" VALUES ('\\N', 1, '1'), ('\\.', 2, '01'), ('', 3, '2'), (NULL, 4, NULL);
        INSERT INTO "select" VALUES (1, 2), (2, 1), (3, 5), (4, NULL)""",
    )
    arrived = arrive(path, pg_db, types={'public."we""ird.t %s {0}".; DROP': "integer"}, skip=True)
    assert arrived.ids == {'we"ird.t %s {0}': [2], "select": [1, 3]}
    assert pg_db.run('SELECT "rowid", "a b\\c" FROM "we""ird.t %s {0}" ORDER BY 2') == [
        ("\\N", 1),
        ("", 3),
        (None, 4),
    ]
    assert pg_db.run('SELECT id FROM "select" ORDER BY 1') == [(2,), (4,)]


@pytest.mark.parametrize("way", ["stop", "skip"])
def test_a_value_that_is_too_long_to_be_held_stands_in_the_way_like_any_other(
    pg_db: PgDatabase, tmp_path: Path, way: str
) -> None:
    path = made(
        tmp_path / "a.db",
        "PRAGMA foreign_keys = OFF; CREATE TABLE p (id INTEGER PRIMARY KEY);"
        "CREATE TABLE t (id INTEGER PRIMARY KEY, p_id INTEGER REFERENCES p (id), b BLOB, c TEXT);"
        "INSERT INTO p VALUES (1);"
        "INSERT INTO t VALUES (1, 1, zeroblob(3000000), 'x'), (2, 9, zeroblob(3000000), 'y'),"
        " (3, 9, x'00', replace(hex(zeroblob(1000000)), '00', 'a' || char(9)))",
    )
    if way == "stop":
        with pytest.raises(LoadFailed, match=r"2 rows of t do not go in: row (2, 3|3, 2): p_id: leads to"):
            arrive(path, pg_db)
        return
    arrived = arrive(path, pg_db, skip=True)
    assert arrived.ids == {"t": [2, 3]}
    values = {reject.row_id: reject.values for reject in arrived.rejects}
    assert (values[2]["b"], values[3]["c"]) == ("a blob of 3,000,000 bytes", "a text of 2,000,000 bytes")


LIKE_ANOTHER = """
    PRAGMA foreign_keys = OFF;
    CREATE TABLE p (ip TEXT UNIQUE);
    CREATE TABLE c (ip TEXT REFERENCES p (ip), n INTEGER);
    INSERT INTO p VALUES ('10.0.0.1');
    INSERT INTO c VALUES ('10.0.0.1', 1), ('10.9.9.9', 1), ('10.0.0.1', 1);
"""
ADDRESSES = {"public.p.ip": "inet", "public.c.ip": "inet"}


@pytest.mark.parametrize("skip", [False, True])
def test_no_row_is_named_for_another_that_differs_only_in_what_the_server_reads(
    pg_db: PgDatabase, tmp_path: Path, skip: bool
) -> None:
    path = made(tmp_path / "a.db", LIKE_ANOTHER)
    with pytest.raises(LoadFailed) as caught:
        arrive(path, pg_db, types=ADDRESSES, skip=skip)
    assert str(caught.value) == (
        "a row of c does not go in: ip: leads to no row of public.p;"
        " which one cannot be told, since rows differ only in ip, which only the server can read"
    )
    assert pg_db.run("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_rows_that_differ_only_in_what_the_server_reads_are_told_apart_by_a_key(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    path = made(
        tmp_path / "a.db",
        LIKE_ANOTHER.replace("n INTEGER)", "n INTEGER, id INTEGER PRIMARY KEY)")
        .replace("'10.0.0.1', 1)", "'10.0.0.1', 1, NULL)")
        .replace("'10.9.9.9', 1)", "'10.9.9.9', 1, NULL)"),
    )
    arrived = arrive(path, pg_db, types=ADDRESSES, skip=True)
    assert arrived.ids == {"c": [2]}
    assert arrived.rejects[0].values["ip"] == "10.9.9.9"
    assert pg_db.run("SELECT id, host(ip) FROM c ORDER BY id") == [(1, "10.0.0.1"), (3, "10.0.0.1")]


def test_all_rows_that_look_the_same_are_left_out_where_all_of_them_stand_in_the_way(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    path = made(tmp_path / "a.db", LIKE_ANOTHER + "DELETE FROM p; UPDATE c SET ip = '10.9.9.' || rowid")
    arrived = arrive(path, pg_db, types=ADDRESSES, skip=True)
    assert arrived.ids == {"c": [1, 2, 3]}
    assert sorted(reject.values["ip"] for reject in arrived.rejects) == ["10.9.9.1", "10.9.9.2", "10.9.9.3"]


def test_equal_rows_are_told_once_each_when_one_key_after_the_other_leaves_some_out(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(
        "CREATE TABLE p (id bigint PRIMARY KEY); CREATE TABLE t (a text UNIQUE, p bigint REFERENCES p, d bigint)"
    )
    path = made(
        tmp_path / "a.db",
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE t (a TEXT, p INTEGER, d INTEGER);"
        "INSERT INTO t VALUES ('x', 7, 1), ('y', NULL, 1), ('x', 7, 1), ('x', 7, 1)",
    )
    arrived = arrive(path, pg_db, live=True, skip=True)
    assert arrived.ids == {"t": [1, 3, 4]}
    assert pg_db.run("SELECT a FROM t") == [("y",)]
