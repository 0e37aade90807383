"""What the loops share: their seed, their length, their project; and they say at the end what they hit."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from tests.conftest import Project

HIT = "loop"
KILLS = int(os.environ.get("DBTASKS_TEST_KILLS", "200"))


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("DBTASKS_TEST_SEED") or random.SystemRandom().randrange(1_000_000))


@pytest.fixture
def shop(project: Project) -> Project:
    project.mount()
    return project


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Take a line for the end of the run; it travels with the test's report, out of a worker too."""
    return lambda line: record_property(HIT, line)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Show what the loops hit."""
    ran = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    lines = [
        value for test in ran if test.when == "call" for name, value in test.user_properties if name == HIT
    ]
    if lines:
        terminalreporter.section("loops")
        for line in lines:
            terminalreporter.line(str(line))
