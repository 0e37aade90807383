"""Choosing how single tables of a rows backup come, against what is live: created, replaced or beside.

Whatever stands in the way is named here, for the plan, and once more inside
the transaction that has the tables locked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ....models import Archive
from ....plans import PartRequest, PartWay
from ....rows.postgres.single import (
    Called,
    completed,
    copied,
    index_names,
    lone,
    partitions,
    references,
    sequences_of,
)
from ....rows.schema import PortableSchema, Table
from ....sessions import Session
from ...rows.archive import Head
from ..part.choose import hypertable_refused
from ..part.in_the_way import (
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
from ..part.live_tables import Live, look_at_tables
from ..part.named_table import find_among, unknown
from ..part.words import comes_alone, comes_without_owner, only_the_table, referred_before, would_empty
from ..script.statements import Name, quoted, quoted_pair
from ..tables import split_name
from .fit import prove_rows
from .live import look_for_rows

__all__ = ["RowsChoice", "choose_rows", "look_at_members", "name_of"]


@dataclass(frozen=True)
class RowsChoice:
    """What of a rows backup comes, and how it is called here."""

    names: tuple[str, ...]
    """The tables that were named, as the backup calls them."""
    made: PortableSchema = field(default_factory=PortableSchema)
    """What is made: tables under the names they get, and what these call for."""
    added: tuple[Name, ...] = ()
    """Those of the made tables that take the others along when they are dropped."""
    attached: tuple[Name, ...] = ()
    """Live partitioned tables that get a new partition."""
    filled: tuple[tuple[str, Name], ...] = ()
    """Each table whose rows come, and where they go."""
    roots: tuple[Name, ...] = ()
    """Live tables that are named, and emptied with their partitions."""
    emptied: tuple[Name, ...] = ()
    """Those of them, and of their partitions, that hold rows."""
    way: PartWay = PartWay.CREATE
    """How the made ones come: where they were, or beside."""
    warnings: tuple[str, ...] = ()

    @property
    def selection(self) -> RowsChoice:
        """Return it without what is only said."""
        return replace(self, warnings=())


def look_at_members(session: Session, head: Head, names: Iterable[str]) -> Live:
    """Ask about these tables of a backup, with their partitions."""
    return look_at_tables(session, [name_of(one) for name in names for one in _members(head.schema, name)])


def choose_rows(session: Session, archive: Archive, head: Head, request: PartRequest) -> RowsChoice:
    """Choose for each table how it comes.

    Raises:
        UsageError: the backup does not hold one, or the copy's name is none. Refused: a foreign key, a column or a name
        is in the way. RightMissing: the role may not.
    """
    known = {name_of(table.name): table.name for table in head.schema.tables}
    names = tuple(dict.fromkeys(_find(name, known) for name in request.tables))
    live = look_at_members(session, head, names)
    choosing = _Choosing(session, archive, head, live, names)
    for name in names:
        if request.as_name is not None:
            choosing.beside(name, request.as_name)
        elif name_of(name) not in live.relations:
            choosing.create(name)
        else:
            choosing.replace(name)
    return choosing.choice()


def _find(name: str, known: dict[Name, str]) -> str:
    found = find_among(name, known)
    if found is None:
        raise unknown(name, known)
    return known[found]


def name_of(text: str) -> Name:
    """Return the name by which the server knows what a portable schema calls so."""
    schema, name = split_name(text)
    return schema or "", name


def _members(schema: PortableSchema, name: str) -> tuple[str, ...]:
    return (name, *partitions(schema, name))


class _Choosing:
    """The choice of one restore, growing table by table."""

    def __init__(
        self, session: Session, archive: Archive, head: Head, live: Live, names: tuple[str, ...]
    ) -> None:
        self._session, self._archive, self._head, self._live = session, archive, head, live
        self._names = names
        self._schema = head.schema
        self._tables: dict[str, Table] = {}
        """Those that are created, by their names in the backup."""
        self._copy: PortableSchema | None = None
        self._added: list[Name] = []
        self._attached: list[Name] = []
        self._filled: list[tuple[str, Name]] = []
        self._refilled: list[str] = []
        self._roots: list[Name] = []
        self._emptied: list[Name] = []
        self._warnings: list[str] = []
        marked = archive.manifest.tables if archive.manifest else ()
        self._hypertables = {table.name for table in marked if table.hypertable}

    # -- one table ------------------------------------------------------------------------

    def create(self, name: str) -> None:
        """Make a table that is not there, with its partitions."""
        self._refuse_hypertable(name)
        table = self._table(name)
        parent = table.partition_of
        if parent and any(parent in _members(self._schema, other) for other in self._names):
            return  # it comes with that one
        attached = bool(
            parent and name_of(parent) in self._live.relations and self._live.is_partitioned(name_of(parent))
        )
        if attached:
            self._attached.append(name_of(parent))
        elif parent:
            self._warnings.append(comes_alone(name_of(name), name_of(parent)))
        for member in _members(self._schema, name):
            if name_of(member) in self._live.relations:
                raise taken("the table", name_of(member))
            self._make(member, alone=member == name and bool(parent) and not attached)
        self._added.append(name_of(name))

    def replace(self, name: str) -> None:
        """Empty a table that is there, and fill it."""
        self._refuse_hypertable(name)
        root = name_of(name)
        tree = prove_replaceable(self._live, root, partitioned=bool(self._table(name).partition_by))
        self._roots.append(root)
        leaves = [one for one in tree if not self._live.is_partitioned(one) and one not in self._emptied]
        self._emptied += leaves
        for member in _members(self._schema, name):
            place = name_of(member)
            if place in tree:
                self._fill(member, place)
                self._refilled.append(member)
            elif place in self._live.relations:
                raise no_partition_here(root, place)
            else:
                self._attached.append(name_of(self._table(member).partition_of))
                self._make(member, alone=False)
                self._added.append(place)

    def beside(self, name: str, as_name: str) -> None:
        """Make a copy of a table, with the rows of all its partitions."""
        self._refuse_hypertable(name)
        table = self._table(name)
        inherits = [name_of(one) for one in table.inherits]
        place, names = place_for_copy(self._session, as_name, name_of(name), inherits, self._live)
        schema, new = place
        own = sequences_of(self._schema, (name,))
        numbers = {one.name: (schema, sequence_of_copy(new, one.column, names)) for one in own}
        alone = completed(self._schema, name, alone=True)
        old = name_of(name)[1]
        indexes = {one: index_of_copy(new, old, one, names) for one in index_names(alone)}
        self._copy = copied(self._schema, name, Called(place, numbers, indexes))
        self._added.append(place)
        for member in _members(self._schema, name):
            self._fill(member, place)

    def _make(self, name: str, *, alone: bool) -> None:
        if name not in self._tables:
            self._tables[name] = completed(self._schema, name, alone=alone)
            self._fill(name, name_of(name))

    def _fill(self, name: str, place: Name) -> None:
        if name in self._head.filled and (name, place) not in self._filled:
            self._filled.append((name, place))

    def _table(self, name: str) -> Table:
        return next(table for table in self._schema.tables if table.name == name)

    def _refuse_hypertable(self, name: str) -> None:
        if name in self._hypertables or name_of(name) in self._live.hypertables:
            raise hypertable_refused(name_of(name))

    # -- all of them ------------------------------------------------------------------------

    def choice(self) -> RowsChoice:
        """Return it, proved to fit.

        Raises:
            As `choose_rows`.
        """
        self._prove_columns()
        made = self._made()
        self._prove_places(made)
        self._prove_family()
        emptied = (member for root in self._roots for member in self._live.tree(root))
        held = {name_of(table.name) for table in self._schema.tables}
        refuse_referring(self._session, self._live, emptied, held)
        self._prove_rows()
        self._tell_lost_keys()
        return RowsChoice(
            names=self._names,
            made=made,
            added=tuple(self._added),
            attached=tuple(dict.fromkeys(one for one in self._attached if one in self._live.relations)),
            filled=tuple(self._filled),
            roots=tuple(self._roots),
            emptied=tuple(self._emptied),
            way=PartWay.BESIDE if self._copy else PartWay.CREATE,
            warnings=tuple(self._warnings),
        )

    def _made(self) -> PortableSchema:
        there = {*self._live.types, *self._live.relations}
        if self._copy is not None:
            made = lone(self._copy, self._copy.tables, there)
        else:
            made = lone(self._schema, [*self._tables.values()], there)
        owners = {one.name: one.table for one in self._schema.sequences}
        for one in made.sequences:
            if not one.table and owners.get(one.name):
                self._warnings.append(comes_without_owner(name_of(one.name), name_of(owners[one.name])))
        return made

    def _prove_columns(self) -> None:
        """Compare what is replaced with what it was, column by column and type by type."""
        if not self._refilled:
            return
        tables = [table for table in self._schema.tables if table.name in self._refilled]
        filled = tuple(name for name in self._head.filled if name in self._refilled)
        part = replace(self._head, schema=lone(self._schema, tables), filled=filled)
        live = look_for_rows(self._session, part)
        if live.fit.refused:
            raise differs(self._roots[0], live.fit.refused)
        if filled:
            prove_rows(self._archive, part, replace(live, referring=()), "the database")
        self._warnings += live.fit.told

    def _prove_places(self, made: PortableSchema) -> None:
        """See that each schema takes what is made in it, and that nothing there has its name."""
        names = [one.name for one in made.tables]
        names += [*(one.name for one in made.sequences), *(one.name for one in made.types)]
        for schema in sorted({name_of(name)[0] for name in names}):
            if schema in self._live.schemas:
                prove_may_create(schema, self._live)
        if self._copy is not None:
            return
        wanted = [("the sequence", name_of(one.name)) for one in made.sequences]
        wanted += [("the table", name_of(one.name)) for one in made.tables]
        wanted += [
            ("the index", (name_of(one.name)[0], index)) for one in made.tables for index in index_names(one)
        ]
        prove_names_free(self._session, wanted)

    def _prove_family(self) -> None:
        """See that what created tables inherit from and refer to is there."""
        for name, table in self._tables.items():
            for parent in table.inherits:
                if parent not in self._tables and name_of(parent) not in self._live.relations:
                    raise missing_parent(name_of(name), name_of(parent))
            for key in references(table):
                if key.references not in self._tables and name_of(key.references) not in self._live.relations:
                    raise missing_reference(key.name, name_of(name), name_of(key.references))

    def _prove_rows(self) -> None:
        """See that the backup has rows to put in the place of others."""
        holding = [table.name for table in self._schema.tables if not table.partition_by]
        wanted = [one for name in self._names for one in _members(self._schema, name) if one in holding]
        bare = [name for name in dict.fromkeys(wanted) if name not in self._head.filled]
        emptied = [name for name in bare if name in self._refilled]
        if emptied:
            raise would_empty(map(name_of, emptied), self._archive.path.name)
        if bare:
            self._warnings.append(only_the_table(map(name_of, bare)))

    def _tell_lost_keys(self) -> None:
        for table in self._schema.tables:
            if table.name in self._tables or name_of(table.name) not in self._live.relations:
                continue
            for key in table.foreign_keys:
                if key.references in self._tables:
                    own = name_of(table.name)
                    statement = (
                        f"ALTER TABLE {quoted_pair(own)} ADD CONSTRAINT {quoted(key.name)} {key.definition}"
                    )
                    self._warnings.append(referred_before(own, name_of(key.references), statement))
