"""Each way to a PostgreSQL server as db.info shows it: whether it can be used, by which tools, and their holes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import DbTasksError, LoginRefused, TargetUnreachable, ToolMissing
from ..models import Format, PostgresTarget, Route
from ..settings import Settings
from . import Engine
from .routes import asks_docker, open_engine

if TYPE_CHECKING:
    from ..runners.compose import DockerOnce
    from .postgres import PostgresEngine

__all__ = ["RouteReport", "ToolReport", "one_line", "refused_route", "report_route", "route_reports"]

TOOLS = ("pg_dump", "pg_restore", "psql")


@dataclass(frozen=True)
class ToolReport:
    """One client tool that is there."""

    name: str
    version: str
    holes: tuple[str, ...] = ()
    """CVE numbers of what is known to be wrong with it."""
    mended_in: str = ""
    """The release without them, such as `18.7`; empty where it has none."""


@dataclass(frozen=True)
class RouteReport:
    """One way to the database."""

    route: str
    usable: bool
    why: str
    """Which tools it would use, or what is missing."""
    used: bool = False
    """Whether a backup would take it now."""
    tools: tuple[ToolReport, ...] = ()
    unanswered: bool = False
    """Its server did not answer, or refused the login."""


def route_reports(
    settings: Settings, target: PostgresTarget, docker: DockerOnce, used: RouteReport | None
) -> tuple[RouteReport, ...]:
    """Report on every route in the order of preference; the one in use was looked at already."""
    return tuple(_reports(settings, target, docker, used))


def _reports(
    settings: Settings, target: PostgresTarget, docker: DockerOnce, used: RouteReport | None
) -> Iterator[RouteReport]:
    # a server that is starting was waited for once, by the route in use
    impatient = replace(settings, wait=0)
    for route in (Route.CONTAINER, Route.HOST, Route.PYTHON):
        if used is not None and used.route == route:
            yield used
            continue
        if route is Route.CONTAINER and not asks_docker(settings.via):
            yield RouteReport(str(route), usable=False, why=f"not asked for: via={','.join(settings.via)}")
            continue
        if route is Route.PYTHON and used is not None and used.route == Route.HOST and used.unanswered:
            # the same connection: the server is not waited for again
            yield RouteReport(str(route), usable=False, why=used.why)
            continue
        try:
            with open_engine(impatient, target, via=str(route), docker=docker) as engine:
                yield report_route(engine)
        except DbTasksError as exc:
            yield RouteReport(str(route), usable=False, why=one_line(exc))


def report_route(engine: Engine, *, used: bool = False) -> RouteReport:
    """Ask a route's tools for their versions, and its server for its own."""
    from .postgres import PostgresEngine

    if not isinstance(engine, PostgresEngine):
        return RouteReport(str(engine.route), usable=True, why="the file is read directly", used=used)
    if engine.route is Route.PYTHON:
        return _without_tools(engine, used=used)
    tools, missing = _tools(engine)
    why_not = _why_not(engine, missing)
    return RouteReport(
        str(engine.route),
        usable=not why_not,
        why=why_not or _by(engine, tools, missing),
        used=used,
        tools=tools,
    )


def _without_tools(engine: PostgresEngine, *, used: bool) -> RouteReport:
    from .postgres.rows.backup import tool_version

    engine.server_version()
    why = f"{tool_version()}: tables and their rows only, a partial backup (--format=rows)"
    return RouteReport(str(engine.route), usable=True, why=why, used=used)


def refused_route(engine: Engine, refusal: DbTasksError) -> RouteReport:
    """Report on the route that was tried and led nowhere, without waiting for its server again."""
    from .postgres import PostgresEngine

    tools: tuple[ToolReport, ...] = ()
    if isinstance(engine, PostgresEngine) and engine.route is not Route.PYTHON:
        with suppress(DbTasksError):
            tools, _ = _tools(engine)
    return RouteReport(
        str(engine.route),
        usable=False,
        why=one_line(refusal),
        used=True,
        tools=tools,
        unanswered=isinstance(refusal, TargetUnreachable | LoginRefused),
    )


def _tools(engine: PostgresEngine) -> tuple[tuple[ToolReport, ...], dict[str, str]]:
    """Return the tools that are there, and why the others are not."""
    from .postgres.holes import MENDED, holes_of

    found, missing = [], {}
    for name in TOOLS:
        try:
            version = engine.runner.version(name)
        except ToolMissing as exc:
            missing[name] = one_line(exc)
            continue
        holes = tuple(hole.cve for hole in holes_of(name, version))
        release = version.major if version.major in MENDED else max(MENDED)
        mended_in = f"{release}.{MENDED[release]}" if holes else ""
        found.append(ToolReport(name, str(version), holes, mended_in))
    return tuple(found), missing


def _why_not(engine: PostgresEngine, missing: dict[str, str]) -> str:
    """Say why no backup could be made this way; empty where one can."""
    reader = "psql" if engine.settings.format is Format.SQL else "pg_restore"
    for name in ("pg_dump", reader):
        if name in missing:
            return missing[name]
    try:
        server = engine.server_version()
    except DbTasksError as exc:
        return one_line(exc)
    dumper = engine.runner.version("pg_dump")
    if dumper.major < server // 10_000:
        return f"pg_dump {dumper} is older than the server {server // 10_000}.{server % 10_000}: it cannot dump it"
    return ""


def _by(engine: PostgresEngine, tools: tuple[ToolReport, ...], missing: dict[str, str]) -> str:
    by_version: dict[str, list[str]] = {}
    for tool in tools:
        by_version.setdefault(tool.version, []).append(tool.name)
    text = "; ".join(f"{', '.join(names)} {version}" for version, names in by_version.items())
    lacking = f"; {' and '.join(missing)} missing" if missing else ""
    return f"{text} ({engine.runner.where}){lacking}"


def one_line(error: DbTasksError) -> str:
    """Return an error as one line: what is wrong, and in brackets what helps."""
    return f"{error.message} ({error.hint})" if error.hint else error.message
