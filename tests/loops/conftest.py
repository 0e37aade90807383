"""The loops run when they are asked for, `python -m pytest -m loop`, and say at the end what they hit."""

from __future__ import annotations

import pytest

REPORT: pytest.StashKey[list[str]] = pytest.StashKey()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the loops out unless the expression of -m speaks of them: they take minutes."""
    if "loop" in config.getoption("markexpr"):
        return
    loops = [item for item in items if item.get_closest_marker("loop")]
    config.hook.pytest_deselected(items=loops)
    items[:] = [item for item in items if item not in loops]


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
