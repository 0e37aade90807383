"""What this user may not enter is a problem that db.info tells, and an error of ours everywhere else; never a bug."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.rights import bound_by_modes
from tests.sqlite.databases import make

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")

BACKUP_DIRS = {"inside": "theirs/backups", "itself": "theirs"}


def invoked(project: Project, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a task in a process for which modes count."""
    return subprocess.run(
        [sys.executable, "-m", "invoke", *arguments],
        cwd=project.root,
        env=project.environ(DOCKER_HOST="tcp://127.0.0.1:1", **environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **bound_by_modes(),
    )


@pytest.fixture
def theirs(project: Project) -> Iterator[Path]:
    """A folder of somebody else's: nobody may enter it."""
    project.mount()
    make(project.root / "app.db")
    folder = project.root / "theirs"
    folder.mkdir()
    make(folder / "app.db")
    folder.chmod(0)
    yield folder
    folder.chmod(0o700)


@pytest.mark.parametrize("where", BACKUP_DIRS)
def test_a_backup_dir_nobody_may_enter_is_a_problem_with_the_rest_still_told(
    project: Project, theirs: Path, where: str
) -> None:
    steered = {"DATABASE_URL": "sqlite:///app.db", "BACKUP_DIR": BACKUP_DIRS[where]}
    shown = invoked(project, "db.info", **steered)
    assert shown.returncode == 0, shown.stderr
    assert "cannot be written" in shown.stdout
    assert "app.db" in shown.stdout
    seen = json.loads(invoked(project, "db.info", "--json", **steered).stdout)
    assert any(str(theirs) in text for text in seen["problems"])
    assert seen["database"]["tables"] > 0
    assert invoked(project, "db.info", "--check", **steered).returncode == 10


def test_a_database_in_a_folder_nobody_may_enter_is_a_problem(project: Project, theirs: Path) -> None:
    steered = {"DATABASE_URL": "sqlite:///theirs/app.db"}
    shown = invoked(project, "db.info", **steered)
    assert shown.returncode == 0, shown.stderr
    assert f"cannot look for {theirs}/app.db: Permission denied" in shown.stdout
    assert invoked(project, "db.info", "--check", **steered).returncode == 10
    seen = json.loads(invoked(project, "db.info", "--json", **steered).stdout)
    assert seen["state"] is None
    refused = invoked(project, "db.backup", **steered)
    assert refused.returncode == 3
    assert "cannot look for" in refused.stderr


TASKS = (
    "db.info",
    "db.list",
    "db.backup",
    "db.backup --output=backups/x",
    "db.backup --output=backups/manual/x",
    "db.restore --yes",
    "db.restore --file=backups/manual/x --unverified --yes",
    "db.restore --into=backups/y.db --yes",
    "db.cleanup --yes",
    "db.verify",
    "db.log",
)


@pytest.mark.long
@pytest.mark.parametrize("locked", ["backups", "backups/manual", "backups/restores"])
@pytest.mark.parametrize("mode", [0o000, 0o400])
def test_no_task_meets_a_bug_where_a_folder_may_not_be_entered(
    project: Project, locked: str, mode: int
) -> None:
    project.mount()
    make(project.root / "app.db")
    project.dotenv("DATABASE_URL=sqlite:///app.db\n")
    assert project.invoke("db.backup").returncode == 0
    folder = project.root / locked
    folder.mkdir(exist_ok=True)
    folder.chmod(mode)
    try:
        ran = {task: invoked(project, *task.split()) for task in TASKS}
    finally:
        folder.chmod(0o700)
    ends = {task: (done.returncode, done.stderr) for task, done in ran.items()}
    assert not [task for task, (code, said) in ends.items() if "met a bug" in said or code == 1], ends
