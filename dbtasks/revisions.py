"""Where an application's schema migrations stand, read from the tool's own table.

A table is recognised by its name and its columns: `schema_migrations` belongs
to four tools, and only the columns tell which. Works on any database whose
tables can be listed and selected from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .models import Revision

__all__ = ["find_revision", "known_tables", "revision_summary"]

Row = Sequence[Any]
Select = Callable[[str, tuple[str, ...]], Iterable[Row]]
"""Returns the given columns of all rows of a table, in any order."""
SHOWN = 3


@dataclass(frozen=True)
class _Tool:
    """One migration tool: how its table is recognised and read."""

    name: str
    table: str
    columns: tuple[str, ...]
    """All of them must be there; they are what is selected."""
    read: Callable[[Sequence[Row]], list[str]]
    """Rows to revisions, oldest first."""


def find_revision(
    tables: Mapping[str, Sequence[str]], select: Select, table: str | None = None
) -> Revision | None:
    """Return the migration tool and its revisions, or None where no tool's table is found.

    `tables` maps each table (with its schema, where there are schemas) to its
    columns. `table` names the one to read, for tools that let it be renamed;
    it is then recognised by its columns alone.
    """
    for tool in TOOLS:
        for name in _candidates(tables, table or tool.table):
            found = _spelled(tool.columns, tables[name])
            if found:
                return Revision(tool.name, tuple(tool.read(list(select(name, found)))))
    return None


def known_tables(table: str | None = None) -> frozenset[str]:
    """Return the names, in lower case, worth looking for: each tool's, or the one that was named."""
    return frozenset({table.lower()} if table else {tool.table.lower() for tool in TOOLS})


def revision_summary(revision: Revision | None) -> str:
    """Return a revision in a few words: all heads of Alembic, else the newest and how many there are."""
    if revision is None:
        return ""
    if not revision.revisions:
        return f"{revision.tool}: none"
    if revision.tool == "alembic" and len(revision.revisions) <= SHOWN:
        return f"{revision.tool} {', '.join(revision.revisions)}"
    more = f" ({len(revision.revisions)} applied)" if len(revision.revisions) > 1 else ""
    return f"{revision.tool} {revision.revisions[-1]}{more}"


def _candidates(tables: Mapping[str, Sequence[str]], wanted: str) -> list[str]:
    """Return the tables of a name, with or without its schema; `public` goes before other schemas."""
    low = wanted.lower()
    found = [name for name in tables if name.lower() == low or name.lower().rpartition(".")[2] == low]
    return sorted(found, key=lambda name: (name.lower() != low, not name.startswith("public."), name))


def _spelled(wanted: tuple[str, ...], columns: Sequence[str]) -> tuple[str, ...] | None:
    """Return the wanted columns as this database spells them; None where one is missing."""
    known = {column.lower(): column for column in columns}
    if any(column.lower() not in known for column in wanted):
        return None
    return tuple(known[column.lower()] for column in wanted)


# -- how each tool's rows are read ---------------------------------------------


def _texts(rows: Sequence[Row]) -> list[str]:
    return sorted(str(row[0]) for row in rows)


def _numbered(rows: Sequence[Row]) -> list[str]:
    """(order, revision): in the order they were applied."""
    return [str(row[1]) for row in sorted(rows, key=lambda row: _rank(row[0]))]


def _versions(rows: Sequence[Row]) -> list[str]:
    """(version): by number where they are numbers."""
    return [str(row[0]) for row in sorted(rows, key=lambda row: _rank(row[0]))]


def _rank(value: Any) -> tuple[int, int, str]:
    text = str(value)
    return (0, int(text), "") if text.isdecimal() else (1, 0, text)


def _django(rows: Sequence[Row]) -> list[str]:
    return _numbered([(number, f"{app}.{name}") for number, app, name in rows])


def _flyway(rows: Sequence[Row]) -> list[str]:
    done = [(rank, version) for rank, version, success in rows if success and version is not None]
    return _numbered(done)


def _golang(rows: Sequence[Row]) -> list[str]:
    return [f"{version} (dirty)" if dirty else str(version) for version, dirty in rows]


def _prisma(rows: Sequence[Row]) -> list[str]:
    done = [(str(start), name) for name, start, finished, undone in rows if finished and not undone]
    return [name for _, name in sorted(done)]


def _sqlx(rows: Sequence[Row]) -> list[str]:
    return _versions([(version,) for version, success in rows if success])


def _goose(rows: Sequence[Row]) -> list[str]:
    """The last line about a version says whether it is applied; version 0 is the empty beginning."""
    state: dict[int, bool] = {}
    for _, version, applied in sorted(rows, key=lambda row: _rank(row[0])):
        state[int(version)] = bool(applied)
    return [str(version) for version in sorted(state) if state[version] and version]


# Of two tools with one table name, the one with more columns comes first.
TOOLS: tuple[_Tool, ...] = (
    _Tool("alembic", "alembic_version", ("version_num",), _texts),
    _Tool("django", "django_migrations", ("id", "app", "name"), _django),
    _Tool("flyway", "flyway_schema_history", ("installed_rank", "version", "success"), _flyway),
    _Tool("liquibase", "databasechangelog", ("orderexecuted", "id"), _numbered),
    _Tool("golang-migrate", "schema_migrations", ("version", "dirty"), _golang),
    _Tool("ecto", "schema_migrations", ("inserted_at", "version"), _numbered),
    _Tool("schema_migrations", "schema_migrations", ("version",), _versions),
    _Tool(
        "prisma",
        "_prisma_migrations",
        ("migration_name", "started_at", "finished_at", "rolled_back_at"),
        _prisma,
    ),
    _Tool("knex", "knex_migrations", ("id", "name", "batch"), _numbered),
    _Tool("sqlx", "_sqlx_migrations", ("version", "success"), _sqlx),
    _Tool("goose", "goose_db_version", ("id", "version_id", "is_applied"), _goose),
    _Tool("ef", "__EFMigrationsHistory", ("MigrationId",), _texts),
)
