"""Which tables a dump is to hold: names mean exactly the tables they name.

pg_dump takes `--table` for a pattern: upper case is lost, `p*` is many tables,
an unknown one beside a known one is ignored, and a partitioned table comes
without its partitions. So names are looked up here, partitions are added, and
pg_dump is given quoted names only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...errors import Refused, UsageError
from ...near import did_you_mean
from ...nouns import some
from ...plans import DumpRequest
from ...schemas import quoted
from ...sessions import Session
from ..parts_left_out import parts_left_out
from .dumping.extra import incomplete_by
from .facts import COUNTED, HYPERTABLE, INSIDE, PARTITIONED, SEQUENCE, Relation
from .hypertables import SCHEMAS

__all__ = ["Selection", "find_relations", "partition_trees", "select_tables", "split_name"]

TREES = """
    WITH RECURSIVE tree (root, oid) AS (
        SELECT c.oid, c.oid FROM pg_catalog.pg_class c WHERE c.relkind = 'p'
        UNION ALL
        SELECT tree.root, i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid)
    SELECT root, oid FROM tree WHERE root <> oid
"""
LARGE_OBJECT_TABLES = """
    SELECT DISTINCT a.attrelid FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid = ANY (%s)
      AND 'pg_catalog.oid'::pg_catalog.regtype IN (t.oid, t.typbasetype)
      AND EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)
"""

REFERENCES = """
    SELECT DISTINCT conrelid, confrelid FROM pg_catalog.pg_constraint
    WHERE contype = 'f' AND conrelid = ANY (%s) AND confrelid <> ALL (%s)
"""
LISTED = 10


@dataclass(frozen=True)
class Selection:
    """What of a database is dumped, looked up and proved to exist."""

    dumped: tuple[Relation, ...]
    """Everything whose definition or rows are in the dump."""
    with_rows: tuple[Relation, ...]
    """Tables that hold rows themselves and whose rows are in the dump."""
    without_rows: tuple[Relation, ...]
    """Tables whose definition is in the dump and whose rows are not."""
    arguments: tuple[str, ...] = ()
    """For pg_dump."""
    not_included: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def select_tables(
    session: Session,
    found: Sequence[Relation],
    request: DumpRequest,
    *,
    exclude_tables: Sequence[str] = (),
    exclude_data: Sequence[str] = (),
    large_objects: bool = True,
) -> Selection:
    """Look up the names of a request among the relations found; the last two come from the settings.

    A name in the settings that does not exist (yet, or any more) is a
    warning, one in the request is an error. A table asked for by name is not
    left out by the settings. `large_objects`: whether the format can hold any.

    Raises:
        UsageError: a name does not exist, or exists in several schemas; or nothing is left.
        Refused: one is a hypertable of TimescaleDB, or the inside of one.
    """
    if request.schema_only and request.data_only:
        raise UsageError("--schema-only and --data-only leave nothing to back up")
    trees = partition_trees(session, found)
    included = _all_of(find_relations(request.tables, found, "--table"), trees)
    standing, warnings = _standing((*exclude_tables,), found, "exclude_tables")
    standing_data, more = _standing((*exclude_data,), found, "exclude_data")
    excluded = _all_of(find_relations(request.exclude_tables, found, "--exclude-table"), trees)
    excluded |= _all_of(standing, trees) - included
    no_rows = _all_of(find_relations(request.exclude_data, found, "--exclude-data"), trees)
    no_rows |= _all_of(standing_data, trees)
    _refuse_hypertables(found, included | excluded | no_rows)
    dumped = [r for r in found if r not in excluded and (not request.tables or r in included)]
    if request.tables and not dumped:
        raise UsageError("--table and --exclude-table leave nothing to back up")
    large = _large_objects(session, request, dumped) if large_objects else ()
    tables = [relation for relation in dumped if relation.kind in COUNTED]
    bare = set(tables) if request.schema_only else no_rows
    return Selection(
        dumped=tuple(dumped),
        with_rows=tuple(table for table in tables if table not in bare),
        without_rows=tuple(table for table in tables if table in bare),
        arguments=_arguments(
            included if request.tables else set(), excluded, no_rows & set(dumped), bool(large)
        ),
        not_included=_not_included(request, included, excluded, no_rows & set(dumped)),
        warnings=(
            *warnings,
            *more,
            *large,
            *_lost_references(session, found, dumped),
            *_plain_tables(request, dumped),
        ),
    )


def split_name(name: str) -> tuple[str | None, str]:
    """Split `schema.table`, `"sch.ema"."ta.ble"` or `table`; without quotes the first dot splits.

    Raises:
        UsageError: a quote is not closed, or there are more than two parts.
    """
    parts: list[str] = []
    rest = name
    while True:
        if rest.startswith('"'):
            part, rest = _quoted(rest, name)
        elif parts or "." not in rest:
            part, rest = rest, ""
        else:
            part, _, rest = rest.partition(".")
            rest = f".{rest}"
        parts.append(part)
        if not rest:
            break
        if not rest.startswith(".") or len(parts) == 2:
            raise UsageError(f'{name!r} is not a table\'s name; write schema.table or "schema"."table"')
        rest = rest[1:]
    return (None, parts[0]) if len(parts) == 1 else (parts[0], parts[1])


def find_relations(names: Iterable[str], found: Sequence[Relation], flag: str) -> set[Relation]:
    """Look up each name exactly, upper and lower case apart.

    Raises:
        UsageError: one does not exist, or exists in several schemas and has none given.
    """
    return {_find(name, found, flag) for name in names}


def partition_trees(session: Session, found: Iterable[Relation]) -> dict[Relation, set[Relation]]:
    """Return all partitions, of all levels, of each partitioned table."""
    by_oid = {relation.oid: relation for relation in found}
    trees: dict[Relation, set[Relation]] = {}
    for root, child in session.rows(TREES):
        if root in by_oid and child in by_oid:
            trees.setdefault(by_oid[root], set()).add(by_oid[child])
    return trees


def _quoted(rest: str, name: str) -> tuple[str, str]:
    position = 1
    while True:
        end = rest.find('"', position)
        if end < 0:
            raise UsageError(f"{name!r}: a quote is not closed")
        if rest[end : end + 2] != '""':
            return rest[1:end].replace('""', '"'), rest[end + 1 :]
        position = end + 2


def _find(name: str, found: Sequence[Relation], flag: str) -> Relation:
    schema, table = split_name(name)
    matches = [r for r in found if (r.name == table and schema in (None, r.schema)) or r.name == name]
    if not matches:
        hint = did_you_mean(name, (str(r) for r in found if r.kind != SEQUENCE)) or _there_are(found)
        raise UsageError(f"{flag}={name}: there is no such table", hint=hint)
    if len(matches) > 1:
        where = ", ".join(str(relation) for relation in matches)
        raise UsageError(f"{flag}={name}: the name exists in several schemas", hint=f"say which one: {where}")
    return matches[0]


def _there_are(found: Sequence[Relation]) -> str:
    names = [str(relation) for relation in found if relation.kind in (*COUNTED, PARTITIONED)]
    return f"there are {some(names, LISTED)}" if names else "the database has no tables"


def _refuse_hypertables(found: Sequence[Relation], named: set[Relation]) -> None:
    """Refuse to take a hypertable apart: pg_dump would take or leave the empty table its chunks inherit from."""
    with_timescale = any(relation.kind in (HYPERTABLE, INSIDE) for relation in found)
    parts = sorted(
        str(relation)
        for relation in named
        if relation.kind in (HYPERTABLE, INSIDE) or (with_timescale and relation.schema.startswith(SCHEMAS))
    )
    if parts:
        raise Refused(
            f"{parts[0]} is a hypertable of TimescaleDB or part of one: its rows and what makes it one are in other"
            " tables, so that it can be neither backed up nor left out alone",
            state="nothing was written",
            hint="back up the whole database; COPY (SELECT * FROM ...) TO ... takes out the rows of one",
        )


def _plain_tables(request: DumpRequest, dumped: Sequence[Relation]) -> tuple[str, ...]:
    """Warn where definitions alone are backed up: what makes a hypertable are rows of TimescaleDB's catalog."""
    hypertables = [str(relation) for relation in dumped if relation.kind == HYPERTABLE]
    if not hypertables or not request.schema_only:
        return ()
    return (f"hypertables come back from it as plain tables: {', '.join(hypertables)}",)


def _standing(
    names: Iterable[str], found: Sequence[Relation], setting: str
) -> tuple[set[Relation], tuple[str, ...]]:
    known: set[Relation] = set()
    warnings = []
    for name in names:
        try:
            known.add(_find(name, found, setting))
        except UsageError as exc:
            warnings.append(exc.message)
    return known, tuple(warnings)


def _all_of(relations: set[Relation], trees: dict[Relation, set[Relation]]) -> set[Relation]:
    return relations.union(*(trees.get(relation, set()) for relation in relations))


def _large_objects(session: Session, request: DumpRequest, dumped: list[Relation]) -> tuple[str, ...]:
    """Warn where chosen tables point to large objects, which pg_dump leaves out of partial dumps."""
    if not request.tables or request.schema_only:
        return ()
    oids = {oid for (oid,) in session.rows(LARGE_OBJECT_TABLES, ([r.oid for r in dumped],))}
    pointing = [str(relation) for relation in dumped if relation.oid in oids]
    if not pointing:
        return ()
    return (f"{', '.join(pointing)} may refer to large objects: all large objects are included",)


def _lost_references(session: Session, found: Sequence[Relation], dumped: list[Relation]) -> tuple[str, ...]:
    """Warn of foreign keys to tables that are left out: without those a restore fails."""
    names = {relation.oid: str(relation) for relation in found}
    oids = [relation.oid for relation in dumped]
    pairs = sorted(
        (names[table], names[other])
        for table, other in session.rows(REFERENCES, (oids, oids))
        if table in names and other in names
    )
    return tuple(
        f"{table} refers to {other}, which is not in it: restoring it needs that table"
        for table, other in pairs
    )


def _arguments(
    included: set[Relation], excluded: set[Relation], no_rows: set[Relation], large: bool
) -> tuple[str, ...]:
    lists = (("--table", included), ("--exclude-table", excluded), ("--exclude-table-data", no_rows))
    arguments = [
        f"{flag}={quoted(relation.schema, relation.name)}"
        for flag, relations in lists
        for relation in sorted(relations, key=lambda relation: (relation.schema, relation.name))
    ]
    # the short spelling is the one every version knows
    return (*arguments, *(("-b",) if large else ()), *(("--strict-names",) if included else ()))


def _not_included(
    request: DumpRequest, included: set[Relation], excluded: set[Relation], no_rows: set[Relation]
) -> tuple[str, ...]:
    parts = parts_left_out(request, wanted=_names(included), excluded=_names(excluded), bare=_names(no_rows))
    partial = " ".join(incomplete_by(request.extra))
    return (*parts, f"what pg_dump's own arguments leave out: {partial}") if partial else parts


def _names(relations: set[Relation]) -> str:
    return ", ".join(sorted(str(r) for r in relations if r.kind not in (PARTITIONED, SEQUENCE))) or ", ".join(
        sorted(str(r) for r in relations)
    )
