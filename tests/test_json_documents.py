"""docs/json.md names every field the tasks print, and no task prints another."""

from __future__ import annotations

import json
import re
import sqlite3

import pytest

from .conftest import REPOSITORY, Project

PAGE = (REPOSITORY / "docs" / "json.md").read_text(encoding="utf-8")
EVERYWHERE = {"ok", "task", "exit_code", "warnings"}


def documented(task: str) -> set[str]:
    (row,) = re.findall(rf"^\| {task} \| (.*) \|$", PAGE, re.MULTILINE)
    return set(re.findall(r"`([a-z_]+)`", row)) | EVERYWHERE


@pytest.fixture
def shop(project: Project) -> Project:
    project.mount()
    connection = sqlite3.connect(project.root / "app.db")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    connection.commit()
    connection.close()
    project.dotenv("DATABASE_URL=sqlite:///app.db\n")
    return project


def run(shop: Project, *arguments: str) -> dict[str, object]:
    ran = shop.invoke(*arguments, "--json")
    document = json.loads(ran.stdout)
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize(
    ("task", "arguments"),
    [
        ("backup", ()),
        ("list", ("--all",)),
        ("show", ()),
        ("info", ()),
        ("verify", ()),
        ("cleanup", ("--keep=1", "--yes")),
        ("log", ()),
        ("restore", ("--file=latest", "--yes")),
    ],
)
def test_each_document_has_documented_fields_only(shop: Project, task: str, arguments: tuple[str, ...]):
    for _ in range(3):
        run(shop, "db.backup", "--skip-cleanup")
    document = run(shop, f"db.{task}", *arguments)
    assert document["ok"] is True, document
    assert set(document) <= documented(task) | {"dry_run"}
    assert set(document) >= EVERYWHERE
    inner = document.get(task)
    if isinstance(inner, dict) and task == "restore":
        assert set(inner) <= documented(task)


def test_a_failure_is_a_document_with_the_parts_of_its_message(shop: Project):
    document = run(shop, "db.show", "--file=nosuch")
    assert document["exit_code"] == 4
    error = document["error"]
    assert isinstance(error, dict)
    assert set(error) == {"code", "message", "details", "state", "hint"}
    for part in error:
        assert f"`{part}`" in PAGE


def test_the_plans_have_documented_fields_only(shop: Project):
    run(shop, "db.backup")
    (line,) = re.findall(r"^Plans: (.*)", PAGE, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`([a-z_]+)`", line))
    for arguments in (("db.backup", "--dry-run"), ("db.restore", "--file=latest", "--dry-run")):
        plan = run(shop, *arguments)["plan"]
        assert isinstance(plan, dict)
        assert set(plan) <= named
