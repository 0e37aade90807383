"""Event triggers: they see what is done to tables, and may refuse it.

They are left awake. One that replicates definitions or keeps an extension's
books is needed, and one that refuses is somebody's rule: both are named.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ....errors import LoadFailed, Refused
from ....sessions import Session
from ..script.statements import quoted

__all__ = ["EventTrigger", "awake", "refusal", "words_about"]

AWAKE = """
    SELECT e.evtname::text AS name, e.evtfoid::pg_catalog.regprocedure::text AS function,
           e.evttags IS NULL OR e.evttags && %(tags)s::text[] AS sees,
           EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = e.oid AND d.deptype = 'e'
                   AND d.classid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass) AS extension
    FROM pg_catalog.pg_event_trigger e
    WHERE e.evtevent IN ('ddl_command_start', 'ddl_command_end')
      AND (e.evtenabled = 'A' OR e.evtenabled = CASE pg_catalog.current_setting('session_replication_role')
                                                WHEN 'replica' THEN 'R' ELSE 'O' END::"char")
      AND pg_catalog.current_setting('event_triggers', true) IS DISTINCT FROM 'off' ORDER BY 1
"""
SWITCHES = ("ALTER TABLE", "ALTER SEQUENCE")
"""What replacing rows does to a table."""
REBUILDS = ("ALTER INDEX", "COMMENT", "CREATE INDEX", "DROP INDEX", "REFRESH MATERIALIZED VIEW")
"""What filling them without their indexes and keys does besides."""
MAKES = (
    *SWITCHES, "ALTER INDEX", "ALTER TYPE", "COMMENT", "CREATE FUNCTION", "CREATE INDEX", "CREATE POLICY", "CREATE RULE",
    "CREATE SCHEMA", "CREATE SEQUENCE", "CREATE STATISTICS", "CREATE TABLE", "CREATE TRIGGER", "CREATE TYPE",
    "GRANT", "REVOKE",
)  # fmt: skip
"""What creating one does."""


@dataclass(frozen=True)
class EventTrigger:
    """One that fires now."""

    name: str
    function: str
    """As the server spells it in the context of an error."""
    sees: bool
    """Whether it looks at what is to be done."""
    extension: bool
    """Whether it came with an extension."""


def awake(session: Session, *, creating: bool = True, rebuilding: bool = False) -> Sequence[EventTrigger]:
    """Return those that fire on definitions, by name; asked where no name needs its schema left out."""
    tags = [*(MAKES if creating else SWITCHES), *(REBUILDS if rebuilding else ())]
    return [EventTrigger(*row) for row in session.rows(AWAKE, {"tags": tags})]


def words_about(found: Collection[EventTrigger]) -> tuple[str, ...]:
    """Say in a plan which of them will see it; those of extensions do what they are there for."""
    names = [one.name for one in found if one.sees and not one.extension]
    if not names:
        return ()
    return (
        f"event triggers see what is done to the tables, write what they write, and may refuse it: {', '.join(names)}",
    )


def refusal(exc: LoadFailed, found: Collection[EventTrigger]) -> Refused | None:
    """Return what one of them said against it as such, or may have said; None where the error came from elsewhere."""
    context = exc.details.partition("CONTEXT:")[2]
    named = [one for one in found if _shown(one.function) in context]
    names = [one.name for one in named]
    if not names:
        return None
    certain = any('"' not in one.function for one in named)
    disable = "; ".join(f"ALTER EVENT TRIGGER {quoted(name)} DISABLE" for name in names)
    return Refused(
        f"the event trigger {' or '.join(names)} {'refused' if certain else 'may have refused'} it: {exc.message.rpartition('broke off: ')[2]}",
        details=exc.details,
        state=exc.state,
        hint=f"{'where' if certain else 'the server says more in its log; where it was that, and'} its rule allows it, a superuser says {disable} before, and ENABLE afterwards;"
        " or bring all of it in beside: --into=NAME",
    )


def _shown(function: str) -> str:
    """Return how the context of an error names a function.

    What stands in quotes is not shown, it may be a value: then any quoted function of that schema looks the same.
    """
    plain, quote, _ = function.partition('"')
    return f"function {plain}{':' if quote else ' line '}"
