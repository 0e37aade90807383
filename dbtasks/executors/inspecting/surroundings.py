"""What stands around a PostgreSQL database: its container, its compose project, pgAdmin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...engines.route_reports import one_line
from ...engines.routes import asks_docker, wanted_container
from ...errors import RouteUnavailable, SettingsError
from ...models import PostgresTarget
from ...settings import Settings

if TYPE_CHECKING:
    from ...runners.compose import DockerOnce, PgAdmin, Service
    from ...runners.discovery import Container

__all__ = ["Surroundings", "look_around"]


@dataclass(frozen=True)
class Surroundings:
    """What Docker says; all of it empty for a database that is a file."""

    container: Container | None = None
    """The database's, running or not."""
    project: str = ""
    """The compose project."""
    services: tuple[Service, ...] = ()
    pgadmin: PgAdmin | None = None
    unknown: str = ""
    """Why Docker could not be asked, or why no container is taken for the database's."""


def look_around(settings: Settings, target: PostgresTarget, docker: DockerOnce) -> Surroundings:
    """Read it off the containers' labels; never fails, and changes nothing."""
    from ...runners.compose import find_pgadmin, project_of, services_of
    from ...runners.discovery import choose

    if not asks_docker(settings.via):
        return Surroundings(unknown=f"Docker is not asked: via={','.join(settings.via)}")
    try:
        containers = docker.containers
    except RouteUnavailable as exc:
        return Surroundings(unknown=one_line(exc))
    chosen, unknown = None, ""
    try:
        chosen = choose(containers, wanted_container(settings, target))
    except (RouteUnavailable, SettingsError) as exc:
        unknown = one_line(exc)
    project = project_of(containers, settings.root, named=settings.compose_project, database=chosen)
    return Surroundings(
        container=chosen,
        project=project.name,
        services=services_of(containers, project),
        pgadmin=find_pgadmin(containers, project),
        unknown=unknown,
    )
