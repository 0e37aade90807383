"""Tools that read from us, ended when we are: one shell inside that knows which of them are busy.

Such a tool's input is its data, so nothing can watch it for our end: a psql in
the middle of a long query would run that to the end first. This shell's input
is nothing but the list of those tools; when it ends with us, what is still on
the list is told to end.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from ..errors import DbTasksError
from . import Command, CommandInput

if TYPE_CHECKING:
    from .container import ContainerRunner

__all__ = ["Watch"]

# INT first, by which psql cancels its query on the server; TERM at the same moment would end it before it could
SCRIPT = (
    'busy=; while read -r sign pid; do case "$sign" in'
    ' +) busy="$busy $pid" ;;'
    ' -) rest=; for one in $busy; do [ "$one" = "$pid" ] || rest="$rest $one"; done; busy=$rest ;;'
    ' esac; done; [ -z "$busy" ] && exit 0;'
    " kill -INT $busy 2>/dev/null; sleep 1; kill -TERM $busy 2>/dev/null; exit 0"
)


class Watch:
    """The list of one runner's busy tools; started with the first."""

    def __init__(self, runner: ContainerRunner) -> None:
        self._runner = runner
        self._open = ExitStack()
        self._list: CommandInput | None = None

    def add(self, pid: str) -> None:
        """Put a process on the list."""
        if self._list is not None:
            try:
                self._list.write(f"+ {pid}\n".encode())
            except DbTasksError:
                # the container was started anew: the shell went with its former life
                self.close()
            else:
                return
        command = Command("sh", ("-c", SCRIPT))
        self._list = self._open.enter_context(self._runner.writing(command, announce=False, watched=False))
        self._list.write(f"+ {pid}\n".encode())

    def remove(self, pid: str) -> None:
        """Take one that has ended off it, before another process can get its number."""
        if self._list is not None:
            # with the container gone there is nothing left to end
            with suppress(DbTasksError):
                self._list.write(f"- {pid}\n".encode())

    def close(self) -> None:
        """End the shell."""
        self._list = None
        with suppress(DbTasksError):
            self._open.close()
