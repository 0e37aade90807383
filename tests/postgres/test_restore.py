"""Restoring beside the live database: every format on every server, and what a failure leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dbtasks.engines.postgres.load import loading, plan_load
from dbtasks.errors import ArchiveDamaged, LoadFailed, Refused
from dbtasks.models import Compression, Format, LoadRequest, LoadStrategy
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.restoring import databases, engine_on, restore
from tests.postgres.rich import ROWS, archive_of, count, described, fill, fingerprint, tool, write_script

FORMATS = [Format.CUSTOM, Format.DIRECTORY, Format.SQL]


@pytest.mark.parametrize("format_", FORMATS)
def test_a_restore_brings_everything_back_and_keeps_the_old_database(
    any_db: PgDatabase, format_: Format, tmp_path: Path
) -> None:
    fill(any_db)
    before = fingerprint(any_db)
    archive = archive_of(any_db, tmp_path, format_)
    any_db.run(
        "DROP TABLE public.parent CASCADE; CREATE TABLE public.newer (id int); DELETE FROM public.orders"
    )
    with engine_on(any_db) as engine:
        plan, swapped, counts = restore(engine, archive)
    assert plan.strategy is LoadStrategy.SWAP
    assert {name.replace('"', "") for name in counts} == {name.replace('"', "") for name in ROWS}
    assert count(any_db) == ROWS
    assert fingerprint(any_db) == before
    assert any_db.run("SELECT count(*) FROM pg_largeobject_metadata") == [(3,)]
    assert swapped.old is not None
    assert databases(any_db) == [any_db.name, swapped.old]
    assert "newer" in fingerprint(PgDatabase(any_db.server, swapped.old))
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.endswith(".draft")) == []
