"""Rows of a backup beside those of the live database or of another backup, where one of them is PostgreSQL's."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.engines.postgres.dumping import held_tables as held_module
from dbtasks.errors import Busy, UsageError
from dbtasks.events import Phase
from dbtasks.executors.diff_rows import TableRows, plan_diff_rows
from dbtasks.models import Format
from dbtasks.schemas import table_name
from tests.conftest import Project
from tests.fix_postgres import PASSWORD, PgDatabase, PgServer
from tests.postgres import rich
from tests.postgres.test_rows_values import EXTREMES, TYPES

HOSTILE = table_name("public", rich.HOSTILE)
QUOTED = '"' + rich.HOSTILE.replace('"', '""') + '"'


def configured(root: Path, database: PgDatabase, **flags: Any) -> dbtasks.Settings:
    tools = {"via": "host", "pg_bin": str(database.server.bin), "lock_timeout": "5"}
    return dbtasks.load_settings(root, environ={}, url=database.url, **{**tools, **flags})


def python_alone(root: Path, database: PgDatabase, **flags: Any) -> dbtasks.Settings:
    return dbtasks.load_settings(root, environ={}, url=database.url, via="python", **flags)


def backup(config: dbtasks.Settings, format_: str = "rows", **request: Any) -> dbtasks.Backup:
    request["format"] = Format(format_)
    return dbtasks.backup(config, dbtasks.BackupJob(request=dbtasks.DumpRequest(**request)))


def of_file(root: Path, name: str, script: str, format_: str = "rows") -> dbtasks.Backup:
    """Make a SQLite file and a backup of it, which lies in the same store."""
    with contextlib.closing(sqlite3.connect(root / name)) as connection:
        connection.executescript(script)
    config = dbtasks.load_settings(root, environ={}, url=f"sqlite:///{root / name}")
    return backup(config, format_)


def numbers(diff: dbtasks.RowsDiff) -> dict[str, tuple[int, int, int]]:
    """Return what was added, removed and changed, of each table that differs."""
    return {t.name: (t.added, t.removed, t.changed) for t in diff.tables if t.differs}


def keys(table: TableRows, kind: str) -> list[dict[str, Any]]:
    return [dict(row.key) for row in getattr(table, f"{kind}_rows")]


def table(diff: dbtasks.RowsDiff, name: str) -> TableRows:
    (found,) = [table for table in diff.tables if table.name == name]
    return found


# -- within PostgreSQL -------------------------------------------------------------------------


def test_one_of_everything_does_not_differ_from_its_own_rows_and_each_change_is_told(
    tmp_path: Path, any_db: PgDatabase
) -> None:
    rich.fill(any_db)
    config = python_alone(tmp_path, any_db)
    made = backup(config)
    same = dbtasks.diff_rows(config, made.id)
    assert (same.differs, same.not_compared) == (False, {})
    assert {t.name: (t.backup_rows, t.against_rows) for t in same.tables} == {
        name: (rows, rows) for name, rows in made.manifest.counts.items()
    }
    any_db.run(
        "UPDATE public.customer SET place = ROW(0, 0, 0) WHERE id IN (7, 49);"
        "DELETE FROM public.orders WHERE id = 500;"
        "INSERT INTO public.orders (id, customer_id, day) VALUES (9000, 1, '2026-12-31');"
        'UPDATE "App Data"."Upper Case" SET id = 8;'
        "UPDATE public.files SET raw = NULL WHERE id = 2;"
        f'INSERT INTO {QUOTED} VALUES (NULL, 2), (NULL, 2); DELETE FROM {QUOTED} WHERE "select" = 1;'
        "CREATE TABLE public.newer (a int); INSERT INTO public.parent VALUES (9, 'q')"
    )
    found = dbtasks.diff_rows(config, made.id)
    assert numbers(found) == {
        "public.customer": (0, 0, 2),
        "public.orders_2026_rest": (1, 1, 0),
        "App Data.Upper Case": (1, 1, 0),
        "public.files": (0, 0, 1),
        HOSTILE: (2, 1, 0),
        "public.newer": (0, 0, 0),
        "public.parent": (1, 0, 0),
    }
    assert keys(table(found, "public.customer"), "changed") == [{"id": 7}, {"id": 49}]
    # of a composite key each column
    assert keys(table(found, "public.orders_2026_rest"), "added") == [{"id": 9000, "day": "2026-12-31"}]
    newer = table(found, "public.newer")
    assert (newer.in_backup, newer.in_against) == (False, True)
    # without a key nothing of a row is shown unless values are
    assert (table(found, HOSTILE).key, table(found, HOSTILE).added_rows) == ((), ())


def test_b06_what_each_type_holds_at_its_end_is_seen_as_the_same_and_as_changed(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(TYPES)
    expected, changes = {}, {}
    for place, (type_, held) in enumerate(EXTREMES.items()):
        pg_db.run(
            f"CREATE TABLE t{place} (id int PRIMARY KEY, v {type_}); CREATE TABLE bare{place} (v {type_});"
            + f"INSERT INTO t{place} VALUES (%s, %s); INSERT INTO bare{place} VALUES (%s);" * (len(held) + 1),
            [part for number, value in enumerate([*held, None]) for part in (number, value, value)],
        )
        expected |= {f"public.{kind}{place}": len(held) + 1 for kind in ("t", "bare")}
        changes |= {
            f"public.t{place}": (0, 0, len(held)),
            f"public.bare{place}": (len(held), len(held), 0),
        }
    config = python_alone(tmp_path, pg_db)
    made = backup(config)
    same = dbtasks.diff_rows(config, made.id)
    assert not same.differs
    assert {t.name: t.backup_rows for t in same.tables} == expected
    assert {t.name: t.against_rows for t in same.tables} == expected
    pg_db.run(
        "".join(f"UPDATE t{p} SET v = NULL; UPDATE bare{p} SET v = NULL;" for p in range(len(EXTREMES)))
    )
    assert numbers(dbtasks.diff_rows(config, made.id)) == changes


@pytest.mark.long
@pytest.mark.parametrize("format_", ["custom", "sql", "directory"])
def test_a_backup_by_pg_dump_is_loaded_beside_and_nothing_of_it_is_left(
    tmp_path: Path, any_db: PgDatabase, format_: str
) -> None:
    rich.fill(any_db)
    config = configured(tmp_path, any_db)
    made = backup(config, format_)
    databases = "SELECT datname FROM pg_database ORDER BY 1"
    before = any_db.run(databases)
    assert "a scratch database of" in plan_diff_rows(config, made.id).backup
    assert not dbtasks.diff_rows(config, made.id).differs
    rows = backup(python_alone(tmp_path, any_db))
    any_db.run("UPDATE public.customer SET name = 'x' WHERE id = 3")
    assert numbers(dbtasks.diff_rows(config, made.id)) == {"public.customer": (0, 0, 1)}
    assert not dbtasks.diff_rows(config, made.id, rows.id).differs
    assert any_db.run(databases) == before


def test_all_rows_come_from_one_snapshot_and_settings_of_the_role_change_no_value(
    tmp_path: Path, pg: PgServer, pg_db: PgDatabase
) -> None:
    pg_db.run(
        "CREATE TABLE a (id int PRIMARY KEY, at timestamptz, f float8); CREATE TABLE b (id int PRIMARY KEY);"
        "INSERT INTO a SELECT g, timestamptz '2026-02-24 15:03:20+00', 0.1::float8 + 0.2 FROM generate_series(1, 9) g;"
        "INSERT INTO b SELECT generate_series(1, 9)"
    )
    config = python_alone(tmp_path, pg_db)
    made = backup(config)
    pg_db.run(
        f"ALTER DATABASE \"{pg_db.name}\" SET DateStyle = 'German';"
        f"ALTER DATABASE \"{pg_db.name}\" SET TimeZone = 'Asia/Kolkata';"
        f'ALTER DATABASE "{pg_db.name}" SET extra_float_digits = 0'
    )
    seen: list[str] = []

    def meanwhile(event: object) -> None:
        if isinstance(event, Phase) and event.detail.startswith("the rows of"):
            seen.append(event.detail)
            pg_db.run("DELETE FROM b; UPDATE a SET f = 1")

    assert not dbtasks.diff_rows(config, made.id, on_event=meanwhile).differs
    assert len(seen) == 2
    assert numbers(dbtasks.diff_rows(config, made.id)) == {"public.a": (0, 0, 9), "public.b": (0, 9, 0)}


def test_b02_a_live_table_that_appears_while_the_others_are_locked_is_locked_as_well(
    pg_db: PgDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = "CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late SELECT generate_series(1, 5)"
    pg_db.run(f"CREATE TABLE early (id int); {late}")
    config = python_alone(tmp_path, pg_db)
    made = backup(config)
    pg_db.run("DROP TABLE late")
    lock, locked = held_module.lock_tables, []

    def meanwhile(session: Any, tables: Any) -> None:
        if locked:
            # whoever empties it now is in the snapshot or waits: never half of each
            pg_db.run("DELETE FROM late WHERE id > 3")
        lock(session, tables)
        locked.append({str(one) for one in tables})
        if len(locked) == 1:
            pg_db.run(late)

    monkeypatch.setattr(held_module, "lock_tables", meanwhile)
    found = dbtasks.diff_rows(config, made.id)
    assert locked == [{"public.early"}, {"public.early", "public.late"}]
    assert numbers(found) == {"public.late": (0, 2, 0)}


def test_a_table_that_stays_locked_is_busy_and_one_that_may_not_be_read_is_named(
    tmp_path: Path, pg: PgServer, pg_db: PgDatabase
) -> None:
    pg_db.run(
        "CREATE TABLE open_ (id int PRIMARY KEY); CREATE TABLE closed (id int); CREATE TABLE filtered (id int);"
        "ALTER TABLE filtered ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON filtered USING (false)"
    )
    made = backup(python_alone(tmp_path, pg_db))
    config = python_alone(tmp_path, pg_db, lock_timeout="0.3")
    with contextlib.closing(pg_db.connect()) as other, other.cursor() as cursor:
        other.autocommit = False
        cursor.execute("LOCK TABLE open_ IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Busy, match="stayed locked") as caught:
            dbtasks.diff_rows(config, made.id)
        assert caught.value.state == "nothing was touched"
        other.rollback()
    role = f"reader_{pg_db.name}"
    pg_db.run(
        f'CREATE ROLE "{role}" LOGIN PASSWORD \'{PASSWORD}\'; GRANT SELECT ON open_, filtered TO "{role}"'
    )
    try:
        seen_by = python_alone(tmp_path, pg_db.seen_by(replace(pg, user=role)))
        diff = dbtasks.diff_rows(seen_by, made.id)
        assert diff.not_compared == {
            "public.closed": "this role may not read it",
            "public.filtered": "row-level security hides rows of it from this role",
        }
        assert [t.name for t in diff.tables] == ["public.open_"]
        assert (diff.differs, diff.withheld) == (False, ("public.closed", "public.filtered"))
        assert (diff.against.tables, diff.against.withheld) == (3, 2)
    finally:
        pg_db.run(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


def test_what_may_not_be_read_is_a_warning_and_no_all_clear(
    project: Project, pg: PgServer, pg_db: PgDatabase
) -> None:
    project.mount()
    pg_db.run("CREATE TABLE seen (id int); CREATE TABLE closed (id int)")
    backup(python_alone(project.root, pg_db))
    role = f"reader_{pg_db.name}"
    pg_db.run(f'CREATE ROLE "{role}" LOGIN PASSWORD \'{PASSWORD}\'; GRANT SELECT ON seen TO "{role}"')
    try:
        project.dotenv(f"DATABASE_URL={pg_db.seen_by(replace(pg, user=role)).url}\nDBTASKS_VIA=python\n")
        ran = project.invoke("db.diff", "--rows", "--exit-code", "--json")
        document = json.loads(ran.stdout)
        assert (ran.returncode, document["rows"]["differs"]) == (10, False)
        assert document["rows"]["withheld"] == ["public.closed"]
        assert any("public.closed" in text for text in document["warnings"])
        shown = project.invoke("db.diff", "--rows")
        assert (shown.returncode, "live: 2 tables, 1 of them not to be read" in shown.stdout) == (0, True)
        assert project.invoke("db.diff", "--rows", "--exit-code", "--table=seen").returncode == 0
    finally:
        pg_db.run(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


def test_columns_and_keys_that_are_not_the_same_are_named_and_the_others_compared(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    pg_db.run(
        "CREATE TYPE mood AS ENUM ('sad', 'glad');"
        "CREATE TABLE t (id int PRIMARY KEY, n int, m mood, gone text, d date, p char(4));"
        "INSERT INTO t VALUES (1, 5, 'sad', 'x', '2026-01-01', 'a'), (2, 6, 'glad', 'y', NULL, 'b');"
        "CREATE TABLE k (a int, b int, PRIMARY KEY (a)); INSERT INTO k VALUES (1, 1), (2, 2)"
    )
    config = python_alone(tmp_path, pg_db)
    made = backup(config)
    pg_db.run(
        "ALTER TABLE t ALTER id TYPE bigint, ALTER n TYPE numeric(8, 2), ALTER m TYPE text, DROP gone, ADD more int,"
        " ALTER d TYPE timestamp, ALTER p TYPE text; UPDATE t SET n = 7 WHERE id = 2;"
        "ALTER TABLE k DROP CONSTRAINT k_pkey, ADD PRIMARY KEY (b); UPDATE k SET a = 3 WHERE b = 2"
    )
    found = dbtasks.diff_rows(config, made.id)
    assert numbers(found) == {"public.t": (0, 0, 1), "public.k": (1, 1, 0)}
    assert keys(table(found, "public.t"), "changed") == [{"id": 2}]
    assert set(table(found, "public.t").notes) == {
        "gone is only in the backup",
        "more is not in the backup",
        "d: timestamp without time zone and, in the backup, date are not compared",
    }
    assert table(found, "public.k").notes == (
        "its primary key is another one in the backup: rows are compared whole",
    )


def test_what_a_backup_leaves_out_is_named_and_is_no_difference(tmp_path: Path, pg_db: PgDatabase) -> None:
    pg_db.run(
        "CREATE TABLE item (id int PRIMARY KEY); CREATE TABLE log (a int); CREATE TABLE other (a int);"
        "INSERT INTO log VALUES (1)"
    )
    config = python_alone(tmp_path, pg_db)
    chosen = backup(config, tables=("item",))
    without_rows = backup(config, exclude_data=("log",))
    data = backup(config, data_only=True)
    diff = dbtasks.diff_rows(config, chosen.id)
    assert not diff.differs
    assert set(diff.not_compared) == {"public.log", "public.other"}
    assert dbtasks.diff_rows(config, without_rows.id).not_compared == {
        "public.log": "its rows are not in the backup"
    }
    pg_db.run("INSERT INTO item VALUES (4)")
    # the key stands in the live database alone
    found = dbtasks.diff_rows(config, data.id, tables=["item"])
    assert keys(table(found, "public.item"), "added") == [{"id": 4}]
    with pytest.raises(UsageError, match="no such table"):
        dbtasks.diff_rows(config, data.id, tables=["items"])


# -- SQLite beside PostgreSQL -------------------------------------------------------------------

THEIRS = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, "Name" TEXT, active BOOLEAN, rating REAL, price NUMERIC, photo BLOB,
                       born DATE, made TIMESTAMP, seen TIMESTAMP, ref TEXT, doc TEXT, code TEXT, big INTEGER);
INSERT INTO customer VALUES
  (1, 'Ada', 1, 1.5, 12.5, x'00ff', '1815-12-10', '2026-02-24T15:03:20', '2026-02-24 15:03:20.5Z',
   '6F9619FF8B86D011B42D00C04FC964FF', '{"b": 1.0, "a": [1, "x"]}', 'ab', 9223372036854775807),
  (2, NULL, 0, 4.71316385632163e16, 3, NULL, NULL, '2026-02-24', '2026-02-24 17:03:20+02:00', NULL, '7', 5, -1),
  (3, 'odd', 0, 1e300, '0.1000', x'', '2026-01-01', NULL, NULL, NULL, 'null', NULL, 0);
CREATE TABLE tag (a TEXT, b TEXT);
INSERT INTO tag VALUES ('x', 'y'), ('x', 'y'), ('z', NULL);
"""
OURS = """
CREATE TABLE customer (id bigint PRIMARY KEY, name text, active boolean, rating float8, price numeric(12, 4), photo bytea,
                       born date, made timestamp, seen timestamptz, ref uuid, doc jsonb, code char(4), big numeric);
INSERT INTO customer VALUES
  (1, 'Ada', true, 1.5, 12.5, '\\x00ff', '1815-12-10', '2026-02-24 15:03:20', '2026-02-24 15:03:20.5+00',
   '6f9619ff-8b86-d011-b42d-00c04fc964ff', '{"a": [1, "x"], "b": 1}', 'ab', 9223372036854775807),
  (2, NULL, false, 4.71316385632163e16, 3, NULL, NULL, '2026-02-24', '2026-02-24 15:03:20+00', NULL, '7.0', '5', -1),
  (3, 'odd', false, 1e300, 0.1, '', '2026-01-01', NULL, NULL, NULL, 'null', NULL, 0);
CREATE TABLE tag (a text, b text); INSERT INTO tag VALUES ('z', NULL), ('x', 'y'), ('x', 'y');
"""
CHANGES = {
    "name = 'ada'": 1,
    "active = false": 1,
    "rating = 1.4": 1,
    "price = 12.51": 1,
    "photo = '\\x00fe'": 1,
    "born = '1815-12-11'": 1,
    "made = '2026-02-24 15:03:21'": 1,
    "seen = '2026-02-24 15:03:20.500001+00'": 1,
    "ref = NULL": 1,
    """doc = '{"a": [1, "x"], "b": "1"}'""": 1,
    "code = 'abc'": 1,
    "big = 9223372036854775806": 1,
}


@pytest.mark.long
@pytest.mark.parametrize("format_", ["rows", "sqlite"])
def test_a_backup_of_sqlite_beside_postgresql_is_the_same_where_it_means_the_same(
    tmp_path: Path, any_db: PgDatabase, format_: str
) -> None:
    any_db.run(OURS)
    made = of_file(tmp_path, "app.db", THEIRS, format_)
    config = python_alone(tmp_path, any_db)
    same = dbtasks.diff_rows(config, str(made.path))
    assert numbers(same) == {}, same
    assert {(t.name, t.against, t.key) for t in same.tables} == {
        ("customer", "public.customer", ("id",)),
        ("tag", "public.tag", ()),
    }
    assert all(t.notes == () for t in same.tables)
    for change in CHANGES:
        any_db.run(f"BEGIN; UPDATE customer SET {change} WHERE id = 1; COMMIT")
        found = dbtasks.diff_rows(config, str(made.path))
        assert numbers(found) == {"customer": (0, 0, 1)}, change
        any_db.run("DROP TABLE customer, tag")
        any_db.run(OURS)
    any_db.run(
        "DELETE FROM tag WHERE a = 'z'; INSERT INTO tag VALUES ('x', 'y'); DELETE FROM customer WHERE id = 2"
    )
    found = dbtasks.diff_rows(config, str(made.path))
    assert numbers(found) == {"tag": (1, 1, 0), "customer": (0, 1, 0)}
    assert keys(table(found, "customer"), "removed") == [{"id": 2}]


def test_a_backup_of_postgresql_beside_one_of_sqlite_is_compared_the_same_way(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    pg_db.run(OURS)
    ours = backup(python_alone(tmp_path, pg_db))
    theirs = of_file(tmp_path, "app.db", THEIRS)
    config = dbtasks.load_settings(tmp_path, environ={}, url=f"sqlite:///{tmp_path / 'app.db'}")
    both = dbtasks.diff_rows(config, str(ours.path), str(theirs.path))
    live = dbtasks.diff_rows(config, str(ours.path))
    assert (both.differs, live.differs) == (False, False)
    assert {t.name: t.against for t in live.tables} == {"public.customer": "customer", "public.tag": "tag"}
    with contextlib.closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.execute("UPDATE customer SET price = '12.50001' WHERE id = 1")
    assert numbers(dbtasks.diff_rows(config, str(ours.path))) == {"public.customer": (0, 0, 1)}


def test_partitions_beside_sqlite_are_the_one_table_that_a_restore_makes_of_them(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    pg_db.run(
        "CREATE TABLE ev (id int, y int, note text, PRIMARY KEY (id, y)) PARTITION BY LIST (y);"
        "CREATE TABLE ev_23 PARTITION OF ev FOR VALUES IN (23);"
        "CREATE TABLE ev_24 (note text, y int NOT NULL, id int NOT NULL);"
        "ALTER TABLE ev ATTACH PARTITION ev_24 FOR VALUES IN (24);"
        "CREATE TABLE none (id int PRIMARY KEY) PARTITION BY LIST (id);"
        "INSERT INTO ev VALUES (1, 23, 'a'), (2, 24, 'b')"
    )
    made = backup(python_alone(tmp_path, pg_db))
    file = tmp_path / "copy.db"
    config = dbtasks.load_settings(tmp_path, environ={}, url=f"sqlite:///{file}")
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(str(made.path))))
    diff = dbtasks.diff_rows(config, str(made.path))
    assert not diff.differs
    assert [(t.name, t.against, t.backup_rows, t.against_rows) for t in diff.tables] == [
        ("public.ev", "ev", 2, 2),
        ("public.none", "none", 0, 0),
    ]
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE ev SET note = 'c' WHERE y = 24")
    (found,) = dbtasks.diff_rows(config, str(made.path), tables=["ev"], values=True).tables
    (row,) = found.changed_rows
    assert (row.backup, row.against) == (
        (("id", 2), ("y", 24), ("note", "b")),
        (("id", 2), ("y", 24), ("note", "c")),
    )
    # the other way round, and with a partition that is left out
    taken = backup(config)
    assert numbers(dbtasks.diff_rows(python_alone(tmp_path, pg_db), str(taken.path))) == {"ev": (0, 0, 1)}
    partial = backup(python_alone(tmp_path, pg_db), exclude_data=("public.ev_24",))
    assert dbtasks.diff_rows(config, str(partial.path)).not_compared == {
        "public.ev": "its rows are not in the backup"
    }


MOVED = """
CREATE TABLE event (id INTEGER PRIMARY KEY, s TIMESTAMP, ms TIMESTAMP, us TIMESTAMP, days TIMESTAMP, said DATETIME, ok BOOLEAN,
                    price DECIMAL(10,2), ref UUID, doc JSON, born DATE, clock TIME, raw BLOB, mixed TEXT, took INTEGER, fix);
INSERT INTO event VALUES
  (1, 1771945400, 1771945400123, 1771945400123456, 2461096.127314815, '2026-02-24 15:03:20,5 UTC', 1, 0.1 + 0.2,
   '{6F9619FF-8B86-D011-B42D-00C04FC964FF}', '{"b": 1.0}', '2026-02-24T00:00:00', '10:00', x'00ff', 'a', 3661000001, 1.5),
  (2, -5, 1871945400123, 1871945400123456, 2461097.5, '2026-02-24T15:03:20Z', 0, 3, NULL, '1.5', NULL, NULL, NULL, 1.25, -1, 'x'),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
"""
CONVERTED = (
    *(f"{name} = {name} + interval '1 microsecond'" for name in ("s", "ms", "us", "days", "said", "took")),
    *("price = 0.31", "doc = '1.6'", "fix = '1.6'"),
)


def test_what_a_migration_made_has_no_differences_from_the_backup_that_it_took(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    made = of_file(tmp_path, "app.db", MOVED)
    config = dbtasks.load_settings(tmp_path, environ={}, url=pg_db.url, via="python")
    job = dbtasks.MigrationJob(str(tmp_path / "app.db"), casts=("event.took:interval", "event.mixed:text"))
    dbtasks.migrate(config, dbtasks.plan_migration(config, job))
    found = dbtasks.diff_rows(config, str(made.path), values=True)
    assert numbers(found) == {}, found
    (event,) = (t for t in found.tables if t.name == "event")
    notes = {note.split(" of ")[1].split(" ")[0]: note for note in event.notes}
    assert set(notes) == {"s", "ms", "us", "days", "said", "price", "took", "fix", "doc"}
    assert notes["s"] == (
        "2 values of s are compared with timestamp with time zone as db.migrate converts them"
    )
    pg_db.run(f"UPDATE event SET {', '.join(CONVERTED)} WHERE id = 1")
    (event,) = dbtasks.diff_rows(config, str(made.path), values=True).tables
    assert [row.differs for row in event.changed_rows] == [
        ("s", "ms", "us", "days", "said", "price", "doc", "took", "fix")
    ]


def test_a_number_that_could_mean_two_things_is_not_read(tmp_path: Path, pg_db: PgDatabase) -> None:
    pg_db.run(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamptz);"
        "INSERT INTO t VALUES (1, to_timestamp(2461096)), (2, to_timestamp(99999999999))"
    )
    made = of_file(
        tmp_path,
        "app.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at); INSERT INTO t VALUES (1, 2461096), (2, 99999999999)",
    )
    found = table(dbtasks.diff_rows(python_alone(tmp_path, pg_db), str(made.path)), "t")
    assert (found.changed, found.notes) == (
        2,
        ("2 values of at are of a kind that no rule compares: that counts as different",),
    )


def test_of_a_changed_row_only_what_differs_is_told_however_the_two_spell_the_rest(
    project: Project, pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(OURS)
    made = of_file(tmp_path, "app.db", THEIRS)
    pg_db.run(
        "UPDATE customer SET price = 12.51 WHERE id = 1; UPDATE customer SET active = true WHERE id = 2"
    )
    found = table(dbtasks.diff_rows(python_alone(tmp_path, pg_db), str(made.path), values=True), "customer")
    assert [(dict(row.key)["id"], row.differs) for row in found.changed_rows] == [
        (1, ("price",)),
        (2, ("active",)),
    ]
    assert (dict(found.changed_rows[0].backup or ())["big"], len(found.changed_rows[0].against or ())) == (
        {"integer": "9223372036854775807"},
        13,
    )
    project.mount()
    project.dotenv(f"DATABASE_URL={pg_db.url}\nDBTASKS_VIA=python\n")
    output = project.invoke("db.diff", "--rows", f"--file={made.path}", "--values").stdout
    shown = [line.split("id ")[1] for line in output.splitlines() if "customer  id" in line]
    assert shown == ["1: price 12.5 → 12.51", "2: active 0 → true"]


def test_a_value_without_a_rule_counts_as_different_and_is_named_never_guessed(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    pg_db.run(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamp, ok boolean, raw bytea, untouched text);"
        "INSERT INTO t VALUES (1, '2026-02-24 15:03:20', true, 'ab', 'same'), (2, NULL, NULL, NULL, NULL)"
    )
    made = of_file(
        tmp_path,
        "app.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at, ok, raw, untouched);"
        "INSERT INTO t VALUES (1, 1771945400, 'yes', 'ab', 'same'), (2, NULL, NULL, NULL, NULL)",
    )
    found = table(dbtasks.diff_rows(python_alone(tmp_path, pg_db), str(made.path)), "t")
    assert (found.added, found.removed, found.changed) == (0, 0, 1)
    assert [note.partition(" of ")[2].partition(" ")[0] for note in found.notes] == ["at", "ok", "raw"]
    assert found.notes[0].startswith("1 value of at is of a kind that no rule compares")
