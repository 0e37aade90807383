"""The host's own client tools, as child processes.

A child gets an environment built from nothing: what it needs to run, and the
connection as PG* variables of ours; the password only by a private passfile.
It leads a session of its own, so that Ctrl-C reaches this process first and
the child is ended in order.

Should this process be killed, its children are not shot with it (that takes
code between fork and exec, which is not safe beside threads). It is not
needed: a child that writes to us ends by a broken pipe, one that writes files
keeps the inherited locks while it lives, so that no other run touches them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ..errors import CommandFailed, OperationFailed, ToolMissing, UsageError
from ..events import CommandStarted, OnEvent, ignore
from ..models import PostgresTarget
from ..row_values import without_rows
from ..secrets import Secret, redact
from ..streams.flat_tar import pack
from . import Command, ToolFolder, ToolVersion
from .private import passfile, private_folder, write_private

__all__ = ["TAIL_BYTES", "VERSION", "HostRunner", "Reading", "Writing", "login_environment"]

PIPE_BYTES = 1 << 20
"""As much as Linux allows every user for one pipe."""
NEEDED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "KRB5CCNAME",
    "KRB5_CONFIG",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SYSTEMROOT",
    "SYSTEMDRIVE",
    "COMSPEC",
    "APPDATA",
    "TEMP",
    "TMP",
)
"""What a child takes over from our environment; every PG* variable is made by us."""
VARIABLES = {
    "sslmode": "PGSSLMODE",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslcompression": "PGSSLCOMPRESSION",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcertmode": "PGSSLCERTMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
    "sslsni": "PGSSLSNI",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "application_name": "PGAPPNAME",
    "channel_binding": "PGCHANNELBINDING",
    "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME",
    "require_auth": "PGREQUIREAUTH",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}
TAIL_BYTES = 16 << 10
PATIENCE_SECONDS = 5.0
VERSION = re.compile(r"\(PostgreSQL\) ((\d+)(?:\.(\d+))?\S*)")


class HostRunner:
    """Runs client tools found on this machine; see `runners.Runner` for the contract."""

    where = "host"

    def __init__(
        self,
        *,
        pg_bin: Path | None = None,
        environment: Mapping[str, str] | None = None,
        secrets: Iterable[Secret] = (),
        inherit: tuple[int, ...] = (),
        on_event: OnEvent = ignore,
    ) -> None:
        self.pg_bin = pg_bin
        self._inherit = inherit
        self._environment = dict(environment or {})
        self._secrets = tuple(secrets)
        self._on_event = on_event
        self._versions: dict[str, ToolVersion] = {}

    @property
    def sees_our_files(self) -> bool:
        """They are its own."""
        return True

    def version(self, tool: str) -> ToolVersion:
        """Return the version of a tool; asked once.

        Raises:
            ToolMissing: it is not there, or does not say its version.
        """
        if tool not in self._versions:
            said = self.run(Command(tool, ("--version",)), announce=False)
            found = VERSION.search(said)
            if found is None:
                raise ToolMissing(f"{self.path(tool)} is not PostgreSQL's {tool}", details=said[:200].strip())
            text, major, minor = found.groups()
            self._versions[tool] = ToolVersion(int(major), int(minor or 0), text)
        return self._versions[tool]

    def path(self, tool: str) -> Path:
        """Return where a tool lies: in pg_bin and nowhere else when that is set, else in PATH.

        Raises:
            ToolMissing: it is not there.
        """
        found = shutil.which(tool, path=str(self.pg_bin) if self.pg_bin else None)
        if found is None:
            place = f"in pg_bin ({self.pg_bin})" if self.pg_bin else "in PATH"
            raise ToolMissing(
                f"{tool} was not found {place}",
                hint="install PostgreSQL's client tools (postgresql-client, brew install libpq)"
                " or set pg_bin to their folder",
            )
        return Path(found).absolute()

    @contextmanager
    def reading(self, command: Command) -> Iterator[Reading]:
        """Run a tool and yield its stdout; leaving before its end counts as a failure of the tool."""
        with self._child(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as child:
            reading = Reading(child)
            yield reading
            reading.close()
            child.expect_success()

    @contextmanager
    def writing(self, command: Command, *, output: bool = False) -> Iterator[Writing]:
        """Run a tool and yield its stdin, closed on a clean exit; an exception kills the tool instead.

        `output=True` keeps its stdout readable; the caller then has to read it.
        """
        stdout = subprocess.PIPE if output else subprocess.DEVNULL
        with self._child(command, stdin=subprocess.PIPE, stdout=stdout) as child:
            writing = Writing(child)
            yield writing
            writing.close()
            child.expect_success()

    def run(self, command: Command, *, announce: bool = True) -> str:
        """Run a tool that works on files by itself and return its (short) stdout."""
        with self._child(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, announce=announce
        ) as child:
            text = Reading(child).read().decode(errors="replace")
            child.expect_success()
        return text

    @contextmanager
    def staged(self, path: Path) -> Iterator[str]:
        """Yield the path itself: tools here see what we see."""
        yield str(path.absolute())

    @contextmanager
    def folder(self, beside: Path) -> Iterator[ToolFolder]:
        """Yield a folder in `beside`, which is private and goes with its owner."""
        path = beside / "directory"
        yield ToolFolder(str(path), lambda sink: pack(path, sink))

    @contextmanager
    def _child(self, command: Command, *, stdin: int, stdout: int, announce: bool = True) -> Iterator[_Child]:
        path = self.path(command.tool)
        if announce:
            self._on_event(CommandStarted(redact(str(command), self._hidden(command)), self.where))
        child = _Child(self, command, self._start(path, command, stdin, stdout), self._hidden(command))
        try:
            yield child
        finally:
            # nothing to do after a clean end; otherwise the tool must not outlive the block
            child.end()

    def _start(self, path: Path, command: Command, stdin: int, stdout: int) -> subprocess.Popen[bytes]:
        own = {
            name: value.reveal() if isinstance(value, Secret) else value
            for name, value in command.env.items()
        }
        try:
            started = subprocess.Popen(
                [str(path), *command.arguments],
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                env={**_neutral(), **self._environment, **own},
                pass_fds=(*self._inherit, *command.inherit) if os.name == "posix" else (),
                start_new_session=True,
            )
        except ValueError as exc:
            raise UsageError(f"{command.tool}: an argument holds a NUL character") from exc
        except PermissionError as exc:
            raise ToolMissing(f"{path} may not be run by this user") from exc
        except OSError as exc:
            raise OperationFailed(f"{path} could not be started: {exc.strerror}") from exc
        _widen(started.stdout)
        return started

    def _hidden(self, command: Command) -> tuple[Secret, ...]:
        return (*self._secrets, *(value for value in command.env.values() if isinstance(value, Secret)))


class _Child:
    """A running tool: drains its stderr, knows how it ended, can be ended."""

    def __init__(
        self,
        runner: HostRunner,
        command: Command,
        process: subprocess.Popen[bytes],
        secrets: tuple[Secret, ...],
    ) -> None:
        self.process = process
        self._where = runner.where
        self._tool = command.tool
        self._secrets = secrets
        self._tail = b""
        self._drain = threading.Thread(target=self._drain_stderr, name=f"{command.tool}-stderr", daemon=True)
        self._drain.start()
        self._last = threading.Thread(target=self._end_workers, name=f"{command.tool}-end", daemon=True)
        self._last.start()

    @property
    def said(self) -> str:
        """The last of its stderr, redacted and without values of rows; complete once the tool has ended."""
        said = redact(self._tail.decode(errors="replace").strip(), self._secrets)
        is_cut = len(self._tail) >= TAIL_BYTES and self._tool.startswith(("pg_", "psql"))
        return without_rows(said, is_cut=is_cut)

    def expect_success(self) -> None:
        """Wait for the end; raises CommandFailed unless it is a good one."""
        self.process.wait()
        self._drain.join()
        if self.process.returncode != 0:
            raise self.failure()

    def failure(self) -> CommandFailed:
        """Describe how it ended; waits for that."""
        returncode = self.process.wait()
        self._drain.join()
        return CommandFailed(self._tool, self._where, returncode, self.said)

    def kill(self) -> None:
        """End it now, its workers too; whoever waits for it goes on. Harmless when it has ended."""
        if self.process.poll() is None:
            self._signal(signal.SIGTERM if os.name == "nt" else signal.SIGKILL)

    def end(self) -> None:
        """Make sure that it has ended and is reaped, politely first: workers of pg_dump end with it."""
        if self.process.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                with suppress(OSError):
                    stream.close()
        self.process.wait()
        self._last.join()
        self._drain.join()
        if self.process.stderr:
            self.process.stderr.close()

    def _end_workers(self) -> None:
        """End what a tool leaves behind: workers of a killed pg_restore would go on loading, and hold our pipes."""
        self.process.wait()
        if os.name == "posix":
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(self.process.pid, number)
            else:
                self.process.terminate()

    def _drain_stderr(self) -> None:
        stream = self.process.stderr
        while stream and (block := stream.read1(TAIL_BYTES)):  # type: ignore[attr-defined]
            self._tail = (self._tail + block)[-TAIL_BYTES:]


class _End:
    """What both ends of a tool have in common."""

    def __init__(self, child: _Child) -> None:
        self._child = child

    @property
    def said(self) -> str:
        """What the tool said on stderr, redacted: its warnings, when it ended well."""
        return self._child.said

    def kill(self) -> None:
        """End the tool now, from any thread; the block then raises CommandFailed."""
        self._child.kill()


class Reading(_End):
    """The stdout of a running tool."""

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes, all there are for -1; empty at the end."""
        return _pipe(self._child.process.stdout).read(size)

    def close(self) -> None:
        """Read no more."""
        _pipe(self._child.process.stdout).close()


class Writing(_End):
    """The stdin of a running tool, and its stdout where that was asked for."""

    def write(self, data: bytes) -> int:
        """Send all bytes; raises CommandFailed when the tool has already ended."""
        try:
            return _pipe(self._child.process.stdin).write(data)
        except BrokenPipeError as exc:
            raise self._child.failure() from exc

    def flush(self) -> None:
        """Make sure that the tool can read everything written so far."""
        try:
            _pipe(self._child.process.stdin).flush()
        except BrokenPipeError as exc:
            raise self._child.failure() from exc

    def read_line(self) -> bytes:
        """Return the next line of the tool's stdout; empty when it has ended."""
        return _pipe(self._child.process.stdout).readline()

    def close(self) -> None:
        """Say that nothing more comes."""
        self.flush()
        _pipe(self._child.process.stdin).close()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("this end of the tool was not asked for")
    return stream


def _widen(pipe: IO[bytes] | None) -> None:
    """Let a tool write on while we hash what it has written; where the kernel does not, it waits for us more often."""
    if pipe is not None and sys.platform == "linux":
        import fcntl

        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _neutral() -> dict[str, str]:
    kept = {name: os.environ[name] for name in NEEDED if name in os.environ}
    return {**kept, "LC_ALL": "C"}


@contextmanager
def login_environment(
    target: PostgresTarget, *, libpq: Mapping[str, str], connect_timeout: float
) -> Iterator[dict[str, str]]:
    """Yield the PG* variables that lead a client tool to a settled target, all but PGDATABASE.

    The password lies in a 0600 file inside a private folder, which is gone
    when the block ends.

    Raises:
        UsageError: the password holds a line break, which no passfile can.
    """
    variables = {
        "PGPORT": str(target.port),
        "PGUSER": target.user,
        "PGAPPNAME": "dbtasks",
        "PGCONNECT_TIMEOUT": str(max(2, round(connect_timeout))),
        **libpq,
    }
    if target.host:
        variables["PGHOST"] = target.host
    rest = {}
    for keyword, value in target.options.items():
        if keyword in VARIABLES:
            variables[VARIABLES[keyword]] = value
        else:
            rest[keyword] = value
    if not (target.password or rest):
        yield variables
        return
    with private_folder() as folder:
        if target.password:
            write_private(folder / "passfile", passfile(target.password))
            variables["PGPASSFILE"] = str(folder / "passfile")
        if rest:
            # keywords without a variable of their own, such as sslpassword
            lines = "".join(f"{keyword}={value}\n" for keyword, value in rest.items())
            write_private(folder / "service", f"[dbtasks]\n{lines}")
            variables |= {"PGSERVICEFILE": str(folder / "service"), "PGSERVICE": "dbtasks"}
        yield variables
