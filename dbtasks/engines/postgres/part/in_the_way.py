"""What stands in the way of single tables coming back, in words: the same whatever they come from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ....errors import Refused, RightMissing, UsageError
from ....sessions import Session
from ..facts import FOREIGN, PARTITIONED, TABLE, table_name
from ..script.statements import Name
from ..tables import split_name
from .live_tables import Live, foreign_keys_into, names_taken

__all__ = [
    "UNTOUCHED",
    "differs",
    "free_name",
    "index_of_copy",
    "missing_parent",
    "missing_reference",
    "no_partition_here",
    "place_for_copy",
    "prove_may_create",
    "prove_names_free",
    "prove_replaceable",
    "refuse_referring",
    "sequence_of_copy",
    "taken",
]

UNTOUCHED = "nothing was touched"
LONGEST_NAME = 63
"""Bytes."""
KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence"}


def _told(name: Name) -> str:
    return table_name(*name)


def taken(what: str, name: Name) -> Refused:
    """Return what is said where something would be created under a name that something has."""
    return Refused(
        f"{what} {_told(name)} would be created, and there is something of that name",
        state=UNTOUCHED,
        hint="rename or drop that, or bring the table in under another name: --as=NAME",
    )


def differs(name: Name, differences: Sequence[str]) -> Refused:
    """Return what is said where a live table is not what it was."""
    return Refused(
        f"{_told(name)} is not what it was in the backup: {'; '.join(differences)}",
        state=UNTOUCHED,
        hint="bring it in beside, and copy what fits: --as=NAME",
    )


def no_partition_here(root: Name, member: Name) -> Refused:
    """Return what is said of a partition that is one of no more, and stands by itself."""
    return differs(root, [f"{_told(member)} is a partition of it in the backup, and none here"])


def missing_parent(name: Name, parent: Name) -> Refused:
    """Return what is said where a table inherits from one that is not there."""
    return Refused(
        f"{_told(name)} inherits from {_told(parent)}, which is not here",
        state=UNTOUCHED,
        hint=f"bring that back too: --table={_told(parent)}",
    )


def missing_reference(key: str, name: Name, other: Name) -> Refused:
    """Return what is said where a created table refers to one that is not there."""
    return Refused(
        f"the foreign key {key} of {_told(name)} refers to {_told(other)}, which is not there",
        state=UNTOUCHED,
        hint=f"bring that back too: --table={_told(other)}; or beside, without foreign keys: --as=NAME",
    )


def prove_replaceable(live: Live, name: Name, *, partitioned: bool) -> tuple[Name, ...]:
    """See that a live table's rows can be replaced, with those of its partitions; returns it with these.

    Raises:
        Refused: it is no table, or another kind of one than in the backup, or holds rows elsewhere. RightMissing: it is not ours.
    """
    kind = live.relations[name].kind
    if kind not in (TABLE, PARTITIONED):
        raise Refused(f"{_told(name)} is {KINDS[kind]} here: no rows are brought into it", state=UNTOUCHED)
    if live.is_partitioned(name) != partitioned:
        here, there = ("", "not ") if live.is_partitioned(name) else ("not ", "")
        raise differs(name, [f"it is {here}partitioned here, and was {there}in the backup"])
    tree = live.tree(name)
    if foreign := [_told(member) for member in tree if live.relations[member].kind == FOREIGN]:
        raise Refused(
            f"{_told(name)} has foreign tables among its partitions, and emptying it would empty what they hold elsewhere:"
            f" {', '.join(foreign)}",
            state=UNTOUCHED,
            hint="bring back its other partitions, each by its name, or all of it beside: --as=NAME",
        )
    strangers = sorted({owner for member in tree if (owner := live.strangers.get(member))})
    if strangers:
        raise RightMissing(
            f"{_told(name)} belongs to {', '.join(strangers)}, and only its owner may replace its rows",
            state=UNTOUCHED,
            hint="restore as its owner or a superuser, or bring the table in beside: --as=NAME",
        )
    return tree


def place_for_copy(
    session: Session, as_name: str, name: Name, inherits: Sequence[Name], live: Live
) -> tuple[Name, set[str]]:
    """Return what a copy of a table is called, and which names of its schema are taken, its own among them.

    Raises:
        UsageError: that is no name. Refused: it is taken, or there is no such schema, or no copy can be made.
    """
    given, new = split_name(as_name)
    if "" in (given, new):
        raise UsageError(f"--as={as_name}: that is no name for a table")
    schema = given or name[0]
    if schema not in live.schemas:
        raise Refused(
            f"--as={as_name}: there is no schema {schema}",
            state=UNTOUCHED,
            hint=f'create it: CREATE SCHEMA "{schema}"',
        )
    if inherits:
        raise Refused(
            f"{_told(name)} inherits from {', '.join(map(_told, inherits))}: a copy of it would show its rows there too",
            state=UNTOUCHED,
            hint="restore all of it beside: --into=NAME",
        )
    names = names_taken(session, schema)
    if new in names or len(new.encode()) > LONGEST_NAME:
        why = (
            "there is something of that name" if new in names else f"names have {LONGEST_NAME} bytes at most"
        )
        raise Refused(f"--as={as_name}: {why}", state=UNTOUCHED, hint="choose another name")
    return (schema, new), {*names, new}


def free_name(wanted: str, names: set[str]) -> str:
    """Return a name that is none of these, which it is one of afterwards."""
    number = 1
    name = _short(wanted, "")
    while name in names:
        number += 1
        name = _short(wanted, f"_{number}")
    names.add(name)
    return name


def sequence_of_copy(copy: str, column: str, names: set[str]) -> str:
    """Return a free name for a sequence of a copy's own."""
    return free_name(f"{copy}_{column}_seq", names)


def index_of_copy(copy: str, table: str, index: str, names: set[str]) -> str:
    """Return a free name for an index of a copy's, by what it is called on the table."""
    return free_name(f"{copy}_{index.removeprefix(table + '_')}", names)


def _short(name: str, end: str) -> str:
    kept = name.encode()[: LONGEST_NAME - len(end)].decode(errors="ignore")
    return kept + end


def prove_may_create(schema: str, live: Live) -> None:
    """See that something may be created in a schema that is there.

    Raises:
        RightMissing: it may not.
    """
    if not live.schemas[schema]:
        raise RightMissing(
            f"the role may not create anything in the schema {schema}",
            state=UNTOUCHED,
            hint=f'let its owner say: GRANT CREATE ON SCHEMA "{schema}" TO …',
        )


def prove_names_free(session: Session, wanted: Sequence[tuple[str, Name]]) -> None:
    """See that nothing has the names of what is created: what each is, and its name.

    Raises:
        Refused: something has one.
    """
    for schema in sorted({name[0] for _, name in wanted}):
        names = names_taken(session, schema)
        for what, name in wanted:
            if name[0] == schema and name[1] in names:
                raise taken(what, name)


def refuse_referring(session: Session, live: Live, emptied: Iterable[Name], held: Collection[Name]) -> None:
    """See that no other table refers to what is emptied; `held` are the tables of the backup, which could come back, too.

    Raises:
        Refused: one does; names it with the ways left.
    """
    oids = live.oids(set(emptied))
    into = foreign_keys_into(session, oids) if oids else []
    if not into:
        return
    named = [f"{key} of {_told(table)} → {_told(other)}" for key, table, other in into]
    others = list(dict.fromkeys(table for _, table, _ in into))
    if missing := [table for table in others if table not in held]:
        ways = f"the backup does not hold {', '.join(map(_told, missing))}: take the key away first"
    else:
        ways = f"bring back those tables too: {' '.join(f'--table={_told(table)}' for table in others)}"
    what = "a foreign key refers" if len(into) == 1 else f"{len(into)} foreign keys refer"
    raise Refused(
        f"{what} to what would be emptied: {'; '.join(named[:5])}",
        details="\n".join(named[5:]),
        state=UNTOUCHED,
        hint=f"{ways}; or beside, to look and pick: --as=NAME",
    )
