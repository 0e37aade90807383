"""What a database holds that a `rows` backup of it does not: named and counted in the backup's own snapshot."""

from __future__ import annotations

from ....sessions import Session

__all__ = ["ALWAYS", "left_out", "no_tables"]

ALWAYS = "owners, privileges, comments"
"""Nobody looks whether there are any: a new database has its own."""
NAMED = 3

# what is whose: no system schema's, no extension's and none of TimescaleDB's insides, which come with CREATE EXTENSION
USERS = """
    WITH schemas AS (
        SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n
        WHERE pg_catalog.left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'
          AND NOT (pg_catalog.left(n.nspname, 13) = '_timescaledb_'
                   AND EXISTS (SELECT FROM pg_catalog.pg_extension x WHERE x.extname = 'timescaledb'))),
    members AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'),
    relations AS (
        SELECT c.oid, c.relkind, pg_catalog.concat(n.nspname, '.', c.relname) AS name FROM pg_catalog.pg_class c
        JOIN schemas n ON n.oid = c.relnamespace
        WHERE ('pg_catalog.pg_class'::pg_catalog.regclass, c.oid) NOT IN (SELECT classid, objid FROM members)),
    routines AS (
        SELECT p.prokind, pg_catalog.concat(n.nspname, '.', p.proname) AS name FROM pg_catalog.pg_proc p JOIN schemas n ON n.oid = p.pronamespace
        WHERE ('pg_catalog.pg_proc'::pg_catalog.regclass, p.oid) NOT IN (SELECT classid, objid FROM members)
          -- a range type comes with functions of its own
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = p.oid AND d.deptype = 'i'
                          AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                          AND d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass)),
    found (kind, name) AS ({})
    SELECT kind, pg_catalog.count(*), (pg_catalog.array_agg(name ORDER BY name))[1:{}] FROM found GROUP BY kind
"""
KINDS: tuple[tuple[str, str, str], ...] = (
    ("function", "functions", "SELECT name FROM routines WHERE prokind IN ('f', 'w')"),
    ("procedure", "procedures", "SELECT name FROM routines WHERE prokind = 'p'"),
    ("aggregate", "aggregates", "SELECT name FROM routines WHERE prokind = 'a'"),
    ("view", "views", "SELECT name FROM relations WHERE relkind = 'v'"),
    ("materialized view", "materialized views", "SELECT name FROM relations WHERE relkind = 'm'"),
    ("foreign table", "foreign tables", "SELECT name FROM relations WHERE relkind = 'f'"),
    (
        "trigger",
        "triggers",
        "SELECT t.tgname FROM pg_catalog.pg_trigger t JOIN relations r ON r.oid = t.tgrelid"
        " WHERE NOT t.tgisinternal AND t.tgparentid = 0",
    ),
    (
        "rule",
        "rules",
        "SELECT w.rulename FROM pg_catalog.pg_rewrite w JOIN relations r ON r.oid = w.ev_class"
        " WHERE w.rulename <> '_RETURN'",
    ),
    (
        "partition's own identity",
        "partitions' own identities",
        # since PostgreSQL 17 it is the partitioned table's
        "SELECT r.name FROM relations r JOIN pg_catalog.pg_class c USING (oid)"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attidentity <> '' AND NOT a.attisdropped"
        " WHERE c.relispartition AND EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.refobjid = r.oid"
        " AND d.refobjsubid = a.attnum AND d.deptype = 'i' AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass)",
    ),
    (
        "table's row-level security, which is off in a new one",
        "tables' row-level security, which is off in new ones",
        "SELECT name FROM relations JOIN pg_catalog.pg_class c USING (oid) WHERE c.relrowsecurity OR c.relforcerowsecurity",
    ),
    (
        "row-level security policy",
        "row-level security policies",
        "SELECT p.polname FROM pg_catalog.pg_policy p JOIN relations r ON r.oid = p.polrelid",
    ),
    (
        "statistics object",
        "statistics objects",
        "SELECT s.stxname FROM pg_catalog.pg_statistic_ext s JOIN schemas n ON n.oid = s.stxnamespace",
    ),
    (
        "operator",
        "operators",
        "SELECT o.oprname FROM pg_catalog.pg_operator o JOIN schemas n ON n.oid = o.oprnamespace"
        " WHERE ('pg_catalog.pg_operator'::pg_catalog.regclass, o.oid) NOT IN (SELECT classid, objid FROM members)",
    ),
    (
        "collation",
        "collations",
        "SELECT o.collname FROM pg_catalog.pg_collation o JOIN schemas n ON n.oid = o.collnamespace",
    ),
    (
        "text search configuration",
        "text search configurations",
        "SELECT o.cfgname FROM pg_catalog.pg_ts_config o JOIN schemas n ON n.oid = o.cfgnamespace",
    ),
    (
        "text search dictionary",
        "text search dictionaries",
        "SELECT o.dictname FROM pg_catalog.pg_ts_dict o"
        " JOIN schemas n ON n.oid = o.dictnamespace WHERE ('pg_catalog.pg_ts_dict'::pg_catalog.regclass, o.oid)"
        " NOT IN (SELECT classid, objid FROM members)",
    ),
    (
        "base type",
        "base types",
        # an array's is its element's
        "SELECT t.typname FROM pg_catalog.pg_type t JOIN schemas n ON n.oid = t.typnamespace WHERE t.typtype = 'b'"
        " AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.typarray = t.oid)"
        " AND ('pg_catalog.pg_type'::pg_catalog.regclass, t.oid) NOT IN (SELECT classid, objid FROM members)",
    ),
    (
        "operator class",
        "operator classes",
        "SELECT o.opcname FROM pg_catalog.pg_opclass o"
        " JOIN schemas n ON n.oid = o.opcnamespace WHERE ('pg_catalog.pg_opclass'::pg_catalog.regclass, o.oid)"
        " NOT IN (SELECT classid, objid FROM members)",
    ),
    (
        "conversion",
        "conversions",
        "SELECT o.conname FROM pg_catalog.pg_conversion o JOIN schemas n ON n.oid = o.connamespace",
    ),
    (
        "cast",
        "casts",
        "SELECT pg_catalog.concat(pg_catalog.format_type(o.castsource, NULL), ' to ',"
        " pg_catalog.format_type(o.casttarget, NULL)) FROM pg_catalog.pg_cast o WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = o.oid"
        " AND d.deptype = 'i' AND d.classid = 'pg_catalog.pg_cast'::pg_catalog.regclass) AND o.oid >= 16384"
        " AND ('pg_catalog.pg_cast'::pg_catalog.regclass, o.oid) NOT IN (SELECT classid, objid FROM members)",
    ),
    (
        "access method",
        "access methods",
        "SELECT o.amname FROM pg_catalog.pg_am o WHERE o.oid >= 16384"
        " AND ('pg_catalog.pg_am'::pg_catalog.regclass, o.oid) NOT IN (SELECT classid, objid FROM members)",
    ),
    (
        "language",
        "languages",
        "SELECT o.lanname FROM pg_catalog.pg_language o WHERE o.oid >= 16384"
        " AND ('pg_catalog.pg_language'::pg_catalog.regclass, o.oid) NOT IN (SELECT classid, objid FROM members)",
    ),
    (
        "replica identity",
        "replica identities",
        "SELECT name FROM relations JOIN pg_catalog.pg_class c USING (oid)"
        " WHERE c.relkind IN ('r', 'p') AND c.relreplident <> 'd'",
    ),
    (
        "table's CLUSTER index",
        "tables' CLUSTER indexes",
        "SELECT r.name FROM pg_catalog.pg_index x"
        " JOIN relations r ON r.oid = x.indrelid WHERE x.indisclustered",
    ),
    (
        "table's storage settings",
        "tables' storage settings",
        "SELECT name FROM relations JOIN pg_catalog.pg_class c USING (oid)"
        " WHERE c.relkind IN ('r', 'p') AND (c.reloptions IS NOT NULL OR c.reltablespace <> 0)",
    ),
    (
        "column's storage or statistics settings",
        "columns' storage or statistics settings",
        "SELECT pg_catalog.concat(r.name, '.', a.attname) FROM pg_catalog.pg_attribute a JOIN relations r ON r.oid = a.attrelid"
        " JOIN pg_catalog.pg_type t ON t.oid = a.atttypid WHERE r.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped"
        " AND (a.attstorage <> t.typstorage OR a.attcompression <> '' OR coalesce(a.attstattarget, -1) >= 0"
        " OR a.attoptions IS NOT NULL)",
    ),
    (
        "sequence's being unlogged",
        "sequences' being unlogged",
        "SELECT name FROM relations JOIN pg_catalog.pg_class c USING (oid)"
        " WHERE c.relkind = 'S' AND c.relpersistence = 'u'"
        # of an unlogged table's own it is the table's
        " AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i')"
        " AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0)",
    ),
    (
        "set of default privileges",
        "sets of default privileges",
        "SELECT NULL::pg_catalog.text FROM pg_catalog.pg_default_acl",
    ),
    ("event trigger", "event triggers", "SELECT evtname FROM pg_catalog.pg_event_trigger"),
    ("publication", "publications", "SELECT pubname FROM pg_catalog.pg_publication"),
    (
        "subscription",
        "subscriptions",
        "SELECT subname FROM pg_catalog.pg_subscription WHERE subdbid ="
        " (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())",
    ),
    ("foreign server", "foreign servers", "SELECT srvname FROM pg_catalog.pg_foreign_server"),
    ("large object", "large objects", "SELECT NULL::pg_catalog.text FROM pg_catalog.pg_largeobject_metadata"),
    (
        "extension, but for its name",
        "extensions, but for their names",
        "SELECT extname FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql'",
    ),
)


def left_out(session: Session) -> tuple[str, ...]:
    """Say what there is that no `rows` backup holds: `2 functions (public.a, public.b)`; the last entry is `ALWAYS`."""
    return (*_found(session), ALWAYS)


def no_tables(session: Session) -> tuple[str, ...]:
    """Say the same of a database that rows go into: there all of it is and stays."""
    return (*_found(session, bare=True), ALWAYS)


def _found(session: Session, *, bare: bool = False) -> tuple[str, ...]:
    """Say what there is of each kind; `bare` without what becomes of it in a new database."""
    parts = " UNION ALL ".join(
        f"SELECT {number}, found.name::pg_catalog.text FROM ({query}) AS found (name)"  # noqa: S608 - ours
        for number, (_, _, query) in enumerate(KINDS)
    )
    found = {number: (count, names) for number, count, names in session.rows(USERS.format(parts, NAMED))}
    names = [
        (kind.partition(",")[0], plural.partition(",")[0]) if bare else (kind, plural)
        for kind, plural, _ in KINDS
    ]
    return tuple(_said(*name, *found[number]) for number, name in enumerate(names) if number in found)


def _said(kind: str, plural: str, count: int, names: list[str | None]) -> str:
    text = f"{count:,} {kind if count == 1 else plural}"
    known = [name for name in names if name]
    more = ", …" if count > len(known) else ""
    return f"{text} ({', '.join(known)}{more})" if known else text
