"""A Docker engine that stops answering in the middle of a run, behind a socket of our own."""

from __future__ import annotations

import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.fix_docker import Box, configured_engine

pytestmark = pytest.mark.long

HANG_GUARD_SECONDS = 90
"""No measure of speed: before, such a run ended only when its engine went on."""


class Hanging:
    """Carries everything between Docker's socket and ours until it is told to stand still."""

    def __init__(self, path: Path, engine: str, held: ExitStack) -> None:
        self.host = f"unix://{path}"
        self._engine, self._held = engine, held
        self._goes = threading.Event()
        self._goes.set()
        self._listening = held.enter_context(socket.socket(socket.AF_UNIX))
        self._listening.bind(str(path))
        self._listening.listen(50)
        threading.Thread(target=self._accept, daemon=True).start()

    def stand_still(self) -> None:
        self._goes.clear()

    def go_on(self) -> None:
        self._goes.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._engine)
                for end in (near, far):
                    self._held.callback(end.close)
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._goes.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def hanging(box: Box) -> Iterator[Hanging]:
    engine = configured_engine()
    if not engine.startswith("unix://"):
        pytest.fail("the tests' engine has no socket to stand before")
    # its path has to be short
    with tempfile.TemporaryDirectory() as folder, ExitStack() as held:
        door = Hanging(Path(folder) / "docker.sock", engine.removeprefix("unix://"), held)
        yield door
        door.go_on()


@pytest.mark.fault
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a10_a_run_ends_when_it_is_told_to_though_docker_hangs(
    hanging: Hanging, box: Box, project: Project, sent: signal.Signals
) -> None:
    box.sql("CREATE TABLE IF NOT EXISTS many AS SELECT g, md5(g::text) FROM generate_series(1, 400000) g")
    project.mount()
    with project.start(
        "db.backup", DATABASE_URL=box.url(), DBTASKS_VIA="container", DOCKER_HOST=hanging.host
    ) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if line.strip().startswith("dump"):
                break
        hanging.stand_still()
        run.send_signal(sent)
        try:
            _, said = run.communicate(timeout=HANG_GUARD_SECONDS)
        finally:
            run.kill()
    assert run.returncode == 130, said
    assert not list((project.root / "backups").rglob("*.dump"))
    assert not list((project.root / "backups").rglob("*.draft"))
