"""What holds for every test on a container."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fix_docker import Box


@pytest.fixture(autouse=True)
def no_server_has_crashed(started_boxes: list[Box]) -> Iterator[None]:
    """See tests/docker/test_first_process.py."""
    yield
    crashed = {box.name: said for box in started_boxes if (said := box.crashes())}
    for box in [box for box in started_boxes if box.name in crashed]:
        # told once, by the test that did it
        started_boxes.remove(box)
        box.container.remove(force=True, v=True)
    assert not crashed
