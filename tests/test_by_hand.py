"""The commands db.show prints, run without dbtasks; and backups that lie elsewhere."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dbtasks.formats import by_hand_inside
from dbtasks.models import Format, Route

from .conftest import Project
from .fix_docker import Box
from .fix_postgres import PgDatabase, PgServer
from .samples import a_backup


def make(path: Path, rows: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY)")
    connection.execute("DELETE FROM t")
    connection.executemany("INSERT INTO t VALUES (?)", [(i,) for i in range(rows)])
    connection.commit()
    connection.close()


def count(path: Path) -> int:
    connection = sqlite3.connect(path)
    (rows,) = connection.execute("SELECT count(*) FROM t").fetchone()
    connection.close()
    return int(rows)


def by_hand(project: Project, **environ: str) -> list[str]:
    shown = project.invoke("db.show", "--json", **environ)
    assert shown.returncode == 0, shown.stderr
    return list(json.loads(shown.stdout)["by_hand"])


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_sqlite_backup_is_restored_by_hand_with_the_commands_shown(project: Project, compression: str):
    project.mount()
    make(project.root / "a b.db", 7)
    environ = {"DATABASE_URL": "sqlite:///a b.db"}
    assert project.invoke("db.backup", f"--compression={compression}", **environ).returncode == 0
    # the last command only checks, and its program is not on every machine
    commands = [line for line in by_hand(project, **environ) if not line.startswith("sqlite3 ")]
    for command in commands:
        subprocess.run(["bash", "-c", command], cwd=project.root, check=True, stdout=subprocess.DEVNULL)
    assert count(project.root / "a b.db.restored") == 7


@pytest.mark.parametrize("format_", ["custom", "sql", "directory"])
def test_a_postgresql_backup_is_restored_by_hand_with_the_commands_shown(
    project: Project, pg: PgServer, pg_db: PgDatabase, format_: str
):
    project.mount()
    pg_db.run("CREATE TABLE public.t (id int PRIMARY KEY); INSERT INTO public.t SELECT generate_series(1, 9)")
    environ = {"DATABASE_URL": pg_db.url, "DBTASKS_PG_BIN": str(pg.bin)}
    assert project.invoke("db.backup", f"--format={format_}", **environ).returncode == 0
    login = {"PGHOST": pg.host, "PGPORT": str(pg.port), "PGUSER": pg.user, "PGPASSWORD": pg.password}
    shell = {**os.environ, **login, "PATH": f"{pg.bin}:{os.environ['PATH']}"}
    commands = by_hand(project, **environ)
    (new,) = [found[1] for line in commands if (found := re.match(r"createdb .* (\S+)$", line))]
    try:
        for command in commands:
            if command.startswith("createdb") and not (pg.bin / "createdb").exists():
                pg.create_database(new)
                continue
            subprocess.run(
                ["bash", "-c", command], cwd=project.root, env=shell, check=True, stdout=subprocess.DEVNULL
            )
        connection = pg.connect(new)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM public.t")
            assert cursor.fetchone() == (9,)
        connection.close()
    finally:
        pg.drop_database(new)


@pytest.mark.long
@pytest.mark.parametrize("format_", ["custom", "sql", "directory"])
def test_a_backup_made_through_a_container_is_restored_by_hand_inside_it(
    start_box: Callable[..., Box], project: Project, format_: str
):
    project.mount()
    box = start_box(user="app", database="shop")
    box.sql("CREATE TABLE public.t (id int PRIMARY KEY); INSERT INTO public.t SELECT generate_series(1, 9)")
    environ = {"DATABASE_URL": box.url(), "DBTASKS_CONTAINER": box.name, **docker_environ()}
    made = project.invoke("db.backup", f"--format={format_}", **environ)
    assert made.returncode == 0, made.stderr
    shown = json.loads(project.invoke("db.show", "--json", **environ).stdout)
    commands = shown["by_hand_inside"]
    assert f"export CONTAINER={box.name} PGUSER=app" in commands[0]
    assert f"  {commands[-1]}" in project.invoke("db.show", **environ).stdout
    # createdb is not in this image
    assert 'docker exec -i -e PGUSER "$CONTAINER" createdb -T template0 -E UTF8 shop_restored' in commands
    box.sql("CREATE DATABASE shop_restored TEMPLATE template0")
    script = "\n".join(command for command in commands if " createdb " not in command)
    shell = {**os.environ, **docker_environ()}
    subprocess.run(
        ["bash", "-euc", script], cwd=project.root, env=shell, check=True, stdout=subprocess.DEVNULL
    )
    assert box.sql("SELECT count(*) FROM public.t", "shop_restored") == "9"
    assert box.container.exec_run(["sh", "-c", "echo /tmp/*dir"])[1].decode().strip() == "/tmp/*dir"
    loader = "psql" if format_ == "sql" else "pg_restore"
    assert any(f"{loader} must be 1" in command for command in shown["by_hand"])


def test_what_is_not_known_of_a_container_is_left_to_be_put_in(project: Project):
    backup = a_backup(route=Route.CONTAINER, format=Format.CUSTOM, globals="roles.sql")
    commands = by_hand_inside(backup)
    assert "export CONTAINER=NAME PGUSER=ROLE" in commands[0]
    assert commands[1].startswith('docker exec -i -e PGUSER "$CONTAINER" psql -X -d postgres < ')
    assert by_hand_inside(a_backup(route=Route.HOST)) == ()


def docker_environ() -> dict[str, str]:
    return {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}


def test_a_backup_carried_elsewhere_with_its_manifest_is_one(project: Project):
    project.mount()
    make(project.root / "app.db", 5)
    environ = {"DATABASE_URL": "sqlite:///app.db"}
    away = project.root / "away"
    away.mkdir()
    made = project.invoke("db.backup", f"--output={away}", "--json", **environ)
    assert made.returncode == 0, made.stderr
    path = json.loads(made.stdout)["backup"]["path"]
    make(project.root / "app.db", 1)
    assert project.invoke("db.verify", f"--file={path}", **environ).returncode == 0
    restored = project.invoke("db.restore", f"--file={path}", "--yes", **environ)
    assert restored.returncode == 0, restored.stderr
    assert count(project.root / "app.db") == 5
    with Path(path).open("r+b") as archive:
        archive.seek(100)
        archive.write(b"\xff\xff")
    assert project.invoke("db.restore", f"--file={path}", "--yes", **environ).returncode == 5


def test_what_is_damaged_or_partial_is_seen_in_forty_columns(project: Project):
    from datetime import UTC, datetime

    from dbtasks.console.screens import list_lines
    from dbtasks.executors.browse import list_backups
    from dbtasks.settings import load_settings

    project.mount()
    make(project.root / "app.db", 5)
    environ = {"DATABASE_URL": "sqlite:///app.db"}
    assert project.invoke("db.backup", **environ).returncode == 0
    assert project.invoke("db.backup", **environ).returncode == 0
    settings = load_settings(project.root, environ=environ)
    newest = list_backups(settings).backups[0]
    newest.path.chmod(0o600)
    with newest.path.open("r+b") as archive:
        archive.seek(100)
        archive.write(b"\xff\xff")
    assert project.invoke("db.verify", "--all", **environ).returncode == 5
    lines = list_lines(list_backups(settings), datetime.now(UTC), everything=False, width=40)
    assert all(len(line) <= 40 for line in lines)
    assert "✗ damaged" in lines[1]
    assert "latest" in lines[2]
