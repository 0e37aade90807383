"""The loops say at the end what they hit."""

from __future__ import annotations

import pytest

REPORT: pytest.StashKey[list[str]] = pytest.StashKey()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> list[str]:
    """Lines for the end of the run."""
    return request.config.stash.setdefault(REPORT, [])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Show what the loops hit."""
    lines = config.stash.get(REPORT, [])
    if lines:
        terminalreporter.section("loops")
        for line in lines:
            terminalreporter.line(line)
