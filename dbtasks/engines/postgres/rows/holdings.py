"""What a rows backup and a PostgreSQL database hold, for a comparison: the catalogue is read as it was for the backup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....errors import Busy, RightMissing
from ....holdings import Holdings
from ....models import Archive, EngineName
from ....plans import DumpRequest
from ....rows.comparison.definitions import definitions_of
from ....rows.postgres.schema import describe
from ....rows.postgres.source import fix_values
from ....rows.schema import PortableSchema
from ....sessions import Session
from ...rows.archive import head_of_rows
from ...rows.holdings import document_holdings, older_holdings, spelling_of
from ..connected import other_sessions
from ..direct import direct_session
from ..facts import (
    COUNTED,
    PARTITIONED,
    SEQUENCE,
    Relation,
    count_rows,
    database_facts,
    reading_snapshot,
    relations,
)
from ..server import offered_extensions
from ..tables import select_tables
from .older import place_older

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["holdings_beside"]


def holdings_beside(engine: PostgresEngine, archive: Archive) -> tuple[Holdings, Holdings]:
    """See `Engine.holdings_beside`: one read-only snapshot, by psycopg2 from this machine and without a client tool."""
    head = head_of_rows(archive)
    ours = None if head.older else document_holdings(archive)
    with direct_session(engine) as session:
        facts = database_facts(session, migration_table=engine.settings.migration_table)
        offered = offered_extensions(session)
        sessions = other_sessions(session, engine.target.database)
        with reading_snapshot(session):
            found = select_tables(session, relations(session), DumpRequest(), large_objects=False).dumped
            live = _described(session, found)
            tables = [relation for relation in found if relation.kind in COUNTED]
            rows, not_counted = _counted(session, tables)
            placed, told = place_older(session, archive, head) if head.older else (head, ())
    theirs = Holdings(
        tables=tuple(map(str, tables)),
        rows=rows,
        not_counted=not_counted,
        schema=definitions_of(live, spelling_of(EngineName.POSTGRESQL, facts.server_version)),
        revision=facts.revision,
        extensions=facts.extensions,
        offered={name: version for name, (version, _) in offered.items()},
        sessions=sessions,
        server_version=facts.server_version,
    )
    if ours is None:
        return older_holdings(archive, placed, told, live, theirs)
    return ours, theirs


def _described(session: Session, found: tuple[Relation, ...]) -> PortableSchema:
    fix_values(session)
    tables = [relation.oid for relation in found if relation.kind in (*COUNTED, PARTITIONED)]
    return describe(session, tables, [one.oid for one in found if one.kind == SEQUENCE]).schema


def _counted(session: Session, tables: list[Relation]) -> tuple[dict[str, int], str]:
    try:
        return {str(table): number for table, number in count_rows(session, tables).items()}, ""
    except (RightMissing, Busy) as exc:
        return {}, exc.message
