"""Settings with the last level added: where nothing names a database, the one in this project's container.

Docker is asked only then. It mostly needs no password: inside, the local
socket is trusted. For a container that does not trust it POSTGRES_PASSWORD of
the project counts, as for the container itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RouteRefused, RouteUnavailable, SettingsError
from ..models import PostgresTarget
from ..settings import NoContainer, Setting, Settings
from ..settings import load_settings as load_levels
from ..settings.keys import PREFIX
from .routes import asks_docker, wanted_container

if TYPE_CHECKING:
    from ..runners.discovery import Container

__all__ = ["load_settings", "target_in", "with_container"]

LOOKED = "a container was looked for as well"
COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


def load_settings(
    root: Path | str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    shared: Sequence[tuple[str, Mapping[str, Any]]] = (),
    mount: Mapping[str, Any] | None = None,
    **flags: Any,
) -> Settings:
    """Load the settings of a project.

    `root` is the folder relative paths belong to (default: the nearest folder
    upwards with a `.env` or `.git`, else with an `invoke.yaml` or `tasks.py`,
    else the current one). `environ` defaults to the process environment, which
    is only read. Keyword arguments count as flags:
    `load_settings(url="sqlite:///app.db", keep=5)`. Where no database is
    configured, the one in this project's compose container is taken.

    Raises:
        SettingsError: all problems at once.
    """
    return with_container(load_levels(root, environ=environ, shared=shared, mount=mount, **flags))


def with_container(settings: Settings) -> Settings:
    """Return the settings with a database: their own, else that of the container found by its labels.

    Never fails: why none was found is kept, and told when a database is needed.
    """
    if settings.target is not None or not _may_look(settings):
        return settings
    try:
        found = _find(settings)
    except RouteRefused as exc:
        return replace(settings, no_container=NoContainer(exc.message, exc.hint, refused=True))
    except SettingsError as exc:
        return replace(settings, no_container=NoContainer(exc.message, exc.hint, wrong=True))
    except RouteUnavailable as exc:
        if _means_a_container(settings):
            # there is no other way without a url
            hint = exc.hint.removesuffix(", or use --via=host")
            return replace(settings, no_container=NoContainer(exc.message, hint, blocked=True))
        return replace(settings, no_container=NoContainer(f"{LOOKED}: {exc.message}"))
    if found is None:
        return replace(settings, no_container=NoContainer(f"{LOOKED}: none is this project's database"))
    target = target_in(found)
    shown = [Setting("url", target.address, f"container {found.name}")]
    spare = settings.spare_password
    if spare:
        target = replace(target, password=spare.password)
        shown.append(Setting("password", "***", spare.source))
    return replace(settings, target=target, found_in=found.name, provenance=(*shown, *settings.provenance))


def _may_look(settings: Settings) -> bool:
    # a mount with a prefix of its own is a second database: the project's container is the first one's
    own = settings.env_prefix == PREFIX or bool(settings.container or settings.service)
    return asks_docker(settings.via) and own


def _means_a_container(settings: Settings) -> bool:
    """Whether the project says that its database is in one; a compose file is looked for, never read."""
    named = settings.container or settings.service or settings.compose_project
    return bool(named) or any((settings.root / name).is_file() for name in COMPOSE_FILES)


def _find(settings: Settings) -> Container | None:
    from ..runners.discovery import choose
    from ..runners.docker import list_containers
    from ..runners.docker_door import docker_client

    with docker_client(settings.docker) as client:
        return choose(list_containers(client), wanted_container(settings, None))


def target_in(container: Container) -> PostgresTarget:
    """Return the database a container was made for, by the variables every PostgreSQL image knows.

    Its host is the service's name, as the project's other containers call it,
    so that backups stay this database's when the container is made anew.
    """
    user = container.environment.get("POSTGRES_USER") or "postgres"
    database = container.environment.get("POSTGRES_DB") or user
    return PostgresTarget(database, host=container.service or container.name, user=user)
