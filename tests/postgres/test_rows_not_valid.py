"""Checks that were never validated: rows older than they come back, in place and anew, and the checks hold for new rows only."""

from __future__ import annotations

from pathlib import Path

import psycopg2
import pytest

import dbtasks
from dbtasks.errors import LoadFailed
from tests.fix_postgres import PgDatabase
from tests.postgres.test_rows_restore import backed_up, restored, settings_of, state_of

CHECKS = (
    "SELECT coalesce(conrelid::regclass::text, ''), contypid::regtype::text, conname, pg_get_constraintdef(oid),"
    " coalesce(obj_description(oid, 'pg_constraint'), '') FROM pg_constraint"
    " WHERE oid >= 16384 AND contype IN ('c', 'n') AND NOT convalidated ORDER BY 1, 2, 3"
)
TABLES = """
CREATE DOMAIN word AS text; CREATE DOMAIN twice AS word;
CREATE TYPE pair AS (a twice, b int);
CREATE TABLE old (id int PRIMARY KEY, a text, b word, c pair[]);
CREATE TABLE parted (id int, a int) PARTITION BY LIST (id);
CREATE TABLE part PARTITION OF parted FOR VALUES IN (1);
INSERT INTO old VALUES (1, 'bad', 'bad', '{"(bad,1)"}'); INSERT INTO parted VALUES (1, -1);
ALTER TABLE old ADD CONSTRAINT never CHECK (a <> 'bad') NOT VALID;
COMMENT ON CONSTRAINT never ON old IS 'since May';
ALTER TABLE old ADD CONSTRAINT lone CHECK (a <> 'bad') NO INHERIT NOT VALID;
ALTER TABLE parted ADD CONSTRAINT rising CHECK (a > 0) NOT VALID;
ALTER DOMAIN word ADD CONSTRAINT good CHECK (VALUE <> 'bad') NOT VALID;
COMMENT ON CONSTRAINT good ON DOMAIN word IS 'words';
"""


def back_everywhere(database: PgDatabase, root: Path, spoil: str) -> None:
    """See that all of it comes back in place, into an empty database and into a missing one."""
    before, checks = state_of(database), database.run(CHECKS)
    config = settings_of(database, root)
    made = backed_up(config)
    database.run(spoil)
    restored(config, made)
    assert state_of(database) == before
    assert database.run(CHECKS) == checks
    bare = [check[:4] for check in checks]
    with database.server.fresh() as copy:
        for state in ("empty", "missing"):
            if state == "missing":
                database.server.drop_database(copy.name)
            dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id, into=copy.name)))
            assert [check[:4] for check in copy.run(CHECKS)] == bare
            rows = {name: held for name, held in state_of(copy).items() if name.startswith("public.")}
            assert rows == {name: before[name] for name in rows}


@pytest.mark.long
def test_e12_rows_older_than_a_check_of_their_table_or_domain_come_back(
    any_db: PgDatabase, tmp_path: Path
) -> None:
    any_db.run(TABLES)
    back_everywhere(any_db, tmp_path, "UPDATE old SET id = 2, a = 'x', b = 'y', c = NULL; DELETE FROM parted")
    for row in ("old VALUES (3, 'bad')", "old VALUES (3, 'x', 'bad')", "parted VALUES (1, -2)"):
        with pytest.raises(psycopg2.errors.CheckViolation):
            any_db.run(f"INSERT INTO {row}")


def test_e12_rows_older_than_a_not_null_come_back(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(
        "CREATE TABLE old (id int PRIMARY KEY, a text, b text NOT NULL); INSERT INTO old VALUES (1, NULL, 'b');"
        "ALTER TABLE old ADD CONSTRAINT never NOT NULL a NOT VALID"
    )
    back_everywhere(pg_db, tmp_path, "UPDATE old SET id = 2, a = 'x'")
    with pytest.raises(psycopg2.errors.NotNullViolation):
        pg_db.run("INSERT INTO old VALUES (3, NULL, 'b')")


def test_what_would_come_back_as_another_check_stays(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(
        "CREATE TABLE parent (a int); CREATE TABLE child () INHERITS (parent); INSERT INTO parent VALUES (-1);"
        "ALTER TABLE parent ADD CONSTRAINT rising CHECK (a > 0) NOT VALID; ALTER TABLE child VALIDATE CONSTRAINT rising"
    )
    config = settings_of(pg_db, tmp_path)
    made, before = backed_up(config), state_of(pg_db)
    with pytest.raises(LoadFailed, match="rising"):
        restored(config, made)
    assert state_of(pg_db) == before
