"""The loops stay out of every run that does not name them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("expression", "found"),
    [("", 0), ("not docker", 0), ("not loop", 0), ("loop", 4), ("loop and not docker", 3)],
)
def test_a_loop_runs_only_where_the_expression_names_it(expression: str, found: int) -> None:
    folder = Path(__file__).parent
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "-p",
            "no:cacheprovider",
            "-m",
            expression,
            folder,
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.count("test_kill_loop.py::") == found, ran.stdout + ran.stderr
