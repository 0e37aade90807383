"""Where a migration arrives: what is there, what is still missing, and the one transaction in which its rows come.

A database that is missing is made beside, under a name of its own, and gets its
name when it is whole: nobody ever sees a half one. Before it is made the backup
folder tells of it, so that a cleanup finds it if we are killed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....errors import (
    CannotReach,
    CommitInDoubt,
    CountsDiffer,
    DbTasksError,
    LoadFailed,
    LoginRefused,
    QueryFailed,
    Refused,
    RightMissing,
    TargetUnreachable,
)
from ....events import OnEvent, Phase, Warned, ignore
from ....models import Revision
from ....plans import TargetState
from ....rows.postgres.source import PostgresSource
from ....rows.postgres.unfinished import with_unfinished
from ....rows.schema import PortableSchema
from ....sessions import PsycopgSession, Session
from ....stores.proofs import MIGRATION, ProofMark, marking_proof
from ..direct import direct_session
from ..exchange.claim import not_known_now
from ..exchange.leftovers import MARK, drop_unfinished, sweep
from ..exchange.swap import outside, take_place
from ..facts import COUNTED, PARTITIONED, Relation, database_facts, relations, system_identifier
from ..names import new_name, prove_name
from ..rows.load import transaction
from ..script.over_the_commit import is_committed
from ..script.statements import quoted
from ..server import look_at_server

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["Arrival", "Ground", "arriving", "as_it_was", "filled_tables", "look_at_ground", "prove_may_make"]

UNTOUCHED = "nothing was touched"
OVER_THE_COMMIT = "the server went away over the COMMIT"
IN_DOUBT = (
    "start the server; then db.migrate --dry-run tells: it refuses tables that hold rows where it took effect"
)
NEW_ROLE_PASSWORD = "***"  # noqa: S105 - for whoever types the statement to fill in
MAY_MAKE = """
    SELECT current_user::text AS role,
           coalesce(pg_catalog.has_schema_privilege(n.oid, 'CREATE'), false) AS may, n.oid IS NOT NULL AS there
    FROM (SELECT 'public'::name AS name) AS wanted LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.name
"""
OWNERS_ONLY = "tables that are there are filled by their owner: migrate as that role"
STRANGERS = """
    SELECT DISTINCT current_user::text AS role, pg_catalog.pg_get_userbyid(c.relowner)::text AS owner
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
    WHERE c.oid = ANY (%s) AND NOT r.rolsuper AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') ORDER BY 2
"""
"""Whom the tables belong to; to become a superuser is no way."""


NAMES = """
    SELECT c.relname::text AS name FROM pg_catalog.pg_class c
    WHERE c.relnamespace = pg_catalog.to_regnamespace('public')
    UNION SELECT t.typname::text FROM pg_catalog.pg_type t WHERE t.typnamespace = pg_catalog.to_regnamespace('public')
"""


@dataclass(frozen=True)
class Ground:
    """What a migration finds where it goes."""

    state: TargetState
    live: PortableSchema | None = None
    """The tables that are there; None: there are none."""
    revision: Revision | None = None
    """Where the application's schema migrations stand there."""
    names: frozenset[str] = frozenset()
    """What the schema `public` has something of, where tables are made."""


def look_at_ground(engine: PostgresEngine) -> Ground:
    """Look at the database rows are to go into, and prove that it can be made where it is missing.

    Raises:
        RightMissing: the details hold the SQL that makes role and database. LoginRefused: so do they where the server
        says that there is no such role. Refused: it is damaged.
        CannotReach: it cannot be asked.
    """
    name = engine.target.database
    prove_name(name)
    try:
        state = engine.state()
    except LoginRefused as exc:
        raise _not_let_in(engine, exc) from exc
    if state is TargetState.DAMAGED:
        raise Refused(
            f"{name} is damaged: nothing can be migrated into it", state=UNTOUCHED, hint="db.info says more"
        )
    if state is TargetState.MISSING:
        _prove_may_create(engine)
        return Ground(state)
    with direct_session(engine) as session:
        return _ground(engine, session, state)


def _not_let_in(engine: PostgresEngine, exc: LoginRefused) -> LoginRefused:
    """Tell a role that is missing from a password that is wrong, where the server does."""
    role = engine.target.user
    # libpq hands on no SQLSTATE for a login: only the words are left
    if f'role "{role}" does not exist' not in exc.details:
        hint = f"{exc.hint}; a server that asks for passwords says of a role that is missing what it says of a wrong one"
        return LoginRefused(exc.message, details=exc.details, state=UNTOUCHED, hint=hint)
    return LoginRefused(
        f"{exc.message}: it has no such role",
        details="\n".join([exc.details, *_making(engine, role)]),
        state=UNTOUCHED,
        hint="let a superuser say the SQL above, then run this again; or check the user's name",
    )


def _ground(engine: PostgresEngine, session: PsycopgSession, state: TargetState) -> Ground:
    found = relations(session)
    names = frozenset(str(name) for (name,) in session.rows(NAMES))
    if not any(relation.kind in COUNTED for relation in found):
        return Ground(state, names=names)
    facts = database_facts(session, migration_table=engine.settings.migration_table)
    try:
        live = _live_schema(session, found)
    except RightMissing as exc:
        raise _not_ours(session, found, exc) from exc
    return Ground(state, live, facts.revision, names)


def _not_ours(session: Session, found: Sequence[Relation], exc: RightMissing) -> RightMissing:
    strangers = [
        (str(role), str(owner)) for role, owner in session.rows(STRANGERS, ([one.oid for one in found],))
    ]
    grants = " ".join(f"GRANT {quoted(owner)} TO {quoted(role)};" for role, owner in strangers)
    way = f"{OWNERS_ONLY}; or let a superuser say: {grants}" if grants else OWNERS_ONLY
    return RightMissing(exc.message, details=exc.details, state=UNTOUCHED, hint=way)


def _live_schema(session: PsycopgSession, found: Sequence[Relation]) -> PortableSchema:
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        tables = [relation.oid for relation in found if relation.kind in COUNTED]
        partitioned = [relation.oid for relation in found if relation.kind == PARTITIONED]
        source = PostgresSource(session, tables, without_rows=partitioned)
        return with_unfinished(session, source.schema, (*tables, *partitioned))
    finally:
        session.execute("ROLLBACK")


def _prove_may_create(engine: PostgresEngine) -> None:
    name = engine.target.database
    try:
        server, why = look_at_server(engine, TargetState.MISSING)
    except CannotReach as exc:
        raise RightMissing(
            f"{name} does not exist, and cannot be created from here: {exc.message}",
            details="\n".join(_making(engine, engine.target.user or "…")),
            state=UNTOUCHED,
            hint="let a superuser say the SQL above, then run this again",
        ) from exc
    if server.creates and not why:
        return
    raise RightMissing(
        f"{name} does not exist, and the role {server.role} may not create databases"
        + (f": {why}" if why else ""),
        details="\n".join(_making(engine, server.role)),
        state=UNTOUCHED,
        hint=f"let a superuser say the SQL above, then run this again; or: ALTER ROLE {quoted(server.role)} CREATEDB;",
    )


def _making(engine: PostgresEngine, role: str) -> tuple[str, ...]:
    """Return the SQL that makes role and database, for a superuser to type."""
    database = quoted(engine.target.database)
    return (
        f"CREATE ROLE {quoted(role)} LOGIN PASSWORD '{NEW_ROLE_PASSWORD}';  -- where it is not there yet",
        f"CREATE DATABASE {database} OWNER {quoted(role)} TEMPLATE template0 ENCODING 'UTF8';",
    )


def prove_may_make(session: Session, database: str) -> None:
    """See that tables can be made in the schema public.

    Raises:
        Refused: there is no such schema. RightMissing: this role may not; the hint grants it.
    """
    ((role, may, there),) = session.rows(MAY_MAKE)
    if not there:
        raise Refused(
            f"{database} has no schema public, where the tables would be made",
            state=UNTOUCHED,
            hint="CREATE SCHEMA public;",
        )
    if not may:
        raise RightMissing(
            f"{role} may not create tables in the schema public of {database}",
            state=UNTOUCHED,
            hint=f"let a superuser say, in {database}: GRANT CREATE ON SCHEMA public TO {quoted(str(role))};",
        )


def filled_tables(engine: PostgresEngine, names: Sequence[str]) -> tuple[str, ...]:
    """Return which of these tables hold rows."""
    with direct_session(engine) as session:
        there = {str(relation): relation for relation in relations(session)}
        return tuple(name for name in names if name in there and _has_rows(session, there[name]))


def _has_rows(session: Session, relation: Relation) -> bool:
    from psycopg2 import sql

    table = sql.Identifier(relation.schema, relation.name)
    ((found,),) = session.rows(sql.SQL("SELECT EXISTS (SELECT FROM {}) AS found").format(table))
    return bool(found)


# -- the transaction -----------------------------------------------------------------------------


class Arrival:
    """The open transaction, in the database or in the one that will be it."""

    def __init__(
        self, engine: PostgresEngine, session: PsycopgSession, database: str, who: tuple[str, int]
    ) -> None:
        self.session = session
        self.database = database
        """The name it has while it is being filled."""
        self._engine = engine
        self._who = who

    def commit(self) -> None:
        """Let it take effect, at once and whole.

        Raises:
            LoadFailed: the server did not commit. CommitInDoubt: nobody knows.
            Busy, OperationFailed: others were not kept away; nothing was committed.
        """
        name = self._engine.target.database
        self._engine.prove_claimed(self.session)
        try:
            self.session.execute("COMMIT")
        except TargetUnreachable as exc:
            if not self._is_committed():
                raise LoadFailed(
                    f"the server did not commit what was migrated into {name}", details=exc.details
                ) from exc

    def _is_committed(self) -> bool:
        name = self._engine.target.database
        try:
            return is_committed(self._engine, self.database, *self._who)
        except CommitInDoubt as exc:
            if self.database == name:
                exc.state = f"whether {name} holds what was migrated is not known: {OVER_THE_COMMIT}"
                exc.hint = IN_DOUBT
            else:
                exc.state = (
                    f"{name} does not exist, as before; {self.database} holds what was migrated, or nothing"
                )
                exc.hint = f"start the server, then migrate again: that drops {self.database}, and so does db.cleanup"
            raise

    def analyze(self, tables: Sequence[tuple[str, str]]) -> tuple[str, ...]:
        """Let the server learn what is in the tables; returns a warning where it did not."""
        from psycopg2 import sql

        try:
            for table in tables:
                self.session.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(*table)))
        except DbTasksError as exc:
            return (f"the rows are live, and their statistics are not: {exc.message}; ANALYZE mends that",)
        return ()


def as_it_was(name: str, state: TargetState) -> str:
    """Return what is to be said of a database that nothing came into."""
    return f"{name} does not exist, as before" if state is TargetState.MISSING else f"{name} is as it was"


@contextmanager
def arriving(
    engine: PostgresEngine, state: TargetState, id_: str, on_event: OnEvent = ignore
) -> Iterator[Arrival]:
    """Open the transaction rows go into; without `commit` nothing of it stays, and no database either.

    A missing database is there when the block has ended.

    Raises:
        LoadFailed: it broke off, the state says what is there. RightMissing, Busy: so does theirs.
    """
    name = engine.target.database
    try:
        if state is not TargetState.MISSING:
            with direct_session(engine) as session, transaction(session) as who:
                yield Arrival(engine, session, name, who)
            return
        with _made_beside(engine, id_, on_event) as made:
            with direct_session(engine, made.name) as session, transaction(session) as who:
                yield Arrival(engine, session, made.name, who)
            made.bring_in()
    except (CannotReach, QueryFailed, CountsDiffer, Refused) as exc:
        exc.state = exc.state or as_it_was(name, state)
        if isinstance(exc, RightMissing):
            exc.hint = exc.hint or OWNERS_ONLY
        if type(exc) not in (QueryFailed, TargetUnreachable):
            raise
        raise LoadFailed(
            f"the migration into {name} broke off: {exc.message}", details=exc.details, state=exc.state
        ) from exc
    except DbTasksError as exc:
        exc.state = exc.state or as_it_was(name, state)
        raise


class _Made:
    """A database in the making."""

    def __init__(self, engine: PostgresEngine, name: str) -> None:
        self.name = name
        self.is_live = False
        self._engine = engine

    def bring_in(self) -> None:
        """Give it its name."""

        def arrived() -> None:
            self.is_live = True

        if self._engine.state() is not TargetState.MISSING:
            raise Refused(
                f"{self._engine.target.database} was created by somebody else meanwhile",
                hint="look again: --dry-run",
            )
        try:
            take_place(self._engine, self.name, comment=None, on_live=arrived)
        except DbTasksError as exc:
            # it speaks of a restore: of a database that was there, and of an undo
            if isinstance(exc, CannotReach) and exc.state:
                raise CommitInDoubt(
                    exc.message, details=exc.details, state=self._doubt(), hint=IN_DOUBT
                ) from exc
            if exc.state != not_known_now(self._engine.target.database):
                exc.state = ""
            raise

    def _doubt(self) -> str:
        name = self._engine.target.database
        return f"whether {name} is there, with what was migrated, or is still called {self.name} is not known"


@contextmanager
def _made_beside(engine: PostgresEngine, id_: str, on_event: OnEvent) -> Iterator[_Made]:
    from psycopg2 import sql

    made = _Made(engine, new_name(engine.target.database, id_))
    on_event(Phase("create", f"the database {engine.target.database}"))
    with outside(engine) as session:
        for text in sweep(engine, session):
            on_event(Warned(text))
        identifier = system_identifier(session)
    mark = ProofMark(engine.target.identity.server, engine.target.database, id_, MIGRATION, identifier)
    with marking_proof(engine.settings.backup_dir, mark) as marking:
        with outside(engine) as session:
            _create(session, made.name)
        try:
            with outside(engine) as session:
                session.execute(
                    sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                        sql.Identifier(made.name), sql.Literal(MARK)
                    )
                )
            yield made
        finally:
            if not made.is_live and not drop_unfinished(engine, made.name, on_event):
                marking.stays()


def _create(session: Session, name: str) -> None:
    from psycopg2 import sql

    statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name))
    try:
        session.execute(statement)
    except QueryFailed as exc:
        if exc.sqlstate not in ("22023", "42809"):
            raise
        # the server's own locale belongs to another encoding
        session.execute(statement + sql.SQL(" LC_COLLATE 'C' LC_CTYPE 'C'"))
