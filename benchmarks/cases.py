"""What is measured and what is aimed at: one row per figure of the results page."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["GROUPS", "PARTS", "ROWS", "Figure", "Row", "rows_of"]


class Figure(StrEnum):
    """How a row's figure is made of its samples."""

    RATIO = "ratio"
    """Our seconds by the yardstick's, pair by pair; the median."""
    SIZE = "size"
    """Our archive's bytes by the yardstick's."""
    MORE_SECONDS = "more seconds"
    """Our seconds less the yardstick's, pair by pair; the median."""
    MORE_CPU = "more CPU"
    """The same of CPU time, in milliseconds."""
    SECONDS = "seconds"
    PEAK = "peak"
    """The most memory our own process held, in MB; the largest of all rounds."""
    FLAT = "flat"
    """By how much that differs, at a tenth of the data and with values of 50 MB, from what it is at full size."""


PARTS = ("itself", "whole")
"""The dump or load alone; the task as it is typed."""


@dataclass(frozen=True)
class Row:
    """One figure: whose, beside what, and how much it may be."""

    group: str
    what: str
    """For people, unique."""
    contender: str
    figure: Figure
    yardstick: str = ""
    part: str = "whole"
    aim: float | None = None
    """The most it may be; None: shown for comparison only."""


def _route(
    group: str, name: str, yardstick: str, itself: float, whole: float, peak_mb: float
) -> tuple[Row, ...]:
    """The three figures every route has."""
    work = "load" if group == "restore" else "dump"
    alone = name if group == "restore" else f"{name} itself"
    return (
        Row(group, f"{name}: the {work} itself", alone, Figure.RATIO, yardstick, "itself", itself),
        Row(group, f"{name}: the whole task", name, Figure.RATIO, yardstick, aim=whole),
        Row(group, f"{name}: peak memory", name, Figure.PEAK, aim=peak_mb),
    )


def _flat(name: str) -> Row:
    return Row("memory", f"{name}: memory stays flat", name, Figure.FLAT, aim=0.10)


PLAIN = "pg_dump, plain, to null"
FAST = "pg_dump -Fc -Z1"
OUTSIDE = "pg_dump outside, plain, to null"
ROWS: tuple[Row, ...] = (
    *_route("dump", ".sql.gz", PLAIN, 1.2, 1.7, 64),
    *_route("dump", ".dump with zstd", PLAIN, 1.2, 1.7, 64),
    *_route("dump", ".dir.tar, two jobs", PLAIN, 0.8, 1.2, 64),
    Row("dump", "for comparison: pg_dump | gzip", "pg_dump | gzip", Figure.RATIO, PLAIN),
    Row("dump", "for comparison: pg_dump | pigz", "pg_dump | pigz", Figure.RATIO, PLAIN),
    *_route("gzip", ".dump without zstd", FAST, 1.05, 1.4, 64),
    *_route("container", "container, compressed inside", OUTSIDE, 1.2, 1.8, 64),
    *_route("container", "container, uncompressed", OUTSIDE, 1.35, 1.8, 64),
    Row("container", "container: one exec call", "exec call", Figure.SECONDS, part="itself", aim=0.1),
    *_route("restore", "restore of a .dump", "pg_restore -1", 0.75, 1.0, 64),
    *_route("sqlite", "SQLite backup", "cp", 1.7, 2.8, 48),
    Row("sqlite", "for comparison: sqlite3 .backup", "sqlite3 .backup", Figure.RATIO, "cp"),
    Row(
        "peer",
        "db.backup, default settings",
        "db.backup",
        Figure.RATIO,
        "django-dbbackup, default settings",
        aim=0.35,
    ),
    Row("peer", "its archive's size", "db.backup", Figure.SIZE, "django-dbbackup, default settings", aim=1.0),
    Row(
        "small",
        "a small database: db.backup",
        "db.backup, small",
        Figure.MORE_SECONDS,
        "pg_dump -Fc, small",
        aim=0.6,
    ),
    Row(
        "many",
        "two thousand tables: db.backup",
        "db.backup, 2,000 tables",
        Figure.RATIO,
        "pg_dump -Fc, 2,000 tables",
    ),
    *(_flat(name) for name in (".sql.gz", ".dump", ".dir.tar", "container", "SQLite")),
    Row(
        "list",
        "a mounted dbtasks in invoke --list",
        "invoke --list, mounted",
        Figure.MORE_CPU,
        "invoke --list, empty",
        aim=15,
    ),
)
GROUPS = tuple(dict.fromkeys(row.group for row in ROWS))


def rows_of(group: str) -> tuple[Row, ...]:
    return tuple(row for row in ROWS if row.group == group)
