"""Asking Docker what there is: every container, or one of them again."""

from __future__ import annotations

from typing import Any

from ..errors import ContainerStopped
from .discovery import Container, describe
from .docker_door import stopped_answering

__all__ = ["handle", "list_containers", "look"]


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
        raise stopped_answering(exc) from exc


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
        raise stopped_answering(exc) from exc


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
        raise stopped_answering(exc) from exc
    return found
