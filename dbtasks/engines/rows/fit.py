"""Whether rows of a document fit into tables, whichever engine's: what is refused before anything is touched, and what is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...errors import Refused
from ...models import Archive, Revision
from ...nouns import some
from ...rows.fits import Fit, SameType, compare
from ...rows.schema import PortableSchema
from .archive import Head

__all__ = [
    "compare_rows",
    "leaning",
    "leaning_words",
    "not_by_itself",
    "not_made",
    "other_revision",
    "prove_tables",
    "refuse_differences",
    "refuse_referring",
    "rows_stay",
]

LISTED = 5
MAKE_THEM = "make them first, as the application's migrations do, up to the revision that the file is of"
MAKE_THEM_OR_BESIDE = (
    "tables are made where there are none, of a backup with definitions; make them first, as the application's"
    " migrations do, or restore into a new database: --into=NAME"
)


def compare_rows(head: Head, live: PortableSchema, same_type: SameType) -> Fit:
    """Compare the tables of a backup with those that are there, by what it tells of them; what it does not is told.

    An older tool's is compared by names: there a value is what the column says, or nothing.
    """
    fit = compare(head.schema, head.filled, live, same_type if head.types_known else None)
    if head.types_known or head.older:
        return fit
    names = some([name for name in head.filled if name not in fit.lacking], LISTED)
    untold = f"the backup does not tell the types of its columns, and a type that is another one here may round, cut or change values: {names}"
    return replace(fit, told=(*fit.told, untold))


def prove_tables(archive: Archive, head: Head, into: str, lacking: Sequence[str]) -> None:
    """See that the backup has rows, and that every table of them is there: none is created.

    Raises:
        Refused: it is not so.
    """
    if not head.filled:
        raise Refused(f"{archive.path.name} holds no rows", state="nothing was touched")
    if lacking:
        raise Refused(
            f"{into} lacks tables of {archive.path.name}: {some(lacking, LISTED)}",
            details="\n".join(lacking[LISTED:100]),
            hint=MAKE_THEM if head.older else MAKE_THEM_OR_BESIDE,
            state="nothing was touched",
        )


def refuse_differences(archive: Archive, into: str, fit: Fit) -> None:
    """Refuse rows that would not be the same in the tables that are there.

    Raises:
        Refused: names every difference.
    """
    if fit.refused:
        raise Refused(
            f"the tables of {into} are not those of {archive.path.name}: {fit.refused[0]}",
            details="\n".join(fit.refused[1:20]),
            state="nothing was touched",
            hint="bring the schema to the backup's revision first (its migrations), or restore another backup",
        )


def refuse_referring(head: Head, referring: Sequence[tuple[str, str, str]]) -> None:
    """Refuse to empty tables that others refer to, whose rows are not in the backup: table, table referred to, key.

    Raises:
        Refused: there is one; names all.
    """
    if not referring:
        return
    table, other, key = referring[0]
    bare = head.schema.table(table) is not None
    lacks = f"the rows of {table} were left out of the backup" if bare else f"{table} is not in the backup"
    raise Refused(
        f"{lacks} and {'refer' if bare else 'refers'} to {other} ({key}): its rows would refer to rows that are gone",
        details="\n".join(f"{table}: {key} to {other}" for table, other, key in referring[1:20]),
        state="nothing was touched",
        hint=f"restore a backup that holds {'these rows' if bare else 'that table'} too, or take the key away first",
    )


def not_by_itself(referring: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Warn of tables whose rows a backup leaves out and that refer into it: table, table referred to. See `refuse_referring`."""
    return tuple(
        f"the rows of {table} are not in it and refer to {other}: it cannot go back into tables where that key stands"
        for table, other in sorted(set(referring))
    )


def leaning(head: Head) -> list[tuple[str, str]]:
    """Return the tables with rows in a backup that refer to tables without any in it, each with the one referred to."""
    # SQLite's keys name a table in any case; the rows of a partitioned table are its partitions'
    held = {name.lower() for name in head.filled}
    parts = {table.name.lower(): table.partition_of.lower() for table in head.schema.tables}
    waiting = list(held)
    while waiting:
        above = parts.get(waiting.pop(), "")
        if above and above not in held:
            held.add(above)
            waiting.append(above)
    return sorted(
        {
            (table.name, key.references)
            for table in head.schema.tables
            if table.name.lower() in held
            for key in table.foreign_keys
            if key.references.lower() not in held
        }
    )


def leaning_words(pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Warn of tables that refer to rows which a backup leaves out: table, table referred to."""
    return tuple(
        f"{table} refers to {other}, whose rows are not in the backup: restored where no tables are, its rows lack them"
        for table, other in sorted(set(pairs))
    )


def other_revision(archive: Archive, live: Revision | None) -> tuple[str, ...]:
    """Warn where the migration tool's table will tell another revision than that of the definitions, which stay."""
    backup = archive.manifest.revision if archive.manifest else None
    if backup is None or live is None or backup == live:
        return ()
    old, new = ", ".join(backup.revisions) or "none", ", ".join(live.revisions) or "none"
    return (
        f"the definitions here are of {live.tool}'s revision {new} and stay so, and its table will say {old}, as in the"
        " backup: correct it before the next migration",
    )


def not_made(archive: Archive) -> tuple[str, ...]:
    """Warn of what a database that is made of a rows backup will not have."""
    lacks = archive.manifest.not_included if archive.manifest else ()
    return (f"not in the backup, and not made: {'; '.join(lacks)}",) if lacks else ()


def rows_stay(outside: Sequence[str], around: Sequence[str]) -> tuple[str, ...]:
    """Say what of a live database a restore of rows does not touch: the other tables, and what is there and no table."""
    return (*(f"table {name}" for name in outside), *around)
