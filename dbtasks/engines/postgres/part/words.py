"""What is said of single tables that come back, in a plan and on the way: the same whatever they come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ....errors import Busy, Refused, RightMissing
from ....sessions import Session
from ..facts import Relation, count_rows, reading_snapshot, table_name
from ..script.statements import Name, quoted_pair
from .in_the_way import UNTOUCHED

__all__ = [
    "changed_since",
    "comes_alone",
    "comes_without_owner",
    "count_live",
    "drops_of",
    "only_the_table",
    "part_steps",
    "referred_before",
    "would_empty",
]


def part_steps(
    database: str, *, emptied: Sequence[Name], made: Sequence[str], copy_of: str = ""
) -> tuple[str, ...]:
    """Return what is done, in order; `copy_of`: what is made is a copy of that."""
    steps = []
    if emptied:
        named = ", ".join(table_name(*name) for name in emptied)
        steps.append(f"empty {named} and fill it from the backup, without firing triggers")
    if made:
        beside = f" as a copy of {copy_of}, without foreign keys and triggers" if copy_of else ""
        steps.append(f"create {', '.join(made)}{beside}, with the rows of the backup")
    steps[0] = f"in one transaction of {database}: {steps[0]}"
    return (*steps, "compare row counts and foreign keys, then COMMIT; until then nothing is changed")


def count_live(session: Session, emptied: Iterable[Relation]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Count the rows that are replaced; where that cannot be done, say why: it is no reason against it."""
    try:
        with reading_snapshot(session):
            counted = count_rows(session, list(emptied))
    except (RightMissing, Busy) as exc:
        return {}, (f"the live rows were not counted: {exc.message}",)
    return {str(relation): rows for relation, rows in counted.items()}, ()


def drops_of(made: Iterable[Name]) -> tuple[str, ...]:
    """Return the statement that takes made tables away again, if there are any."""
    names = ", ".join(map(quoted_pair, made))
    # in one: they may refer to each other
    return (f"DROP TABLE {names};",) if names else ()


def comes_alone(name: Name, parent: Name) -> str:
    """Warn of a partition that becomes an ordinary table."""
    return f"{table_name(*name)} was a partition of {table_name(*parent)}, which is not here: it comes alone"


def comes_without_owner(sequence: Name, owner: Name) -> str:
    """Warn of a sequence whose table is not there."""
    return f"the sequence {table_name(*sequence)} belonged to {table_name(*owner)}, which is not here: it comes without"


def referred_before(name: Name, other: Name, statement: str) -> str:
    """Warn of a foreign key of a live table that does not come back, with the words that make it."""
    return (
        f"{table_name(*name)} referred to {table_name(*other)} when the backup was made, and does not after this:"
        f" {statement}"
    )


def only_the_table(names: Iterable[Name]) -> str:
    """Warn of tables that come without rows."""
    named = ", ".join(table_name(*name) for name in names)
    return f"{named}: the rows were left out of the backup, only the table comes"


def would_empty(names: Iterable[Name], backup: str) -> Refused:
    """Return what is said where a backup has no rows to put in the place of others."""
    named = ", ".join(table_name(*name) for name in names)
    return Refused(
        f"the rows of {named} were left out of {backup}: replacing what is there would empty it",
        state=UNTOUCHED,
        hint="choose another backup (db.list)",
    )


def changed_since() -> Refused:
    """Return what is said where the tables are not as they were when they were chosen."""
    return Refused(
        "the tables or their partitions were changed since this was planned", hint="look again: --dry-run"
    )
