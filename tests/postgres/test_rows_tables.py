"""Single tables of a PostgreSQL rows backup back into a live database: created, their rows replaced, or beside."""

from __future__ import annotations

from pathlib import Path

import psycopg2
import pytest

import dbtasks
from dbtasks.engines.postgres.rows import set_aside
from dbtasks.errors import Refused, RightMissing, UsageError
from dbtasks.rows.postgres.spelling import split_name
from dbtasks.settings import Settings
from tests.fix_postgres import PgDatabase
from tests.moments import failures_at_each_phase
from tests.postgres import odd
from tests.postgres.portable import described, lines_of, texts_of
from tests.postgres.test_one_table import SHOP, bring, plan
from tests.postgres.test_rows_restore import backed_up, settings_of, state_of

Shop = tuple[Settings, PgDatabase]

MEASURES = """
CREATE TABLE public.place (id integer PRIMARY KEY);
CREATE TABLE public.measure (day date NOT NULL, place integer REFERENCES public.place, value numeric CHECK (value >= 0),
    PRIMARY KEY (day, place)) PARTITION BY RANGE (day);
CREATE TABLE public.m24 PARTITION OF public.measure FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE public.m25 PARTITION OF public.measure FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE INDEX measure_value ON public.measure (value);
INSERT INTO public.place VALUES (1), (2);
INSERT INTO public.measure VALUES ('2024-05-05', 1, 3), ('2025-05-05', 2, 4), ('2025-06-06', 1, 5);
"""


@pytest.fixture
def shop(tmp_path: Path, pg_db: PgDatabase) -> Shop:
    pg_db.run(SHOP)
    config = settings_of(pg_db, tmp_path)
    backed_up(config)
    return config, pg_db


@pytest.fixture
def measures(tmp_path: Path, pg_db: PgDatabase) -> Shop:
    pg_db.run(MEASURES)
    config = settings_of(pg_db, tmp_path)
    backed_up(config)
    return config, pg_db


def test_e06_a_table_that_was_dropped_comes_back_with_keys_indexes_rows_and_next_number(
    any_db: PgDatabase, tmp_path: Path
) -> None:
    any_db.run(SHOP)
    config = settings_of(any_db, tmp_path)
    backed_up(config)
    before, rows = lines_of(described(any_db)), texts_of(any_db)
    any_db.run("DROP TABLE public.item CASCADE")
    planned = plan(config, "item")
    assert any(said.startswith("public.item: a rows backup holds no triggers") for said in planned.warnings)
    result = dbtasks.restore_tables(config, planned)
    assert (result.rows, result.checked_against_manifest) == ({"public.item": 100}, True)
    assert (result.safety_backup, result.way_back) == (None, 'DROP TABLE "public"."item";')
    assert lines_of(described(any_db)) == before
    assert texts_of(any_db) == rows
    assert any_db.run("INSERT INTO public.item (price) VALUES (1) RETURNING id, doubled") == [(101, 2)]


def test_e06_e09_e13_e14_rows_are_replaced_in_place_and_nothing_else_is_touched(shop: Shop) -> None:
    config, database = shop
    database.run("UPDATE public.item SET price = 0; DELETE FROM public.item WHERE id < 50")
    database.run("INSERT INTO public.item (price) SELECT 7 FROM generate_series(1, 5)")
    database.run("UPDATE public.customer SET name = 'x' || id; TRUNCATE public.log")
    definitions = lines_of(described(database))
    result = bring(config, "public.item")
    assert result.rows == {"public.item": 100}
    assert result.safety_backup is not None
    assert database.run("SELECT count(*), sum(price), sum(doubled) FROM public.item") == [(100, 5050, 10100)]
    assert database.run("SELECT count(*) FROM public.log") == [(0,)], "no trigger fired"
    assert database.run("SELECT count(*) FROM public.customer WHERE name LIKE 'x%'") == [(5,)]
    assert lines_of(described(database)) == definitions
    # the five that were added since have had their numbers
    assert database.run("INSERT INTO public.item (price) VALUES (1) RETURNING id") == [(106,)]
    assert database.run("SELECT count(*) FROM public.log") == [(1,)], "the trigger is awake again"


def test_a_copy_beside_has_its_own_sequence_and_indexes_and_no_foreign_keys(shop: Shop) -> None:
    config, database = shop
    before = state_of(database)
    database.run("CREATE SCHEMA rescue")
    result = bring(config, "item", as_name='rescue."Item then"')
    assert result.rows == {"rescue.Item then": 100}
    assert result.way_back == 'DROP TABLE "rescue"."Item then";'
    copy = described(database).table("rescue.Item then")
    assert copy is not None
    assert (copy.foreign_keys, len(copy.indexes)) == ((), 2)
    assert copy.primary_key is not None
    query = 'INSERT INTO rescue."Item then" (price) VALUES (4) RETURNING id, name, doubled'
    assert database.run(query) == [(101, "a'b\\c", 8)]
    assert database.run("SELECT last_value FROM public.item_id_seq") == [(100,)]
    assert bring(config, "customer", as_name="customer_then").rows == {"public.customer_then": 5}
    assert database.run("INSERT INTO public.customer_then (name) VALUES ('n') RETURNING id") == [(6,)]
    database.run('DROP TABLE rescue."Item then", public.customer_then')
    assert state_of(database) == before
    with pytest.raises(Refused, match="there is something of that name"):
        plan(config, "item", as_name="dear")


def test_e10_foreign_keys_in_the_way_are_refused_and_named(shop: Shop) -> None:
    config, database = shop
    before = state_of(database)
    with pytest.raises(
        Refused, match="a foreign key refers to what would be emptied: item_customer_fkey"
    ) as caught:
        plan(config, "customer")
    assert "--table=public.item" in caught.value.hint
    database.run("UPDATE public.item SET customer = 1; DELETE FROM public.customer WHERE id = 3")
    with pytest.raises(Refused, match="a foreign key is in the way"):
        bring(config, "item")
    assert database.run("SELECT count(*) FROM public.item WHERE customer = 1") == [(100,)]
    assert bring(config, "item", "customer").rows == {"public.customer": 5, "public.item": 100}
    database.run("TRUNCATE public.log; INSERT INTO public.log SELECT * FROM (VALUES ('INSERT')) x")
    assert state_of(database)["public.item"] == before["public.item"]
    database.run("DROP TABLE public.item, public.customer CASCADE")
    with pytest.raises(Refused, match=r"refers to public\.customer, which is not there"):
        plan(config, "item")
    # a row without its counterpart, in tables that are made
    database.run("CREATE TABLE public.customer (id integer PRIMARY KEY, name text, tint public.colour)")
    with pytest.raises(Refused, match="a foreign key is in the way"):
        bring(config, "item")
    assert database.run("SELECT to_regclass('public.item')") == [(None,)]


def test_e07_tables_the_backup_does_not_hold_and_rows_it_left_out_are_told(shop: Shop) -> None:
    config, database = shop
    with pytest.raises(UsageError, match="holds no such table") as caught:
        plan(config, "itm")
    assert "did you mean public.item" in caught.value.hint
    made = backed_up(config, exclude_data=("log",))
    with pytest.raises(Refused, match=r"the rows of public\.log were left out"):
        plan(config, "log", file=made.id)
    database.run("DROP TABLE public.log")
    assert bring(config, "log", file=made.id).rows == {"public.log": 0}
    alone = backed_up(config, data_only=True)
    with pytest.raises(Refused, match="holds rows only, without the definitions"):
        plan(config, "item", file=alone.id)


def test_e18_columns_that_differ_are_listed(shop: Shop) -> None:
    config, database = shop
    database.run(
        "ALTER TABLE public.item DROP COLUMN price CASCADE; ALTER TABLE public.item ALTER name TYPE varchar"
    )
    with pytest.raises(Refused, match=r"public\.item is not what it was in the backup.*price is not there"):
        plan(config, "item")


def test_what_a_created_table_needs_comes_with_it(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(
        "CREATE SCHEMA shop; CREATE DOMAIN shop.name AS text CHECK (VALUE <> ''); CREATE TYPE shop.both AS (a shop.name);"
        " CREATE SEQUENCE shop.number START 7; CREATE TABLE shop.t (id int DEFAULT nextval('shop.number'), b shop.both[]);"
        " CREATE TABLE kept (a int); INSERT INTO shop.t VALUES (DEFAULT, '{(x)}'); INSERT INTO kept VALUES (1)"
    )
    config = settings_of(pg_db, tmp_path)
    backed_up(config)
    before = lines_of(described(pg_db))
    pg_db.run("DROP SCHEMA shop CASCADE")
    bring(config, "shop.t")
    assert lines_of(described(pg_db)) == before
    assert pg_db.run("INSERT INTO shop.t DEFAULT VALUES RETURNING id") == [(8,)]


def test_partitions_are_replaced_emptied_and_attached(measures: Shop) -> None:
    config, database = measures
    before, rows = lines_of(described(database)), texts_of(database)
    database.run(
        "DROP TABLE public.m25; UPDATE public.measure SET value = 9;"
        " CREATE TABLE public.m26 PARTITION OF public.measure FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');"
        " INSERT INTO public.measure VALUES ('2026-02-02', 2, 1)"
    )
    result = bring(config, "measure")
    assert result.rows == {"public.m24": 1, "public.m25": 2, "public.m26": 0}
    database.run("DROP TABLE public.m26")
    assert lines_of(described(database)) == before
    assert texts_of(database) == rows
    # one of them alone, into its place
    database.run("DROP TABLE public.m25")
    assert bring(config, "m25").rows == {"public.m25": 2}
    assert lines_of(described(database)) == before
    assert bring(config, "measure", as_name="flat").rows == {"public.flat": 3}
    assert database.run("SELECT count(*) FROM public.flat") == [(3,)]
    database.run("DROP TABLE public.measure, public.flat")
    planned = plan(config, "m25")
    assert any("comes alone" in said for said in planned.warnings)
    dbtasks.restore_tables(config, planned)
    alone = described(database).table("public.m25")
    assert alone is not None
    assert alone.primary_key is not None
    assert (len(alone.foreign_keys), len(alone.checks), len(alone.indexes)) == (1, 1, 1)
    database.run("DROP TABLE public.m25")
    assert bring(config, "measure").rows == {"public.m24": 1, "public.m25": 2}
    assert lines_of(described(database)) == before


def test_e11_a_created_table_refers_to_a_replaced_one_whose_key_was_set_aside(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_aside, "REBUILT_FROM_ROWS", 1)
    config, database = shop
    before = lines_of(described(database))
    database.run("DROP TABLE public.item CASCADE; DELETE FROM public.customer")
    assert bring(config, "customer", "item").rows == {"public.customer": 5, "public.item": 100}
    assert lines_of(described(database)) == before


def test_an_owner_who_may_create_no_schema_brings_its_tables_back(pg_db: PgDatabase, tmp_path: Path) -> None:
    role = pg_db.server.create_role()
    pg_db.run(f'CREATE SCHEMA shop AUTHORIZATION "{role.user}"')
    own = pg_db.seen_by(role)
    own.run("CREATE TABLE shop.a (id int PRIMARY KEY); CREATE TABLE shop.b (id int REFERENCES shop.a)")
    own.run("INSERT INTO shop.a VALUES (1), (2); INSERT INTO shop.b VALUES (2)")
    pg_db.run("CREATE TABLE public.theirs (id int)")
    pg_db.run(f'GRANT SELECT ON public.theirs TO "{role.user}"')
    config = settings_of(own, tmp_path)
    backed_up(config)
    before = lines_of(described(pg_db))
    own.run("DROP TABLE shop.b; DELETE FROM shop.a")
    assert bring(config, "a", "b").rows == {"shop.a": 2, "shop.b": 1}
    assert lines_of(described(pg_db)) == before
    with pytest.raises(RightMissing, match="only its owner may replace its rows"):
        plan(config, "theirs")
    pg_db.run("DROP TABLE public.theirs")
    with pytest.raises(RightMissing, match="may not create anything in the schema public"):
        plan(config, "theirs")


@pytest.mark.long
def test_e15_a_failure_at_any_phase_leaves_everything_as_it_was(shop: Shop) -> None:
    config, database = shop
    database.run("DROP TABLE public.item CASCADE; UPDATE public.customer SET name = 'x' || id")
    before = state_of(database)
    planned = plan(config, "customer", "item", skip_safety_backup=True)
    seen = 0
    for _, exc in failures_at_each_phase(lambda stop: dbtasks.restore_tables(config, planned, on_event=stop)):
        seen += 1
        assert "is as it was" in (exc.state or "") or "was not touched" in (exc.state or "")
        assert state_of(database) == before
    assert seen > 3
    assert database.run("SELECT count(*) FROM public.item") == [(100,)]


def test_what_changed_since_it_was_planned_is_refused(shop: Shop) -> None:
    config, database = shop
    planned = plan(config, "item")
    database.run("CREATE TABLE public.newer (item int REFERENCES public.item)")
    with pytest.raises(Refused, match="a foreign key refers to what would be emptied") as caught:
        dbtasks.restore_tables(config, planned)
    assert caught.value.hint.startswith("the backup does not hold public.newer: take the key away first; or")
    database.run("DROP TABLE public.newer, public.item CASCADE")
    with pytest.raises(Refused, match="changed since this was planned"):
        dbtasks.restore_tables(config, planned)


def test_flags_that_mean_nothing_are_refused(shop: Shop) -> None:
    config, _ = shop
    with pytest.raises(UsageError, match="--no-owner means nothing"):
        plan(config, "item", no_owner=True)


@pytest.mark.long
def test_every_table_of_an_odd_database_comes_back_in_each_of_the_three_ways(
    any_db: PgDatabase, tmp_path: Path
) -> None:
    any_db.run(odd.schema_for(any_db.server.version))
    config = settings_of(any_db, tmp_path)
    backed_up(config)
    schema, rows = described(any_db), texts_of(any_db)
    before = lines_of(schema)
    names = [table.name for table in schema.tables]
    assert bring(config, *names, skip_safety_backup=True).rows
    after = lines_of(described(any_db))
    # one that stood behind the rows is beyond them now
    assert {line.split()[0] for line in set(before) ^ set(after)} <= {"sequences"}
    before = after
    assert texts_of(any_db) == rows
    came_back = 0
    for table in schema.tables:
        if not table.inherits:
            copied = bring(config, table.name, as_name=f"copy_{came_back}")
            any_db.run(copied.way_back)
        sql = 'DROP TABLE "{}"."{}"'.format(*(part.replace('"', '""') for part in split_name(table.name)))
        try:
            any_db.run(sql)
        except psycopg2.errors.DependentObjectsStillExist:
            continue
        bring(config, table.name)
        came_back += 1
        after = lines_of(described(any_db))
        if table.inherits:
            # the checks of its parents are its own as well
            assert len(set(after) ^ set(before)) <= 2
            before = after
        assert set(after) == set(before), table.name
        assert texts_of(any_db) == rows, table.name
    assert came_back > len(names) // 2
