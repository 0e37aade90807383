"""Older rows files and schema_command as tasks: plan, JSON, exit codes, what other tasks say of them."""

from __future__ import annotations

import json
import shlex
import sqlite3
import sys
from contextlib import closing
from typing import Any

import pytest

from tests.conftest import Project
from tests.older_files import NAME, older, table

MAKES = (
    "import os, sqlite3, sys\nconnection = sqlite3.connect(os.environ['DATABASE_PATH'])\n"
    "connection.execute('CREATE TABLE item (id INTEGER PRIMARY KEY, word TEXT)')\n"
)


@pytest.fixture
def mounted(project: Project) -> Project:
    project.mount()
    older(project.root, {"item": table(["id", "word"], [1, "one"], [2, None])})
    return project


def ask(project: Project, *arguments: str, code: int = 0, script: str = MAKES) -> dict[str, Any]:
    (project.root / "make.py").write_text(script)
    ran = project.invoke(
        *arguments,
        "--json",
        DATABASE_URL="sqlite:///app.db",
        DBTASKS_SCHEMA_COMMAND=f"{shlex.quote(sys.executable)} make.py",
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    document: dict[str, Any] = json.loads(ran.stdout)
    return document


def test_the_plan_shows_the_command_as_a_step_and_a_dry_run_does_not_run_it(mounted: Project) -> None:
    plan = ask(mounted, "db.restore", f"--file={NAME}", "--unverified", "--dry-run")["plan"]
    assert plan["schema_command"].endswith(" make.py")
    assert any(step.endswith("make.py") for step in plan["steps"])
    assert plan["fills"] == ["item"]
    assert not (mounted.root / "app.db").exists()


def test_a_restore_ends_with_the_rows_and_a_failing_command_with_9_and_its_last_words(
    mounted: Project,
) -> None:
    arguments = ("db.restore", f"--file={NAME}", "--unverified", "--yes")
    failed = ask(mounted, *arguments, code=9, script="raise SystemExit('no such revision')")["error"]
    assert failed["message"].endswith("exited 1")
    assert failed["details"] == "no such revision"
    assert failed["state"] == "app.db was not touched; what the command made is removed"
    assert not (mounted.root / "app.db").exists()
    ask(mounted, *arguments)
    with closing(sqlite3.connect(mounted.root / "app.db")) as connection:
        assert connection.execute("SELECT * FROM item").fetchall() == [(1, "one"), (2, None)]


def test_c09_adopted_it_is_listed_verified_and_said_to_be_rows_alone(mounted: Project) -> None:
    made = ask(mounted, "db.adopt", f"--file={NAME}")["backup"]
    assert made["not_included"] == ["all definitions: it holds rows alone"]
    assert "it says 4f1c2ab90d11" in str(made)
    assert [one["id"] for one in ask(mounted, "db.list")["backups"]] == [made["id"]]
    ask(mounted, "db.verify", f"--file={made['id']}")
    ask(mounted, "db.restore", f"--file={made['id']}", "--yes")
    # what would have to know its types says so
    for arguments in (
        ("db.diff", "--rows"),
        ("db.restore", "--table=item", "--yes"),
        ("db.verify", "--restore"),
    ):
        refused = ask(mounted, *arguments, f"--file={made['id']}", code=6)["error"]
        assert NAME not in refused["message"]
        assert made["archive"] in refused["message"] or made["id"] in str(refused)
