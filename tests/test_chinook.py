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


@pytest.mark.parametrize(
    "format_",
    [
        "custom",
        pytest.param("sql", marks=pytest.mark.long),
        pytest.param("directory", marks=pytest.mark.long),
    ],
)
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


def spelled_as_in(server: PgServer, path: Path) -> None:
    """Give PostgreSQL's tables and columns the names they have in SQLite: album_id is AlbumId there."""
    connection, theirs = server.connect("chinook"), sqlite3.connect(path)
    with connection.cursor() as cursor:
        for (table,) in theirs.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            cursor.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND replace(relname, '_', '') = lower(%s)",
                (table,),
            )
            ((ours,),) = cursor.fetchall()
            for _, column, *_ in theirs.execute(f'PRAGMA table_info("{table}")').fetchall():
                cursor.execute(
                    "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND replace(attname, '_', '') = lower(%s)",
                    (ours, column),
                )
                ((name,),) = cursor.fetchall()
                if name != column:
                    cursor.execute(f'ALTER TABLE "{ours}" RENAME "{name}" TO "{column}"')
            if "_" in ours:
                cursor.execute(f'ALTER TABLE "{ours}" RENAME TO "{table}"')
    connection.commit()
    connection.close()
    theirs.close()


def test_the_rows_of_chinook_are_compared_across_engines_and_the_few_that_differ_are_found(
    project: Project, chinook: Path, chinook_pg: PgServer
):
    path = project.root / "Chinook.db"
    shutil.copy(chinook / "Chinook_Sqlite.sqlite", path)
    spelled_as_in(chinook_pg, path)
    project.mount()
    made = project.invoke("db.backup", "--format=rows", "--json", DATABASE_URL=f"sqlite:///{path}")
    assert made.returncode == 0, made.stderr
    file = f"--file={json.loads(made.stdout)['backup']['path']}"
    environ = {"DATABASE_URL": chinook_pg.url("chinook")}
    compared = project.invoke("db.diff", "--rows", "--exit-code", "--json", file, **environ)
    assert compared.returncode == 10, compared.stdout + compared.stderr
    tables = json.loads(compared.stdout)["rows"]["tables"]
    assert {t["table"]: t["against_rows"] for t in tables}["Track"] == 3503
    assert len(tables) == 11
    assert [t["notes"] for t in tables] == [[]] * 11
    assert all(t["key"] for t in tables)
    # the sample's two scripts themselves spell one address in two ways: a customer's, and that of the seven invoices
    assert {t["table"]: (t["added"], t["removed"], t["changed"]) for t in tables if t["differs"]} == {
        "Customer": (0, 0, 1),
        "Invoice": (0, 0, 7),
    }
    shown = project.invoke("db.diff", "--rows", "--values", file, "--table=Customer", **environ)
    assert 'Changed  Customer  CustomerId 54: City "Edinburgh' in shown.stdout
    connection = chinook_pg.connect("chinook")
    with connection.cursor() as cursor:
        cursor.execute("""UPDATE invoice SET "Total" = "Total" + 0.01 WHERE "InvoiceId" = 7""")
    connection.commit()
    connection.close()
    found = project.invoke("db.diff", "--rows", "--values", file, "--table=Invoice", **environ)
    assert "Changed  Invoice  InvoiceId 7: Total 1.98 → 1.99" in found.stdout


def test_chinook_goes_from_sqlite_to_postgresql_and_comes_back_equal(
    chinook: Path, pg: PgServer, project: Project
):
    """By db.migrate, then by a rows backup into a new SQLite file: every value of every table is what it was."""
    path = project.root / "Chinook.db"
    shutil.copy(chinook / "Chinook_Sqlite.sqlite", path)
    project.mount()
    environ = {"DATABASE_URL": pg.url("chinook_moved")}
    pg.drop_database("chinook_moved")
    try:
        ran = project.invoke("db.migrate", "--from=Chinook.db", "--yes", "--json", **environ)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        migration = json.loads(ran.stdout)["migration"]
        assert (len(migration["tables"]), migration["rows"]) == (11, 15607)
        assert {t["table"]: t["target_rows"] for t in migration["tables"]}["Track"] == 3503
        assert all(t["checksum"] and t["source_rows"] == t["target_rows"] for t in migration["tables"])
        made = project.invoke("db.backup", "--format=rows", "--json", **environ)
        assert made.returncode == 0, made.stderr
    finally:
        pg.drop_database("chinook_moved")
    file = f"--file={json.loads(made.stdout)['backup']['path']}"
    back = project.invoke("db.restore", file, "--into=back.db", "--yes", DATABASE_URL="sqlite:///Chinook.db")
    assert back.returncode == 0, back.stderr
    assert values_of(project.root / "back.db") == values_of(path)


def values_of(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, in order."""
    connection = sqlite3.connect(path)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    rows = {name: sorted(connection.execute(f'SELECT * FROM "{name}"'), key=repr) for name in sorted(names)}
    connection.close()
    return {name: found for name, found in rows.items() if not name.startswith("sqlite_")}
