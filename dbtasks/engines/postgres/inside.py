"""Logging in inside the database's container: by its local socket, with a password only where it asks for one.

The images in use trust the local socket. Where a server does not, the password
is laid down inside in a 0600 file for as long as the run lasts; where it takes
nobody by the socket, the loopback address inside is tried.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any
from urllib.parse import quote

from ...errors import (
    CommandFailed,
    ContainerStopped,
    DatabaseMissing,
    DbTasksError,
    LoginRefused,
    RouteUnavailable,
    TargetUnreachable,
)
from ...events import OnEvent, Warned, ignore
from ...models import PostgresTarget, Route
from ...psql import connect_psql
from ...runners.container import ContainerRunner
from ...runners.discovery import Container
from ...runners.docker import handle, look
from ...runners.inside import kept_folder
from ...runners.private import passfile
from ...runners.reach import POSTGRES_PORT
from ...sessions import PREPARE, Session
from ...settings import Settings
from ...settings.keys import PREFIX

__all__ = ["ContainerAccess"]

RETRY_SECONDS = 0.25
STOPPED_SECONDS = 3.0
"""A container that is being restarted is stopped for a moment; one that stays so is not waited for."""
NOT_BY_SOCKET = ("peer authentication", "ident authentication", 'host "[local]"')
"""What a server says that takes nobody, or not this user, by its local socket."""


class ContainerAccess:
    """Client tools inside the database's container, and a psql held open there.

    What was copied in, the password file too, is removed by `close()`, and by
    a keeper inside when this process is killed.
    """

    route = Route.CONTAINER

    def __init__(
        self,
        target: PostgresTarget,
        settings: Settings,
        *,
        client: Any,
        container: Container,
        why: str = "",
        on_event: OnEvent = ignore,
    ) -> None:
        self.why = why
        self.container = container
        self._user = target.user or container.environment.get("POSTGRES_USER") or "postgres"
        self._target = target
        self._password = target.password
        self._settings = settings
        self._client = client
        self._secrets = target.secrets
        self._on_event = on_event
        self._laid_down = ExitStack()
        self._laid_in = ""
        self._answered = False

    @cached_property
    def runner(self) -> ContainerRunner:
        """The client tools inside."""
        environment = {
            "PGUSER": self._user,
            "PGAPPNAME": "dbtasks",
            "PGCONNECT_TIMEOUT": str(max(2, round(self._settings.connect_timeout))),
            "LC_ALL": "C",
        }
        return ContainerRunner(
            handle(self._client, self.container),
            environment=environment,
            secrets=self._secrets,
            on_event=self._on_event,
        )

    @contextmanager
    def session(self, database: str) -> Iterator[Session]:
        """Hold a psql open inside; a server that is starting is given the time `wait` says.

        Raises:
            LoginRefused: it wants a password and there is none, or it is wrong.
            TargetUnreachable: it does not answer; says how the container is.
        """
        with ExitStack() as stack:
            yield self._enter(stack, database)

    def close(self) -> None:
        """Remove what was copied in, and the password."""
        self._laid_down.close()
        if "runner" in vars(self):
            self.runner.close()

    # -- waiting ------------------------------------------------------------------

    def _enter(self, stack: ExitStack, database: str) -> Session:
        wait = self._settings.wait
        deadline = time.monotonic() + wait
        stopped = 0.0
        while True:
            over = time.monotonic() >= deadline
            try:
                session = self._log_in(stack, database)
            except DatabaseMissing:
                raise
            except (TargetUnreachable, ContainerStopped, CommandFailed) as exc:
                stopped = self._stopped_since(stopped)
                if over or (stopped and time.monotonic() - stopped > STOPPED_SECONDS):
                    raise self._not_up(exc) from exc
            else:
                if self._answered or over or self._health() != "starting":
                    self._answers()
                    return session
                # it may be the server an image starts only to fill its volume
                stack.close()
            time.sleep(RETRY_SECONDS)

    def _stopped_since(self, before: float) -> float:
        """Return since when it was seen stopped, 0 while it runs or may come up by itself."""
        seen = look(self._client, self.container.id)
        if seen is not None and (seen.is_running or seen.may_come_up):
            return 0.0
        return before or time.monotonic()

    def _health(self) -> str:
        seen = look(self._client, self.container.id)
        return seen.health if seen else ""

    def _answers(self) -> None:
        """Say once what is odd about a server that answers all the same."""
        if self._answered:
            return
        self._answered = True
        health = self._health() if self.container.health in ("starting", "unhealthy") else ""
        if health in ("starting", "unhealthy"):
            told = "is unhealthy" if health == "unhealthy" else "is still starting by its health check"
            self._on_event(
                Warned(
                    f"container {self.container.name} {told}; its server answers and is used"
                    f" (docker logs {self.container.name})"
                )
            )

    def _not_up(self, exc: DbTasksError) -> TargetUnreachable | RouteUnavailable:
        """Say how the container is whose server does not answer."""
        name, wait = self.container.name, self._settings.wait
        waited = f" after {wait:g} s" if wait else ""
        seen = look(self._client, self.container.id)
        if seen is None or not seen.is_running:
            state, hint = (seen.condition, seen.helps) if seen else ("is gone", self.container.helps)
            return ContainerStopped(f"container {name} {state}", details=exc.details, hint=hint)
        if seen.health == "unhealthy":
            return TargetUnreachable(
                f"container {name} is unhealthy, and its server does not answer{waited}",
                details=exc.details,
                hint=f"docker logs {name}",
            )
        if seen.health == "starting" or "starting up" in exc.details:
            return TargetUnreachable(
                f"the server in container {name} is still starting{waited}",
                details=exc.details,
                hint=f"give it more time: --wait={max(30, round(wait * 2))}; docker logs {name} shows what it does",
            )
        hint = "; ".join(filter(None, (exc.hint, f"docker logs {name} shows what it does")))
        return TargetUnreachable(exc.message + waited, details=exc.details, hint=hint)

    # -- getting in -----------------------------------------------------------------

    def _log_in(self, stack: ExitStack, database: str) -> Session:
        lock = {"lock": f"{int(self._settings.lock_timeout * 1000)}ms"}
        while True:
            try:
                return stack.enter_context(
                    connect_psql(self.runner, database, user=self._user, env={}, prepare=(PREPARE, lock))
                )
            except LoginRefused as exc:
                if not self._another_way(exc.details):
                    raise self._refused(exc) from exc

    def _another_way(self, said: str) -> bool:
        """Prepare the next way in that the server's words point to; False when there is none left."""
        lead = self.runner.environment
        # a container that was started anew has lost what lay in there
        if "no password supplied" in said and self._password and self._laid_in != self.runner.life:
            self._laid_in = self.runner.life
            folder = self._laid_down.enter_context(kept_folder(self.runner))
            lead["PGPASSFILE"] = folder.write("passfile", passfile(self._password).encode())
            return True
        if any(sign in said.lower() for sign in NOT_BY_SOCKET) and "PGHOST" not in lead:
            lead["PGHOST"] = "127.0.0.1"
            return True
        return False

    def _refused(self, exc: LoginRefused) -> LoginRefused:
        if "no password supplied" in exc.details and not self._password:
            exc.message = f"the server in container {self.container.name} asks for a password even there"
            exc.args = (exc.message,)
            exc.hint = self._where_the_password_belongs()
        return exc

    def _where_the_password_belongs(self) -> str:
        prefix = self._settings.env_prefix
        url = _url_with_password(replace(self._target, user=self._user))
        if self._settings.found_in:
            own = "" if prefix == PREFIX else prefix
            name = "DATABASE_URL" if prefix == PREFIX else f"{prefix}URL"
            return f"set {own}POSTGRES_PASSWORD (or {own}POSTGRES_PASSWORD_FILE) in .env, or {name}={url}"
        return f"give the url its password: {url}"


def _url_with_password(target: PostgresTarget) -> str:
    """Return the url that means the same database, with PASSWORD for the password."""
    port = "" if target.port == POSTGRES_PORT else f":{target.port}"
    host = f"[{target.host}]" if ":" in target.host else quote(target.host, safe="")
    return f"postgresql://{quote(target.user, safe='')}:PASSWORD@{host}{port}/{quote(target.name, safe='')}"
