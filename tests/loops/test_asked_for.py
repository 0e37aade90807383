"""What takes minutes stays out of every run that does not ask for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

LOOPS = Path(__file__).parent
LONG = REPOSITORY / "tests/docker/test_password_inside.py"


def collected(*arguments: object) -> str:
    """What a run with these arguments would run."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments]
    ran = subprocess.run(
        [str(part) for part in command], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    return ran.stdout + ran.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("expression", "found"),
    [("", 0), ("not docker", 0), ("not loop", 0), ("loop", 8), ("loop and not docker", 6)],
)
def test_a_loop_runs_only_where_the_expression_names_it(expression: str, found: int) -> None:
    said = collected("-m", expression, LOOPS)
    assert said.count("_loop.py::") == found, said


def test_a_loop_is_not_asked_for_by_what_picks_tests() -> None:
    said = collected("-k", "loop", LOOPS)
    assert "_loop.py::" not in said


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "found"),
    [((), 0), (("-k", "g10"), 2), (("-k", "g10", "-m", "not long"), 0), (("-m", "long", "-k", "g10"), 2)],
)
def test_one_fault_is_all_that_is_named_after_it_long_or_not(arguments: tuple[str, ...], found: int) -> None:
    said = collected(*arguments, LONG)
    assert said.count("test_password_inside.py::test_g04_g10_") == found, said
