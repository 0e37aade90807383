"""The new database: made like the live one, filled, checked, dressed like it; dropped when anything fails."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....errors import CommandFailed, DbTasksError, LoadFailed, QueryFailed, StoreFull
from ....events import OnEvent, Phase, ignore
from ....models import Archive, Format
from ....plans import LoadPlan, LoadStrategy, Swapped
from ....psql import render
from ....row_values import first_error
from ....sessions import Session
from ... import OnKeep
from ..archive.contents import script_of
from ..archive.tarred import unpacked
from ..exchange.leftovers import MARK, drop_unfinished, sweep
from ..exchange.swap import bring_in, outside
from ..last_words import disk_full, way_left
from ..names import new_name
from ..rows.command import fill_made, make_by_command
from ..rows.load import fill_new, run_after_rows
from ..script.feed import transaction
from ..timescale import RESTORING, restoring
from .after_load import run_beside
from .checks import behind_sequences, loaded_counts, loaded_problems
from .several_jobs import restore_into

if TYPE_CHECKING:
    from psycopg2.sql import Composable

    from .. import PostgresEngine

__all__ = ["LoadedBeside", "loading_beside", "needs_script"]

ID_BYTES = 3
PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}
LIVE = """
    SELECT pg_catalog.to_jsonb(d) AS d, pg_catalog.pg_get_userbyid(d.datdba)::text AS owner,
           (SELECT t.spcname::text FROM pg_catalog.pg_tablespace t, pg_catalog.pg_database e
            WHERE t.oid = d.dattablespace AND e.datname = 'template0' AND e.dattablespace <> t.oid) AS space,
           pg_catalog.shobj_description(d.oid, 'pg_database') AS comment, d.datacl IS NOT NULL AS has_acl
    FROM pg_catalog.pg_database d WHERE d.datname = %s
"""
PRIVILEGES = """
    SELECT CASE WHEN a.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END AS grantee,
           a.privilege_type, a.is_grantable
    FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a WHERE d.datname = %s
"""
_NAME = r'(?:"(?:[^"]|"")+"|[\w$]+)'
_VALUE = r"""(?: ?E?'(?:[^']|'')*'|"(?:[^"]|"")*"|[\w.$]+)"""
SETTING = re.compile(
    rf"(?:ALTER DATABASE|ALTER ROLE (?P<role>{_NAME}) IN DATABASE) {_NAME}"
    rf" (?P<set>SET [\w.\"]+ TO {_VALUE}(?:, ?{_VALUE})*)"
)
"""What facts.database_settings() writes, whatever database it names, and nothing after it."""


class LoadedBeside:
    """A backup loaded into a database of its own; see `engines.Loaded`."""

    def __init__(self, engine: PostgresEngine, plan: LoadPlan, archive: Archive, new: str) -> None:
        self._engine = engine
        self._plan = plan
        self._archive = archive
        self.new = new
        self.warnings: list[str] = []
        self.is_live = False
        """Whether the new database has the live name: it must not be dropped any more."""
        self.held = ExitStack()
        """The connection that shows other runs that this one is alive."""

    def counts(self) -> dict[str, int]:
        """Count every table of the new database in one snapshot."""
        with self._engine.session(self.new) as session:
            return loaded_counts(session)

    def problems(self) -> tuple[str, ...]:
        """Name invalid indexes, sequences and extensions that did not come."""
        with self._engine.session(self.new) as session:
            self.warnings += behind_sequences(session)
            # of extensions a rows backup holds the names alone
            manifest = None if self._archive.format is Format.ROWS else self._archive.manifest
            return loaded_problems(session, manifest)

    def after_load(self, files: Sequence[Path], on_event: OnEvent = ignore) -> None:
        """Run SQL files in the new database, in one transaction."""
        with _untouched(self._engine):
            if self._archive.format is Format.ROWS:
                # rows come without client tools, and so does what follows them
                like = None if self._plan.facts else self.new
                run_after_rows(self._engine, self._plan, self.new, files, on_event, like)
            else:
                run_beside(self._engine, self._plan, self.new, files, on_event)
            if self._plan.request.analyze:
                _analyze(self._engine, self.new, on_event)

    def commit(self, on_keep: OnKeep | None = None) -> Swapped:
        """Exchange the names; from then on the new database is the live one."""
        self.held.close()
        comment = self._dress()

        def arrived() -> None:
            self.is_live = True

        done = bring_in(self._engine, self._plan, self.new, comment=comment, on_live=arrived, on_keep=on_keep)
        return replace(done, warnings=(*self.warnings, *done.warnings))

    def _dress(self) -> str | None:
        """Carry over what pg_dump leaves out: settings, privileges, connection limit; return the comment."""
        from psycopg2 import sql

        target = self._engine.target.database
        new = sql.Identifier(self.new)
        with outside(self._engine) as session:
            live = session.rows(LIVE, (target,))
            statements: list[Composable] = list(self._settings(new))
            comment = None
            if live:
                ((row, owner, _, comment, has_acl),) = live
                if has_acl:
                    statements += _privileges(session, target, owner, new)
                if row["datconnlimit"] >= 0:
                    limit = sql.Literal(row["datconnlimit"])
                    statements.append(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(new, limit))
            for statement in statements:
                self._attempt(session, statement)
        return None if comment is None else str(comment)

    def _settings(self, new: Composable) -> Iterator[Composable]:
        from psycopg2 import sql

        lines: tuple[str, ...] = ()
        if self._plan.facts is not None:
            lines = self._plan.facts.settings
        elif self._plan.strategy is LoadStrategy.CREATE and self._archive.manifest:
            lines = self._archive.manifest.database_settings
        for line in lines:
            found = SETTING.fullmatch(line)
            if found is None:
                self.warnings.append(f"not carried over, its form is unknown: {line}")
                continue
            if found["set"].replace('"', "").startswith(f"SET {RESTORING} "):
                continue
            role = found["role"]
            head = f"ALTER ROLE {role} IN DATABASE " if role else "ALTER DATABASE "
            yield sql.SQL("{}{} {}").format(sql.SQL(head), new, sql.SQL(found["set"]))

    def _attempt(self, session: Session, statement: Composable) -> None:
        """Run a statement that may need more rights than a restore: what fails is told, with its words."""
        try:
            session.execute(statement)
        except DbTasksError as exc:
            text = render(statement).replace(self.new, self._engine.target.database)
            self.warnings.append(f"not carried over: {text} ({exc.message})")


def needs_script(engine: PostgresEngine, plan: LoadPlan, archive: Archive) -> bool:
    """Whether the archive has to go through psql: scripts do, and what the server would choke on.

    pg_restore 17 and later set transaction_timeout, which servers before 17 do
    not know; only a script can be rid of it. So it is with a schema that is there
    because TimescaleDB lives in it, and with what is said of `public` to a role
    that may not change it.
    """
    if archive.format is Format.SQL or _kept_schemas(plan) or plan.public_stays:
        return True
    return engine.server_version() < 170000 and engine.runner.version("pg_restore").major >= 17


@contextmanager
def loading_beside(
    engine: PostgresEngine, plan: LoadPlan, archive: Archive, on_event: OnEvent, id_: str
) -> Iterator[LoadedBeside]:
    """Load into a new database and yield it; without a commit it is dropped."""
    new = new_name(engine.target.database, id_ or os.urandom(ID_BYTES).hex())
    loaded = LoadedBeside(engine, plan, archive, new)
    with outside(engine) as session:
        loaded.warnings += sweep(engine, session)
        _create(session, engine, plan, archive, loaded, on_event)
    try:
        loaded.held.enter_context(engine.session(new))
        if plan.schema_command:
            # which says itself when its rows come
            make_by_command(engine, archive, new, plan.state, on_event)
        else:
            on_event(Phase("load", f"{archive.path.name} into {new}"))
        loaded.warnings += _fill(engine, plan, archive, new, on_event)
        if plan.request.analyze and not plan.request.after_load:
            _analyze(engine, new, on_event)
        yield loaded
    finally:
        # a server that went away ended it as well: the error that led here is the news
        with suppress(DbTasksError):
            loaded.held.close()
        if not loaded.is_live:
            drop_unfinished(engine, new, on_event)


def _create(
    session: Session,
    engine: PostgresEngine,
    plan: LoadPlan,
    archive: Archive,
    loaded: LoadedBeside,
    on_event: OnEvent,
) -> None:
    from psycopg2 import sql

    target, new = engine.target.database, loaded.new
    on_event(Phase("create", new))
    live = session.rows(LIVE, (target,))
    if live:
        ((row, owner, space, _, _),) = live
        options = {"OWNER": sql.Identifier(owner), **_locale(row)}
        if space is not None:
            options["TABLESPACE"] = sql.Identifier(space)
        ((encoding,),) = session.rows("SELECT pg_catalog.pg_encoding_to_char(%s) AS e", (row["encoding"],))
        options["ENCODING"] = sql.Literal(encoding)
        session.execute(_create_statement(new, options))
    else:
        _create_from_manifest(session, plan, archive, loaded, new)
    session.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(new), sql.Literal(MARK)))


def _create_from_manifest(
    session: Session, plan: LoadPlan, archive: Archive, loaded: LoadedBeside, new: str
) -> None:
    from psycopg2 import sql

    # somebody else's dump tells how its text is written, not how its database was made
    manifest = archive.manifest if archive.is_ours else None
    options: dict[str, Composable] = {}
    if plan.request.role:
        options["OWNER"] = sql.Identifier(plan.request.role)
    if manifest and manifest.encoding:
        options["ENCODING"] = sql.Literal(manifest.encoding)
    locale = {"LC_COLLATE": manifest.collation, "LC_CTYPE": manifest.ctype} if manifest else {}
    names = {key: sql.Literal(value) for key, value in locale.items() if value}
    try:
        session.execute(_create_statement(new, {**options, **names}))
    except QueryFailed as exc:
        if not names or exc.sqlstate not in ("22023", "42809"):
            raise
        # locale names belong to an operating system: en_US.UTF-8 here, English_United States.1252 there
        session.execute(_create_statement(new, options))
        loaded.warnings.append(
            f"the locale {' or '.join(dict.fromkeys(filter(None, locale.values())))} is not known to this server;"
            " the database got the server's own: text may sort differently"
        )


def _create_statement(new: str, options: Mapping[str, Composable]) -> Composable:
    from psycopg2 import sql

    # template0: template1 may hold what its owner put there
    parts: list[Composable] = [sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(new))]
    parts += [sql.SQL("{} {}").format(sql.SQL(name), value) for name, value in options.items()]
    return sql.SQL(" ").join(parts)


def _locale(row: Mapping[str, Any]) -> dict[str, Composable]:
    """Say the live database's locale in the words of its server's version."""
    from psycopg2 import sql

    options = {"LC_COLLATE": sql.Literal(row["datcollate"]), "LC_CTYPE": sql.Literal(row["datctype"])}
    provider = row.get("datlocprovider", "c")
    if provider in PROVIDERS and provider != "c":
        name = row.get("datlocale") or row.get("daticulocale")
        options["LOCALE_PROVIDER"] = sql.SQL(PROVIDERS[provider])
        options["ICU_LOCALE" if provider == "i" else "BUILTIN_LOCALE"] = sql.Literal(name)
        if row.get("daticurules"):
            options["ICU_RULES"] = sql.Literal(row["daticurules"])
    elif "datlocprovider" in row:
        options["LOCALE_PROVIDER"] = sql.SQL("libc")
    return options


def _privileges(session: Session, target: str, owner: str, new: Composable) -> Iterator[Composable]:
    from psycopg2 import sql

    for grantee in (sql.SQL("PUBLIC"), sql.Identifier(owner)):
        yield sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(new, grantee)
    for name, privilege, grantable in session.rows(PRIVILEGES, (target,)):
        whom = sql.SQL("PUBLIC") if name is None else sql.Identifier(name)
        statement = sql.SQL("GRANT {} ON DATABASE {} TO {}").format(sql.SQL(privilege), new, whom)
        yield statement + sql.SQL(" WITH GRANT OPTION") if grantable else statement


# -- filling -----------------------------------------------------------------------


def _fill(
    engine: PostgresEngine, plan: LoadPlan, archive: Archive, new: str, on_event: OnEvent
) -> tuple[str, ...]:
    try:
        if plan.schema_command:
            return fill_made(engine, archive, new, on_event)
        with restoring(engine, plan.timescale, new):
            _load(engine, plan, archive, new, on_event)
            return ()
    except DbTasksError as exc:
        # the message of a child or a session speaks of the new database: what matters is the live one
        exc.state = f"{engine.target.database} was not touched"
        if not isinstance(exc, CommandFailed | QueryFailed):
            raise
        sqlstate = exc.sqlstate if isinstance(exc, QueryFailed) else ""
        kind = StoreFull if disk_full(exc.details, sqlstate) else LoadFailed
        raise kind(
            f"{archive.path.name} could not be loaded into a new database: {first_error(exc.details) or exc.message}",
            details=exc.details,
            state=exc.state,
            hint=way_left(exc.details, archive, engine.settings.backup_dir, sqlstate=sqlstate) or exc.hint,
        ) from exc


def _load(engine: PostgresEngine, plan: LoadPlan, archive: Archive, new: str, on_event: OnEvent) -> None:
    if archive.format is Format.ROWS:
        fill_new(engine, plan, archive, new, on_event)
    elif needs_script(engine, plan, archive):
        _fill_by_script(engine, plan, archive, new, on_event)
    elif archive.format is Format.DIRECTORY:
        with unpacked(archive.path) as folder, engine.runner.staged(folder) as there:
            restore_into(engine, plan, archive, new, there)
    else:
        with engine.runner.staged(archive.path) as there:
            restore_into(engine, plan, archive, new, there)


def _kept_schemas(plan: LoadPlan) -> frozenset[str]:
    """Return the schema TimescaleDB was created in, where that is not one every database has."""
    schema = plan.timescale.schema if plan.timescale else "public"
    return frozenset[str]() if schema == "public" else frozenset({schema})


def _fill_by_script(
    engine: PostgresEngine, plan: LoadPlan, archive: Archive, new: str, on_event: OnEvent
) -> None:
    with transaction(engine, new, archive) as feed, script_of(engine, archive) as script:
        feed.play(script, plan.request, kept_schemas=_kept_schemas(plan), on_event=on_event)
        feed.commit()


def _analyze(engine: PostgresEngine, new: str, on_event: OnEvent) -> None:
    on_event(Phase("analyze", new))
    with engine.session(new) as session:
        session.execute("ANALYZE")


@contextmanager
def _untouched(engine: PostgresEngine) -> Iterator[None]:
    """Let a failure in the new database speak of the live one."""
    try:
        yield
    except DbTasksError as exc:
        exc.state = f"{engine.target.database} was not touched"
        raise
