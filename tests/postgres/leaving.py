"""SQLite databases that go to PostgreSQL, and what a project needs to let them."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.settings import Settings
from tests.conftest import Project
from tests.fix_postgres import PgDatabase, PgServer

SHOP = """
    CREATE TABLE customer (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, active BOOLEAN NOT NULL DEFAULT 1);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customer (id) ON DELETE CASCADE,
                         total NUMERIC(10, 2), paid_at DATETIME, note TEXT, photo BLOB, UNIQUE (customer_id, paid_at));
    CREATE INDEX orders_note ON orders (note);
    CREATE VIEW paid AS SELECT * FROM orders WHERE paid_at IS NOT NULL;
    CREATE TRIGGER told AFTER INSERT ON orders BEGIN SELECT 1; END;
    INSERT INTO customer VALUES (1, 'Ada', 1), (2, 'Gr€ce "H"\\', 0), (7, 'tab\there', 1);
    DELETE FROM customer WHERE id = 7;
    INSERT INTO orders VALUES (10, 1, 12.5, '2026-02-24 15:03:20', 'line' || char(10) || 'break', x'00ff'),
                              (11, 2, 3, NULL, NULL, NULL), (12, 2, 0.07, '2026-02-25 00:00:00', '', x'');
"""


def made(path: Path, script: str = SHOP) -> Path:
    """Make a SQLite file, or add to it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
        connection.commit()
    return path


def content(path: Path) -> list[str]:
    """All of a file, as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@dataclass(frozen=True)
class Move:
    """A project with a SQLite file, on its way to a database that is missing."""

    project: Project
    path: Path
    server: PgServer
    name: str

    @property
    def database(self) -> PgDatabase:
        return PgDatabase(self.server, self.name)

    @property
    def store(self) -> Path:
        return self.project.root / "backups"

    def settings(self, server: PgServer | None = None, **flags: Any) -> Settings:
        url = (server or self.server).url(self.name)
        return dbtasks.load_settings(self.project.root, environ={}, url=url, **flags)

    def plan(self, server: PgServer | None = None, **job: Any) -> dbtasks.MigrationPlan:
        job.setdefault("source", str(self.path))
        return dbtasks.plan_migration(self.settings(server), dbtasks.MigrationJob(**job))

    def migrate(self, server: PgServer | None = None, **job: Any) -> dbtasks.MigrationReport:
        return dbtasks.migrate(self.settings(server), self.plan(server, **job))

    def invoke(self, *flags: str, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        told = {"DATABASE_URL": self.server.url(self.name), **environ}
        ran = self.project.invoke("db.migrate", f"--from={self.path.name}", *flags, **told)
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran

    def document(self, *flags: str, code: int = 0, **environ: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.invoke(*flags, "--json", code=code, **environ).stdout)
        return found

    def databases(self) -> list[str]:
        """All that are there of this name, half made ones too."""
        found = self.server.run(
            "postgres",
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1",
            (self.name,),
        )
        return [str(name) for (name,) in found]


@pytest.fixture
def move(project: Project, pg: PgServer) -> Iterator[Move]:
    """A shop in SQLite, and the name of a database that is missing."""
    project.mount()
    with pg.fresh() as database:
        pg.drop_database(database.name)
        yield Move(project, made(project.root / "app.db"), pg, database.name)
