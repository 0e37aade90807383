"""The house rules that a reader could not check file by file."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dbtasks
from tests.conftest import REPOSITORY, TASKS_PY

PACKAGE = REPOSITORY / "dbtasks"
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text("utf-8")) for path in FILES}

LAYERS = (
    {"errors", "secrets", "interrupts", "row_values", "near", "nouns"},
    {"models", "clock", "schemas"},
    {"plans", "events", "holdings"},
    {"urls", "streams", "revisions", "migrations"},
    {"settings"},
    {"lock", "manifest"},
    {"runners"},
    {"stores"},
    {"sessions"},
    {"psql", "formats", "rows"},
    {"engines"},
    {"anomaly", "catalog", "journal", "retention", "guards"},
    {"executors"},
    {"console"},
    {"tasks"},
    {"__init__"},
    {"__main__"},
)
"""Lowest first. A unit imports itself and what lies below it, nothing beside or above."""

HEAVY = ("docker", "psycopg2", "boto3", "botocore", "isal", "rich", "requests", "backports", "dotenv")
REVEALS = {
    "secrets.py",
    "sessions.py",
    "settings/resolve.py",
    "runners/private.py",
    "runners/host.py",
    "runners/container.py",
    # into the environment of the project's own command, as a password and inside a url
    "runners/project_command.py",
    "engines/schema_command.py",
}
"""Where a secret is handed to libpq, to a child or to a passfile."""


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def module_of(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def unit_of(module: str) -> str:
    """The file or folder right below dbtasks that a module belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


MODULES = {module_of(path): path for path in FILES}


def own_imports(path: Path) -> Iterator[tuple[str, str]]:
    """Every import of our own, at the top or inside a function: (module, name)."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
            module = f"{base}.{node.module}" if node.module else base
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield (inner, "") if inner in MODULES else (module, alias.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dbtasks":
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((a.name, "") for a in node.names if a.name.split(".")[0] == "dbtasks")


def imported(node: ast.AST) -> list[str]:
    """Names of the foreign packages an import statement loads."""
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [str(node.module).split(".")[0]]
    return []


def at_the_top(tree: ast.Module) -> Iterator[ast.AST]:
    """Statements that run on import: functions and TYPE_CHECKING blocks left out."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
            continue
        waiting.extend(ast.iter_child_nodes(node))


def test_every_unit_has_a_layer():
    units = {unit_of(module) for module in MODULES}
    assert units <= set().union(*LAYERS)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_layers_import_only_downwards(path):
    rank = {unit: number for number, layer in enumerate(LAYERS) for unit in layer}
    own = unit_of(module_of(path))
    upwards = [
        module
        for module, _ in own_imports(path)
        if unit_of(module) != own and rank[unit_of(module)] >= rank[own]
    ]
    assert upwards == []


def test_only_the_console_prints_and_asks():
    for path, tree in TREES.items():
        if name_of(path).startswith("console/"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("print", "input", "getpass.getpass"), f"{path}:{node.lineno}"
                assert not re.search(r"std(out|err)\.write", called), f"{path}:{node.lineno}"


def test_only_the_tasks_and_the_console_script_import_invoke():
    users = {
        name_of(path) for path, tree in TREES.items() for node in ast.walk(tree) if "invoke" in imported(node)
    }
    assert users
    assert all(user == "__main__.py" or user.startswith("tasks/") for user in users)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_heavy_packages_are_imported_where_they_are_used(path):
    loaded = [name for node in at_the_top(TREES[path]) for name in imported(node) if name in HEAVY]
    assert loaded == []


def test_one_place_catches_broadly_and_it_is_the_task_boundary():
    broad = []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = ast.unparse(node.type) if node.type else "everything"
            last = node.body[-1]
            raises_again = isinstance(last, ast.Raise) and last.exc is None
            if "BaseException" in caught and raises_again:
                continue  # tidies up and passes on whatever it was
            if re.search(r"\b(Base)?Exception\b|everything", caught):
                broad.append(name_of(path))
    assert broad == ["tasks/boundary.py"]


def test_secrets_are_revealed_only_where_they_are_handed_over():
    users = {
        name_of(path)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "reveal"
    }
    assert users <= REVEALS


def test_g16_nothing_is_unpickled_evaluated_or_run_by_a_shell():
    elsewhere = (path for name in ("benchmarks", "docs") for path in (REPOSITORY / name).rglob("*.py"))
    trees = {path: ast.parse(path.read_text("utf-8")) for path in (*elsewhere, REPOSITORY / "tasks.py")}
    for path, tree in (TREES | trees).items():
        for node in ast.walk(tree):
            assert not {"pickle", "marshal", "shelve", "yaml"} & set(imported(node)), path
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in ("eval", "exec", "os.system", "os.popen"), path
                shell = [word for word in node.keywords if word.arg == "shell"]
                assert not shell, f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_has_one_subject_and_ends_before_it_is_long(path):
    assert len(path.read_text("utf-8").splitlines()) <= 450


def test_no_file_is_a_drawer_for_everything():
    assert not {"utils", "helpers", "common", "misc", "base", "constants"} & {path.stem for path in FILES}


# -- public names -----------------------------------------------------------------


def declared(path: Path) -> list[str] | None:
    for node in TREES[path].body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
            assert isinstance(names, list)
            return names
    return None


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_all_names_exactly_what_a_module_offers(path):
    names = declared(path)
    defined = {
        node.name
        for node in TREES[path].body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
    assert names is not None or not defined, "a module with public names has an __all__"
    if names is not None:
        assert len(names) == len(set(names))
        assert defined <= set(names)
        module = importlib.import_module(module_of(path))
        assert [name for name in names if not hasattr(module, name)] == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_modules_use_each_others_public_names_only(path):
    for module, name in own_imports(path):
        offered = declared(MODULES[module]) or []
        assert not name or name in offered or name == "__version__", f"{module}.{name} is not in __all__"


def test_the_package_offers_what_its_type_checking_block_says():
    offered = {name for _, name in own_imports(PACKAGE / "__init__.py") if name}
    assert offered == set(dbtasks.__all__)
    assert set(dbtasks.__all__) <= set(dir(dbtasks))
    with pytest.raises(AttributeError):
        _ = dbtasks.nothing_of_this_name


# -- what a host pays ---------------------------------------------------------------

LOADED = """
import sys
{statement}
watched = {{"docker", "psycopg2", "boto3", "botocore", "rich", "sqlite3", "requests", "isal", "dotenv"}}
print(sorted(watched & set(sys.modules)))
"""


@pytest.mark.parametrize("statement", ["import dbtasks", TASKS_PY], ids=["import dbtasks", "mounted"])
def test_importing_and_mounting_load_nothing_heavy(statement):
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(statement=statement)],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    assert done.stdout == "[]\n"
    assert done.stderr == ""


def test_importing_loads_no_part_of_the_package_yet():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, dbtasks; print([m for m in sys.modules if 'dbtasks.' in m])"],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    assert done.stdout == "[]\n"


# -- tasks ---------------------------------------------------------------------------

TASKS = {str(task.name): task for task in dbtasks.ns.tasks.values()}
CODES = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "130"}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_says_what_it_does_with_examples_and_exit_codes(name):
    text = inspect.getdoc(TASKS[name]) or ""
    first = text.splitlines()[0]
    assert first.endswith(".")
    assert len(first) <= 70
    examples = re.search(r"^Examples:\n((?:    .*\n)+)", text, re.MULTILINE)
    assert examples
    assert all(line.startswith("    invoke db.") for line in examples[1].splitlines())
    codes = re.search(r"^Exit codes:\n((?:    .*(?:\n|$))+)", text, re.MULTILINE)
    assert codes
    named = re.findall(r"^    (\d+)  ", codes[1], re.MULTILINE)
    assert named[0] == "0"
    assert set(named) <= CODES


@pytest.mark.parametrize("name", TASKS)
def test_every_flag_of_a_task_has_help_ending_in_a_full_stop(name):
    arguments = TASKS[name].get_arguments()
    assert {"json", "dry-run"} <= {flag for argument in arguments for flag in argument.names}
    for argument in arguments:
        assert (argument.help or "").endswith("."), argument.name


@pytest.mark.parametrize("name", TASKS)
def test_no_task_takes_positionals_short_flags_or_defaults_invoke_would_cast(name):
    task = TASKS[name]
    assert list(task.positional) == []
    assert list(task.pre) == []
    assert task.optional in ((), [])
    for argument in task.get_arguments():
        assert not argument.positional
        assert all(len(flag) > 1 for flag in argument.names)
    for parameter in list(inspect.signature(task.body).parameters.values())[1:]:
        assert parameter.default in (None, False), f"{parameter} would be cast by Invoke"
