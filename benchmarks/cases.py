"""What is measured and what is aimed at: one row per figure of the results page."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "FLOOR",
    "GROUPS",
    "IN_ONE",
    "PARTS",
    "PGLOADER",
    "ROWS",
    "SAME_ROWS",
    "SCRIPTS",
    "TWICE",
    "Figure",
    "Row",
    "rows_of",
]


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
    CPU = "CPU"
    """The CPU time that our work itself took, by that of all the yardstick did, pair by pair; the median."""
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
    loads = group.endswith("restore")
    work = "load" if loads else "dump"
    alone = name if loads else f"{name} itself"
    return (
        Row(group, f"{name}: the {work} itself", alone, Figure.RATIO, yardstick, "itself", itself),
        Row(group, f"{name}: the whole task", name, Figure.RATIO, yardstick, aim=whole),
        Row(group, f"{name}: peak memory", name, Figure.PEAK, aim=peak_mb),
    )


def _flat(name: str) -> Row:
    return Row("memory", f"{name}: memory stays flat", name, Figure.FLAT, aim=0.10)


PLAIN = "pg_dump, plain, to null"
FAST = "pg_dump -Fc -Z1"
DBRESTORE = "django-dbbackup's dbrestore, default settings"
SAME_ROWS = "pg_dump -Fc -Z1, by turns with rows"
"""A name of its own: samples are told apart by it."""
IN_ONE = "pg_restore -1, by turns with rows"
TWICE = "pg_dump, plain, to null, twice"
PGLOADER = "pgloader"
FLOOR = "psql: COPY of the same rows, no key"
OUTSIDE = "pg_dump outside, plain, to null"
FLAT = (".sql.gz", ".dump", ".dir.tar", "rows backup", "restore of rows", "container", "SQLite")
"""The routes whose memory is compared at several sizes."""
SCRIPTS = ("COPY", "INSERTs", "INSERTs beyond ASCII")
"""What the scripts are made of that the gate reads and psql loads."""
ROWS: tuple[Row, ...] = (
    *_route("dump", ".sql.gz", PLAIN, 1.2, 1.7, 64),
    *_route("dump", ".dump with zstd", PLAIN, 1.2, 1.7, 64),
    *_route("dump", ".dir.tar, two jobs", PLAIN, 0.8, 1.2, 64),
    Row("dump", "for comparison: pg_dump | gzip", "pg_dump | gzip", Figure.RATIO, PLAIN),
    Row("dump", "for comparison: pg_dump | pigz", "pg_dump | pigz", Figure.RATIO, PLAIN),
    *_route("gzip", ".dump without zstd", FAST, 1.05, 1.4, 64),
    *_route("rows", "rows backup", SAME_ROWS, 1.0, 1.3, 100),
    *_route("container", "container, compressed inside", OUTSIDE, 1.2, 1.8, 64),
    *_route("container", "container, uncompressed", OUTSIDE, 1.35, 1.8, 64),
    Row("container", "container: one exec call", "exec call", Figure.SECONDS, part="itself", aim=0.1),
    *_route("rows-restore", "restore of rows", IN_ONE, 1.35, 1.5, 64),
    Row("rows-diff", "db.diff --rows: the whole task", "comparison row by row", Figure.RATIO, TWICE),
    Row("rows-diff", "db.diff --rows: peak memory", "comparison row by row", Figure.PEAK, aim=100),
    Row(
        "migrate",
        "SQLite into PostgreSQL: the load itself, keys included",
        "db.migrate",
        Figure.RATIO,
        PGLOADER,
        "itself",
        0.8,
    ),
    Row(
        "migrate",
        "SQLite into PostgreSQL: the whole task, the source's backup and the proof in it",
        "db.migrate",
        Figure.RATIO,
        PGLOADER,
        aim=1.3,
    ),
    Row("migrate", "SQLite into PostgreSQL: peak memory", "db.migrate", Figure.PEAK, aim=128),
    Row(
        "migrate", "for comparison: the load beside a bare COPY", "db.migrate", Figure.RATIO, FLOOR, "itself"
    ),
    Row("migrate", "for comparison: pgloader beside a bare COPY", PGLOADER, Figure.RATIO, FLOOR),
    *_route("restore", "restore of a .dump", "pg_restore -1", 0.75, 1.0, 64),
    Row(
        "restore",
        "db.restore, default settings: safety backup and ANALYZE in it",
        "db.restore, default settings",
        Figure.RATIO,
        DBRESTORE,
    ),
    Row("restore", "for comparison: dbrestore", DBRESTORE, Figure.RATIO, "pg_restore -1"),
    *(
        Row(
            "gate",
            f"the gate reads {what}: beside psql's own work",
            f"gate, {what}",
            Figure.CPU,
            f"psql, {what}",
            aim=1.0,
        )
        for what in SCRIPTS
    ),
    *(
        Row("gate", f"the gate reads {what}: peak memory", f"gate, {what}", Figure.PEAK, aim=64)
        for what in SCRIPTS
    ),
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
    *(_flat(name) for name in FLAT),
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
