"""Single tables back into a live database: from every format and compression, and whatever sleeps on the server."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import CountsDiffer, Refused, RightMissing, UsageError, VersionMismatch
from dbtasks.manifest import SUFFIX, dump_manifest
from dbtasks.models import Format
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.projects import configured
from tests.postgres.rich import fingerprint
from tests.postgres.test_one_table import SHOP, Shop, backup, bring, plan

FORMATS = [Format.CUSTOM, Format.SQL, Format.DIRECTORY]


@pytest.fixture
def shop(tmp_path: Path, pg_db: PgDatabase) -> Shop:
    pg_db.run(SHOP)
    return configured(tmp_path, pg_db), pg_db


@pytest.mark.long
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("format_", FORMATS)
def test_e06_tables_come_created_replaced_and_beside_from_every_format_in_every_compression(
    tmp_path: Path, pg17: PgServer, format_: Format, compression: str
) -> None:
    """The tools of 17 are those that have zstd."""
    with pg17.fresh() as database:
        database.run(f"{SHOP}; TRUNCATE public.log; INSERT INTO public.log VALUES ('kept')")
        config = configured(tmp_path, database, compression=compression)
        made = backup(config, format_)
        assert made.manifest.compression == compression
        before = fingerprint(database)
        database.run("DELETE FROM public.item WHERE id > 7; DROP TABLE public.log")
        database.run("UPDATE public.customer SET name = id::text")
        assert bring(config, "item", "customer", "log").rows == {
            "public.customer": 5,
            "public.item": 100,
            "public.log": 1,
        }
        assert fingerprint(database) == before
        assert bring(config, "item", as_name="then").rows == {"public.then": 100}


@pytest.mark.long
@pytest.mark.parametrize("format_", FORMATS)
def test_e02_a_table_that_needs_an_extensions_type_is_refused_before_anything_is_touched(
    tmp_path: Path, pg17: PgServer, format_: Format
) -> None:
    with pg17.fresh() as database:
        database.run('CREATE SCHEMA "Ext"; CREATE EXTENSION hstore SCHEMA "Ext"; CREATE EXTENSION citext')
        database.run(
            'CREATE TABLE t (id serial, a "Ext".hstore[] DEFAULT NULL, b citext NOT NULL, c numeric(10,2)); CREATE TABLE plain (a int);'
            """ INSERT INTO t (a, b) VALUES (ARRAY['a=>1'::"Ext".hstore], 'X')"""
        )
        config = configured(tmp_path, database)
        backup(config, format_)
        before = fingerprint(database)
        database.run("DROP TABLE t, plain; DROP EXTENSION hstore")
        without = fingerprint(database)
        for job in ({}, {"as_name": "u"}):
            with pytest.raises(VersionMismatch, match=r"public\.t needs types .*: Ext\.hstore$") as refused:
                plan(config, "t", **job)
            assert "CREATE EXTENSION" in refused.value.hint
        assert fingerprint(database) == without
        assert bring(config, "plain").rows == {"public.plain": 0}
        database.run('CREATE EXTENSION hstore SCHEMA "Ext"')
        assert bring(config, "t").rows == {"public.t": 1}
        assert fingerprint(database) == before


# -- foreign keys that the server does not check ----------------------------------------------


ASLEEP = {
    "the session": "ALTER DATABASE {} SET session_replication_role = replica",
    "the table": "ALTER TABLE public.item DISABLE TRIGGER ALL",
}


@pytest.mark.parametrize("where", ASLEEP)
def test_e12_keys_whose_checks_a_superuser_switched_off_are_looked_at_row_by_row(
    shop: Shop, where: str
) -> None:
    config, database = shop
    backup(config)
    database.run("DELETE FROM public.item; DELETE FROM public.customer WHERE id = 3")
    database.run(ASLEEP[where].format(database.name))
    before = fingerprint(database)
    with pytest.raises(Refused, match=r"rows of public\.item break the foreign key item_customer_fkey") as no:
        bring(config, "item")
    assert "--as=NAME" in no.value.hint
    assert "is as it was" in no.value.state
    assert fingerprint(database) == before
    # together they hold, and what was switched off still is
    bring(config, "item", "customer")
    checks = (
        "SELECT DISTINCT tgenabled FROM pg_trigger WHERE tgrelid = 'public.item'::regclass AND tgisinternal"
    )
    assert database.run(checks) == [("D" if where == "the table" else "O",)]


def test_e12_the_keys_of_a_partition_are_those_of_its_table(shop: Shop) -> None:
    config, database = shop
    database.run(
        "CREATE TABLE public.sale (id int, customer int REFERENCES public.customer) PARTITION BY RANGE (id);"
        " CREATE TABLE public.sale_1 PARTITION OF public.sale FOR VALUES FROM (0) TO (100);"
        " INSERT INTO public.sale SELECT g, g FROM generate_series(1, 5) g"
    )
    backup(config)
    database.run("DELETE FROM public.sale; DELETE FROM public.item; DELETE FROM public.customer WHERE id = 3")
    database.run(f'ALTER DATABASE "{database.name}" SET session_replication_role = replica')
    for name in ("sale", "sale_1"):
        with pytest.raises(Refused, match=r"rows of public\.sale break the foreign key"):
            bring(config, name)
    assert database.run("SELECT count(*) FROM public.sale") == [(0,)]


# -- what else would act, stand behind, or differ -------------------------------------------------


def test_e13_rules_do_not_act_on_rows_that_come_as_inserts(shop: Shop) -> None:
    config, database = shop
    database.run(
        "CREATE RULE told AS ON INSERT TO public.item DO ALSO INSERT INTO public.log VALUES ('rule');"
        " CREATE RULE off AS ON INSERT TO public.item DO ALSO INSERT INTO public.log VALUES ('off');"
        " ALTER TABLE public.item DISABLE RULE off; TRUNCATE public.log"
    )
    made = backup(config, Format.SQL, extra=("--inserts",))
    before = fingerprint(database)
    database.run("DELETE FROM public.item WHERE id > 50; TRUNCATE public.log")
    assert bring(config, "item", file=made.id).rows == {"public.item": 100}
    assert fingerprint(database) == before
    database.run("INSERT INTO public.item (price) VALUES (1)")
    assert database.run("SELECT what FROM public.log WHERE what <> 'INSERT'") == [("rule",)]


def test_e14_sequences_of_other_steps_and_downwards_go_on_beyond_the_rows(shop: Shop) -> None:
    config, database = shop
    database.run(
        "CREATE TABLE public.down (id int GENERATED BY DEFAULT AS IDENTITY (START -1 INCREMENT -3 MINVALUE -999 MAXVALUE -1)"
        " PRIMARY KEY, v text); CREATE TABLE public.fives (id int GENERATED BY DEFAULT AS IDENTITY (INCREMENT 5), v text);"
        " INSERT INTO public.down (v) SELECT 'x' FROM generate_series(1, 10);"
        " INSERT INTO public.fives (v) SELECT 'x' FROM generate_series(1, 10);"
        # the sequence is behind what somebody wrote by hand
        " INSERT INTO public.down VALUES (-500, 'y'); INSERT INTO public.fives VALUES (501, 'y')"
    )
    backup(config)
    database.run("DELETE FROM public.down; DELETE FROM public.fives")
    database.run("ALTER SEQUENCE public.down_id_seq RESTART; ALTER SEQUENCE public.fives_id_seq RESTART")
    bring(config, "down", "fives")
    ((next_down,),) = database.run("INSERT INTO public.down (v) VALUES ('n') RETURNING id")
    ((next_five,),) = database.run("INSERT INTO public.fives (v) VALUES ('n') RETURNING id")
    assert (next_down, next_five) == (-502, 506)


def test_e16_materialized_views_behind_views_are_named_in_the_order_to_refresh_them(shop: Shop) -> None:
    config, database = shop
    database.run(
        "CREATE MATERIALIZED VIEW public.totals AS SELECT count(*) FROM public.dear;"
        " CREATE MATERIALIZED VIEW public.again AS SELECT * FROM public.totals;"
        " CREATE MATERIALIZED VIEW public.others AS SELECT count(*) FROM public.customer"
    )
    backup(config)
    database.run("UPDATE public.item SET price = 0; REFRESH MATERIALIZED VIEW public.totals")
    database.run("REFRESH MATERIALIZED VIEW public.again")
    planned = plan(config, "item")
    (told,) = [text for text in planned.warnings if "materialized" in text]
    commands = told.partition("refreshed: ")[2]
    assert commands.split("; ") == [
        "REFRESH MATERIALIZED VIEW public.totals",
        "REFRESH MATERIALIZED VIEW public.again",
    ]
    dbtasks.restore_tables(config, planned)
    assert database.run("SELECT * FROM public.again") == [(0,)]
    database.run(commands)
    assert database.run("SELECT * FROM public.again") == [(50,)]


def test_e17_a_migration_tools_table_comes_back_as_the_backup_has_it_or_not_at_all(shop: Shop) -> None:
    config, database = shop
    database.run(
        "CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY);"
        " INSERT INTO public.alembic_version VALUES ('9be03d2a1f00')"
    )
    backup(config)
    database.run("UPDATE public.alembic_version SET version_num = '4f1c2ab90d11'")
    database.run("ALTER TABLE public.item ADD CONSTRAINT small CHECK (price < 60) NOT VALID")
    with pytest.raises(dbtasks.DbTasksError):
        bring(config, "alembic_version", "item")
    assert database.run("SELECT version_num FROM public.alembic_version") == [("4f1c2ab90d11",)]
    bring(config, "alembic_version")
    assert database.run("SELECT version_num FROM public.alembic_version") == [("9be03d2a1f00",)]


@pytest.mark.long
@pytest.mark.parametrize("format_", FORMATS)
def test_e15_e19_rows_that_are_not_those_of_the_manifest_are_taken_back_and_so_is_the_sequence(
    shop: Shop, format_: Format
) -> None:
    config, database = shop
    made = backup(config, format_)
    tables = tuple(replace(t, rows=99) if t.name == "public.item" else t for t in made.manifest.tables)
    path = made.path.with_name(made.path.name + SUFFIX)
    path.write_bytes(dump_manifest(replace(made.manifest, tables=tables)))
    database.run("DELETE FROM public.item WHERE id > 5; ALTER SEQUENCE public.item_id_seq RESTART WITH 3")
    before = fingerprint(database)
    for job in ({}, {"as_name": "copy"}):
        with pytest.raises(CountsDiffer) as differ:
            bring(config, "item", **job)
        assert differ.value.exit_code == 5
        assert "100 instead of 99" in differ.value.details
        assert fingerprint(database) == before
    log = [json.loads(line) for line in (config.backup_dir / "log.jsonl").read_text().splitlines()]
    assert [line["ok"] for line in log if line["task"] == "restore"] == [False, False]


# -- what a created table meets ---------------------------------------------------------------------


def test_e13_a_sequence_whose_own_table_is_gone_comes_without_it(shop: Shop) -> None:
    config, database = shop
    database.run(
        "CREATE TABLE public.first (id serial PRIMARY KEY);"
        " CREATE TABLE public.second (id int DEFAULT nextval('public.first_id_seq'), v int)"
    )
    database.run("INSERT INTO public.second (v) SELECT g FROM generate_series(1, 3) g")
    backup(config)
    database.run("DROP TABLE public.second, public.first")
    for name, as_name in (("second", None), ("copy", "copy")):
        planned = plan(config, "second", as_name=as_name)
        assert any("first_id_seq belonged to public.first" in words for words in planned.warnings)
        assert dbtasks.restore_tables(config, planned).rows == {f"public.{name}": 3}
        assert database.run(f"INSERT INTO public.{name} DEFAULT VALUES RETURNING id") == [(4,)]
        database.run(f"DROP TABLE public.{name}; DROP SEQUENCE public.first_id_seq")
    # with its table it belongs to that again
    bring(config, "first", "second")
    database.run("DROP TABLE public.second; DROP TABLE public.first")
    assert database.run("SELECT to_regclass('public.first_id_seq') IS NULL") == [(True,)]


def test_e06_a_type_or_an_index_of_the_tables_name_is_told_by_the_plan(shop: Shop) -> None:
    config, database = shop
    database.run("CREATE TABLE public._log (id int); INSERT INTO public._log VALUES (1)")
    backup(config)
    database.run("DROP TABLE public._log")
    for make, drop in (
        ("CREATE TYPE public._log AS ENUM ('a')", "DROP TYPE public._log"),
        ("CREATE INDEX _log ON public.customer (name)", "DROP INDEX public._log"),
    ):
        database.run(make)
        with pytest.raises(Refused, match=r"the table public\._log would be created, and there is something"):
            plan(config, "_log")
        database.run(drop)
    # the name of the arrays of another table's rows is free for all that
    database.run("DROP TABLE public.log; CREATE TABLE public.log (what text)")
    assert bring(config, "_log").rows == {"public._log": 1}


def test_e06_functions_that_a_created_table_calls_and_are_gone_are_told_by_the_plan(shop: Shop) -> None:
    config, database = shop
    database.run(
        "CREATE FUNCTION public.low(t text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT pg_catalog.lower(t)';"
        " CREATE FUNCTION public.fine(n int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT n > 0';"
        " CREATE DOMAIN public.some AS int CHECK (public.fine(VALUE));"
        " CREATE TABLE public.tag (id public.some, name text CHECK (public.low(name) <> ''), EXCLUDE (id WITH =));"
        " CREATE INDEX ON public.tag (public.low(name)); INSERT INTO public.tag VALUES (1, 'A')"
    )
    backup(config)
    assert bring(config, "tag", as_name="copy").rows == {"public.copy": 1}
    database.run(
        "DROP VIEW public.dear; DROP TABLE public.copy, public.tag, public.item; DROP FUNCTION public.low, public.noted"
    )
    with pytest.raises(Refused, match=r"public\.tag needs functions that are not here: public\.low\(\)"):
        plan(config, "tag")
    with pytest.raises(Refused, match=r"public\.item needs functions that are not here: public\.noted\(\)"):
        plan(config, "item")
    # a copy has no triggers
    assert bring(config, "item", as_name="copy").rows == {"public.copy": 100}


def test_e06_forced_row_security_that_hides_rows_from_the_owner_is_told_by_the_plan(
    shop: Shop, pg: PgServer, tmp_path: Path
) -> None:
    config, database = shop
    role = pg.create_role("LOGIN")
    database.run(
        f'CREATE SCHEMA mine AUTHORIZATION "{role.user}"; CREATE TABLE mine.t (id int, o text);'
        " INSERT INTO mine.t VALUES (1, 'a'), (2, 'b'); CREATE POLICY p ON mine.t USING (o = 'a');"
        " ALTER TABLE mine.t ENABLE ROW LEVEL SECURITY; ALTER TABLE mine.t FORCE ROW LEVEL SECURITY;"
        f' ALTER TABLE mine.t OWNER TO "{role.user}"'
    )
    made = backup(config)
    own = configured(tmp_path, database.seen_by(role))
    told = rf"row-level security is forced on mine\.t, and hides rows from {role.user}"
    for as_name in (None, "copy"):
        with pytest.raises(RightMissing, match=told):
            plan(own, "mine.t", file=made.id, as_name=as_name, skip_safety_backup=True)
    with pytest.raises(RightMissing, match=told):
        plan(config, "mine.t", role=role.user)
    assert bring(config, "mine.t").rows == {"mine.t": 2}
    database.run("DROP TABLE mine.t")
    with pytest.raises(RightMissing, match=told):
        plan(own, "mine.t", file=made.id)
    assert bring(config, "mine.t").rows == {"mine.t": 2}
    database.run("ALTER TABLE mine.t NO FORCE ROW LEVEL SECURITY")
    assert bring(own, "mine.t", file=made.id, skip_safety_backup=True).rows == {"mine.t": 2}


def test_tables_that_refer_to_each_other_go_again_by_the_one_statement_that_is_told(shop: Shop) -> None:
    config, database = shop
    database.run("CREATE VIEW kept AS SELECT 1; ALTER TABLE public.item DROP CONSTRAINT item_customer_fkey")
    database.run("ALTER TABLE public.customer ADD item int REFERENCES public.item")
    backup(config)
    database.run("DROP TABLE public.item, public.customer CASCADE")
    without = fingerprint(database)
    result = bring(config, "item", "customer")
    assert result.way_back == 'DROP TABLE "public"."item", "public"."customer";'
    database.run(result.way_back)
    assert fingerprint(database) == without


def test_another_restore_between_the_plan_and_the_tables_is_refused_before_an_undo_is_promised(
    shop: Shop,
) -> None:
    config, database = shop
    backup(config)
    planned = plan(config, "item")
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob("latest")))
    database.run("DELETE FROM public.item")
    with pytest.raises(Refused, match="another restore took its place") as refused:
        dbtasks.restore_tables(config, planned)
    assert refused.value.state == f"{database.name} was not touched"
    assert database.run("SELECT count(*) FROM public.item") == [(0,)]
    # planned anew it goes, and what it promises holds
    assert dbtasks.restore_tables(config, plan(config, "item")).way_back == "db.undo"
    dbtasks.undo(config, dbtasks.plan_undo(config))
    assert database.run("SELECT count(*) FROM public.item") == [(0,)]


def test_rows_that_were_left_out_hold_up_only_the_tables_that_would_be_emptied(shop: Shop) -> None:
    config, database = shop
    database.run(
        "CREATE TABLE parts (d int) PARTITION BY LIST (d); CREATE TABLE part_1 PARTITION OF parts FOR VALUES IN (1);"
        " CREATE TABLE parts_rest PARTITION OF parts DEFAULT; INSERT INTO parts VALUES (1), (2)"
    )
    made = backup(config, exclude_data=("log", "part_1"))
    database.run("DELETE FROM public.item; DROP TABLE public.log")
    planned = plan(config, "item", "log", file=made.id)
    assert any("public.log: the rows were left out" in text for text in planned.warnings)
    result = dbtasks.restore_tables(config, planned)
    assert result.rows == {"public.item": 100, "public.log": 0}
    assert bring(config, "parts", file=made.id, as_name="copy").rows == {"public.copy": 1}
    # what belonged into a partition that is gone would be lost from the one that took its place
    database.run("DROP TABLE part_1; INSERT INTO parts VALUES (1)")
    with pytest.raises(Refused, match=r"the rows of public\.part_1 were left out"):
        plan(config, "parts", file=made.id)


@pytest.mark.long
@pytest.mark.parametrize("format_", FORMATS)
def test_a_dump_that_quotes_every_name_fits_as_one_that_does_not(shop: Shop, format_: Format) -> None:
    config, database = shop
    database.run(
        "CREATE TYPE public.\"Mood\" AS ENUM ('a'); CREATE TABLE wide (a public.\"Mood\" DEFAULT 'a' NOT NULL, b text[],"
        ' c "char", d timestamptz(3), e numeric(5,2)[], f interval day to second, g varchar COLLATE "C", h public.colour[], i bit(3))'
    )
    backup(config, format_, extra=("--quote-all-identifiers",))
    before = fingerprint(database)
    database.run("UPDATE public.item SET price = 1")
    bring(config, "item", "customer", "wide")
    assert fingerprint(database) == before
    assert bring(config, "item", as_name="copy").rows == {"public.copy": 100}
    changes = {
        "b": "text", "f": "interval", "d": "timestamptz", "e": "numeric(5,2)", "i": "bit(4)", "h": "public.colour USING NULL",
    }  # fmt: skip
    for column, now in changes.items():
        using = "" if "USING" in now else f" USING NULL::{now}"
        database.run(f"ALTER TABLE wide ALTER {column} TYPE {now}{using}")
        with pytest.raises(Refused, match=rf"{column} is .* here and was another type"):
            plan(config, "wide")


@pytest.mark.parametrize("name", ["", "public.", ".copy", '""'])
def test_a_copy_needs_a_name(shop: Shop, name: str) -> None:
    config, database = shop
    backup(config)
    before = fingerprint(database)
    with pytest.raises(UsageError, match="no name for a table"):
        plan(config, "item", as_name=name)
    assert fingerprint(database) == before
