"""Rows backups without definitions: what they tell of their columns, and what a restore compares by it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import Refused
from tests.fix_postgres import PgDatabase
from tests.postgres.rows_file import document, without_outline
from tests.postgres.test_rows_restore import backed_up, planned, restored, settings_of, state_of

TABLES = """
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE DOMAIN price AS numeric(10,4) CHECK (VALUE > 0);
CREATE TABLE t (a numeric, b timestamp, c timestamptz, d text, e int, f mood DEFAULT 'glad', g price,
                h int GENERATED ALWAYS AS (e + 1) STORED, i int GENERATED ALWAYS AS IDENTITY);
INSERT INTO t VALUES (1.2345, '2024-01-02 23:04:05', '2024-01-02 23:04:05+00', 'abc  ', 1, 'sad', 1.0001);
CREATE TABLE other (id int);
"""


def test_e18_rows_alone_go_into_no_column_of_another_type(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(TABLES)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config, data_only=True)
    pg_db.run(
        "ALTER TABLE t ALTER a TYPE numeric(5,2), ALTER b TYPE date, ALTER c TYPE timestamp, ALTER d TYPE varchar(3)"
        " USING 'abc', ALTER g TYPE numeric(9,1); ALTER TABLE t DROP h; ALTER TABLE t ALTER e TYPE bool USING true"
    )
    before = state_of(pg_db)
    with pytest.raises(Refused) as caught:
        planned(config, made)
    assert "the tables of" in caught.value.message
    said = f"{caught.value.message}\n{caught.value.details}"
    for text in (
        "public.t.a is numeric(5,2) here, and numeric in the backup",
        "public.t.b is date here, and timestamp without time zone in the backup",
        "public.t.c is timestamp without time zone here, and timestamp with time zone in the backup",
        "public.t.d is character varying(3) here, and text in the backup",
        "public.t.e is boolean here, and integer in the backup",
        "public.t.g is numeric(9,1) here, and public.price in the backup",
    ):
        assert text in said
    assert state_of(pg_db) == before


def test_e18_rows_alone_go_into_no_type_of_the_same_name_that_is_another_one(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(TABLES)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config, data_only=True)
    pg_db.run(
        "DELETE FROM t; ALTER TABLE t DROP f, DROP g; DROP TYPE mood; DROP DOMAIN price; CREATE TYPE mood AS ENUM ('glad');"
        "CREATE DOMAIN price AS numeric(10,1); ALTER TABLE t ADD f mood, ADD g price"
    )
    with pytest.raises(Refused) as caught:
        planned(config, made)
    said = f"{caught.value.message}\n{caught.value.details}"
    assert "the type public.mood does not know 'sad', as in the backup" in said
    assert "the type public.price is made of numeric(10,1) here, and of numeric(10,4) in the backup" in said


def test_rows_alone_tell_the_types_of_their_columns_and_no_definition(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(TABLES)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config, data_only=True, tables=("t",))
    told = document(made.path)["metadata"]
    assert "schema" not in told
    assert [table["name"] for table in told["outline"]["tables"]] == ["public.t"]
    assert {"name": "a", "type": "numeric"} in told["outline"]["tables"][0]["columns"]
    assert not any(word in json.dumps(told["outline"]) for word in ("glad'", "VALUE", "always", "e + 1"))
    before = state_of(pg_db)
    pg_db.run("DELETE FROM t")
    restored(config, made)
    assert state_of(pg_db) == before


def test_rows_alone_that_do_not_tell_their_types_say_so_by_name(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
    config = settings_of(pg_db, tmp_path)
    bare = without_outline(backed_up(config, data_only=True).path, tmp_path)
    pg_db.run("ALTER TABLE t ALTER a TYPE text")
    plan = dbtasks.plan_restore(
        config,
        dbtasks.RestoreJob(str(bare), request=dbtasks.LoadRequest(unverified=True)),
    )
    assert any(
        "the backup does not tell the types of its columns" in text and text.endswith("values: public.t")
        for text in plan.warnings
    )
