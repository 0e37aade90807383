"""The places whose backups are killed: a SQLite file, a server by the host's tools, a server in a container.

Each holds the bank, lets its money move, can look into a restored copy, and
says what a run has left behind outside of the backup folder.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import psycopg2

from tests.conftest import Project
from tests.fix_docker import Box
from tests.fix_postgres import PgDatabase

from .bank import SCHEMA

__all__ = ["ContainerPlace", "HostPlace", "Place", "SqlitePlace"]

PROOF = "proof"
"""Name of the database a backup is restored into to be looked at."""


class Place(Protocol):
    """A database and how it is backed up."""

    project: Project
    variants: tuple[tuple[str, ...], ...]
    """Flags of db.backup, one of them per run."""
    into: str
    """What `db.restore --into` is given for a proof."""

    def transaction(self, statements: tuple[str, ...]) -> None:
        """Change the live database, one transaction."""

    def ask(self, query: str, *, copy: bool = False) -> list[tuple[Any, ...]]:
        """Return the rows of a query in the live database, or in the restored copy."""

    def drop_copy(self) -> None:
        """Throw the restored copy away."""

    def left(self) -> list[str]:
        """Return what lies or runs outside of the backup folder because of our runs."""


class SqlitePlace:
    """A file; every other kind of journal has a place of its own."""

    variants = ((), ("--compression=gzip",), ("--compression=zstd",), ("--compression=none",))

    def __init__(self, project: Project, journal: str) -> None:
        self.project = project
        self.path = project.root / "app.db"
        self._copy = project.root / "proof.db"
        self.into = self._copy.name
        # stays open as an application's would: the last one to close takes the -wal away
        self._application = self._open(self.path)
        self._application.execute(f"PRAGMA journal_mode={journal}").fetchone()
        for statement in SCHEMA:
            self._application.execute(statement)
        project.dotenv("DATABASE_URL=sqlite:///app.db\n")

    def close(self) -> None:
        """Close the application's connection."""
        self._application.close()

    def _open(self, path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=30, isolation_level=None)

    def transaction(self, statements: tuple[str, ...]) -> None:
        # a process that was killed may have been in the way of a checkpoint, never of the next commit
        with closing(self._open(self.path)) as connection:
            for statement in ("BEGIN IMMEDIATE", *statements, "COMMIT"):
                connection.execute(statement)

    def ask(self, query: str, *, copy: bool = False) -> list[tuple[Any, ...]]:
        with closing(self._open(self._copy if copy else self.path)) as connection:
            return connection.execute(query).fetchall()

    def drop_copy(self) -> None:
        assert self.ask("PRAGMA integrity_check", copy=True) == [("ok",)]
        for path in self.project.root.glob(f"{self._copy.name}*"):
            path.unlink()

    def left(self) -> list[str]:
        return []


class _PostgresPlace(ABC):
    """What the two ways to a server have in common; a subclass knows how to connect."""

    into = PROOF
    variants = (
        (),
        ("--format=custom", "--globals"),
        ("--format=sql",),
        ("--format=sql", "--compression=none"),
        ("--format=directory", "--jobs=2"),
    )

    project: Project

    @abstractmethod
    def _connect(self, database: str = "") -> Any:
        """Return an open connection of psycopg2."""

    def _run(self, *statements: str, database: str = "") -> list[tuple[Any, ...]]:
        with closing(self._connect(database)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []

    def transaction(self, statements: tuple[str, ...]) -> None:
        self._run("BEGIN", *statements, "COMMIT")

    def ask(self, query: str, *, copy: bool = False) -> list[tuple[Any, ...]]:
        return self._run(query, database=PROOF if copy else "")

    def drop_copy(self) -> None:
        self._run(f"DROP DATABASE {PROOF}")

    def _sessions(self) -> list[str]:
        """Sessions of dead runs: a backend notices the end of its client when it next writes or reads."""
        others = self._run(
            "SELECT application_name || ': ' || left(query, 60) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name <> 'bank'"
        )
        return [f"session of {line}" for (line,) in others]


class HostPlace(_PostgresPlace):
    """A server and its own client tools on this machine."""

    def __init__(self, project: Project, database: PgDatabase) -> None:
        self.project = project
        self._database = database
        self._run(*SCHEMA)
        project.dotenv(
            f"DATABASE_URL={database.url}\nDBTASKS_VIA=host\nDBTASKS_PG_BIN={database.server.bin}\n"
        )

    def _connect(self, database: str = "") -> Any:
        server = self._database.server
        return psycopg2.connect(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            dbname=database or self._database.name,
            application_name="bank",
        )

    def left(self) -> list[str]:
        return self._sessions()


class ContainerPlace(_PostgresPlace):
    """A server in a container and its client tools in there; none on this machine."""

    def __init__(self, project: Project, box: Box) -> None:
        self.project = project
        self._box = box
        self._before = set(self._files())
        self._run(*SCHEMA)
        nothing = project.root / "no-tools"
        nothing.mkdir()
        project.dotenv(f"DATABASE_URL={box.url()}\nDBTASKS_VIA=container\nDBTASKS_PG_BIN={nothing}\n")

    def _connect(self, database: str = "") -> Any:
        return psycopg2.connect(self._box.url(database or None), application_name="bank")

    def left(self) -> list[str]:
        files = [f"file {name} inside" for name in set(self._files()) - self._before]
        server = ("postgres", "/sbin/docker-init", "/dev/init", "/bin/sh /entry.sh")
        processes = [
            f"process {line} inside" for line in self._box.processes() if not line.startswith(server)
        ]
        return [*files, *processes, *self._sessions()]

    def _files(self) -> list[str]:
        _, out = self._box.container.exec_run(["ls", "-A", "/tmp"])
        return sorted(out.decode().split())
