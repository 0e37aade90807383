"""What a schema calls for that does not come with it, and whether a server has it: functions, types, operators, …

Two things are decided here. What is not there is named before anything is
touched. And of a file that nobody vouches for, no expression may call what
acts: a volatile function runs whenever a row is written, by whoever writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ...schemas import table_name
from ...sessions import Session
from .words import NotWritten, Word, Words

__all__ = ["CATALOG", "Kind", "Lack", "Need", "lacking", "needs_of"]

CATALOG = "pg_catalog"
HARMLESS = (
    "nextval",
    "currval",
    "lastval",
    "random",
    "random_normal",
    "gen_random_uuid",
    "uuidv4",
    "uuidv7",
    "clock_timestamp",
    "timeofday",
    # of timetz and marked volatile up to PostgreSQL 14; what SQLite's CURRENT_TIMESTAMP becomes calls one of that name
    "timezone",
)
"""Volatile functions that defaults are made of, and that do nothing but answer or count on."""


class Kind(StrEnum):
    """What is needed."""

    FUNCTION = "function"
    TYPE = "type"
    OPERATOR = "operator"
    COLLATION = "collation"
    CONFIGURATION = "text search configuration"
    RELATION = "relation"
    OBJECT = "object"
    """Named where several kinds may stand: an operator class, a type, a collation."""
    METHOD = "index method"


@dataclass(frozen=True, order=True)
class Need:
    """Something that must be there, by kind and name."""

    kind: Kind
    schema: str
    name: str

    def __str__(self) -> str:
        name = self.name if self.schema in ("", CATALOG) else table_name(self.schema, self.name)
        return f"{self.kind} {name}{'()' if self.kind is Kind.FUNCTION else ''}"


@dataclass(frozen=True)
class Lack:
    """A need that this server does not meet, and why."""

    need: Need
    why: str

    def __str__(self) -> str:
        return f"{self.need}, which {self.why}"


SYNTAX = frozenset(
    [
        "all",
        "and",
        "any",
        "array",
        "as",
        "between",
        "by",
        "case",
        "cast",
        "character",
        "check",
        "coalesce",
        "collation",
        "distinct",
        "else",
        "end",
        "escape",
        "exists",
        "extract",
        "filter",
        "for",
        "from",
        "greatest",
        "grouping",
        "ilike",
        "in",
        "include",
        "is",
        "isnull",
        "json_array",
        "json_arrayagg",
        "json_exists",
        "json_object",
        "json_objectagg",
        "json_query",
        "json_scalar",
        "json_serialize",
        "json_value",
        "least",
        "like",
        "normalize",
        "not",
        "notnull",
        "nullif",
        "on",
        "operator",
        "or",
        "order",
        "over",
        "overlaps",
        "overlay",
        "position",
        "row",
        "second",
        "similar",
        "some",
        "substring",
        "symmetric",
        "then",
        "treat",
        "trim",
        "unique",
        "using",
        "varying",
        "when",
        "where",
        "with",
        "within",
        "xmlconcat",
        "xmlelement",
        "xmlexists",
        "xmlforest",
        "xmlparse",
        "xmlpi",
        "xmlroot",
        "xmlserialize",
    ]
)
"""Words that stand before parentheses and call nothing, or only what their syntax means."""
QUERIES = frozenset({"select", "table", "values"})
"""An expression of a default, a check or an index has none in it; names that are spelt so stand in quotes."""
END = Word("mark", "", 0, 0)
REGISTERED = {
    "regclass": Kind.RELATION,
    "regconfig": Kind.CONFIGURATION,
    "regtype": Kind.TYPE,
    "regcollation": Kind.COLLATION,
}


def needs_of(words: Words) -> frozenset[Need]:
    """Return what an expression calls for.

    Raises:
        NotWritten: it has a query in it.
    """
    found: set[Need] = set()
    every = words.words
    for at, word in enumerate(every):
        ahead = [*every[at + 1 : at + 3], END, END]
        behind = [END, END, *every[max(0, at - 2) : at]][-2:]
        if word.kind == "word" and word.text.lower() in QUERIES:
            raise NotWritten(f"the word {word.text}")
        if word.kind == "string" and ahead[0].text == "::":
            found |= _registered(word.text, ahead[1].name)
        elif word.is_name:
            found |= _named(word, behind, ahead)
    return frozenset(found)


def _named(word: Word, behind: Sequence[Word], ahead: Sequence[Word]) -> set[Need]:
    if ahead[0].text == ".":
        is_operator = behind[1].text == "(" and behind[0].text.upper() == "OPERATOR"
        return {Need(Kind.OPERATOR, word.name, ahead[1].text)} if is_operator else set()
    calls = ahead[0].text == "("
    if behind[1].text == ".":
        # what follows a value's own point is a part of it
        kind = Kind.FUNCTION if calls else Kind.OBJECT
        return {Need(kind, behind[0].name, word.name)} if behind[0].is_name else set()
    if calls and not (word.kind == "word" and word.name in SYNTAX):
        return {Need(Kind.FUNCTION, CATALOG, word.name)}
    return set()


def _registered(text: str, kind: str) -> set[Need]:
    """Return what the text names that is made a name of something."""
    if kind not in REGISTERED or not text.startswith("'"):
        return set()
    try:
        words = Words(text[1:-1].replace("''", "'"))
        schema, name = words.qualified()
        words.end()
    except NotWritten:
        return set()
    if kind == "regtype" and not schema:
        return set()
    return {Need(REGISTERED[kind], schema or CATALOG, name)}


# a name before parentheses may be a type's or an operator class's with its options, as well
CATALOGUE = """
    WITH wanted AS (
        SELECT w.kind, w.schema, w.name, n.oid AS namespace
        FROM ROWS FROM (pg_catalog.unnest(%(kinds)s::pg_catalog.text[]), pg_catalog.unnest(%(schemas)s::pg_catalog.text[]),
                        pg_catalog.unnest(%(names)s::pg_catalog.text[])) AS w (kind, schema, name)
        LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema)
    SELECT kind, schema, name,
        CASE WHEN kind IN ('function', 'object') THEN
            EXISTS (SELECT FROM pg_catalog.pg_proc o WHERE o.pronamespace = namespace AND o.proname = w.name)
            OR EXISTS (SELECT FROM pg_catalog.pg_opclass o WHERE o.opcnamespace = namespace AND o.opcname = w.name)
            OR EXISTS (SELECT FROM pg_catalog.pg_type o WHERE o.typnamespace = namespace AND o.typname = w.name)
            OR EXISTS (SELECT FROM pg_catalog.pg_collation o WHERE o.collnamespace = namespace AND o.collname = w.name)
        WHEN kind = 'type' THEN
            EXISTS (SELECT FROM pg_catalog.pg_type o WHERE o.typnamespace = namespace AND o.typname = w.name)
        WHEN kind = 'operator' THEN
            EXISTS (SELECT FROM pg_catalog.pg_operator o WHERE o.oprnamespace = namespace AND o.oprname = w.name)
        WHEN kind = 'collation' THEN
            EXISTS (SELECT FROM pg_catalog.pg_collation o WHERE o.collnamespace = namespace AND o.collname = w.name)
        WHEN kind = 'text search configuration' THEN
            EXISTS (SELECT FROM pg_catalog.pg_ts_config o WHERE o.cfgnamespace = namespace AND o.cfgname = w.name)
        WHEN kind = 'index method' THEN EXISTS (SELECT FROM pg_catalog.pg_am o WHERE o.amname = w.name)
        ELSE EXISTS (SELECT FROM pg_catalog.pg_class o WHERE o.relnamespace = namespace AND o.relname = w.name) END AS is_there,
        EXISTS (SELECT FROM pg_catalog.pg_proc o WHERE o.pronamespace = namespace AND o.proname = w.name
                AND (o.provolatile = 'v' OR o.prokind = 'p') AND kind = 'function')
        OR EXISTS (SELECT FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
                   WHERE o.oprnamespace = namespace AND o.oprname = w.name AND p.provolatile = 'v' AND kind = 'operator')
        AS acts
    FROM wanted w
"""


def lacking(
    session: Session, needs: Iterable[Need], *, foreign: bool, anew: bool = False
) -> Mapping[Need, Lack]:
    """Ask the server which of these it does not have, or must not give to a file nobody vouches for.

    `anew`: what is the user's own in this database will not be in the one that is meant.

    Raises:
        QueryFailed: it does not say.
    """
    wanted = sorted(set(needs))
    if not wanted:
        return {}
    asked = {
        "kinds": [str(need.kind) for need in wanted],
        "schemas": [need.schema for need in wanted],
        "names": [need.name for need in wanted],
    }
    found: dict[Need, Lack] = {}
    for kind, schema, name, is_there, acts in session.rows(CATALOGUE, asked):
        need = Need(Kind(kind), schema, name)
        if not is_there or (anew and schema != CATALOG):
            found[need] = Lack(need, "is not there")
        elif acts and foreign and not (schema == CATALOG and name in HARMLESS):
            found[need] = Lack(need, "may act, and nobody vouches for this file")
    return found
