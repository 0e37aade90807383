"""Making a portable schema on a server: looked at first, then the part before the rows, then the one behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ...errors import QueryFailed, RightMissing
from ...events import OnEvent, Phase, ignore
from ...nouns import many
from ...schemas import table_name
from ...sessions import Session
from ..losses import prove_losses, refuse_taken
from ..schema import PortableSchema
from .create import Creation, Statement, statements_for
from .needs import lacking
from .source import fix_values, release_values

__all__ = ["KEY_VIOLATED", "creating", "make", "plan_creation"]

TAKEN = """
    WITH wanted AS (SELECT * FROM ROWS FROM (pg_catalog.unnest(%(schemas)s::pg_catalog.text[]),
                                             pg_catalog.unnest(%(names)s::pg_catalog.text[])) AS w (schema, name))
    SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE (n.nspname::pg_catalog.text, c.relname::pg_catalog.text) IN
          (SELECT * FROM wanted)
    UNION SELECT n.nspname, t.typname FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    WHERE (n.nspname::pg_catalog.text, t.typname::pg_catalog.text) IN
          (SELECT * FROM wanted)
    ORDER BY 1, 2
"""
SCHEMAS = "SELECT nspname::text AS name FROM pg_catalog.pg_namespace"
KEY_VIOLATED = "23503"
MEND_ROWS = "mend these rows where the backup was made, and back up again"


def plan_creation(
    session: Session, schema: PortableSchema, *, foreign: bool = True, anew: bool = False
) -> Creation:
    """Return what would make this schema in this database, and what of it would be lost; nothing is touched.

    `anew`: in a new database of this server, which has nothing but what the server itself brings.

    Of a `foreign` file, which nobody vouches for, nothing may call a function that acts.

    Raises:
        Refused: a text in it is none that PostgreSQL writes, or something of one of its names is there.
        QueryFailed: the server does not say what it has.
    """
    there = () if anew else tuple(str(name) for (name,) in session.rows(SCHEMAS))
    whole = statements_for(schema, there=there)
    taken = [] if anew else [table_name(*found) for found in _taken(session, whole)]
    refuse_taken(taken)
    missing = lacking(session, whole.needs, foreign=foreign, anew=anew)
    return statements_for(schema, missing, there=there) if missing else whole


def _taken(session: Session, creation: Creation) -> Iterable[tuple[str, str]]:
    names = {
        "schemas": [schema for schema, _ in creation.makes],
        "names": [name for _, name in creation.makes],
    }
    return [(str(schema), str(name)) for schema, name in session.rows(TAKEN, names)]


@contextmanager
def creating(
    session: Session,
    schema: PortableSchema,
    *,
    foreign: bool = True,
    accept_losses: bool = False,
    on_event: OnEvent = ignore,
) -> Iterator[Creation]:
    """Make a schema around the loading of its rows: the block loads them, in the transaction that the caller opened.

    Inside it the tables are there, without keys, indexes and references, and values are read as the file spells them. When the
    block has ended well, the rest is made. After any failure the caller rolls back, and nothing is there.

    Raises:
        Refused: as `plan_creation`; or something would be lost, unless losses are accepted; lists all of it.
        RightMissing, QueryFailed: the server turned a statement down; names what it was to make.
    """
    creation = plan_creation(session, schema, foreign=foreign)
    prove_losses(creation.losses, accepted=accept_losses)
    fix_values(session)
    session.execute("SET LOCAL search_path = ''")
    if schema.tables:
        on_event(Phase("create", many(len(schema.tables), "table")))
    make(session, creation.before)
    yield creation
    on_event(Phase("create", "keys and indexes"))
    make(session, creation.after)
    release_values(session)


def make(session: Session, statements: Iterable[Statement]) -> None:
    """Run statements in order.

    Raises:
        RightMissing, QueryFailed: the server turned one down; names what it was to make.
    """
    for statement in statements:
        try:
            session.execute(statement.sql)
        except RightMissing as exc:
            raise RightMissing(
                f"{statement.what} cannot be made: {exc.message}", details=exc.details, hint=exc.hint
            ) from exc
        except QueryFailed as exc:
            raise QueryFailed(
                f"{statement.what} cannot be made: {exc.message}",
                sqlstate=exc.sqlstate,
                details=exc.details,
                hint=MEND_ROWS if exc.sqlstate == KEY_VIOLATED else exc.hint,
            ) from exc
