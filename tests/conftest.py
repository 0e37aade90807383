"""What every test gets: a clean environment, a throw-away project, and no silent skips in CI."""

from __future__ import annotations

import gc
import os
import platform
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.disks import CAN_MOUNT
from tests.majors import OLDEST

FIXTURES = sorted(path.stem for path in Path(__file__).parent.glob("fix_*.py"))
pytest_plugins = [f"tests.{name}" for name in FIXTURES]

settings.register_profile("dbtasks", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("dbtasks")

REPOSITORY = Path(__file__).parent.parent
REQUIRE = os.environ.get("DBTASKS_REQUIRE", "")
"""Set in CI: what cannot run there is deselected by marker, so a skip is a failure."""

STEERING = (
    "DATABASE_",
    "DB_",
    "POSTGRES_",
    "PG",
    "DBTASKS_",
    "INVOKE_",
    "BACKUP_",
    "S3_",
    "AWS_",
    "PYTHON_DOTENV_",
)
"""Beginnings of the variables that would steer dbtasks, libpq, Invoke or boto3 from outside."""

TASKS_PY = """\
from invoke import Collection
import dbtasks

ns = Collection()
ns.add_collection(dbtasks, name="db")
"""


def _steers(name: str) -> bool:
    return name.startswith(STEERING) and not name.startswith("DBTASKS_TEST_")


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on the shell it was started from."""
    for name in list(os.environ):
        if _steers(name):
            monkeypatch.delenv(name)


@dataclass(frozen=True)
class Project:
    """A host project in a temporary folder; `.git` marks its root."""

    root: Path

    def mount(self, text: str = TASKS_PY) -> Path:
        """Write the project's tasks.py; by default the mount of the README."""
        path = self.root / "tasks.py"
        path.write_text(text)
        return path

    def dotenv(self, text: str) -> Path:
        """Write the project's .env."""
        path = self.root / ".env"
        path.write_text(text)
        path.chmod(0o600)
        return path

    def environ(self, **environ: str) -> dict[str, str]:
        """Return what a process of this project inherits: nothing steers but the given variables."""
        inherited = {name: value for name, value in os.environ.items() if not _steers(name)}
        return {**inherited, "PYTHONPATH": str(REPOSITORY), **environ}

    def invoke(
        self, *arguments: str, cwd: Path | None = None, stdin: str | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `invoke` in a real process with nothing but the given steering variables; no terminal."""
        return subprocess.run(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=cwd or self.root,
            env=self.environ(**environ),
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Start `invoke` at the head of a process group of its own, for the caller to end and to reap."""
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=self.root,
            env=self.environ(**environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A temporary project with a root marker and nothing else."""
    root = tmp_path / "project"
    root.mkdir()
    (root / ".git").mkdir()
    return Project(root)


@pytest.fixture
def in_project(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The project, and the current folder is its root."""
    monkeypatch.chdir(project.root)
    yield project


def pytest_configure() -> None:
    # a shell starts what runs in the background deaf to Ctrl-C, and every child would inherit that
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    # some thousand tests stay to the end: no collection of garbage needs to walk through them
    gc.freeze()


def pytest_xdist_auto_num_workers() -> int:
    """Run two tests at a time per core: half of each test waits, for a server, a tool, a container or a disk."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark by fixture what needs more than a wheel, and leave out what has nothing to run on."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        for name, marker in (("chinook", "chinook"), ("docker_client", "docker")):
            if name in fixtures:
                item.add_marker(marker)
        if item.get_closest_marker("docker"):
            # one worker has all of them: it starts one engine where there is none
            item.add_marker(pytest.mark.xdist_group("docker"))
        if _is_another_format_of_the_oldest(item):
            item.add_marker(pytest.mark.long)
    if "DBTASKS_TEST_CHINOOK" not in os.environ:
        _leave_out("chinook", config, items)
    for marker in ("loop", "long", "timescale"):
        # who names tests by -k wants to see them; a loop, or what needs an image, is asked for by name all the same
        picked = marker == "long" and config.getoption("keyword")
        if marker not in config.getoption("markexpr") and not picked:
            # what takes minutes, or an image, runs when it is asked for: python -m pytest -m "loop or long"
            _leave_out(marker, config, items)


def _leave_out(marker: str, config: pytest.Config, items: list[pytest.Item]) -> None:
    left = [item for item in items if item.get_closest_marker(marker)]
    config.hook.pytest_deselected(items=left)
    # a list would be walked through once for each of some thousand tests, in each worker
    gone = set(left)
    items[:] = [item for item in items if item not in gone]


def _is_another_format_of_the_oldest(item: pytest.Item) -> bool:
    """What a format does seldom depends on the server: the default one is tried with each, the others with the newest."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    return params.get("any_pg") == OLDEST and any(given in ("sql", "directory") for given in params.values())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where everything is required."""
    report = yield
    if REQUIRE and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"DBTASKS_REQUIRE={REQUIRE} allows no skip: {_reason(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself as a whole."""
    report = yield
    if REQUIRE and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"DBTASKS_REQUIRE={REQUIRE} allows no skip: {_reason(report.longrepr)}"
    return report


def _reason(longrepr: object) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)


def pytest_report_header() -> list[str]:
    """Say what the tests run against."""
    who = "root" if hasattr(os, "geteuid") and os.geteuid() == 0 else "an ordinary user"
    packages = ("invoke", "psycopg2-binary", "docker", "isal", "python-dotenv")
    lines = [
        f"dbtasks: as {who} on {platform.platform(terse=True)}, SQLite {sqlite3.sqlite_version}, "
        + ", ".join(f"{name} {version(name)}" for name in packages),
    ]
    if not CAN_MOUNT:
        lines.append("without the tests on small disks: only root may mount one, and not everywhere")
    if REQUIRE:
        lines.append(f"DBTASKS_REQUIRE={REQUIRE}: a skip is a failure")
    return lines
