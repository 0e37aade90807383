"""The schema `public`, which every database has and seldom belongs to who fills it.

Up to PostgreSQL 14 it is the first superuser's, from 15 on `pg_database_owner`'s.
A pg_dump of 15 and later writes down whose it is wherever that is not the newer
default, so of every database of a server up to 14. Who may not give it away
leaves it as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...plans import LoadRequest
from ...sessions import Session

if TYPE_CHECKING:
    from .archive.contents import Contents

__all__ = ["ROLE", "left_as_it_is", "owner_of_public", "public_stays", "unquoted"]

ROLE = r'(?:"(?:[^"]|"")+"|[^\s",;()]+)'
"""A role's name as pg_dump writes it, in quotes where it needs them."""
_OWNER = re.compile(rf"ALTER SCHEMA public OWNER TO ({ROLE});")
_COMMENT = b"COMMENT ON SCHEMA public IS "
LOADING = """
    SELECT r.rolname::text AS role, r.rolsuper AS superuser,
           -- of a new database; 10 is the first superuser
           CASE WHEN v.is_old THEN pg_catalog.pg_get_userbyid(10)::text ELSE 'pg_database_owner' END AS owner,
           NOT v.is_old OR pg_catalog.pg_has_role(r.oid, 10::oid, 'MEMBER') AS ours,
           EXISTS (SELECT FROM pg_catalog.pg_roles x
                   WHERE x.rolname = %s AND pg_catalog.pg_has_role(r.oid, x.oid, 'MEMBER')) AS gives
    FROM pg_catalog.pg_roles r,
         (SELECT pg_catalog.current_setting('server_version_num')::int < 150000 AS is_old) v
    WHERE r.rolname = COALESCE(%s, current_user)
"""
HERE = """
    SELECT r.rolsuper AS superuser,
           COALESCE((SELECT pg_catalog.pg_has_role(n.nspowner, 'MEMBER') FROM pg_catalog.pg_namespace n
                     WHERE n.nspname = 'public'), true) AS ours
    FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
"""
OURS = (
    "SELECT r.rolname::text AS name FROM pg_catalog.pg_roles r WHERE pg_catalog.pg_has_role(r.oid, 'MEMBER')"
)


def owner_of_public(statement: str) -> str:
    """Return whom a statement gives the schema to; empty where it does not."""
    found = _OWNER.fullmatch(statement)
    return unquoted(found[1]) if found else ""


def public_stays(session: Session, contents: Contents, request: LoadRequest) -> tuple[bool, list[str]]:
    """Say whether an archive does something to the schema that the loading role may not do, and warn of it."""
    found = session.rows(LOADING, (contents.public_owner, request.role))
    if not found:
        return False, []  # which role is missing is told elsewhere
    ((role, superuser, owner, ours, gives),) = found
    if superuser:
        return False, []
    given = contents.public_owner if not request.no_owner else ""
    keeps_owner = bool(given) and not (ours and gives)
    keeps_comment = not ours and ("comment", "SCHEMA public") in contents.schema.objects
    told = keeps_owner and given != owner
    warnings = [
        f"the schema public keeps its owner: {role} may not give it to {given}, whose it is in the backup"
    ]
    return keeps_owner or keeps_comment, warnings if told else []


def left_as_it_is(session: Session) -> Callable[[bytes], bool]:
    """Return what tells the statements of a script that this session's role may not run on the schema."""
    ((superuser, ours),) = session.rows(HERE)
    members = set[str]() if superuser else {str(name) for (name,) in session.rows(OURS)}

    def is_left(statement: bytes) -> bool:
        if superuser:
            return False
        if not ours and statement.startswith(_COMMENT):
            return True
        given = owner_of_public(statement.decode(errors="surrogateescape"))
        return bool(given) and not (ours and given in members)

    return is_left


def unquoted(name: str) -> str:
    """Return a name without the quotes it was written in."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
