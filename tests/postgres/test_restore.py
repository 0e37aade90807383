"""Restoring beside the live database: every format on every server, and what a failure leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dbtasks.engines.postgres.loading.beside import MARK
from dbtasks.engines.postgres.loading.load import loading, plan_load
from dbtasks.errors import ArchiveDamaged, DbTasksError, LoadFailed, Refused
from dbtasks.events import Event
from dbtasks.models import Archive, Compression, Format
from dbtasks.plans import LoadRequest, LoadStrategy, TargetState
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.restoring import databases, engine_of, engine_on, restore
from tests.postgres.rich import ROWS, archive_of, count, described, fill, fingerprint, tool, write_script

FORMATS = [Format.CUSTOM, Format.DIRECTORY, Format.SQL]
TRAILER = b"--\n-- PostgreSQL database dump complete"


def plain(counts: dict[str, int]) -> dict[str, int]:
    """Counts by names without the quotes that a manifest sets where a name needs them."""
    return {name.replace('"', ""): rows for name, rows in counts.items()}


@pytest.mark.parametrize("format_", FORMATS)
def test_b06_b10_e14_e16_a_restore_brings_everything_back_and_keeps_the_old_database(
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
    assert plain(counts) == plain(ROWS)
    assert count(any_db) == ROWS
    assert fingerprint(any_db) == before
    assert any_db.run("SELECT count(*) FROM pg_largeobject_metadata") == [(3,)]
    assert swapped.old is not None
    assert databases(any_db) == [any_db.name, swapped.old]
    assert "newer" in fingerprint(PgDatabase(any_db.server, swapped.old))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert any_db.run("INSERT INTO public.customer (name) VALUES ('next') RETURNING id") == [(51,)]


def test_a_restored_database_has_statistics_unless_that_is_declined(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE t AS SELECT generate_series(1, 100) a")
    archive = archive_of(pg_db, tmp_path, Format.CUSTOM)
    analysed = "SELECT count(*) FROM pg_stats WHERE tablename = 't'"
    with engine_on(pg_db) as engine:
        restore(engine, archive, LoadRequest(analyze=False, drop_old=True))
        assert pg_db.run(analysed) == [(0,)]
        restore(engine, archive, LoadRequest(drop_old=True))
        assert pg_db.run(analysed) == [(1,)]


@pytest.mark.parametrize("format_", FORMATS)
def test_a_missing_database_is_made(pg_db: PgDatabase, format_: Format, tmp_path: Path) -> None:
    fill(pg_db)
    archive = archive_of(pg_db, tmp_path, format_, encoding="UTF8", collation="C.UTF-8", ctype="C.UTF-8")
    wanted = fingerprint(pg_db)
    pg_db.server.drop_database(pg_db.name)
    with engine_on(pg_db) as engine:
        plan, swapped, _ = restore(engine, archive)
    assert (plan.strategy, plan.state, swapped.old) == (LoadStrategy.CREATE, TargetState.MISSING, None)
    assert fingerprint(pg_db) == wanted
    assert databases(pg_db) == [pg_db.name]


def test_a_missing_database_gets_the_settings_the_manifest_recorded(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    lines = (
        "ALTER DATABASE shop SET work_mem TO '5MB'",
        'ALTER DATABASE "sh op" SET search_path TO \'a\', "b", public',
        "ALTER DATABASE shop SET work_mem TO '1MB'; DROP TABLE t",
        "ALTER ROLE nobody_here IN DATABASE shop SET work_mem TO '7MB'",
    )
    pg_db.run("CREATE TABLE t (a int)")
    archive = archive_of(pg_db, tmp_path, Format.CUSTOM, database_settings=lines)
    pg_db.server.drop_database(pg_db.name)
    with engine_on(pg_db) as engine:
        _, swapped, _ = restore(engine, archive)
    assert pg_db.run("SHOW work_mem") == [("5MB",)]
    assert pg_db.run("SHOW search_path") == [("a, b, public",)]
    assert len(swapped.warnings) == 2
    assert "DROP TABLE" in swapped.warnings[0]
    assert "nobody_here" in swapped.warnings[1]
    assert pg_db.name in swapped.warnings[1]


def test_a_locale_this_server_does_not_know_is_replaced_and_told(pg_db: PgDatabase, tmp_path: Path) -> None:
    archive = archive_of(
        pg_db, tmp_path, Format.CUSTOM, encoding="UTF8", collation="English_United States.1252", ctype="C"
    )
    pg_db.server.drop_database(pg_db.name)
    with engine_on(pg_db) as engine:
        _, swapped, _ = restore(engine, archive)
    assert any("English_United States.1252" in text for text in swapped.warnings)


def test_an_empty_database_is_replaced_without_a_trace(pg_db: PgDatabase, tmp_path: Path) -> None:
    with pg_db.server.fresh() as source:
        source.run("CREATE TABLE t AS SELECT 1 a")
        archive = archive_of(source, tmp_path, Format.CUSTOM)
        with engine_on(pg_db) as engine:
            plan, swapped, _ = restore(engine, archive)
    assert (plan.state, swapped.old) == (TargetState.EMPTY, None)
    assert databases(pg_db) == [pg_db.name]
    assert count(pg_db) == {"public.t": 1}


@pytest.mark.parametrize("format_", FORMATS)
def test_an_empty_backup_is_a_backup(pg_db: PgDatabase, format_: Format, tmp_path: Path) -> None:
    archive = archive_of(pg_db, tmp_path, format_)
    pg_db.run("CREATE TABLE t (a int)")
    with engine_on(pg_db) as engine:
        restore(engine, archive)
    assert count(pg_db) == {}


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    ['Qu"oted\n name', "a=b host=elsewhere", "postgresql://x", "ö" * 31, "x" * 63, "back\\sl'ash"],
    ids=["quote and newline", "like keywords", "like a url", "multi-byte", "63 bytes", "escapes"],
)
@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.SQL])
def test_d20_any_name_a_database_can_have(pg: PgServer, name: str, format_: Format, tmp_path: Path) -> None:
    database = pg.create_database(name)
    left = []
    try:
        database.run("CREATE TABLE t AS SELECT 1 a")
        with pg.fresh() as copy:
            copy.run("CREATE TABLE t AS SELECT 1 a")
            archive = archive_of(copy, tmp_path, format_)
        database.run("DELETE FROM t")
        with engine_on(database) as engine:
            _, swapped, _ = restore(engine, archive)
        left.append(swapped.old)
        assert count(database) == {"public.t": 1}
        assert swapped.old is not None
        assert len(swapped.old.encode()) <= 63
        assert count(PgDatabase(pg, swapped.old)) == {"public.t": 0}
    finally:
        for found in (name, *left):
            pg.drop_database(found or "")


def test_a_damaged_database_is_renamed_aside(pg_db: PgDatabase, tmp_path: Path) -> None:
    """What an interrupted DROP DATABASE leaves: it is listed and nobody can connect."""
    pg_db.run("CREATE TABLE t AS SELECT 1 a")
    archive = archive_of(pg_db, tmp_path, Format.CUSTOM)
    server = pg_db.server
    server.run("postgres", "UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", (pg_db.name,))
    with engine_on(pg_db) as engine:
        plan, swapped, _ = restore(engine, archive)
    assert (plan.state, plan.facts, plan.strategy) == (TargetState.DAMAGED, None, LoadStrategy.SWAP)
    assert count(pg_db) == {"public.t": 1}
    assert databases(pg_db) == sorted([pg_db.name, swapped.old or ""])


# -- one server's backup in another ------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
def test_a_backup_of_16_loads_into_18(
    pg16: PgServer, pg18: PgServer, format_: Format, tmp_path: Path
) -> None:
    with pg16.fresh() as source, pg18.fresh() as target:
        fill(source)
        archive = archive_of(source, tmp_path, format_)
        with engine_on(target) as engine:
            _, _, counts = restore(engine, archive)
        assert plain(counts) == plain(ROWS)


@pytest.mark.parametrize("format_", FORMATS)
def test_e03_newer_tools_restore_into_an_older_server(
    pg16: PgServer, pg18: PgServer, format_: Format, tmp_path: Path
) -> None:
    """pg_dump and pg_restore of 18 set transaction_timeout, which 16 does not know."""
    with pg16.fresh() as database:
        fill(database)
        archive = archive_of(database, tmp_path, format_, tools=pg18.bin)
        database.run("DELETE FROM public.files")
        with engine_on(database, tools=pg18.bin) as engine:
            _, _, counts = restore(engine, archive)
        assert plain(counts) == plain(ROWS)
        assert count(database) == ROWS


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.ZSTD, Compression.GZIP])
def test_a_script_loads_whatever_its_compression(
    pg_db: PgDatabase, compression: Compression, tmp_path: Path
) -> None:
    fill(pg_db)
    archive = archive_of(pg_db, tmp_path, Format.SQL, compression=compression)
    pg_db.run("DELETE FROM public.files")
    with engine_on(pg_db) as engine:
        restore(engine, archive)
    assert count(pg_db) == ROWS


@pytest.mark.parametrize("format_", FORMATS)
def test_e01_a_backup_of_one_owner_works_on_a_server_without_that_role(
    pg16: PgServer, pg18: PgServer, format_: Format, tmp_path: Path
) -> None:
    """The InvenTree story: back up as one owner, restore elsewhere as another, and the application inserts."""
    inventree = pg16.create_role("LOGIN CREATEDB", name="inventree")
    app = pg18.create_role("LOGIN CREATEDB", name=f"app_{format_}")
    owned, mine = pg16.create_database(f"parts_{format_}", "OWNER inventree"), f"shop_{format_}"
    try:
        owned.seen_by(inventree).run(
            "CREATE TABLE part (id serial PRIMARY KEY, name text); INSERT INTO part (name) VALUES ('a'), ('b');"
            " GRANT SELECT ON part TO postgres; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO postgres"
        )
        archive = archive_of(owned.seen_by(inventree), tmp_path, format_)
        target = PgDatabase(app, mine)
        with engine_on(target) as engine:
            with pytest.raises(DbTasksError, match="inventree") as refused:
                plan_load(engine, archive, LoadRequest())
            assert "--no-owner" in refused.value.hint
            plan, _, _ = restore(engine, archive, LoadRequest(no_owner=True))
        assert any("inventree" in text for text in plan.warnings)
        assert target.run("INSERT INTO public.part (name) VALUES ('c') RETURNING id") == [(3,)]
        owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'part'"
        assert target.run(owner) == [(app.user,)]
    finally:
        pg16.drop_database(owned.name)
        pg18.drop_database(mine)
        pg16.run("postgres", "DROP ROLE IF EXISTS inventree")


def test_the_role_asked_for_owns_what_is_made(pg: PgServer, tmp_path: Path) -> None:
    role = pg.create_role("NOLOGIN")
    with pg.fresh() as source:
        source.run("CREATE TABLE t (a int)")
        pg.run("postgres", f'GRANT CREATE ON DATABASE "{source.name}" TO {role.user}')
        for number, format_ in enumerate(FORMATS):
            archive = archive_of(source, tmp_path, format_)
            target = PgDatabase(pg, f"{source.name}_{number}")
            with engine_on(target) as engine:
                restore(engine, archive, LoadRequest(no_owner=True, role=role.user))
            assert target.run("SELECT tableowner FROM pg_tables WHERE tablename = 't'") == [(role.user,)]


# -- failures ------------------------------------------------------------------------------


def assert_untouched(database: PgDatabase, before: str) -> None:
    assert fingerprint(database) == before
    assert databases(database) == [database.name]


STRATEGIES = ["beside", "in place"]
BROKEN = """
    CREATE SCHEMA inner_;
    CREATE FUNCTION inner_.limit_() RETURNS int LANGUAGE sql AS 'SELECT 5';
    CREATE FUNCTION inner_.check_(a int) RETURNS boolean LANGUAGE plpgsql AS
        'BEGIN PERFORM set_config(''search_path'', ''inner_'', true); RETURN a < limit_(); END';
    CREATE TABLE first (a int);
    INSERT INTO first SELECT generate_series(1, 1000);
    CREATE TABLE second (a int CHECK (inner_.check_(a)));
    INSERT INTO second VALUES (4);
    CREATE OR REPLACE FUNCTION inner_.check_(a int) RETURNS boolean LANGUAGE plpgsql AS
        'BEGIN RETURN a < limit_(); END';
"""


@pytest.mark.parametrize("in_place", [False, True], ids=STRATEGIES)
@pytest.mark.parametrize("format_", FORMATS)
def test_d01_e04_an_error_in_the_middle_leaves_the_live_database_alone(
    any_db: PgDatabase, format_: Format, in_place: bool, tmp_path: Path
) -> None:
    any_db.run(BROKEN)
    archive = archive_of(any_db, tmp_path, format_)
    before = fingerprint(any_db)
    with engine_on(any_db) as engine:
        plan = plan_load(engine, archive, LoadRequest(in_place=in_place))
        with pytest.raises(LoadFailed) as failed, loading(engine, plan, archive, list[Event]().append):
            pytest.fail("it loaded")
    assert "limit_" in failed.value.details
    assert failed.value.state == f"{any_db.name} {'is as it was' if in_place else 'was not touched'}"
    assert_untouched(any_db, before)


def scripted(database: PgDatabase, folder: Path, script: bytes) -> Archive:
    """An archive whose manifest fits a script, whatever that holds."""
    path = folder / "made.sql.gz"
    write_script(path, script, Compression.GZIP)
    return described(path, database, Format.SQL, Compression.GZIP)


@pytest.mark.parametrize("in_place", [False, True], ids=STRATEGIES)
def test_d07_an_error_behind_large_objects_leaves_nothing(
    pg_db: PgDatabase, in_place: bool, tmp_path: Path
) -> None:
    fill(pg_db)
    before = fingerprint(pg_db)
    script = tool(pg_db.server, "pg_dump", "-Fp", pg_db.name)
    assert b"\nCOMMIT;\n" in script
    archive = scripted(pg_db, tmp_path, script.replace(TRAILER, b"SELECT 1 / 0;\n\n" + TRAILER))
    with engine_on(pg_db) as engine, pytest.raises(LoadFailed, match="broke off") as failed:
        restore(engine, archive, LoadRequest(in_place=in_place))
    assert "division by zero" in failed.value.details
    assert_untouched(pg_db, before)
    assert pg_db.run("SELECT count(*) FROM pg_largeobject_metadata") == [(3,)]


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.999])
def test_d02_d03_d04_a_cut_script_is_refused_before_anything_happens(
    pg_db: PgDatabase, kept: float, tmp_path: Path
) -> None:
    fill(pg_db)
    before = fingerprint(pg_db)
    script = tool(pg_db.server, "pg_dump", "-Fp", pg_db.name)
    cut = scripted(pg_db, tmp_path, script[: int(len(script) * kept)])
    whole = archive_of(pg_db, tmp_path, Format.SQL)
    stump = tmp_path / "stump.sql.gz"
    stump.write_bytes(whole.path.read_bytes()[: int(whole.path.stat().st_size * kept)])
    with engine_on(pg_db) as engine:
        for archive in (cut, described(stump, pg_db, Format.SQL, Compression.GZIP)):
            with pytest.raises(ArchiveDamaged):
                plan_load(engine, archive, LoadRequest())
    assert_untouched(pg_db, before)


@pytest.mark.parametrize("in_place", [False, True], ids=STRATEGIES)
@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.DIRECTORY])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.8])
def test_c03_d06_a_cut_archive_never_becomes_live(
    pg_db: PgDatabase, format_: Format, kept: float, in_place: bool, tmp_path: Path
) -> None:
    fill(pg_db)
    pg_db.run("CREATE TABLE big AS SELECT md5(i::text) FROM generate_series(1, 20000) i")
    before = fingerprint(pg_db)
    whole = archive_of(pg_db, tmp_path, format_)
    cut = tmp_path / "cut"
    cut.write_bytes(whole.path.read_bytes()[: int(whole.path.stat().st_size * kept)])
    archive = described(cut, pg_db, format_, Compression.NONE)
    with engine_on(pg_db) as engine, pytest.raises((ArchiveDamaged, LoadFailed)):
        restore(engine, archive, LoadRequest(in_place=in_place))
    assert_untouched(pg_db, before)


def test_c07_a_script_that_is_not_the_manifests_is_not_committed(pg_db: PgDatabase, tmp_path: Path) -> None:
    fill(pg_db)
    before = fingerprint(pg_db)
    archive = archive_of(pg_db, tmp_path, Format.SQL)
    assert archive.manifest is not None
    other = replace(archive, manifest=replace(archive.manifest, sha256="0" * 64))
    with engine_on(pg_db) as engine, pytest.raises(ArchiveDamaged, match="sha256"):
        restore(engine, other)
    assert_untouched(pg_db, before)


def test_g01_a_script_with_a_command_is_refused_in_the_plan(pg_db: PgDatabase, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    script = tool(pg_db.server, "pg_dump", "-Fp", pg_db.name)
    archive = scripted(
        pg_db, tmp_path, script.replace(TRAILER, b"\\! touch %s\n%s" % (bytes(proof), TRAILER))
    )
    with engine_on(pg_db) as engine, pytest.raises(Refused, match="touch"):
        plan_load(engine, archive, LoadRequest())
    assert not proof.exists()


def test_leaving_without_a_commit_drops_what_was_loaded(pg_db: PgDatabase, tmp_path: Path) -> None:
    fill(pg_db)
    before = fingerprint(pg_db)
    archive = archive_of(pg_db, tmp_path, Format.CUSTOM)
    with engine_on(pg_db) as engine:
        plan = plan_load(engine, archive, LoadRequest())
        with loading(engine, plan, archive, list[Event]().append) as loaded:
            assert len(databases(pg_db)) == 2
            assert plain(loaded.counts()) == plain(ROWS)
        assert_untouched(pg_db, before)
        with pytest.raises(KeyboardInterrupt), loading(engine, plan, archive, list[Event]().append):
            raise KeyboardInterrupt
    assert_untouched(pg_db, before)


def test_what_a_killed_restore_left_is_swept_and_nothing_else(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t (a int)")
    archive = archive_of(pg_db, tmp_path, Format.CUSTOM)
    ours, others, used = (f"{pg_db.name}__new_{id_}" for id_ in ("a1b2c3", "d4e5f6", "a7b8c9"))
    for name in (ours, others, used):
        pg_db.server.create_database(name)
    for name in (ours, used):
        pg_db.server.run("postgres", f'COMMENT ON DATABASE "{name}" IS %s', (MARK,))
    connection = pg_db.server.connect(used)
    try:
        with engine_on(pg_db) as engine:
            _, swapped, _ = restore(engine, archive)
    finally:
        connection.close()
    assert databases(pg_db) == sorted([pg_db.name, others, used, swapped.old or ""])


def test_a_problem_of_the_loaded_database_is_named(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t VALUES (7)")
    archive = archive_of(
        pg_db,
        tmp_path,
        Format.CUSTOM,
        sequences=("public.t_id_seq", "public.gone=3"),
        extensions={"nowhere": "1"},
    )
    assert archive.manifest is not None
    with engine_on(pg_db) as engine:
        plan = plan_load(
            engine, replace(archive, manifest=replace(archive.manifest, extensions={})), LoadRequest()
        )
        with loading(engine, plan, archive, list[Event]().append) as loaded:
            problems = loaded.problems()
            swapped = loaded.commit()
    assert problems == (
        "the sequence public.gone did not come back",
        "the extension nowhere did not come back",
    )
    assert swapped.warnings == ("the sequence public.t_id_seq stands at 1, t.id at 7",)


def test_no_password_is_seen_while_loading(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t (a int)")
    archive = archive_of(pg_db, tmp_path, Format.CUSTOM)
    events: list[Event] = []
    with engine_of(pg_db.target, tools=pg_db.server.bin) as engine:
        restore(engine, archive, events=events)
    assert events
    assert not any(pg_db.server.password in repr(event) for event in events)
