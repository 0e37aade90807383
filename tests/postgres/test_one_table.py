"""One table of a backup back into a live PostgreSQL database: created, its rows replaced, or beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.errors import Refused, UsageError
from dbtasks.journal import read_restores
from dbtasks.models import Format
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres import rich
from tests.postgres.projects import configured
from tests.postgres.rich import count, fingerprint

FORMATS = [Format.CUSTOM, Format.SQL, Format.DIRECTORY]


def backup(config: dbtasks.Settings, format_: Format = Format.CUSTOM, **request: Any) -> dbtasks.Backup:
    job = dbtasks.BackupJob(request=dbtasks.DumpRequest(format=format_, **request))
    return dbtasks.backup(config, job)


def plan(config: dbtasks.Settings, *tables: str, **job: Any) -> dbtasks.TablesPlan:
    return dbtasks.plan_restore_tables(config, dbtasks.TablesJob(tables, **job))


def bring(config: dbtasks.Settings, *tables: str, **job: Any) -> dbtasks.TablesResult:
    return dbtasks.restore_tables(config, plan(config, *tables, **job))


def dump_of(database: PgDatabase, table: str) -> str:
    """One table with all that is its own, as pg_dump shows it."""
    text = rich.tool(database.server, "pg_dump", "-Fp", "-t", table, database.name).decode()
    return "\n".join(line for line in text.splitlines() if not line.startswith(("\\", "-- Dumped")))


SHOP = """
CREATE TYPE public.colour AS ENUM ('red', 'green');
CREATE TABLE public.customer (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE,
    tint public.colour DEFAULT 'red', CHECK (name <> ''));
CREATE TABLE public.item (id serial PRIMARY KEY, name text NOT NULL DEFAULT 'a''b\\c', price numeric(10,2) CHECK (price >= 0),
    doubled numeric GENERATED ALWAYS AS (price * 2) STORED, customer integer REFERENCES public.customer (id));
CREATE INDEX item_lower ON public.item (lower(name));
CREATE INDEX ON public.item (price) WHERE price > 1;
COMMENT ON TABLE public.item IS 'things; with ''quotes''';
COMMENT ON COLUMN public.item.price IS 'in euro';
CREATE TABLE public.log (what text);
CREATE FUNCTION public.noted() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.log VALUES (TG_OP); RETURN NEW; END$$;
CREATE VIEW public.dear AS SELECT id, name FROM public.item WHERE price > 50;
CREATE STATISTICS public.item_stats ON name, price FROM public.item;
INSERT INTO public.customer (name) SELECT 'c' || g FROM generate_series(1, 5) g;
INSERT INTO public.item (name, price, customer) SELECT E'i\\t\\\\' || g, g, 1 + g % 5 FROM generate_series(1, 100) g;
CREATE TRIGGER noting AFTER INSERT OR DELETE OR TRUNCATE ON public.item FOR EACH STATEMENT EXECUTE FUNCTION public.noted();
ALTER TABLE public.item ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_of_it ON public.item USING (true);
GRANT SELECT ON public.item TO PUBLIC;
"""


Shop = tuple[dbtasks.Settings, PgDatabase]


@pytest.fixture
def shop(tmp_path: Path, pg_db: PgDatabase) -> Shop:
    pg_db.run(SHOP)
    return configured(tmp_path, pg_db), pg_db


@pytest.fixture
def any_shop(tmp_path: Path, any_db: PgDatabase) -> Shop:
    any_db.run(SHOP)
    return configured(tmp_path, any_db), any_db


# -- the table is gone ----------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
def test_e06_a_table_that_was_dropped_comes_back_with_all_that_was_its_own(
    any_shop: Shop, format_: Format
) -> None:
    config, database = any_shop
    before, rows = fingerprint(database), count(database)
    view = "CREATE VIEW public.dear AS SELECT id, name FROM public.item WHERE price > 50"
    backup(config, format_)
    database.run("DROP TABLE public.item CASCADE; INSERT INTO public.log VALUES ('later')")
    result = bring(config, "item")
    assert result.rows == {"public.item": 100}
    assert result.checked_against_manifest
    assert result.safety_backup is None
    assert result.way_back == 'DROP TABLE "public"."item";'
    database.run(f"DELETE FROM public.log WHERE what = 'later'; {view}")
    assert count(database) == rows
    assert fingerprint(database) == before
    assert database.run("INSERT INTO public.item (price) VALUES (1) RETURNING id, doubled") == [(101, 2)]


# -- the table is there -----------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
def test_e06_e09_e13_e14_rows_are_replaced_in_place_and_nothing_else_is_touched(
    any_shop: Shop, format_: Format
) -> None:
    config, database = any_shop
    database.run("TRUNCATE public.log")
    wanted = dump_of(database, "public.item")
    backup(config, format_)
    database.run("UPDATE public.item SET price = 0; DELETE FROM public.item WHERE id < 50")
    database.run(
        "INSERT INTO public.item (price) SELECT 7 FROM generate_series(1, 5); UPDATE public.customer SET name = 'x' || id"
    )
    database.run("TRUNCATE public.log")
    result = bring(config, "public.item")
    assert result.rows == {"public.item": 100}
    assert database.run("SELECT count(*), sum(price) FROM public.item") == [(100, 5050)]
    assert database.run("SELECT count(*) FROM public.log") == [(0,)]
    assert database.run("SELECT count(*) FROM public.customer WHERE name LIKE 'x%'") == [(5,)]
    assert database.run("SELECT count(*) FROM public.dear") == [(50,)]
    # the five that were added since have had their numbers
    assert database.run("INSERT INTO public.item (price) VALUES (1) RETURNING id") == [(106,)]
    assert database.run("SELECT count(*) FROM public.log") == [(1,)]
    database.run("DELETE FROM public.item WHERE id > 100; ALTER SEQUENCE public.item_id_seq RESTART WITH 101")
    database.run("SELECT setval('public.item_id_seq', 100)")
    assert dump_of(database, "public.item") == wanted


def test_b06_identity_always_and_generated_columns_come_right(shop: Shop) -> None:
    config, database = shop
    backup(config)
    database.run("DELETE FROM public.item; DELETE FROM public.customer WHERE id < 3")
    bring(config, "customer", "item")
    assert database.run("SELECT array_agg(id ORDER BY id) FROM public.customer") == [([1, 2, 3, 4, 5],)]
    assert database.run("SELECT count(*) FROM public.item WHERE doubled = price * 2") == [(100,)]
    assert database.run("INSERT INTO public.customer (name) VALUES ('next') RETURNING id") == [(6,)]


def test_e14_a_sequence_never_goes_back_and_is_beyond_the_rows(shop: Shop) -> None:
    config, database = shop
    database.run("SELECT setval('public.item_id_seq', 500)")
    backup(config)
    database.run("DELETE FROM public.item; ALTER SEQUENCE public.item_id_seq RESTART")
    bring(config, "item")
    # as recorded
    assert database.run("SELECT nextval('public.item_id_seq')") == [(501,)]
    database.run("SELECT setval('public.item_id_seq', 9000)")
    bring(config, "item")
    # as it stands
    assert database.run("SELECT nextval('public.item_id_seq')") == [(9001,)]
    database.run("ALTER SEQUENCE public.item_id_seq RESTART; UPDATE public.item SET id = id + 2000")
    backup(config)
    bring(config, "item")
    # beyond the rows
    assert database.run("SELECT nextval('public.item_id_seq')") == [(2101,)]


def test_e15_a_load_that_fails_leaves_rows_triggers_keys_and_sequence_as_they_were(shop: Shop) -> None:
    config, database = shop
    backup(config)
    database.run("ALTER TABLE public.item ADD CONSTRAINT small CHECK (price < 60) NOT VALID")
    database.run("DELETE FROM public.item WHERE id > 5; ALTER SEQUENCE public.item_id_seq RESTART WITH 3")
    before = fingerprint(database)
    with pytest.raises(dbtasks.DbTasksError, match="broke off") as failed:
        bring(config, "item")
    assert "small" in failed.value.details
    assert "is as it was" in failed.value.state
    assert "what it held when this began was backed up" in failed.value.state
    assert fingerprint(database) == before
    (record,) = read_restores(config.backup_dir)
    assert record["state"].startswith("failed")


def test_e13_triggers_are_afterwards_as_each_was(shop: Shop) -> None:
    config, database = shop
    for name, act in (("off", "DISABLE"), ("always", "ENABLE ALWAYS"), ("replica", "ENABLE REPLICA")):
        database.run(
            f"CREATE TRIGGER {name} BEFORE INSERT ON public.item FOR EACH ROW EXECUTE FUNCTION public.noted();"
            f" ALTER TABLE public.item {act} TRIGGER {name}"
        )
    backup(config)
    before = dump_of(database, "public.item")
    database.run("TRUNCATE public.log")
    bring(config, "item")
    assert dump_of(database, "public.item") == before
    assert database.run("SELECT count(*) FROM public.log") == [(0,)]


@pytest.mark.parametrize("format_", FORMATS)
def test_e11_tables_that_refer_to_each_other_come_together_by_their_owner_and_their_keys_stay_as_they_are(
    shop: Shop, tmp_path: Path, pg: PgServer, format_: Format
) -> None:
    _, database = shop
    role = pg.create_role("LOGIN")
    database.run(
        "CREATE TABLE public.a (id int PRIMARY KEY, b int);"
        " CREATE TABLE public.b (id int PRIMARY KEY, a int REFERENCES public.a, up int REFERENCES public.b DEFERRABLE);"
        " INSERT INTO public.b VALUES (1, NULL, NULL), (2, NULL, 1); INSERT INTO public.a VALUES (1, 2), (2, 1);"
        " UPDATE public.b SET a = id; ALTER TABLE public.a ADD CONSTRAINT a_b FOREIGN KEY (b)"
        f' REFERENCES public.b (id) ON DELETE CASCADE; ALTER TABLE public.a OWNER TO "{role.user}";'
        f' ALTER TABLE public.b OWNER TO "{role.user}"'
    )
    made = backup(configured(tmp_path, database), format_)
    before = fingerprint(database)
    database.run("UPDATE public.b SET a = NULL, up = NULL; DELETE FROM public.a")
    own = configured(tmp_path, database.seen_by(role))
    bring(own, "a", "b", file=made.id, skip_safety_backup=True)
    assert fingerprint(database) == before


def test_e10_a_foreign_key_of_another_table_is_refused_and_named_with_the_ways_left(shop: Shop) -> None:
    config, database = shop
    backup(config)
    before = fingerprint(database)
    with pytest.raises(Refused) as refused:
        plan(config, "customer")
    assert "item_customer_fkey of public.item → public.customer" in refused.value.message
    assert "--table=public.item" in refused.value.hint
    assert "--as=NAME" in refused.value.hint
    assert fingerprint(database) == before
    assert read_restores(config.backup_dir) == []


def test_e10_a_foreign_key_that_came_after_the_plan_is_refused_as_well(shop: Shop) -> None:
    config, database = shop
    backup(config)
    planned = plan(config, "item")
    database.run(
        "CREATE TABLE public.late (item int REFERENCES public.item); INSERT INTO public.late VALUES (3)"
    )
    with pytest.raises(Refused, match="late_item_fkey"):
        dbtasks.restore_tables(config, planned)
    assert database.run("SELECT item FROM public.late") == [(3,)]


def test_e10_rows_that_refer_to_what_is_not_there_are_refused_and_the_key_is_named(shop: Shop) -> None:
    config, database = shop
    backup(config)
    database.run("DELETE FROM public.item; DELETE FROM public.customer WHERE id = 3")
    before = fingerprint(database)
    with pytest.raises(Refused, match="item_customer_fkey") as refused:
        bring(config, "item")
    assert refused.value.exit_code == 6
    assert "--as=NAME" in refused.value.hint
    assert fingerprint(database) == before
    # the same where the table has to be created
    database.run("DROP TABLE public.item CASCADE")
    with pytest.raises(Refused, match="item_customer_fkey"):
        bring(config, "item")
    assert database.run("SELECT to_regclass('public.item') IS NULL") == [(True,)]
    database.run("DROP TABLE public.customer")
    with pytest.raises(Refused, match=r"public\.customer, which is not there"):
        plan(config, "item")
    assert bring(config, "item", "customer").rows == {"public.customer": 5, "public.item": 100}


def test_a_foreign_key_that_was_lost_with_the_table_is_told_with_the_statement_that_makes_it_anew(
    shop: Shop,
) -> None:
    config, database = shop
    backup(config)
    database.run("DROP TABLE public.customer CASCADE")
    planned = plan(config, "customer")
    (lost,) = [text for text in planned.warnings if "referred to" in text]
    dbtasks.restore_tables(config, planned)
    database.run(lost.partition("after this: ")[2])
    assert database.run("SELECT count(*) FROM pg_constraint WHERE conname = 'item_customer_fkey'") == [(1,)]


def test_e18_columns_that_differ_are_listed_before_anything_is_touched(shop: Shop) -> None:
    config, database = shop
    backup(config)
    database.run(
        "DROP VIEW public.dear; ALTER TABLE public.item DROP COLUMN name, DROP COLUMN doubled;"
        " ALTER TABLE public.item ALTER price TYPE numeric(8,1), ADD COLUMN must text NOT NULL DEFAULT '', ADD COLUMN may text;"
        " ALTER TABLE public.item ALTER must DROP DEFAULT"
    )
    before = fingerprint(database)
    with pytest.raises(Refused) as refused:
        plan(config, "item")
    for text in ("name is gone", "price is numeric(8,1) here", "must is new and may not be empty"):
        assert text in refused.value.message
    assert "may is new" not in refused.value.message
    assert fingerprint(database) == before


def test_e18_new_columns_that_may_be_empty_get_their_default_and_that_is_said(shop: Shop) -> None:
    config, database = shop
    backup(config)
    database.run("ALTER TABLE public.item ADD COLUMN stock int NOT NULL DEFAULT 5, ADD COLUMN note text")
    result = bring(config, "item")
    assert any("stock, note did not exist" in text for text in result.warnings)
    assert database.run("SELECT DISTINCT stock, note FROM public.item") == [(5, None)]


def test_e19_counts_that_differ_from_the_manifest_roll_everything_back(shop: Shop) -> None:
    from dataclasses import replace

    config, database = shop
    backup(config)
    database.run("DELETE FROM public.item WHERE id > 5")
    before = fingerprint(database)
    planned = plan(config, "item")
    (table,) = planned.part.tables
    wrong = replace(planned, part=replace(planned.part, tables=(replace(table, backup_rows=99),)))
    with pytest.raises(dbtasks.DbTasksError, match="did not come back") as failed:
        dbtasks.restore_tables(config, wrong)
    assert failed.value.exit_code == 5
    assert fingerprint(database) == before


def test_e11_a_created_table_refers_to_a_replaced_one_that_refers_to_others(any_shop: Shop) -> None:
    config, database = any_shop
    database.run(
        "CREATE TABLE public.review (id int PRIMARY KEY, item int REFERENCES public.item, up int REFERENCES public.review);"
        " INSERT INTO public.review SELECT g, g, 1 FROM generate_series(1, 100) g; TRUNCATE public.log"
    )
    backup(config)
    before = fingerprint(database)
    database.run("DROP TABLE public.review; DELETE FROM public.item WHERE id > 10; TRUNCATE public.log")
    result = bring(config, "review", "item")
    assert result.rows == {"public.item": 100, "public.review": 100}
    assert fingerprint(database) == before


# -- which table ------------------------------------------------------------------------------


def test_e07_a_table_the_backup_does_not_hold_is_an_error_with_the_nearest_names(shop: Shop) -> None:
    config, database = shop
    database.run('CREATE SCHEMA other; CREATE TABLE other.item (a int); CREATE TABLE public."Item" (a int)')
    backup(config)
    for name, hint in (
        ("itm", "did you mean"),
        ("ITEM", "did you mean"),
        ("public.custmer", "public.customer"),
        ("p*", "it holds"),
        ("nosuch.thing", ""),
    ):
        with pytest.raises(UsageError, match="the backup holds no such table") as unknown:
            plan(config, name)
        assert hint in unknown.value.hint
    with pytest.raises(UsageError, match="several schemas") as several:
        plan(config, "item")
    assert "other.item" in several.value.hint
    with pytest.raises(Refused, match="that is a view"):
        plan(config, "dear")
    assert plan(config, "other.item").part.tables[0].name == "other.item"
    assert plan(config, '"Item"').part.tables[0].name == "public.Item"


@pytest.mark.long
@pytest.mark.parametrize("format_", FORMATS)
def test_a21_b07_hostile_names_mean_exactly_the_table_they_name(shop: Shop, format_: Format) -> None:
    config, database = shop
    hostile = rich.HOSTILE
    quoted = '"' + hostile.replace('"', '""') + '"'
    names = [hostile, "-t item", "p*", "a.b", "Upper Case", "ünïcode", "x" * 63]
    for name in names[1:]:
        database.run(f'CREATE TABLE public."{name}" (id serial PRIMARY KEY, "Sel ect" text UNIQUE)')
        database.run(f"""INSERT INTO public."{name}" ("Sel ect") VALUES ('a'), (E'\\.\n')""")
    database.run(f'CREATE TABLE {quoted} ({quoted} text PRIMARY KEY, "select" serial)')
    database.run(f"INSERT INTO {quoted} VALUES ($q$\\.$q$), ('\\! touch /tmp/dbtasks-was-here')")
    backup(config, format_)
    before = fingerprint(database)
    given = ['"' + name.replace('"', '""') + '"' for name in names]
    for name in given:
        database.run(f"DROP TABLE public.{name}")
    bring(config, *given)
    assert fingerprint(database) == before
    for name in given:
        database.run(f"DELETE FROM public.{name}")
    bring(config, *given)
    assert fingerprint(database) == before
    bring(config, given[0], as_name='"ano""ther -- name"')
    copied = database.run('SELECT * FROM public."ano""ther -- name" ORDER BY 2')
    assert copied == database.run(f"SELECT * FROM public.{given[0]} ORDER BY 2")
    assert not Path("/tmp/dbtasks-was-here").exists()
