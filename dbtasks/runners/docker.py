"""Finding the database's container: what Docker says of it, and a pure choice.

Found by name, by compose labels (the working directory first, so that no YAML
has to be read), by published port or by address. A container is taken only
when the url reaches it, and two candidates are refused, never guessed between.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import ContainerStopped, RouteRefused, RouteUnavailable
from ..models import PostgresTarget
from .docker_door import docker_client, no_docker

__all__ = [
    "Container",
    "Wanted",
    "choose",
    "describe",
    "docker_client",
    "handle",
    "list_containers",
    "look",
    "project_name",
    "reaches",
    "require_running",
]

COMPOSE = "com.docker.compose."
POSTGRES_PORT = 5432
DATA_FOLDER = "/var/lib/postgresql/data"
LOOPBACK = ("", "localhost", "127.0.0.1", "::1")
TRANSIENT = ("created", "restarting")
"""States a container may leave by itself while somebody waits for it."""
ANY_ADDRESS = ("", "0.0.0.0", "::", "127.0.0.1", "::1")  # noqa: S104 - what Docker calls "every interface", read not bound


@dataclass(frozen=True)
class Container:
    """What discovery and db.info need to know of one container; no secret is taken over."""

    id: str
    name: str
    image: str
    status: str
    """Docker's own word: running, exited, paused, restarting, created …"""
    health: str = ""
    """healthy, unhealthy, starting; empty where the image has no check."""
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    """POSTGRES_USER, POSTGRES_DB and PGDATA, where they are set."""
    exposed: frozenset[int] = frozenset()
    published: Mapping[int, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    """Container port → (address, port) on this machine."""
    addresses: frozenset[str] = frozenset()
    aliases: frozenset[str] = frozenset()
    volumes: tuple[str, ...] = ()
    mounted: tuple[str, ...] = ()
    """Where its volumes and folders of the host are, in it; what lies in memory is none."""
    started_at: str = ""

    @property
    def service(self) -> str:
        """The compose service, empty where compose did not start it."""
        return self.labels.get(f"{COMPOSE}service", "")

    @property
    def project(self) -> str:
        """The compose project."""
        return self.labels.get(f"{COMPOSE}project", "")

    @property
    def working_dir(self) -> str:
        """The folder compose was started in."""
        return self.labels.get(f"{COMPOSE}project.working_dir", "")

    @property
    def oneoff(self) -> bool:
        """Whether `compose run` made it for one command."""
        return self.labels.get(f"{COMPOSE}oneoff", "").lower() == "true"

    @property
    def speaks_postgres(self) -> bool:
        """Whether it is a database, told by its port and never by a name: pgAdmin is called postgres-something too."""
        return (
            POSTGRES_PORT in self.exposed or POSTGRES_PORT in self.published or "PGDATA" in self.environment
        )

    @property
    def ports(self) -> tuple[tuple[str, int], ...]:
        """Where its database is published on this machine."""
        return self.published.get(POSTGRES_PORT, ())

    @property
    def data_folder(self) -> str:
        """Where its database lies: PGDATA, or the official image's default."""
        return self.environment.get("PGDATA") or DATA_FOLDER

    @property
    def keeps_data(self) -> bool:
        """Whether the database lies on a volume or a folder of the host, and not in the container itself."""
        folder = PurePosixPath(self.data_folder)
        return any(folder.is_relative_to(place) for place in self.mounted if place)

    @property
    def is_running(self) -> bool:
        """Whether it takes commands."""
        return self.status == "running"

    @property
    def may_come_up(self) -> bool:
        """Whether it may be running in a moment without anybody's doing."""
        return self.status in TRANSIENT

    @property
    def condition(self) -> str:
        """Its status in a sentence's words: `exited`, `paused`, `created but was never started` …"""
        return f"{self.status} but was never started" if self.status == "created" else self.status or "gone"

    @property
    def helps(self) -> str:
        """The one command that helps in the state it is in."""
        if self.status == "paused":
            return f"docker unpause {shlex.quote(self.name)}"
        if self.status in ("restarting", "running"):
            return f"docker logs {shlex.quote(self.name)}"
        if self.service:
            return f"docker compose up -d {shlex.quote(self.service)}"
        return f"docker start {shlex.quote(self.name)}"


@dataclass(frozen=True)
class Wanted:
    """What the settings say about the container, and the url that has to reach it."""

    target: PostgresTarget | None
    """None: the url is to be taken from the container."""
    root: Path
    container: str | None = None
    service: str | None = None
    project: str | None = None

    @property
    def named(self) -> bool:
        """Whether the user asked for one by name."""
        return bool(self.container or self.service)


def choose(containers: Sequence[Container], wanted: Wanted) -> Container | None:
    """Return the container of the database, None where there is none.

    Raises:
        RouteRefused: one asked for by name is not there, or cannot be what the url
            means; or several fit. ContainerStopped: several fit, and none of them runs.
    """
    if wanted.container:
        return _only(_by_name(containers, wanted.container), wanted, f"container {wanted.container}")
    if wanted.service:
        return _only(_by_service(containers, wanted), wanted, f"service {wanted.service}")
    databases = [c for c in containers if c.speaks_postgres and not c.oneoff]
    if wanted.target is None or not wanted.target.host:
        found = [c for c in databases if _of_project(c, wanted)]
    else:
        found = [c for c in databases if reaches(c, wanted.target)]
    running = [c for c in found if c.is_running]
    # of several that were stopped long ago none is meant while one of them runs
    return _one(running, "the database") if running else _stopped(found, wanted)


def _stopped(found: Sequence[Container], wanted: Wanted) -> Container | None:
    """Return the one that would be the database if it ran; another project's that had the port once is not meant."""
    own = [c for c in found if not c.project or _of_project(c, wanted)]
    if len(own) > 1 and wanted.target is not None and wanted.target.host:
        names = ", ".join(sorted(c.name for c in own))
        raise ContainerStopped(
            f"none of the containers that could be the database runs: {names}",
            hint="docker start NAME, the one that is meant",
        )
    return _one(own, "the database")


def _only(found: list[Container], wanted: Wanted, what: str) -> Container:
    one = _one(found, what)
    if one is None:
        raise RouteRefused(
            f"there is no {what}", hint="docker ps -a shows what there is; docker compose up -d starts it"
        )
    if wanted.target is not None and one.is_running and not reaches(one, wanted.target):
        raise RouteRefused(
            f"the url names {wanted.target.host or 'the local socket'}:{wanted.target.port},"
            f" which does not lead to {what} ({_where(one)})",
            hint="correct the url or the container's name: a backup of another database would be made",
        )
    return one


def _one(found: Sequence[Container], what: str) -> Container | None:
    if len(found) > 1:
        names = ", ".join(sorted(c.name for c in found))
        raise RouteRefused(
            f"several containers could be {what}: {names}", hint="name one: container=NAME, or service=NAME"
        )
    return found[0] if found else None


def _by_name(containers: Sequence[Container], name: str) -> list[Container]:
    exact = [c for c in containers if name in (c.name, c.id)]
    return exact or [c for c in containers if len(name) >= 6 and c.id.startswith(name)]


def _by_service(containers: Sequence[Container], wanted: Wanted) -> list[Container]:
    found = [c for c in containers if c.service == wanted.service and not c.oneoff]
    # a service name such as "db" is everybody's: another project's is never meant
    return [c for c in found if _of_project(c, wanted)]


def _of_project(container: Container, wanted: Wanted) -> bool:
    if wanted.project:
        return container.project == wanted.project
    if container.working_dir:
        return Path(container.working_dir) == wanted.root
    return bool(container.project) and container.project == project_name(wanted.root)


def project_name(root: Path) -> str:
    """Return the project name compose gives a folder: lower case, letters, digits, dash and underscore."""
    return re.sub(r"[^a-z0-9_-]", "", root.name.lower()).lstrip("_-")


def reaches(container: Container, target: PostgresTarget) -> bool:
    """Whether a url leads to this container: published port on loopback, name, service, alias, address, or no host."""
    host = target.host.lower()
    if not host:
        return True
    if host in LOOPBACK:
        return any(port == target.port and address in ANY_ADDRESS for address, port in container.ports)
    names = {container.name.lower(), container.service.lower(), *(a.lower() for a in container.aliases)} - {
        ""
    }
    return (host in names or host in container.addresses) and target.port == POSTGRES_PORT


def require_running(container: Container) -> None:
    """Refuse a container that cannot take commands, each state with what helps.

    Raises:
        ContainerStopped: it is stopped, paused, restarting or was never started.
    """
    if not container.is_running:
        raise ContainerStopped(f"container {container.name} is {container.condition}", hint=container.helps)


def _where(container: Container) -> str:
    ports = ", ".join(f"{address or '*'}:{port}" for address, port in container.ports)
    return f"published at {ports}" if ports else "no published port"


# -- asking Docker ---------------------------------------------------------------


def look(client: Any, id_: str) -> Container | None:
    """Return what Docker says of one container now; None when it is gone.

    Raises:
        RouteUnavailable: Docker stopped answering.
    """
    from docker.errors import DockerException, NotFound

    try:
        return describe(client.api.inspect_container(id_))
    except NotFound:
        return None
    except (DockerException, OSError) as exc:
        raise RouteUnavailable(
            f"Docker stopped answering: {exc}", hint="docker ps shows whether it runs"
        ) from exc


def handle(client: Any, container: Container) -> Any:
    """Return the Docker library's own handle of a container.

    Raises:
        ContainerStopped: it is gone. RouteUnavailable: Docker stopped answering.
    """
    from docker.errors import DockerException, NotFound

    try:
        return client.containers.get(container.id)
    except NotFound as exc:
        raise ContainerStopped(f"container {container.name} is gone", hint=container.helps) from exc
    except (DockerException, OSError) as exc:
        raise RouteUnavailable(
            f"Docker stopped answering: {exc}", hint="docker ps shows whether it runs"
        ) from exc


def list_containers(client: Any) -> list[Container]:
    """Return every container, running or not, as Docker describes it.

    Raises:
        RouteUnavailable: Docker stopped answering.
    """
    from docker.errors import DockerException, NotFound

    found = []
    try:
        for listed in client.containers.list(all=True, ignore_removed=True):
            try:
                found.append(describe(client.api.inspect_container(listed.id)))
            except NotFound:
                continue  # gone between the list and the look
    except (DockerException, OSError) as exc:
        raise no_docker(exc) from exc
    return found


def describe(inspected: Mapping[str, Any]) -> Container:
    """Turn `docker inspect` into a Container; of its environment only what is no secret."""
    config, state = inspected.get("Config") or {}, inspected.get("State") or {}
    network, host = inspected.get("NetworkSettings") or {}, inspected.get("HostConfig") or {}
    networks = (network.get("Networks") or {}).values()
    return Container(
        id=str(inspected["Id"]),
        name=str(inspected.get("Name", "")).lstrip("/"),
        image=str(config.get("Image", "")),
        status=str(state.get("Status", "")),
        health=str((state.get("Health") or {}).get("Status", "")),
        labels=dict(config.get("Labels") or {}),
        environment=_environment(config.get("Env") or ()),
        exposed=frozenset(_port(port) for port in (config.get("ExposedPorts") or {})),
        # of one that does not run Docker knows only what was asked for
        published=_published(network.get("Ports") or host.get("PortBindings") or {}),
        addresses=frozenset(n["IPAddress"] for n in networks if n.get("IPAddress")),
        aliases=frozenset(alias for n in networks for alias in (n.get("Aliases") or ())),
        volumes=tuple(_volume(mount) for mount in inspected.get("Mounts") or ()),
        mounted=tuple(
            str(mount.get("Destination", ""))
            for mount in inspected.get("Mounts") or ()
            if mount.get("Type") != "tmpfs"
        ),
        started_at=str(state.get("StartedAt", "")),
    )


def _environment(pairs: Sequence[str]) -> dict[str, str]:
    known = ("POSTGRES_USER", "POSTGRES_DB", "PGDATA")
    both = (pair.partition("=") for pair in pairs)
    return {name: value for name, _, value in both if name in known and value}


def _port(text: str) -> int:
    number = text.partition("/")[0]
    return int(number) if number.isdecimal() else 0


def _published(ports: Mapping[str, Any]) -> dict[int, tuple[tuple[str, int], ...]]:
    return {
        _port(inner): tuple(
            (str(p.get("HostIp", "")), int(p["HostPort"])) for p in outer if p.get("HostPort")
        )
        for inner, outer in ports.items()
        if outer
    }


def _volume(mount: Mapping[str, Any]) -> str:
    return f"{mount.get('Name') or mount.get('Source', '')} at {mount.get('Destination', '')}"
