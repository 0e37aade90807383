"""What the README says, run: its demo, its Python, its table of things that go wrong."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import REPOSITORY, Project
from .fix_postgres import PgServer

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
TABLE = re.compile(r"^\| (?P<what>[^|]+?) \| (?P<code>\d+) \| ", re.MULTILINE)
WRONG = {found["what"]: int(found["code"]) for found in TABLE.finditer(README)}


def make_sqlite(path: Path, rows: int = 10) -> Path:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
    connection.executemany("INSERT INTO t (name) VALUES (?)", [(f"row {i}",) for i in range(rows)])
    connection.commit()
    connection.close()
    return path


def test_the_demo_of_the_first_command_breaks_and_restores_a_database():
    ran = subprocess.run(
        [sys.executable, "-m", "invoke", "demo"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "All orders are back: 5,000" in ran.stdout


def test_the_python_of_the_readme_runs(project: Project):
    make_sqlite(project.root / "app.db")
    (code,) = [
        block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "load_settings" in block
    ]
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=project.root, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("1 10 ")
    assert (project.root / "copy.db").exists()


def test_the_table_of_troubles_has_exactly_the_known_ones():
    assert list(WRONG) == list(TROUBLES)


def no_database(project: Project, pg: PgServer) -> subprocess.CompletedProcess[str]:
    return project.invoke("db.backup")


def wrong_password(project: Project, pg: PgServer) -> subprocess.CompletedProcess[str]:
    url = f"postgresql://{pg.user}:not-it-at-all@{pg.host}:{pg.port}/postgres"
    ran = project.invoke("db.backup", DATABASE_URL=url, DBTASKS_PG_BIN=str(pg.bin))
    assert "not-it-at-all" not in ran.stdout + ran.stderr
    return ran


def server_away(project: Project, pg: PgServer) -> subprocess.CompletedProcess[str]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        return project.invoke(
            "db.backup", DATABASE_URL=f"postgresql://app@127.0.0.1:{port}/shop", DBTASKS_PG_BIN=str(pg.bin)
        )


def tool_missing(project: Project, pg: PgServer) -> subprocess.CompletedProcess[str]:
    return project.invoke("db.backup", DATABASE_URL=pg.url(), DBTASKS_PG_BIN=str(project.root))


def folder_unwritable(project: Project, pg: PgServer) -> subprocess.CompletedProcess[str]:
    make_sqlite(project.root / "app.db")
    # a file in the folder's place: root may write everywhere else
    (project.root / "backups").write_text("in the way")
    return project.invoke("db.backup", DATABASE_URL="sqlite:///app.db")


def folder_full(project: Project, pg: PgServer) -> subprocess.CompletedProcess[str]:
    limited = (
        "import resource, runpy, signal, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "sys.argv = ['invoke', 'db.backup', '--compression=none']; runpy.run_module('invoke', run_name='__main__')"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "DBTASKS_PG_BIN": str(pg.bin)}
    connection = pg.connect()
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE large AS SELECT md5(g::text) FROM generate_series(1, 20000) g")
        ran = subprocess.run(
            [sys.executable, "-c", limited],
            cwd=project.root,
            env={**environment, "DATABASE_URL": pg.url()},
            capture_output=True,
            text=True,
            check=False,
        )
        cursor.execute("DROP TABLE large")
    connection.close()
    assert list((project.root / "backups" / "manual").iterdir()) == []
    return ran


def bad_number(project: Project, pg: PgServer) -> subprocess.CompletedProcess[str]:
    make_sqlite(project.root / "app.db")
    return project.invoke("db.cleanup", "--keep=many", DATABASE_URL="sqlite:///app.db")


def wrong_engine(project: Project, pg: PgServer) -> subprocess.CompletedProcess[str]:
    make_sqlite(project.root / "app.db")
    made = project.invoke("db.backup", DATABASE_URL=pg.url(), DBTASKS_PG_BIN=str(pg.bin))
    assert made.returncode == 0, made.stderr
    (archive,) = (project.root / "backups" / "manual").glob("*.dump")
    return project.invoke("db.restore", f"--file={archive}", "--yes", DATABASE_URL="sqlite:///app.db")


def damaged_file(project: Project, pg: PgServer) -> subprocess.CompletedProcess[str]:
    make_sqlite(project.root / "app.db")
    assert project.invoke("db.backup", DATABASE_URL="sqlite:///app.db").returncode == 0
    (archive,) = (project.root / "backups" / "manual").glob("*.sqlite3")
    data = bytearray(archive.read_bytes())
    data[-1] ^= 1
    archive.write_bytes(data)
    return project.invoke("db.restore", "--file=latest", "--yes", DATABASE_URL="sqlite:///app.db")


def database_emptied(project: Project, pg: PgServer) -> subprocess.CompletedProcess[str]:
    path = make_sqlite(project.root / "app.db", 100)
    assert project.invoke("db.backup", DATABASE_URL="sqlite:///app.db").returncode == 0
    path.unlink()
    make_sqlite(path, 0)
    return project.invoke("db.backup", DATABASE_URL="sqlite:///app.db")


def no_terminal(project: Project, pg: PgServer) -> subprocess.CompletedProcess[str]:
    make_sqlite(project.root / "app.db")
    assert project.invoke("db.backup", DATABASE_URL="sqlite:///app.db").returncode == 0
    return project.invoke("db.restore", "--file=latest", DATABASE_URL="sqlite:///app.db")


TROUBLES: dict[str, tuple[Callable[[Project, PgServer], subprocess.CompletedProcess[str]], str]] = {
    "no database configured": (no_database, "no database is configured"),
    "wrong password": (wrong_password, "refused the login"),
    "server away": (server_away, "cannot be reached"),
    "tool missing or old": (tool_missing, "pg_dump was not found"),
    "backup folder unwritable": (folder_unwritable, "the backup folder"),
    "backup folder full": (folder_full, "no space left"),
    "bad number": (bad_number, "allowed is a whole number"),
    "wrong engine's file": (wrong_engine, "holds a postgresql database"),
    "damaged file": (damaged_file, "checksum"),
    "database emptied": (database_emptied, "less than 50% of"),
    "no terminal": (no_terminal, "there is no terminal to ask"),
}


@pytest.mark.parametrize("what", list(TROUBLES))
def test_each_trouble_of_the_readme_ends_with_its_code_and_one_clear_message(
    what: str, project: Project, pg: PgServer
):
    project.mount()
    act, message = TROUBLES[what]
    ran = act(project, pg)
    assert ran.returncode == WRONG[what], ran.stderr
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
    assert any(part in ran.stderr for part in ("hint:", "state:", "allowed is", "--accept="))
