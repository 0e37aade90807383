"""Tables of SQLite beside tables of PostgreSQL that an application's migrations made: which are the same, and which columns. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...errors import UsageError
from ..across.candidates import needs_value
from ..across.folded import BINARY, FOLDED, WITHOUT, folded_keys
from ..losses import Loss
from ..postgres.spelling import split_name
from ..schema import Column, PortableSchema, Table
from ..sqlite.words import index_parts, tokens, unquoted

__all__ = ["Met", "met"]

SCHEMA = "public"
TEXTS = frozenset(("text", "character varying", "character"))
"""Types that compare as they stand."""
FOLDING = frozenset(("lower", "upper", "rtrim"))


@dataclass(frozen=True)
class Met:
    """What was found on both sides, and what on one only."""

    names: Mapping[str, str]
    columns: Mapping[Table, Sequence[tuple[Column, Column]]]
    """By SQLite's table: its columns that are carried, each with the one there."""
    types: Mapping[tuple[str, str], str]
    """Of those, by SQLite's names."""
    wants: Mapping[str, Sequence[str]]
    """SQLite's names of the tables that one refers to over there."""
    losses: tuple[Loss, ...]
    only_source: tuple[str, ...]
    only_target: tuple[str, ...]


def met(schema: PortableSchema, live: PortableSchema, casts: Mapping[tuple[str, str], str]) -> Met:
    """Pair the tables and columns of both sides by name, whatever their case.

    Raises:
        UsageError: a cast names a column of a table that is there.
    """
    losses: list[Loss] = []
    pairs: list[tuple[Table, Table]] = []
    only_source: list[str] = []
    for table in schema.tables:
        there = _table_there(table.name, live, losses)
        if there is None:
            only_source.append(table.name)
        else:
            pairs.append((table, there))
    columns = {table: tuple(_columns(table, there, losses)) for table, there in pairs}
    for table, there in pairs:
        if not columns[table]:
            losses.append(Loss(f"the table {table.name}", f"has no column that {there.name} has", True))
        losses += _weaker_keys(table, there, columns[table])
    names = {table.name: there.name for table, there in pairs}
    types = {
        (table.name, mine.name): theirs.type for table, found in columns.items() for mine, theirs in found
    }
    _prove_casts(casts, types)
    back = {there: name for name, there in names.items()}
    wants = {
        table.name: [back[one.references] for one in there.foreign_keys if one.references in back]
        for table, there in pairs
    }
    only_target = tuple(one.name for one in live.tables if one.name not in back and not one.partition_of)
    return Met(names, columns, types, wants, tuple(losses), tuple(only_source), only_target)


def _table_there(name: str, live: PortableSchema, losses: list[Loss]) -> Table | None:
    """Find a table by its name: as it is written, else in another case; in `public`, else in the one schema that has it."""
    known = [(split_name(one.name), one) for one in live.tables if not one.partition_of]
    same = [one for one in known if one[0][1] == name] or [
        one for one in known if one[0][1].lower() == name.lower()
    ]
    mine = [one for (schema, _), one in same if schema == SCHEMA] or [one for _, one in same]
    if len(mine) > 1:
        listed = ", ".join(one.name for one in mine)
        losses.append(Loss(f"the table {name}", f"could be any of {listed}", True))
    return mine[0] if mine else None


def _columns(table: Table, there: Table, losses: list[Loss]) -> list[tuple[Column, Column]]:
    exact = {column.name: column for column in there.columns}
    folded = {column.name.lower(): column for column in there.columns}
    found: list[tuple[Column, Column]] = []
    for column in table.columns:
        what = f"{table.name}.{column.name}"
        other = exact.get(column.name) or folded.get(column.name.lower())
        if other is None:
            losses.append(Loss(what, f"is not in {there.name}: its values stay behind"))
        elif other.generated:
            losses.append(Loss(what, f"is computed in {there.name}"))
        elif column.generated:
            why = f"is computed in SQLite, and not carried: {there.name} gives it its default or NULL"
            losses.append(Loss(what, why, needs_value(other)))
        else:
            found.append((column, other))
    known = {column.name.lower() for column in table.columns}
    for other in there.columns:
        if other.name.lower() in known or other.generated:
            continue
        if needs_value(other):
            why = "is not in SQLite, takes no NULL and has no default"
            losses.append(Loss(f"{there.name}.{other.name}", why, True))
        else:
            given = "its default" if other.default or other.identity else "NULL"
            losses.append(Loss(f"{there.name}.{other.name}", f"is not in SQLite: every row gets {given}"))
    return found


def _weaker_keys(table: Table, there: Table, pairs: Sequence[tuple[Column, Column]]) -> Iterator[Loss]:
    """Tell keys that take two texts for one in SQLite, and for two over there."""
    known = {mine.name: theirs for mine, theirs in pairs}
    for key in folded_keys(table):
        for name, collation in zip(key.columns, key.by, strict=True):
            other = known.get(name)
            is_text = other is not None and other.type.partition("(")[0] in TEXTS
            if other is None or collation == BINARY or not is_text or _is_folded(there, other):
                continue
            how = WITHOUT.get(collation, f"by {collation}")
            mend = FOLDED.get(collation, "{}").format(name)
            why = f"compares {how} in SQLite, and {there.name} does not: make a unique index over {mend} there to keep that"
            yield Loss(f"{key.place} of {table.name}", why)


def _is_folded(there: Table, column: Column) -> bool:
    """Whether something compares this column otherwise than as it stands; what it is, whoever made the table knows."""
    said = (tokens(one.definition) for one in there.indexes if index_parts(one.definition)[0])
    named = (set(map(unquoted, found)) for found in said)
    # of those that the server brings none takes two texts for one
    is_own = bool(column.collation) and not column.collation.startswith("pg_catalog.")
    return is_own or any(column.name in names and not names.isdisjoint(FOLDING) for names in named)


def _prove_casts(casts: Mapping[tuple[str, str], str], types: Mapping[tuple[str, str], str]) -> None:
    for column, type_ in casts.items():
        there = types.get(column)
        if there is not None and there != type_:
            raise UsageError(
                f"--cast={column[0]}.{column[1]}:{type_}: the table is there already, and the column is {there}",
                hint="leave the cast out: values are converted to what the column is",
            )
