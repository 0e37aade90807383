"""Finding the database's container: a pure choice among what Docker says there is.

Found by name, by compose labels (the working directory first, so that no YAML
has to be read), by published port or by address. A container is taken only
when the url reaches it, and two candidates are refused, never guessed between.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import ContainerStopped, RouteRefused, SettingsError
from ..models import PostgresTarget
from .reach import POSTGRES_PORT, names, of_project, project_name, reaches

__all__ = [
    "Container",
    "Wanted",
    "choose",
    "describe",
    "nearby",
    "project_name",
    "require_reached",
    "require_running",
]

COMPOSE = "com.docker.compose."
DATA_FOLDER = "/var/lib/postgresql/data"
LOOPBACK = ("", "localhost", "127.0.0.1", "::1")
TRANSIENT = ("created", "restarting")
"""States a container may leave by itself while somebody waits for it."""


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
        """Its status as the rest of a sentence: `has stopped (exited)`, `is paused` …"""
        if self.status in ("exited", "dead"):
            return f"has stopped ({self.status})"
        return (
            "is created but was never started" if self.status == "created" else f"is {self.status or 'gone'}"
        )

    @property
    def told(self) -> str:
        """Its name, and the service's that people know it by."""
        return f"container {self.name} (service {self.service})" if self.service else f"container {self.name}"

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
    prefix: str = "DBTASKS_"
    """What the names of this mount's variables begin with."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where `container` and `service` were set."""
    engine_host: str = ""
    """The machine Docker runs on, whose ports are published there; empty for this one."""

    @property
    def named(self) -> bool:
        """Whether the user asked for one by name."""
        return bool(self.container or self.service)


def choose(containers: Sequence[Container], wanted: Wanted) -> Container | None:
    """Return the container of the database, None where there is none.

    Raises:
        RouteRefused: one asked for by name is not there, or cannot be what the url
            means; or several fit. ContainerStopped: several fit, and none of them runs.
        SettingsError: `container` and `service` name two different ones.
    """
    if wanted.container:
        found = _by_name(containers, wanted.container)
        one = _only(found, wanted, f"container {wanted.container}", _hint_for_container(containers, wanted))
        _agree(one, wanted)
        return one
    if wanted.service:
        found = _by_service(containers, wanted)
        return _only(found, wanted, f"service {wanted.service}", _hint_for_service(containers, wanted))
    found = _databases(containers)
    if wanted.target is None or not wanted.target.host:
        found = [c for c in found if of_project(c, wanted)]
    else:
        found = [c for c in found if reaches(c, wanted)]
    running = [c for c in found if c.is_running]
    if any(of_project(c, wanted) for c in found):
        # this project's own is meant though it does not run: another project's may have taken its port since
        running = [c for c in running if not c.project or of_project(c, wanted)]
    # of several that were stopped long ago none is meant while one of them runs
    return _one(running, "the database", wanted) if running else _stopped(found, wanted)


def nearby(containers: Sequence[Container], wanted: Wanted) -> str:
    """Say where this project's database is, for a url that leads just past it; empty where it leads elsewhere."""
    target = wanted.target
    if target is None:
        return ""
    own = [c for c in _databases(containers) if of_project(c, wanted)]
    host = target.host.lower()
    meant = [c for c in own if host in LOOPBACK or host in names(c, wanted) or host in c.addresses]
    return "; ".join(f"{c.told} of this project {_publishes(c, wanted)}" for c in meant)


def _databases(containers: Sequence[Container]) -> list[Container]:
    return [c for c in containers if c.speaks_postgres and not c.oneoff]


def _agree(one: Container, wanted: Wanted) -> None:
    """Refuse two names for the database that do not name the same."""
    if wanted.service and one.service != wanted.service:
        its = f"is of the service {one.service}" if one.service else "belongs to no service"
        raise SettingsError(
            f"container {wanted.container} ({_source(wanted, 'container')}) {its},"
            f" and not of {wanted.service} ({_source(wanted, 'service')})",
            hint="keep one of the two",
        )


def _source(wanted: Wanted, name: str) -> str:
    return wanted.sources.get(name) or f"{wanted.prefix}{name.upper()}"


def _stopped(found: Sequence[Container], wanted: Wanted) -> Container | None:
    """Return the one that would be the database if it ran; another project's that had the port once is not meant."""
    own = [c for c in found if not c.project or of_project(c, wanted)]
    if len(own) > 1 and wanted.target is not None and wanted.target.host:
        names = ", ".join(sorted(c.name for c in own))
        raise ContainerStopped(
            f"none of the containers that could be the database runs: {names}",
            hint="docker start NAME, the one that is meant",
        )
    return _one(own, "the database", wanted)


def _only(found: list[Container], wanted: Wanted, what: str, hint: str) -> Container:
    one = _one(found, what, wanted)
    if one is None:
        raise RouteRefused(f"there is no {what}", hint=hint)
    if one.is_running:
        require_reached(one, wanted)
    return one


def _one(found: Sequence[Container], what: str, wanted: Wanted) -> Container | None:
    if len(found) > 1:
        names = ", ".join(sorted(c.name for c in found))
        raise RouteRefused(f"several containers could be {what}: {names}", hint=_how_to_name(found, wanted))
    return found[0] if found else None


def _how_to_name(found: Sequence[Container], wanted: Wanted) -> str:
    """Show the settings that tell these apart, as they are typed."""
    services = [c.service for c in found if c.service and of_project(c, wanted)]
    settings = sorted(
        f"{wanted.prefix}SERVICE={c.service}"
        if services.count(c.service) == 1
        else f"{wanted.prefix}CONTAINER={c.name}"
        for c in found
    )
    return f"set {' or '.join(settings)} in the environment or in .env"


def _hint_for_container(containers: Sequence[Container], wanted: Wanted) -> str:
    own = [c for c in _databases(containers) if of_project(c, wanted)]
    there = f"this project's database is in {' or '.join(sorted(c.told for c in own))}; " if own else ""
    return f"{there}docker ps -a shows what there is; docker compose up -d starts it"


def _hint_for_service(containers: Sequence[Container], wanted: Wanted) -> str:
    own = [c for c in containers if c.service and not c.oneoff and of_project(c, wanted)]
    if not own:
        return "docker compose up -d starts it; no container of this project is there"
    services = ", ".join(sorted({c.service for c in own}))
    databases = sorted({c.service for c in own if c.speaks_postgres})
    meant = (
        f"; set {' or '.join(f'{wanted.prefix}SERVICE={name}' for name in databases)}" if databases else ""
    )
    return f"the services of this project are {services}{meant}"


def _by_name(containers: Sequence[Container], name: str) -> list[Container]:
    exact = [c for c in containers if name in (c.name, c.id)]
    return exact or [c for c in containers if len(name) >= 6 and c.id.startswith(name)]


def _by_service(containers: Sequence[Container], wanted: Wanted) -> list[Container]:
    found = [c for c in containers if c.service == wanted.service and not c.oneoff]
    # a service name such as "db" is everybody's: another project's is never meant
    return [c for c in found if of_project(c, wanted)]


def require_reached(container: Container, wanted: Wanted) -> None:
    """Refuse a container the url does not lead to. Which ports it publishes is known only while it runs.

    Raises:
        RouteRefused: a backup of another database than the url's would be made.
    """
    if wanted.target is None or reaches(container, wanted):
        return
    what = (
        f"service {wanted.service}"
        if wanted.service and not wanted.container
        else f"container {container.name}"
    )
    raise RouteRefused(
        f"the url names {wanted.target.host or 'the local socket'}:{wanted.target.port},"
        f" which does not lead to {what} ({_where(container, wanted)})",
        hint="correct the url or the container's name: a backup of another database would be made"
        + _whose(container, wanted),
    )


def _whose(container: Container, wanted: Wanted) -> str:
    """Say how a service of another project is meant, where the url names one; else nothing."""
    host = wanted.target.host.lower() if wanted.target else ""
    others = names(container, replace(wanted, project=container.project or None)) - names(container, wanted)
    if host not in others:
        return ""
    return f"; {host} is this project's only, set {wanted.prefix}COMPOSE_PROJECT={container.project} for the other's"


def require_running(container: Container) -> None:
    """Refuse a container that cannot take commands, each state with what helps.

    Raises:
        ContainerStopped: it is stopped, paused, restarting or was never started.
    """
    if not container.is_running:
        raise ContainerStopped(f"container {container.name} {container.condition}", hint=container.helps)


def _where(container: Container, wanted: Wanted) -> str:
    ports = ", ".join(f"{address or '*'}:{port}" for address, port in container.ports)
    return f"published at {ports}{_machine(wanted)}" if ports else "no published port"


def _machine(wanted: Wanted) -> str:
    return f" on {wanted.engine_host}" if wanted.engine_host else ""


def _publishes(container: Container, wanted: Wanted) -> str:
    ports = ", ".join(dict.fromkeys(str(port) for _, port in container.ports))
    return f"publishes {ports}{_machine(wanted)}" if ports else "publishes no port"


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
