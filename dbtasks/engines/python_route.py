"""The last way to PostgreSQL: psycopg2 alone, which makes partial backups.

Named, it is taken. `auto` comes to it when there are no client tools anywhere,
and only while the database has no complete backup: three nights without Docker
must not put three partial backups in the place of full ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import CannotReach, ContainerStopped, RouteUnavailable, UsageError
from ..events import OnEvent, ignore
from ..models import Format, PostgresTarget, Route
from ..plans import DumpRequest, Saving
from ..settings import Settings

if TYPE_CHECKING:
    from .postgres.access import Access

__all__ = [
    "Dumping",
    "comparing_rows",
    "python_access",
    "route_order",
    "saving_of",
    "saving_rows",
    "way_of_rows",
]

BY_ITSELF = "rows go by psycopg2 alone"


@dataclass(frozen=True)
class Dumping:
    """What a backup needs of the way it takes."""

    format: Format | None
    """None: whatever the way makes by default."""
    needs_tools: bool = False
    """Something is asked for that only pg_dump does."""
    complete: Callable[[], str] = str
    """Tells the id of a complete backup that there is of this database; empty where there is none."""
    loads_rows: bool = False
    """It saves the present for a restore of rows, which go their own way."""
    saves: bool = True
    """Whether anything is saved at all."""

    @classmethod
    def of(
        cls,
        settings: Settings,
        request: DumpRequest,
        *,
        globals_: bool = False,
        complete: Callable[[], str] = str,
    ) -> Dumping:
        """Say what a request needs; the settings say the rest."""
        jobs = request.jobs is not None and request.jobs > 1
        # a folder of tools that is named and has none is a mistake, not a machine without tools
        needs_tools = bool(globals_ or request.no_owner or request.extra or jobs or settings.pg_bin)
        return cls(request.format or settings.format, needs_tools, complete)


def saving_rows(format_: Format, *, saves: bool = True) -> Dumping | None:
    """Say what the safety backup of a restore needs where rows alone come back, if one is made: it may be one of rows too.

    None: the restore is one by client tools.
    """
    return Dumping(None, loads_rows=True, saves=saves) if format_ is Format.ROWS else None


def way_of_rows(route: Route, why: str) -> tuple[Route, str]:
    """Return by which way rows are loaded and why, where this one was opened: the tools that it may have move none of them."""
    return (route, why) if route is Route.PYTHON else (Route.PYTHON, BY_ITSELF)


def saving_of(route: Route, why: str) -> Saving | None:
    """Return by which way the present is saved, where this one was opened for a restore of rows; None: as these go."""
    return None if route is Route.PYTHON else Saving(route, why)


def comparing_rows(settings: Settings, via: str | None) -> Dumping | None:
    """Say what reading a live database by psycopg2 for a comparison needs: no client tool, and no container that has them,
    is looked for unless it is named.
    """
    ways = via.lower().split(",") if via else settings.via
    return Dumping(Format.ROWS) if {"auto", "python"} & set(ways) and not settings.found_in else None


def route_order(wanted: tuple[str, ...], dumping: Dumping | None = None) -> tuple[Route, ...]:
    """Return the routes to try, in order, without repeats.

    Raises:
        UsageError: a rows backup is asked for by a way that has client tools.
    """
    if dumping is not None and dumping.format is Format.ROWS:
        if not {"auto", "python"} & set(wanted):
            raise UsageError(
                f"a rows backup is read by psycopg2 alone, and via={','.join(wanted)} means client tools",
                hint="--via=python, or leave --via out",
            )
        return (Route.PYTHON,)
    auto: tuple[Route, ...] = (Route.CONTAINER, Route.HOST)
    if dumping is not None and dumping.format is None and not dumping.needs_tools:
        auto = (*auto, Route.PYTHON)
    order = [route for word in wanted for route in (auto if word == "auto" else (Route(word),))]
    return tuple(dict.fromkeys(order))


@contextmanager
def python_access(
    settings: Settings,
    target: PostgresTarget,
    *,
    by_name: bool,
    dumping: Dumping | None = None,
    refusals: tuple[CannotReach, ...] = (),
    on_event: OnEvent = ignore,
) -> Iterator[Access]:
    """Open the way without client tools; `refusals` say why none of those before it was taken.

    Raises:
        RouteUnavailable: no url leads there; or it was not named, and there is a complete backup.
    """
    from .postgres.access import PythonAccess

    if settings.found_in:
        raise RouteUnavailable(
            f"no url is configured, and the database in container {settings.found_in} is only reached in there",
            hint="set DATABASE_URL, or use --via=container for the other formats",
        )
    complete = dumping.complete() if dumping and not by_name and refusals else ""
    if complete:
        raise _complete_is_there(refusals, complete)
    stopped = next((exc for exc in refusals if isinstance(exc, ContainerStopped)), None)
    why = _words(refusals) or ("asked for" if by_name else "rows are read without client tools")
    access = PythonAccess(
        target, settings, why=why, instead=bool(refusals), stopped=stopped, on_event=on_event
    )
    with closing(access):
        yield access


def _words(refusals: tuple[CannotReach, ...]) -> str:
    """Say why by no other way."""
    parts = [
        f"not by {'a container' if isinstance(exc, RouteUnavailable) else 'the host'}: {exc.message}"
        for exc in refusals
    ]
    return "; ".join(parts)


def _complete_is_there(refusals: tuple[CannotReach, ...], complete: str) -> CannotReach:
    last = refusals[-1]
    hint = f"{last.hint}; or " if last.hint else ""
    return type(last)(
        f"{_words(refusals)}; without client tools only a partial backup could be made,"
        f" and there is a complete one ({complete})",
        details=last.details,
        hint=f"{hint}--via=python makes the partial one all the same",
        state="nothing was written",
    )
