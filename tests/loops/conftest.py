"""The loops say at the end what they hit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

HIT = "loop"


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
