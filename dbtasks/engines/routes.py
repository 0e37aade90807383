"""Which engine, and by which route: a pure choice, then one door to open it.

PostgreSQL is reached inside its container where there is one, else by the
host's client tools. A route or container asked for by name that is not there
is refused, never replaced by another; `auto` says why it did not take the
first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DbTasksError, RouteUnavailable, UsageError
from ..events import OnEvent, Warned, ignore
from ..models import EngineName, Format, PostgresTarget, Route, SqliteTarget, Target
from ..settings import Settings
from . import Engine

if TYPE_CHECKING:
    from ..runners.compose import DockerOnce
    from .postgres.access import Access

__all__ = ["RouteReport", "open_checker", "open_engine", "route_order", "route_reports"]


@dataclass(frozen=True)
class RouteReport:
    """One way to the database as db.info shows it."""

    route: str
    usable: bool
    why: str
    """Which tool it would use, or what is missing."""


@contextmanager
def open_engine(
    settings: Settings,
    target: Target | None = None,
    *,
    via: str | None = None,
    on_event: OnEvent = ignore,
    docker: DockerOnce | None = None,
) -> Iterator[Engine]:
    """Open the engine for a target by the route the settings ask for.

    Nothing connects yet; what the engine opened is closed when the block ends.
    `docker` is one that was asked already, and lives longer than the block.

    Raises:
        RouteUnavailable: the route asked for is not there.
        UsageError: the route means nothing for this kind of database.
    """
    target = target or settings.require_target()
    wanted = (via,) if via else settings.via
    if isinstance(target, SqliteTarget):
        from .sqlite import SqliteEngine

        if "auto" not in wanted:
            raise UsageError(f"via={','.join(wanted)} means nothing for SQLite: the file is read directly")
        yield SqliteEngine(target, settings)
        return
    from .postgres import PostgresEngine

    with (
        _open_access(settings, target, wanted, on_event, docker) as access,
        PostgresEngine(target, settings, access=access) as engine,
    ):
        yield engine


def route_order(wanted: Sequence[str]) -> tuple[Route, ...]:
    """Return the routes to try, in order, without repeats.

    Raises:
        RouteUnavailable: one is asked for that this version does not have.
    """
    order: list[Route] = []
    for word in wanted:
        if word == "python":
            raise RouteUnavailable(
                "the python route is not in this version",
                hint="use --via=host, with PostgreSQL's client tools installed",
            )
        order += [Route.CONTAINER, Route.HOST] if word == "auto" else [Route(word)]
    return tuple(dict.fromkeys(order))


@contextmanager
def _open_access(
    settings: Settings,
    target: PostgresTarget,
    wanted: Sequence[str],
    on_event: OnEvent,
    docker: DockerOnce | None = None,
) -> Iterator[Access]:
    """Open the first route that is there; `auto` falls from the container to the host and says why."""
    from .postgres.access import HostAccess

    why_not = ""
    for route in route_order(wanted):
        if route is Route.HOST:
            why = f"not by a container: {why_not}" if why_not else "asked for"
            if why_not and "host" not in wanted:
                on_event(Warned(f"by the host's client tools, {why}"))
            yield HostAccess(target, settings, why=why, on_event=on_event)
            return
        with ExitStack() as stack:
            try:
                access = stack.enter_context(_container_access(settings, target, on_event, docker))
            except RouteUnavailable as exc:
                if tuple(wanted) == ("container",) or settings.container or settings.service:
                    raise
                why_not = exc.message
                continue
            yield access
            return
    raise RouteUnavailable(f"no route to {target.name} is there: {why_not}")


@contextmanager
def _container_access(
    settings: Settings, target: PostgresTarget, on_event: OnEvent, docker: DockerOnce | None
) -> Iterator[Access]:
    from ..runners.compose import DockerOnce
    from ..runners.docker import Wanted, choose, require_running
    from .postgres.access import ContainerAccess

    wanted = Wanted(target, settings.root, settings.container, settings.service, settings.compose_project)
    with ExitStack() as stack:
        seen = docker or stack.enter_context(DockerOnce())
        container = choose(seen.containers, wanted)
        if container is None:
            raise RouteUnavailable(
                f"no container is reached by {target.host or 'the local socket'}:{target.port}",
                hint="name it: container=NAME, or service=NAME of the compose file",
            )
        require_running(container)
        why = "asked for" if wanted.named else "the url leads to it"
        yield ContainerAccess(
            target,
            settings,
            client=seen.client,
            container=container,
            why=f"{why}: {container.name}",
            on_event=on_event,
        )


@contextmanager
def open_checker(settings: Settings, format_: Format, *, on_event: OnEvent = ignore) -> Iterator[Engine]:
    """Open an engine that can read archives of a format, without any database."""
    kind = EngineName.SQLITE if format_ is Format.SQLITE else EngineName.POSTGRESQL
    target, via = settings.target, settings.via
    if target is None or target.engine is not kind:
        # no database is meant: the nearest tools will do
        target = SqliteTarget(Path("none")) if kind is EngineName.SQLITE else PostgresTarget("none")
        via = ("auto",) if kind is EngineName.SQLITE else ("host",)
    with open_engine(replace(settings, via=via), target, on_event=on_event) as engine:
        yield engine


def route_reports(settings: Settings) -> tuple[RouteReport, ...]:
    """Say for each route to the configured database whether it can be used."""
    target = settings.target
    if target is None:
        return ()
    if isinstance(target, SqliteTarget):
        import sqlite3

        return (RouteReport("file", usable=True, why=f"SQLite {sqlite3.sqlite_version}"),)
    return tuple(_report(settings, target, route) for route in (Route.CONTAINER, Route.HOST))


def _report(settings: Settings, target: PostgresTarget, route: Route) -> RouteReport:
    from .postgres import PostgresEngine

    try:
        with (
            _open_access(settings, target, (route,), ignore) as access,
            PostgresEngine(target, settings, access=access) as engine,
        ):
            return RouteReport(route, usable=True, why=f"{engine.tool_version} ({engine.runner.where})")
    except DbTasksError as exc:
        return RouteReport(route, usable=False, why=exc.message)
