"""Which engine, and by which route: a pure choice, then one door to open it.

PostgreSQL is reached inside its container where there is one, else by the
host's client tools. A route or container asked for by name that is not there
is refused, never replaced by another; so is a choice between two containers.
`auto` says why it did not take the first, and a restore does not leave a
container that was found and is stopped: what answers at its port then is
another server.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..errors import CannotReach, ContainerStopped, RouteRefused, RouteUnavailable, ToolMissing, UsageError
from ..events import OnEvent, RouteTaken, Warned, ignore
from ..models import Format, PostgresTarget, Route, SqliteTarget, Target
from ..settings import Settings
from . import Engine
from .python_route import Dumping, python_access, route_order, way_of_rows

if TYPE_CHECKING:
    from ..runners.compose import DockerOnce
    from ..runners.discovery import Container, Wanted
    from .postgres.access import Access

__all__ = ["asks_docker", "open_checker", "open_engine", "wanted_container"]

RETRY_SECONDS = 0.25


@dataclass(frozen=True)
class _Asked:
    """What is known when a way to PostgreSQL is looked for."""

    settings: Settings
    target: PostgresTarget
    wanted: tuple[str, ...]
    restoring: bool = False
    reading_only: bool = False
    """Only an archive is to be read: whatever has the tools will do."""
    tools: tuple[str, ...] = ("pg_dump", "pg_restore")
    """What the host must have where another way is asked for as well."""
    dumping: Dumping | None = None
    """What a backup needs; None: none is made."""

    def prove_replaceable(self, exc: RouteUnavailable) -> None:
        """Raise the refusal of a route again where no other may be taken instead."""
        if self.reading_only:
            return
        if isinstance(exc, RouteRefused) or self.settings.found_in:
            raise exc
        # a list says which ways will do, a name says which container is meant
        listed = {"auto", "host", "python"} & set(self.wanted)
        if not listed or self.settings.container or self.settings.service:
            raise exc
        if self.restoring and isinstance(exc, ContainerStopped):
            raise ContainerStopped(
                f"{exc.message}, and a restore goes no other way by itself",
                hint=f"{exc.hint}; or --via=host, if the server that answers at {_place(self.target)} is meant",
                state=f"{self.target.name} was not touched",
            ) from exc


@contextmanager
def open_engine(
    settings: Settings,
    target: Target | None = None,
    *,
    via: str | None = None,
    restoring: bool = False,
    on_event: OnEvent = ignore,
    docker: DockerOnce | None = None,
    dumping: Dumping | None = None,
) -> Iterator[Engine]:
    """Open the engine for a target by the route the settings ask for.

    Nothing connects yet; what the engine opened is closed when the block ends.
    `restoring` is more careful about taking another route than the first.
    `docker` is one that was asked already, and lives longer than the block.
    `dumping` is what a backup needs: it may go by psycopg2 alone.

    Raises:
        RouteUnavailable: the route asked for is not there.
        UsageError: the route means nothing for this kind of database.
    """
    target = target or settings.require_target()
    wanted = tuple(word.strip() for word in via.lower().split(",")) if via else settings.via
    if isinstance(target, SqliteTarget):
        from .sqlite import SqliteEngine

        if "auto" not in wanted:
            raise UsageError(
                f"via={','.join(wanted)} means nothing for SQLite: the file is read directly",
                hint="leave it out, or say via=auto; --format=rows makes a portable backup of SQLite as well",
            )
        on_event(RouteTaken(Route.FILE, "SQLite is read directly"))
        yield SqliteEngine(target, settings)
        return
    asked = _Asked(settings, target, wanted, restoring=restoring, dumping=dumping)
    with _open_postgres(asked, on_event, docker) as engine:
        yield engine


@contextmanager
def _open_postgres(asked: _Asked, on_event: OnEvent, docker: DockerOnce | None = None) -> Iterator[Engine]:
    from .postgres import PostgresEngine

    with (
        _open_access(asked, on_event, docker) as access,
        PostgresEngine(asked.target, asked.settings, access=access) as engine,
    ):
        yield engine


def asks_docker(wanted: Sequence[str]) -> bool:
    """Whether a container may be looked for: not where other routes are named."""
    return bool({"auto", "container"} & set(wanted))


@contextmanager
def _open_access(asked: _Asked, on_event: OnEvent, docker: DockerOnce | None) -> Iterator[Access]:
    """Open the first route that is there, and say which and why; `auto` falls from the container to the host."""
    order = route_order(asked.wanted, asked.dumping)
    no_container: RouteUnavailable | None = None
    no_host: RouteUnavailable | ToolMissing | None = None
    for route in order:
        with ExitStack() as stack:
            try:
                if route is Route.PYTHON:
                    access = stack.enter_context(_python_access(asked, no_container, no_host, on_event))
                elif route is Route.HOST:
                    # another way that was asked for is better than tools that are not there
                    tools = asked.tools if route is not order[-1] else ()
                    access = stack.enter_context(_host_access(asked, no_container, tools, on_event))
                else:
                    access = stack.enter_context(_container_access(asked, no_host, on_event, docker))
            except (RouteUnavailable, ToolMissing) as exc:
                if route is Route.PYTHON:
                    raise
                if route is Route.HOST or isinstance(exc, ToolMissing):
                    no_host = exc
                else:
                    asked.prove_replaceable(exc)
                    no_container = exc
                continue
            on_event(_taken(access, asked.dumping))
            yield access
            return
    raise _no_way(order, no_container, no_host)


def _taken(access: Access, dumping: Dumping | None) -> RouteTaken:
    loads_rows = dumping is not None and dumping.loads_rows
    return RouteTaken(*(way_of_rows(access.route, access.why) if loads_rows else (access.route, access.why)))


def _no_way(
    order: Sequence[Route],
    no_container: RouteUnavailable | None,
    no_host: RouteUnavailable | ToolMissing | None,
) -> CannotReach:
    """Return the refusal of the last way that was tried, with why not by the one before it."""
    if no_container is None or no_host is None:
        return no_container or no_host or RouteUnavailable("no route is asked for")
    if order[-1] is Route.HOST:
        return no_host
    message = f"{no_container.message}; nor by the host: {no_host.message}"
    return type(no_container)(message, details=no_container.details, hint=no_container.hint)


def _why_not(exc: RouteUnavailable) -> str:
    """Say in one sentence why not by a container; one that was found comes with the command that helps."""
    return f"{exc.message} ({exc.hint})" if isinstance(exc, ContainerStopped) and exc.hint else exc.message


@contextmanager
def _host_access(
    asked: _Asked, refusal: RouteUnavailable | None, tools: Sequence[str], on_event: OnEvent
) -> Iterator[Access]:
    from .postgres.access import HostAccess

    why_not = _why_not(refusal) if refusal else ""
    if asked.settings.found_in and not asked.reading_only:
        raise RouteUnavailable(
            f"no url is configured, and the database in container {asked.settings.found_in} is only reached in there",
            hint="use --via=container, or set DATABASE_URL",
        )
    why = f"not by a container: {why_not}" if why_not else "asked for"
    stopped = refusal if isinstance(refusal, ContainerStopped) else None
    access = HostAccess(asked.target, asked.settings, why=why, stopped=stopped, on_event=on_event)
    with closing(access):
        for tool in tools:
            access.runner.version(tool)
        dumping = asked.dumping or Dumping(None)
        if why_not and "host" not in asked.wanted and dumping.saves:
            what = "any safety backup is made " if dumping.loads_rows else ""
            on_event(Warned(f"{what}by the host's client tools, {why}"))
        yield access


def _python_access(
    asked: _Asked,
    no_container: RouteUnavailable | None,
    no_host: RouteUnavailable | ToolMissing | None,
    on_event: OnEvent,
) -> AbstractContextManager[Access]:
    return python_access(
        asked.settings,
        asked.target,
        by_name="python" in asked.wanted,
        dumping=asked.dumping,
        refusals=tuple(exc for exc in (no_container, no_host) if exc is not None),
        on_event=on_event,
    )


@contextmanager
def _container_access(
    asked: _Asked,
    no_host: RouteUnavailable | ToolMissing | None,
    on_event: OnEvent,
    docker: DockerOnce | None,
) -> Iterator[Access]:
    from ..runners.compose import DockerOnce
    from ..runners.discovery import choose, nearby, require_reached
    from .postgres.inside import ContainerAccess

    settings, target = asked.settings, asked.target
    wanted = wanted_container(settings, target)
    with ExitStack() as stack:
        seen = docker or stack.enter_context(DockerOnce(settings.docker))
        container = choose(seen.containers, wanted)
        if container is None:
            raise _not_reached(wanted, target, nearby(seen.containers, wanted))
        container = _until_running(seen.client, container, settings.wait)
        # one that was only being started had published nothing yet
        require_reached(container, wanted)
        yield ContainerAccess(
            target,
            settings,
            client=seen.client,
            container=container,
            why=f"{_how_found(settings, target)}: {container.name}"
            + (f"; not by the host: {no_host.message}" if no_host else ""),
            on_event=on_event,
        )


def wanted_container(settings: Settings, target: PostgresTarget | None) -> Wanted:
    """Return what the settings say about the container of a target; of any database without one."""
    from ..runners.discovery import Wanted
    from ..runners.docker_door import engine_host

    return Wanted(
        # what was taken from the container itself leads to it
        None if settings.found_in else target,
        settings.root,
        settings.found_in or settings.container,
        settings.service,
        settings.compose_project,
        prefix=settings.env_prefix,
        sources={name: _source(settings, name) for name in ("container", "service")},
        engine_host=engine_host(settings.docker),
    )


def _source(settings: Settings, name: str) -> str:
    """Return where a setting came from, with its name."""
    source = next((shown.source for shown in settings.provenance if shown.name == name), "")
    return source if name.upper() in source or source.startswith("--") else f"{name} in {source}"


def _how_found(settings: Settings, target: PostgresTarget) -> str:
    for name in ("container", "service"):
        if getattr(settings, name):
            return f"named by {_source(settings, name)}"
    if settings.found_in or not target.host:
        return "found by its labels"
    return "the url leads to it"


def _not_reached(wanted: Wanted, target: PostgresTarget, near: str) -> RouteUnavailable:
    if near:
        return RouteUnavailable(
            f"no container is reached by {_place(target)}; {near}",
            hint=f"correct the url's host and port, or leave them out: postgresql:///{quote(target.name, safe='')}",
        )
    return RouteUnavailable(
        f"no container is reached by {_place(target)}",
        hint=f"docker ps shows what there is; {wanted.prefix}SERVICE or {wanted.prefix}CONTAINER names another one,"
        " and the url has to lead to it",
    )


def _until_running(client: Any, container: Container, wait: float) -> Container:
    """Wait for a container that is just being started.

    Raises:
        ContainerStopped: it does not run; the hint says what helps.
    """
    from ..runners.discovery import require_running
    from ..runners.docker import look

    deadline = time.monotonic() + wait
    while container.may_come_up and time.monotonic() < deadline:
        time.sleep(RETRY_SECONDS)
        container = look(client, container.id) or container
    require_running(container)
    return container


def _place(target: PostgresTarget) -> str:
    return f"{target.host or 'the local socket'}:{target.port}"


@contextmanager
def open_checker(settings: Settings, format_: Format, *, on_event: OnEvent = ignore) -> Iterator[Engine]:
    """Open an engine that can read archives of a format, without any database."""
    target = settings.target
    if format_ in (Format.SQLITE, Format.ROWS):
        # neither needs a tool
        of_kind = target if isinstance(target, SqliteTarget) else SqliteTarget(Path("none"))
        with open_engine(replace(settings, via=("auto",)), of_kind, on_event=on_event) as engine:
            yield engine
        return
    if isinstance(target, PostgresTarget):
        # a script is read by us
        tools = () if format_ is Format.SQL else ("pg_restore",)
        asked = _Asked(settings, target, settings.via, reading_only=True, tools=tools)
    else:
        # no database is meant: the nearest tools will do
        asked = _Asked(settings, PostgresTarget("none"), ("host",), reading_only=True)
    with _open_postgres(asked, on_event) as engine:
        yield engine
