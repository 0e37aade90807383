"""How an engine gets to its server: where the tools run, and what carries SQL.

By the host: tools on this machine, psycopg2. By a container (`inside`): tools
in there, and a psql held open, so that neither a published port nor a password
is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Protocol

from ...errors import ContainerStopped, DatabaseMissing, RouteUnavailable, TargetUnreachable
from ...events import OnEvent, ignore
from ...lock import held_locks
from ...models import PostgresTarget, Route
from ...runners import Runner
from ...runners.host import HostRunner, login_environment
from ...sessions import ConnectOptions, Session, connect, settled
from ...settings import Settings

__all__ = ["Access", "HostAccess", "PythonAccess"]


class Access(Protocol):
    """One way to one server."""

    @property
    def route(self) -> Route:
        """Which way it is."""

    @property
    def why(self) -> str:
        """Why this one, for people."""

    @property
    def runner(self) -> Runner:
        """Where the client tools run; the database comes by PGDATABASE in each command."""

    def session(self, database: str) -> AbstractContextManager[Session]:
        """Open a session on a database of the server."""

    def close(self) -> None:
        """Remove what the tools needed."""


def _options(settings: Settings) -> ConnectOptions:
    """Return how the settings want connections to be made."""
    return ConnectOptions(
        connect_timeout=settings.connect_timeout,
        wait=settings.wait,
        lock_timeout=settings.lock_timeout,
        libpq=settings.libpq,
    )


class HostAccess:
    """The host's client tools, and psycopg2."""

    route = Route.HOST

    def __init__(
        self,
        target: PostgresTarget,
        settings: Settings,
        *,
        why: str = "",
        stopped: ContainerStopped | None = None,
        on_event: OnEvent = ignore,
    ) -> None:
        self.why = why
        self._stopped = stopped
        self._target = target
        self._settings = settings
        self._on_event = on_event
        self._resources = ExitStack()
        # asked here and not later: the lock belongs to the run, not to a thread that starts a tool for it
        self._locks = held_locks()

    @cached_property
    def runner(self) -> HostRunner:
        """The client tools, led to this server."""
        environment = login_environment(
            settled(self._target),
            libpq=self._settings.libpq,
            connect_timeout=self._settings.connect_timeout,
        )
        return HostRunner(
            pg_bin=self._settings.pg_bin,
            environment=self._resources.enter_context(environment),
            secrets=self._target.secrets,
            inherit=self._locks,
            on_event=self._on_event,
        )

    @contextmanager
    def session(self, database: str) -> Iterator[Session]:
        """Connect by psycopg2.

        Raises:
            ContainerStopped: nothing answers, and the container that would is stopped. It is not waited
                for: it does not start by itself.
        """
        options = _options(self._settings)
        if self._stopped:
            options = replace(options, wait=0)
        with ExitStack() as stack:
            try:
                session = stack.enter_context(connect(self._target, database=database, options=options))
            except DatabaseMissing:
                raise
            except TargetUnreachable as exc:
                if self._stopped is None:
                    raise
                raise ContainerStopped(
                    f"{self._stopped.message}, and {exc.message}",
                    details=exc.details,
                    hint=self._stopped.hint,
                ) from exc
            yield session

    def close(self) -> None:
        """Remove the private password file."""
        self._resources.close()


class PythonAccess:
    """psycopg2 alone: there are no client tools."""

    route = Route.PYTHON

    def __init__(
        self,
        target: PostgresTarget,
        settings: Settings,
        *,
        why: str = "",
        instead: bool = False,
        stopped: ContainerStopped | None = None,
        on_event: OnEvent = ignore,
    ) -> None:
        self.why = why
        self.instead = instead
        """Nobody asked for it: there was no other way."""
        self._host = HostAccess(target, settings, stopped=stopped, on_event=on_event)

    @property
    def runner(self) -> Runner:
        """Refuse.

        Raises:
            RouteUnavailable: always.
        """
        raise RouteUnavailable(
            "the python route has no client tools, and this needs them",
            hint="use --via=container or --via=host",
        )

    def session(self, database: str) -> AbstractContextManager[Session]:
        """Connect by psycopg2."""
        return self._host.session(database)

    def close(self) -> None:
        """Nothing to remove."""
        self._host.close()
