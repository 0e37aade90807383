"""What the next backup will take, judged by the log's earlier ones."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dbtasks.executors.inspecting.forecast import Kind, forecast
from dbtasks.journal import RunRecord
from tests.samples import MOMENT

FREE = 1000 << 20
CUSTOM = Kind("custom", "zstd")


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
        extra={"format": "custom", "compression": "zstd", "route": "host", "complete": True, **extra},
    )


def test_it_takes_the_median_of_the_times_and_the_largest_of_the_sizes() -> None:
    coming = forecast([made(90, 4), made(100, 600), made(80, 6)], FREE, CUSTOM)
    assert coming is not None
    assert (coming.seconds, coming.size_bytes, coming.based_on) == (6, 100 << 20, 3)
    assert (coming.fits, coming.room) == (True, 10)


def test_only_the_newest_five_are_looked_at() -> None:
    coming = forecast([made(10)] * 5 + [made(900)], FREE, CUSTOM)
    assert coming is not None
    assert (coming.size_bytes, coming.based_on) == (10 << 20, 5)


@pytest.mark.parametrize(
    "other",
    [
        made(900, ok=False),
        made(900, task="restore"),
        made(900, format="sql"),
        made(900, compression="none"),
        made(900, complete=False),
        made(0),
    ],
)
def test_failures_other_tasks_other_formats_and_parts_tell_nothing(other: RunRecord) -> None:
    assert forecast([other], FREE, CUSTOM) is None
    coming = forecast([other, made(10)], FREE, CUSTOM)
    assert coming is not None
    assert coming.size_bytes == 10 << 20


def test_without_a_format_the_newest_backups_is_meant() -> None:
    coming = forecast([made(20, format="sql"), made(10), made(30, format="sql")], FREE)
    assert coming is not None
    assert (coming.size_bytes, coming.based_on) == (30 << 20, 2)
    assert forecast([], FREE) is None


def test_what_is_larger_than_the_free_space_does_not_fit() -> None:
    coming = forecast([made(1001)], FREE, CUSTOM)
    assert coming is not None
    assert (coming.fits, coming.room) == (False, 0)


@pytest.mark.parametrize(
    ("kind", "needed_mib"),
    [
        (Kind("custom", "zstd", route="host"), 100),
        (Kind("sql", "gzip", route="container"), 100),
        # it lies there as a directory, too, until it is packed; in a container that lies inside
        (Kind("directory", "zstd", route="host"), 200),
        (Kind("directory", "zstd", route="container"), 100),
        # the plain copy lies beside the archive that is made of it
        (Kind("sqlite", "gzip", route="file"), 100 + 700),
        (Kind("sqlite", "none", route="file"), 100),
    ],
)
def test_the_room_it_needs_is_what_lies_there_while_it_is_made(kind: Kind, needed_mib: int) -> None:
    line = made(100, format=kind.format, compression=kind.compression, raw_size_bytes=700 << 20)
    coming = forecast([line], FREE, kind)
    assert coming is not None
    assert (coming.size_bytes, coming.needs_bytes) == (100 << 20, needed_mib << 20)
    assert coming.fits
    coming = forecast([line], (needed_mib << 20) - 1, kind)
    assert coming is not None
    assert not coming.fits


def test_without_a_database_to_ask_the_newest_backup_says_by_which_way() -> None:
    line = made(600, format="directory")
    coming = forecast([line], FREE)
    assert coming is not None
    assert (coming.needs_bytes, coming.fits) == (1200 << 20, False)


@pytest.mark.parametrize("raw", [None, "much", [1], 2.5])
def test_a_raw_size_that_is_no_number_is_not_used(raw: object) -> None:
    coming = forecast([made(100, format="sqlite", compression="gzip", raw_size_bytes=raw)], FREE)
    assert coming is not None
    assert coming.needs_bytes == 200 << 20
