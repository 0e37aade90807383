"""The repository's own tasks, and dbtasks mounted as `db`: the living example."""

from __future__ import annotations

import os
import shlex
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from invoke import Collection, Exit, task

import dbtasks

ROOT = Path(__file__).resolve().parent
DEMO_HOST = """from invoke import Collection
import dbtasks

ns = Collection()
ns.add_collection(dbtasks, name="db")
"""


def run(*command: str) -> None:
    """Run a tool of this environment; its exit status is ours."""
    print(f"$ {shlex.join(command)}", flush=True)
    ended = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False)
    if ended.returncode:
        raise Exit(code=ended.returncode)


@task
def test(c):
    """Run the whole suite."""
    run("pytest")


@task
def lint(c):
    """Check style and format."""
    run("ruff", "check", ".")
    run("ruff", "format", "--check", ".")


@task
def types(c):
    """Check types, strictly."""
    run("mypy")


@task(help={"check": "Fail when a page is stale instead of writing it."})
def docs(c, check=False):
    """Write the pages that are generated from the code."""
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), *(["--check"] if check else [])]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise Exit(code=1)


@task
def check(c):
    """Run everything a change has to pass: tests, style, types, pages."""
    test(c)
    lint(c)
    types(c)
    docs(c, check=True)


@task(
    iterable=["only"],
    help={
        "scale": "Size of the large databases in GB (default: 1; with --quick 0.05).",
        "quick": "End within five minutes; writes below build/ instead of the published page.",
        "only": "Measure this group alone; repeatable.",
        "rounds": "How often each command runs (default: 3; with --quick 2).",
    },
)
def bench(c, scale="", quick=False, only=None, rounds=""):
    """Measure speed and memory beside other tools, and write benchmarks/RESULTS.md."""
    given = {"--scale": scale, "--rounds": rounds}
    flags = [f"{name}={value}" for name, value in given.items() if value]
    run("benchmarks", *flags, *(["--quick"] if quick else []), *(f"--only={name}" for name in only or ()))


@task
def demo(c):
    """Back up, break, compare, restore and verify an example database."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dbtasks-demo-") as name:
        folder = Path(name)
        (folder / "tasks.py").write_text(DEMO_HOST)
        (folder / ".env").write_text("DATABASE_URL=sqlite:///shop.db\n")
        _make_shop(folder / "shop.db")
        print(
            f"A project with this tasks.py, and a SQLite database of 5,000 orders in {folder}:\n\n{DEMO_HOST}"
        )
        _show(folder, "db.backup")
        _show(folder, "db.list")
        _break_shop(folder / "shop.db")
        print("\n… and then somebody deletes most of the orders and drops a table.\n")
        _show(folder, "db.diff")
        _show(folder, "db.restore", "--file=latest", "--yes")
        _show(folder, "db.verify", "--all")
        print(
            f"\nAll orders are back: {_count(folder / 'shop.db'):,}. It took {time.monotonic() - started:.1f} s."
        )


def _show(folder: Path, *arguments: str) -> None:
    print(f"$ invoke {shlex.join(arguments)}", flush=True)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("DB", "PG", "POSTGRES_", "INVOKE_"))}
    ended = subprocess.run([sys.executable, "-m", "invoke", *arguments], cwd=folder, env=clean, check=False)
    print(flush=True)
    if ended.returncode:
        raise Exit(f"the demo broke at {arguments[0]}", code=ended.returncode)


def _make_shop(path: Path) -> None:
    with sqlite3.connect(path) as shop:
        shop.execute("CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        shop.execute(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customer, total REAL)"
        )
        shop.executemany("INSERT INTO customer (name) VALUES (?)", [(f"customer {i}",) for i in range(200)])
        rows = [(1 + i % 200, i * 0.5) for i in range(5000)]
        shop.executemany("INSERT INTO orders (customer_id, total) VALUES (?, ?)", rows)
    shop.close()


def _break_shop(path: Path) -> None:
    with sqlite3.connect(path) as shop:
        shop.execute("DELETE FROM orders WHERE id > 12")
        shop.execute("DROP TABLE customer")
    shop.close()


def _count(path: Path) -> int:
    with sqlite3.connect(path) as shop:
        (count,) = shop.execute("SELECT count(*) FROM orders").fetchone()
    shop.close()
    return int(count)


ns = Collection(test, lint, types, docs, check, bench, demo)
ns.add_collection(dbtasks, name="db")
