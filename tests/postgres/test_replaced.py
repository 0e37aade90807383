"""Dropping the database a restore kept: only that one, only on its server."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dbtasks.engines.postgres.names import before_name, is_before_name
from dbtasks.errors import Busy, Refused
from dbtasks.models import Format
from tests.fix_postgres import PgDatabase
from tests.postgres.restoring import databases, engine_on, restore
from tests.postgres.rich import archive_of

NOW = datetime(2026, 2, 24, 15, 3, 20, tzinfo=UTC)


@pytest.fixture
def kept(pg_db: PgDatabase, tmp_path: Path) -> str:
    """The name of a database that a real restore replaced and kept."""
    pg_db.run("CREATE TABLE t (a int)")
    archive = archive_of(pg_db, tmp_path, Format.CUSTOM)
    with engine_on(pg_db) as engine:
        _, swapped, _ = restore(engine, archive)
    assert swapped.old is not None
    return swapped.old


def test_what_a_restore_kept_is_dropped_and_gone_already_is_fine(pg_db: PgDatabase, kept: str) -> None:
    assert databases(pg_db) == [pg_db.name, kept]
    with engine_on(pg_db) as engine:
        identifier = engine.facts().system_identifier
        engine.drop_replaced(kept, system_identifier=identifier)
        assert databases(pg_db) == [pg_db.name]
        engine.drop_replaced(kept, system_identifier=identifier)
    assert identifier


@pytest.mark.long
def test_a_database_somebody_is_connected_to_is_not_dropped(pg_db: PgDatabase, kept: str) -> None:
    with (
        contextlib.closing(pg_db.server.connect(kept)),
        engine_on(pg_db) as engine,
        pytest.raises(Busy, match="in use"),
    ):
        engine.drop_replaced(kept)
    assert kept in databases(pg_db)


def test_the_same_name_on_another_server_is_refused(pg_db: PgDatabase, kept: str) -> None:
    with engine_on(pg_db) as engine, pytest.raises(Refused, match="another server"):
        engine.drop_replaced(kept, system_identifier="1")
    assert kept in databases(pg_db)


def test_one_that_was_made_a_template_is_refused(pg_db: PgDatabase, kept: str) -> None:
    mark = f"UPDATE pg_database SET datistemplate = %s WHERE datname = '{kept}'"
    pg_db.server.run("postgres", mark, (True,))
    try:
        with engine_on(pg_db) as engine, pytest.raises(Refused, match="template"):
            engine.drop_replaced(kept)
    finally:
        pg_db.server.run("postgres", mark, (False,))
    assert kept in databases(pg_db)


@pytest.mark.parametrize(
    "ending",
    [
        "",
        "__before_",
        "__before_lunch",
        "__before_20260224T150320Z_",
        "__before_20260224T150320Z_old",
        "__before_20260224T150320Z more",
        "__before_20260224T150320Z\n",
        "_2__before_20260224T150320Z",
    ],
)
def test_any_other_name_is_refused_though_it_exists(pg_db: PgDatabase, ending: str) -> None:
    name = pg_db.name + ending
    if ending:
        pg_db.server.create_database(name)
    with engine_on(pg_db) as engine, pytest.raises(Refused, match="is not a database that a restore"):
        engine.drop_replaced(name)
    assert name in databases(pg_db)


@pytest.mark.parametrize("database", ["shop", "x" * 63, "ü" * 31, "a__before_20260224T150320Z"])
@pytest.mark.parametrize("attempt", [0, 1, 12])
def test_a_name_the_swap_makes_is_known_again_for_its_database_alone(database: str, attempt: int) -> None:
    name = before_name(database, NOW, attempt)
    assert len(name.encode()) <= 63
    assert is_before_name(database, name)
    assert not is_before_name(f"y{database}", name)
    assert not is_before_name(name, name)
