"""What the next backup will take, judged by the log's earlier ones."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dbtasks.executors.forecast import forecast
from dbtasks.journal import RunRecord
from dbtasks.models import Format
from tests.samples import MOMENT

FREE = 1000 << 20


def made(
    size_mib: float, seconds: float = 10, *, ok: bool = True, task: str = "backup", **extra: Any
) -> RunRecord:
    return RunRecord(
        task,
        MOMENT - timedelta(days=1),
        seconds,
        ok=ok,
        exit_code=0 if ok else 9,
        database="shop on localhost:5432",
        size_bytes=int(size_mib * (1 << 20)),
        extra={"format": "custom", "complete": True, **extra},
    )


def test_it_takes_the_median_of_the_times_and_the_largest_of_the_sizes() -> None:
    coming = forecast([made(90, 4), made(100, 600), made(80, 6)], FREE, format_=Format.CUSTOM)
    assert coming is not None
    assert (coming.seconds, coming.size_bytes, coming.based_on) == (6, 100 << 20, 3)
    assert (coming.fits, coming.room) == (True, 10)


def test_only_the_newest_five_are_looked_at() -> None:
    coming = forecast([made(10)] * 5 + [made(900)], FREE, format_=Format.CUSTOM)
    assert coming is not None
    assert (coming.size_bytes, coming.based_on) == (10 << 20, 5)


@pytest.mark.parametrize(
    "other",
    [
        made(900, ok=False),
        made(900, task="restore"),
        made(900, format="sql"),
        made(900, complete=False),
        made(0),
    ],
)
def test_failures_other_tasks_other_formats_and_parts_tell_nothing(other: RunRecord) -> None:
    assert forecast([other], FREE, format_=Format.CUSTOM) is None
    coming = forecast([other, made(10)], FREE, format_=Format.CUSTOM)
    assert coming is not None
    assert coming.size_bytes == 10 << 20


def test_without_a_format_the_newest_backups_is_meant() -> None:
    coming = forecast([made(20, format="sql"), made(10), made(30, format="sql")], FREE)
    assert coming is not None
    assert (coming.size_bytes, coming.based_on) == (30 << 20, 2)
    assert forecast([], FREE) is None


def test_what_is_larger_than_the_free_space_does_not_fit() -> None:
    coming = forecast([made(1001)], FREE, format_=Format.CUSTOM)
    assert coming is not None
    assert (coming.fits, coming.room) == (False, 0)


def test_a_directory_dump_lies_there_twice_until_it_is_packed() -> None:
    coming = forecast([made(600, format="directory")], FREE, format_=Format.DIRECTORY, twice=True)
    assert coming is not None
    assert (coming.needs_bytes, coming.fits) == (1200 << 20, False)
