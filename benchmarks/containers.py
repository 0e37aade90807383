"""PostgreSQL in a container, of an image made from local files: no registry is asked.

The image holds the server and the tools of a wheel, the C library and the few
programs dbtasks needs inside, and starts as the official ones do: a password
over the network, trust on the local socket.
"""

from __future__ import annotations

import contextlib
import io
import re
import secrets
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dbtasks.errors import RouteUnavailable
from dbtasks.runners.docker_door import docker_client

from .servers import Server, Unavailable, installation, server_options

__all__ = ["running_container"]

IMAGE = "dbtasks-bench-postgres"
HOME = "opt/postgres"
PROGRAMS = [
    "bash",
    "cat",
    "chmod",
    "env",
    "id",
    "ls",
    "mkdir",
    "mv",
    "rm",
    "sha256sum",
    "sleep",
    "timeout",
    "true",
]
PG_TOOLS = ("postgres", "initdb", "psql", "pg_dump", "pg_restore")
LIBRARY = re.compile(r"(/\S+)")
READY_SECONDS = 60.0
IMPORT_SECONDS = 180
CHANGES = [
    f"ENV PATH=/{HOME}/bin:/usr/bin:/bin",
    "ENV PGDATA=/var/lib/postgresql/data",
    "USER postgres",
    "EXPOSE 5432/tcp",
    'ENTRYPOINT ["/start.sh"]',
]
START = """#!/bin/sh
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  echo "$POSTGRES_PASSWORD" >/tmp/password
  initdb -U postgres --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 --no-locale -E UTF8 >/dev/null
  rm /tmp/password
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql,/tmp "$@"
"""


@contextlib.contextmanager
def running_container(version: int, scale: float) -> Iterator[tuple[Server, str]]:
    """Start a container with an empty server; yield how it is reached from outside, and its name.

    The container, its data and the image are gone when the block ends.

    Raises:
        Unavailable: no Docker engine answers, or the image cannot be made here.
    """
    if sys.platform != "linux":
        raise Unavailable("the image is made from this machine's own files, which must be Linux's")
    with contextlib.ExitStack() as held:
        client = _client(held)
        container, password = _started(client, held, version, scale)
        container.reload()
        (network,) = container.attrs["NetworkSettings"]["Networks"].values()
        # by its address: a published port leads through docker-proxy, which would slow the yardstick down
        server = Server(
            str(version), 5432, password, installation(version) / "bin", host=network["IPAddress"]
        )
        _wait(server, container)
        yield server, container.name


def _started(client: Any, held: contextlib.ExitStack, version: int, scale: float) -> tuple[Any, str]:
    """Import the image and start a container of it; return it with the server's password."""
    from docker.errors import DockerException

    folder, tag, password = installation(version), f"{version}-{secrets.token_hex(4)}", secrets.token_hex(12)
    image = f"{IMAGE}:{tag}"
    settings = (("-c", f"{name}={value}") for name, value in server_options(scale).items())
    try:
        tar = _layers(folder)
        client.api.import_image_from_data(tar, repository=IMAGE, tag=tag, changes=CHANGES)
        held.callback(client.images.remove, image, force=True)
        container = client.containers.run(
            image,
            [part for pair in settings for part in pair],
            name=f"{IMAGE}-{tag}",
            detach=True,
            shm_size="1g",
            environment={"POSTGRES_PASSWORD": password},
        )
        held.callback(container.remove, force=True, v=True)
    except DockerException as exc:
        raise Unavailable(f"no container could be started: {exc}") from exc
    return container, password


def _client(held: contextlib.ExitStack) -> Any:
    try:
        client = held.enter_context(docker_client())
    except RouteUnavailable as exc:
        raise Unavailable("no Docker engine answers here") from exc
    client.api.timeout = IMPORT_SECONDS
    return client


def _layers(folder: Path) -> bytes:
    """Return the image's files as one tar."""
    buffer = io.BytesIO()
    programs = [Path(found) for found in map(shutil.which, PROGRAMS) if found]
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(folder, HOME, filter=_needed)
        for path in _libraries([*programs, *(folder / "bin" / tool for tool in PG_TOOLS)]):
            if not path.is_relative_to(folder):
                tar.add(path.resolve(), str(path).lstrip("/"))
        for program in programs:
            tar.add(program.resolve(), f"usr/bin/{program.name}")
        for name, target in (("bin", "usr/bin"), ("usr/bin/sh", "bash")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        _add_text(tar, "start.sh", START, 0o755)
        _add_text(tar, "etc/passwd", "root:x:0:0::/:/bin/sh\npostgres:x:70:70::/var/lib/postgresql:/bin/sh\n")
        _add_text(tar, "etc/group", "root:x:0:\npostgres:x:70:\n")
        for name, mode in (("tmp", 0o1777), ("var/run/postgresql", 0o777), ("var/lib/postgresql", 0o777)):
            empty = tarfile.TarInfo(name)
            empty.type, empty.mode = tarfile.DIRTYPE, mode
            tar.addfile(empty)
    return buffer.getvalue()


def _needed(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    superfluous = "/include" in entry.name or entry.name.endswith(".a")
    entry.uid = entry.gid = 0
    entry.mode |= 0o555 if entry.isdir() or entry.mode & 0o100 else 0o444
    return None if superfluous else entry


def _libraries(programs: Iterable[Path]) -> list[Path]:
    found: set[Path] = set()
    for program in programs:
        said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
        found.update(Path(path) for path in LIBRARY.findall(said))
    return sorted(found)


def _add_text(tar: tarfile.TarFile, name: str, text: str, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(text.encode()), mode
    tar.addfile(entry, io.BytesIO(text.encode()))


def _wait(server: Server, container: Any) -> None:
    import psycopg2

    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            server.connect().close()
            return
        except psycopg2.OperationalError as exc:
            if time.monotonic() > deadline:
                log = container.logs().decode(errors="replace")[-800:]
                raise Unavailable(f"the server in the container did not start: {log}") from exc
        time.sleep(0.1)
