"""The restore of a rows backup: one transaction that empties exactly its tables, fills them, proves them and commits.

Locked first and looked at again, nobody else sees or changes anything in between.
Nothing in it needs a superuser: foreign keys are taken away and added again, user
triggers sleep, sequences move in a way that a rollback takes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ....errors import (
    Busy,
    CannotReach,
    CommitInDoubt,
    DbTasksError,
    LoadFailed,
    QueryFailed,
    Refused,
    RightMissing,
    TargetUnreachable,
)
from ....events import OnEvent, Phase, Progress, ignore
from ....models import Archive, EngineName
from ....plans import LoadPlan, PartPlan, Swapped
from ....rows.file import FileSource, Header
from ....rows.postgres.csv import csv_of
from ....rows.postgres.source import fix_reading, fix_values, release_values
from ....sessions import PsycopgSession, Session
from ... import OnKeep
from ...rows.across import convert
from ...rows.archive import Head, head_of_rows, opened_rows, prove_header
from ...rows.filling import none_of_its_tables, prove_all_came, prove_rows_came
from ..direct import direct_session
from ..facts import Relation, count_rows
from ..loading.after_load import run_here
from ..loading.checks import loaded_problems
from ..script.over_the_commit import is_committed
from .across import fill_across
from .asleep import put_to_sleep, triggers_of, wake
from .copy import add_bare_rows, copy_rows
from .create import made_for_rows
from .event_triggers import EventTrigger, awake, refusal
from .fit import as_role, prove_rows
from .live import LiveTables, look_for_rows
from .matviews import refresh
from .numbers import set_sequences
from .older import fill_older, place_older
from .set_aside import put_back, set_aside
from .take_away import take_away

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = [
    "LoadedRows",
    "as_everybody",
    "as_the_roles_own",
    "empty_tables",
    "fill_new",
    "fill_tables",
    "held_up",
    "load_rows",
    "loading_rows",
    "run_after_rows",
    "transaction",
]

HOLDERS = """
    SELECT DISTINCT a.pid, a.usename::text AS role, a.application_name AS application
    FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
    WHERE l.locktype = 'relation' AND l.granted AND l.relation = ANY (%s) AND a.pid <> pg_catalog.pg_backend_pid()
    ORDER BY 1
"""
LOCKED_AT_ONCE = 200


class LoadedRows:
    """The rows inside the open transaction; see `engines.Loaded`."""

    def __init__(
        self,
        engine: PostgresEngine,
        plan: LoadPlan | PartPlan,
        session: PsycopgSession,
        filled: Sequence[Relation],
        warnings: tuple[str, ...],
        who: tuple[str, int],
        known: tuple[str, ...],
    ) -> None:
        self._engine = engine
        self._plan = plan
        self._session = session
        self._filled = filled
        self._warnings = warnings
        self._who = who
        """The transaction and the backend it is in."""
        self._known = known

    def counts(self) -> dict[str, int]:
        """Count the tables that were filled, as the transaction sees them."""
        return {str(table): rows for table, rows in count_rows(self._session, self._filled).items()}

    def problems(self) -> tuple[str, ...]:
        """Name indexes that were valid before; keys were compared when they were added."""
        return tuple(text for text in loaded_problems(self._session, None) if text not in self._known)

    def after_load(self, files: Sequence[Path], on_event: OnEvent = ignore) -> None:
        """Run SQL files inside the transaction."""
        run_here(self._engine, self._session, files, on_event)

    def commit(self, on_keep: OnKeep | None = None) -> Swapped:
        """Commit: at once and whole. Statistics are read afterwards: a failure of that is a warning."""
        del on_keep
        name = self._engine.target.database
        self._engine.prove_claimed(self._session)
        try:
            self._session.execute("COMMIT")
        except TargetUnreachable as exc:
            if not is_committed(self._engine, name, *self._who):
                raise LoadFailed(
                    f"the server did not commit the load into {name}",
                    details=exc.details,
                    state=f"{name} is as it was",
                ) from exc
            return Swapped(None, warnings=self._warnings)
        return Swapped(None, warnings=(*self._warnings, *self._analyze()))

    def _analyze(self) -> tuple[str, ...]:
        from psycopg2 import sql

        if not self._plan.request.analyze:
            return ()
        try:
            for table in self._filled:
                self._session.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table.schema, table.name)))
        except DbTasksError as exc:
            return (f"the rows are live, and their statistics are old: {exc.message}; ANALYZE mends that",)
        return ()


@contextmanager
def loading_rows(
    engine: PostgresEngine, plan: LoadPlan, archive: Archive, on_event: OnEvent
) -> Iterator[LoadedRows]:
    """See `Engine.load`."""
    name = engine.target.database
    head = head_of_rows(archive)
    hooks: Sequence[EventTrigger] = ()
    try:
        with direct_session(engine) as session, transaction(session) as who:
            as_role(session, plan.request)
            if plan.request.takes_away:
                take_away(session, plan.request.takes_away)
                yield LoadedRows(engine, plan, session, (), (), who, ())
                return
            hooks = awake(session)
            if plan.creates:
                filled = _make(session, head, archive, on_event)
                yield LoadedRows(engine, plan, session, filled, (), who, ())
                return
            if head.older:
                head, _ = place_older(session, archive, head)
            live = _locked(engine, session, plan, archive, head)
            on_event(Phase("load", f"{archive.path.name} into {name}"))
            known = loaded_problems(session, None)
            warnings = load_rows(session, live, head, archive, on_event)
            yield LoadedRows(engine, plan, session, live.filled, warnings, who, known)
    except CommitInDoubt:
        raise
    except (CannotReach, QueryFailed) as exc:
        if isinstance(exc, RightMissing | Busy):
            exc.state = exc.state or f"{name} is as it was"
            raise
        what = f"taking tables of {name} away" if plan.request.takes_away else f"the load into {name}"
        broken = LoadFailed(
            f"{what} broke off: {exc.message}",
            details=exc.details,
            state=f"{name} is as it was",
            hint=exc.hint,
        )
        raise refusal(broken, hooks) or broken from exc


def fill_new(engine: PostgresEngine, plan: LoadPlan, archive: Archive, new: str, on_event: OnEvent) -> None:
    """Make and fill everything in a database that is new, and commit.

    Raises:
        QueryFailed, CountsDiffer, Refused: it could not be done; the new database is empty.
    """
    head = head_of_rows(archive)
    with direct_session(engine, new) as session, transaction(session):
        as_role(session, plan.request)
        _make(session, head, archive, on_event)
        session.execute("COMMIT")


def run_after_rows(
    engine: PostgresEngine,
    plan: LoadPlan,
    new: str,
    files: Sequence[Path],
    on_event: OnEvent,
    like: str | None,
) -> None:
    """Run SQL files in a database that is new and filled, in one transaction; `like` as for `run_here`.

    Raises:
        LoadFailed, Refused: one failed; nothing of them is kept.
    """
    with direct_session(engine, new) as session, transaction(session):
        as_role(session, plan.request)
        run_here(engine, session, files, on_event, like=like)
        session.execute("COMMIT")


def _make(session: PsycopgSession, head: Head, archive: Archive, on_event: OnEvent) -> tuple[Relation, ...]:
    converted = convert(archive, head, EngineName.POSTGRESQL)
    with made_for_rows(session, converted.head if converted else head, archive, on_event) as filled:
        if converted:
            fill_across(session, converted, head, archive, on_event)
        else:
            with as_the_roles_own(session):
                fill_tables(session, {str(table): table for table in filled}, head, archive, on_event)
    return filled


@contextmanager
def transaction(session: Session) -> Iterator[tuple[str, int]]:
    """Hold one open; without a COMMIT nothing of it stays. Yields its number and that of the backend."""
    # whatever the role's defaults are: what is committed before the locks are given has to be seen behind them
    session.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
    try:
        session.execute("SET LOCAL row_security = off")
        session.execute("SET LOCAL client_min_messages = warning")
        ((xid, pid),) = session.rows(
            "SELECT pg_catalog.pg_current_xact_id()::text AS xid, pg_catalog.pg_backend_pid() AS pid"
        )
        yield str(xid), int(pid)
    except KeyboardInterrupt:
        # closing the connection ends the transaction: whoever wants to leave waits for no answer
        raise
    except BaseException:
        with suppress(DbTasksError):
            session.execute("ROLLBACK")
        raise


# -- before the rows -----------------------------------------------------------------------------


def _locked(
    engine: PostgresEngine, session: Session, plan: LoadPlan, archive: Archive, head: Head
) -> LiveTables:
    """Lock the tables, and see that they are what the plan showed, before and after: they may not be ours any more."""
    before = _as_planned(engine, session, plan, archive, head)
    try:
        _lock(session, before)
    except Busy as exc:
        raise held_up(engine, [table.oid for table in (*before.filled, *before.above)], exc) from exc
    return _as_planned(engine, session, plan, archive, head)


def _as_planned(
    engine: PostgresEngine, session: Session, plan: LoadPlan, archive: Archive, head: Head
) -> LiveTables:
    live = look_for_rows(session, head)
    prove_rows(archive, head, live, engine.target.database)
    if tuple(str(table) for table in live.filled) != plan.fills or not set(live.fit.told) <= set(
        plan.warnings
    ):
        raise Refused(
            f"the tables of {engine.target.database} were changed since this was planned",
            hint="look again: --dry-run",
        )
    return live


def _lock(session: Session, live: LiveTables) -> None:
    from psycopg2 import sql

    # partitioned tables first, as everybody's statements lock them
    tables = [*live.above, *sorted(live.filled, key=str)]
    for start in range(0, len(tables), LOCKED_AT_ONCE):
        names = sql.SQL(", ").join(
            sql.SQL("ONLY ") + sql.Identifier(table.schema, table.name)
            for table in tables[start : start + LOCKED_AT_ONCE]
        )
        session.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(names))


def held_up(engine: PostgresEngine, oids: list[int], exc: Busy) -> Busy:
    """Say who has a table and does not give it back."""
    name = engine.target.database
    with engine.session() as session:
        found = session.rows(HOLDERS, (oids,))
    who = ", ".join(f"process {pid} ({', '.join(filter(None, (role, app)))})" for pid, role, app in found)
    return Busy(
        f"the load into {name} waited {engine.settings.lock_timeout:g} s for a lock"
        + (f" held by {who}" if who else ", which is free again by now"),
        details=exc.details,
        state=f"{name} is as it was",
        hint="end that session or let it finish, or raise lock_timeout",
    )


# -- the rows ----------------------------------------------------------------------------------------


def load_rows(
    session: PsycopgSession, live: LiveTables, head: Head, archive: Archive, on_event: OnEvent
) -> tuple[str, ...]:
    """Empty the tables and fill them in the caller's transaction; returns what is to be said.

    Raises:
        LoadFailed, CountsDiffer, Refused, QueryFailed: rows do not go in.
    """
    asleep = triggers_of(session, live.own)
    put_to_sleep(session, asleep, "TRIGGER")
    rows = {table.oid: head.rows.get(str(table), 0) for table in live.filled}
    referred = {relation.oid for relation in (*live.filled, *live.above)}
    taken = set_aside(session, live.own, sorted(referred), rows, older=True)
    empty_tables(session, live.filled)
    with as_everybody(session):
        fix_reading(session)
        fill_tables(session, {str(table): table for table in live.filled}, head, archive, on_event)
        release_values(session)
        on_event(Phase("rebuild", "indexes and foreign keys"))
        put_back(session, taken)
        session.execute("SET CONSTRAINTS ALL IMMEDIATE")
    # the identity of a partitioned table hangs on that, not on its partitions
    loaded = (*live.filled, *live.above)
    names = {str(table) for table in loaded}
    recorded = [one for one in head.schema.sequences if not one.table or one.table in names]
    partly = [table.oid for table in live.above if table not in live.whole]
    warnings = set_sequences(session, live.there, recorded, [table.oid for table in loaded], partly=partly)
    wake(session, asleep, "TRIGGER")
    with as_everybody(session):
        refresh(session, live.matviews, on_event)
    return warnings


def empty_tables(session: Session, tables: Sequence[Relation]) -> None:
    """Empty exactly these, in one statement; never what refers to them, nor what inherits from them."""
    from psycopg2 import sql

    names = sql.SQL(", ").join(
        sql.SQL("ONLY ") + sql.Identifier(table.schema, table.name) for table in tables
    )
    session.execute(sql.SQL("TRUNCATE TABLE {} CONTINUE IDENTITY RESTRICT").format(names))


def fill_tables(
    session: PsycopgSession,
    filled: Mapping[str, Relation],
    head: Head,
    archive: Archive,
    on_event: OnEvent,
    *,
    only: bool = False,
) -> None:
    """Bring in every table that the document holds; each has to be one of these, by its name there, unless only these are wanted.

    Raises:
        Refused: one is not. CountsDiffer: other rows came than the document has.
    """
    if head.older:
        fill_older(session, tuple(filled.values()), head, archive, on_event)
        return
    waiting = dict(filled)
    with opened_rows(archive) as document:
        for header in document.headers():
            table = waiting.pop(header.name, None)
            if table is None and only:
                continue
            if table is None:
                raise none_of_its_tables(archive, header)
            prove_header(archive, head, header)
            came = _copy(session, table, header, document, on_event)
            prove_rows_came(archive, str(table), came, document.row_count)
    prove_all_came(archive, waiting)


def _copy(
    session: PsycopgSession, table: Relation, header: Header, document: FileSource, on_event: OnEvent
) -> int:
    place = (table.schema, table.name)
    if not header.columns:
        for _ in document.pieces():
            pass
        add_bare_rows(session, place, document.row_count)
        return document.row_count

    def pieces() -> Iterator[bytes]:
        for piece in document.pieces():
            yield piece
            on_event(Progress(document.size_bytes))

    return copy_rows(session, place, header.columns, csv_of(pieces(), str(table)), told=str(table))


@contextmanager
def as_everybody(session: Session) -> Iterator[None]:
    """Look names up as the application's sessions do: functions in checks and views may lean on that."""
    session.execute("RESET search_path")
    yield
    session.execute("SELECT pg_catalog.set_config('search_path', '', false)")


@contextmanager
def as_the_roles_own(session: Session) -> Iterator[None]:
    """Read a document's values among definitions that are being made: all else goes as in the role's own sessions.

    Names, defaults and checks of tables that are filled are none of the file's.
    """
    release_values(session)
    with as_everybody(session):
        fix_reading(session)
        yield
    fix_values(session)
