"""A rows backup of the one engine for a database of the other: what its schema becomes, and how its values are spelled there.

Its rows are read once for that: types are chosen by what the values are, and what
fits into none is told before anything is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace

from ...errors import ArchiveDamaged, Refused, WrongEngine
from ...models import Archive, EngineName
from ...nouns import many
from ...rows.across.convert import unfit_for_sqlite
from ...rows.across.profile import Profile, profiles_of_batch
from ...rows.across.to_postgres import ToPostgres, to_postgres
from ...rows.across.to_sqlite import ToSqlite, to_sqlite
from ...rows.losses import CHANGE_FIRST, KEY_BROKEN, OR_MIGRATE, Loss, prove_losses
from ...rows.postgres.words import NotWritten
from ...rows.schema import PortableSchema
from .archive import Head, engine_of_rows, opened_rows

__all__ = ["Converted", "convert", "not_carried", "refuse_rows_across"]

BROKEN = (KeyError, IndexError, TypeError, ValueError, AttributeError, StopIteration, RecursionError)
"""What a row or a schema raises that somebody wrote by hand, and not well."""


@dataclass(frozen=True)
class Converted:
    """A backup as the other engine takes it."""

    head: Head
    """In the other engine's words; where several tables become one, with the rows of all of them."""
    names: Mapping[str, str]
    """Each table that has rows, and the one they go into."""
    hows: Mapping[str, tuple[str, ...]]
    """How the values of its columns are spelled, by `rows.convert`."""
    losses: tuple[Loss, ...]
    """What is not carried, and holds nothing up."""


def convert(archive: Archive, head: Head, into: EngineName) -> Converted | None:
    """Return what a backup becomes; None where it is of this engine, or an older tool's.

    Raises:
        Refused: something of it cannot go there; names all of it. ArchiveDamaged: it does not hold together.
    """
    if engine_of_rows(archive) in (into, None):
        return None
    if not head.typed:
        raise WrongEngine(
            f"{archive.path.name} holds rows of another engine, without the definitions of their tables",
            state="nothing was touched",
        )
    try:
        found = _for_postgres(archive, head) if into is EngineName.POSTGRESQL else _for_sqlite(archive, head)
    except NotWritten as exc:
        raise Refused(
            f"the schema in {archive.path.name} is nothing that PostgreSQL writes: it holds {exc}",
            state="nothing was touched",
        ) from exc
    except BROKEN as exc:
        raise ArchiveDamaged(
            f"{archive.path.name} is not a whole rows file: its rows or its schema do not hold together",
            details=f"{type(exc).__name__}: {exc}",
        ) from exc
    prove_losses(
        found.losses, accepted=True, hint=OR_MIGRATE if into is EngineName.POSTGRESQL else CHANGE_FIRST
    )
    return found


def not_carried(converted: Converted | None) -> tuple[str, ...]:
    """Warn of what does not go to the other engine."""
    return tuple(map(str, converted.losses)) if converted else ()


def refuse_rows_across(archive: Archive, into: str) -> None:
    """Refuse rows of the other engine where tables are: which of them would be meant nobody said.

    Raises:
        WrongEngine: always.
    """
    raise WrongEngine(
        f"{archive.path.name} holds a {engine_of_rows(archive)} database, and {into} has tables already",
        hint="its rows go where no tables are: --into=NAME",
        state="nothing was touched",
    )


def _for_postgres(archive: Archive, head: Head) -> Converted:
    known: dict[str, dict[str, Profile]] = {}
    with opened_rows(archive) as document:
        for header in document.headers():
            table = head.schema.table(header.name)
            if table is None:
                continue
            profiles = {name: Profile() for name in header.columns}
            with closing(document.rows(table)) as batches:
                for batch in batches:
                    profiles_of_batch(batch, profiles)
            known[header.name] = profiles
    mapped = to_postgres(head.schema, known)
    losses = (*mapped.losses, *_broken_keys(archive, head, mapped))
    return _converted(head, mapped.schema, mapped.names, mapped.hows, losses)


def _broken_keys(archive: Archive, head: Head, mapped: ToPostgres) -> Iterator[Loss]:
    """Take the backup's word for rows that refer to none: SQLite lets them be, and PostgreSQL makes no such key."""
    for text in archive.manifest.warnings if archive.manifest else ():
        name, _, said = text.rpartition(": ")
        if not said.endswith(KEY_BROKEN) or name not in head.filled:
            continue
        before, made = head.schema.table(name), mapped.schema.table(mapped.names[name])
        if before and made and made.foreign_keys:
            # of several keys nobody says which it is, and one that is left behind holds nothing up
            yield Loss(f"{name}:", said, len(made.foreign_keys) == len(before.foreign_keys))


def _for_sqlite(archive: Archive, head: Head) -> Converted:
    mapped = to_sqlite(head.schema)
    losses = (*mapped.losses, *_no_numbers(archive, head, mapped))
    return _converted(head, mapped.schema, mapped.names, mapped.hows, losses)


def _no_numbers(archive: Archive, head: Head, mapped: ToSqlite) -> list[Loss]:
    found: list[Loss] = []
    with opened_rows(archive) as document:
        for header in document.headers():
            table = head.schema.table(header.name)
            hows = mapped.hows.get(header.name, ())
            if table is None or not {"real", "number"} & set(hows):
                continue
            counts = [0] * len(hows)
            with closing(document.rows(table)) as batches:
                for batch in batches:
                    counts = [sum(pair) for pair in zip(counts, unfit_for_sqlite(batch, hows), strict=True)]
            found += [
                Loss(
                    f"{header.name}.{name}",
                    f"holds NaN {many(count, 'time')}, which SQLite makes NULL of",
                    True,
                )
                for name, count in zip(header.columns, counts, strict=True)
                if count
            ]
    return found


def _converted(
    head: Head,
    schema: PortableSchema,
    names: Mapping[str, str],
    hows: Mapping[str, tuple[str, ...]],
    losses: tuple[Loss, ...],
) -> Converted:
    rows: dict[str, int] = {}
    for name in head.filled:
        rows[names[name]] = rows.get(names[name], 0) + head.rows[name]
    there = replace(head, schema=schema, filled=tuple(rows), rows=rows)
    return Converted(there, {name: names[name] for name in head.filled}, hows, losses)
