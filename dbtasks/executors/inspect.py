"""Inspect: everything worth knowing before a bad day, gathered without changing anything.

What each part looks at stands in a module of its own: `storage`, `forecast`,
`exposure`, `surroundings`, and the engines' `route_reports` and `survey`. A
part that cannot be learnt says why, and never takes the others with it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..engines import Engine
from ..engines.python_route import route_order
from ..engines.route_reports import RouteReport, one_line, refused_route, report_route, route_reports
from ..engines.routes import open_engine
from ..engines.survey import LOCK_SECONDS, Survey, facts_beside_locks, survey, what_is_wrong
from ..errors import Busy, DbTasksError, SettingsError
from ..events import Event, OnEvent, RouteTaken, Warned, ignore
from ..journal import read_log
from ..models import DatabaseFacts, PostgresTarget, SqliteTarget, Target
from ..plans import DumpPlan, DumpRequest, TargetState
from ..settings import Setting, Settings
from .backup import dumping_of
from .inspecting.exposure import exposures
from .inspecting.forecast import Forecast, Kind, forecast
from .inspecting.storage import StoreReport, report_store
from .inspecting.surroundings import Surroundings, look_around
from .restoring.kept import KeptDatabase, kept_databases
from .restoring.killed import told_of_killed
from .restoring.left_proofs import told_of_left_proofs

if TYPE_CHECKING:
    from ..runners.compose import DockerOnce

__all__ = ["InfoReport", "inspect"]


@dataclass(frozen=True)
class InfoReport:
    """What db.info shows.

    `problems` is what --check fails on: no backup could be made now, or the
    newest one is of no use. `warnings` is what somebody should look at.
    """

    root: str
    target: Target | None
    environment: str | None
    state: TargetState | None
    facts: DatabaseFacts | None
    survey: Survey | None
    surroundings: Surroundings
    routes: tuple[RouteReport, ...]
    settings: tuple[Setting, ...]
    store: StoreReport
    forecast: Forecast | None
    warnings: tuple[str, ...]
    problems: tuple[str, ...]
    revision_unknown: bool = False
    """The migration's table is locked: nothing is known of it."""
    kept: Sequence[KeptDatabase] = ()
    """The databases that restores replaced and that are still there."""
    set_aside: Mapping[str, int] = field(default_factory=dict)
    """Folders into which restores moved damaged files, with their sizes."""


@dataclass(frozen=True)
class _Look:
    """What the database itself told, by the route a backup would take."""

    state: TargetState | None = None
    facts: DatabaseFacts | None = None
    survey: Survey | None = None
    route: RouteReport | None = None
    plan: DumpPlan | None = None
    revision_unknown: bool = False
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    kept: Sequence[KeptDatabase] = ()
    set_aside: Mapping[str, int] = field(default_factory=dict)


def inspect(settings: Settings, *, on_event: OnEvent = ignore) -> InfoReport:
    """Look at the database, what stands around it, the routes to it, the store and the settings.

    Never raises for what is merely wrong with one of them: that is what it is
    there to tell. Docker is asked for PostgreSQL only, and once.
    """
    warnings: list[str] = list(settings.warnings)

    def hear(event: Event) -> None:
        if isinstance(event, Warned):
            warnings.append(event.text)
        elif not isinstance(event, RouteTaken):  # told with all the others
            on_event(event)

    with ExitStack() as stack:
        docker = stack.enter_context(_docker(settings, hear))
        look = _look(settings, docker, hear)
        around, routes = _around(settings, docker, look.route)
    store = report_store(settings)
    coming = _forecast(settings, store, look.plan)
    warnings += look.warnings
    if not any("is unhealthy" in text for text in warnings):
        # the engine says it of a server that answers
        warnings += _unhealthy(around)
    warnings += _warnings(settings, routes, store)
    warnings += _little_room(store, look.facts, coming)
    return InfoReport(
        root=str(settings.root),
        target=settings.target,
        environment=settings.environment,
        state=look.state,
        facts=look.facts,
        survey=look.survey,
        surroundings=around,
        routes=routes,
        settings=settings.provenance,
        store=store,
        forecast=coming,
        warnings=tuple(dict.fromkeys(warnings)),
        problems=(*look.problems, *store.problems, *_no_room(store, coming)),
        revision_unknown=look.revision_unknown,
        kept=look.kept,
        set_aside=look.set_aside,
    )


def _docker(settings: Settings, on_event: OnEvent) -> DockerOnce:
    from ..runners.compose import DockerOnce

    return DockerOnce(settings.docker, on_event=on_event)


# -- the database ---------------------------------------------------------------


def _look(settings: Settings, docker: DockerOnce, on_event: OnEvent) -> _Look:
    """Ask the database; what fails ends the asking, and what was learnt before is kept."""
    # a lock that somebody holds is told, and not waited for as a backup would
    impatient = replace(settings, lock_timeout=LOCK_SECONDS)
    try:
        target = settings.require_target()
        with open_engine(
            impatient, target, on_event=on_event, docker=docker, dumping=dumping_of(settings, DumpRequest())
        ) as engine:
            look = _ask(engine, settings)
            warnings = (
                *look.warnings,
                *told_of_killed(settings, engine),
                *told_of_left_proofs(settings, engine),
            )
            # a server that gave no answer is not waited for again
            kept = kept_databases(settings, engine) if look.state is not None else ()
            return replace(look, warnings=warnings, kept=kept, set_aside=engine.set_aside())
    except SettingsError as exc:
        # why no container stands in for a url is among the details
        return _Look(problems=("; ".join(filter(None, (one_line(exc), exc.details))),))
    except DbTasksError as exc:
        return _Look(problems=(one_line(exc),))


def _ask(engine: Engine, settings: Settings) -> _Look:
    try:
        state = engine.state()
    except DbTasksError as exc:
        return _Look(route=refused_route(engine, exc), problems=(one_line(exc),))
    look = _Look(state=state)
    try:
        look = replace(look, route=report_route(engine, used=True))
        if state in (TargetState.MISSING, TargetState.DAMAGED):
            return replace(look, problems=(_wrong(engine, state),))
        look = replace(look, survey=survey(engine))
        return _plan(engine, settings, look)
    except DbTasksError as exc:
        return replace(look, problems=(one_line(exc),))


def _plan(engine: Engine, settings: Settings, look: _Look) -> _Look:
    """Add what a backup made now would be, and the facts."""
    try:
        plan = engine.plan_dump(DumpRequest())
    except Busy as exc:
        held = look.survey.locked if look.survey else ()
        waits = _waits(settings, held or (exc.message,))
        return replace(look, facts=facts_beside_locks(engine), warnings=waits, revision_unknown=True)
    except DbTasksError as exc:
        look = replace(look, problems=(f"no backup can be made: {one_line(exc)}",))
        try:
            return replace(look, facts=engine.facts())
        except Busy:
            return replace(look, facts=facts_beside_locks(engine), revision_unknown=True)
    return replace(
        look,
        plan=plan,
        facts=plan.facts,
        warnings=_waits(settings, look.survey.locked if look.survey else ()),
    )


def _waits(settings: Settings, held: tuple[str, ...]) -> tuple[str, ...]:
    """Say what a backup made now would wait for: every table that it is to read."""
    if not held:
        return ()
    patience = f"up to lock_timeout = {settings.lock_timeout:g} s" if settings.lock_timeout else "for ever"
    return (f"{'; '.join(held)}: a backup made now would wait, {patience}",)


def _wrong(engine: Engine, state: TargetState) -> str:
    """Say why there is no database to back up, and what brings one back."""
    target = engine.target
    if state is TargetState.DAMAGED:
        why = what_is_wrong(engine)
    elif isinstance(target, SqliteTarget):
        why = f"there is no file {target.path}"
    else:
        why = "its server has no database of this name"
    return f"{target.name} is {state}{f': {why}' if why else ''} (db.restore brings the latest backup back)"


def _around(
    settings: Settings, docker: DockerOnce, used: RouteReport | None
) -> tuple[Surroundings, tuple[RouteReport, ...]]:
    if not isinstance(settings.target, PostgresTarget):
        return Surroundings(), (used,) if used else ()
    around = look_around(settings, settings.target, docker)
    return around, route_reports(settings, settings.target, docker, used)


# -- the next backup ---------------------------------------------------------------


def _forecast(settings: Settings, store: StoreReport, plan: DumpPlan | None) -> Forecast | None:
    if settings.target is None or store.free_bytes is None:
        return None
    runs = read_log(settings.backup_dir, str(settings.target.identity))
    if plan is None:
        return forecast(runs, store.free_bytes)
    kind = Kind(str(plan.format), str(plan.compression), plan.complete, str(plan.route))
    return forecast(runs, store.free_bytes, kind)


def _no_room(store: StoreReport, coming: Forecast | None) -> list[str]:
    if coming is None or coming.fits:
        return []
    return [
        f"the next backup will not fit into {store.path}: it needs about {coming.needs_bytes:,} bytes,"
        f" {coming.free_bytes:,} are free"
    ]


def _little_room(store: StoreReport, facts: DatabaseFacts | None, coming: Forecast | None) -> list[str]:
    """Doubt that a first backup will fit: nothing is known yet of how small it gets."""
    if (
        coming is not None
        or facts is None
        or store.free_bytes is None
        or facts.size_bytes <= store.free_bytes
    ):
        return []
    return [
        f"the first backup may not fit into {store.path}: the database has {facts.size_bytes:,} bytes,"
        f" {store.free_bytes:,} are free"
    ]


# -- warnings -------------------------------------------------------------------------


def _unhealthy(around: Surroundings) -> list[str]:
    if around.container is None or around.container.health != "unhealthy":
        return []
    name = around.container.name
    return [f"container {name} is unhealthy: docker logs {shlex.quote(name)}"]


def _warnings(settings: Settings, routes: tuple[RouteReport, ...], store: StoreReport) -> list[str]:
    found = [f"{exposed.what}: {exposed.command}" for exposed in exposures(settings)]
    found += _holes(settings, routes)
    if older := [id_ for id_ in store.damaged if id_ not in store.told]:
        found.append(f"damaged backups, which count for nothing: {', '.join(older)}")
    if lost := [id_ for id_ in store.lost if id_ not in store.told]:
        found.append(
            f"backups whose archives are missing, of which only the manifests are left: {', '.join(lost)}"
        )
    if store.unreadable:
        found.append(
            f"manifests that cannot be read, so that their backups count for nothing: {', '.join(store.unreadable)}"
        )
    return [*found, store.suspended] if store.suspended else found


def _holes(settings: Settings, routes: tuple[RouteReport, ...]) -> list[str]:
    """Name the tools with known holes on every route that a task may and can take, one line for each release."""
    try:
        allowed = {str(route) for route in route_order(settings.via)}
    except DbTasksError:
        return []
    found = []
    for route in routes:
        if route.route not in allowed or not route.usable:
            continue
        for version in dict.fromkeys(tool.version for tool in route.tools if tool.holes):
            tools = [tool for tool in route.tools if tool.version == version and tool.holes]
            names = ", ".join(tool.name for tool in tools)
            cves = ", ".join(dict.fromkeys(cve for tool in tools for cve in tool.holes))
            found.append(
                f"{names} {version} ({route.route}): known security holes {cves};"
                f" {tools[0].mended_in} mends them"
            )
    return found
