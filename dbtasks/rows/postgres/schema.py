"""The portable schema of a PostgreSQL database, read from its catalogue in the caller's snapshot."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...schemas import table_name
from ...sessions import Session
from ..schema import Check, Column, ForeignKey, Index, Key, PortableSchema, Spelling, Table
from .spelling import split_name
from .types import sequences_of, user_types

__all__ = ["BPCHAR", "BYTEA", "TEXTS", "Described", "Held", "HeldColumn", "describe", "invalid_indexes"]

BOOL, BYTEA, CHAR, OID, BPCHAR, XML = 16, 17, 18, 26, 1042, 142
TEXTS = (25, 1043, XML)
"""Types that are text for PostgreSQL without any work: text, varchar, xml."""
NUMBERS = (21, 23, OID)
"""smallint, integer, oid: bigint is beyond what many a JSON reader holds exactly."""

TABLES = """
    SELECT c.oid, n.nspname, c.relname, c.relpersistence = 'u',
           CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) ELSE '' END,
           coalesce(pg_catalog.pg_get_expr(c.relpartbound, c.oid), ''), c.relispartition,
           coalesce(pg_catalog.pg_relation_size(nullif(c.reltoastrelid, 0)), 0)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = ANY (%s) ORDER BY n.nspname, c.relname
"""
COLUMNS = """
    SELECT a.attrelid, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.atttypid, t.typlen,
           a.attnotnull AND NOT EXISTS (
               SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'n'
               AND k.conkey = ARRAY[a.attnum] AND NOT k.convalidated),
           coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), ''),
           a.attidentity::text, a.attgenerated::text,
           CASE WHEN a.attcollation <> 0 AND a.attcollation <> t.typcollation
                THEN pg_catalog.format('%%I.%%I', l.nspname, o.collname) ELSE '' END
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN pg_catalog.pg_collation o ON o.oid = a.attcollation
    LEFT JOIN pg_catalog.pg_namespace l ON l.oid = o.collnamespace
    WHERE a.attrelid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
"""
PARENTS = """
    SELECT i.inhrelid, n.nspname, c.relname FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class c ON c.oid = i.inhparent JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE i.inhrelid = ANY (%s) ORDER BY i.inhrelid, i.inhseqno
"""
# what a partition has from its table comes with that; NOT NULL stands with the column, unless it holds for new rows only
CONSTRAINTS = """
    SELECT k.conrelid, k.contype::text, k.conname, pg_catalog.pg_get_constraintdef(k.oid), n.nspname, c.relname,
           ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY u (number, position)
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.position),
           ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY u (number, position)
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number ORDER BY u.position)
    FROM pg_catalog.pg_constraint k
    LEFT JOIN pg_catalog.pg_class c ON c.oid = k.confrelid LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE k.conrelid = ANY (%s) AND k.conparentid = 0 AND k.conislocal
      AND (k.contype IN ('p', 'u', 'f', 'c', 'x') OR k.contype = 'n' AND NOT k.convalidated AND k.coninhcount = 0)
    ORDER BY k.conrelid, k.conname
"""
INDEXES = """
    SELECT x.indrelid, c.relname, pg_catalog.pg_get_indexdef(x.indexrelid)
    FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid
    WHERE x.indrelid = ANY (%s)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = x.indexrelid AND k.contype IN ('p', 'u', 'x'))
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = x.indexrelid)
      AND x.indisready AND (x.indisvalid OR c.relkind = 'I')
    ORDER BY x.indrelid, c.relname
"""
# what a CREATE INDEX CONCURRENTLY that failed left behind; one of a partitioned table's own is made ON ONLY
INVALID = """
    SELECT n.nspname::text, c.relname::text, tn.nspname::text, t.relname::text
    FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_class t ON t.oid = x.indrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
    WHERE x.indrelid = ANY (%s) AND NOT (x.indisready AND (x.indisvalid OR c.relkind = 'I')) ORDER BY 1, 2
"""
DOMAINS = "SELECT oid, typbasetype FROM pg_catalog.pg_type WHERE typtype = 'd'"


@dataclass(frozen=True)
class HeldColumn:
    """How the values of one column are asked for."""

    name: str
    spelling: Spelling
    base: int
    """The oid of the type, a domain's of what it stands on."""
    length: int
    """pg_type.typlen; -1: as long as it likes."""

    @property
    def selected(self) -> Any:
        """The expression whose output stands in the file."""
        from psycopg2 import sql

        # a boolean's text is JSON's; xml's own output drops the declaration
        text = sql.SQL("{}::pg_catalog.text") if self.base in (BOOL, XML) else sql.SQL("{}")
        return text.format(sql.Identifier(self.name))

    @property
    def any_byte(self) -> bool:
        """Whether its output may be a byte that is no character: "char" of servers before 16."""
        return self.base == CHAR


@dataclass(frozen=True)
class Held:
    """How one table's rows are asked for."""

    oid: int
    name: str
    identifier: Any
    columns: tuple[HeldColumn, ...]
    """Without the computed ones."""
    toast_bytes: int
    with_children: bool = False
    """A hypertable: its rows are those of the tables that inherit from it."""

    @property
    def place(self) -> Any:
        """Where its rows are read, as SQL."""
        from psycopg2 import sql

        return sql.SQL("{}" if self.with_children else "ONLY {}").format(self.identifier)


@dataclass(frozen=True)
class Described:
    """The schema, and by each table's name how its rows are asked for."""

    schema: PortableSchema
    held: Mapping[str, Held]


def describe(
    session: Session,
    tables: Sequence[int],
    sequences: Sequence[int] = (),
    *,
    with_children: Collection[int] = (),
) -> Described:
    """Read what the catalogue says of these tables, of their sequences and the ones given, and of all types.

    `with_children`: tables whose rows are those of the tables that inherit from them.

    Raises:
        RightMissing: a sequence may not be read. QueryFailed: the catalogue is not as it should be.
    """
    oids = list(tables)
    columns, held = _columns(session, oids)
    constraints = _by_table(session.rows(CONSTRAINTS, (oids,)))
    indexes = _by_table(session.rows(INDEXES, (oids,)))
    parents = _by_table(session.rows(PARENTS, (oids,)))
    made: list[Table] = []
    asked: dict[str, Held] = {}
    for oid, schema, name, unlogged, partitioned, bound, is_partition, toast_bytes in session.rows(
        TABLES, (oids,)
    ):
        whole = table_name(schema, name)
        above = tuple(table_name(*parent) for parent in parents.get(oid, ()))
        keys = _keys(constraints.get(oid, ()))
        made.append(
            Table(
                whole,
                tuple(columns.get(oid, ())),
                indexes=tuple(Index(str(index), str(text)) for index, text in indexes.get(oid, ())),
                partition_by=partitioned,
                partition_of=above[0] if is_partition and above else "",
                partition_bound=bound,
                inherits=() if is_partition else above,
                unlogged=unlogged,
                **keys,
            )
        )
        asked[whole] = Held(
            oid,
            whole,
            _identifier(schema, name),
            tuple(held.get(oid, ())),
            int(toast_bytes),
            oid in with_children,
        )
    types, numbers = user_types(session), sequences_of(session, oids, sequences)
    own = {split_name(one.name)[0] for one in numbers}
    schemas = {part for part in (*_schemas_of(session, oids), *own) if part != "public"}
    return Described(PortableSchema(tuple(sorted(schemas)), types, tuple(made), numbers), asked)


def invalid_indexes(session: Session, tables: Sequence[int]) -> list[tuple[str, str]]:
    """Return the indexes of these tables that are not whole, each with its table: they are in no portable schema."""
    found = session.rows(INVALID, (list(tables),))
    return [(table_name(schema, index), table_name(other, table)) for schema, index, other, table in found]


def _identifier(schema: str, name: str) -> Any:
    from psycopg2 import sql

    return sql.Identifier(schema, name)


def _by_table(rows: Iterable[tuple[Any, ...]]) -> dict[int, list[tuple[Any, ...]]]:
    found: dict[int, list[tuple[Any, ...]]] = {}
    for oid, *rest in rows:
        found.setdefault(oid, []).append(tuple(rest))
    return found


def _columns(
    session: Session, oids: list[int]
) -> tuple[dict[int, list[Column]], dict[int, list[HeldColumn]]]:
    bases = dict(session.rows(DOMAINS))
    columns: dict[int, list[Column]] = {}
    held: dict[int, list[HeldColumn]] = {}
    for (
        oid,
        name,
        type_,
        number,
        length,
        not_null,
        expression,
        identity,
        generated,
        collation,
    ) in session.rows(COLUMNS, (oids,)):
        base = number
        while base in bases:
            base = bases[base]
        spelling = Spelling.NUMBER if base in NUMBERS else Spelling.BOOLEAN if base == BOOL else Spelling.TEXT
        columns.setdefault(oid, []).append(
            Column(
                name,
                type_,
                spelling,
                not_null=not_null,
                default="" if generated else expression,
                identity={"a": "always", "d": "by default"}.get(identity, ""),
                generated=expression if generated else "",
                virtual=generated == "v",
                collation=collation,
            )
        )
        if not generated:
            held.setdefault(oid, []).append(HeldColumn(name, spelling, base, length))
    return columns, held


def _keys(constraints: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    """Return the keys and checks of one table, as fields of a `Table`."""
    found: dict[str, list[Any]] = {"p": [], "u": [], "f": [], "c": []}
    for kind, name, text, schema, table, columns, referenced in constraints:
        if kind in "pu":
            found[kind].append(Key(tuple(columns), name, text))
        elif kind == "f":
            other = table_name(schema, table)
            found[kind].append(ForeignKey(tuple(columns), other, tuple(referenced), name, text))
        else:
            found["c"].append(Check(name, text))
    return {
        "primary_key": next(iter(found["p"]), None),
        "unique": tuple(found["u"]),
        "foreign_keys": tuple(found["f"]),
        "checks": tuple(found["c"]),
    }


def _schemas_of(session: Session, tables: Sequence[int]) -> Iterator[str]:
    """Return the schemas of these tables."""
    query = """
        SELECT DISTINCT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = ANY (%s)
    """
    for (name,) in session.rows(query, (list(tables),)):
        yield str(name)
