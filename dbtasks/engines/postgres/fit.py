"""Planning a load: whether an archive fits this server, and what loading it will do.

Everything that would make the load fail is looked for here, named, and told
with the way that is left. Nothing is written.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...errors import (
    Busy,
    CannotReach,
    DatabaseMissing,
    LoginRefused,
    Refused,
    RightMissing,
    StoreFull,
    UsageError,
    VersionMismatch,
)
from ...models import (
    Archive,
    DatabaseFacts,
    Format,
    LoadPlan,
    LoadRequest,
    LoadStrategy,
    Manifest,
    TargetState,
)
from ...sessions import Session
from .contents import Contents, read_contents
from .inplace import find_in_the_way, lock_capacity
from .swap import outside

if TYPE_CHECKING:
    from . import PostgresEngine

__all__ = ["plan_load"]

UNTOUCHED = "nothing was touched"
RIGHTS = """
    SELECT current_user::text AS role, r.rolsuper, r.rolsuper OR r.rolcreatedb AS creates,
           d.owner, d.owner IS NULL OR pg_catalog.pg_has_role(d.datdba, 'USAGE') AS owns, d.closed_space
    FROM pg_catalog.pg_roles r
    LEFT JOIN (SELECT b.datdba, pg_catalog.pg_get_userbyid(b.datdba)::text AS owner,
                      CASE WHEN b.dattablespace <> e.dattablespace
                                AND NOT pg_catalog.has_tablespace_privilege(b.dattablespace, 'CREATE')
                           THEN t.spcname::text END AS closed_space
               FROM pg_catalog.pg_database b JOIN pg_catalog.pg_tablespace t ON t.oid = b.dattablespace,
                    pg_catalog.pg_database e
               WHERE b.datname = %s AND e.datname = 'template0') d ON true
    WHERE r.rolname = current_user
"""
SESSIONS = """
    SELECT a.pid, a.usename::text, a.application_name, a.client_addr::text, a.state
    FROM pg_catalog.pg_stat_activity a
    WHERE a.datname = %s AND a.usesysid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid()
      AND a.application_name <> 'dbtasks' ORDER BY a.backend_start
"""
TIED = """
    SELECT 'the replication slot ' || slot_name AS name FROM pg_catalog.pg_replication_slots WHERE database = %(db)s
    UNION ALL
    SELECT 'the prepared transaction ' || gid FROM pg_catalog.pg_prepared_xacts WHERE database = %(db)s
"""
SUBSCRIPTIONS = """
    SELECT 'the subscription ' || s.subname AS name FROM pg_catalog.pg_subscription s
    JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = %(db)s
"""
EXTENSIONS = """
    SELECT a.name::text AS name, a.default_version,
           bool_or(v.superuser AND NOT v.trusted) FILTER (WHERE v.version = a.default_version) AS superuser
    FROM pg_catalog.pg_available_extensions a
    JOIN pg_catalog.pg_available_extension_versions v ON v.name = a.name GROUP BY 1, 2
"""
ROLES = """
    SELECT r.rolname::text AS name, pg_catalog.pg_has_role(r.oid, 'MEMBER') AS ours FROM pg_catalog.pg_roles r
"""


@dataclass(frozen=True)
class _Server:
    """What was found on the server, as far as a load depends on it."""

    role: str
    superuser: bool
    creates: bool
    """May create databases."""
    owner: str | None
    """Of the live database."""
    owns: bool
    closed_space: str | None = None
    """The live database's tablespace, where the role may not create in it."""
    tied: tuple[str, ...] = ()
    """What holds the live database by its identity: it would stay with the old one."""
    sessions: tuple[str, ...] = ()


def plan_load(engine: PostgresEngine, archive: Archive, request: LoadRequest) -> LoadPlan:
    """Prove that the archive fits, choose how it becomes live, and say what that will do.

    Raises:
        VersionMismatch, ToolMissing, RightMissing: it does not fit; the hint names the way left.
        Refused: it would take the place of something it cannot replace.
    """
    state = engine.state()
    _refuse_what_replaces_nothing(engine, archive, request, state)
    _prove_versions(engine, archive.manifest)
    contents = read_contents(engine, archive)
    server, why_inside = _look(engine, state)
    strategy, why = _strategy(engine, request, state, server, why_inside)
    _prove_ties(engine, server, strategy)
    warnings = _prove_roles(engine, request, contents, server)
    warnings += _prove_extensions(engine, archive.manifest, server, strategy, state)
    _prove_disk(archive)
    facts, live_rows, more = _live(engine, state)
    plan = LoadPlan(
        request=request,
        strategy=strategy,
        state=state,
        route=engine.route,
        why=why,
        facts=facts,
        live_rows=live_rows,
        sessions=server.sessions if strategy is LoadStrategy.SWAP else (),
        warnings=(*warnings, *more),
    )
    if strategy is LoadStrategy.IN_PLACE:
        plan = replace(plan, drops=_prove_in_place(engine, contents))
    return replace(plan, steps=_steps(engine, archive, plan))


# -- the archive itself ----------------------------------------------------------------


def _refuse_what_replaces_nothing(
    engine: PostgresEngine, archive: Archive, request: LoadRequest, state: TargetState
) -> None:
    target, manifest = engine.target.database, archive.manifest
    if manifest is None and archive.format is Format.SQL:
        raise Refused(
            f"{archive.path.name} is a script without a manifest of ours: it is not run in this version",
            state=UNTOUCHED,
        )
    if request.in_place and state is TargetState.MISSING:
        raise UsageError(f"--in-place needs a database, and {target} does not exist")
    if request.in_place and request.drop_old:
        raise UsageError("--drop-old means nothing in place: no old database is kept")
    if manifest is None or manifest.complete:
        return
    lacks = "; ".join(manifest.not_included)
    if any(part.startswith("all definitions") for part in manifest.not_included):
        raise Refused(
            f"backup {manifest.id} holds rows only ({lacks}): there is nothing to load them into",
            state=UNTOUCHED,
            hint="load it by hand into a database that has the tables (db.show prints the commands)",
        )
    if state in (TargetState.PRESENT, TargetState.DAMAGED):
        raise Refused(
            f"backup {manifest.id} is partial ({lacks}) and would replace all of {target}",
            state=UNTOUCHED,
            hint=f"restore it beside: --into={target}_partial",
        )


def _prove_versions(engine: PostgresEngine, manifest: Manifest | None) -> None:
    """A newer dump into an older server may load, or lose what that server does not know: refused."""
    engine.runner.version("pg_restore")
    engine.runner.version("psql")
    if manifest is None:
        return
    dumped, here = _major(manifest.server_version), engine.server_version() // 10000
    if dumped > here:
        raise VersionMismatch(
            f"backup {manifest.id} was made from PostgreSQL {manifest.server_version},"
            f" and this server is {here}: what is new since may not exist here",
            state=UNTOUCHED,
            hint=f"restore into a server of PostgreSQL {dumped} or later",
        )


def _major(version: str) -> int:
    digits = version.split(".")[0].split()[0] if version.split() else ""
    return int(digits) if digits.isdecimal() else 0


def _prove_disk(archive: Archive) -> None:
    """A directory archive is unpacked beside itself; the server's own disk cannot be asked by SQL."""
    if archive.format is not Format.DIRECTORY:
        return
    needed, free = archive.path.stat().st_size, shutil.disk_usage(archive.path.parent).free
    if free < needed:
        raise StoreFull(
            f"unpacking {archive.path.name} needs {needed / 1e6:.0f} MB in {archive.path.parent},"
            f" and {free / 1e6:.0f} MB are free",
            state=UNTOUCHED,
            hint="free some space, or move the backup to a larger disk",
        )


# -- the server ----------------------------------------------------------------------------


def _look(engine: PostgresEngine, state: TargetState) -> tuple[_Server, str]:
    """Look from a maintenance database; from inside where there is none, and say why."""
    try:
        with outside(engine) as session:
            return _server(session, engine.target.database), ""
    except (DatabaseMissing, LoginRefused, RightMissing) as exc:
        why = exc.message
    except CannotReach as exc:
        if state is TargetState.MISSING:
            raise
        why = exc.message
    if state not in (TargetState.PRESENT, TargetState.EMPTY):
        raise CannotReach(f"{engine.target.database} cannot be created: {why}", hint="set maintenance_db")
    with engine.session() as session:
        return _server(session, engine.target.database), why


def _server(session: Session, database: str) -> _Server:
    ((role, superuser, creates, owner, owns, space),) = session.rows(RIGHTS, (database,))
    tied = [str(name) for (name,) in session.rows(TIED, {"db": database})]
    try:
        tied += [str(name) for (name,) in session.rows(SUBSCRIPTIONS, {"db": database})]
    except RightMissing:
        pass  # only a superuser sees them; the exchange of names would leave them with the old database
    sessions = tuple(_described(*row) for row in session.rows(SESSIONS, (database,)))
    return _Server(str(role), bool(superuser), bool(creates), owner, bool(owns), space, tuple(tied), sessions)


def _described(pid: int, user: str | None, name: str | None, address: str | None, state: str | None) -> str:
    who = ", ".join(text for text in (user, name, address, state) if text)
    return f"process {pid} ({who})" if who else f"process {pid}"


def _strategy(
    engine: PostgresEngine, request: LoadRequest, state: TargetState, server: _Server, why_inside: str
) -> tuple[LoadStrategy, str]:
    target = engine.target.database
    if request.in_place:
        return LoadStrategy.IN_PLACE, "asked for"
    able = server.creates and server.owns and not why_inside and server.closed_space is None
    if able:
        missing = state is TargetState.MISSING
        return (LoadStrategy.CREATE if missing else LoadStrategy.SWAP), engine.why
    if why_inside:
        why = f"no database can be created: {why_inside}"
    elif not server.creates:
        why = f"the role {server.role} may not create databases"
    elif server.closed_space is not None:
        why = f"the role {server.role} may not create in the tablespace {server.closed_space} of {target}"
    else:
        why = f"{target} belongs to {server.owner}, and {server.role} is not a member of that role"
    if state in (TargetState.PRESENT, TargetState.EMPTY):
        return LoadStrategy.IN_PLACE, why
    grant = (
        f'ALTER ROLE "{server.role}" CREATEDB'
        if not server.creates
        else f'GRANT "{server.owner}" TO "{server.role}"'
    )
    raise RightMissing(
        f"{target} cannot be {'created' if state is TargetState.MISSING else 'replaced'}: {why}",
        state=UNTOUCHED,
        hint=f"let a superuser say: {grant}",
    )


def _prove_ties(engine: PostgresEngine, server: _Server, strategy: LoadStrategy) -> None:
    if not server.tied:
        return
    target = engine.target.database
    what = ", ".join(server.tied)
    if strategy is LoadStrategy.SWAP:
        raise Refused(
            f"{target} cannot be exchanged for another database: {what} would stay with the old one",
            state=UNTOUCHED,
            hint="remove it first, or restore with --in-place",
        )
    if any(name.startswith(("the subscription", "the prepared")) for name in server.tied):
        raise Refused(f"{target} is written to by {what}", state=UNTOUCHED, hint="remove it first")


def _prove_roles(
    engine: PostgresEngine, request: LoadRequest, contents: Contents, server: _Server
) -> list[str]:
    """Demand the roles an archive names, unless owners and privileges are left out."""
    with _anywhere(engine) as session:
        roles = {str(name): bool(ours) for name, ours in session.rows(ROLES)}
    if request.role is not None and not (request.role in roles and (server.superuser or roles[request.role])):
        raise RightMissing(
            f"--role={request.role}: there is no such role, or {server.role} is not a member of it",
            state=UNTOUCHED,
        )
    needed = set(contents.in_policies)
    if not request.no_owner:
        needed |= contents.owners | contents.named
    missing = sorted(needed - roles.keys())
    if missing:
        create = "; ".join(f'CREATE ROLE "{name}"' for name in missing[:5])
        lasting = contents.in_policies.isdisjoint(missing)
        raise RightMissing(
            f"the backup names roles that do not exist on this server: {_some(missing)}",
            state=UNTOUCHED,
            hint=f"--no-owner leaves owners and privileges out; or create them: {create}"
            if lasting
            else create,
        )
    strangers = sorted(name for name in contents.owners if not roles[name]) if not request.no_owner else []
    if strangers and not server.superuser:
        raise RightMissing(
            f"the backup holds objects of {_some(strangers)}, and {server.role} is not a member of that role",
            state=UNTOUCHED,
            hint=f"--no-owner makes {server.role} the owner; or: "
            + "; ".join(f'GRANT "{name}" TO "{server.role}"' for name in strangers[:5]),
        )
    return _left_out(request, contents)


def _left_out(request: LoadRequest, contents: Contents) -> list[str]:
    if request.no_owner and (contents.owners or contents.named):
        names = sorted(contents.owners | contents.named)
        return [f"owners and privileges are left out (--no-owner): {_some(names)}"]
    return []


def _prove_extensions(
    engine: PostgresEngine,
    manifest: Manifest | None,
    server: _Server,
    strategy: LoadStrategy,
    state: TargetState,
) -> list[str]:
    if manifest is None:
        return []
    with _anywhere(engine) as session:
        offered = {
            str(name): (str(version), bool(power)) for name, version, power in session.rows(EXTENSIONS)
        }
    missing = sorted(set(manifest.extensions) - offered.keys())
    if missing:
        raise VersionMismatch(
            f"the backup needs extensions that are not installed on this server: {_some(missing)}",
            state=UNTOUCHED,
            hint="install their packages on the server's machine",
        )
    there: Iterable[str] = {"plpgsql"}
    if strategy is LoadStrategy.IN_PLACE and state is not TargetState.MISSING:
        there = engine.facts().extensions
    powerful = sorted(n for n in manifest.extensions if offered[n][1] and n not in there)
    if powerful and not server.superuser:
        raise RightMissing(
            f"only a superuser may create the extensions {_some(powerful)}, and {server.role} is none",
            state=UNTOUCHED,
            hint="restore as a superuser, or create them in the database first and use --in-place",
        )
    return [
        f"extension {name}: {version} in the backup, {offered[name][0]} here"
        for name, version in sorted(manifest.extensions.items())
        if version != offered[name][0]
    ]


def _prove_in_place(engine: PostgresEngine, contents: Contents) -> tuple[str, ...]:
    """List what is dropped, and prove that the role may and the server's lock table has room."""
    with engine.session() as session:
        found = find_in_the_way(session)
        capacity = lock_capacity(session)
    if found.not_ours:
        raise RightMissing(
            f"in place these would have to be dropped, and belong to others: {_some(found.not_ours)}",
            state=UNTOUCHED,
            hint="restore as their owner or a superuser",
        )
    # a table comes with its row type, its TOAST table and that one's index
    needed = found.locks + 3 * contents.created
    if needed > capacity:
        raise Refused(
            f"in place the load needs up to {needed} locks in one transaction, and the server has room for {capacity}",
            state=UNTOUCHED,
            hint="raise max_locks_per_transaction and restart the server, or restore beside (without --in-place)",
        )
    return found.statements


def _live(
    engine: PostgresEngine, state: TargetState
) -> tuple[DatabaseFacts | None, dict[str, int], tuple[str, ...]]:
    if state not in (TargetState.PRESENT, TargetState.EMPTY):
        return None, {}, ()
    facts = engine.facts()
    try:
        return facts, engine.row_counts(), ()
    except (RightMissing, Busy) as exc:
        return facts, {}, (f"the live rows were not counted: {exc.message}",)


@contextmanager
def _anywhere(engine: PostgresEngine) -> Iterator[Session]:
    """Connect to whatever database of the server can be reached: what is asked is the same in all."""
    with ExitStack() as stack:
        try:
            session = stack.enter_context(engine.maintenance_session())
        except CannotReach:
            session = stack.enter_context(engine.session())
        yield session


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")


# -- the plan in words ------------------------------------------------------------------------


def _steps(engine: PostgresEngine, archive: Archive, plan: LoadPlan) -> tuple[str, ...]:
    target, name = engine.target.database, archive.path.name
    if plan.strategy is LoadStrategy.IN_PLACE:
        return (
            f"in one transaction: drop {len(plan.drops)} objects of {target}, load {name}",
            "check row counts, sequences, extensions and indexes, then COMMIT; until then nothing is changed",
        )
    first = (
        f"create a new database beside {target} and load {name} into it",
        "check row counts, sequences, extensions and indexes",
    )
    if plan.strategy is LoadStrategy.CREATE:
        return (*first, f"name it {target}")
    kept = "dropped" if plan.request.drop_old or plan.state is TargetState.EMPTY else "kept"
    ended = f"; {len(plan.sessions)} sessions are ended" if plan.sessions else ""
    return (
        *first,
        f"carry over settings, privileges and comment of {target}",
        f"exchange the names in one transaction{ended}",
        f"the present {target} is {kept}" + (f" as {target}__before_<time>" if kept == "kept" else ""),
    )
