"""Choosing what of an archive single tables need, against what is live: created, replaced or beside.

Whatever stands in the way is named here, for the plan, and once more inside
the transaction that has the tables locked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ....errors import Refused, VersionMismatch
from ....plans import PartRequest
from ....sessions import Session
from ..facts import table_name
from ..hypertables import SCHEMAS
from ..script.statements import Name
from ..timescale import EXTENSION
from .created_needs import prove_functions, prove_row_security
from .in_the_way import (
    UNTOUCHED,
    differs,
    index_of_copy,
    missing_parent,
    missing_reference,
    no_partition_here,
    place_for_copy,
    prove_may_create,
    prove_names_free,
    prove_replaceable,
    refuse_referring,
    sequence_of_copy,
    taken,
)
from .live_tables import Live
from .of_archive import Definitions, Selection
from .renaming import Renaming
from .words import comes_alone, comes_without_owner, referred_before

__all__ = ["Choice", "choose", "hypertable_refused"]

BLOCKER = "ts_insert_blocker"


@dataclass
class Choice:
    """What was chosen, growing table by table."""

    definitions: Definitions
    request: PartRequest
    created: set[Name] = field(default_factory=set)
    filled: set[Name] = field(default_factory=set)
    routed: set[Name] = field(default_factory=set)
    sequences: set[Name] = field(default_factory=set)
    orphans: set[Name] = field(default_factory=set)
    """Those of them whose table is neither here nor created."""
    attached: set[Name] = field(default_factory=set)
    """Those of the created that become partitions of a live table."""
    roots: list[Name] = field(default_factory=list)
    """Live tables that are named, and emptied."""
    replaced: list[Name] = field(default_factory=list)
    """Those of them, and of their partitions, that hold rows."""
    renaming: Renaming | None = None
    warnings: list[str] = field(default_factory=list)
    types: set[Name] = field(default_factory=set)
    schemas: set[str] = field(default_factory=set)

    @property
    def selection(self) -> Selection:
        """Return it as what is played."""
        return Selection(
            created=frozenset(self.created),
            filled=frozenset(self.filled),
            routed=frozenset(self.routed),
            sequences=frozenset(self.sequences),
            orphans=frozenset(self.orphans),
            types=frozenset(self.types),
            schemas=frozenset(self.schemas),
            attached=frozenset(self.attached),
            renaming=self.renaming,
            replaced=tuple(self.replaced),
            indexes=self.definitions.indexes,
            given=self.definitions.given_indexes,
            statistics=self.definitions.statistics,
            columns_of=self.definitions.sequences,
        )


def choose(
    session: Session, definitions: Definitions, names: Iterable[Name], request: PartRequest, live: Live
) -> Choice:
    """Choose for each table how it comes.

    Raises:
        Refused: a foreign key, a column or a name is in the way. RightMissing: the role may not.
        VersionMismatch: a type is missing. UsageError: the copy's name is none.
    """
    choice = Choice(definitions, request)
    for name in names:
        if name in live.hypertables or _was_hypertable(definitions, name):
            raise hypertable_refused(name)
        if foreign := definitions.foreign_partitions(name):
            choice.warnings.append(
                f"{_told(name)}: foreign tables are not brought, nor what they hold elsewhere: {', '.join(map(_told, foreign))}"
            )
        if request.as_name is not None:
            _beside(session, choice, name, request.as_name, live)
        elif name not in live.relations:
            _create(choice, name, live)
        else:
            _replace(choice, name, live)
    _complete(session, choice, live)
    prove_functions(session, definitions, choice.selection, live)
    emptied = [member for root in choice.roots for member in live.tree(root)]
    prove_row_security(session, definitions, choice.created, emptied, live, request.role)
    _prove_foreign_keys(session, choice, live)
    return choice


def hypertable_refused(name: Name) -> Refused:
    """Return what is said of a hypertable, or of what is inside one, that is asked for alone."""
    is_what = "a part" if name[0].startswith(SCHEMAS) else "a hypertable"
    return Refused(
        f"{_told(name)} is {is_what} of TimescaleDB: its rows are in chunks that no single table is",
        state=UNTOUCHED,
        hint="restore all of it beside (--into=NAME), and copy the rows from there: COPY (SELECT ...) TO, COPY ... FROM",
    )


def _was_hypertable(definitions: Definitions, name: Name) -> bool:
    """Whether it was one in the source: by its trigger (before TimescaleDB 2.23), or by chunks that inherit from it."""
    # a dump of one table alone names no extension, but the function that its trigger calls
    blocked = (s.on for s, text in definitions.statements if s.label == BLOCKER and SCHEMAS.encode() in text)
    if name in blocked:
        return True
    if not definitions.has_extension(EXTENSION):
        return False
    if name[0].startswith(SCHEMAS):
        return True
    chunks = (table for table in definitions.tables if table[0].startswith(SCHEMAS))
    return any(name in definitions.inherits(chunk) for chunk in chunks)


def _told(name: Name) -> str:
    return table_name(*name)


# -- created ------------------------------------------------------------------------------------


def _create(choice: Choice, name: Name, live: Live) -> None:
    definitions = choice.definitions
    parent = definitions.parents.get(name)
    if parent is not None and parent in live.relations and live.is_partitioned(parent):
        choice.attached |= {name, *definitions.partitions(name)}
    elif parent is not None:
        choice.warnings.append(comes_alone(name, parent))
    for member in (name, *definitions.partitions(name)):
        if member in live.relations:
            raise taken("the table", member)
        _create_one(choice, member)


def _create_one(choice: Choice, name: Name) -> None:
    choice.created.add(name)
    _fill(choice, name)


def _fill(choice: Choice, name: Name) -> None:
    (choice.routed if choice.definitions.is_partitioned(name) else choice.filled).add(name)


# -- replaced -----------------------------------------------------------------------------------


def _replace(choice: Choice, name: Name, live: Live) -> None:
    definitions = choice.definitions
    tree = prove_replaceable(live, name, partitioned=definitions.is_partitioned(name))
    _compare_columns(choice, name, live)
    choice.roots.append(name)
    choice.replaced += [m for m in tree if not live.is_partitioned(m) and m not in choice.replaced]
    for member in (name, *definitions.partitions(name)):
        if member in tree:
            _fill(choice, member)
        elif member in live.relations:
            raise no_partition_here(name, member)
        else:
            choice.attached.add(member)
            _create_one(choice, member)


def _compare_columns(choice: Choice, name: Name, live: Live) -> None:
    theirs = choice.definitions.columns(name)
    if theirs is None:
        return
    ours = {column.name: column for column in live.columns[name]}
    differences = []
    for column in theirs.values():
        here = ours.get(column.name)
        if here is None:
            differences += [] if column.generated else [f"{column.name} is gone"]
        elif here.generated != column.generated:
            differences.append(f"{column.name} {'is' if here.generated else 'was'} generated")
        elif not column.has_type(here.type):
            differences.append(f"{column.name} is {here.type} here and was another type")
    new = [column for column in ours.values() if column.name not in theirs and not column.generated]
    differences += [f"{column.name} is new and may not be empty" for column in new if column.required]
    if differences:
        raise differs(name, differences)
    if new:
        names = ", ".join(column.name for column in new)
        choice.warnings.append(
            f"{_told(name)}: {names} did not exist when the backup was made, and gets its default"
        )


# -- beside -------------------------------------------------------------------------------------


def _beside(session: Session, choice: Choice, name: Name, as_name: str, live: Live) -> None:
    definitions = choice.definitions
    (schema, new), names = place_for_copy(session, as_name, name, definitions.inherits(name), live)
    partitions = definitions.partitions(name)
    relations = dict.fromkeys((name, *partitions), (schema, new))
    for sequence, (table, column) in definitions.sequences.items():
        if table == name:
            relations[sequence] = (schema, sequence_of_copy(new, column, names))
            choice.sequences.add(sequence)
    labels = {}
    for index, table in definitions.indexes.items():
        if table == name:
            labels[index[1]] = index_of_copy(new, name[1], index[1], names)
            relations[index] = (schema, labels[index[1]])
    choice.renaming = Renaming(relations, labels, flat=bool(partitions))
    choice.created.add(name)
    for member in (name, *partitions):
        _fill(choice, member)


# -- what else is needed ---------------------------------------------------------------------------


def _complete(session: Session, choice: Choice, live: Live) -> None:
    """Add sequences, types and schemas that the created tables use and the database lacks."""
    definitions, created = choice.definitions, choice.created
    if not created:
        return
    own = {seq for seq, (table, _) in definitions.sequences.items() if table in created}
    shared = definitions.mentioned(created, "sequence") - own
    choice.sequences |= own | {seq for seq in shared if seq not in live.relations}
    for sequence in sorted(choice.sequences & definitions.sequences.keys()):
        owner, _ = definitions.sequences[sequence]
        if owner not in created and owner not in live.relations:
            choice.orphans.add(sequence)
            choice.warnings.append(comes_without_owner(sequence, owner))
    if choice.renaming is None:
        _prove_names_free(session, choice, own)
        _prove_parents(choice, live)
    choice.types |= definitions.mentioned(created, "type") - live.types
    _prove_types(choice, live)
    called = choice.renaming.relations if choice.renaming else {}
    places = {called.get(name, name)[0] for name in (*created, *choice.types, *choice.sequences)}
    for schema in sorted(places):
        if schema not in live.schemas:
            choice.schemas.add(schema)
        elif choice.request.role is None:
            prove_may_create(schema, live)


def _prove_types(choice: Choice, live: Live) -> None:
    """See that each column's type is here or comes along: an extension's does not."""
    there = live.types | choice.types | choice.created
    for table in sorted(choice.created):
        columns = (choice.definitions.columns(table) or {}).values()
        named = {type_ for column in columns if (type_ := column.made_type) and type_[0][:3] != "pg_"}
        lacking = sorted(named - there)
        if lacking:
            has = sorted(statement.label for statement in choice.definitions.of_kind("extension"))
            raise VersionMismatch(
                f"{_told(table)} needs types that are not here, nor defined in the backup: {', '.join(map(_told, lacking))}",
                state=UNTOUCHED,
                hint="create the extension they belong to: CREATE EXTENSION …"
                + (f"; the backup has {', '.join(has)}" if has else ""),
            )


def _prove_parents(choice: Choice, live: Live) -> None:
    for name in sorted(choice.created):
        for parent in choice.definitions.inherits(name):
            if parent not in live.relations and parent not in choice.created:
                raise missing_parent(name, parent)


def _prove_names_free(session: Session, choice: Choice, sequences: set[Name]) -> None:
    wanted = [("the sequence", name) for name in sorted(sequences)]
    wanted += [("the table", name) for name in sorted(choice.created)]
    wanted += [("the index", n) for n, table in choice.definitions.indexes.items() if table in choice.created]
    prove_names_free(session, wanted)


# -- foreign keys ----------------------------------------------------------------------------------


def _prove_foreign_keys(session: Session, choice: Choice, live: Live) -> None:
    """See that none is in the way: into what is emptied, or out of what is created."""
    emptied = (member for root in choice.roots for member in live.tree(root))
    refuse_referring(session, live, emptied, choice.definitions.tables)
    if choice.renaming is not None:
        return
    for key in choice.definitions.of_kind("foreign key"):
        if key.on in choice.created and key.other not in choice.created and key.other not in live.relations:
            raise missing_reference(key.label, key.on, key.other)
    for key, text in choice.definitions.statements:
        lost = key.kind == "foreign key" and key.other in choice.created and key.on not in choice.created
        if lost and key.on in live.relations:
            statement = " ".join(text.decode(errors="replace").split())
            choice.warnings.append(referred_before(key.on, key.other, statement))
