"""Planning to bring single tables back: whether the archive has them, and what doing it means here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....errors import Refused
from ....models import Archive, Manifest
from ....plans import LoadRequest, PartPlan, PartRequest, PartTable, PartWay
from ...parts_left_out import rows_alone
from ..archive.contents import Contents
from ..facts import table_name
from ..loading.fit import (
    prove_disk,
    prove_versions,
    refuse_newer,
    refuse_where_it_may_do_harm,
    stranger_words,
)
from ..rows.event_triggers import awake, words_about
from ..script.statements import Name
from ..server import look_at_server, prove_roles
from ..tables import split_name
from .choose import Choice, choose, hypertable_refused
from .live_tables import Live, look_at_tables
from .named_table import find_among, prove_database, unknown
from .of_archive import Definitions, Selection, read_definitions
from .words import count_live, drops_of, only_the_table, part_steps, would_empty

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["Chosen", "plan_part"]

UNTOUCHED = "nothing was touched"


@dataclass(frozen=True)
class Chosen:
    """A plan's inside: what to play, and what to choose from once more when the tables are locked."""

    definitions: Definitions
    names: tuple[Name, ...]
    roots: tuple[Name, ...]
    """Live tables that are emptied, with their partitions."""
    selection: Selection


def plan_part(engine: PostgresEngine, archive: Archive, request: PartRequest) -> PartPlan:
    """See `Engine.plan_part`."""
    state = prove_database(engine)
    prove_versions(engine, archive)
    prove_disk(archive)
    server, _ = look_at_server(engine, state)
    refuse_where_it_may_do_harm(engine, archive, server)
    definitions = read_definitions(engine, archive)
    refuse_newer(engine, archive.path.name, definitions.server_version)
    names = tuple(dict.fromkeys(_find(name, definitions, archive.manifest) for name in request.tables))
    _refuse_hypertables(names, archive.manifest)
    with engine.session() as session:
        members = [member for name in names for member in (name, *definitions.partitions(name))]
        live = look_at_tables(session, members)
        choice = choose(session, definitions, names, request, live)
        live_rows, uncounted = count_live(session, [live.relations[name] for name in choice.replaced])
        hooks = awake(session, creating=bool(choice.created))
    _prove_rows(choice, archive.manifest)
    warnings = prove_roles(
        engine, LoadRequest(no_owner=request.no_owner, role=request.role), _contents(choice), server
    )
    selection = choice.selection
    return PartPlan(
        request=request,
        tables=_tables(choice, archive.manifest, live_rows),
        route=engine.route,
        why=engine.why,
        facts=engine.facts(),
        steps=_steps(engine, choice),
        warnings=(
            *warnings,
            *stranger_words(engine, archive, server),
            *choice.warnings,
            *uncounted,
            *_notes(choice, live),
            *words_about(hooks),
        ),
        takes_away=_takes_away(choice, names),
        selection=Chosen(definitions, names, tuple(choice.roots), selection),
    )


# -- which table ----------------------------------------------------------------------------------


def _find(name: str, definitions: Definitions, manifest: Manifest | None) -> Name:
    schema, table = split_name(name)
    if found := find_among(name, definitions.tables):
        return found
    for other in definitions.of_kind("view", "foreign table"):
        if other.on[1] == table and schema in (None, other.on[0]):
            raise Refused(f"--table={name}: that is a {other.kind}, and holds no rows", state=UNTOUCHED)
    if manifest and rows_alone(manifest.not_included):
        raise Refused(
            f"--table={name}: backup {manifest.id} holds rows only, without the definitions that tell what they are",
            state=UNTOUCHED,
            hint=f"db.show --file={manifest.id} prints the commands to load it by hand",
        )
    raise unknown(name, definitions.tables)


def _refuse_hypertables(names: tuple[Name, ...], manifest: Manifest | None) -> None:
    marked = {table.name for table in manifest.tables if table.hypertable} if manifest else set[str]()
    for name in names:
        if table_name(*name) in marked:
            raise hypertable_refused(name)


# -- rows ---------------------------------------------------------------------------------------------


def _prove_rows(choice: Choice, manifest: Manifest | None) -> None:
    """See that the backup has rows to put in the place of others."""
    if manifest is None:
        return
    without = {table.name for table in manifest.tables if not table.data}
    bare = [name for name in sorted(choice.filled) if table_name(*name) in without]
    refilled = {m for root in choice.roots for m in (root, *choice.definitions.partitions(root))}
    emptied = [name for name in bare if name in refilled]
    if emptied:
        raise would_empty(emptied, f"backup {manifest.id}")
    if bare:
        choice.warnings.append(only_the_table(bare))


def _tables(choice: Choice, manifest: Manifest | None, live_rows: Mapping[str, int]) -> tuple[PartTable, ...]:
    counts = manifest.counts if manifest and not manifest.not_counted else None

    def counted(names: set[Name]) -> int | None:
        if counts is None:
            return None
        known = [counts.get(table_name(*name)) for name in names]
        return None if None in known else sum(rows for rows in known if rows is not None)

    if choice.renaming is not None:
        (root,) = choice.created
        new = table_name(*choice.renaming.relations[root])
        return (PartTable(new, PartWay.BESIDE, counted(choice.filled)),)
    told = []
    for name in dict.fromkeys((*choice.replaced, *sorted(choice.filled))):
        text = table_name(*name)
        way = PartWay.CREATE if name in choice.created else PartWay.REPLACE
        told.append(
            PartTable(text, way, counted({name}) if name in choice.filled else 0, live_rows.get(text))
        )
    return tuple(told)


# -- in words -------------------------------------------------------------------------------------------


def _contents(choice: Choice) -> Contents:
    """Return what the statements that are played ask of the server."""
    contents, selection = Contents(), choice.selection
    for statement, text in choice.definitions.statements:
        if selection.wants(statement):
            contents.take(text)
    return contents


def _notes(choice: Choice, live: Live) -> tuple[str, ...]:
    notes = [*live.told_of_replacing()] if choice.roots else []
    if choice.renaming is None:
        notes += [
            f"{table_name(*s.on)} was in the publication {s.label} when the backup was made, and is not after this"
            for s in choice.definitions.of_kind("published")
            if s.on in choice.created
        ]
    pointing = [
        table_name(*name)
        for name in sorted(choice.filled)
        if any(column.has_type("oid") for column in (choice.definitions.columns(name) or {}).values())
    ]
    if pointing:
        notes.append(f"large objects are not part of a table: those of {', '.join(pointing)} are not brought")
    return tuple(notes)


def _steps(engine: PostgresEngine, choice: Choice) -> tuple[str, ...]:
    made, copy_of = [table_name(*name) for name in sorted(choice.created)], ""
    if choice.renaming is not None:
        (root,) = choice.created
        made, copy_of = [table_name(*choice.renaming.relations[root])], table_name(*root)
    return part_steps(engine.target.database, emptied=choice.roots, made=made, copy_of=copy_of)


def _takes_away(choice: Choice, names: tuple[Name, ...]) -> tuple[str, ...]:
    if choice.renaming is not None:
        return drops_of([choice.renaming.relations[names[0]]])
    return drops_of(name for name in names if name in choice.created)
