"""What a load meets on the server: the role's rights, who is connected, roles and extensions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import CannotReach, DatabaseMissing, LoginRefused, RightMissing, VersionMismatch
from ...nouns import some
from ...plans import LoadRequest, LoadStrategy, TargetState
from ...sessions import Session
from .archive.contents import Contents
from .connected import other_sessions
from .exchange.leftovers import in_use, marked
from .exchange.swap import outside
from .exchange.ties import ties
from .loading.room import Place, look_for_place
from .script.statements import quoted
from .timescale import EXTENSION

if TYPE_CHECKING:
    from . import PostgresEngine

__all__ = [
    "Server",
    "anywhere",
    "create_roles",
    "look_at_server",
    "offered_extensions",
    "prove_extensions",
    "prove_role",
    "prove_roles",
    "roles_there",
]

UNTOUCHED = "nothing was touched"
HINTED = 5
"""So many statements stand in a hint, the rest before it."""
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
    left_over: tuple[str, ...] = ()
    """Half-loaded databases of killed restores: the next one drops them."""
    left_in_use: tuple[str, ...] = ()
    """Why others of these stay, in words."""
    place: Place = Place()  # noqa: RUF009 - frozen


def look_at_server(
    engine: PostgresEngine, state: TargetState, database: str | None = None
) -> tuple[Server, str]:
    """Look from a maintenance database; from inside where there is none, and say why.

    `database` is another one to look at than the target.

    Raises:
        CannotReach: neither is possible.
    """
    name = database or engine.target.database
    try:
        with outside(engine) as session:
            return _server(session, name), ""
    except (DatabaseMissing, LoginRefused, RightMissing) as exc:
        why = exc.message
    except CannotReach as exc:
        if state is TargetState.MISSING:
            raise
        why = exc.message
    if state not in (TargetState.PRESENT, TargetState.EMPTY):
        raise CannotReach(f"{engine.target.database} cannot be created: {why}", hint="set maintenance_db")
    with engine.session() as session:
        return _server(session, name), why


def _server(session: Session, database: str) -> Server:
    ((role, superuser, creates, owner, owns, space, template, powerful),) = session.rows(RIGHTS, (database,))
    return Server(
        role=str(role),
        superuser=bool(superuser),
        creates=bool(creates),
        owner=owner,
        owns=bool(owns),
        template=bool(template),
        powerful=bool(powerful),
        closed_space=space,
        tied=ties(session, database),
        sessions=other_sessions(session, database),
        left_over=marked(session, database),
        left_in_use=tuple(in_use(session, database).values()),
        place=look_for_place(session, database),
    )


def roles_there(session: Session) -> dict[str, bool]:
    """Return the server's roles, and whether this one is a member of each."""
    return {str(name): bool(ours) for name, ours in session.rows(ROLES)}


def offered_extensions(session: Session) -> dict[str, tuple[str, bool]]:
    """Return what the server could install: the version, and whether only a superuser may."""
    return {str(name): (str(version), bool(power)) for name, version, power in session.rows(EXTENSIONS)}


def prove_roles(
    engine: PostgresEngine, request: LoadRequest, contents: Contents, server: Server
) -> list[str]:
    """Demand the roles an archive names; returns a warning of owners and privileges that are left out.

    Raises:
        RightMissing: a role does not exist, or this role is no member of an owner.
    """
    with anywhere(engine) as session:
        roles = roles_there(session)
    if request.role is not None:
        prove_role(request.role, roles, server.role)
    needed = set(contents.in_policies)
    if not request.no_owner:
        needed |= contents.owners | contents.named
        if server.superuser and contents.public_owner:
            # who may not give the schema away leaves it as it is
            needed.add(contents.public_owner)
    missing = sorted(needed - roles.keys())
    if missing:
        create = create_roles(missing)
        lasting = contents.in_policies.isdisjoint(missing)
        raise RightMissing(
            f"the backup names roles that do not exist on this server: {some(missing)}",
            details="\n".join(create[HINTED:]),
            state=UNTOUCHED,
            hint=("--no-owner leaves owners and privileges out; or create them: " if lasting else "")
            + " ".join(create[:HINTED]),
        )
    strangers = sorted(name for name in contents.owners if not roles[name]) if not request.no_owner else []
    if strangers and not server.superuser:
        raise RightMissing(
            f"the backup holds objects of {some(strangers)}, and {server.role} is not a member of that role",
            state=UNTOUCHED,
            hint=f"--no-owner makes {server.role} the owner; or: "
            + "; ".join(f"GRANT {quoted(name)} TO {quoted(server.role)}" for name in strangers[:5]),
        )
    return _left_out(request, contents)


def prove_role(role: str, roles: Mapping[str, bool], login: str) -> None:
    """Demand the role that was asked for; `roles` is what `roles_there` found.

    Raises:
        RightMissing: it does not exist, or may not be set by this login.
    """
    if role not in roles:
        raise RightMissing(
            f"--role={role}: there is no such role on this server",
            state=UNTOUCHED,
            hint=f"name another, leave --role out, or create it: {create_roles([role])[0]}",
        )
    if not roles[role]:
        raise RightMissing(
            f"--role={role}: {login} is not a member of that role, and may not set it",
            state=UNTOUCHED,
            hint=f"leave --role out, or let a superuser say: GRANT {quoted(role)} TO {quoted(login)};",
        )


def create_roles(names: Iterable[str]) -> tuple[str, ...]:
    """Return one statement per role, to be typed; what it may do is for whoever types it to add."""
    return tuple(f"CREATE ROLE {quoted(name)};" for name in names)


def _left_out(request: LoadRequest, contents: Contents) -> list[str]:
    if request.no_owner and (contents.owners or contents.named):
        names = sorted(contents.owners | contents.named)
        return [f"owners and privileges are left out (--no-owner): {some(names)}"]
    return []


def prove_extensions(
    engine: PostgresEngine,
    extensions: Mapping[str, str],
    server: Server,
    strategy: LoadStrategy,
    state: TargetState,
) -> list[str]:
    """Demand a backup's extensions; returns a warning for each that has another version here.

    `extensions` gives each one's version, empty where it is not known.

    Raises:
        VersionMismatch: one is not installed on the server's machine.
        RightMissing: one may be created by a superuser only.
    """
    if not extensions:
        return []
    with anywhere(engine) as session:
        offered = offered_extensions(session)
    missing = sorted(set(extensions) - offered.keys())
    if missing:
        raise VersionMismatch(
            f"the backup needs extensions that are not installed on this server: {some(missing)}",
            state=UNTOUCHED,
            hint="install their packages on the server's machine",
        )
    there: Iterable[str] = {"plpgsql"}
    if strategy is LoadStrategy.IN_PLACE and state is not TargetState.MISSING:
        there = engine.facts().extensions
    powerful = sorted(n for n in extensions if offered[n][1] and n not in there)
    if powerful and not server.superuser:
        raise RightMissing(
            f"only a superuser may create the extensions {some(powerful)}, and {server.role} is none",
            state=UNTOUCHED,
            hint="restore as a superuser, or create them in the database first and use --in-place",
        )
    return [
        f"extension {name}: {version} in the backup, {offered[name][0]} here"
        for name, version in sorted(extensions.items())
        # a file of somebody else's names its extensions, not their versions; TimescaleDB comes in its own or not at all
        if version and version != offered[name][0] and name != EXTENSION
    ]


@contextmanager
def anywhere(engine: PostgresEngine) -> Iterator[Session]:
    """Connect to whatever database of the server can be reached: what is asked is the same in all."""
    with ExitStack() as stack:
        try:
            session = stack.enter_context(engine.maintenance_session())
        except CannotReach:
            session = stack.enter_context(engine.session())
        yield session
