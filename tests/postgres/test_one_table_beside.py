"""A copy of one table beside the live one, partitioned tables, rights, locks and kills."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import cast

import pytest

import dbtasks
from dbtasks.engines.postgres import PostgresEngine
from dbtasks.engines.postgres.archive.contents import script_of
from dbtasks.engines.postgres.part.fit import Chosen
from dbtasks.engines.postgres.part.of_archive import skips
from dbtasks.engines.routes import open_engine
from dbtasks.errors import Busy, NotFound, Refused, RightMissing, TargetUnreachable
from dbtasks.executors.browse import archive_of
from dbtasks.journal import read_restores
from dbtasks.models import Format
from dbtasks.plans import PartWay
from tests.conftest import REPOSITORY
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres import rich
from tests.postgres.projects import configured
from tests.postgres.rich import count, fingerprint
from tests.postgres.test_one_table import FORMATS, Shop, any_shop, backup, bring, plan, shop

__all__ = ["any_shop", "shop"]


# -- beside -----------------------------------------------------------------------------


SHAPE = """
    SELECT attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, col_description(attrelid, attnum)
    FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum
"""
KEYS = """
    SELECT contype, count(*) FROM pg_constraint WHERE conrelid = %s::regclass AND contype <> 'f' GROUP BY 1 ORDER BY 1
"""
INDEXES = """
    SELECT indisunique, indisprimary, pg_get_expr(indexprs, indrelid), pg_get_expr(indpred, indrelid)
    FROM pg_index WHERE indrelid = %s::regclass ORDER BY 1, 2, 3, 4
"""
OWN = """
    SELECT relrowsecurity, relacl::text, obj_description(oid), (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid),
           pg_get_userbyid(relowner) FROM pg_class c WHERE oid = %s::regclass
"""


@pytest.mark.long
@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("table", ["item", "customer"])
def test_a_copy_has_all_that_is_the_tables_own_but_foreign_keys_and_triggers(
    any_shop: Shop, format_: Format, table: str
) -> None:
    config, database = any_shop
    database.run("CREATE SCHEMA rescue; COMMENT ON CONSTRAINT item_pkey ON public.item IS 'k'")
    database.run(
        "COMMENT ON INDEX public.item_lower IS 'x'; ALTER TABLE public.item REPLICA IDENTITY USING INDEX item_pkey"
    )
    backup(config, format_)
    database.run("DELETE FROM public.item WHERE id > 5")
    before, live = fingerprint(database), f"public.{table}"
    shapes = [database.run(query, (live,)) for query in (SHAPE, KEYS, INDEXES, OWN)]
    result = bring(config, table, as_name="rescue.then")
    assert list(result.rows) == ["rescue.then"]
    assert result.safety_backup is None
    copy = [database.run(query, ("rescue.then",)) for query in (SHAPE, KEYS, INDEXES, OWN)]
    assert copy == shapes
    unwanted = "SELECT count(*) FROM {} WHERE {} = 'rescue.then'::regclass AND {}"
    assert database.run(unwanted.format("pg_constraint", "conrelid", "contype = 'f'")) == [(0,)]
    assert database.run(unwanted.format("pg_trigger", "tgrelid", "NOT tgisinternal")) == [(0,)]
    rows = 100 if table == "item" else 5
    assert result.rows == {"rescue.then": rows}
    assert database.run("SELECT count(*) FROM rescue.then") == [(rows,)]
    added = "price" if table == "item" else "name"
    assert database.run(f"INSERT INTO rescue.then ({added}) VALUES ('7') RETURNING id") == [(rows + 1,)]
    # its numbers are its own
    (own,) = database.run("SELECT pg_get_serial_sequence('rescue.then', 'id')")
    assert own[0].startswith("rescue.then_id_seq")
    database.run(result.way_back)
    assert fingerprint(database) == before


def test_a_copy_in_the_tables_own_schema_gets_free_names(shop: Shop) -> None:
    config, database = shop
    database.run("CREATE TABLE public.then_pkey (a int); CREATE SEQUENCE public.then_id_seq")
    backup(config)
    bring(config, "item", as_name="then")
    bring(config, "item", as_name="t" * 63)
    assert database.run("SELECT count(*) FROM public.then") == [(100,)]
    assert database.run(f"SELECT count(*) FROM public.{'t' * 63}") == [(100,)]
    for name, why in (
        ("item", "something of that name"),
        ("colour", "something"),
        ("x.y", "no schema"),
        ("u" * 64, "63"),
    ):
        with pytest.raises(Refused, match=why):
            plan(config, "item", as_name=name)


def test_a22_a_partitioned_table_comes_beside_as_one_ordinary_table(shop: Shop) -> None:
    config, database = shop
    rich_part(database)
    backup(config)
    database.run("DELETE FROM public.orders")
    result = bring(config, "orders", as_name="orders_then")
    assert result.rows == {"public.orders_then": 500}
    assert database.run("SELECT relkind, relispartition FROM pg_class WHERE relname = 'orders_then'") == [
        ("r", False)
    ]
    assert database.run("SELECT count(*) FROM public.orders") == [(0,)]
    # a partition alone, too
    assert bring(config, "orders_2025", as_name="old_ones").rows == {"public.old_ones": 213}
    assert database.run("SELECT relispartition FROM pg_class WHERE relname = 'old_ones'") == [(False,)]


def test_a_table_that_inherits_is_not_copied_where_its_parent_would_show_the_copy(shop: Shop) -> None:
    config, database = shop
    database.run(
        "CREATE TABLE public.parent (id int PRIMARY KEY, v text); CREATE TABLE public.child (extra text) INHERITS (public.parent);"
        " INSERT INTO public.parent VALUES (1, 'p'); INSERT INTO public.child VALUES (2, 'c', 'x')"
    )
    backup(config)
    before = fingerprint(database)
    with pytest.raises(Refused, match=r"inherits from public\.parent"):
        plan(config, "child", as_name="copy")
    # in place each is what it is: the parent's own rows, the child's own rows
    database.run("DELETE FROM public.parent")
    assert bring(config, "parent", "child").rows == {"public.parent": 1, "public.child": 1}
    assert fingerprint(database) == before
    database.run("DROP TABLE public.child")
    bring(config, "child")
    assert fingerprint(database) == before


# -- partitions ----------------------------------------------------------------------------


def rich_part(database: PgDatabase) -> None:
    """The partitioned table of the rich schema, two levels deep, with keys, an index and a trigger."""
    database.run(
        "CREATE TABLE public.orders (id serial, customer_id integer NOT NULL REFERENCES public.customer (id), day date NOT NULL,"
        " note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);"
        "CREATE TABLE public.orders_2025 PARTITION OF public.orders FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');"
        "CREATE TABLE public.orders_2026 PARTITION OF public.orders FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')"
        " PARTITION BY LIST (id);"
        "CREATE TABLE public.orders_2026_rest PARTITION OF public.orders_2026 DEFAULT;"
        "CREATE INDEX orders_note ON public.orders (lower(note)); CREATE INDEX only_2025 ON public.orders_2025 (note);"
        "CREATE TRIGGER stamped BEFORE INSERT ON public.orders FOR EACH ROW EXECUTE FUNCTION public.noted();"
        "ALTER TABLE public.orders DISABLE TRIGGER stamped;"
        "INSERT INTO public.orders (customer_id, day, note) SELECT 1 + i % 5, date '2025-06-01' + i, 'n' || i FROM generate_series(1, 500) i;"
        "ALTER TABLE public.orders ENABLE TRIGGER stamped; ALTER TABLE public.orders_2025 DISABLE TRIGGER stamped"
    )


@pytest.mark.long
@pytest.mark.parametrize("format_", FORMATS)
def test_e08_a22_a_partitioned_table_comes_with_all_its_partitions(any_shop: Shop, format_: Format) -> None:
    config, database = any_shop
    rich_part(database)
    backup(config, format_)
    before = fingerprint(database)
    # replaced: a partition that is newer is emptied as well
    database.run("DELETE FROM public.orders WHERE id % 2 = 0; UPDATE public.orders SET note = 'x'")
    planned = plan(config, "orders")
    assert {t.name for t in planned.part.tables} == {"public.orders_2025", "public.orders_2026_rest"}
    dbtasks.restore_tables(config, planned)
    assert fingerprint(database) == before
    # created: the whole tree
    database.run("DROP TABLE public.orders")
    assert bring(config, "orders").rows == {"public.orders_2025": 213, "public.orders_2026_rest": 287}
    database.run("ALTER TABLE public.orders_2025 DISABLE TRIGGER stamped")
    assert fingerprint(database) == before
    assert database.run("SELECT count(*) FROM public.log") == [(0,)]


@pytest.mark.long
@pytest.mark.parametrize("format_", FORMATS)
def test_e08_rows_that_were_dumped_for_the_whole_find_their_partitions(shop: Shop, format_: Format) -> None:
    config, database = shop
    rich_part(database)
    backup(config, format_, extra=("--load-via-partition-root",))
    before = fingerprint(database)
    database.run("DELETE FROM public.orders WHERE id % 2 = 0")
    assert bring(config, "orders").rows == {"public.orders_2025": 213, "public.orders_2026_rest": 287}
    assert fingerprint(database) == before
    database.run("DROP TABLE public.orders")
    bring(config, "orders")
    database.run("ALTER TABLE public.orders_2025 DISABLE TRIGGER stamped")
    assert fingerprint(database) == before
    assert bring(config, "orders", as_name="flat").rows == {"public.flat": 500}


@pytest.mark.long
@pytest.mark.parametrize("named", ["orders", "orders_2025", "orders_2026"])
def test_e08_a_partition_that_was_dropped_is_created_and_attached_again(any_shop: Shop, named: str) -> None:
    config, database = any_shop
    rich_part(database)
    backup(config)
    before = fingerprint(database)
    gone = "orders_2026" if named == "orders" else named
    database.run(f"DROP TABLE public.{gone}")
    result = bring(config, named)
    assert (result.safety_backup is None) is (named != "orders")
    if gone == "orders_2025":
        # a trigger of its parent is as that one's: in which state it was here, pg_dump does not tell
        database.run("ALTER TABLE public.orders_2025 DISABLE TRIGGER stamped")
    assert database.run("SELECT count(*) FROM public.orders") == [(500,)]
    assert database.run("SELECT count(*) FROM public.log") == [(0,)]
    assert fingerprint(database) == before


def test_a_newer_partition_is_emptied_and_the_plan_says_so(shop: Shop) -> None:
    config, database = shop
    rich_part(database)
    backup(config)
    database.run(
        "CREATE TABLE public.orders_2027 PARTITION OF public.orders FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');"
        " INSERT INTO public.orders (customer_id, day) VALUES (1, '2027-05-05')"
    )
    planned = plan(config, "orders")
    (newer,) = [t for t in planned.part.tables if t.name == "public.orders_2027"]
    assert (newer.way, newer.backup_rows, newer.live_rows) == (PartWay.REPLACE, 0, 1)
    assert dbtasks.restore_tables(config, planned).rows["public.orders_2027"] == 0
    assert database.run("SELECT count(*) FROM public.orders") == [(500,)]


@pytest.mark.long
def test_e06_foreign_partitions_are_left_out_and_never_emptied(shop: Shop) -> None:
    config, database = shop
    database.run(
        "CREATE FOREIGN DATA WRAPPER afar; CREATE SERVER far FOREIGN DATA WRAPPER afar;"
        " CREATE TABLE public.event (id int, day date) PARTITION BY RANGE (day); CREATE INDEX ON public.event (id);"
        " CREATE TABLE public.event_26 PARTITION OF public.event FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');"
        " INSERT INTO public.event VALUES (1, '2026-05-05')"
    )
    far = "CREATE FOREIGN TABLE public.event_25 PARTITION OF public.event FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') SERVER far"
    database.run(f"{far}; ALTER TABLE public.event_26 ADD CHECK (id > 0)")
    backup(config)
    told = "public.event: foreign tables are not brought, nor what they hold elsewhere: public.event_25"
    with pytest.raises(Refused, match=r"has foreign tables among its partitions.*: public\.event_25"):
        plan(config, "event")
    assert bring(config, "event_26").rows == {"public.event_26": 1}
    planned = plan(config, "event", as_name="copy")
    assert told in planned.warnings
    assert dbtasks.restore_tables(config, planned).rows == {"public.copy": 1}
    database.run("DROP FOREIGN TABLE public.event_25; INSERT INTO public.event VALUES (2, '2026-05-05')")
    planned = plan(config, "event")
    assert told in planned.warnings
    assert dbtasks.restore_tables(config, planned).rows == {"public.event_26": 1}
    database.run("DROP TABLE public.event")
    assert bring(config, "event").rows == {"public.event_26": 1}
    database.run(far)
    # one that came after the backup is emptied as little
    backup(config, tables=("public.event_26", "public.event"), exclude_tables=("public.event_25",))
    with pytest.raises(Refused, match=r"has foreign tables among its partitions.*: public\.event_25"):
        plan(config, "event")


# -- what else is in the way --------------------------------------------------------------------


def test_types_schemas_and_sequences_that_lack_come_with_the_table(shop: Shop) -> None:
    config, database = shop
    database.run(
        "CREATE SCHEMA app; CREATE DOMAIN app.positive AS int CHECK (VALUE > 0); CREATE TYPE app.point3 AS (x app.positive, y int);"
        " CREATE SEQUENCE app.ticket START 1000; CREATE TABLE app.thing (id int DEFAULT nextval('app.ticket'::regclass), p app.point3[],"
        " c public.colour); INSERT INTO app.thing (c) SELECT 'red' FROM generate_series(1, 3)"
    )
    backup(config)
    before = fingerprint(database)
    database.run("DROP SCHEMA app CASCADE")
    # a copy elsewhere makes no schema but where a type or sequence of its own is needed
    bring(config, "customer", as_name="copy")
    assert database.run("SELECT to_regnamespace('app') IS NULL") == [(True,)]
    bring(config, "app.thing", as_name="public.things")
    assert database.run("INSERT INTO public.things DEFAULT VALUES RETURNING id") == [(1003,)]
    database.run("DROP TABLE public.things, public.copy; DROP SCHEMA app CASCADE")
    bring(config, "app.thing")
    assert fingerprint(database) == before
    database.run("DROP TABLE app.thing; SELECT nextval('app.ticket')")
    bring(config, "app.thing")
    # a sequence that others may use too stays where it stands
    assert database.run("INSERT INTO app.thing DEFAULT VALUES RETURNING id") == [(1004,)]


def test_e20_names_like_those_of_timescaledb_mean_nothing_without_the_extension(shop: Shop) -> None:
    config, database = shop
    database.run(
        "CREATE SCHEMA _timescaledb_catalog; CREATE TABLE _timescaledb_catalog.hypertable AS"
        " SELECT 'public'::name AS schema_name, 'item'::name AS table_name"
    )
    database.run(
        "CREATE SCHEMA _timescaledb_mine; CREATE TABLE _timescaledb_mine.x (id int);"
        " INSERT INTO _timescaledb_mine.x VALUES (1);"
        " CREATE TABLE _timescaledb_mine.young () INHERITS (public.log);"
        " CREATE TABLE public.old (id int);"
        " CREATE TRIGGER ts_insert_blocker BEFORE INSERT ON public.old FOR EACH ROW EXECUTE FUNCTION public.noted()"
    )
    made = backup(config)
    assert not any(table.hypertable for table in made.manifest.tables)
    assert made.manifest.counts["_timescaledb_mine.x"] == 1
    database.run("DELETE FROM _timescaledb_mine.x; DELETE FROM public.item")
    assert bring(config, "_timescaledb_mine.x").rows == {"_timescaledb_mine.x": 1}
    assert bring(config, "item", as_name="copy").rows["public.copy"] > 0
    for name in ("log", "old"):
        assert plan(config, name, as_name="copy2").part.tables
    part = dbtasks.DumpRequest(tables=("_timescaledb_mine.x",))
    assert dbtasks.backup(config, dbtasks.BackupJob(request=part)).manifest.counts == {
        "_timescaledb_mine.x": 1
    }


def test_e20_a_dump_of_one_hypertable_alone_tells_it_by_the_function_of_its_trigger(
    shop: Shop, pg: PgServer, tmp_path: Path
) -> None:
    _, database = shop
    database.run(
        "CREATE SCHEMA _timescaledb_functions; CREATE FUNCTION _timescaledb_functions.insert_blocker() RETURNS trigger"
        " LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TABLE public.metric (at timestamptz);"
        " CREATE TRIGGER ts_insert_blocker BEFORE INSERT ON public.metric FOR EACH ROW"
        " EXECUTE FUNCTION _timescaledb_functions.insert_blocker()"
    )
    alone = rich.tool(database.server, "pg_dump", "-Fp", "-t", "public.metric", database.name)
    (tmp_path / "alone.sql").write_bytes(alone)
    own = configured(tmp_path, database.seen_by(pg.create_role("LOGIN")))
    with pytest.raises(Refused, match=r"public\.metric is a hypertable"):
        plan(own, "metric", file="alone.sql", unverified=True, as_name="copy")


def test_e20_a_catalog_of_another_shape_or_out_of_reach_stands_in_no_way(
    shop: Shop, pg: PgServer, tmp_path: Path
) -> None:
    config, database = shop
    database.run("CREATE SCHEMA _timescaledb_catalog; CREATE TABLE _timescaledb_catalog.hypertable (id int)")
    assert backup(config).manifest.counts["_timescaledb_catalog.hypertable"] == 0
    database.run(
        "DROP TABLE _timescaledb_catalog.hypertable; CREATE SCHEMA mine; CREATE TABLE mine.t (id int)"
    )
    role = pg.create_role("LOGIN BYPASSRLS")
    database.run(f'GRANT USAGE ON SCHEMA mine TO "{role.user}"; GRANT SELECT ON mine.t TO "{role.user}"')
    database.run(f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role.user}"')
    database.run(f'GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO "{role.user}"')
    own = configured(tmp_path, database.seen_by(role))
    assert dbtasks.inspect(own).problems == ()
    part = dbtasks.DumpRequest(tables=("mine.t",))
    assert dbtasks.backup(own, dbtasks.BackupJob(request=part)).manifest.counts == {"mine.t": 0}


def test_an_ordinary_role_brings_back_its_own_table_and_no_other(
    shop: Shop, pg: PgServer, tmp_path: Path
) -> None:
    config, database = shop
    role = pg.create_role("LOGIN")
    database.run(
        f'ALTER TABLE public.log OWNER TO "{role.user}"; GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role.user}"'
    )
    database.run("INSERT INTO public.log VALUES ('kept')")
    made = backup(config)
    own = configured(tmp_path, database.seen_by(role))
    database.run("DELETE FROM public.log")
    with pytest.raises(RightMissing, match="belongs to postgres"):
        plan(own, "item", file=made.id)
    bring(own, "log", file=made.id, skip_safety_backup=True)
    assert database.run("SELECT what FROM public.log") == [("kept",)]
    with pytest.raises(RightMissing, match="may not create anything in the schema public"):
        plan(own, "log", file=made.id, as_name="copy")
    database.run(f'CREATE SCHEMA mine AUTHORIZATION "{role.user}"')
    assert bring(own, "log", file=made.id, as_name="mine.log").rows == {"mine.log": 1}


def test_e01_roles_that_are_missing_are_left_out_on_request(shop: Shop, pg: PgServer) -> None:
    config, database = shop
    role = pg.create_role("NOLOGIN")
    database.run(
        f'ALTER TABLE public.log OWNER TO "{role.user}"; GRANT SELECT ON public.item TO "{role.user}"'
    )
    backup(config)
    database.run(f'DROP TABLE public.log; DROP OWNED BY "{role.user}"; DROP ROLE "{role.user}"')
    with pytest.raises(RightMissing, match="do not exist on this server"):
        plan(config, "log")
    bring(config, "log", no_owner=True)
    assert database.run("SELECT count(*) FROM public.log") == [(0,)]
    # as another role, everything becomes its own
    other = pg.create_role("NOLOGIN")
    database.run(f'DROP TABLE public.log; GRANT CREATE ON SCHEMA public TO "{other.user}"')
    bring(config, "log", no_owner=True, role=other.user)
    assert database.run("SELECT tableowner FROM pg_tables WHERE tablename = 'log'") == [(other.user,)]
    # what is replaced keeps its privileges: those of the backup are not asked for
    bring(config, "item")


def test_partial_backups_bring_what_they_hold_and_rows_that_were_left_out_are_refused(shop: Shop) -> None:
    config, database = shop
    made = backup(config, tables=("item", "log"))
    database.run("DELETE FROM public.item")
    assert bring(config, "item", file=made.id).rows == {"public.item": 100}
    with pytest.raises(dbtasks.DbTasksError, match="holds no such table"):
        plan(config, "customer", file=made.id)
    bare = backup(config, exclude_data=("item",))
    with pytest.raises(Refused, match="were left out"):
        plan(config, "item", file=bare.id)
    database.run("DROP TABLE public.item CASCADE")
    assert any("only the table comes" in text for text in plan(config, "item", file=bare.id).warnings)
    assert bring(config, "item", file=bare.id).rows == {"public.item": 0}
    rows_only = backup(config, data_only=True)
    with pytest.raises(Refused, match="rows only"):
        plan(config, "item", file=rows_only.id)


def test_rows_that_were_dumped_as_inserts_come_too(shop: Shop) -> None:
    config, database = shop
    made = backup(config, Format.SQL, extra=("--inserts",))
    database.run("UPDATE public.item SET price = 3, name = 'x'")
    before = database.run("SELECT count(*) FROM public.log")
    bring(config, "item", file=made.id)
    assert database.run("SELECT sum(price) FROM public.item") == [(5050,)]
    assert database.run("SELECT count(*) FROM public.log") == before
    assert bring(config, "item", file=made.id, as_name="copy").rows == {"public.copy": 100}
    assert database.run("SELECT * FROM public.item EXCEPT SELECT * FROM public.copy") == []


def test_e10_a_key_of_a_partition_alone_and_one_of_a_partitioned_table_are_each_named_once(
    shop: Shop,
) -> None:
    config, database = shop
    rich_part(database)
    database.run(
        "ALTER TABLE public.orders_2025 ADD CONSTRAINT odd FOREIGN KEY (id) REFERENCES public.item (id) NOT VALID"
    )
    backup(config)
    with pytest.raises(Refused) as refused:
        plan(config, "item")
    assert "odd of public.orders_2025 → public.item" in refused.value.message
    with pytest.raises(Refused) as refused:
        plan(config, "customer")
    assert refused.value.message.count("orders_customer_id_fkey") == 1


def test_d15_a_session_that_holds_the_table_is_waited_for_and_named(shop: Shop, tmp_path: Path) -> None:
    _, database = shop
    config = configured(tmp_path, database, lock_timeout="1")
    backup(config)
    database.run("DELETE FROM public.item WHERE id > 3")
    before = fingerprint(database)
    planned = plan(config, "item", skip_safety_backup=True)
    with contextlib.closing(database.connect()) as other:
        other.autocommit = False
        other.cursor().execute("SELECT count(*) FROM public.item")
        with pytest.raises(Busy, match=str(other.info.backend_pid)):
            dbtasks.restore_tables(config, planned)
    assert fingerprint(database) == before


def test_a23_e16_what_is_looked_at_elsewhere_is_told(shop: Shop) -> None:
    config, database = shop
    database.run(
        "CREATE MATERIALIZED VIEW public.totals AS SELECT sum(price) FROM public.item; CREATE TABLE public.files (id int, content oid)"
    )
    database.run("CREATE PUBLICATION news FOR TABLE public.log")
    backup(config)
    database.run("DROP TABLE public.log")
    warnings = " | ".join(plan(config, "item", "files", "log").warnings)
    assert "public.log was in the publication news" in warnings
    assert "REFRESH MATERIALIZED VIEW public.totals" in warnings
    assert "triggers do not fire" in warnings
    assert "large objects are not part of a table: those of public.files" in warnings


def test_without_a_database_no_table_comes(shop: Shop, pg: PgServer) -> None:
    config, database = shop
    backup(config)
    pg.drop_database(database.name)
    with pytest.raises(TargetUnreachable, match="does not exist"):
        plan(config, "item")


# -- back, and killed -------------------------------------------------------------------------------


def test_an_undo_takes_back_what_was_replaced(shop: Shop) -> None:
    config, database = shop
    backup(config)
    database.run("DELETE FROM public.item WHERE id > 60")
    result = bring(config, "item")
    assert result.way_back == "db.undo"
    planned = dbtasks.plan_undo(config)
    changes = {(t.name, t.restored_rows, t.live_rows, t.back_rows) for t in planned.changes}
    assert changes == {("public.item", 100, 100, 60)}
    dbtasks.undo(config, planned)
    assert count(database)["public.item"] == 60


KILLED = """
import os, signal, sys
import dbtasks
from dbtasks.engines.postgres.part import {module}
real = {module}.{name}
def die(*arguments, **named):
    print("there", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
{module}.{name} = die
config = dbtasks.load_settings(sys.argv[1], environ={{}}, url=sys.argv[2], via="host", pg_bin=sys.argv[3])
job = dbtasks.TablesJob(("item",), skip_safety_backup=True)
dbtasks.restore_tables(config, dbtasks.plan_restore_tables(config, job))
"""


@pytest.mark.long
@pytest.mark.fault
@pytest.mark.parametrize("step", ["_empty", "_prove_rows_came", "raise_sequences", "_analyze"])
def test_d05_a_run_that_is_killed_meanwhile_leaves_the_table_as_it_was(
    shop: Shop, tmp_path: Path, step: str
) -> None:
    config, database = shop
    backup(config)
    database.run("DELETE FROM public.item WHERE id > 60")
    before = fingerprint(database)
    code = KILLED.format(module="load", name=step)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), database.url, str(database.server.bin)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "there\n"), done.stderr
    deadline = time.monotonic() + 30
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    while database.run(others) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert fingerprint(database) == before
    assert read_restores(config.backup_dir)[0]["state"] == "loading"
    with pytest.raises(NotFound, match="nothing to undo"):
        dbtasks.plan_undo(config, dry_run=True)
    assert bring(config, "item").rows == {"public.item": 100}


@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.DIRECTORY])
def test_what_belongs_to_other_tables_is_not_even_unpacked(shop: Shop, format_: Format) -> None:
    config, database = shop
    database.run('CREATE TABLE public."item\nit" (a int); INSERT INTO public."item\nit" VALUES (7)')
    database.run("SELECT lo_from_bytea(0, 'large'::bytea)")
    made = backup(config, format_)
    planned = plan(config, "item").part
    assert isinstance(planned.selection, Chosen)
    skip = partial(skips, planned.selection.selection)
    with (
        open_engine(config) as engine,
        script_of(cast(PostgresEngine, engine), archive_of(made), skip=skip) as script,
    ):
        text = b""
        while block := script.source.read(65536):
            text += block
    assert b"COPY public.item " in text
    assert b"COPY public.customer" not in text
    assert b"lo_open" not in text
    bring(config, '"item\nit"', "item")


def test_somebodys_dump_is_taken_by_an_ordinary_role_and_its_commands_are_not_run(
    shop: Shop, pg: PgServer, tmp_path: Path
) -> None:
    _, database = shop
    role = pg.create_role("LOGIN")
    database.run(f'CREATE SCHEMA mine AUTHORIZATION "{role.user}"; CREATE TABLE mine.own AS SELECT 7 AS a')
    database.run(f'ALTER TABLE mine.own OWNER TO "{role.user}"')
    own = configured(tmp_path, database.seen_by(role))
    dump, script = tmp_path / "theirs.dump", tmp_path / "theirs.sql"
    rich.tool(database.server, "pg_dump", "-Fc", "-f", str(dump), database.name)
    text = rich.tool(database.server, "pg_dump", "-Fp", database.name)
    script.write_bytes(text)
    database.run("DELETE FROM mine.own")
    for file in (dump, script):
        with pytest.raises(Refused, match="could run programs"):
            plan(configured(tmp_path, database), "mine.own", file=str(file), unverified=True)
        result = bring(own, "mine.own", file=str(file), unverified=True, skip_safety_backup=True)
        assert (result.rows, result.checked_against_manifest) == ({"mine.own": 1}, False)
    # what is left out is looked at as well
    script.write_bytes(text.replace(b"COPY public.log", b"\\! touch /tmp/dbtasks-was-here\nCOPY public.log"))
    with pytest.raises(Refused, match="meta-command"):
        plan(own, "mine.own", file=str(script), unverified=True)
    assert not Path("/tmp/dbtasks-was-here").exists()
