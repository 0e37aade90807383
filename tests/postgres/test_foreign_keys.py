"""Foreign keys whose other side is not there: said when a backup is planned, and when a load fails of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbtasks.errors import UsageError
from dbtasks.models import DumpRequest
from tests.fix_postgres import PgDatabase
from tests.postgres.dumping import engine_of


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
