"""A migration's arrival in PostgreSQL, inside one transaction: tables made or found, rows brought in, keys behind them, and the proof."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ....errors import Refused
from ....events import OnEvent, Phase, Warned
from ....nouns import many
from ....rows.migration.arriving import Carried, Loading, TableProof
from ....rows.postgres.create import Statement
from ....rows.postgres.creating import make, plan_creation
from ....rows.postgres.definitions import index
from ....rows.postgres.schema import describe
from ....rows.postgres.source import fix_values, release_values
from ....rows.postgres.spelling import split_name
from ....rows.schema import Index, PortableSchema
from ....schemas import table_name
from ....sessions import PsycopgSession
from ..facts import PARTITIONED, TABLE, Relation, relations
from ..foreign_keys import Reference, place_of, references
from ..rows.asleep import put_to_sleep, triggers_of, wake
from ..rows.key_parts import named_again
from ..rows.matviews import matviews_over, refresh
from ..rows.numbers import set_sequences
from ..rows.set_aside import at_home, keys_back, references_back, set_aside
from ..script.statements import Name, quoted
from .keys import Keys, Unique, make_keys, uniques
from .load import Came, load_table
from .numbers import hold_numbers, prove_numbers
from .proof import prove_table

__all__ = ["arrive_live", "arrive_new"]

UNTOUCHED = "nothing was touched"
LOCKED_AT_ONCE = 200
TREES = """
    SELECT o::int8 AS oid FROM pg_catalog.unnest(%s::oid[]) o
    UNION SELECT p.relid::oid::int8 FROM pg_catalog.unnest(%s::oid[]) o, pg_catalog.pg_partition_tree(o) p
"""
MADE_UNIQUE = "CREATE UNIQUE INDEX"
OID = """
    SELECT c.oid::int8 AS oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relname = %s
"""


def arrive_new(
    session: PsycopgSession,
    connection: sqlite3.Connection,
    carried: Sequence[Carried],
    schema: PortableSchema,
    how: Loading,
    on_event: OnEvent,
) -> tuple[TableProof, ...]:
    """Make the tables of a schema, fill and prove them; the transaction, on both sides, is the caller's.

    After any error the caller rolls back, and nothing is there.

    Raises:
        Refused: something of a name is there. LoadFailed: a row does not go in, and none may be left out; names it.
        CountsDiffer: what arrived is not what was there; names the table and the first rows that differ.
        RightMissing, QueryFailed: the server turned something down; names what.
    """
    creation = plan_creation(session, schema, foreign=False)
    fix_values(session)
    session.execute("SET LOCAL search_path = ''")
    on_event(Phase("create", many(len(schema.tables), "table")))
    make(session, creation.before)
    there = _found(session, carried)
    came = _load(session, connection, carried, there, how, on_event)
    on_event(Phase("create", "keys and indexes"))
    keys, refers, rest = _in_three(creation.after)
    behind = Keys(
        keys,
        refers,
        lambda: _meant(session, schema, there),
        lambda: _referring(session, refers, there),
        _dispensable(schema),
    )
    left = make_keys(session, connection, behind, came, there, how)
    make(session, rest)
    proofs = _prove(session, connection, came, there, on_event)
    release_values(session)
    return tuple(replace(proof, indexes_left=tuple(left.get(proof.into, ()))) for proof in proofs)


def arrive_live(
    session: PsycopgSession,
    connection: sqlite3.Connection,
    carried: Sequence[Carried],
    how: Loading,
    on_event: OnEvent,
) -> tuple[TableProof, ...]:
    """Fill and prove tables that are there and have no rows, as their owner; the transaction is the caller's.

    Triggers of the user's sleep meanwhile, foreign keys are taken away and added again, sequences are set behind the rows
    and behind every number that AUTOINCREMENT ever gave, materialized views are filled anew. After any error the caller rolls back, and all is as it was.

    Raises:
        Refused: a table is missing, or has rows. RightMissing: one is not ours.
        LoadFailed, CountsDiffer, QueryFailed: as `arrive_new`.
    """
    there = _found(session, carried)
    _lock(session, there.values())
    _refuse_rows(session, there.values())
    oids = _with_partitions(session, there.values())
    asleep = triggers_of(session, oids)
    put_to_sleep(session, asleep, "TRIGGER")
    known, refers = uniques(session, oids), references(session, oids)
    taken = set_aside(session, oids, oids, {})
    hold_numbers(session, oids)
    fix_values(session)
    # a row that breaks one is found with it, not at the end
    session.execute("SET CONSTRAINTS ALL IMMEDIATE")
    # functions in checks and defaults may lean on it
    session.execute("RESET search_path")
    came = _load(session, connection, carried, there, how, on_event)
    on_event(Phase("create", "foreign keys"))
    at_home(session)
    behind = Keys(tuple(keys_back(taken)), tuple(references_back(taken)), lambda: known, lambda: refers)
    make_keys(session, connection, behind, came, there, how)
    named_again(session, taken.parts)
    everything = {str(relation): relation for relation in relations(session)}
    given = {(one.into, one.counting): one.last_number for one in carried if one.last_number}
    for text in set_sequences(session, everything, (), oids, given):
        on_event(Warned(text))
    proofs = _prove(session, connection, came, there, on_event)
    release_values(session)
    _refresh(session, oids, on_event)
    session.execute("SELECT pg_catalog.set_config('search_path', '', false)")
    wake(session, asleep, "TRIGGER")
    return proofs


def _found(session: PsycopgSession, carried: Sequence[Carried]) -> dict[Name, Relation]:
    """Look the tables up, in the order in which they are filled."""
    known = {str(relation): relation for relation in relations(session)}
    found: dict[Name, Relation] = {}
    for table in carried:
        relation = known.get(table.into)
        if relation is None or relation.kind not in (TABLE, PARTITIONED):
            raise Refused(f"there is no table {table.into} for the rows of {table.name}", state=UNTOUCHED)
        found[relation.schema, relation.name] = relation
    return found


def _lock(session: PsycopgSession, tables: Iterable[Relation]) -> None:
    from psycopg2 import sql

    places = [place_of(table.schema, table.name, table.kind) for table in sorted(tables, key=str)]
    for start in range(0, len(places), LOCKED_AT_ONCE):
        some = sql.SQL(", ").join(places[start : start + LOCKED_AT_ONCE])
        session.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(some))


def _with_partitions(session: PsycopgSession, tables: Iterable[Relation]) -> list[int]:
    """Return the numbers of these tables and of all their partitions: each of them has triggers of its own."""
    oids = [table.oid for table in tables]
    return [int(oid) for (oid,) in session.rows(TREES, (oids, oids))]


def _refuse_rows(session: PsycopgSession, tables: Iterable[Relation]) -> None:
    from psycopg2 import sql

    query = sql.SQL("SELECT EXISTS (SELECT FROM {}) AS found")
    held = [
        str(table)
        for table in tables
        if session.rows(query.format(place_of(table.schema, table.name, table.kind))) == [(True,)]
    ]
    if held:
        raise Refused(
            f"{', '.join(held)} {'has' if len(held) == 1 else 'have'} rows already, and a migration adds to none",
            state=UNTOUCHED,
            hint="empty what is not needed, or leave it out with --exclude-table",
        )


def _load(
    session: PsycopgSession,
    connection: sqlite3.Connection,
    carried: Sequence[Carried],
    there: Mapping[Name, Relation],
    how: Loading,
    on_event: OnEvent,
) -> dict[Name, Came]:
    came: dict[Name, Came] = {}
    for table, name in zip(carried, there, strict=True):
        on_event(Phase("load", table.name))
        came[name] = load_table(session, connection, table, how)
    return came


def _prove(
    session: PsycopgSession,
    connection: sqlite3.Connection,
    came: Mapping[Name, Came],
    there: Mapping[Name, Relation],
    on_event: OnEvent,
) -> tuple[TableProof, ...]:
    on_event(Phase("check", "the next numbers"))
    tables = [*there.values()]
    numbers = prove_numbers(session, tables)
    held = describe(session, [table.oid for table in tables]).held
    proofs = []
    for name, relation in there.items():
        on_event(Phase("check", came[name].carried.name))
        next_values = numbers.get(relation.oid, ())
        proofs.append(
            prove_table(session, connection, came[name], relation, held[str(relation)], next_values)
        )
    return tuple(proofs)


def _refresh(session: PsycopgSession, oids: Sequence[int], on_event: OnEvent) -> None:
    views = matviews_over(session, oids)
    refresh(session, views, on_event)
    for schema, name, owner in views:
        if owner:
            view = table_name(schema, name)
            on_event(
                Warned(
                    f"{view} belongs to {owner} and is not refreshed: REFRESH MATERIALIZED VIEW afterwards"
                )
            )


# -- keys of tables that were made -----------------------------------------------------------


def _refers(statement: Statement) -> bool:
    return statement.what.startswith("the foreign key ")


def _in_three(
    statements: Sequence[Statement],
) -> tuple[tuple[Statement, ...], tuple[Statement, ...], tuple[Statement, ...]]:
    """Return what comes before the references, these, and what comes behind them."""
    refers = tuple(filter(_refers, statements))
    start = statements.index(refers[0]) if refers else len(statements)
    return tuple(statements[:start]), refers, tuple(statements[start + len(refers) :])


def _dispensable(schema: PortableSchema) -> dict[str, str]:
    return {
        f"the index {one.name} of {table.name}": table.name
        for table in schema.tables
        for one in table.indexes
        if not one.definition.startswith(MADE_UNIQUE)
    }


def _meant(session: PsycopgSession, schema: PortableSchema, there: Mapping[Name, Relation]) -> list[Unique]:
    """Return what a schema makes unique; of an index the server says it, where it is not made yet by one of an empty table."""
    made = {(one.schema, one.name): one for one in uniques(session, [table.oid for table in there.values()])}
    found: list[Unique] = []
    for table in schema.tables:
        name = split_name(table.name)
        keys = [*([table.primary_key] if table.primary_key else ()), *table.unique]
        found += [Unique(*name, key.name, [quoted(column) for column in key.columns]) for key in keys]
        found += [
            unique
            for one in table.indexes
            if name in there and one.definition.startswith(MADE_UNIQUE)
            for unique in (
                [made[name[0], one.name]]
                if (name[0], one.name) in made
                else _of_index(session, there[name], one)
            )
        ]
    return found


def _of_index(session: PsycopgSession, table: Relation, one: Index) -> list[Unique]:
    from psycopg2 import sql

    place, aside = sql.Identifier(table.schema, table.name), f"dbtasks_{table.oid}"
    session.execute("SAVEPOINT dbtasks_index")
    try:
        session.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(place, sql.Identifier(aside)))
        like = sql.SQL("CREATE TABLE {} (LIKE {})")
        session.execute(like.format(place, sql.Identifier(table.schema, aside)))
        session.execute(index(one, (table.schema, table.name)).sql)
        ((oid,),) = session.rows(OID, (table.schema, table.name))
        return uniques(session, [int(oid)])
    finally:
        session.execute("ROLLBACK TO SAVEPOINT dbtasks_index; RELEASE SAVEPOINT dbtasks_index")


def _referring(
    session: PsycopgSession, refers: Sequence[Statement], there: Mapping[Name, Relation]
) -> list[Reference]:
    """Return what the foreign keys mean: the server says it of ones that hold for new rows only."""
    from psycopg2 import sql

    session.execute("SAVEPOINT dbtasks_keys")
    try:
        for statement in refers:
            session.execute(statement.sql + sql.SQL(" NOT VALID"))
        return references(session, [relation.oid for relation in there.values()], validated=False)
    finally:
        session.execute("ROLLBACK TO SAVEPOINT dbtasks_keys; RELEASE SAVEPOINT dbtasks_keys")
