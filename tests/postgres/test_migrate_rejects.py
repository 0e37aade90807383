"""The file of the rows that are left out, where it cannot be written."""

from __future__ import annotations

import resource

import pytest

import dbtasks
from dbtasks.errors import StoreFull
from dbtasks.events import Event, Phase
from tests.postgres.leaving import Move, made, move

__all__ = ["move"]

BAD = """
    CREATE TABLE odd (id INTEGER PRIMARY KEY, note TEXT, more TEXT);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
    INSERT INTO odd SELECT i, x'ff00', hex(zeroblob(150)) FROM n;
"""


def test_a07_a_full_disk_under_the_rows_that_are_left_out_ends_it_and_the_target_is_as_it_was(
    move: Move,
) -> None:
    made(move.path, BAD)
    plan = move.plan(on_error="skip", casts=("odd.note:text",))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_event(event: Event) -> None:
        if isinstance(event, Phase) and event.name == "load":
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))

    try:
        with pytest.raises(StoreFull, match="no space left") as caught:
            dbtasks.migrate(move.settings(), plan, on_event=on_event)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.state == f"{move.name} does not exist, as before"
    assert move.databases() == []
    assert [path.name for path in (move.store / "reports").iterdir()] == []
