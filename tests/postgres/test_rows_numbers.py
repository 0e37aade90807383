"""Sequences and rows backups: of partitioned tables, and of tables that are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dbtasks
from tests.fix_postgres import PgDatabase
from tests.older_files import older, table
from tests.postgres.rows_file import document
from tests.postgres.test_rows_restore import backed_up, planned, restored, settings_of

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
    assert pg_db.run("SELECT nextval('big_id_seq'), nextval('free')") == [(101, 2)]
