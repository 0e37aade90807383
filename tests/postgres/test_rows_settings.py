"""Settings of a database or a role that change how values are written and read: a rows backup and its restores keep every bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.models import Backup
from dbtasks.plans import LoadRequest
from dbtasks.settings import Settings
from tests.fix_postgres import PgDatabase
from tests.postgres.test_rows_restore import backed_up, restored, settings_of

HOSTILE = {
    "array_nulls": "off",
    "xmloption": "document",
    "quote_all_identifiers": "on",
    "standard_conforming_strings": "off",
    "DateStyle": "'SQL, DMY'",
    "IntervalStyle": "sql_standard",
    "TimeZone": "'Asia/Kathmandu'",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
}
PLAIN = {
    "array_nulls": "on",
    "xmloption": "content",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "DateStyle": "'ISO, YMD'",
    "IntervalStyle": "postgres",
    "TimeZone": "'UTC'",
    "extra_float_digits": "3",
    "bytea_output": "hex",
}
TABLES = r"""
CREATE TYPE mood AS ENUM ('a', 'b');
CREATE DOMAIN word AS text CHECK (VALUE <> 'q');
CREATE TABLE kept (
    id int PRIMARY KEY, texts text[] DEFAULT '{NULL,x}', numbers int[], feels mood, words word[],
    day date, span interval, moment timestamptz, exact float8, raw bytea, said text);
CREATE INDEX kept_texts ON kept (id) WHERE texts <> '{NULL,y}'::text[];
INSERT INTO kept VALUES
    (1, '{NULL,"NULL",x}', '{1,NULL}', 'b', '{a,NULL}', '2026-02-03', '-1 day 02:03:04',
     '2026-02-03 04:05:06+00', 0.1, '\x005c27', E'a\\b''c'),
    (2, DEFAULT, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
"""


def said(settings: dict[str, str]) -> str:
    return " ".join(f"SET {name} = {value};" for name, value in settings.items())


def held(database: PgDatabase) -> list[tuple[Any, ...]]:
    """Return every row, the default and the predicate, written under settings of our own."""
    return database.run(
        said(PLAIN)
        + "SELECT x::text FROM kept x UNION ALL SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef"
        " UNION ALL SELECT pg_get_indexdef('kept_texts'::regclass) ORDER BY 1"
    )


def set_for(database: PgDatabase, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        database.run(f'ALTER DATABASE "{database.name}" SET {name} = {value}')


def into(config: Settings, made: Backup, name: str) -> None:
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id, into=name, request=LoadRequest()))
    dbtasks.restore(config, plan)


def test_b04_b05_settings_of_the_database_change_no_value_on_any_way_back(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(said(PLAIN) + TABLES)
    set_for(pg_db, HOSTILE)
    before = held(pg_db)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    pg_db.run("DELETE FROM kept WHERE id = 1; UPDATE kept SET id = 3")
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id))
    assert plan.warnings == ()
    dbtasks.restore(config, plan)
    assert held(pg_db) == before
    assert not dbtasks.diff_rows(config, made.id).differs
    with pg_db.server.fresh() as copy:
        set_for(copy, HOSTILE)
        into(config, made, copy.name)
        assert held(copy) == before
        pg_db.server.drop_database(copy.name)
        into(config, made, copy.name)
        assert held(copy) == before


def test_b04_an_index_that_is_built_again_over_all_rows_keeps_its_null(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(said(PLAIN) + TABLES)
    pg_db.run("INSERT INTO kept (id) SELECT i FROM generate_series(10, 10100) i")
    set_for(pg_db, HOSTILE)
    before = held(pg_db)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    restored(config, made)
    assert held(pg_db) == before


@pytest.mark.parametrize("way", ["whole", "one table"])
def test_a_new_column_gets_its_default_by_the_roles_own_settings_either_way(
    pg_db: PgDatabase, tmp_path: Path, way: str
) -> None:
    pg_db.run("CREATE TABLE t (a int, day date)")
    pg_db.run("ALTER TABLE t ADD CONSTRAINT late CHECK (day > '2020-12-31') NOT VALID")
    pg_db.run("INSERT INTO t VALUES (1, '2026-02-03')")
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    pg_db.run("ALTER TABLE t ADD COLUMN zone text DEFAULT current_setting('TimeZone')")
    pg_db.run(
        f"ALTER DATABASE {pg_db.name} SET TimeZone = 'Asia/Tokyo'; ALTER DATABASE {pg_db.name} SET DateStyle = 'SQL, DMY'"
    )
    if way == "whole":
        restored(config, made)
    else:
        plan = dbtasks.plan_restore_tables(config, dbtasks.TablesJob(("t",), file=made.id))
        dbtasks.restore_tables(config, plan)
    assert pg_db.run("SELECT a, day = '2026-02-03'::date, zone FROM t") == [(1, True, "Asia/Tokyo")]
    query = (
        "SET DateStyle = 'ISO'; SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'late'"
    )
    assert pg_db.run(query) == [("CHECK ((day > '2020-12-31'::date)) NOT VALID",)]
