"""The way to Docker: a client of the engine the command line would talk to, or why there is none."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RouteUnavailable
from .reach import machine_of

if TYPE_CHECKING:
    import socket

__all__ = ["CALL_SECONDS", "docker_client", "engine_host", "stopped_answering"]

DEFAULT_CONTEXT = "default"
CALL_SECONDS = 90
"""An engine that has answered is there: under load it may take its time."""
FIRST_ANSWER_SECONDS = 10
"""An engine that works says its version soon, however busy it is."""
RETRY_SECONDS = 0.05


@dataclass(frozen=True)
class _Place:
    """Where the engine is, and what says so."""

    url: str
    """Such as `tcp://192.0.2.1:2375`; empty: wherever Docker is on this machine."""
    said: str
    """For messages: `DOCKER_HOST=tcp://…`, `tcp://… (Docker context prod)`; empty where nothing says so."""
    correct: str = "correct DOCKER_HOST"
    """What to do when nobody answers there."""


@contextmanager
def docker_client(environment: Mapping[str, str] | None = None) -> Iterator[Any]:
    """Yield a client of the Docker engine the command line would talk to.

    `environment` holds DOCKER_* variables that count besides the process' own:
    those of the project's `.env`.

    Raises:
        RouteUnavailable: there is none, this user may not talk to it, or it gave no answer within
            FIRST_ANSWER_SECONDS.
    """
    import docker
    from docker.errors import DockerException

    seen = _seen(environment)
    place = _place(seen)
    try:
        _knock(seen)
        # asks for its version
        client = docker.from_env(timeout=FIRST_ANSWER_SECONDS, environment=seen)
    except (DockerException, OSError, ValueError) as exc:
        raise _no_docker(exc, place) from exc
    client.api.timeout = CALL_SECONDS
    try:
        if str(client.api.base_url).startswith("https:"):
            raise _over_tls(place)
        yield client
    finally:
        client.close()


def engine_host(environment: Mapping[str, str] | None = None) -> str:
    """Return the machine that engine runs on; empty for this one.

    Raises:
        RouteUnavailable: DOCKER_HOST is no address, or there is no such context.
    """
    place = _place(_seen(environment))
    try:
        return machine_of(place.url)
    except ValueError as exc:
        raise _no_docker(exc, place) from exc


def _place(environment: Mapping[str, str]) -> _Place:
    """Find the engine as the command line does: DOCKER_HOST, DOCKER_CONTEXT, the context in use, this machine's."""
    from docker.context.config import get_current_context_name, get_meta_file

    host = environment.get("DOCKER_HOST", "")
    if host:
        return _Place(host, f"DOCKER_HOST={_masked(host)}")
    name = environment.get("DOCKER_CONTEXT") or get_current_context_name() or DEFAULT_CONTEXT
    if name == DEFAULT_CONTEXT:
        return _Place("", "")
    leave = "docker context ls shows them; docker context use default leaves it"
    try:
        host = str(json.loads(Path(get_meta_file(name)).read_text("utf-8"))["Endpoints"]["docker"]["Host"])
    except FileNotFoundError as exc:
        # the library would go to this machine's engine instead
        raise RouteUnavailable(f"there is no Docker context {name}", hint=leave) from exc
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise RouteUnavailable(f"the Docker context {name} cannot be read: {exc}", hint=leave) from exc
    return _Place(host, f"{_masked(host)} (Docker context {name})", "docker context use default")


def _seen(environment: Mapping[str, str] | None) -> dict[str, str]:
    return {**(environment or {}), **{name: value for name, value in os.environ.items() if value}}


def _knock(environment: Mapping[str, str]) -> None:
    """See whether anybody answers: a client that cannot connect leaves its socket open."""
    import socket

    import docker
    from docker.constants import DEFAULT_DOCKER_API_VERSION

    probe = docker.from_env(timeout=CALL_SECONDS, version=DEFAULT_DOCKER_API_VERSION, environment=environment)
    try:
        path = getattr(probe.api.get_adapter(probe.api.base_url), "socket_path", None)
    finally:
        probe.close()
    if path and hasattr(socket, "AF_UNIX"):
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.settimeout(FIRST_ANSWER_SECONDS)
            _connect(knocking, path)


def _connect(knocking: socket.socket, path: str) -> None:
    """Connect; where too many wait at the door already, try again for a while instead of for ever."""
    end = time.monotonic() + FIRST_ANSWER_SECONDS
    while True:
        try:
            knocking.connect(path)
        except BlockingIOError as exc:
            if time.monotonic() > end:
                raise TimeoutError("timed out: too many wait to be let in") from exc
        else:
            return
        time.sleep(RETRY_SECONDS)


def _no_docker(exc: Exception, place: _Place) -> RouteUnavailable:
    """Say why Docker does not answer: not there, not for this user, or silent."""
    text = _masked(str(exc))
    if _timed_out(exc):
        at = f" at {place.said}" if place.said else ""
        return RouteUnavailable(
            f"Docker{at} does not answer within {FIRST_ANSWER_SECONDS} s",
            details=text,
            hint="restart it (sudo systemctl restart docker, or Docker Desktop), or use --via=host",
        )
    if "Permission denied" in text or "PermissionError" in text:
        return RouteUnavailable(
            "this user may not talk to Docker",
            details=text,
            hint="add the user to the group docker (sudo usermod -aG docker $USER), or use --via=host",
        )
    if _was_not_tried(exc):
        return RouteUnavailable(
            f"{place.said or 'the Docker that is configured'} cannot be used: {text}",
            hint=f"{place.correct} and its kin (DOCKER_TLS_VERIFY, DOCKER_CERT_PATH), or use --via=host",
        )
    if place.said:
        return RouteUnavailable(
            f"Docker is not running here: nothing answers at {place.said}",
            details=text,
            hint=f"{place.correct}, start that engine, or use --via=host",
        )
    return RouteUnavailable(
        "Docker is not running here", details=text, hint="start Docker, or use --via=host"
    )


def _was_not_tried(exc: Exception) -> bool:
    """Whether the library gave up before it connected: no address, no certificates, no package for ssh."""
    from docker.errors import TLSParameterError

    return isinstance(exc, (ValueError, TLSParameterError)) or "paramiko" in str(exc)


def _over_tls(place: _Place) -> RouteUnavailable:
    # Docker ends a tool's input by half a shutdown of the connection, which Python's TLS cannot do
    return RouteUnavailable(
        f"the Docker engine at {place.said} is reached over TLS, by which no tool's input can be ended",
        hint="lead its socket here by ssh -L /tmp/docker.sock:/var/run/docker.sock HOST, or use --via=host",
    )


def _masked(text: str) -> str:
    """Hide what stands before the @ of an address."""
    return re.sub(r"//[^/@\s]*@", "//***@", text)


def stopped_answering(exc: Exception) -> RouteUnavailable:
    """Say of a Docker that had answered before whether it is slow or gone."""
    if _timed_out(exc):
        return RouteUnavailable(
            f"Docker does not answer within {CALL_SECONDS} s, though it runs",
            details=_short(exc),
            hint="try again when the machine is less busy; docker ps shows whether it answers",
        )
    return RouteUnavailable(
        f"Docker stopped answering: {_short(exc)}", hint="docker ps shows whether it runs"
    )


def _short(exc: Exception) -> str:
    """Return what was said with every id as the command line shows it: nobody reads 64 digits."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", str(exc))


def _timed_out(exc: Exception) -> bool:
    return isinstance(exc, TimeoutError) or "timed out" in str(exc)
