"""What stands around the database in Docker: asked once, then read off the containers' labels.

No compose file is read: compose writes the project, the service and the
folder it was started in on every container it makes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import RouteUnavailable
from ..events import OnEvent, Phase, ignore
from .discovery import Container
from .docker import list_containers
from .docker_door import docker_client
from .reach import project_name, same_folder

__all__ = [
    "DockerOnce",
    "PgAdmin",
    "Project",
    "Service",
    "find_pgadmin",
    "project_of",
    "services_of",
    "started_at",
]

PGADMIN = "pgadmin4"
HTTP_PORTS = {80: "http", 443: "https"}
HERE = ("", "0.0.0.0", "::", "127.0.0.1", "::1")  # noqa: S104 - read, not bound


class DockerOnce:
    """Docker, asked when somebody first needs it and never again in this run.

    Whoever asks later gets the same answer, or the same refusal. Leaving the
    block closes the client. `environment` holds DOCKER_* variables that count
    besides the process' own.
    """

    def __init__(self, environment: Mapping[str, str] | None = None, *, on_event: OnEvent = ignore) -> None:
        self._environment = environment
        self._on_event = on_event
        self._stack = ExitStack()
        self._client: Any = None
        self._containers: tuple[Container, ...] = ()
        self._refusal: RouteUnavailable | None = None

    def __enter__(self) -> DockerOnce:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def client(self) -> Any:
        """The client that was asked.

        Raises:
            RouteUnavailable: there is no Docker, or this user may not talk to it.
        """
        self._ask()
        return self._client

    @property
    def containers(self) -> tuple[Container, ...]:
        """Every container, running or not; raises like `client`."""
        self._ask()
        return self._containers

    def _ask(self) -> None:
        if self._refusal is not None:
            raise RouteUnavailable(self._refusal.message, hint=self._refusal.hint) from self._refusal
        if self._client is not None:
            return
        self._on_event(Phase("docker", "asked what runs here"))
        try:
            client = self._stack.enter_context(docker_client(self._environment))
            self._containers = tuple(list_containers(client))
        except RouteUnavailable as exc:
            self._refusal = exc
            raise
        self._client = client


@dataclass(frozen=True)
class Service:
    """One container of a compose project."""

    name: str
    """The service it belongs to."""
    container: str
    status: str
    health: str = ""


@dataclass(frozen=True)
class PgAdmin:
    """The container pgAdmin runs in."""

    container: str
    status: str
    url: str = ""
    """Where a browser finds it on this machine; empty where it publishes no port or does not run."""
    helps: str = ""
    """The command that starts it, where it does not run."""

    @property
    def enabled(self) -> bool:
        """Whether it runs."""
        return self.status == "running"


@dataclass(frozen=True)
class Project:
    """A compose project: its name, and the folder it was started in where that is known."""

    name: str = ""
    folder: str = ""

    def holds(self, container: Container) -> bool:
        """Whether a container is one of it; another folder's project of the same name is another."""
        told = bool(self.folder and container.working_dir)
        elsewhere = told and not same_folder(container.working_dir, self.folder)
        return bool(self.name) and container.project == self.name and not elsewhere


def project_of(
    containers: Sequence[Container],
    root: Path,
    *,
    named: str | None = None,
    database: Container | None = None,
) -> Project:
    """Return the compose project a database's application belongs to, without a name where there is none.

    The one that was named; that of the database's container; the one that was
    started in this folder; the one compose would name after it.
    """
    own = database if database is not None and database.project else None
    if own and named in (None, own.project):
        return Project(own.project, own.working_dir)
    if named:
        return Project(named)
    here = next((c for c in containers if c.working_dir and same_folder(c.working_dir, root)), None)
    if here:
        return Project(here.project, here.working_dir)
    by_name = project_name(root)
    # a container that says where it was started is another folder's of the same name
    found = any(c.project == by_name and not c.working_dir for c in containers)
    return Project(by_name, str(root)) if found else Project()


def services_of(containers: Sequence[Container], project: Project) -> tuple[Service, ...]:
    """Return a project's containers by service; those of `compose run` are left out."""
    found = [c for c in containers if project.holds(c) and c.service and not c.oneoff]
    states = (Service(c.service, c.name, c.status, c.health) for c in found)
    return tuple(sorted(states, key=lambda state: (state.name, state.container)))


def find_pgadmin(containers: Sequence[Container], project: Project) -> PgAdmin | None:
    """Return the project's pgAdmin, told by its image; else one that belongs to no project at all.

    Of several the one that runs is meant.
    """
    found = [c for c in containers if _image_name(c.image) == PGADMIN and (project.holds(c) or not c.project)]
    found.sort(key=lambda c: (not c.project, not c.is_running, c.name))
    if not found:
        return None
    first = found[0]
    if not first.is_running:
        return PgAdmin(first.name, first.status, helps=first.helps)
    return PgAdmin(first.name, first.status, _web_address(first))


def _image_name(image: str) -> str:
    """Return the last part of an image's name: `dpage/pgadmin4:8@sha256:…` is `pgadmin4`."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _web_address(container: Container) -> str:
    ports = sorted(container.published, key=lambda port: (port not in HTTP_PORTS, port))
    places = [(port, place) for port in ports for place in container.published[port]]
    if not places:
        return ""
    inner, (address, outer) = places[0]
    host = "localhost" if address in HERE else f"[{address}]" if ":" in address else address
    return f"{HTTP_PORTS.get(inner, 'http')}://{host}:{outer}"


def started_at(container: Container) -> datetime | None:
    """Return when a container was started; None where it never was."""
    try:
        moment = datetime.fromisoformat(container.started_at)
    except ValueError:
        return None
    return moment if moment.year > 1 and moment.tzinfo else None
