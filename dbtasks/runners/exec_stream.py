"""The stream of one exec: frames of stdout and stderr, and both of a tool's ends made of them."""

from __future__ import annotations

import io
import re
import select
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import CommandFailed, RouteUnavailable, ToolMissing
from ..row_values import without_rows
from ..secrets import Secret, redact
from . import Command
from .host import TAIL_BYTES

if TYPE_CHECKING:
    from .container import ContainerRunner

__all__ = ["UNKNOWN", "ContainerInput", "ContainerOutput", "Exec"]

FRAME = struct.Struct(">BxxxL")
"""Docker's own header: which stream, then the size of what follows."""
STDERR = 2
STOPPING_SECONDS = 5.0
SERVER_GONE = ("unexpected postmaster exit", "server closed the connection", "connection to server was lost")
"""What a tool says whose server ended before it did."""
LOOK_SECONDS = 0.5
SENDING_SECONDS = 1.0
NOT_FOUND = (126, 127)
UNKNOWN = "unknown"
"""The state of a container Docker does not tell."""
FIRST_BYTES = 512
LEFT_BYTES = 1 << 20
"""What a tool that was about to end may still have to say."""
UNSTARTED = b"OCI runtime exec failed"
NO_FILE = re.compile(rb"executable file not found|no such file or directory")


class Exec:
    """One exec: its multiplexed stream, the tail of its stderr, its end."""

    def __init__(
        self,
        runner: ContainerRunner,
        command: Command,
        started: tuple[str, Any],
        secrets: tuple[Secret, ...],
        *,
        named: bool,
    ) -> None:
        self._runner = runner
        self._tool = command.tool
        self._id, self._stream = started
        self._secrets = secrets
        self.socket: socket.socket = getattr(self._stream, "_sock", self._stream)
        # the SDK gives the stream the timeout of its API calls; a quiet pg_dump is not a dead one
        self.socket.settimeout(0)
        early = _early(self._stream)
        self.socket.settimeout(None)
        self._frames = io.BufferedReader(_Following(early, self.socket), 1 << 20)
        self._tail = b""
        self._first = b""
        self._cut = False
        self._closed = False
        self._lock = threading.Lock()
        self.early = b""
        self.pid = self._read_pid() if named else ""

    def _read_pid(self) -> str:
        """Take the first line of stderr: the wrapper's, before it became the tool."""
        while b"\n" not in self._tail:
            data = self.frame()
            if data is None:
                return ""
            # the two streams are told apart but not ordered: a quick tool's output may come first
            self.early += data
        line, _, self._tail = self._tail.partition(b"\n")
        return line.decode().strip()

    @property
    def said(self) -> str:
        """The last of its stderr, redacted and without values of rows."""
        said = redact(self._tail.decode(errors="replace").strip(), self._secrets)
        is_cut = len(self._tail) >= TAIL_BYTES and self._tool.startswith(("pg_", "psql"))
        return without_rows(said, is_cut=is_cut)

    def frame(self) -> bytes | None:
        """Return the next piece of stdout (empty when the piece was stderr's), None at the end."""
        try:
            header = self._frames.read(FRAME.size)
            if len(header) < FRAME.size:
                self._cut = self._cut or bool(header)
                return None
            kind, size = FRAME.unpack(header)
            data = bytes(self._frames.read(size))
            self._cut = self._cut or len(data) < size
        except (OSError, ValueError):
            self._cut = True
            return None
        if kind == STDERR:
            self._tail = (self._tail + data)[-TAIL_BYTES:]
            return b""
        self._first = self._first or data[:FIRST_BYTES]
        return data

    def expect_success(self) -> None:
        """Wait for the end; raises CommandFailed, or ToolMissing, unless it is a good one."""
        while self.frame() is not None:
            pass
        code = self._code()
        if code != 0:
            raise self.failure(code)
        if self._cut:
            # the tool itself ended well: nothing else would tell that bytes are missing
            error = CommandFailed(self._tool, self._runner.where, code, self.said)
            error.message = f"what {self._tool} wrote was cut on its way out of {self._runner.where}"
            error.args = (error.message,)
            raise error

    def leave(self) -> None:
        """Take what is on its way and end a tool that would write on: nobody reads it any more."""
        left = LEFT_BYTES
        while (data := self.frame()) is not None:
            left -= len(data)
            if left < 0:
                self.kill()
                return

    def _missing(self) -> ToolMissing | None:
        """Say that the tool never started: the shell said so, or Docker, whose words come as the tool's output."""
        shell = "not found" in self.said or "ermission denied" in self.said
        docker = self._first.startswith(UNSTARTED) and NO_FILE.search(self._first) is not None
        if not (shell or docker):
            return None
        return ToolMissing(
            f"{self._tool} is not in {self._runner.where}" if shell else f"{self._runner.where} has no shell",
            details=self.said if shell else self._first.decode(errors="replace").strip(),
            hint="use an image that has PostgreSQL's client tools and a shell, or --via=host",
        )

    def _code(self) -> int:
        from docker.errors import DockerException

        for _ in range(100):
            try:
                code = self._runner.status(self._id)
            except (DockerException, OSError):
                break
            if code is not None:
                return code
            if self._runner.gives_up():
                break
            time.sleep(0.05)
        return -1

    def failure(self, code: int | None = None) -> CommandFailed | ToolMissing | RouteUnavailable:
        """Describe how it ended; a container that stopped is the cause worth naming."""
        code = self._code() if code is None else code
        missing = self._missing() if code in NOT_FOUND else None
        unstarted = code in NOT_FOUND and self._first.startswith(UNSTARTED)
        # in the shell's own words there is no doubt; Docker has the same ones for a container that dies just now
        if missing is not None and not unstarted:
            return missing
        state = self._state_after(code)
        if unstarted and state != "running":
            return self._runner.takes_none(self._first.decode(errors="replace").strip(), was_down=True)
        if missing is not None:
            return missing
        cause = {"running": "", UNKNOWN: "Docker stopped answering"}.get(
            state, f"{self._runner.where} stopped ({state})"
        )
        error = CommandFailed(self._tool, self._runner.where, code, self.said, cause=cause)
        if cause and state != UNKNOWN:
            error.hint = self._runner.helps()
        return error

    def is_in_running_container(self) -> bool:
        """Whether the container outlived this tool."""
        return self._state_after(self._code()) == "running"

    def _state_after(self, code: int) -> str:
        """Look at the container; after a tool or its server was killed Docker may take a moment to say that it stopped."""
        dying = code in (-1, 126, 137) or any(sign in self.said for sign in SERVER_GONE)
        deadline = time.monotonic() + (STOPPING_SECONDS if dying else 0)
        while (state := self._runner.state()) == "running" and time.monotonic() < deadline:
            time.sleep(0.05)
        return state

    def close_input(self) -> None:
        """Say that nothing more comes."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """End the tool now, from any thread; harmless when it has ended."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        with self._runner.impatient():
            if self.pid and self._runner.state() == "running":
                self._runner.end_process(self.pid)
        # a watched tool is ended by the end of its input
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def end(self) -> bool:
        """Make sure that it has ended; nothing to do after a clean end. Returns whether Docker said so."""
        with self._runner.impatient():
            running = self._runs()
            if running:
                self.kill()
                # silent from here on, Docker leaves it open whether the tool heard of it
                running = self._code() == -1
        # a thread that still reads holds the lock that closing takes
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        # the response first: it closes what the SDK's stream has wrapped, and complains the other way round
        response = getattr(self._stream, "_response", None)
        for end in (self._frames, response, self._stream, self.socket):
            if end is not None:
                end.close()
        return running is False

    def is_given_up(self) -> bool:
        """Whether its end is waited for no longer; see `ContainerRunner.gives_up`."""
        return self._runner.gives_up()

    def is_running(self) -> bool:
        """Ask Docker whether it has ended; as it has where the container is gone, with everything in it."""
        return self._runs() or False

    def _runs(self) -> bool | None:
        from docker.errors import DockerException

        try:
            return self._runner.status(self._id) is None
        except (DockerException, OSError):
            return None


def _early(stream: Any) -> bytes:
    """Return what came together with Docker's answer, which the library read past and keeps to itself.

    A quick tool under a busy engine may have said all it has to say by then.
    """
    response = getattr(stream, "_response", None)
    kept = getattr(getattr(getattr(response, "raw", None), "_fp", None), "fp", None)
    if not isinstance(kept, io.BufferedReader):
        return b""
    with suppress(OSError):
        # the socket does not wait now: an empty buffer stays empty, or is filled with what is there
        return kept.read(len(kept.peek()))
    return b""


class _Following(io.RawIOBase):
    """The bytes that came early, then those of the socket."""

    def __init__(self, early: bytes, following: socket.socket) -> None:
        self._early = early
        self._socket = following

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if not self._early:
            return self._socket.recv_into(buffer)
        size = min(len(buffer), len(self._early))
        buffer[:size], self._early = self._early[:size], self._early[size:]
        return size


class ContainerOutput:
    """The stdout of a tool in a container."""

    def __init__(self, exec_: Exec) -> None:
        self._exec = exec_
        self._rest = b""
        self._ended = False

    @property
    def said(self) -> str:
        """What the tool said on stderr, redacted."""
        return self._exec.said

    def kill(self) -> None:
        """End the tool now, from any thread."""
        self._exec.kill()

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes, all there are for -1; empty at the end."""
        pieces, have = [self._rest], len(self._rest)
        while not self._ended and (size < 0 or have < size):
            data = self._exec.frame()
            if data is None:
                self._ended = True
                break
            pieces.append(data)
            have += len(data)
        whole = b"".join(pieces)
        cut = len(whole) if size < 0 else size
        self._rest = whole[cut:]
        return whole[:cut]


class ContainerInput:
    """The stdin of a tool in a container, and its stdout where that was asked for."""

    def __init__(self, exec_: Exec, *, keep_output: bool) -> None:
        self._exec = exec_
        self._keep = keep_output
        self._output = exec_.early if keep_output else b""
        self._ended = False
        self._news = threading.Condition()
        # somebody has to read, or the tool blocks on its own messages
        self._reader = threading.Thread(target=self._read, name="exec-output", daemon=True)
        self._reader.start()

    @property
    def said(self) -> str:
        """What the tool said on stderr, redacted."""
        return self._exec.said

    def kill(self) -> None:
        """End the tool now, from any thread."""
        self._exec.kill()

    def is_in_running_container(self) -> bool:
        """Whether the container outlived the tool, which has ended."""
        return self._exec.is_in_running_container()

    def write(self, data: bytes) -> int:
        """Send all bytes; raises CommandFailed when the tool has already ended."""
        left = memoryview(data)
        try:
            while left and not self._ended:
                sent = self._send(left)
                left = left[sent:]
                if not sent and not self._exec.is_running():
                    raise self._exec.failure()
        except OSError as exc:
            raise self._exec.failure() from exc
        if self._ended:
            raise self._exec.failure()
        return len(data)

    def _send(self, data: memoryview) -> int:
        """Send what is taken; 0 where nothing is for a while: Docker reads no more for a tool that has ended."""
        end = self._exec.socket
        if sys.platform != "win32" and not select.select((), (end,), (), SENDING_SECONDS)[1]:
            return 0
        return int(end.send(data))

    def flush(self) -> None:
        """Nothing is held back here."""

    def read_line(self) -> bytes:
        """Return the next line of the tool's stdout; empty when it has ended."""
        with self._news:
            self._news.wait_for(lambda: b"\n" in self._output or self._ended)
            line, found, rest = self._output.partition(b"\n")
            self._output = rest
            return line + found

    def close(self) -> None:
        """Say that nothing more comes, and let the tool finish."""
        self._exec.close_input()
        while self._reader.is_alive():
            self._reader.join(LOOK_SECONDS)
            if self._exec.is_given_up():
                raise self._exec.failure()

    def _read(self) -> None:
        while (data := self._exec.frame()) is not None:
            if self._keep and data:
                with self._news:
                    self._output += data
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()
