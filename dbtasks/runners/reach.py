"""Whether a container is this project's, and whether a url leads to it: told by what Docker says, nothing connects."""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from .discovery import Container, Wanted

__all__ = ["POSTGRES_PORT", "machine_of", "names", "of_project", "project_name", "reaches", "same_folder"]

POSTGRES_PORT = 5432
LOOPBACK = ("127.0.0.1", "::1")
EVERY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - what Docker calls "every interface", read not bound
OVER_THE_NETWORK = ("tcp", "http", "https", "ssh")


def of_project(container: Container, wanted: Wanted) -> bool:
    """Whether a container belongs to the project whose database is looked for."""
    if wanted.project:
        return container.project == wanted.project
    if container.working_dir:
        return same_folder(container.working_dir, wanted.root)
    return bool(container.project) and container.project == project_name(wanted.root)


def same_folder(one: str | Path, other: str | Path) -> bool:
    """Whether two paths are one folder, by whatever symbolic links each of them goes."""
    return Path(one) == Path(other) or os.path.realpath(one) == os.path.realpath(other)


def project_name(root: Path) -> str:
    """Return the project name compose gives a folder: lower case, letters, digits, dash and underscore."""
    return re.sub(r"[^a-z0-9_-]", "", root.name.lower()).lstrip("_-")


def reaches(container: Container, wanted: Wanted) -> bool:
    """Whether the url leads to this container: a port it publishes, its name, service, alias, address, or no host."""
    target = wanted.target
    if target is None or not target.host:
        return True
    host = target.host.lower()
    inside = host in names(container, wanted) or host in container.addresses
    if inside and target.port == POSTGRES_PORT:
        return True
    return any(
        port == target.port and _published_at(host, address, wanted.engine_host)
        for address, port in container.ports
    )


def names(container: Container, wanted: Wanted) -> set[str]:
    """Return what a url may call a container, in lower case.

    Its name is its own on the whole engine; a service or an alias such as `db`
    is everybody's, and means this project's only.
    """
    own = (container.service, *container.aliases) if of_project(container, wanted) else ()
    return {name.lower() for name in (container.name, *own) if name}


def machine_of(docker_host: str) -> str:
    """Return the machine a DOCKER_HOST leads to; empty for this one."""
    text = docker_host.strip()
    parts = urlsplit(text if "://" in text else f"tcp://{text}")
    host = (parts.hostname or "") if parts.scheme in OVER_THE_NETWORK else ""
    return "" if host == "localhost" or _is_loopback(host) else host


def _published_at(host: str, bound: str, engine_host: str) -> bool:
    """Whether a host is the address that a port is bound to, on this machine or on the engine's."""
    if engine_host and _is_loopback(bound):
        return False  # that machine's own loopback: nobody comes to it from here
    address, at = _address(host), _address(bound)
    if address is not None and address == at:
        return True
    if host != engine_host if engine_host else host != "localhost" and not _is_loopback(host):
        return False
    if address is not None:
        # a wildcard of one family takes nobody of the other
        return not bound or (at is not None and at.is_unspecified and at.version == address.version)
    return bound in EVERY_ADDRESS or bool(engine_host) or bound in LOOPBACK


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_loopback


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
