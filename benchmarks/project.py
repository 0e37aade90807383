"""A host project whose database is backed up: the commands of ours that are measured."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .measure import Job

__all__ = ["REPOSITORY", "Project", "clean_environment", "compile_once"]

REPOSITORY = Path(__file__).resolve().parent.parent
TASKS = "from invoke import Collection\nimport dbtasks\n\nns = Collection()\nns.add_collection(dbtasks, name='db')\n"
STEERING = ("DB", "PG", "POSTGRES", "INVOKE", "DJANGO", "BACKUP", "COMPOSE", "PYTHONDONTWRITEBYTECODE")
BYTECODE = REPOSITORY / "build" / "bytecode"


@dataclass(frozen=True)
class Project:
    """A folder with a tasks.py, and what its environment says about the database."""

    folder: Path
    url: str
    pg_bin: Path | None = None
    more: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / ".git").mkdir(parents=True, exist_ok=True)
        (self.folder / "tasks.py").write_text(TASKS)

    @property
    def environment(self) -> dict[str, str]:
        tools = {"DBTASKS_PG_BIN": str(self.pg_bin)} if self.pg_bin else {}
        return {**clean_environment(), "DATABASE_URL": self.url, **tools, **self.more}

    def task(self, name: str, *flags: str) -> Job:
        """The whole task, as it is typed."""
        argv = [sys.executable, "-m", "invoke", f"db.{name}", *flags]
        return Job(argv, self.environment, self.folder)

    def itself(self, *flags: str) -> Job:
        """The dump alone, timed by `benchmarks.itself`."""
        argv = [sys.executable, "-m", "benchmarks.itself", str(self.folder), *flags]
        return Job(argv, self.environment, REPOSITORY, stdout=self.said)

    @property
    def said(self) -> Path:
        """What the last job wrote that hands back figures of its own."""
        return self.folder / "said.json"

    def seconds_said(self) -> float:
        return float(json.loads(self.said.read_text())["seconds"])

    def newest_bytes(self) -> int:
        """Size of the newest archive in the store."""
        manifests = self.folder.glob("backups/manual/*.manifest.json")
        newest = max(manifests, key=lambda path: path.stat().st_mtime_ns)
        return int(json.loads(newest.read_text())["size_bytes"])

    def forget(self) -> None:
        """Empty the store: no run should depend on the backups of the one before."""
        shutil.rmtree(self.folder / "backups", ignore_errors=True)


def clean_environment() -> dict[str, str]:
    """The environment without what would steer us, the tools or a peer."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(STEERING)}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "PYTHONPYCACHEPREFIX": str(BYTECODE)}


def compile_once() -> None:
    """Compile dbtasks as pip does where it installs: Invoke writes no bytecode, so each run would compile it anew."""
    argv = [sys.executable, "-m", "compileall", "-q", str(REPOSITORY / "dbtasks")]
    subprocess.run(argv, env=clean_environment(), check=True)
