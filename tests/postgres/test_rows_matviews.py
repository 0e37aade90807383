"""Materialized views over what shows the rows that a rows backup brings back: filled anew, or named."""

from __future__ import annotations

from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import LoadFailed
from tests.fix_postgres import PgDatabase
from tests.postgres.test_rows_restore import backed_up, planned, restored, settings_of

MONTHS = """
    CREATE TABLE m (day int, v int) PARTITION BY RANGE (day);
    CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (10);
    INSERT INTO m VALUES (1, 5);
    CREATE VIEW of_m AS SELECT * FROM m;
    CREATE MATERIALIZED VIEW total AS SELECT sum(v) AS v FROM of_m;
"""


def test_a_view_over_a_table_of_which_the_backup_lacks_partitions_shows_the_rows_that_came(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(MONTHS)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    pg_db.run("CREATE TABLE m2 PARTITION OF m FOR VALUES FROM (10) TO (20); INSERT INTO m VALUES (11, 100)")
    pg_db.run("UPDATE m1 SET v = 7; REFRESH MATERIALIZED VIEW total")
    plan = planned(config, made)
    assert any("refresh public.total" in step for step in plan.load.steps)
    dbtasks.restore(config, plan)
    assert pg_db.run("SELECT v::int FROM total") == [(105,)]


def test_a_view_over_the_parent_of_a_table_is_named_and_filled(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("""
        CREATE TABLE par (v int); CREATE TABLE chi () INHERITS (par); INSERT INTO chi VALUES (1);
        CREATE MATERIALIZED VIEW total AS SELECT sum(v) AS v FROM par;
    """)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config, tables=("chi",))
    pg_db.run("UPDATE chi SET v = 50; REFRESH MATERIALIZED VIEW total")
    part = dbtasks.plan_restore_tables(config, dbtasks.TablesJob(("chi",), file=made.id))
    assert any("REFRESH MATERIALIZED VIEW public.total" in text for text in part.warnings)
    restored(config, made)
    assert pg_db.run("SELECT v::int FROM total") == [(1,)]


def test_a_view_that_cannot_be_filled_with_the_rows_is_named_with_what_helps(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run('CREATE TABLE t (a int); INSERT INTO t VALUES (0); CREATE SCHEMA "Of"')
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    pg_db.run('UPDATE t SET a = 1; CREATE MATERIALIZED VIEW "Of"."by" AS SELECT 1 / a AS b FROM t')
    with pytest.raises(
        LoadFailed, match=r"materialized view Of\.by cannot be filled: .*division by zero"
    ) as caught:
        restored(config, made)
    assert 'REFRESH MATERIALIZED VIEW "Of"."by" WITH NO DATA' in caught.value.hint
    assert pg_db.run("SELECT a FROM t") == [(1,)]
    pg_db.run('REFRESH MATERIALIZED VIEW "Of"."by" WITH NO DATA')
    restored(config, made)
    assert pg_db.run("SELECT a FROM t") == [(0,)]
