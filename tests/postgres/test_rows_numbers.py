"""Sequences and rows backups: of partitioned tables, and of tables that are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg2.errors
import pytest

import dbtasks
from dbtasks.engines.postgres.rows import numbers as rows_numbers
from tests.fix_postgres import PgDatabase
from tests.older_files import older, table
from tests.postgres.rows_file import document
from tests.postgres.test_rows_restore import backed_up, owned, planned, restored, settings_of

__all__ = ["owned"]

PARTED = """
CREATE TABLE m (id bigint GENERATED ALWAYS AS IDENTITY, d int, PRIMARY KEY (id, d)) PARTITION BY LIST (d);
CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1);
INSERT INTO m (d) VALUES (1), (1), (1);
"""
BIG = """
CREATE TABLE big (id serial PRIMARY KEY); CREATE TABLE ident (id int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE t (a int); CREATE SEQUENCE free;
INSERT INTO big DEFAULT VALUES; INSERT INTO big DEFAULT VALUES; INSERT INTO big DEFAULT VALUES;
INSERT INTO t VALUES (1); SELECT nextval('free');
"""


@pytest.mark.parametrize("file", ["rows alone", "older"])
def test_e14_the_identity_of_a_partitioned_table_goes_on_behind_the_rows_of_its_partitions(
    any_db: PgDatabase, tmp_path: Path, file: str
) -> None:
    any_db.run(PARTED)
    config = settings_of(any_db, tmp_path)
    if file == "older":
        name = str(older(tmp_path, {"m1": table(["id", "d"], [1, 1], [2, 1], [3, 1])}))
    else:
        name = backed_up(config, data_only=True).id
    any_db.run("TRUNCATE m RESTART IDENTITY")
    restored(config, name, unverified=file == "older")
    assert any_db.run("INSERT INTO m (d) VALUES (1) RETURNING id") == [(4,)]


def test_a_backup_without_a_table_has_not_its_sequence_and_is_proven_and_makes_the_others(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(BIG)
    config = settings_of(pg_db, tmp_path, exclude_tables="big,ident")
    made = backed_up(config)
    held = document(made.path)["metadata"]["schema"]["sequences"]
    assert [one["name"] for one in held] == ["public.free"]
    assert made.manifest.sequences == ("public.free=1",)
    (proof,) = dbtasks.verify(config, [made], restore=True)
    assert proof.ok
    with pg_db.server.fresh() as other:
        dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id, into=other.name)))
        assert other.run("SELECT a, nextval('free') FROM t") == [(1, 2)]


def test_a_sequence_of_a_table_that_is_left_out_comes_free_where_a_default_calls_for_it(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(
        BIG + "CREATE SEQUENCE shared; ALTER SEQUENCE shared OWNED BY big.id;"
        "ALTER TABLE t ADD n int DEFAULT nextval('shared')"
    )
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config, exclude_tables=("big",))
    with pg_db.server.fresh() as other:
        dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id, into=other.name)))
        assert other.run("INSERT INTO t (a) VALUES (2) RETURNING n") == [(2,)]


@pytest.mark.parametrize("part", [{"exclude_tables": ("big",)}, {"exclude_data": ("big",)}], ids=str)
def test_e14_the_numbers_of_a_table_that_stays_are_never_set_back(
    pg_db: PgDatabase, tmp_path: Path, part: dict[str, Any]
) -> None:
    pg_db.run(BIG)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config, **part)
    pg_db.run("SELECT setval('big_id_seq', 100); SELECT setval('free', 50)")
    plan = planned(config, made)
    assert plan.load.stays.count("table public.big") == 1
    dbtasks.restore(config, plan)
    # nor are those that nobody knows the takers of
    assert pg_db.run("SELECT nextval('big_id_seq'), nextval('free')") == [(101, 51)]


SHARED = """
CREATE SEQUENCE ticket INCREMENT BY {step} MINVALUE -1000 MAXVALUE 1000 START WITH {first};
CREATE TABLE t (a int, n int DEFAULT nextval('ticket')); CREATE TABLE stays (n int DEFAULT nextval('ticket'));
INSERT INTO t VALUES (1), (2), (3);
"""


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("file", ["rows", "older"])
def test_e14_a_sequence_that_a_table_that_stays_takes_numbers_of_is_never_set_back(
    pg_db: PgDatabase, tmp_path: Path, step: int, file: str
) -> None:
    pg_db.run(SHARED.format(step=step, first=step))
    config = settings_of(pg_db, tmp_path, exclude_tables="stays")
    if file == "older":
        name = str(older(tmp_path, {"t": table(["a", "n"], [1, step], [2, 2 * step], [3, 3 * step])}))
    else:
        name = backed_up(config).id
    pg_db.run("INSERT INTO stays SELECT FROM generate_series(1, 50); DELETE FROM stays")
    restored(config, name, unverified=file == "older")
    # 53 was given to a row that was deleted
    assert pg_db.run("INSERT INTO stays DEFAULT VALUES RETURNING n") == [(54 * step,)]


TAKEN = {
    "a domain's default": ("CREATE DOMAIN num AS int DEFAULT nextval('ticket')", "n num"),
    "a domain over one": (
        "CREATE DOMAIN inner_ AS int DEFAULT nextval('ticket'); CREATE DOMAIN num AS inner_",
        "n num",
    ),
    "one that begins again": ("ALTER SEQUENCE ticket CYCLE", "n int DEFAULT nextval('ticket')"),
    "a function": (
        "CREATE FUNCTION nx() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT nextval(''ticket'')::int'",
        "n int DEFAULT nx()",
    ),
    "a name that is text": ("", "n int DEFAULT nextval('ticket'::text)"),
}
OWNED_TOO = (
    ("a domain's default", "owned"),
    ("a domain over one", "owned"),
    ("one that begins again", "owned"),
)


@pytest.mark.parametrize(("way", "owner"), [*((way, "free") for way in TAKEN), *OWNED_TOO])
def test_e14_however_a_table_that_stays_comes_to_its_numbers_they_are_never_set_back(
    pg_db: PgDatabase, tmp_path: Path, way: str, owner: str
) -> None:
    made, column = TAKEN[way]
    owned = "ALTER SEQUENCE ticket OWNED BY t.n" if owner == "owned" else ""
    pg_db.run(
        f"CREATE SEQUENCE ticket; {made}; CREATE TABLE t (a int, n int DEFAULT nextval('ticket')); {owned};"
        f"CREATE TABLE stays (a int, {column} PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3)"
    )
    config = settings_of(pg_db, tmp_path, exclude_tables="stays")
    backup = backed_up(config)
    pg_db.run("INSERT INTO stays (a) SELECT 1 FROM generate_series(1, 50)")
    restored(config, backup.id)
    assert pg_db.run("INSERT INTO stays (a) VALUES (1) RETURNING n") == [(54,)]


def test_sequences_of_tables_that_come_back_whole_are_set_back_though_another_table_stays(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(
        "CREATE TABLE s (id serial, n int); CREATE TABLE i (id int GENERATED ALWAYS AS IDENTITY, n int); CREATE TABLE stays (a int);"
        "CREATE TABLE m (id serial, d int) PARTITION BY LIST (d); CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1);"
        "INSERT INTO s (n) VALUES (1); INSERT INTO i (n) VALUES (1); INSERT INTO m (d) VALUES (1)"
    )
    config = settings_of(pg_db, tmp_path, exclude_tables="stays")
    made = backed_up(config)
    pg_db.run("SELECT setval('s_id_seq', 50), setval('i_id_seq', 50), setval('m_id_seq', 50)")
    restored(config, made.id)
    assert pg_db.run("SELECT nextval('s_id_seq'), nextval('i_id_seq'), nextval('m_id_seq')") == [(2, 2, 2)]


def test_a_sequence_that_a_view_takes_numbers_of_is_never_set_back(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(
        SHARED.format(step=1, first=1) + "DROP TABLE stays; CREATE TABLE other (n int);"
        "CREATE VIEW of_other AS SELECT * FROM other; ALTER VIEW of_other ALTER n SET DEFAULT nextval('ticket')"
    )
    config = settings_of(pg_db, tmp_path, exclude_tables="other")
    made = backed_up(config)
    pg_db.run("SELECT setval('ticket', 60)")
    restored(config, made.id)
    assert pg_db.run("INSERT INTO of_other DEFAULT VALUES RETURNING n") == [(61,)]


def test_a_sequence_goes_behind_the_rows_of_every_table_that_takes_numbers_of_it(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(SHARED.format(step=1, first=1))
    config = settings_of(pg_db, tmp_path, exclude_tables="stays")
    made = backed_up(config)
    # by hand: the sequence itself never came so far
    pg_db.run("INSERT INTO stays VALUES (70); SELECT setval('ticket', 2)")
    restored(config, made.id)
    assert pg_db.run("SELECT nextval('ticket')") == [(71,)]


def test_the_backups_number_counts_where_it_is_farther_or_all_tables_come_back(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(SHARED.format(step=1, first=1) + "SELECT setval('ticket', 90)")
    config = settings_of(pg_db, tmp_path, exclude_tables="stays")
    made = backed_up(config)
    pg_db.run("SELECT setval('ticket', 10)")
    restored(config, made.id)
    assert pg_db.run("SELECT nextval('ticket')") == [(91,)]
    whole = backed_up(settings_of(pg_db, tmp_path))
    pg_db.run("SELECT setval('ticket', 200)")
    restored(config, whole.id)
    assert pg_db.run("SELECT nextval('ticket')") == [(92,)]


@pytest.mark.parametrize("kind", ["serial", "bigint GENERATED ALWAYS AS IDENTITY"])
def test_e14_a_sequence_of_a_table_of_which_one_partition_stays_is_never_set_back(
    pg_db: PgDatabase, tmp_path: Path, kind: str
) -> None:
    pg_db.run(
        f"CREATE TABLE m (id {kind}, d int) PARTITION BY LIST (d); CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1);"
        "CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2); INSERT INTO m (d) VALUES (1), (1)"
    )
    config = settings_of(pg_db, tmp_path, exclude_tables="m2")
    made = backed_up(config)
    pg_db.run("INSERT INTO m (d) SELECT 2 FROM generate_series(1, 8); DELETE FROM m2")
    restored(config, made.id)
    assert pg_db.run("INSERT INTO m (d) VALUES (2) RETURNING id") == [(11,)]


def test_a_sequence_of_somebody_else_is_told_only_where_it_has_to_move_on(
    owned: PgDatabase, pg_db: PgDatabase, tmp_path: Path
) -> None:
    sequence, tables = SHARED.format(step=1, first=1).strip().split(";", 1)
    pg_db.run(f"{sequence}; GRANT ALL ON SEQUENCE ticket TO PUBLIC")
    owned.run(tables)
    config = settings_of(owned, tmp_path, exclude_tables="stays")
    made = backed_up(config)
    pg_db.run("SELECT setval('ticket', 60)")
    assert [text for text in restored(config, made).warnings if "ticket" in text] == []
    owned.run("INSERT INTO stays VALUES (80)")
    assert [text for text in restored(config, made).warnings if "ticket" in text] == [
        'the sequence public.ticket belongs to postgres and was not moved: ALTER SEQUENCE "public"."ticket" RESTART WITH 81;'
    ]


def test_nobody_takes_a_number_between_the_look_at_a_sequence_and_the_commit(
    pg_db: PgDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pg_db.run(SHARED.format(step=1, first=1))
    config = settings_of(pg_db, tmp_path, exclude_tables="stays")
    made = backed_up(config)
    pg_db.run("INSERT INTO stays VALUES (70)")
    known, tried = rows_numbers._move, []

    def move(*given: Any) -> None:
        # as late as can be: it is about to be moved
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            pg_db.run("SET lock_timeout = 200; INSERT INTO stays DEFAULT VALUES")
        tried.append(given)
        known(*given)

    monkeypatch.setattr(rows_numbers, "_move", move)
    restored(config, made.id)
    assert len(tried) == 1
    assert pg_db.run("INSERT INTO stays DEFAULT VALUES RETURNING n") == [(71,)]


@pytest.mark.parametrize("may", ["ALL", "USAGE"])
def test_a_sequence_of_somebody_else_is_told_with_its_number_unless_it_stands_there(
    owned: PgDatabase, pg_db: PgDatabase, tmp_path: Path, may: str
) -> None:
    sequence, tables = SHARED.format(step=1, first=1).strip().split(";", 1)
    pg_db.run(f"{sequence}; GRANT ALL ON SEQUENCE ticket TO PUBLIC")
    owned.run(tables)
    config = settings_of(owned, tmp_path)
    made = backed_up(config)
    told = 'the sequence public.ticket belongs to postgres and was not moved: ALTER SEQUENCE "public"."ticket" RESTART WITH 4;'
    skip = {"skip_safety_backup": True}
    pg_db.run(f"REVOKE ALL ON SEQUENCE ticket FROM PUBLIC; GRANT {may} ON SEQUENCE ticket TO PUBLIC")
    found = [text for text in restored(config, made, **skip).warnings if "ticket" in text]
    # nobody tells a role that may not look
    assert found == ([] if may == "ALL" else [told])
    pg_db.run("SELECT setval('ticket', 90)")
    assert [text for text in restored(config, made, **skip).warnings if "ticket" in text] == [told]


def test_a_sequence_of_somebody_else_that_cannot_be_looked_at_is_told_while_a_table_stays(
    owned: PgDatabase, pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE SEQUENCE theirs; GRANT ALL ON SEQUENCE theirs TO PUBLIC")
    owned.run("CREATE TABLE t (a int); CREATE TABLE stays (a int); INSERT INTO t VALUES (1)")
    config = settings_of(owned, tmp_path, exclude_tables="stays")
    made = backed_up(config)
    pg_db.run("REVOKE ALL ON SEQUENCE theirs FROM PUBLIC")
    found = restored(config, made, skip_safety_backup=True).warnings
    assert [text for text in found if "theirs" in text] == [
        "the sequence public.theirs belongs to postgres and cannot be looked at"
    ]
