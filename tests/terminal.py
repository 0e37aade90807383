"""A person at a terminal: a real process on a pseudo-terminal, answered when it asks."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY, Project, _steers


@dataclass(frozen=True)
class Session:
    """What happened at the terminal."""

    returncode: int
    text: str
    """Everything shown, escape sequences included, line ends as \\n."""

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def at_terminal(
    project: Project,
    *arguments: str,
    dialog: list[tuple[str, str]] | None = None,
    columns: int = 100,
    **environ: str,
) -> Session:
    """Run `invoke` on a terminal; after each pattern of the dialog is seen, its answer is typed."""
    import fcntl
    import pty
    import struct
    import termios

    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    inherited = {k: v for k, v in os.environ.items() if not _steers(k) and k not in ("CI", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, "-m", "invoke", *arguments],
        cwd=project.root,
        env={"TERM": "xterm", **inherited, "PYTHONPATH": str(REPOSITORY), **environ},
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(
            0, termios.TIOCSCTTY, 0
        ),  # Ctrl-C reaches only whom the terminal controls
    )
    os.close(side)
    try:
        seen = _converse(main, list(dialog or []))
        return Session(process.wait(30), seen.replace("\r\n", "\n"))
    finally:
        process.kill()
        process.wait()
        os.close(main)


def _converse(main: int, dialog: list[tuple[str, str]]) -> str:
    seen, answered = "", 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([main], [], [], 0.2)[0]:
            continue
        try:
            block = os.read(main, 65536)
        except OSError:  # Linux says EIO when the other side is closed
            block = b""
        if not block:
            assert not dialog, f"never asked for {dialog[0][0]!r}:\n{seen}"
            return seen
        seen += block.decode(errors="replace")
        if dialog and (found := re.search(dialog[0][0], seen[answered:])):
            answered += found.end()
            os.write(main, dialog.pop(0)[1].encode())
    raise AssertionError(f"no end:\n{seen}")


def tree_of(root: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return every file below a folder: bytes, mode, time of change."""
    return {
        str(path.relative_to(root)): (
            path.read_bytes() if path.is_file() else b"",
            path.lstat().st_mode,
            path.lstat().st_mtime_ns if path.is_file() else 0,
        )
        for path in sorted(root.rglob("*"))
        if "__pycache__" not in path.parts
    }
