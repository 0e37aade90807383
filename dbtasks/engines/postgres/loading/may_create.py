"""Whether a load inside a database may create there what the archive holds: beside, the new database is the role's own."""

from __future__ import annotations

from collections.abc import Iterable

from ....errors import RightMissing
from ....plans import LoadRequest
from ....schemas import Schema
from ....sessions import Session
from ..script.statements import quoted, unquoted

__all__ = ["prove_may_create"]

RIGHTS = """
    SELECT r.rolname::text AS role, pg_catalog.current_database()::text AS database,
           pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'CREATE') AS in_database,
           ARRAY(SELECT n.nspname::text FROM pg_catalog.pg_namespace n
                 WHERE n.nspname = ANY (%(schemas)s)
                   AND NOT pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE') ORDER BY 1) AS closed
    FROM pg_catalog.pg_roles r WHERE r.rolname = coalesce(%(role)s, current_user)
"""


def prove_may_create(
    session: Session, request: LoadRequest, why: str, schema: Schema, kept_schemas: Iterable[str]
) -> None:
    """See that the loading role may create in the schemas that stay, and create those that come.

    `why` says why it is loaded inside.

    Raises:
        RightMissing: it may not; the hint grants it.
    """
    stay = {"public", *kept_schemas}
    coming = {unquoted(name) for kind, name in schema.objects if kind == "schema"} - stay
    filled = [name for name in sorted(stay) if any(_lies_in(name, made) for _, made in schema.objects)]
    found = session.rows(RIGHTS, {"schemas": filled, "role": request.role})
    for role, database, in_database, closed in found:
        grants = [f"GRANT CREATE ON SCHEMA {quoted(name)} TO {quoted(role)};" for name in closed]
        what = [f"anything in the schema {name}" for name in closed]
        if coming and not in_database:
            grants.append(f"GRANT CREATE ON DATABASE {quoted(database)} TO {quoted(role)};")
            what.append("a schema")
        if grants:
            raise RightMissing(
                f"the backup would be loaded inside {database} ({why}), where {role} may not create {' or '.join(what)}",
                state="nothing was touched",
                hint=f"let a superuser say, in {database}: {' '.join(grants)} or choose another database: --into=NAME",
            )


def _lies_in(schema: str, name: str) -> bool:
    # pg_dump quotes a name only where that is needed
    return name.startswith((f"{schema}.", f"{quoted(schema)}."))
