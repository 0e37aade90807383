"""The file of the rows that are left out: the words in it, and where it cannot be written."""

from __future__ import annotations

import json
import resource
from typing import Any

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


def rejects_of(report: dbtasks.MigrationReport) -> list[dict[str, Any]]:
    assert report.rejects is not None
    return [json.loads(line) for line in report.rejects.read_text().splitlines()]


def test_a_row_without_a_value_that_has_to_be_there_is_told_in_the_words_of_the_plan(
    move: Move,
) -> None:
    made(
        move.path,
        """CREATE TABLE "Person" (id INTEGER PRIMARY KEY, "Full Name" TEXT, secret TEXT);
        INSERT INTO "Person" VALUES (1, 'Ada', 'x'), (2, NULL, 'told to nobody');""",
    )
    database = move.server.create_database(move.name)
    database.run('CREATE TABLE person (id bigint PRIMARY KEY, "full name" text NOT NULL, secret text)')
    plan = move.plan(on_error="skip")
    told = next(one for one in plan.choices.columns["Person"] if one.misfits).examples[0]
    assert told == "2: NULL, and the column takes none"
    (reject,) = rejects_of(dbtasks.migrate(move.settings(), plan))
    assert reject == {
        "table": "Person",
        "row": 2,
        "reason": f"Full Name{told.removeprefix('2')}",
        "values": {"id": 2, "Full Name": None, "secret": "told to nobody"},
    }
