"""Which tables of a SQLite file a `rows` backup is to hold, and what it will not hold."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ....errors import UsageError
from ....near import did_you_mean
from ....plans import DumpRequest
from ....rows.sqlite.schema import plain_tables, virtual_tables
from ...parts_left_out import parts_left_out
from .. import facts

__all__ = ["Chosen", "choose_rows", "left_out", "no_tables"]

MADE_OF = "SELECT name FROM sqlite_master WHERE type = ? ORDER BY name"
NAMED = 3
PRAGMAS = "PRAGMA settings of the file but user_version and application_id"


@dataclass(frozen=True)
class Chosen:
    """What is backed up."""

    with_rows: tuple[str, ...]
    without_rows: tuple[str, ...]
    not_included: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def choose_rows(
    connection: sqlite3.Connection,
    request: DumpRequest,
    *,
    exclude_tables: Sequence[str] = (),
    exclude_data: Sequence[str] = (),
) -> Chosen:
    """Look the names of a request up; the last two come from the settings, and may name what is not there.

    Raises:
        UsageError: a name does not exist, or nothing is left.
    """
    if request.schema_only and request.data_only:
        raise UsageError("--schema-only and --data-only leave nothing to back up")
    there = plain_tables(connection, facts.table_names(connection))
    wanted = set(_find(request.tables, there, "--table")) if request.tables else set(there)
    excluded = set(_find(request.exclude_tables, there, "--exclude-table"))
    bare = set(_find(request.exclude_data, there, "--exclude-data"))
    standing = {"exclude_tables": exclude_tables, "exclude_data": exclude_data}
    warnings = [
        f"{name}={t}: there is no such table"
        for name, held in standing.items()
        for t in held
        if t not in there
    ]
    excluded |= {t for t in exclude_tables if t in there and not (request.tables and t in wanted)}
    bare |= {t for t in exclude_data if t in there}
    kept = [name for name in there if name in wanted and name not in excluded]
    if request.tables and not kept:
        raise UsageError("--table and --exclude-table leave nothing to back up")
    bare = set(kept) if request.schema_only else bare & set(kept)
    return Chosen(
        with_rows=tuple(name for name in kept if name not in bare),
        without_rows=tuple(name for name in kept if name in bare),
        not_included=parts_left_out(
            request, wanted=_listed(wanted), excluded=_listed(excluded), bare=_listed(bare)
        ),
        warnings=tuple(warnings),
    )


def _find(names: Iterable[str], there: Sequence[str], flag: str) -> list[str]:
    for name in names:
        if name not in there:
            hint = did_you_mean(name, there) or f"there are {', '.join(there[:10])}"
            raise UsageError(f"{flag}={name}: there is no such table", hint=hint if there else "")
    return list(names)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def left_out(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Say what there is that no `rows` backup holds; the last entry is what it never holds."""
    return (*_found(connection), f"rowids that are no column, {PRAGMAS}")


def no_tables(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Say what there is beside the tables of a file that rows go into: all of it stays."""
    return (*_found(connection), PRAGMAS)


def _found(connection: sqlite3.Connection) -> list[str]:
    found = {
        ("view", "views"): [str(name) for (name,) in connection.execute(MADE_OF, ("view",))],
        ("trigger", "triggers"): [str(name) for (name,) in connection.execute(MADE_OF, ("trigger",))],
        ("virtual table", "virtual tables"): list(virtual_tables(connection)),
    }
    return [
        f"{len(names):,} {one if len(names) == 1 else many} ({', '.join(names[:NAMED])}{', …' * (len(names) > NAMED)})"
        for (one, many), names in found.items()
        if names
    ]
