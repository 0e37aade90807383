"""Write the pages that come from the code: docs/settings.md, docs/tasks.md, docs/reliability.md, .env.example.

`python docs/generate.py --check` writes nothing and fails where one is stale.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import sys
from collections import defaultdict
from pathlib import Path

from invoke import Collection
from invoke.program import Program

import dbtasks
from dbtasks.settings import KEYS, Key

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Written by docs/generate.py from the code; change it there. -->\n\n"
SETTINGS_HEAD = """# Settings

Each key can be given, highest first, as a task's flag where it has one; as `DBTASKS_<KEY>` in the environment, then in `.env`; as `<key>` below
`dbtasks:` in `invoke.yaml` (or `INVOKE_DBTASKS_<KEY>`, or a mount's `config={"dbtasks": {…}}`); by the conventional name, where one is shown.
`DBTASKS_<KEY>_FILE` names a file that holds the value. `db.info` shows each value and where it came from.

Without a `url` the database is found by the first of these families that is present, read whole and never mixed with another: `DATABASE_URL`;
`DATABASE_PATH` (SQLite); `DB_TYPE` or `DB_ENGINE`, `DB_HOST`, `DB_PORT`, `DB_NAME`, `DB_USER`, `DB_PASSWORD`; `POSTGRES_HOST`, `POSTGRES_PORT`,
`POSTGRES_DB`, `POSTGRES_USER`, `POSTGRES_PASSWORD`; `PGHOST`, `PGPORT`, `PGDATABASE`, `PGUSER`, `PGPASSWORD`. Inside a family the environment
comes before `.env`, and every name has a `_FILE` form. In a mount with `env_prefix` all of them, `PG*` apart, are read behind that prefix only.

A key that is unknown, malformed or belongs to a later version is an error (exit 2), never ignored.

| key | default | conventional names | meaning |
|---|---|---|---|
"""
ENV_HEAD = """\
# Settings of dbtasks: copy to .env and take the # away from the lines you need. All keys: docs/settings.md.
# Values are taken as they stand: $ and ${NAME} are not expanded. Quote a value that holds a # after a space.

#DATABASE_URL=postgresql://user:password@localhost:5432/shop
#DATABASE_URL=sqlite:///app.db
"""

RELIABILITY_HEAD = """# What is tested against what goes wrong

Each fault has an id: A a backup breaks off, B consistency of what is in it, C damage to stored files, D a restore breaks off, E what comes
back, F SQLite, G security, H concurrency, retention and time. The ids stand in the names of the tests, and this page is written from those names.

"""
PROMISES = {
    "A backup that is listed was complete and verified; a failed run leaves nothing that looks like one": "AC",
    "What is in a backup is one consistent moment, exactly": "B",
    "A restore that fails or is interrupted leaves the live database as it was": "DF",
    "What comes back is what was backed up": "E",
    "No secret leaks, and a file cannot run commands through us": "G",
    "Cleanup never removes the last verified complete backup; runs do not harm each other": "H",
}
FAULTS = re.compile(r"(?<![a-z0-9])([a-h][0-9]{2})(?![0-9])")


def main() -> int:
    """Write the pages, or name the stale ones; return the exit status."""
    pages = {
        "docs/settings.md": settings_page(),
        "docs/tasks.md": tasks_page(),
        "docs/reliability.md": reliability_page(),
        ".env.example": env_example(),
    }
    stale = [name for name, text in pages.items() if read(ROOT / name) != text]
    if "--check" in sys.argv[1:]:
        for name in stale:
            print(f"{name} is stale: run `invoke docs`", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (ROOT / name).write_text(pages[name], encoding="utf-8")
        print(f"wrote {name}")
    return 0


def read(path: Path) -> str:
    """Return a page as it is, empty where it is not there yet."""
    return path.read_text(encoding="utf-8") if path.exists() else ""


def available() -> list[Key]:
    """Return the keys of this version: the others are refused when they are set."""
    return [key for key in KEYS if not key.planned]


def settings_page() -> str:
    """One line per key."""
    rows = []
    for key in available():
        names = " ".join(f"`{name}`" for name in key.conventional)
        rows.append(f"| `{key.name}` | {key.default_text} | {names} | {key.doc} |\n")
    return NOTE + SETTINGS_HEAD + "".join(rows)


def env_example() -> str:
    """Every key, commented out, with its default."""
    parts = [ENV_HEAD]
    for key in available():
        if key.name not in ("url", "env_prefix"):
            value = key.default_text if key.default else ""
            parts.append(f"\n# {key.doc}\n#DBTASKS_{key.name.upper()}={value}\n")
    return "".join(parts)


def tasks_page() -> str:
    """What `invoke --help` says about each task."""
    parts = [NOTE, "# Tasks\n\nWhat `invoke --help db.<task>` prints.\n"]
    for name in dbtasks.ns.tasks:
        parts.append(f"\n## db.{name}\n\n```text\n{help_of(f'db.{name}')}\n```\n")
    return "".join(parts)


def reliability_page() -> str:
    """For each promise the faults that are tried, with the tests that try them."""
    tests = fault_tests()
    parts = [NOTE, RELIABILITY_HEAD]
    for promise, letters in PROMISES.items():
        rows = [
            f"| {fault.upper()} | {'; '.join(tests[fault])} |\n"
            for fault in sorted(tests)
            if fault[0].upper() in letters
        ]
        parts.append(f"## {promise}\n\n| id | tried by |\n|---|---|\n{''.join(rows)}\n")
    return "".join(parts).rstrip() + "\n"


def fault_tests() -> dict[str, list[str]]:
    """Return per fault id the sentences of the tests whose names hold it."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                faults = FAULTS.findall(node.name)
                sentence = FAULTS.sub("", node.name.removeprefix("test_")).replace("_", " ")
                sentence = re.sub(r"\s+", " ", re.sub(r"^( and| to| )+", "", sentence)).strip()
                for fault in dict.fromkeys(faults):
                    found[fault].append(sentence)
    return found


def help_of(task: str) -> str:
    """Run Invoke in process; into anything but a terminal it prints 80 columns wide."""
    namespace = Collection()
    namespace.add_collection(dbtasks, name="db")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        Program(namespace=namespace, binary="invoke").run(["invoke", "--help", task], exit=False)
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines()).strip()


if __name__ == "__main__":
    raise SystemExit(main())
