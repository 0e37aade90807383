"""db.info's screen, and the same as one JSON object. Pure, as `screens` and `documents` are."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..models import DatabaseFacts, EngineName, PostgresTarget
from ..revisions import revision_summary
from ..runners.compose import Service, started_at
from .cleanup import kept_text, removals_text
from .documents import kept_objects, moment, target_object
from .text import age_text, duration_text, labelled_lines, many, size_text, table_lines

if TYPE_CHECKING:
    from ..engines.route_reports import RouteReport
    from ..executors.inspect import InfoReport
    from ..executors.inspecting.storage import StoreReport
    from ..runners.discovery import Container

__all__ = ["info_document", "info_lines"]

INDENT = 12
Part = tuple[str, str]
"""A label, empty where the part above goes on, and a text."""


def info_lines(report: InfoReport, now: datetime, width: int | None) -> list[str]:
    """Lines of db.info."""
    lines: list[str] = []
    for label, text in _parts(report, now):
        lines += labelled_lines(label, text, width, indent=INDENT)
    lines += ["", *_setting_lines(report, width)]
    for text in report.warnings:
        lines += labelled_lines("", f"warning: {text}", width, indent=0)
    for text in report.problems:
        lines += labelled_lines("✗", text, width, indent=2)
    return lines


def _parts(report: InfoReport, now: datetime) -> Iterator[Part]:
    yield from _database(report, now)
    yield from _surroundings(report, now)
    for number, route in enumerate(report.routes):
        yield "Routes" if number == 0 else "", _route(route)
    yield from _store(report.store, now)
    if report.kept:
        yield "Replaced", kept_text(report.kept)
    if report.set_aside:
        yield "Aside", _aside(report.set_aside)
    yield from _forecast(report)
    yield "Project", report.root


def _aside(folders: Mapping[str, int]) -> str:
    size = size_text(sum(folders.values()))
    names = " ".join(shlex.quote(folder) for folder in folders)
    return f"{many(len(folders), 'damaged file')}, {size}, which no cleanup removes: rm -r {names}"


# -- the database -----------------------------------------------------------------


def _database(report: InfoReport, now: datetime) -> Iterator[Part]:
    target, facts, survey = report.target, report.facts, report.survey
    if target is None:
        return
    parts = [target.name]
    if facts:
        server = "PostgreSQL " if target.engine is EngineName.POSTGRESQL else ""
        parts += [f"{server}{facts.server_version}", size_text(facts.size_bytes)]
        parts += [many(len(facts.tables), "table"), facts.encoding]
    yield "Database", " · ".join(part for part in parts if part)
    if isinstance(target, PostgresTarget) and facts:
        yield "", f"TimescaleDB {_timescale(report, facts)}"
    if survey and survey.started_at:
        yield "", f"server started {age_text(survey.started_at, now)}"
    state = f" · {report.state}" if report.state else ""
    sessions = f" · {many(facts.sessions, 'other session')}" if facts and facts.sessions else ""
    yield "Connection", f"{target.address}{state}{sessions}"
    if report.environment:
        yield "Environment", f"{report.environment}"
    if survey and survey.largest:
        yield "Largest", ", ".join(f"{t.name} {size_text(t.size_bytes)}" for t in survey.largest)
    elif survey and survey.sizes_unknown:
        yield "Largest", f"not known: {survey.sizes_unknown}"
    if facts:
        unknown = "not known: its table is locked" if report.revision_unknown else ""
        yield "Migration", unknown or revision_summary(facts.revision) or "no migration tool's table found"


def _timescale(report: InfoReport, facts: DatabaseFacts) -> str:
    installed = facts.extensions.get("timescaledb")
    available = report.survey.timescale_available if report.survey else ""
    if installed:
        newer = f" ({available} is available)" if available not in ("", installed) else ""
        return f"{installed}{newer}"
    return f"not installed ({available} is available)" if available else "none"


# -- what stands around it --------------------------------------------------------


def _surroundings(report: InfoReport, now: datetime) -> Iterator[Part]:
    around = report.surroundings
    if not isinstance(report.target, PostgresTarget):
        return
    if around.container:
        yield from _container(around.container, now)
    else:
        yield "Container", f"none: {around.unknown or 'the url leads to no container here'}"
    if around.project:
        services = ", ".join(_service(service) for service in around.services)
        yield "Compose", f"project {around.project}: {services or 'no container of it is here'}"
    admin = around.pgadmin
    if admin is None:
        if not around.unknown or around.project:
            yield "pgAdmin", "none"
    elif admin.enabled:
        yield "pgAdmin", f"{admin.url or 'no published port'} ({admin.container})"
    else:
        yield "pgAdmin", f"not enabled: {admin.container} is {admin.status} ({admin.helps})"


def _container(container: Container, now: datetime) -> Iterator[Part]:
    started = started_at(container)
    parts = [container.name, _state(container.status, container.health)]
    if started and container.status == "running":
        parts.append(f"started {age_text(started, now)}")
    if container.service:
        parts.append(f"service {container.service}")
    yield "Container", " · ".join(parts)
    yield "", f"image {container.image}"
    ports = ", ".join(f"{address or '*'}:{port}" for address, port in container.ports)
    yield "", f"port {ports}" if ports else "no published port"
    for volume in container.volumes:
        yield "", f"volume {volume}"
    if not container.keeps_data:
        yield "", f"no volume holds {container.data_folder}: its data goes when the container is removed"


def _service(service: Service) -> str:
    return f"{service.name} {_state(service.status, service.health)}"


def _state(status: str, health: str) -> str:
    return f"{status} ({health})" if health else status


def _route(route: RouteReport) -> str:
    used = "  ← used" if route.used else ""
    return f"{route.route:<9} {'✓' if route.usable else '✗'} {route.why}{used}"


# -- the store ------------------------------------------------------------------------


def _store(store: StoreReport, now: datetime) -> Iterator[Part]:
    free = f", {size_text(store.free_bytes)} free" if store.free_bytes is not None else ""
    held = f"{many(store.backups, 'backup')}, {size_text(store.size_bytes)}" if store.backups else "none yet"
    yield "Backups", f"{store.path}: {held}{free}"
    for report in store.types:
        newest = report.newest
        damaged = ", damaged" if newest.manifest.damage else ""
        partial = "" if newest.manifest.complete else ", partial"
        age = age_text(newest.manifest.started_at, now)
        yield "", f"{report.type:<8} {report.backups:>3}, newest {newest.id} {age}{partial}{damaged}"
    rest = [f"{store.others} of other databases" if store.others else ""]
    rest.append(many(store.foreign, "foreign file") if store.foreign else "")
    if any(rest):
        yield "", f"also {' and '.join(part for part in rest if part)} (db.list --all)"
    removed = removals_text(store.next_cleanup) if store.next_cleanup else ""
    going = f" The next cleanup removes {removed}." if removed else ""
    yield "Retention", f"{store.policy}{going}"


def _forecast(report: InfoReport) -> Iterator[Part]:
    coming = report.forecast
    if coming is None:
        if report.target:
            yield "Next backup", "nothing to judge by: none of this kind is in the log yet"
        return
    room = f"room for {coming.room:,} more" if coming.fits else "it does not fit"
    based = "the last one" if coming.based_on == 1 else f"the last {coming.based_on}"
    yield (
        "Next backup",
        f"about {duration_text(coming.seconds)}, {size_text(coming.size_bytes)} (by {based}); {room}",
    )


def _setting_lines(report: InfoReport, width: int | None) -> list[str]:
    rows = [(s.name, s.text, f"← {s.source}") for s in report.settings]
    lines = table_lines(("setting", "value", "source"), rows)
    if width is None or all(len(line) <= width for line in lines):
        return lines
    lines = []
    for name, text, source in rows:
        lines += labelled_lines("", f"{name} = {text}", width, indent=0)
        lines += labelled_lines("", source, width, indent=4)
    return lines


# -- for programs -----------------------------------------------------------------------


def info_document(report: InfoReport) -> dict[str, Any]:
    """Everything db.info knows."""
    return {
        "root": report.root,
        "target": target_object(report.target),
        "address": report.target.address if report.target else None,
        "environment": report.environment,
        "state": str(report.state) if report.state else None,
        "database": _database_object(report),
        **_surroundings_objects(report),
        "routes": [_route_object(route) for route in report.routes],
        "settings": [{"name": s.name, "value": s.text, "source": s.source} for s in report.settings],
        "store": _store_object(report.store),
        "replaced": kept_objects(report.kept),
        "set_aside": [{"path": path, "size_bytes": size} for path, size in report.set_aside.items()],
        "forecast": _forecast_object(report),
        "problems": list(report.problems),
        "notes": list(report.warnings),
    }


def _database_object(report: InfoReport) -> dict[str, Any] | None:
    facts, survey = report.facts, report.survey
    if facts is None:
        return None
    started = survey.started_at if survey else None
    return {
        "server_version": facts.server_version,
        "started_at": moment(started) if started else None,
        "size_bytes": facts.size_bytes,
        "tables": len(facts.tables),
        "largest_tables": [{"table": table.name, "size_bytes": table.size_bytes} for table in survey.largest]
        if survey
        else [],
        "sizes_unknown": (survey.sizes_unknown if survey else "") or None,
        "extensions": dict(facts.extensions),
        "timescaledb": _timescale_object(report, facts),
        "encoding": facts.encoding,
        "collation": facts.collation,
        "sessions": facts.sessions,
        "migration": {"tool": facts.revision.tool, "revisions": list(facts.revision.revisions)}
        if facts.revision
        else None,
    }


def _timescale_object(report: InfoReport, facts: DatabaseFacts) -> dict[str, Any] | None:
    if not isinstance(report.target, PostgresTarget):
        return None
    available = report.survey.timescale_available if report.survey else ""
    return {"installed": facts.extensions.get("timescaledb"), "available": available or None}


def _surroundings_objects(report: InfoReport) -> dict[str, Any]:
    around = report.surroundings
    admin = around.pgadmin
    return {
        "container": _container_object(around.container) if around.container else None,
        "no_container": around.unknown or None,
        "compose": {
            "project": around.project,
            "services": [
                {
                    "service": service.name,
                    "container": service.container,
                    "status": service.status,
                    "health": service.health or None,
                }
                for service in around.services
            ],
        }
        if around.project
        else None,
        "pgadmin": {
            "container": admin.container,
            "status": admin.status,
            "enabled": admin.enabled,
            "url": admin.url or None,
        }
        if admin
        else None,
    }


def _container_object(container: Container) -> dict[str, Any]:
    started = started_at(container)
    return {
        "name": container.name,
        "image": container.image,
        "status": container.status,
        "health": container.health or None,
        "started_at": moment(started) if started else None,
        "service": container.service or None,
        "ports": [{"address": address, "port": port} for address, port in container.ports],
        "volumes": list(container.volumes),
        "data_folder": container.data_folder,
        "keeps_data": container.keeps_data,
    }


def _route_object(route: RouteReport) -> dict[str, Any]:
    return {
        "route": route.route,
        "usable": route.usable,
        "used": route.used,
        "why": route.why,
        "tools": [
            {
                "tool": tool.name,
                "version": tool.version,
                "holes": list(tool.holes),
                "mended_in": tool.mended_in or None,
            }
            for tool in route.tools
        ],
    }


def _store_object(store: StoreReport) -> dict[str, Any]:
    return {
        "path": str(store.path),
        "backups": store.backups,
        "size_bytes": store.size_bytes,
        "free_bytes": store.free_bytes,
        "newest": store.newest.id if store.newest else None,
        "latest": store.latest.id if store.latest else None,
        "types": [
            {
                "type": str(report.type),
                "backups": report.backups,
                "size_bytes": report.size_bytes,
                "newest": report.newest.id,
                "newest_at": moment(report.newest.manifest.started_at),
            }
            for report in store.types
        ],
        "damaged": list(store.damaged),
        "lost": list(store.lost),
        "others": store.others,
        "foreign": store.foreign,
        "retention": store.policy,
        "next_cleanup": store.next_cleanup.total if store.next_cleanup else None,
        "next_cleanup_removes": asdict(store.next_cleanup) if store.next_cleanup else None,
    }


def _forecast_object(report: InfoReport) -> dict[str, Any] | None:
    coming = report.forecast
    if coming is None:
        return None
    return {
        "seconds": round(coming.seconds, 3),
        "size_bytes": coming.size_bytes,
        "needs_bytes": coming.needs_bytes,
        "free_bytes": coming.free_bytes,
        "fits": coming.fits,
        "room": coming.room,
        "based_on": coming.based_on,
    }
