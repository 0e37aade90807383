"""Indexes that a failed CREATE INDEX CONCURRENTLY left behind: in no rows backup, and told."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg2.errors import UniqueViolation

import dbtasks
from tests.fix_postgres import PgDatabase
from tests.postgres.rows_file import document
from tests.postgres.test_rows_restore import backed_up, restored, settings_of


@pytest.fixture
def left(pg_db: PgDatabase) -> PgDatabase:
    pg_db.run(
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1); CREATE INDEX whole ON t (a);"
        "CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);"
        "CREATE INDEX only_above ON ONLY p (a)"
    )
    with pytest.raises(UniqueViolation):
        pg_db.run("CREATE UNIQUE INDEX CONCURRENTLY t_a ON t (a)")
    return pg_db


def test_an_invalid_index_is_told_and_no_part_of_a_rows_backup(left: PgDatabase, tmp_path: Path) -> None:
    config = settings_of(left, tmp_path)
    made = backed_up(config)
    assert "the index public.t_a of public.t is invalid and not in it" in made.manifest.warnings
    tables = {held["name"]: held for held in document(made.path)["metadata"]["schema"]["tables"]}
    assert [index["name"] for index in tables["public.t"]["indexes"]] == ["whole"]
    assert [index["name"] for index in tables["public.p"]["indexes"]] == ["only_above"]
    with left.server.fresh() as other:
        dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id, into=other.name)))
        assert other.run("SELECT count(*) FROM t") == [(2,)]


def test_rows_go_back_into_a_table_that_has_an_invalid_index(left: PgDatabase, tmp_path: Path) -> None:
    config = settings_of(left, tmp_path)
    made = backed_up(config)
    left.run("INSERT INTO t VALUES (2)")
    restored(config, made)
    assert left.run("SELECT a FROM t") == [(1,), (1,)]
    query = "SELECT indisvalid FROM pg_index WHERE indexrelid = 't_a'::regclass"
    assert left.run(query) == [(False,)]
