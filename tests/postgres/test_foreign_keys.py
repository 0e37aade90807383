"""Foreign keys whose other side is not there: said when a backup is planned, and when a load fails of it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import dbtasks
from dbtasks.engines.postgres.last_words import way_left
from dbtasks.engines.postgres.loading.load import loading, plan_load
from dbtasks.errors import LoadFailed, UsageError
from dbtasks.models import Archive, Compression, Format
from dbtasks.plans import DumpRequest, LoadRequest
from tests.conftest import Project
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.dumping import engine_of
from tests.postgres.projects import configured
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
    archive = Archive(Path("/srv/theirs.sql"), Format.SQL, Compression.NONE, None)
    assert "foreign key" in way_left(german, archive)
    assert (
        way_left("could not extend file: No space left on device") == "free some space on the server's disk"
    )
    assert way_left("ERROR:  syntax error\nCREATE TABLE public.foreign_key (a int);") == ""


@pytest.mark.long
@pytest.mark.parametrize("ours", [True, False])
def test_e05_the_way_that_is_left_is_a_command_that_works(project: Project, pg: PgServer, ours: bool) -> None:
    """A file without a manifest has no page of its own: it is adopted first."""
    owner = pg.create_role("LOGIN CREATEDB")
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        mine.run("CREATE TABLE c (id int PRIMARY KEY); CREATE TABLE o (c int REFERENCES c)")
        database.run("SET session_replication_role = replica; INSERT INTO o VALUES (7)")
        config = configured(project.root, mine, format="sql", compression="none")
        made = dbtasks.backup(config)
        theirs = project.root / "their dump.sql"
        theirs.write_bytes(made.path.read_bytes())
        project.mount()
        environ = {"DATABASE_URL": mine.url, "DBTASKS_VIA": "host", "DBTASKS_PG_BIN": str(pg.bin)}
        flags = (f"--file={made.id}",) if ours else ("--file=their dump.sql", "--unverified")
        ran = project.invoke("db.restore", *flags, "--yes", **environ)
        assert ran.returncode == 9, ran.stderr
        hint = ran.stderr.partition("  hint: ")[2].partition("\n")[0]
        command = shlex.split(hint.partition(" makes " if not ours else " prints ")[0])
        assert command[:2] == ["invoke", "db.show" if ours else "db.adopt"]
        shown = project.invoke(*command[1:], **environ)
        assert shown.returncode == 0, (command, shown.stderr)
        assert "By hand, without dbtasks:" in (shown if ours else project.invoke("db.show", **environ)).stdout
