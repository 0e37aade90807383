"""A load that breaks off names the cause, the table and the line, on the screen and in the log; never what a row holds."""

from __future__ import annotations

from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import LoadFailed, QueryFailed
from dbtasks.models import Format
from tests.fix_postgres import PgDatabase
from tests.postgres.projects import configured, made_with
from tests.postgres.restoring import engine_on

FILL = """
    CREATE FUNCTION fine(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
    CREATE TABLE t (id int PRIMARY KEY, mail text UNIQUE, CONSTRAINT k CHECK (public.fine(mail)));
    INSERT INTO t VALUES (1, E'bob@secret.example, secret\\n(secret)');
"""
BREAKING = "CREATE OR REPLACE FUNCTION fine(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false'"
CAUSE = 'new row for relation "t" violates check constraint "k"'
WAYS = [
    (Format.CUSTOM, False, ()),
    (Format.SQL, False, ()),
    (Format.DIRECTORY, False, ()),
    (Format.CUSTOM, True, ()),
    (Format.CUSTOM, False, ("--inserts",)),
]


@pytest.mark.parametrize(("format_", "in_place", "extra"), WAYS)
def test_d01_a_load_that_breaks_off_tells_the_cause_and_no_value(
    pg_db: PgDatabase, tmp_path: Path, format_: Format, in_place: bool, extra: tuple[str, ...]
) -> None:
    pg_db.run(FILL)
    pg_db.run(BREAKING)
    config = configured(tmp_path, pg_db)
    made_with(config, format=format_, extra=extra)
    job = dbtasks.RestoreJob(
        "latest", request=dbtasks.LoadRequest(in_place=in_place), skip_safety_backup=True
    )
    with pytest.raises(LoadFailed) as failed:
        dbtasks.restore(config, dbtasks.plan_restore(config, job))
    told(failed.value, config.backup_dir, line="" if extra else "COPY t, line 1")


def test_d01_a_table_that_cannot_be_loaded_tells_the_cause_and_no_value(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(FILL)
    config = configured(tmp_path, pg_db)
    made_with(config)
    pg_db.run("DELETE FROM t")
    pg_db.run(BREAKING)
    job = dbtasks.TablesJob(("t",), file="latest", skip_safety_backup=True)
    with pytest.raises(LoadFailed) as failed:
        dbtasks.restore_tables(config, dbtasks.plan_restore_tables(config, job))
    told(failed.value, config.backup_dir, line="COPY t, line 1")


def told(error: LoadFailed, backup_dir: Path, *, line: str) -> None:
    last = (backup_dir / "log.jsonl").read_text("utf-8").splitlines()[-1]
    assert CAUSE in error.message
    assert CAUSE in last.replace('\\"', '"')
    assert "Failing row contains (…)" in error.details
    assert line in error.details
    for text in (error.message, error.details, error.state, error.hint, last):
        assert "secret" not in text


def test_a_statement_that_a_server_turns_down_is_told_without_values(pg_db: PgDatabase) -> None:
    pg_db.run("CREATE TABLE t (mail text PRIMARY KEY); INSERT INTO t VALUES ('secret')")
    with engine_on(pg_db) as engine, engine.session() as session:
        with pytest.raises(QueryFailed) as failed:
            session.execute("INSERT INTO public.t VALUES ('secret')")
        assert "Key (mail)=(…) already exists" in failed.value.details
        with pytest.raises(QueryFailed, match=r"type integer: \"…\"") as failed:
            session.execute("SELECT 'secret'::pg_catalog.int4")
        assert "secret" not in failed.value.details
