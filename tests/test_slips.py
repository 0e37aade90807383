"""Slips of the hand: each ends with the words that put it right."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import Project
from tests.fix_postgres import PgDatabase
from tests.sqlite.databases import make, run
from tests.terminal import at_terminal

LATEST = "db.restore --file=latest"
SLIPS = {
    f"{LATEST} --confirm=ap": (6, "hint: --confirm=app.db, if that is the database you mean"),
    f"{LATEST} --yes --into=": (2, "✗ --into= names no database"),
    f"{LATEST} --yes --table=item,note": (2, "hint: repeat --table for each: --table=item --table=note"),
    f"{LATEST} --yes --table=": (2, "✗ no table is named: --table=NAME"),
    "db.restore --file=. --yes": (4, "no backup matches '.', and ROOT is a folder and no file to be read"),
    "db.restore --file=backups --unverified --yes": (
        4,
        "no backup matches 'backups', and ROOT/backups is a folder",
    ),
    "db.adopt --file=.": (4, "hint: name a file; invoke db.list --all shows what there is"),
    "db.adopt --file=nope.sql": (4, "files of others too; a relative path begins at ROOT"),
    f"{LATEST} --table=item --table=note": (6, "or bring one --table at a time in beside the live one"),
    f"{LATEST} --table=item": (6, "or bring the table in beside the live one with --as=NAME"),
    f"{LATEST} --table=item --table=note --into=x.db": (2, "--as=NAME brings one --table at a time in"),
}


@pytest.fixture
def shop(project: Project) -> Project:
    project.mount()
    make(project.root / "app.db")
    project.dotenv("DATABASE_URL=sqlite:///app.db\n")
    assert project.invoke("db.backup").returncode == 0
    return project


@pytest.mark.long
@pytest.mark.parametrize("command", SLIPS)
def test_a_slip_ends_with_what_puts_it_right(shop: Project, command: str) -> None:
    code, told = SLIPS[command]
    ran = shop.invoke(*command.split())
    assert ran.returncode == code, ran.stderr
    assert told.replace("ROOT", str(shop.root)) in ran.stderr


def test_a_name_with_a_comma_in_it_is_a_name(shop: Project) -> None:
    run(shop.root / "app.db", 'CREATE TABLE "a,b" (x)')
    assert shop.invoke("db.backup").returncode == 0
    ran = shop.invoke("db.restore", "--file=latest", "--table=a,b", "--yes")
    assert ran.returncode == 0, ran.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_a_name_typed_wrong_is_told_the_right_one(shop: Project) -> None:
    seen = at_terminal(shop, "db.restore", "--file=latest", dialog=[("Type the", "shop\r")])
    assert seen.returncode == 6
    assert "hint: type app.db, or say --confirm=app.db" in seen.text


def test_a_word_that_is_no_flag_is_explained_by_the_console_script(shop: Project) -> None:
    """Invoke reads the command line itself, before any task is asked."""
    ran = subprocess.run(
        [sys.executable, "-m", "dbtasks", "adopt", "nope.sql"],
        cwd=shop.root,
        env=shop.environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("No idea what 'nope.sql' is!\n  hint: ")
    assert "--file=" in ran.stderr


def test_slips_are_told_alike_for_a_server(project: Project, pg_db: PgDatabase) -> None:
    project.mount()
    pg_db.run("CREATE TABLE a (x int); CREATE TABLE b (x int)")
    environ = {"DATABASE_URL": pg_db.url, "DBTASKS_VIA": "host", "DBTASKS_PG_BIN": str(pg_db.server.bin)}
    assert project.invoke("db.backup", **environ).returncode == 0
    ran = project.invoke("db.restore", "--file=latest", "--table=a,public.b", "--yes", **environ)
    assert (ran.returncode, "repeat --table for each: --table=a --table=public.b" in ran.stderr) == (2, True)
    ran = project.invoke("db.restore", "--file=latest", "--into=", "--yes", **environ)
    assert (ran.returncode, "--into= names no database" in ran.stderr) == (2, True)
