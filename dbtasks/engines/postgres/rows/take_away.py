"""Taking back what a restore of rows made in a database without tables: nothing else, and nothing that leans on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ....errors import Refused
from ....models import Archive
from ....nouns import some
from ....plans import LoadPlan, LoadRequest, LoadStrategy, Made, TargetState
from ....rows.postgres.spelling import split_name
from ....schemas import quoted
from ....sessions import Session
from ...python_route import saving_of, way_of_rows
from ..direct import direct_session
from ..facts import COUNTED, PARTITIONED, Relation, count_rows, database_facts, relations
from ..part.words import drops_of
from ..script.statements import quoted_pair

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["plan_taking_away", "take_away", "taking_away"]

GOES_ALONG = """
SELECT format('trigger %%s of %%s', tgname, tgrelid::pg_catalog.regclass)
FROM pg_catalog.pg_trigger WHERE NOT tgisinternal AND tgparentid = 0 AND tgrelid = ANY (%(oids)s)
UNION ALL SELECT format('policy %%s of %%s', polname, polrelid::pg_catalog.regclass)
FROM pg_catalog.pg_policy WHERE polrelid = ANY (%(oids)s)
UNION ALL SELECT format('rule %%s of %%s', rulename, ev_class::pg_catalog.regclass)
FROM pg_catalog.pg_rewrite WHERE ev_class = ANY (%(oids)s)
UNION ALL SELECT format('privileges on %%s', oid::pg_catalog.regclass)
FROM pg_catalog.pg_class WHERE relacl IS NOT NULL AND oid = ANY (%(oids)s)
ORDER BY 1
"""
"""What is dropped with a table, and is in no backup of rows: a restore of rows makes none of it."""
LEANS = """
WITH types AS (
    SELECT t.oid FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    WHERE t.typrelid = ANY (%(oids)s) OR (n.nspname::text, t.typname::text) IN (
        SELECT * FROM ROWS FROM (pg_catalog.unnest(%(schemas)s::text[]), pg_catalog.unnest(%(names)s::text[])))
), made AS (
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass AS classid, pg_catalog.unnest(%(oids)s::oid[]) AS objid
    UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, oid FROM types
    UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, typarray FROM pg_catalog.pg_type WHERE oid IN (SELECT oid FROM types)
)
SELECT DISTINCT pg_catalog.pg_describe_object(
    CASE WHEN r.oid IS NULL THEN d.classid ELSE 'pg_catalog.pg_class'::pg_catalog.regclass END, coalesce(r.ev_class, d.objid), 0)
FROM pg_catalog.pg_depend d JOIN made ON made.classid = d.refclassid AND made.objid = d.refobjid
LEFT JOIN pg_catalog.pg_rewrite r ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND r.oid = d.objid
WHERE d.deptype = 'n'
  AND (r.ev_class <> ALL (%(oids)s) OR d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass)
ORDER BY 1
"""
"""Views and functions that tables and types cannot be dropped under."""


def taking_away(made: Made) -> tuple[str, ...]:
    """Return the statements, in an order in which nothing of it is in the way of anything of it."""
    sequences, types = (map(quoted_pair, map(split_name, names)) for names in (made.sequences, made.types))
    # those that belong to a column are gone with its table
    found = (
        ("DROP SEQUENCE IF EXISTS", sequences),
        ("DROP TYPE", types),
        ("DROP SCHEMA", map(quoted, made.schemas)),
    )
    others = ((verb, ", ".join(names)) for verb, names in found)
    return (*drops_of(map(split_name, made.tables)), *(f"{verb} {names};" for verb, names in others if names))


def plan_taking_away(
    engine: PostgresEngine, archive: Archive, request: LoadRequest, made: Made, state: TargetState
) -> LoadPlan:
    """Prove that the tables are still there, and no others, and say what will be done.

    Raises:
        Refused: it is not so: somebody has gone on from there.
    """
    name = engine.target.database
    with direct_session(engine) as session:
        there = {str(relation): relation for relation in relations(session)}
        _prove_as_made(name, made, there)
        _prove_nothing_leans(session, name, made, there)
        facts = database_facts(session, migration_table=engine.settings.migration_table)
        rows = count_rows(session, [there[table] for table in made.tables if table in facts.tables])
        oids = [there[table].oid for table in made.tables]
        along = [str(name) for (name,) in session.rows(GOES_ALONG, {"oids": oids})]
    route, why = way_of_rows(engine.route, engine.why)
    return LoadPlan(
        request=request,
        strategy=LoadStrategy.ROWS,
        state=state,
        route=route,
        why=why,
        saving=saving_of(engine.route, engine.why),
        facts=facts,
        live_rows={str(table): number for table, number in rows.items()},
        steps=(
            *(f"in one transaction: {statement}" for statement in taking_away(made)),
            f"COMMIT; {archive.path.name} holds no tables, and none were there",
        ),
        warnings=tuple(f"goes with the tables, and is in no backup of rows: {name}" for name in along),
    )


def _prove_as_made(name: str, made: Made, there: Mapping[str, Relation]) -> None:
    gone = [table for table in made.tables if table not in there]
    tables = {text for text, relation in there.items() if relation.kind in (*COUNTED, PARTITIONED)}
    # with one that stays, the present could not be brought back: a rows backup makes tables where there are none
    new = sorted(tables - {*made.tables})
    if not (gone or new):
        return
    left = replace(made, tables=tuple(table for table in made.tables if table in there))
    raise Refused(
        f"{name} has not all the tables any more that the restore made: {some(gone)}"
        if gone
        else f"{name} has tables that came since the restore that made the others: {some(new)}",
        state="nothing was touched",
        hint=f"what is left of those is taken away by hand: {' '.join(taking_away(left))}",
    )


def _prove_nothing_leans(session: Session, name: str, made: Made, there: Mapping[str, Relation]) -> None:
    oids = [there[one].oid for one in (*made.tables, *made.sequences) if one in there]
    types = [split_name(one) for one in made.types]
    asked = {"oids": oids, "schemas": [pair[0] for pair in types], "names": [pair[1] for pair in types]}
    if leaning := [str(text) for (text,) in session.rows(LEANS, asked)]:
        raise Refused(
            f"{name} has what came since and leans on the tables that the restore made: {some(leaning)}",
            state="nothing was touched",
            hint="drop that, then db.undo again",
        )


def take_away(session: Session, made: Made) -> None:
    """Do it in the caller's transaction.

    Raises:
        QueryFailed: something that came since leans on it. RightMissing: it is not ours.
    """
    for statement in taking_away(made):
        session.execute(statement)
