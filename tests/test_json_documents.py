"""docs/json.md names every field the tasks print, and no task prints another."""

from __future__ import annotations

import json
import re
import sqlite3

import pytest

from .conftest import REPOSITORY, Project

PAGE = (REPOSITORY / "docs" / "json.md").read_text(encoding="utf-8")
EVERYWHERE = {"ok", "task", "exit_code", "warnings"}
(WAY,) = re.findall(r"^What took a way to the database adds (.*?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
WHERE_ONE_WAS_TAKEN = set(re.findall(r"`([a-z]+)`:", WAY))
NAMED_BY_THE_DATABASE = {"database.extensions"}


def documented(task: str) -> set[str]:
    (row,) = re.findall(rf"^\| {task} \| (.*) \|$", PAGE, re.MULTILINE)
    return set(re.findall(r"`([a-z_]+)`", row)) | EVERYWHERE | WHERE_ONE_WAS_TAKEN


def info_fields() -> set[str]:
    """Every field of db.info that the page names, as `routes[].tools[].version`."""
    section = PAGE.partition("## db.info")[2]
    named = re.findall(r"^\| (.*?) \|", section, re.MULTILINE)
    return {field for cell in named for field in re.findall(r"`([^`]+)`", cell)}


def fields(value: object, path: str = "") -> set[str]:
    """Every field a document has down to its leaves; an empty list has none that could be known."""
    if isinstance(value, dict) and path not in NAMED_BY_THE_DATABASE:
        inner = {name: part for name, part in value.items() if path or name not in EVERYWHERE}
        return {field for name, part in inner.items() for field in fields(part, f"{path}.{name}".lstrip("."))}
    if isinstance(value, list) and any(isinstance(part, dict) for part in value):
        return {field for part in value for field in fields(part, f"{path}[]")}
    return {path}


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


@pytest.mark.long
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
        ("restore", ("--file=latest", "--table=t", "--yes")),
        ("restore", ("--file=latest", "--table=t", "--as=then", "--yes")),
        ("undo", ("--yes",)),
        ("diff", ()),
        ("diff", ("--rows",)),
        ("adopt", ("--file=theirs.db",)),
    ],
)
def test_each_document_has_documented_fields_only(shop: Project, task: str, arguments: tuple[str, ...]):
    for _ in range(3):
        run(shop, "db.backup", "--skip-cleanup")
    if task == "adopt":
        (shop.root / "theirs.db").write_bytes((shop.root / "app.db").read_bytes())
        other = sqlite3.connect(shop.root / "theirs.db")
        other.execute("CREATE TABLE more (a)")
        other.close()
    if task == "undo":
        run(shop, "db.restore", "--file=latest", "--yes")
    document = run(shop, f"db.{task}", *arguments)
    assert document["ok"] is True, document
    assert set(document) <= documented(task) | {"dry_run"}
    assert set(document) >= EVERYWHERE
    taken = {name: document[name] for name in ("route", "why") if name in document}
    by_file = {"route": "file", "why": "SQLite is read directly"}
    assert taken == (by_file if task in ("backup", "verify", "restore", "undo", "diff", "adopt") else {})
    inner = document.get(task)
    if isinstance(inner, dict) and task in ("restore", "undo", "diff"):
        assert set(inner) <= documented(task)
        of_tables = "--table=t" in arguments
        assert ("rows_of" in inner) is of_tables
        assert inner.get("rows_of", {}) == (
            {"then" if "--as=then" in arguments else "t": 0} if of_tables else {}
        )


def test_the_rows_of_a_comparison_have_documented_fields_only(shop: Project):
    run(shop, "db.backup")
    connection = sqlite3.connect(shop.root / "app.db")
    connection.executescript("INSERT INTO t VALUES (1); CREATE TABLE more (a)")
    connection.close()
    compared = run(shop, "db.diff", "--rows", "--values")["rows"]
    names = {part for path in fields(compared) for part in re.split(r"[.\[\]]+", path) if part}
    of_the_row = {"id"}
    assert names - of_the_row <= documented("diff")


def test_db_info_has_documented_fields_only_however_little_there_is(shop: Project):
    """With a container every one of them is there: tests/docker/test_info_container.py."""
    known = info_fields()
    assert len(known) > 60
    parents = {re.sub(r"(\[\])?\.\w+(\[\])?$", "", field) for field in known}
    for environ in ({}, {"DATABASE_URL": "sqlite:///no.db"}, {"DATABASE_URL": ""}):
        ran = shop.invoke("db.info", "--json", **environ)
        assert ran.returncode == 0, ran.stderr
        assert fields(json.loads(ran.stdout)) <= known | parents
    run(shop, "db.backup")
    assert {"forecast.seconds", "store.types[].newest_at"} <= fields(run(shop, "db.info"))


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
    run(shop, "db.restore", "--file=latest", "--yes")
    restoring = ("db.restore", "--file=latest", "--dry-run")
    (shop.root / "theirs.db").write_bytes((shop.root / "app.db").read_bytes())
    adopting = ("db.adopt", "--file=theirs.db", "--dry-run")
    one_table = (*restoring, "--table=t")
    for arguments in (("db.backup", "--dry-run"), restoring, one_table, ("db.undo", "--dry-run"), adopting):
        plan = run(shop, *arguments)["plan"]
        assert isinstance(plan, dict)
        assert set(plan) <= named
        for change in plan.get("changes", []):
            assert set(change) <= named
    (change,) = run(shop, *one_table)["plan"]["changes"]
    assert change == {"table": "t", "backup_rows": 0, "live_rows": 0, "way": "rows replaced"}
