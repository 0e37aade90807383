"""Client tools inside a running container, by the Docker SDK's exec.

No TTY, stdout and stderr told apart, the exit status always read. Docker has
no way to end an exec, and a tool whose caller died would run on: every tool is
therefore watched by its own stdin. While this process lives the pipe is open;
when it ends, however it ends, the tool inside is told to.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ContainerStopped, DbTasksError, OperationFailed, RouteUnavailable, ToolMissing
from ..events import CommandStarted, OnEvent, Warned, ignore
from ..secrets import Secret, redact
from ..streams import BLOCK_BYTES
from . import Command, ToolFolder, ToolVersion
from .docker import look
from .docker_door import stopped_answering
from .exec_stream import UNKNOWN, ContainerInput, ContainerOutput, Exec
from .host import VERSION
from .inside import kept_folder, readable
from .watch import Watch

__all__ = ["ContainerRunner"]

T = TypeVar("T")

# "$@" is the tool's argv: nothing of it is ever parsed by the shell.
# The shell waits for whatever it has ended. An orphan goes to the container's first process, and that is the server
# itself where no init was asked for: a child that died by a signal makes it end every session and start anew.
WATCHED = (
    'exec 3<&0; "$@" 3<&- </dev/null & tool=$!; '
    "{ read -r word <&3; kill -TERM $tool; } >/dev/null 2>&1 & watch=$!; exec 3<&-; "
    "wait $tool; status=$?; kill $watch 2>/dev/null; wait $watch 2>/dev/null; exit $status"
)
# A tool that reads from us is named by its process, so that it can be ended while it is busy.
NAMED = 'echo "$$" >&2; exec "$@"'
SIGNAL = 'kill "-$1" "$2"'
CONFLICT = 409
"""Docker's status for a container that is stopped, paused or just being started anew."""
CANCEL_SECONDS = 0.2
LEAVING_SECONDS = 5
"""How long an answer of Docker is waited for when a tool is to be ended: by the end of its input it ends anyway."""
LIBPQ = (
    "PGHOST PGHOSTADDR PGSERVICE PGSERVICEFILE PGSYSCONFDIR PGDATABASE PGUSER PGPASSWORD PGPASSFILE PGOPTIONS"
    " PGREQUIREAUTH PGCHANNELBINDING PGREQUIREPEER PGSSLMODE PGREQUIRESSL PGSSLNEGOTIATION PGSSLCOMPRESSION"
    " PGSSLCERT PGSSLKEY PGSSLCERTMODE PGSSLROOTCERT PGSSLCRL PGSSLCRLDIR PGSSLSNI PGSSLMINPROTOCOLVERSION"
    " PGSSLMAXPROTOCOLVERSION PGGSSENCMODE PGKRBSRVNAME PGGSSLIB PGGSSDELEGATION PGCONNECT_TIMEOUT"
    " PGCLIENTENCODING PGTARGETSESSIONATTRS PGLOADBALANCEHOSTS PGDATESTYLE PGTZ PGGEQO PGAPPNAME PG_COLOR"
)
"""What libpq reads; an image or a compose file may have set it for other purposes. PGPORT stays: the server
inside, as the official images start it, listens where it says."""


class ContainerRunner:
    """Runs client tools in one container; see `runners.Runner` for the contract."""

    def __init__(
        self,
        container: Any,
        *,
        environment: Mapping[str, str] | None = None,
        secrets: Iterable[Secret] = (),
        on_event: OnEvent = ignore,
    ) -> None:
        self._container = container
        self._api = container.client.api
        self.environment = dict(environment or {})
        """What every tool gets, and what leads it to the server: PG* variables."""
        self._secrets = tuple(secrets)
        self._on_event = on_event
        self._versions: dict[str, ToolVersion] = {}
        self._kept = ExitStack()
        self._watch = Watch(self)
        self._patience = self._api.timeout
        self._leaving = threading.Lock()
        self._leavers = 0
        self.is_silent = False
        """Docker gave no answer in the whole of its time; nothing more is asked of it."""
        self._is_leaving = False
        self._copies: dict[tuple[str, int, int, int], str] = {}

    @property
    def where(self) -> str:
        """`container NAME`."""
        return f"container {self._container.name}"

    @property
    def life(self) -> str:
        """A word for this container since its last start: what an earlier life left behind is nobody's any more."""
        seen = look(self._container.client, self._container.id)
        started = hashlib.sha256((seen.started_at if seen else "").encode()).hexdigest()
        return f"{self._container.id[:12]}-{started[:8]}"

    @property
    def sees_our_files(self) -> bool:
        """None, whatever is mounted into it."""
        return False

    def version(self, tool: str) -> ToolVersion:
        """Return the version of a tool in the container; asked once.

        Raises:
            ToolMissing: it is not there.
        """
        if tool not in self._versions:
            found = VERSION.search(self.run(Command(tool, ("--version",)), announce=False))
            if found is None:
                raise ToolMissing(f"{tool} in {self.where} does not say its version")
            text, major, minor = found.groups()
            self._versions[tool] = ToolVersion(int(major), int(minor or 0), text)
        return self._versions[tool]

    @contextmanager
    def reading(self, command: Command) -> Iterator[ContainerOutput]:
        """Run a tool and yield its stdout; leaving before its end ends the tool and is a failure."""
        with self._exec(command, ("sh", "-c", WATCHED, "sh")) as exec_:
            yield ContainerOutput(exec_)
            exec_.leave()
            exec_.expect_success()

    @contextmanager
    def writing(
        self, command: Command, *, output: bool = False, announce: bool = True, watched: bool = True
    ) -> Iterator[ContainerInput]:
        """Run a tool and yield its stdin, closed on a clean exit; an exception ends the tool instead.

        A watched tool is ended with this process; one that is not ends when its input does.
        """
        with self._exec(command, ("sh", "-c", NAMED, "sh"), named=True, announce=announce) as exec_:
            if watched and exec_.pid:
                self._watch.add(exec_.pid)
            writing = ContainerInput(exec_, keep_output=output)
            yield writing
            writing.close()
            exec_.expect_success()

    def run(self, command: Command, *, announce: bool = True) -> str:
        """Run a tool that works on files by itself and return its (short) stdout."""
        with self._exec(command, ("sh", "-c", WATCHED, "sh"), announce=announce) as exec_:
            text = ContainerOutput(exec_).read().decode(errors="replace")
            exec_.expect_success()
        return text

    @contextmanager
    def _exec(
        self,
        command: Command,
        wrapper: tuple[str, str, str, str],
        *,
        named: bool = False,
        announce: bool = True,
    ) -> Iterator[Exec]:
        if announce:
            self._on_event(CommandStarted(redact(str(command), self._hidden(command)), self.where))
        exec_ = Exec(self, command, self._start(command, wrapper), self._hidden(command), named=named)
        try:
            yield exec_
        except BaseException:
            self._is_leaving = True
            raise
        finally:
            # one that may be running, with Docker out of reach, stays on the list: the watch ends it
            if exec_.end():
                self._watch.remove(exec_.pid)

    def _start(self, command: Command, wrapper: tuple[str, str, str, str]) -> tuple[str, Any]:
        from docker.errors import APIError, DockerException

        own = {n: v.reveal() if isinstance(v, Secret) else v for n, v in command.env.items()}
        # what tools say is read: an image may have set another language
        environment = {"LC_ALL": "C", **self.environment, **own}
        shell, option, script, name = wrapper
        foreign = " ".join(variable for variable in LIBPQ.split() if variable not in environment)
        try:
            create = partial(
                self._api.exec_create,
                self._container.id,
                [shell, option, f"unset {foreign}; {script}", name, command.tool, *command.arguments],
                stdin=True,
                tty=False,
                environment=environment,
            )
            id_ = str(self._asked(create)["Id"])
            return id_, self._asked(partial(self._api.exec_start, id_, socket=True, tty=False))
        except APIError as exc:
            said = str(exc.explanation or exc).replace(self._container.id, str(self._container.name))
            raise self.takes_none(said, was_down=exc.status_code == CONFLICT) from exc
        except (DockerException, OSError) as exc:
            raise stopped_answering(exc) from exc

    def takes_none(self, said: str, *, was_down: bool) -> RouteUnavailable:
        """Say why no command can be run inside, by the state the container is in.

        `was_down`: it did not run when it was asked, whatever it does by now.
        """
        seen = look(self._container.client, self._container.id)
        if seen is None:
            return ContainerStopped(f"{self.where} does not take commands: it is gone", details=said)
        if not seen.is_running:
            return ContainerStopped(
                f"{self.where} does not take commands: it {seen.condition}", details=said, hint=seen.helps
            )
        kind = ContainerStopped if was_down else RouteUnavailable
        return kind(f"{self.where} does not take commands: {said}", hint=seen.helps)

    def _hidden(self, command: Command) -> tuple[Secret, ...]:
        return (*self._secrets, *(value for value in command.env.values() if isinstance(value, Secret)))

    def _asked(self, question: Callable[[], T]) -> T:
        """Ask Docker; once it was silent for the whole of its time nothing more is asked on the way out."""
        from requests.exceptions import Timeout

        if self.is_silent:
            raise Timeout("Docker does not answer")
        try:
            return question()
        except Timeout:
            self.is_silent = True
            raise

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """Wait for no answer of Docker as long as usual: somebody wants to leave."""
        with self._leaving:
            self._leavers += 1
            self._api.timeout = LEAVING_SECONDS
        try:
            yield
        finally:
            # a watchdog may end one tool while another ends by itself: the last one out restores it
            with self._leaving:
                self._leavers -= 1
                if not self._leavers:
                    self._api.timeout = self._patience

    def status(self, exec_id: str) -> int | None:
        """Return the exit status of an exec, None while it runs."""
        code = self._asked(partial(self._api.exec_inspect, exec_id))["ExitCode"]
        return None if code is None else int(code)

    def end_process(self, pid: str) -> None:
        """Tell a process in the container to end: INT first, by which psql cancels its query on the server.

        TERM at the same moment would end it before it could. Harmless where the container, or Docker, is gone.
        """
        from docker.errors import DockerException

        with suppress(DockerException, OSError):
            for name in ("INT", "TERM"):
                signal = ["sh", "-c", SIGNAL, "sh", name, pid]
                created = self._asked(partial(self._api.exec_create, self._container.id, signal))
                self._asked(partial(self._api.exec_start, created["Id"]))
                time.sleep(CANCEL_SECONDS)

    def get_tar(self, path: str) -> Generator[bytes]:
        """Return a path inside the container as a tar stream.

        Raises:
            OperationFailed: Docker did not give it.
        """
        from docker.errors import DockerException

        try:
            stream, _ = self._api.get_archive(self._container.id, path, chunk_size=BLOCK_BYTES)
            yield from stream
        except (DockerException, OSError) as exc:
            raise OperationFailed(f"{path} could not be copied out of {self.where}: {exc}") from exc

    @contextmanager
    def staged(self, path: Path) -> Iterator[str]:
        """Yield where a tool inside finds a file or folder of ours: a private, checked copy.

        A file is copied once and kept until `close()`; a folder goes with the block.
        """
        if path.is_dir():
            with kept_folder(self) as inside:
                yield inside.put(path)
            return
        with readable(path):
            facts = path.stat()
        key = (str(path), facts.st_ino, facts.st_mtime_ns, facts.st_size)
        if key not in self._copies:
            self._copies[key] = self._kept.enter_context(kept_folder(self)).put(path)
        yield self._copies[key]

    def gives_up(self) -> bool:
        """Whether no end of a tool is waited for: Docker is silent, or nothing moves inside and somebody wants to leave."""
        return self.is_silent or (self._is_leaving and self.state() == "paused")

    def warn(self, text: str) -> None:
        """Tell what went wrong beside the work, which stands."""
        self._on_event(Warned(text))

    def helps(self) -> str:
        """Return the command that brings the container back; empty where it runs, is not there, or is not known."""
        with suppress(RouteUnavailable):
            seen = look(self._container.client, self._container.id)
            return seen.helps if seen and not seen.is_running else ""
        return ""

    def close(self) -> None:
        """Remove what was copied in."""
        self._copies.clear()
        try:
            self._kept.close()
        except DbTasksError as exc:
            # what the work came to stands already, and its own error is the news
            if not self._is_leaving:
                self._on_event(
                    Warned(f"a private folder in {self.where} is not known to be removed: {exc.message}")
                )
        finally:
            self._watch.close()
            if self._is_leaving and self.state() == "paused":
                self._on_event(Warned(f"{self.where} is paused: what runs in there ends when it goes on"))

    @contextmanager
    def folder(self, beside: Path) -> Iterator[ToolFolder]:
        """Yield a place inside for a directory dump; `beside` is where the host would take one."""
        del beside
        with kept_folder(self) as inside:
            yield ToolFolder(f"{inside.path}/dump", inside.pack)

    def state(self) -> str:
        """Return the container's own state: `running`, `exited`, …, `gone`; `unknown` where Docker does not answer."""
        from docker.errors import DockerException, NotFound

        try:
            self._asked(self._container.reload)
        except NotFound:
            return "gone"
        except (DockerException, OSError):
            return UNKNOWN
        return str(self._container.status)
