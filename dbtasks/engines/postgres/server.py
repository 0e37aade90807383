"""What a load meets on the server: the role's rights, who is connected, roles and extensions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import CannotReach, DatabaseMissing, LoginRefused, RightMissing, VersionMismatch
from ...models import Manifest
from ...plans import LoadRequest, LoadStrategy, TargetState
from ...sessions import Session
from .contents import Contents
from .swap import outside

if TYPE_CHECKING:
    from . import PostgresEngine

__all__ = ["Server", "look_at_server", "prove_extensions", "prove_roles", "some"]

UNTOUCHED = "nothing was touched"
RIGHTS = """
    SELECT current_user::text AS role, r.rolsuper, r.rolsuper OR r.rolcreatedb AS creates,
           d.owner, d.owner IS NULL OR pg_catalog.pg_has_role(d.datdba, 'USAGE') AS owns, d.closed_space,
           coalesce(d.datistemplate, false) AS template,
           EXISTS (SELECT FROM pg_catalog.pg_roles p WHERE pg_catalog.pg_has_role(session_user, p.oid, 'MEMBER')
                   AND (p.rolsuper OR p.rolname IN ('pg_execute_server_program', 'pg_write_server_files'))) AS power
    FROM pg_catalog.pg_roles r
    LEFT JOIN (SELECT b.datdba, b.datistemplate, pg_catalog.pg_get_userbyid(b.datdba)::text AS owner,
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
class Server:
    """What was found on the server, as far as a load depends on it."""

    role: str
    superuser: bool
    creates: bool
    """May create databases."""
    owner: str | None
    """Of the live database."""
    owns: bool
    template: bool = False
    """The live database is marked as a template."""
    powerful: bool = False
    """The login can become a role that runs programs or writes files on the server's machine."""
    closed_space: str | None = None
    """The live database's tablespace, where the role may not create in it."""
    tied: tuple[str, ...] = ()
    """What holds the live database by its identity: it would stay with the old one."""
    sessions: tuple[str, ...] = ()


def look_at_server(engine: PostgresEngine, state: TargetState) -> tuple[Server, str]:
    """Look from a maintenance database; from inside where there is none, and say why.

    Raises:
        CannotReach: neither is possible.
    """
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


def _server(session: Session, database: str) -> Server:
    ((role, superuser, creates, owner, owns, space, template, powerful),) = session.rows(RIGHTS, (database,))
    tied = [str(name) for (name,) in session.rows(TIED, {"db": database})]
    try:
        tied += [str(name) for (name,) in session.rows(SUBSCRIPTIONS, {"db": database})]
    except RightMissing:
        pass  # only a superuser sees them; the exchange of names would leave them with the old database
    sessions = tuple(_described(*row) for row in session.rows(SESSIONS, (database,)))
    return Server(
        role=str(role),
        superuser=bool(superuser),
        creates=bool(creates),
        owner=owner,
        owns=bool(owns),
        template=bool(template),
        powerful=bool(powerful),
        closed_space=space,
        tied=tuple(tied),
        sessions=sessions,
    )


def _described(pid: int, user: str | None, name: str | None, address: str | None, state: str | None) -> str:
    who = ", ".join(text for text in (user, name, address, state) if text)
    return f"process {pid} ({who})" if who else f"process {pid}"


def prove_roles(
    engine: PostgresEngine, request: LoadRequest, contents: Contents, server: Server
) -> list[str]:
    """Demand the roles an archive names; returns a warning of owners and privileges that are left out.

    Raises:
        RightMissing: a role does not exist, or this role is no member of an owner.
    """
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
            f"the backup names roles that do not exist on this server: {some(missing)}",
            state=UNTOUCHED,
            hint=f"--no-owner leaves owners and privileges out; or create them: {create}"
            if lasting
            else create,
        )
    strangers = sorted(name for name in contents.owners if not roles[name]) if not request.no_owner else []
    if strangers and not server.superuser:
        raise RightMissing(
            f"the backup holds objects of {some(strangers)}, and {server.role} is not a member of that role",
            state=UNTOUCHED,
            hint=f"--no-owner makes {server.role} the owner; or: "
            + "; ".join(f'GRANT "{name}" TO "{server.role}"' for name in strangers[:5]),
        )
    return _left_out(request, contents)


def _left_out(request: LoadRequest, contents: Contents) -> list[str]:
    if request.no_owner and (contents.owners or contents.named):
        names = sorted(contents.owners | contents.named)
        return [f"owners and privileges are left out (--no-owner): {some(names)}"]
    return []


def prove_extensions(
    engine: PostgresEngine,
    manifest: Manifest | None,
    server: Server,
    strategy: LoadStrategy,
    state: TargetState,
) -> list[str]:
    """Demand the manifest's extensions; returns a warning for each that has another version here.

    Raises:
        VersionMismatch: one is not installed on the server's machine.
        RightMissing: one may be created by a superuser only.
    """
    if manifest is None:
        return []
    with _anywhere(engine) as session:
        offered = {
            str(name): (str(version), bool(power)) for name, version, power in session.rows(EXTENSIONS)
        }
    missing = sorted(set(manifest.extensions) - offered.keys())
    if missing:
        raise VersionMismatch(
            f"the backup needs extensions that are not installed on this server: {some(missing)}",
            state=UNTOUCHED,
            hint="install their packages on the server's machine",
        )
    there: Iterable[str] = {"plpgsql"}
    if strategy is LoadStrategy.IN_PLACE and state is not TargetState.MISSING:
        there = engine.facts().extensions
    powerful = sorted(n for n in manifest.extensions if offered[n][1] and n not in there)
    if powerful and not server.superuser:
        raise RightMissing(
            f"only a superuser may create the extensions {some(powerful)}, and {server.role} is none",
            state=UNTOUCHED,
            hint="restore as a superuser, or create them in the database first and use --in-place",
        )
    return [
        f"extension {name}: {version} in the backup, {offered[name][0]} here"
        for name, version in sorted(manifest.extensions.items())
        if version != offered[name][0]
    ]


@contextmanager
def _anywhere(engine: PostgresEngine) -> Iterator[Session]:
    """Connect to whatever database of the server can be reached: what is asked is the same in all."""
    with ExitStack() as stack:
        try:
            session = stack.enter_context(engine.maintenance_session())
        except CannotReach:
            session = stack.enter_context(engine.session())
        yield session


def some(names: Iterable[str]) -> str:
    """List the first five names, and say how many more there are."""
    listed = list(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
