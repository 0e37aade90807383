"""The migration step: where a backup's schema migrations stand beside the live ones, and the command that goes on from there.

Pure. Only what the tools' own tables tell is known: most keep every migration
they applied, so that two of them can be put in order; Alembic keeps its heads
only, whose identifiers tell no order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from .models import Revision

__all__ = ["MigrationStep", "Order", "migration_step"]


class Order(StrEnum):
    """How a backup's migrations stand to those it is compared with."""

    SAME = "same"
    OLDER = "older"
    """The backup lacks some that are applied there."""
    NEWER = "newer"
    """The backup has some that are not applied there."""
    DIVERGED = "diverged"
    """Each has some that the other lacks."""
    UNKNOWN = "unknown"
    """The tool's table does not tell, or only one of the two has one."""


@dataclass(frozen=True)
class MigrationStep:
    """What lies between the migrations of a backup and those it is compared with."""

    tool: str
    """As people call it: `alembic`, `rails`, `golang-migrate`."""
    backup: Revision | None
    against: Revision | None
    order: Order
    only_in_backup: tuple[str, ...] = ()
    only_against: tuple[str, ...] = ()
    """Migrations that only one of the two has; empty for tools that keep no list."""
    command: str = ""
    """What brings a restored backup up to the code's schema."""
    note: str = ""
    """What has to be known before it is run; empty where it is nothing."""


# `schema_migrations` with nothing but versions belongs to two tools; see `_named`.
COMMANDS = {
    "alembic": "alembic upgrade head",
    "django": "python manage.py migrate",
    "flyway": "flyway migrate",
    "liquibase": "liquibase update",
    "rails": "bin/rails db:migrate",
    "dbmate": "dbmate up",
    "golang-migrate": 'migrate -path migrations -database "$DATABASE_URL" up',
    "ecto": "mix ecto.migrate",
    "prisma": "npx prisma migrate deploy",
    "knex": "npx knex migrate:latest",
    "sqlx": "sqlx migrate run",
    "goose": "goose up",
    "ef": "dotnet ef database update",
}
RAILS_TABLE = "ar_internal_metadata"
"""Rails makes it beside its `schema_migrations`; dbmate does not."""
DIRTY = " (dirty)"


def migration_step(
    backup: Revision | None, against: Revision | None, tables: Iterable[str] = ()
) -> MigrationStep | None:
    """Compare two revisions; None where neither side shows a migration tool.

    `tables` are those of both sides: of two tools with one table, the ones
    beside it tell which it is.
    """
    known = backup or against
    if known is None:
        return None
    names = {name.rpartition(".")[2].lower() for name in tables}
    tool = _named(known.tool, names)
    order, ours, theirs = _order(backup, against)
    return MigrationStep(
        tool=tool,
        backup=backup,
        against=against,
        order=order,
        only_in_backup=ours,
        only_against=theirs,
        command=_command(tool, known),
        note=_note(backup, against),
    )


def _named(tool: str, tables: set[str]) -> str:
    if tool != "schema_migrations":
        return tool
    return "rails" if RAILS_TABLE in tables else "dbmate"


def _command(tool: str, revision: Revision) -> str:
    several = tool == "alembic" and len(revision.revisions) > 1
    return "alembic upgrade heads" if several else COMMANDS.get(tool, "")


def _order(
    backup: Revision | None, against: Revision | None
) -> tuple[Order, tuple[str, ...], tuple[str, ...]]:
    if backup is None or against is None or backup.tool != against.tool:
        return Order.UNKNOWN, (), ()
    if sorted(backup.revisions) == sorted(against.revisions):
        return Order.SAME, (), ()
    if backup.tool == "alembic":
        return Order.UNKNOWN, (), ()
    if backup.tool == "golang-migrate":
        return _by_number(backup, against), (), ()
    here, there = set(backup.revisions), set(against.revisions)
    ours = tuple(revision for revision in backup.revisions if revision not in there)
    theirs = tuple(revision for revision in against.revisions if revision not in here)
    if ours and theirs:
        return Order.DIVERGED, ours, theirs
    if not ours and not theirs:
        return Order.SAME, (), ()
    return (Order.NEWER if ours else Order.OLDER), ours, theirs


def _by_number(backup: Revision, against: Revision) -> Order:
    """Compare where the tool keeps only the last number; a table without a line is the very beginning."""
    numbers = [_number(side) for side in (backup, against)]
    if None in numbers:
        return Order.UNKNOWN
    here, there = (number or 0 for number in numbers)
    if here == there:
        return Order.SAME
    return Order.OLDER if here < there else Order.NEWER


def _number(revision: Revision) -> int | None:
    text = revision.revisions[-1].removesuffix(DIRTY) if revision.revisions else "0"
    return int(text) if text.isdecimal() else None


def _note(backup: Revision | None, against: Revision | None) -> str:
    if backup and against and backup.tool != against.tool:
        return f"the backup's schema is kept by {backup.tool}, the other one's by {against.tool}"
    if backup and any(revision.endswith(DIRTY) for revision in backup.revisions):
        return "a migration broke off before the backup was made: repair that first (migrate force VERSION)"
    return ""
