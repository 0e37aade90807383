"""Triggers and rules of the user's that sleep while rows come in, and wake up as they were."""

from __future__ import annotations

from collections.abc import Sequence

from ....sessions import Session
from ..script.statements import Name

__all__ = ["put_to_sleep", "rules_of", "strange_clones", "triggers_of", "wake"]

# what a partition has of its parent's triggers is internal up to PostgreSQL 14; so are those of keys, with all versions
TRIGGERS = """
    SELECT n.nspname::text AS schema, c.relname::text AS tab, t.tgname::text AS name, t.tgenabled::text AS state
    FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE t.tgrelid = ANY (%s) AND t.tgenabled <> 'D'
      AND (NOT t.tgisinternal OR t.tgparentid <> 0 AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_constraint k WHERE k.oid = t.tgconstraint AND k.contype <> 't'))
    ORDER BY c.relispartition, t.oid
"""
# COPY passes by them, a dump's INSERTs do not
RULES = """
    SELECT n.nspname::text AS schema, c.relname::text AS tab, r.rulename::text AS name, r.ev_enabled::text AS state
    FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE r.ev_class = ANY (%s) AND r.ev_type = '3' AND r.ev_enabled <> 'D' ORDER BY r.oid
"""
# a partition that was attached meanwhile got its triggers while those of its parent slept
CLONES = """
    SELECT n.nspname::text AS schema, c.relname::text AS tab, t.tgname::text AS name, p.tgenabled::text AS state
    FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_trigger p ON p.oid = t.tgparentid
    JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE t.tgrelid = ANY (%s) AND t.tgenabled <> p.tgenabled ORDER BY t.oid
"""
WAKING = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS", "D": "DISABLE"}


def triggers_of(session: Session, tables: list[int]) -> list[tuple[str, ...]]:
    """Return the triggers of these tables that would fire: schema, table, name and state."""
    return session.rows(TRIGGERS, (tables,))


def rules_of(session: Session, tables: list[int]) -> list[tuple[str, ...]]:
    """Return the rules that would act on an INSERT, likewise."""
    return session.rows(RULES, (tables,))


def strange_clones(session: Session, partitions: list[int]) -> list[tuple[str, ...]]:
    """Return the triggers of partitions that are not as those they come from, with the state of these."""
    return session.rows(CLONES, (partitions,))


def put_to_sleep(session: Session, found: Sequence[tuple[str, ...]], kind: str) -> None:
    """Switch them off; `kind` is TRIGGER or RULE."""
    for schema, table, name, _ in found:
        _switch(session, (schema, table), name, f"DISABLE {kind}")


def wake(session: Session, found: Sequence[tuple[str, ...]], kind: str) -> None:
    """Give each the state it had."""
    for schema, table, name, state in found:
        _switch(session, (schema, table), name, f"{WAKING[state]} {kind}")


def _switch(session: Session, table: Name, name: str, act: str) -> None:
    from psycopg2 import sql

    # ONLY: each partition has its own, and may have it in another state
    statement = sql.SQL("ALTER TABLE ONLY {} {} {}")
    session.execute(statement.format(sql.Identifier(*table), sql.SQL(act), sql.Identifier(name)))
