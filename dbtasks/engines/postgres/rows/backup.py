"""A `rows` backup of PostgreSQL: psycopg2 alone, no client tool.

One transaction does all of it: REPEATABLE READ, because a statement must see
what the one before saw, and read-only. Not SERIALIZABLE DEFERRABLE: that may wait
for ever for a moment without writers, and what it adds only matters to
applications that rely on serializable isolation throughout; pg_dump's own
default is the same. The tables are locked before the snapshot is taken, so
nobody can empty or rewrite one under it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ....errors import DumpFailed, QueryFailed, RouteUnavailable, TargetUnreachable, UsageError
from ....events import OnEvent, Phase
from ....models import Compression, Format, Route, TableCount
from ....plans import Dumped, DumpPlan, DumpRequest
from ....rows.postgres.schema import invalid_indexes
from ....rows.postgres.source import CopySession, PostgresSource, fix_values
from ....rows.postgres.types import user_types
from ....rows.schema import UserType
from ....sessions import PsycopgSession, Session
from ....stores import Draft
from ...rows.document import SUFFIX, document_head, refuse_compression, write_document
from ...rows.fit import leaning_words, not_by_itself
from ..access import PythonAccess
from ..dumping.held_tables import UNTOUCHED, held_still, table_sizes, wanted_tables
from ..dumping.prove import prove_rights
from ..facts import (
    COUNTED,
    HYPERTABLE,
    PARTITIONED,
    SEQUENCE,
    Relation,
    database_facts,
    reading_snapshot,
    relations,
    revision_of,
    sequence_values,
)
from ..names import prove_name
from ..part.live_tables import foreign_keys_into
from ..tables import Selection
from .left_out import left_out

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["dump_rows", "plan_rows", "tool_version"]

BY_PG_DUMP = "--format=custom, sql or directory makes such a backup by pg_dump"


def plan_rows(engine: PostgresEngine, request: DumpRequest, *, globals_: bool) -> DumpPlan:
    """Prove that every row may be read, and say what the backup will hold and what not.

    Raises:
        UsageError: a flag is pg_dump's, or a table does not exist.
        RightMissing: the role may not read all of it; names what.
    """
    prove_name(engine.target.database)
    _refuse_others_flags(request, globals_=globals_)
    settings = engine.settings
    with engine.session() as session:
        facts = database_facts(session, migration_table=settings.migration_table)
        selection = wanted_tables(engine, request, Format.ROWS, session)
        prove_rights(session, selection, hint="use the owner's login or a role with BYPASSRLS")
        lacks = (*_no_hypertables(selection), *left_out(session))
        referring = _referring(session, selection)
        lean = _leaning(session, selection)
        invalid = invalid_indexes(session, [relation.oid for relation in selection.dumped])
    return DumpPlan(
        request=request,
        format=Format.ROWS,
        compression=Compression.GZIP,
        suffix=SUFFIX,
        route=Route.PYTHON,
        why=engine.why,
        facts=facts,
        tool_version=tool_version(),
        complete=False,
        # of a database that lost its tables it is nobody's `latest`
        all_tables=not selection.not_included and bool(facts.tables),
        not_included=(*selection.not_included, *lacks),
        tables=tuple(str(table) for table in selection.with_rows),
        tables_without_data=tuple(str(table) for table in selection.without_rows),
        warnings=(
            *selection.warnings,
            *not_by_itself(referring),
            *leaning_words(lean),
            *(f"the index {name} of {table} is invalid and not in it" for name, table in invalid),
            *_instead(engine, lacks),
            *(() if facts.tables else (f"{engine.target.name} holds no tables",)),
        ),
    )


def _no_hypertables(selection: Selection) -> tuple[str, ...]:
    names = [str(relation) for relation in selection.dumped if relation.kind == HYPERTABLE]
    return (f"hypertables but for their rows: a plain table in it is {', '.join(names)}",) if names else ()


def _referring(session: Session, selection: Selection) -> list[tuple[str, str]]:
    """Return the tables whose rows are left out and that refer into it, each with the table referred to."""
    return _keys_into(session, _holding(selection))


def _leaning(session: Session, selection: Selection) -> list[tuple[str, str]]:
    """Return the tables whose rows are in it and that refer to some whose rows alone are left out, each with that one.

    Of tables that are left out altogether the selection warns itself.
    """
    held = {str(relation) for relation in _holding(selection)}
    bare = [relation for relation in selection.without_rows if relation.kind != PARTITIONED]
    return [(table, other) for table, other in _keys_into(session, bare) if table in held]


def _holding(selection: Selection) -> list[Relation]:
    # a partitioned table's rows are its partitions'
    return [*selection.with_rows, *(r for r in selection.dumped if r.kind == PARTITIONED)]


def _keys_into(session: Session, into: Sequence[Relation]) -> list[tuple[str, str]]:
    names = {(relation.schema, relation.name): str(relation) for relation in relations(session)}
    return [
        (names[table], names[other])
        for _, table, other in foreign_keys_into(session, [relation.oid for relation in into])
        if table in names and other in names
    ]


def _instead(engine: PostgresEngine, lacks: tuple[str, ...]) -> tuple[str, ...]:
    """Warn of a backup that is less than what was asked for."""
    if not (isinstance(engine.access, PythonAccess) and engine.access.instead):
        return ()
    return (f"by psycopg2 alone, {engine.why}: such a backup is partial; not in it: {'; '.join(lacks)}",)


def tool_version() -> str:
    """Return psycopg2's name and version."""
    import psycopg2

    return f"psycopg2 {psycopg2.__version__.partition(' ')[0]}"


def _refuse_others_flags(request: DumpRequest, *, globals_: bool) -> None:
    given = {
        "--globals": globals_,
        "--jobs": request.jobs and request.jobs > 1,
        "--no-owner": request.no_owner,
        "arguments after --": request.extra,
    }
    for flag, value in given.items():
        if value:
            raise UsageError(f"{flag} means nothing for a rows backup", hint=BY_PG_DUMP)
    refuse_compression(request)


def dump_rows(engine: PostgresEngine, plan: DumpPlan, draft: Draft, on_event: OnEvent) -> Dumped:
    """Fill the draft with one document; returns only if all of it was read in one snapshot.

    Raises:
        DumpFailed: it broke off. Busy: a table was not given in time; names who holds it.
        StoreFull: no space left.
    """
    try:
        with engine.session() as session:
            return _dump(engine, plan, draft, on_event, session)
    except (QueryFailed, TargetUnreachable) as exc:
        raise DumpFailed(
            f"the dump of {engine.target.name} broke off: {exc.message}", details=exc.details, state=UNTOUCHED
        ) from exc


def _dump(
    engine: PostgresEngine, plan: DumpPlan, draft: Draft, on_event: OnEvent, session: Session
) -> Dumped:
    with _held(engine, plan, session) as selection:
        source = _source(selection, _copying(session))
        # what the plan saw may be older than the rows
        facts = replace(plan.facts, revision=revision_of(session, engine.settings.migration_table))
        lacks = (*_no_hypertables(selection), *left_out(session))
        sizes = table_sizes(session, selection.with_rows)
        on_event(Phase("dump", f"{engine.target.name} by {plan.tool_version}"))
        head = {**document_head(engine.target, facts), "extensions": dict(sorted(facts.extensions.items()))}
        written = write_document(draft, head, source, source.tables, plan.request, on_event)
        names = {one.name for one in source.schema.sequences}
        values = sequence_values(session) if not plan.request.tables else ()
        sequences = tuple(value for value in values if (value.rpartition("=")[0] or value) in names)
    _prove_types(engine, source.schema.types, session)
    return Dumped(
        tables=_counts(selection, written.rows, sizes),
        sequences=sequences,
        raw_size_bytes=written.raw_size_bytes,
        sha256=written.sha256,
        not_included=(*selection.not_included, *lacks),
        facts=facts,
    )


def _prove_types(engine: PostgresEngine, before: Sequence[UserType], session: Session) -> None:
    """See that no type was changed under the rows: no lock holds one, and values are written by what it is by then.

    Raises:
        DumpFailed: one was.
    """
    with reading_snapshot(session):
        fix_values(session)
        now = {type_.name: type_ for type_ in user_types(session)}
    changed = [type_.name for type_ in before if not _same_values(type_, now.get(type_.name))]
    if changed:
        raise DumpFailed(
            f"types of {engine.target.name} were changed while rows were read: {', '.join(changed)}",
            state=UNTOUCHED,
            hint="try again when no migration is running",
        )


def _same_values(before: UserType, now: UserType | None) -> bool:
    """Whether its values are written as they were; a label more is in no row of the snapshot."""
    if now is None:
        return False
    labels = tuple(label for label in now.labels if label in before.labels)
    return replace(before, checks=(), default="", not_null=False) == replace(
        now, labels=labels, checks=(), default="", not_null=False
    )


@contextmanager
def _held(engine: PostgresEngine, plan: DumpPlan, session: Session) -> Iterator[Selection]:
    """Lock what is wanted, then take the snapshot; both last as long as the block."""

    def look() -> tuple[Selection, Sequence[Relation]]:
        selection = wanted_tables(engine, plan.request, plan.format, session)
        return selection, selection.dumped

    with held_still(engine, session, look) as selection:
        yield selection


def _copying(session: Session) -> CopySession:
    if not isinstance(session, PsycopgSession):
        raise RouteUnavailable("a rows backup needs a connection from this machine", hint="use --via=python")
    return session


def _source(selection: Selection, session: CopySession) -> PostgresSource:
    with_rows = [table.oid for table in selection.with_rows]
    # a partitioned table is described, and its rows are in its partitions
    described = [
        r.oid for r in selection.dumped if r.kind in (*COUNTED, PARTITIONED) and r.oid not in set(with_rows)
    ]
    return PostgresSource(
        session,
        with_rows,
        without_rows=described,
        sequences=[relation.oid for relation in selection.dumped if relation.kind == SEQUENCE],
        with_children=[table.oid for table in selection.with_rows if table.kind == HYPERTABLE],
    )


def _count(table: Relation, rows: int | None, bytes_: int | None = None) -> TableCount:
    return TableCount(str(table), rows=rows, bytes=bytes_, hypertable=table.kind == HYPERTABLE)


def _counts(
    selection: Selection, counts: Mapping[str, int], sizes: Mapping[int, int]
) -> tuple[TableCount, ...]:
    def counted(table: Relation) -> TableCount:
        return _count(table, counts[str(table)], sizes.get(table.oid))

    bare = [replace(_count(table, None), data=False) for table in selection.without_rows]
    every = [*bare, *map(counted, selection.with_rows)]
    return tuple(sorted(every, key=lambda table: table.name))
