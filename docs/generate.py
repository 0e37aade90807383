"""Write the pages that come from the code: docs/settings.md, docs/tasks.md, docs/reliability.md, .env.example.

`python docs/generate.py --check` writes nothing and fails where one is stale.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Mapping
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
Where none is present, the database in [this project's compose container](containers.md#without-a-url) is taken; where one names no host, that
container is where it is looked for [first](containers.md#which-container).

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

PROMISES = "The promises, and the faults that could break them"
BEYOND = "What these tests cannot show"
RELIABILITY_HEAD = f"""# What is tried against what goes wrong

Every fault has an id: A a backup breaks off, B what is in it, C damage to stored files, D a restore breaks off, E what comes back, F SQLite,
G security, H several runs, retention and time. Tests carry the ids in their names (`pytest -k d02`), and this page is written from those names: from a promise
of the README to the faults that could break it, and from each fault to what tries it on real databases, files and containers. What cannot be tried says why.

{{contents}}

## {PROMISES}

| promise | faults |
|---|---|
"""
BEYOND_HEAD = f"""## {BEYOND}

| what | why, and what is done instead |
|---|---|
"""
UNKNOWN = "no reason is known: docs/faults.toml"
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
    contents = " · ".join(f"[{name}](#db{name})" for name in dbtasks.ns.tasks)
    parts = [NOTE, f"# Tasks\n\nWhat `invoke --help db.<task>` prints: {contents}.\n"]
    for name in dbtasks.ns.tasks:
        parts.append(f"\n## db.{name}\n\n```text\n{help_of(f'db.{name}')}\n```\n")
    return "".join(parts)


def reliability_page() -> str:
    """From each promise to its faults, from each fault to the tests that try it or to why none does."""
    known = tomllib.loads((ROOT / "docs" / "faults.toml").read_text(encoding="utf-8"))
    untried = {id_: why for chosen, why in known["untried"].items() for id_ in ids_of(chosen)}
    tests = fault_tests()
    parts = [NOTE, RELIABILITY_HEAD.format(contents=contents_of(known["titles"]))]
    for number, promise in enumerate(promises(), 1):
        ids = ", ".join(linked(chosen, known["titles"]) for chosen in known["promises"][str(number)])
        modules = "".join(f"; `{name}`" for name in known["promised_by_tests"].get(str(number), ()))
        parts.append(f"| {number}. {promise} | {ids}{modules} |\n")
    for letter, title in known["titles"].items():
        parts.append(f"\n## {letter}: {title}\n\n| id | what goes wrong | tried by |\n|---|---|---|\n")
        for id_ in sorted(id_ for id_ in known["faults"] if id_.startswith(letter)):
            tried = "; ".join(tests[id_]) or f"**not tried**: {untried.get(id_, UNKNOWN)}"
            parts.append(f"| {id_} | {known['faults'][id_]} | {tried} |\n")
    parts += ["\n", BEYOND_HEAD, *(f"| {what} | {why} |\n" for what, why in known["beyond"].items())]
    return "".join(parts)


def promises() -> list[str]:
    """Return the promises of the README, in its own words."""
    chapter = read(ROOT / "README.md").partition("## What it promises\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\d+\. (.*(?:\n {3}.*)*)", chapter, re.MULTILINE)
    return [re.sub(r"\s+", " ", text).replace("](docs/", "](") for text in listed]


def ids_of(chosen: str) -> list[str]:
    """Return the ids of a range such as E06-E13, or the one id."""
    first, _, last = chosen.partition("-")
    numbers = range(int(first[1:]), int((last or first)[1:]) + 1)
    return [f"{first[0]}{number:02}" for number in numbers]


def linked(chosen: str, titles: Mapping[str, str]) -> str:
    """Write a letter, an id or a range of ids as a link to its table."""
    return f"[{chosen.replace('-', '–')}](#{anchor_of(f'{chosen[0]}: {titles[chosen[0]]}')})"


def contents_of(titles: Mapping[str, str]) -> str:
    """Write a link to each chapter of the page of faults."""
    headings = [f"{letter}: {title}" for letter, title in titles.items()]
    headings = [PROMISES, *headings, BEYOND]
    return "On this page: " + " · ".join(f"[{heading}](#{anchor_of(heading)})" for heading in headings)


def anchor_of(heading: str) -> str:
    """Return what a heading is linked by."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def fault_tests() -> dict[str, list[str]]:
    """Return per fault id the sentences of the tests whose names hold it."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                faults = FAULTS.findall(node.name)
                sentence = FAULTS.sub("", node.name.removeprefix("test_")).replace("_", " ")
                sentence = re.sub(r"\s+", " ", re.sub(r"^(?:(?:and|to)? )+", "", sentence)).strip()
                for fault in dict.fromkeys(faults):
                    found[fault.upper()].append(sentence)
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
