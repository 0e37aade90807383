"""A dry run of every task: not one byte of a file and not one row, on SQLite and on PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dbtasks import ns
from tests.conftest import Project
from tests.fix_postgres import PgDatabase, PgServer, server_of_its_own
from tests.postgres.rich import fingerprint, tool
from tests.postgres.test_orphans import until
from tests.sqlite.databases import make, run
from tests.terminal import tree_of

# each of the three projects is made once
pytestmark = pytest.mark.xdist_group("dry")

DRY = [
    "db.backup --dry-run",
    "--dry db.backup",
    "db.backup --dry",
    "-R db.backup",
    "db.backup --type=daily --note=x --skip-cleanup --dry-run",
    "db.backup --output=out --dry-run",
    "db.restore --file=latest --dry-run",
    "db.restore --file=latest --yes --dry-run",
    "db.restore --file=latest --yes --skip-safety-backup --drop-old --dry-run",
    "db.restore --file=latest --table=item --dry-run",
    "db.restore --file=latest --table=item --as=copy --yes --dry-run",
    "db.restore --file=theirs --unverified --yes --dry-run",
    "-R db.restore --file=1 --yes",
    "db.restore --file=1 --yes -R",
    "db.undo --dry-run",
    "db.undo --yes --dry-run",
    "--dry db.undo --yes",
    "db.diff --dry-run",
    "db.diff --against=2 --dry-run",
    "db.diff --rows --dry-run",
    "--dry db.diff --rows --values --against=2",
    "db.verify --dry-run",
    "db.verify --all --dry-run",
    "db.verify --all --restore --dry-run",
    "--dry db.verify --restore --subset=1/2",
    "db.cleanup --keep=1 --yes --dry-run",
    "--dry db.cleanup --keep=1 --yes",
    "db.adopt --file=theirs --dry-run",
    "--dry db.adopt --file=theirs --type=daily",
    "db.list --all --dry-run",
    "db.show --dry-run",
    "db.info --dry-run",
    "db.log --dry-run",
]
FAILING = {
    "db.restore --file=nosuch --yes --dry-run": 4,
    "db.restore --file=theirs --yes --dry-run": 6,
    "db.restore --file=latest --yes --confirm=another --dry-run": 6,
    "db.adopt --file=nosuch --dry-run": 4,
    "db.migrate --dry-run": 2,
}
OF_SQLITE = [
    "db.restore --file=latest --confirm=shop.db --dry-run",
    "db.restore --file=latest --into=new/other.db --yes --dry-run",
]
OF_POSTGRES = [
    "db.backup --format=sql --dry-run",
    "db.backup --format=directory --jobs=2 --dry-run",
    "db.backup --schema-only --dry-run",
    "db.restore --file=latest --in-place --yes --dry-run",
    "db.restore --file=latest --no-owner --yes --dry-run",
    "db.restore --file=latest --into=another --yes --dry-run",
    "db.restore --file=theirs.sql --unverified --in-place --yes --dry-run",
    "db.restore --file=theirs.sql --unverified --table=item --yes --dry-run",
    "db.adopt --file=theirs.sql --dry-run",
    "db.migrate --from=leaving.db --to=another --dry-run",
    "--dry db.migrate --from=leaving.db --to=another --yes",
]


def test_no_task_is_left_out() -> None:
    tasks = {word for line in (*DRY, *OF_POSTGRES) for word in line.split() if word.startswith("db.")}
    assert tasks == {f"db.{name}" for name in ns.task_names}


@dataclass(frozen=True)
class Dry:
    """A project with something to back up, restore, take back, clean up and adopt."""

    project: Project
    environ: dict[str, str]

    def invoke(self, line: str) -> Any:
        return self.project.invoke(*line.split(), TMPDIR=str(self.project.root / "tmp"), **self.environ)

    def prepare(self, *lines: str) -> None:
        for line in lines:
            ran = self.invoke(line)
            assert ran.returncode == 0, ran.stderr


def project_in(folder: Path) -> Project:
    for name in (".git", "tmp"):
        (folder / name).mkdir()
    project = Project(folder)
    project.mount()
    return project


# -- SQLite ----------------------------------------------------------------------


@pytest.fixture(scope="module", params=["delete", pytest.param("wal", marks=pytest.mark.long)])
def sqlite_shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dry:
    folder = tmp_path_factory.mktemp("dry")
    dry = Dry(project_in(folder), {"DATABASE_URL": "sqlite:///shop.db"})
    path = make(folder / "shop.db", 100)
    make(folder / "theirs", 30)
    run(path, f"PRAGMA journal_mode={request.param}")
    dry.prepare("db.backup", "db.backup", "db.restore --file=latest --yes")
    run(path, "DELETE FROM item WHERE id >= 60")
    return dry


@pytest.mark.parametrize("line", [*DRY, *OF_SQLITE, *FAILING])
def test_d23_a_dry_run_changes_not_one_byte(sqlite_shop: Dry, line: str) -> None:
    before = tree_of(sqlite_shop.project.root)
    ran = sqlite_shop.invoke(line)
    assert ran.returncode == FAILING.get(line, 0), ran.stderr
    assert tree_of(sqlite_shop.project.root) == before
    assert bool(ran.stdout) is (line not in FAILING)


# -- PostgreSQL ------------------------------------------------------------------


@pytest.fixture(scope="module")
def quiet() -> Iterator[PgServer]:
    """A server on which nobody else does anything."""
    with server_of_its_own(18) as server:
        yield server


@dataclass(frozen=True)
class PgDry(Dry):
    """The same on a server."""

    database: PgDatabase
    """As its superuser sees it."""

    def state(self) -> list[Any]:
        """All there is on the server: each database, its files, its rows, and the next transaction's number."""
        server = self.database.server
        found = [server.run("postgres", query) for query in (EVERYTHING, FILES)]
        names = [row[1] for row in found[0] if row[2]]
        return [*found, *(fingerprint(PgDatabase(server, name)) for name in names if name != "postgres")]


EVERYTHING = """
    SELECT d.oid, datname, datallowconn, datdba, datacl::text, datconnlimit, shobj_description(d.oid, 'pg_database'),
           (SELECT array_agg(setconfig ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = d.oid),
           pg_snapshot_xmax(pg_current_snapshot())::text, (SELECT array_agg(rolname ORDER BY oid) FROM pg_roles)
    FROM pg_database d ORDER BY d.oid
"""
FILES = r"""
    SELECT d.oid, name, (pg_stat_file('base/' || d.oid || '/' || name)).size
    FROM pg_database d, pg_ls_dir('base/' || d.oid) AS name WHERE name ~ '^\d+$' ORDER BY 1, 2
"""
OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'dbtasks%'"


@pytest.fixture(scope="module")
def pg_shop(quiet: PgServer, tmp_path_factory: pytest.TempPathFactory) -> PgDry:
    folder = tmp_path_factory.mktemp("dry")
    owner = quiet.create_role("LOGIN CREATEDB", name="shopkeeper")
    database = quiet.create_database("shop", "OWNER shopkeeper")
    mine = database.seen_by(owner)
    mine.run(
        "CREATE TABLE public.item (id serial PRIMARY KEY, name text);"
        " INSERT INTO public.item (name) SELECT 'item ' || i FROM generate_series(1, 100) i;"
        " CREATE VIEW public.dear AS SELECT * FROM public.item"
    )
    (folder / "theirs").write_bytes(tool(owner, "pg_dump", "-Fc", "shop"))
    make(folder / "leaving.db", 3)
    (folder / "theirs.sql").write_bytes(tool(owner, "pg_dump", "--no-owner", "shop"))
    environ = {"DATABASE_URL": mine.url, "DBTASKS_PG_BIN": str(quiet.bin), "DBTASKS_VIA": "host"}
    dry = PgDry(project_in(folder), environ, database)
    dry.prepare("db.backup --format=sql", "db.backup", "db.restore --file=latest --yes")
    mine.run("DELETE FROM public.item WHERE id > 60; CREATE TABLE public.newer (a int)")
    # nothing of these statements is left to be written when a dry run looks at them
    for name in ("shop", "postgres", "template1"):
        quiet.run(name, "CHECKPOINT")
    return dry


@pytest.mark.long
@pytest.mark.parametrize("line", [*DRY, *OF_POSTGRES, *FAILING])
def test_d23_a_dry_run_changes_not_one_row_of_a_server_nor_byte_of_a_project(
    pg_shop: PgDry, line: str
) -> None:
    before = (tree_of(pg_shop.project.root), pg_shop.state())
    ran = pg_shop.invoke(line)
    assert ran.returncode == FAILING.get(line, 0), ran.stderr
    until(lambda: pg_shop.database.run(OURS) == [(0,)])
    assert pg_shop.state() == before[1]
    assert tree_of(pg_shop.project.root) == before[0]
    assert bool(ran.stdout) is (line not in FAILING)


@pytest.mark.long
def test_d23_what_the_server_is_asked_would_show_a_write(pg_shop: PgDry) -> None:
    """One row that is written and taken back at once: the others would prove nothing otherwise."""
    before = pg_shop.state()
    with closing(pg_shop.database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN; INSERT INTO public.newer VALUES (1); ROLLBACK")
    assert pg_shop.state() != before


@pytest.mark.long
def test_a_dry_run_of_a_mistyped_flag_is_no_dry_run_of_anything(pg_shop: PgDry) -> None:
    before = pg_shop.state()
    ran = pg_shop.invoke("db.restore --file=latest --yes --dryrun")
    assert ran.returncode == 1
    assert re.search("dryrun", ran.stderr)
    assert pg_shop.state() == before
