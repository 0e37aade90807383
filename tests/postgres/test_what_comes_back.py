"""Keys, triggers, sequences and the migration's revision after a restore of the whole database, beside and in place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

import dbtasks
from dbtasks.errors import CountsDiffer, LoadFailed
from dbtasks.manifest import SUFFIX, dump_manifest
from dbtasks.models import Format
from dbtasks.plans import LoadRequest, LoadStrategy
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.restoring import databases, engine_on, restore
from tests.postgres.rich import archive_of, fingerprint, tool
from tests.postgres.test_restore import FORMATS, TRAILER, scripted

FARM = """
    CREATE TABLE hen (id int PRIMARY KEY, egg int NOT NULL);
    CREATE TABLE egg (id int PRIMARY KEY, hen int NOT NULL CONSTRAINT laid REFERENCES hen);
    ALTER TABLE hen ADD CONSTRAINT hatched FOREIGN KEY (egg) REFERENCES egg DEFERRABLE INITIALLY DEFERRED;
    BEGIN; INSERT INTO hen SELECT i, i FROM generate_series(1, 50) i; INSERT INTO egg SELECT i, i FROM generate_series(1, 50) i; COMMIT;
    ALTER TABLE hen ALTER CONSTRAINT hatched NOT DEFERRABLE;
    CREATE TABLE diary (id serial PRIMARY KEY, what text NOT NULL);
    CREATE FUNCTION written() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO public.diary (what) VALUES (TG_TABLE_NAME); RETURN NEW; END';
    CREATE TRIGGER written AFTER INSERT OR UPDATE OR DELETE ON egg FOR EACH ROW EXECUTE FUNCTION written();
    UPDATE egg SET hen = hen WHERE id <= 3;
    CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
    INSERT INTO alembic_version VALUES ('ae1027a6acf');
"""
DIARY = "SELECT count(*), max(id) FROM diary"
VALID = "SELECT conname, convalidated, condeferrable FROM pg_constraint WHERE contype = 'f' ORDER BY 1"


@pytest.fixture(params=[LoadStrategy.SWAP, LoadStrategy.IN_PLACE], ids=str)
def farm(request: pytest.FixtureRequest, any_pg: PgServer) -> Iterator[PgDatabase]:
    """A database of an ordinary role, which may create databases where it is to be swapped."""
    owner = any_pg.create_role("LOGIN CREATEDB" if request.param is LoadStrategy.SWAP else "LOGIN")
    with any_pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        for statement in filter(str.strip, FARM.split(";\n")):
            mine.run(statement)
        yield mine


@pytest.mark.long
@pytest.mark.parametrize("format_", FORMATS)
def test_e11_e12_circular_foreign_keys_of_an_ordinary_role_come_back_checked(
    farm: PgDatabase, tmp_path: Path, format_: Format
) -> None:
    archive = archive_of(farm, tmp_path, format_)
    before = fingerprint(farm)
    farm.run("ALTER TABLE hen DROP CONSTRAINT hatched; DELETE FROM egg; DELETE FROM hen WHERE id > 5")
    with engine_on(farm) as engine:
        restore(engine, archive)
    assert fingerprint(farm) == before
    assert farm.run(VALID) == [("hatched", True, False), ("laid", True, False)]
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        farm.run("INSERT INTO egg VALUES (51, 51)")


def test_e13_triggers_of_the_users_do_not_fire_over_a_restore_and_do_afterwards(
    farm: PgDatabase, tmp_path: Path
) -> None:
    archive = archive_of(farm, tmp_path, Format.CUSTOM)
    assert farm.run(DIARY) == [(3, 3)]
    with engine_on(farm) as engine:
        restore(engine, archive)
    assert farm.run(DIARY) == [(3, 3)]
    farm.run("UPDATE egg SET hen = hen WHERE id = 1")
    assert farm.run(DIARY) == [(4, 4)]


@pytest.mark.long
def test_e17_the_migrations_revision_is_the_backups_after_a_restore_and_the_live_one_after_a_failed_one(
    farm: PgDatabase, tmp_path: Path
) -> None:
    archive = archive_of(farm, tmp_path, Format.CUSTOM)
    farm.run("UPDATE alembic_version SET version_num = 'newer'; ALTER TABLE egg ADD COLUMN colour text")
    script = tool(farm.server, "pg_dump", "-Fp", farm.name)
    broken = scripted(farm, tmp_path, script.replace(TRAILER, b"SELECT 1 / 0;\n\n" + TRAILER))
    farm.run("UPDATE alembic_version SET version_num = 'newest'")
    revision = "SELECT version_num FROM alembic_version"
    with engine_on(farm) as engine:
        with pytest.raises(LoadFailed):
            restore(engine, broken)
        assert farm.run(revision) == [("newest",)]
        restore(engine, archive)
        assert farm.run(revision) == [("ae1027a6acf",)]
        found = engine.facts().revision
    assert found is not None
    assert (found.tool, found.revisions) == ("alembic", ("ae1027a6acf",))


@pytest.mark.long
def test_e15_a_failed_restore_leaves_sequences_where_they_stood_and_a_good_one_where_the_backup_has_them(
    farm: PgDatabase, tmp_path: Path
) -> None:
    script = tool(farm.server, "pg_dump", "-Fp", farm.name)
    whole = archive_of(farm, tmp_path, Format.SQL)
    broken = scripted(farm, tmp_path, script.replace(TRAILER, b"SELECT 1 / 0;\n\n" + TRAILER))
    farm.run("INSERT INTO diary (what) SELECT 'more' FROM generate_series(1, 7)")
    with engine_on(farm) as engine:
        with pytest.raises(LoadFailed):
            restore(engine, broken)
        assert farm.run("SELECT last_value FROM diary_id_seq") == [(10,)]
        assert farm.run("INSERT INTO diary (what) VALUES ('next') RETURNING id") == [(11,)]
        restore(engine, whole)
    assert farm.run("INSERT INTO diary (what) VALUES ('next') RETURNING id") == [(4,)]


@pytest.mark.parametrize("format_", FORMATS)
def test_e19_counts_that_differ_from_the_manifest_keep_nothing_of_the_load(
    farm: PgDatabase, tmp_path: Path, format_: Format
) -> None:
    tools = {"via": "host", "pg_bin": str(farm.server.bin)}
    config = dbtasks.load_settings(tmp_path, environ={}, url=farm.url, **tools)
    made = dbtasks.backup(config, dbtasks.BackupJob(request=dbtasks.DumpRequest(format=format_)))
    tables = tuple(replace(t, rows=51) if t.name == "public.egg" else t for t in made.manifest.tables)
    path = made.path.with_name(made.path.name + SUFFIX)
    path.write_bytes(dump_manifest(replace(made.manifest, tables=tables)))
    farm.run("UPDATE egg SET hen = hen WHERE id < 20; UPDATE alembic_version SET version_num = 'newer'")
    before, kin = fingerprint(farm), databases(farm)
    with pytest.raises(CountsDiffer) as differ:
        dbtasks.restore(config, dbtasks.plan_restore(config))
    assert differ.value.exit_code == 5
    assert "public.egg: 50 instead of 51" in differ.value.details
    assert "is as it was" in differ.value.state or "was not touched" in differ.value.state
    assert (fingerprint(farm), databases(farm)) == (before, kin)


def test_e05_a_key_the_source_had_not_checked_comes_back_unchecked(pg_db: PgDatabase, tmp_path: Path) -> None:
    """NOT VALID is a state of its own, and rows that break such a key are the source's."""
    pg_db.run("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int); INSERT INTO b VALUES (7)")
    pg_db.run("ALTER TABLE b ADD CONSTRAINT later FOREIGN KEY (a) REFERENCES a NOT VALID")
    before = fingerprint(pg_db)
    for format_ in FORMATS:
        archive = archive_of(pg_db, tmp_path, format_)
        with engine_on(pg_db) as engine:
            restore(engine, archive, LoadRequest(drop_old=True))
        assert pg_db.run(VALID) == [("later", False, False)]
        assert fingerprint(pg_db) == before
