"""What somebody else's database file tells of itself."""

from __future__ import annotations

from ...events import OnEvent, Phase, ignore
from ...models import Archive, TableCount
from ...plans import Described
from . import facts, files
from .check import laid_open

__all__ = ["describe"]

WRITER_AT = slice(96, 100)
"""Where a file's header holds the version of the SQLite that wrote it last."""


def describe(archive: Archive, migration_table: str | None, on_event: OnEvent = ignore) -> Described:
    """Count every table of an archive at rest, and name the foreign keys that do not hold."""
    on_event(Phase("count", archive.path.name))
    with laid_open(archive, on_event) as plain, files.translated(archive.path):
        examined = facts.examine(plain)
        with files.opened(plain, "ro", immutable=True) as connection:
            known = facts.facts_of(connection, plain, migration_table)
        with plain.open("rb") as stream:
            writer = int.from_bytes(stream.read(100)[WRITER_AT], "big")
    uncounted = [name for name, rows in examined.rows.items() if rows is None]
    return Described(
        tables=tuple(TableCount(name, rows) for name, rows in examined.rows.items()),
        server_version=_version(writer),
        encoding=known.encoding,
        revision=known.revision,
        raw_size_bytes=known.size_bytes,
        not_included=() if examined.rows else ("no tables were there: the file is empty",),
        unknown=(
            "of which database it is",
            *(() if writer else ("the version of the SQLite that wrote it",)),
        ),
        warnings=(
            *(f"{name} was not counted: its module is not in this SQLite" for name in uncounted),
            *examined.broken,
        ),
    )


def _version(number: int) -> str:
    """Spell 3040001 as SQLite 3.40.1; empty where the header does not tell."""
    return f"SQLite {number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}" if number else ""
