"""What a PostgreSQL database says about itself, asked through a session.

Everything here only reads. Tables are those of the user: no system schemas,
no temporary ones, and none that belong to an extension, because pg_dump leaves
those to `CREATE EXTENSION`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from ...errors import DbTasksError, QueryFailed, RightMissing
from ...models import DatabaseFacts, Revision
from ...revisions import find_revision, known_tables
from ...schemas import table_name
from ...sessions import Session
from .hypertables import Hypertables, look_for_hypertables

__all__ = [
    "COUNTED",
    "FOREIGN",
    "HYPERTABLE",
    "INSIDE",
    "PARTITIONED",
    "SEQUENCE",
    "TABLE",
    "Relation",
    "count_rows",
    "database_facts",
    "database_settings",
    "holds_objects",
    "reading_snapshot",
    "relations",
    "revision_of",
    "sequence_values",
    "system_identifier",
    "table_name",
    "table_rows",
]

TABLE, PARTITIONED, FOREIGN, SEQUENCE = "r", "p", "f", "S"
HYPERTABLE, INSIDE = "hypertable", "inside a hypertable"
"""Tables to PostgreSQL like any other."""
COUNTED = (TABLE, HYPERTABLE)
"""What holds rows as far as anybody is told."""

RELATIONS = """
    SELECT c.oid, n.nspname, c.relname, c.relkind::text
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND c.relpersistence <> 't'
      AND pg_catalog.left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                        AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY n.nspname, c.relname
"""
DATABASE = """
    SELECT pg_catalog.current_setting('server_version'),
           pg_catalog.pg_database_size(d.oid),
           pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,
           (SELECT count(*) FROM pg_catalog.pg_stat_activity a
            WHERE a.datid = d.oid AND a.usesysid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid()),
           d.oid::bigint
    FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
"""
# A list setting is stored ready to be said; any other value still has to be quoted.
SETTINGS = """
    SELECT CASE WHEN s.setrole = 0 THEN pg_catalog.format('ALTER DATABASE %I', d.datname)
                ELSE pg_catalog.format('ALTER ROLE %I IN DATABASE %I',
                                       pg_catalog.pg_get_userbyid(s.setrole), d.datname) END,
           pg_catalog.split_part(line, '=', 1), pg_catalog.quote_ident(pg_catalog.split_part(line, '=', 1)),
           pg_catalog.substr(line, pg_catalog.strpos(line, '=') + 1),
           pg_catalog.quote_literal(pg_catalog.substr(line, pg_catalog.strpos(line, '=') + 1))
    FROM pg_catalog.pg_db_role_setting s
    JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase,
    LATERAL pg_catalog.unnest(s.setconfig) WITH ORDINALITY AS l (line, position)
    WHERE d.datname = pg_catalog.current_database()
    ORDER BY s.setrole, position
"""
LISTS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
    }
)
OBJECTS = """
    SELECT EXISTS (SELECT FROM pg_catalog.pg_class o WHERE o.relnamespace = ANY (%(users)s)
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = o.oid
                       AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('e', 'i')))
        OR EXISTS (SELECT FROM pg_catalog.pg_proc o WHERE o.pronamespace = ANY (%(users)s)
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = o.oid
                       AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype = 'e'))
        OR EXISTS (SELECT FROM pg_catalog.pg_type o WHERE o.typnamespace = ANY (%(users)s)
                   AND o.typtype IN ('d', 'e', 'r') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                       WHERE d.objid = o.oid AND d.deptype = 'e'
                       AND d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass))
        OR EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)
"""
USER_SCHEMAS = """
    SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n
    WHERE pg_catalog.left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
                        AND d.objid = n.oid AND d.deptype = 'e')
"""
SEQUENCES = """
    SELECT s.schemaname, s.sequencename, s.last_value FROM pg_catalog.pg_sequences s
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relname = s.sequencename
                      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = s.schemaname
                      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'e')
    ORDER BY 1, 2
"""
COLUMNS = """
    SELECT c.oid, a.attname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
    WHERE c.oid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY c.oid, a.attnum
"""


@dataclass(frozen=True)
class Relation:
    """A table, or something that is named and dumped like one."""

    oid: int
    schema: str
    name: str
    kind: str
    """pg_class.relkind: r table, p partitioned, f foreign, v view, m materialised view, S sequence.

    A table of TimescaleDB is HYPERTABLE or INSIDE instead of r.
    """

    def __str__(self) -> str:
        return table_name(self.schema, self.name)


def database_facts(
    session: Session, *, migration_table: str | None = None, with_revision: bool = True
) -> DatabaseFacts:
    """Ask a database about itself; the migration's revision is the only thing that stands in a table of the user's.

    Raises:
        CannotReach: the connection broke. Busy: that table is locked.
    """
    ((version, size, encoding, collation, ctype, others, oid),) = session.rows(DATABASE)
    found = relations(session)
    extensions = session.rows("SELECT extname, extversion FROM pg_catalog.pg_extension")
    return DatabaseFacts(
        server_version=str(version),
        size_bytes=int(size),
        tables=tuple(str(relation) for relation in found if relation.kind in COUNTED),
        extensions={str(name): str(number) for name, number in extensions},
        encoding=str(encoding),
        collation=str(collation),
        ctype=str(ctype),
        system_identifier=system_identifier(session),
        revision=_revision(session, found, migration_table) if with_revision else None,
        settings=database_settings(session),
        sessions=int(others),
        oid=int(oid),
    )


def relations(session: Session) -> tuple[Relation, ...]:
    """List the user's tables, views and sequences, by schema and name."""
    found = [Relation(int(oid), *names) for oid, *names in session.rows(RELATIONS)]
    hypertables = look_for_hypertables(session)
    if not hypertables.are_there:
        return tuple(found)
    return tuple(_placed(relation, hypertables) for relation in found)


def _placed(relation: Relation, hypertables: Hypertables) -> Relation:
    if relation.kind != TABLE:
        return relation
    if hypertables.is_hypertable(relation.oid, relation.schema):
        return replace(relation, kind=HYPERTABLE)
    inside = hypertables.is_inside(relation.oid, relation.schema)
    return replace(relation, kind=INSIDE) if inside else relation


def database_settings(session: Session) -> tuple[str, ...]:
    """Return `ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET` statements, without semicolon."""
    lines = []
    for subject, name, name_quoted, raw, quoted in session.rows(SETTINGS):
        as_list = name.lower() in LISTS and raw != '""'
        value = raw if as_list else "''" if raw == '""' else quoted
        lines.append(f"{subject} SET {name_quoted} TO {value}")
    return tuple(lines)


def holds_objects(session: Session) -> bool:
    """Whether anything of a user's is there: relations, functions, types, large objects, schemas."""
    schemas = session.rows(USER_SCHEMAS)
    if any(name != "public" for _, name in schemas):
        return True
    ((found,),) = session.rows(OBJECTS, {"users": [oid for oid, _ in schemas] or [0]})
    return bool(found)


@contextmanager
def reading_snapshot(
    session: Session, snapshot: str | None = None, *, row_security: bool = False
) -> Iterator[None]:
    """Hold one read-only snapshot, a new one or one that another session exported.

    Row-level security makes a query fail here instead of hiding rows.
    """
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        if snapshot is not None:
            session.execute("SET TRANSACTION SNAPSHOT %s", (snapshot,))
        session.execute(f"SET LOCAL row_security = {'on' if row_security else 'off'}")
        yield
    except KeyboardInterrupt:
        # whoever wants to leave waits for no answer: closing the connection ends the transaction as well
        raise
    except BaseException:
        _roll_back(session)
        raise
    _roll_back(session)


def _roll_back(session: Session) -> None:
    # the connection may be gone or cancelled by now: closing it ends the transaction as well
    with suppress(DbTasksError):
        session.execute("ROLLBACK")


def count_rows(session: Session, wanted: Iterable[Relation]) -> dict[Relation, int]:
    """Count tables exactly, each without its children, a hypertable with its chunks; the caller holds a snapshot.

    Raises:
        RightMissing: a table may not be read, or only through row-level security; names it.
        Busy: a table is locked.
    """
    from psycopg2 import sql

    counted: dict[Relation, int] = {}
    for relation in wanted:
        only = sql.SQL("" if relation.kind == HYPERTABLE else "ONLY ")
        query = sql.SQL("SELECT count(*) FROM {}{}").format(
            only, sql.Identifier(relation.schema, relation.name)
        )
        try:
            ((rows,),) = session.rows(query)
        except RightMissing as exc:
            raise RightMissing(
                f"the rows of {relation} cannot be counted", details=exc.details, hint=exc.hint
            ) from exc
        counted[relation] = int(rows)
    return counted


def table_rows(session: Session) -> dict[str, int]:
    """Count every table's rows in one snapshot; a partitioned table's are in its partitions.

    Raises:
        RightMissing, Busy: as `count_rows`.
    """
    with reading_snapshot(session):
        tables = [found for found in relations(session) if found.kind in COUNTED]
        return {str(table): rows for table, rows in count_rows(session, tables).items()}


def sequence_values(session: Session) -> tuple[str, ...]:
    """Return `schema.sequence=last value` for each of the user's; without `=` where none was drawn yet."""
    rows = session.rows(SEQUENCES)
    return tuple(
        table_name(schema, name) + ("" if value is None else f"={value}") for schema, name, value in rows
    )


def system_identifier(session: Session) -> str:
    """Return the cluster's own number; empty where the role may not read it."""
    try:
        ((identifier,),) = session.rows("SELECT system_identifier FROM pg_catalog.pg_control_system()")
    except (RightMissing, QueryFailed):
        return ""
    return str(identifier)


def revision_of(session: Session, migration_table: str | None) -> Revision | None:
    """Return the migration tool's revision as the transaction that is open sees it."""
    return _revision(session, relations(session), migration_table)


def _revision(session: Session, found: Iterable[Relation], table: str | None) -> Revision | None:
    from psycopg2 import sql

    names = known_tables(table)
    candidates = {
        str(relation): relation
        for relation in found
        if relation.kind in (TABLE, PARTITIONED)
        and (relation.name.lower() in names or str(relation).lower() in names)
    }
    if not candidates:
        return None
    by_oid = {relation.oid: name for name, relation in candidates.items()}
    columns: dict[str, list[str]] = {name: [] for name in candidates}
    for oid, column in session.rows(COLUMNS, (list(by_oid),)):
        columns[by_oid[oid]].append(column)

    def select(name: str, wanted: tuple[str, ...]) -> list[tuple[object, ...]]:
        relation = candidates[name]
        query = sql.SQL("SELECT {} FROM {}").format(
            sql.SQL(", ").join(map(sql.Identifier, wanted)), sql.Identifier(relation.schema, relation.name)
        )
        return session.rows(query)

    try:
        return find_revision(columns, select, table)
    except RightMissing:
        # a role that may not read it is told so by the plan of a dump, table by table
        return None
