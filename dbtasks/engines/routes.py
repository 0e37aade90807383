"""Which engine, and by which route: a pure choice, then one door to open it.

In this version PostgreSQL is reached by the host's client tools; a route
asked for by name that is not there is refused, never replaced by another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import DbTasksError, RouteUnavailable, UsageError
from ..models import EngineName, Format, OnEvent, PostgresTarget, SqliteTarget, Target, ignore
from ..settings import Settings
from . import Engine

__all__ = ["RouteReport", "open_checker", "open_engine", "route_reports"]


@dataclass(frozen=True)
class RouteReport:
    """One way to the database as db.info shows it."""

    route: str
    usable: bool
    why: str
    """Which tool it would use, or what is missing."""


@contextmanager
def open_engine(
    settings: Settings, target: Target | None = None, *, via: str | None = None, on_event: OnEvent = ignore
) -> Iterator[Engine]:
    """Open the engine for a target by the route the settings ask for.

    Nothing connects yet; what the engine opened is closed when the block ends.

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

    with PostgresEngine(target, settings, why=_host(wanted), on_event=on_event) as engine:
        yield engine


def _host(wanted: tuple[str, ...]) -> str:
    """Return why the host route is taken, or refuse."""
    if "host" in wanted:
        return "asked for"
    if "auto" in wanted:
        return "the host's client tools are the only route of this version"
    raise RouteUnavailable(
        f"the route {','.join(wanted)} is not in this version",
        hint="use --via=host, with PostgreSQL's client tools installed",
    )


@contextmanager
def open_checker(settings: Settings, format_: Format, *, on_event: OnEvent = ignore) -> Iterator[Engine]:
    """Open an engine that can read archives of a format, without any database."""
    kind = EngineName.SQLITE if format_ is Format.SQLITE else EngineName.POSTGRESQL
    target = settings.target
    if target is None or target.engine is not kind:
        target = SqliteTarget(Path("none")) if kind is EngineName.SQLITE else PostgresTarget("none")
    with open_engine(replace(settings, via=("auto",)), target, on_event=on_event) as engine:
        yield engine


def route_reports(settings: Settings) -> tuple[RouteReport, ...]:
    """Say for each route to the configured database whether it can be used."""
    target = settings.target
    if target is None:
        return ()
    if isinstance(target, SqliteTarget):
        import sqlite3

        return (RouteReport("file", usable=True, why=f"SQLite {sqlite3.sqlite_version}"),)
    return (_host_report(settings, target),)


def _host_report(settings: Settings, target: PostgresTarget) -> RouteReport:
    try:
        with open_engine(replace(settings, via=("host",)), target) as engine:
            return RouteReport("host", usable=True, why=getattr(engine, "tool_version", ""))
    except DbTasksError as exc:
        return RouteReport("host", usable=False, why=exc.message)
