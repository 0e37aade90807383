"""The error tree: the docstring, the classes and the documented exit codes are one thing."""

from __future__ import annotations

import re

import pytest

from dbtasks import errors
from dbtasks.errors import CommandFailed, DbTasksError

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, DbTasksError)
}


def drawn() -> dict[str, tuple[str | None, int]]:
    """Read name, parent and exit code of each class from the drawing in the module's docstring."""
    found: dict[str, tuple[str | None, int]] = {}
    above: list[str] = []
    drawing = (errors.__doc__ or "").partition("\n\nCode 8")[0]
    for line in drawing.splitlines():
        match = re.match(r"^((?:│  |   )*)([├└]─ )?([A-Z]\w+)\s+(\d+)\b", line)
        if match:
            depth = len(match[1]) // 3 + bool(match[2])
            above[depth:] = [match[3]]
            found[match[3]] = (above[depth - 1] if depth else None, int(match[4]))
    return found


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    real = {
        name: (None if cls is DbTasksError else cls.__bases__[0].__name__, cls.exit_code)
        for name, cls in CLASSES.items()
    }
    assert drawn() == real


def test_every_error_is_public():
    assert sorted(CLASSES) == errors.__all__


@pytest.mark.parametrize(
    ("code", "names"),
    [
        (2, ["SettingsError", "UsageError", "MissingExtra", "StoreUnusable"]),
        (
            3,
            [
                "TargetUnreachable",
                "LoginRefused",
                "RouteUnavailable",
                "ContainerStopped",
                "RouteRefused",
                "ToolMissing",
                "VersionMismatch",
                "RightMissing",
            ],
        ),
        (4, ["NotFound"]),
        (5, ["Damaged", "ArchiveDamaged", "CountsDiffer"]),
        (6, ["Refused", "NeedsConfirmation", "Declined", "WrongEngine"]),
        (7, ["Busy"]),
        (9, ["OperationFailed", "CommandFailed", "DumpFailed", "LoadFailed", "StoreFull", "AlreadyExists"]),
        (130, ["Interrupted"]),
    ],
)
def test_an_error_ends_a_task_with_its_documented_code(code, names):
    for name in names:
        assert CLASSES[name].exit_code == code


def test_no_error_uses_a_code_that_belongs_to_results_or_is_not_documented():
    assert {cls.exit_code for cls in CLASSES.values()} == {1, 2, 3, 4, 5, 6, 7, 9, 130}


def test_the_name_for_scripts_is_the_class_name_in_small_letters():
    assert errors.ArchiveDamaged("x").code == "archive_damaged"
    assert errors.Busy("x").code == "busy"


def test_the_parts_of_a_message_are_kept_apart():
    error = errors.LoadFailed("load broke off", hint="run undo", state="unchanged", details="ERROR: x")
    assert str(error) == "load broke off"
    assert (error.message, error.hint, error.state, error.details) == (
        "load broke off",
        "run undo",
        "unchanged",
        "ERROR: x",
    )


@pytest.mark.parametrize(
    ("returncode", "said"),
    [(1, "pg_dump exited 1 (host)"), (-9, "pg_dump was killed by signal 9 (host)")],
)
def test_a_failed_command_says_how_it_ended(returncode, said):
    error = CommandFailed("pg_dump", "host", returncode, "last words")
    assert str(error) == said
    assert error.details == "last words"
    assert error.returncode == returncode
