"""Foreign keys whose other side is not there: said when a backup is planned, and when a load fails of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbtasks.engines.postgres.last_words import way_left
from dbtasks.engines.postgres.load import loading, plan_load
from dbtasks.errors import LoadFailed, UsageError
from dbtasks.models import Format
from dbtasks.plans import DumpRequest, LoadRequest
from tests.fix_postgres import PgDatabase
from tests.postgres.dumping import engine_of
from tests.postgres.restoring import engine_on
from tests.postgres.rich import archive_of, fingerprint


@pytest.fixture
def orders(pg_db: PgDatabase) -> PgDatabase:
    pg_db.run(
        "CREATE TABLE customer (id int PRIMARY KEY); INSERT INTO customer VALUES (1);"
        " CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customer, parent int REFERENCES orders);"
        " INSERT INTO orders VALUES (1, 1, 1)"
    )
    return pg_db


def test_a_table_that_refers_to_one_that_is_left_out_is_a_warning(orders: PgDatabase, tmp_path: Path) -> None:
    with engine_of(orders, tmp_path) as engine:
        chosen = engine.plan_dump(DumpRequest(tables=("orders",)))
        without = engine.plan_dump(DumpRequest(exclude_tables=("customer",)))
        both = engine.plan_dump(DumpRequest(tables=("orders", "customer")))
        whole = engine.plan_dump(DumpRequest())
    said = ("public.orders refers to public.customer, which is not in it: restoring it needs that table",)
    assert chosen.warnings == without.warnings == said
    assert both.warnings == whole.warnings == ()
    assert chosen.not_included == ("all other tables than public.orders (it holds only public.orders)",)


def test_an_unknown_table_is_answered_with_those_that_there_are(pg_db: PgDatabase, tmp_path: Path) -> None:
    with engine_of(pg_db, tmp_path) as engine:
        with pytest.raises(UsageError) as refused:
            engine.plan_dump(DumpRequest(tables=("nosuch",)))
        assert refused.value.hint == "the database has no tables"
        for number in range(12):
            pg_db.run(f"CREATE TABLE t{number:02} (a int)")
        with pytest.raises(UsageError) as refused:
            engine.plan_dump(DumpRequest(tables=("nosuch",)))
    assert "public.t00, " in refused.value.hint
    assert refused.value.hint.endswith("public.t09 and 2 more")


@pytest.mark.parametrize("in_place", [False, True], ids=["beside", "in place"])
@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.SQL])
def test_e05_rows_that_break_a_foreign_key_end_a_load_with_the_way_that_is_left(
    orders: PgDatabase, format_: Format, in_place: bool, tmp_path: Path
) -> None:
    orders.run("SET session_replication_role = replica; INSERT INTO orders VALUES (2, 99, 1)")
    archive = archive_of(orders, tmp_path, format_)
    before = fingerprint(orders)
    with engine_on(orders) as engine:
        plan = plan_load(engine, archive, LoadRequest(in_place=in_place))
        with pytest.raises(LoadFailed) as broke, loading(engine, plan, archive, lambda event: None):
            pass
    assert "foreign key" in broke.value.hint
    assert "db.show" in broke.value.hint
    assert fingerprint(orders) == before


def test_a_key_is_known_in_any_language_and_nothing_else_is_taken_for_one() -> None:
    german = (
        "FEHLER:  Einf\u00fcgen oder Aktualisieren verletzt Fremdschl\u00fcssel\n"
        "ALTER TABLE ONLY public.o\n ADD CONSTRAINT k FOREIGN KEY (c) REFERENCES public.c(id);"
    )
    assert "foreign key" in way_left(german)
    assert (
        way_left("could not extend file: No space left on device") == "free some space on the server's disk"
    )
    assert way_left("ERROR:  syntax error\nCREATE TABLE public.foreign_key (a int);") == ""
