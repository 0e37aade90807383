"""A restore that made tables in a database without any: the way back that is told is one."""

from __future__ import annotations

from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import NotFound
from tests.fix_postgres import PgDatabase
from tests.postgres.test_rows_restore import backed_up, planned, restored, settings_of

MADE = """
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 7';
CREATE SCHEMA "odd schema";
CREATE TYPE "odd schema".mood AS ENUM ('sad', 'glad');
CREATE DOMAIN price AS numeric CHECK (VALUE > 0);
CREATE SEQUENCE free;
CREATE TABLE t (id serial PRIMARY KEY, a int DEFAULT f(), m "odd schema".mood, p price, up int);
CREATE TABLE part (i int GENERATED ALWAYS AS IDENTITY, d int) PARTITION BY LIST (d);
CREATE TABLE "odd schema"."Pa.rt" PARTITION OF part FOR VALUES IN (1);
ALTER TABLE t ADD FOREIGN KEY (up) REFERENCES t;
INSERT INTO t (m, p) VALUES ('sad', 1); INSERT INTO part (d) VALUES (1);
"""
EVERYTHING = (
    "SELECT c.oid::regclass::text FROM pg_class c WHERE c.oid >= 16384 AND c.relnamespace <> 'pg_toast'::regnamespace"
    " UNION ALL SELECT typname FROM pg_type WHERE oid >= 16384"
    " UNION ALL SELECT nspname FROM pg_namespace WHERE oid >= 16384 UNION ALL SELECT proname FROM pg_proc WHERE oid >= 16384"
)


def emptied(database: PgDatabase) -> None:
    """Leave the function alone, as docs/rows.md has it made before such a restore."""
    database.run(
        'DROP TABLE t, part; DROP SEQUENCE free; DROP DOMAIN price; DROP SCHEMA "odd schema" CASCADE'
    )


@pytest.mark.parametrize("saved", [True, False])
def test_what_takes_away_made_tables_is_told_where_no_backup_goes_back(
    pg_db: PgDatabase, tmp_path: Path, saved: bool
) -> None:
    pg_db.run(MADE)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    emptied(pg_db)
    before = pg_db.run(EVERYTHING)
    done = restored(config, made, skip_safety_backup=not saved)
    assert pg_db.run("SELECT a, p FROM t") == [(7, 1)]
    words, _, statements = done.way_back.partition(" taken away by: ")
    assert words == "no backup goes back to a database without tables; what was made there is"
    with pytest.raises(NotFound) as caught:
        dbtasks.plan_undo(config)
    assert caught.value.hint == f"what it made is taken away by: {statements}"
    assert caught.value.state == "nothing was touched"
    pg_db.run(statements)
    assert pg_db.run(EVERYTHING) == before


def test_a_database_that_lost_its_tables_makes_no_backup_that_is_latest(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(MADE)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    emptied(pg_db)
    empty = backed_up(config)
    assert not empty.manifest.all_tables
    assert f"{pg_db.name} holds no tables" in empty.manifest.warnings
    plan = planned(config, "latest")
    assert plan.archive.manifest is not None
    assert plan.archive.manifest.id == made.id
