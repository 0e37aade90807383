"""What a created table needs here that does not come with it: functions, and a role that sees all of its rows."""

from __future__ import annotations

from collections.abc import Iterable

from ....errors import Refused, RightMissing
from ....sessions import Session
from ..facts import table_name
from ..script.statements import Name, tokens_of, unquoted
from .live_tables import Live
from .of_archive import Definitions, Selection

__all__ = ["prove_functions", "prove_row_security"]

UNTOUCHED = "nothing was touched"
CALLING = {"table", "of table", "type", "constraint", "key", "index", "trigger", "policy", "statistics"}
"""Kinds of statements that may call a function."""
# an operator class may stand before parentheses as well
CALLABLE = """
    SELECT n.nspname::text AS schema, p.proname::text AS name FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = ANY (%(schemas)s)
    UNION SELECT n.nspname::text, o.opcname::text FROM pg_catalog.pg_opclass o
    JOIN pg_catalog.pg_namespace n ON n.oid = o.opcnamespace WHERE n.nspname = ANY (%(schemas)s)
"""
SEES_ALL = """
    SELECT r.rolname::text AS name, r.rolsuper OR r.rolbypassrls AS sees_all FROM pg_catalog.pg_roles r
    WHERE r.rolname = coalesce(%s, current_user)
"""
FORCED = """
    SELECT c.oid FROM pg_catalog.pg_class c
    WHERE c.oid = ANY (%s) AND c.relrowsecurity AND c.relforcerowsecurity
"""


def prove_functions(session: Session, definitions: Definitions, selection: Selection, live: Live) -> None:
    """See that each function is here which the statements of created tables call; no function comes with a table.

    Raises:
        Refused: one is not; names it.
    """
    no_function = {*live.types, *selection.types, *definitions.tables, *live.relations}
    called: dict[Name, Name] = {}
    for statement, text in definitions.statements:
        if statement.kind in CALLING and selection.wants(statement):
            for name in _called(text.decode(errors="surrogateescape")):
                called.setdefault(name, statement.on)
    wanted = {name: on for name, on in called.items() if name not in no_function and name[0][:3] != "pg_"}
    if not wanted:
        return
    schemas = sorted({schema for schema, _ in wanted})
    there = {(schema, name) for schema, name in session.rows(CALLABLE, {"schemas": schemas})}
    lacking = sorted(wanted.keys() - there)
    if lacking:
        raise Refused(
            f"{table_name(*wanted[lacking[0]])} needs functions that are not here:"
            f" {', '.join(f'{table_name(*name)}()' for name in lacking)}",
            state=UNTOUCHED,
            hint="create them first: db.diff shows what the backup has and the database lacks",
        )


def _called(text: str) -> Iterable[Name]:
    tokens = list(tokens_of(text))
    for schema, dot, name, mark in zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False):
        if dot.text == "." and mark.text == "(" and schema.is_name and name.is_name:
            yield unquoted(schema.text), unquoted(name.text)


def prove_row_security(
    session: Session,
    definitions: Definitions,
    created: Iterable[Name],
    emptied: Iterable[Name],
    live: Live,
    role: str | None,
) -> None:
    """See that whoever loads sees all rows of tables that hide some from their owner as well.

    Raises:
        RightMissing: row-level security is forced on one; names it.
    """
    forced = {name for name in created if name in definitions.forced_row_security}
    by_oid = {live.relations[name].oid: name for name in emptied}
    forced |= {by_oid[oid] for (oid,) in session.rows(FORCED, (list(by_oid),))}
    if not forced:
        return
    found = session.rows(SEES_ALL, (role,))
    if found and not found[0][1]:
        raise RightMissing(
            f"row-level security is forced on {', '.join(table_name(*name) for name in sorted(forced))}, and hides rows"
            f" from {found[0][0]}: what is loaded could not be counted",
            state=UNTOUCHED,
            hint="restore as a superuser or a role with BYPASSRLS",
        )
