"""The Chinook sample, where the environment names its folder; without it `conftest.py` leaves its tests out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "DBTASKS_TEST_CHINOOK"


@pytest.fixture
def chinook() -> Path:
    """The folder of the sample, named by the environment."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} does not name the folder of the Chinook sample")
    return Path(folder)
