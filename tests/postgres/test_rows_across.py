"""Restores across engines: a rows backup of SQLite into PostgreSQL, and one of PostgreSQL into a SQLite file."""

from __future__ import annotations

import gzip
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import ArchiveDamaged, LoadFailed, Refused, WrongEngine
from dbtasks.models import Backup, Format
from dbtasks.plans import DumpRequest, LoadRequest, TargetState
from dbtasks.settings import Settings
from tests.fix_postgres import PgDatabase
from tests.postgres import rich
from tests.postgres.test_across import TYPED, made, rows_of
from tests.postgres.test_rows_restore import settings_of


def sqlite_of(path: Path, root: Path) -> Settings:
    return dbtasks.load_settings(root, environ={}, url=f"sqlite:///{path}")


def backed_up(config: Settings) -> Backup:
    return dbtasks.backup(config, dbtasks.BackupJob(request=DumpRequest(format=Format.ROWS)))


def planned(config: Settings, backup: Backup, **request: bool) -> dbtasks.RestorePlan:
    return dbtasks.plan_restore(config, dbtasks.RestoreJob(str(backup.path), request=LoadRequest(**request)))


@pytest.mark.parametrize("state", [TargetState.EMPTY, TargetState.MISSING])
def test_chinook_goes_into_postgresql_and_back_equal_by_restores_alone(
    chinook: Path, any_db: PgDatabase, tmp_path: Path, state: TargetState
) -> None:
    original, back = tmp_path / "chinook.db", tmp_path / "back.db"
    shutil.copy(chinook / "Chinook_Sqlite.sqlite", original)
    here, there = sqlite_of(original, tmp_path), settings_of(any_db, tmp_path)
    if state is TargetState.MISSING:
        any_db.server.drop_database(any_db.name)
    plan = planned(there, backed_up(here))
    assert plan.load.state is state
    assert plan.load.names["Track"] == "public.Track"
    result = dbtasks.restore(there, plan)
    assert (result.tables, result.checked_against_manifest) == (11, True)
    assert any_db.run('SELECT count(*), sum("UnitPrice")::text FROM "Track"') == [(3503, "3680.97")]
    again = sqlite_of(back, tmp_path)
    dbtasks.restore(again, planned(again, backed_up(there)))
    assert rows_of(back) == rows_of(original)


def test_what_cannot_go_is_listed_before_anything_is_touched(pg_db: PgDatabase, tmp_path: Path) -> None:
    path = made(
        tmp_path / "a.db",
        "CREATE TABLE t (a INTEGER, b DATE); INSERT INTO t VALUES (1, x'00'), ('x', 'y'); CREATE TABLE u (c)",
    )
    there = settings_of(pg_db, tmp_path)
    backup = backed_up(sqlite_of(path, tmp_path))
    with pytest.raises(Refused) as caught:
        planned(there, backup)
    assert caught.value.details.splitlines() == [
        "t.a holds 1 integer and 1 text, which no one type does",
        "t.b holds 1 text and 1 blob, which no one type does",
    ]
    assert "--exclude-table=NAME; or bring the SQLite file itself by db.migrate" in caught.value.hint
    assert pg_db.run("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


@pytest.mark.long
def test_e11_two_hundred_tables_in_circles_go_into_postgresql_and_back(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    count = 200
    script = "".join(
        f"CREATE TABLE t{i:03} (id INTEGER PRIMARY KEY, next INT REFERENCES t{(i + 1) % count:03}, self INT"
        f" REFERENCES t{i:03}); INSERT INTO t{i:03} VALUES (1, 1, 1), (2, 1, NULL);"
        for i in range(count)
    )
    path = made(tmp_path / "a.db", script)
    there = settings_of(pg_db, tmp_path)
    dbtasks.restore(there, planned(there, backed_up(sqlite_of(path, tmp_path))))
    assert pg_db.run("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated") == [
        (2 * count,)
    ]
    back = tmp_path / "back.db"
    again = sqlite_of(back, tmp_path)
    dbtasks.restore(again, planned(again, backed_up(there)))
    assert rows_of(back) == rows_of(path)


def test_what_is_not_carried_is_told_by_the_plan(pg_db: PgDatabase, tmp_path: Path) -> None:
    rich.fill(pg_db)
    pg_db.run("DROP TABLE public.nothing")
    there = settings_of(pg_db, tmp_path)
    path = tmp_path / "copy.db"
    config = sqlite_of(path, tmp_path)
    plan = planned(config, backed_up(there))
    assert "the table public.orders is one table, without partitions" in plan.warnings
    assert plan.load.names["public.orders_2025"] == plan.load.names["public.orders_2026_rest"] == "orders"
    dbtasks.restore(config, plan)
    held = rows_of(path)
    assert (len(held["customer"]), len(held["orders"])) == (50, 500)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_an_enumeration_lets_in_its_labels_alone_in_sqlite_too(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(
        "CREATE TYPE mood AS ENUM ('it''s', 'ok'); CREATE DOMAIN feeling AS mood; CREATE TABLE t (m mood, f feeling, a mood[]);"
        "INSERT INTO t VALUES ('it''s', 'ok', '{ok}'), (NULL, NULL, NULL)"
    )
    path = tmp_path / "copy.db"
    config = sqlite_of(path, tmp_path)
    dbtasks.restore(config, planned(config, backed_up(settings_of(pg_db, tmp_path))))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO t VALUES ('ok', 'it''s', '{}')")
        for column in ("m", "f"):
            with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
                connection.execute(f"INSERT INTO t ({column}) VALUES ('other')")


def test_tables_of_one_name_in_two_schemas_are_told_and_compared_with_their_copies(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(
        'CREATE SCHEMA "S 2"; CREATE TABLE item (id int PRIMARY KEY); CREATE TABLE "S 2".item (id int PRIMARY KEY, n text);'
        "CREATE TABLE alone (id int PRIMARY KEY);"
        """INSERT INTO item VALUES (1), (2); INSERT INTO "S 2".item VALUES (1, 'x'); INSERT INTO alone VALUES (1)"""
    )
    there = settings_of(pg_db, tmp_path)
    backup = backed_up(there)
    path = tmp_path / "copy.db"
    config = sqlite_of(path, tmp_path)
    plan = planned(config, backup)
    named = [text.partition(":")[0] for text in plan.warnings if " becomes " in text]
    assert named == ["the table S 2.item becomes S 2_item", "the table public.item becomes public_item"]
    dbtasks.restore(config, plan)
    same = dbtasks.diff_rows(config, str(backup.path))
    assert (same.differs, {t.name: t.against for t in same.tables}) == (
        False,
        {"public.item": "public_item", "S 2.item": "S 2_item", "public.alone": "alone"},
    )
    # the other way round, when one of the two is gone
    copied = backed_up(config)
    pg_db.run("DROP TABLE item; DELETE FROM alone")
    found = dbtasks.diff_rows(there, str(copied.path))
    assert {t.name: t.against for t in found.tables if t.differs} == {
        "alone": "public.alone",
        "public_item": "public_item",
    }


def test_a_declared_type_that_is_not_kept_is_told_by_the_plan(pg_db: PgDatabase, tmp_path: Path) -> None:
    script = (
        "CREATE TABLE t (at TIMESTAMP, day DATE); INSERT INTO t VALUES ('2024-01-01 12:00', '2024-01-01')"
    )
    path = made(tmp_path / "a.db", script)
    plan = planned(settings_of(pg_db, tmp_path), backed_up(sqlite_of(path, tmp_path)))
    assert [text for text in plan.warnings if text.startswith("t.")] == [
        "t.at is declared TIMESTAMP and becomes text: the text in row 1 would not come back from it as it is"
    ]


def test_a_number_that_becomes_text_is_told_by_the_plan(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(
        "CREATE DOMAIN price AS numeric; CREATE TABLE t (a numeric, b numeric(16,2), c numeric(15,2), d price, e int)"
    )
    config = sqlite_of(tmp_path / "copy.db", tmp_path)
    plan = planned(config, backed_up(settings_of(pg_db, tmp_path)))
    why = "becomes text: every digit stays, and it sorts and compares as text"
    assert [text for text in plan.warnings if text.startswith("public.")] == [
        f"public.t.a is numeric and {why}",
        f"public.t.b is numeric(16,2) and {why}",
        f"public.t.d is public.price and {why}",
    ]


def test_a_negative_zero_keeps_its_sign_or_is_told(pg_db: PgDatabase, tmp_path: Path) -> None:
    source = sqlite_of(tmp_path / "app.db", tmp_path)
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.executescript("CREATE TABLE t (b, c); INSERT INTO t VALUES (-0.0, -0.0), (0.5, 1)")
    made = backed_up(source)
    config = settings_of(pg_db, tmp_path)
    plan = planned(config, made)
    assert [text for text in plan.warnings if "-0.0" in text] == [
        "t.c holds -0.0 1 time, and numeric has only 0"
    ]
    dbtasks.restore(config, plan)
    assert pg_db.run("SELECT b::text, c::text FROM t WHERE b = 0") == [("-0", "0.0")]


def test_nan_is_listed_before_a_sqlite_file_is_made(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t (a float8); INSERT INTO t VALUES ('NaN'), (1), ('NaN')")
    config = sqlite_of(tmp_path / "copy.db", tmp_path)
    with pytest.raises(Refused) as caught:
        planned(config, backed_up(settings_of(pg_db, tmp_path)))
    assert caught.value.details == "public.t.a holds NaN 2 times, which SQLite makes NULL of"
    assert "--exclude-table=NAME" in caught.value.hint
    assert not (tmp_path / "copy.db").exists()


def test_rows_that_break_a_foreign_key_are_listed_before_anything_is_touched(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    script = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE q (p_id INTEGER REFERENCES p); INSERT INTO q VALUES (7);"
    path, there = made(tmp_path / "a.db", script), settings_of(pg_db, tmp_path)
    backup = backed_up(sqlite_of(path, tmp_path))
    with pytest.raises(Refused) as caught:
        planned(there, backup)
    assert caught.value.details == "q: once a row breaks a foreign key"
    assert "back up again" in caught.value.hint
    # nobody vouches for a file without a manifest: it is found by the server
    bare = tmp_path / "bare.json.gz"
    shutil.copy(backup.path, bare)
    job = dbtasks.RestoreJob(str(bare), request=LoadRequest(unverified=True))
    role = pg_db.server.create_role()
    with pg_db.server.fresh(f'OWNER "{role.user}"') as database:
        config = settings_of(database.seen_by(role), tmp_path)
        plan = dbtasks.plan_restore(config, job)
        with pytest.raises(
            LoadFailed, match=r"the foreign key \(p_id\) of public.q to public.p cannot be made"
        ) as failed:
            dbtasks.restore(config, plan)
    assert failed.value.hint == "mend these rows where the backup was made, and back up again"
    # without a key that stands in the way they go
    made(path, "CREATE TABLE r (q INTEGER REFERENCES gone); INSERT INTO r VALUES (1); DELETE FROM q")
    plan = planned(there, backed_up(sqlite_of(path, tmp_path)))
    dbtasks.restore(there, plan)
    assert pg_db.run("SELECT * FROM r") == [(1,)]


def test_a_file_of_the_other_engine_is_refused_with_the_ways_across(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    here = sqlite_of(made(tmp_path / "a.db", TYPED), tmp_path)
    backup = dbtasks.backup(here, dbtasks.BackupJob(request=DumpRequest(format=Format.SQLITE)))
    with pytest.raises(WrongEngine) as caught:
        planned(settings_of(pg_db, tmp_path), backup)
    assert caught.value.hint.startswith(
        "db.migrate brings a SQLite file into PostgreSQL, with proof; a rows backup"
    )


def test_rows_of_the_other_engine_go_where_no_tables_are(pg_db: PgDatabase, tmp_path: Path) -> None:
    path = made(tmp_path / "a.db", TYPED)
    pg_db.run("CREATE TABLE typed (id int)")
    here, there = sqlite_of(path, tmp_path), settings_of(pg_db, tmp_path)
    with pytest.raises(WrongEngine, match=r"holds a sqlite database, and .* has tables already"):
        planned(there, backed_up(here))
    with pytest.raises(WrongEngine, match=r"holds a postgresql database, and .* has tables already"):
        planned(here, backed_up(there))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('[1,"x"]', "[1]"),
        ('[1,"x"]', '[true,"x"]'),
        ('[1,"x"]', '[[1],"x"]'),
        ('[1,"x"]', "[1,NaN]"),
        pytest.param('[1,"x"]', f"[1,{'[' * 100_000}{']' * 100_000}]", id="deep"),
        ('[1,"x"]', '[{"blob":"zz"},"x"]'),
        ('[1,"x"]', '[{"a":1,"b":2},"x"]'),
        ('"references": "p"', '"references": ["p"]'),
    ],
)
def test_g21_a_file_made_by_hand_is_told_to_be_damaged(
    pg_db: PgDatabase, tmp_path: Path, old: str, new: str
) -> None:
    path = made(
        tmp_path / "a.db",
        "CREATE TABLE p (a INTEGER PRIMARY KEY, b TEXT); CREATE TABLE q (a REFERENCES p (a)); INSERT INTO p VALUES (1, 'x')",
    )
    backup = backed_up(sqlite_of(path, tmp_path))
    text = gzip.decompress(backup.path.read_bytes()).decode()
    assert old in text
    crafted = tmp_path / "crafted.json.gz"
    crafted.write_bytes(gzip.compress(text.replace(old, new).encode()))
    role = pg_db.server.create_role()
    with pg_db.server.fresh(f'OWNER "{role.user}"') as database:
        there = settings_of(database.seen_by(role), tmp_path)
        job = dbtasks.RestoreJob(str(crafted), request=LoadRequest(unverified=True))
        with pytest.raises((ArchiveDamaged, Refused)):
            dbtasks.plan_restore(there, job)
        assert database.run("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


@pytest.mark.parametrize(
    "value",
    ["[" * 100_000 + "]" * 100_000, "[1]", "NaN", '{"blob":"zz"}', "9" * 5000],
    ids=["deep", "list", "nan", "no bytes", "long"],
)
def test_g21_a_file_of_postgresql_made_by_hand_makes_no_sqlite_file(
    pg_db: PgDatabase, tmp_path: Path, value: str
) -> None:
    pg_db.run("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x')")
    text = gzip.decompress(backed_up(settings_of(pg_db, tmp_path)).path.read_bytes()).decode()
    crafted, path = tmp_path / "crafted.json.gz", tmp_path / "copy.db"
    crafted.write_bytes(gzip.compress(text.replace('[1,"x"]', f"[1,{value}]").encode()))
    config = sqlite_of(path, tmp_path)
    job = dbtasks.RestoreJob(str(crafted), request=LoadRequest(unverified=True))
    with pytest.raises(ArchiveDamaged):
        dbtasks.restore(config, dbtasks.plan_restore(config, job))
    assert not path.exists()


ALONE = r"""
    CREATE DOMAIN short AS text DEFAULT 'x' NOT NULL CHECK (length(VALUE) < 3);
    CREATE TABLE p (a int, b int, UNIQUE (a, b));
    CREATE TABLE t (id int PRIMARY KEY, n serial, i int GENERATED ALWAYS AS IDENTITY, bin bytea DEFAULT '\xdead',
        far float8 DEFAULT 'Infinity', near float4 DEFAULT '-Infinity', nan float8 DEFAULT 'NaN', five float8 DEFAULT '-5',
        bad numeric(5,2) DEFAULT 'NaN', said text DEFAULT 'NOT VALID', c text COLLATE "C", d short,
        a int, b int, UNIQUE NULLS NOT DISTINCT (a), UNIQUE (b) DEFERRABLE,
        CONSTRAINT half FOREIGN KEY (a, b) REFERENCES p (a, b) MATCH FULL ON DELETE SET NULL (b));
    CREATE TABLE m (v int) PARTITION BY RANGE (v); CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (10);
    CREATE UNIQUE INDEX m1v ON m1 (v); ALTER TABLE m1 ADD CONSTRAINT small CHECK (v < 5);
    CREATE TABLE par (id int PRIMARY KEY); CREATE TABLE chi (id int); INSERT INTO chi VALUES (1);
    ALTER TABLE chi ADD CONSTRAINT late FOREIGN KEY (id) REFERENCES par NOT VALID;
    INSERT INTO t (id, d, nan, bad) VALUES (1, 'y', 1, 1);
"""


def test_what_sqlite_has_not_is_listed_and_its_defaults_are_the_values_they_were(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(ALONE)
    backup = dbtasks.backup(
        settings_of(pg_db, tmp_path), dbtasks.BackupJob(request=DumpRequest(format=Format.ROWS))
    )
    path = tmp_path / "a.db"
    here = sqlite_of(path, tmp_path)
    plan = planned(here, backup)
    uncounted = "is not counted any more: SQLite does that for a primary key alone, and a new row has to bring its number"
    others = ("not in the backup", "this backup is of")
    assert {text for text in plan.warnings if not text.startswith(others)} == {
        f"public.t.n {uncounted}",
        f"public.t.i {uncounted}",
        "the default of public.t.nan is not carried: 'NaN'::double precision",
        "the default of public.t.bad is not carried: 'NaN'::numeric",
        'public.t.c goes without its collation pg_catalog."C"',
        "the unique key t_a_key of public.t goes without NULLS NOT DISTINCT",
        "the unique key t_b_key of public.t goes without DEFERRABLE",
        "the foreign key half of public.t goes without MATCH FULL",
        "the foreign key half of public.t goes without ON DELETE SET NULL",
        "the table public.m is one table, without partitions",
        "the check small of public.m1 is a partition's own, and not carried",
        "the index m1v of public.m1 is a partition's own, and not carried",
        "the foreign key late of public.chi is NOT VALID, and not carried",
        "the domain public.short goes without its check short_check, its NOT NULL, its default 'x'::text",
    }
    dbtasks.restore(here, plan)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO t (id, n, i) VALUES (2, 2, 2)")
        query = "SELECT bin, far, near, nan, five, bad, said FROM t WHERE id = ?"
        (made_here,) = connection.execute(query, (2,)).fetchall()
        (came,) = connection.execute(query, (1,)).fetchall()
    assert made_here == (b"\xde\xad", float("inf"), float("-inf"), None, -5.0, None, "NOT VALID")
    assert came[:3] == made_here[:3]


def test_defaults_of_sqlite_are_the_values_they_were_or_are_told(pg_db: PgDatabase, tmp_path: Path) -> None:
    path = made(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, half INT DEFAULT 0.5, huge BIGINT DEFAULT 1e30, long VARCHAR(3) DEFAULT 'abcdef',"
        " short VARCHAR(3) DEFAULT 'abc', five INT DEFAULT '5', yes BOOLEAN DEFAULT 1, raw BLOB DEFAULT x'00ff', j JSON DEFAULT '{}',"
        " at DATETIME DEFAULT CURRENT_TIMESTAMP, price NUMERIC(5,2) DEFAULT 1.5);"
        "INSERT INTO t VALUES (1, 1, 1, 'a', 'a', 1, 1, x'00', '[]', '2024-01-01 00:00:00', 1.5)",
    )
    there = settings_of(pg_db, tmp_path)
    plan = planned(there, backed_up(sqlite_of(path, tmp_path)))
    assert {text for text in plan.warnings if "default" in text} == {
        "the default of t.half is not carried: 0.5",
        "the default of t.huge is not carried: 1e30",
        "the default of t.long is not carried: 'abcdef'",
    }
    dbtasks.restore(there, plan)
    query = "INSERT INTO t DEFAULT VALUES RETURNING half, huge, long, short, five, yes, raw::text, j::text, at IS NULL, price::text"
    assert pg_db.run(query) == [(None, None, None, "abc", 5, True, "\\x00ff", "{}", False, "1.50")]
