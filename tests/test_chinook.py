"""The Chinook sample database, by both engines, as a host project would use it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Project
from .fix_postgres import PgServer

VARIABLE = "DBTASKS_TEST_CHINOOK"


@pytest.fixture
def chinook() -> Path:
    """The folder of the sample, named by the environment."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} does not name the folder of the Chinook sample")
    return Path(folder)


@pytest.fixture
def chinook_pg(chinook: Path, pg: PgServer) -> Iterator[PgServer]:
    """Chinook in a PostgreSQL database of its own, loaded from its script."""
    script = (chinook / "Chinook_PostgreSql_AutoIncrementPKs.sql").read_text(encoding="utf-8-sig")
    # the script makes its own database and changes to it: the rest is what belongs inside
    body = script.split("\\c chinook_auto_increment;", 1)[1]
    pg.create_database("chinook")
    environment = {**os.environ, "PGPASSWORD": pg.password}
    login = ["-h", pg.host, "-p", str(pg.port), "-U", pg.user, "-d", "chinook"]
    subprocess.run(
        [str(pg.bin / "psql"), "-Xq", "-v", "ON_ERROR_STOP=1", *login],
        input=body,
        text=True,
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    yield pg
    connection = pg.connect("postgres")
    with connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE 'chinook%'")
        for (name,) in cursor.fetchall():
            cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    connection.close()


def sqlite_content(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    lines = list(connection.iterdump())
    connection.close()
    return lines


def pg_content(server: PgServer) -> dict[str, list[tuple[object, ...]]]:
    connection = server.connect("chinook")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        names = sorted(name for (name,) in cursor.fetchall())
        content = {}
        for name in names:
            cursor.execute(f'SELECT t::text FROM public."{name}" t ORDER BY 1')
            content[name] = cursor.fetchall()
    connection.close()
    return content


def test_a_broken_sqlite_chinook_comes_back_equal(chinook: Path, project: Project):
    project.mount()
    live = project.root / "chinook.db"
    shutil.copyfile(chinook / "Chinook_Sqlite.sqlite", live)
    before = sqlite_content(live)
    environment = {"DATABASE_URL": "sqlite:///chinook.db"}
    made = project.invoke("db.backup", "--json", **environment)
    assert made.returncode == 0, made.stderr
    rows = {t["name"]: t["rows"] for t in json.loads(made.stdout)["backup"]["tables"]}
    assert rows["Track"] == 3503
    connection = sqlite3.connect(live)
    connection.executescript("DELETE FROM PlaylistTrack; DROP TABLE Invoice; UPDATE Artist SET Name = 'x';")
    connection.close()
    restored = project.invoke("db.restore", "--file=latest", "--yes", **environment)
    assert restored.returncode == 0, restored.stderr
    assert sqlite_content(live) == before


@pytest.mark.parametrize("format_", ["custom", "sql", "directory"])
def test_a_broken_postgresql_chinook_comes_back_equal(chinook_pg: PgServer, project: Project, format_: str):
    project.mount()
    environment = {"DATABASE_URL": chinook_pg.url("chinook"), "DBTASKS_PG_BIN": str(chinook_pg.bin)}
    before = pg_content(chinook_pg)
    assert len(before["track"]) == 3503
    made = project.invoke("db.backup", f"--format={format_}", **environment)
    assert made.returncode == 0, made.stderr
    connection = chinook_pg.connect("chinook")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM playlist_track; DROP TABLE invoice CASCADE; UPDATE artist SET name = 'x'")
    connection.close()
    restored = project.invoke("db.restore", "--file=latest", "--yes", **environment)
    assert restored.returncode == 0, restored.stderr
    assert pg_content(chinook_pg) == before
    connection = chinook_pg.connect("chinook")
    with connection.cursor() as cursor:
        # the identity goes on where it was
        cursor.execute("INSERT INTO artist (name) VALUES ('new') RETURNING artist_id")
        assert cursor.fetchone() == (276,)
    connection.close()
