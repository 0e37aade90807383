"""The statements of a dump as a schema: which object each makes, changes, gives away or opens.

pg_dump writes every statement in one way, names always with their schema, so
that a few patterns tell them apart. What none of them knows is an object
named by its own first words: compared all the same.
"""

from __future__ import annotations

import re
from collections import defaultdict

from ....schemas import Schema, SchemaObject, pieces

__all__ = ["DefinedSchema"]

_ID = r'(?:"(?:[^"]|"")+"|[^\s"(),;.]+)'
_Q = rf"{_ID}(?:\.{_ID})*"

_RELATION = re.compile(
    rf"CREATE (?:OR REPLACE )?(?:UNLOGGED |RECURSIVE )?(FOREIGN TABLE|TABLE|MATERIALIZED VIEW|VIEW|SEQUENCE|TYPE|DOMAIN) ({_Q})"
)
_INDEX = re.compile(rf"CREATE (?:UNIQUE )?INDEX ({_ID}) ON (?:ONLY )?({_Q})")
_ROUTINE = re.compile(rf"CREATE (?:OR REPLACE )?(FUNCTION|PROCEDURE|AGGREGATE) ({_Q})\(")
_ON_TABLE = re.compile(
    rf"CREATE (?:OR REPLACE )?(?:CONSTRAINT )?(TRIGGER|POLICY) ({_ID})(?:\s.*?)?\sON ({_Q})(?=[\s;])",
    re.DOTALL,
)
_RULE = re.compile(rf"CREATE (?:OR REPLACE )?RULE ({_ID}) AS\s+ON \w+ TO ({_Q})")
_NAMED = re.compile(
    rf"CREATE (?:OR REPLACE )?(SCHEMA|EXTENSION|PUBLICATION|SUBSCRIPTION|EVENT TRIGGER|COLLATION|STATISTICS|SERVER)"
    rf" (?:IF NOT EXISTS )?({_Q})"
)
_MAPPING = re.compile(rf"CREATE USER MAPPING (FOR {_ID} SERVER {_ID})")
_OTHER = re.compile(r"CREATE (?:OR REPLACE )?((?:[A-Z]+ )+)([^\n;']*)")
_CONSTRAINT = re.compile(
    rf"ALTER (?:FOREIGN )?TABLE (?:ONLY )?({_Q})\s+ADD CONSTRAINT ({_ID})\s+(FOREIGN KEY)?"
)
_ATTACH = re.compile(rf"ALTER (?:TABLE|INDEX) (?:ONLY )?{_Q} ATTACH PARTITION ({_Q})")
_OWNED = re.compile(rf"ALTER SEQUENCE ({_Q}) OWNED BY ({_Q})\.{_ID};")
_OWNER = re.compile(rf"ALTER ((?:[A-Z]+ )+)(.*) OWNER TO ({_ID});", re.DOTALL)
_ALTER = re.compile(rf"ALTER ((?:[A-Z]+ )+)(?:ONLY )?({_Q})")
_COMMENT = re.compile(r"COMMENT ON (.*?) IS (?:E?'|NULL)", re.DOTALL)
_LARGE = re.compile(r"(?:ALTER|COMMENT ON|(?:GRANT|REVOKE) [A-Z, ]+ ON) LARGE OBJECT\b")
_NOT_OURS = re.compile(r"(?:CREATE|ALTER|COMMENT ON) (?:DATABASE|ROLE|TABLESPACE)\b|COMMENT ON EXTENSION\b")
"""What belongs to the cluster, and what an extension's own version says about itself."""
_RELATIONS = {"TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "FOREIGN TABLE"}
_COMMENTED = re.compile(rf"(?:TABLE ({_Q})|COLUMN ({_Q})\.{_ID})")
_LONGEST_NAME = 120


class DefinedSchema:
    """A schema in the making: takes the statements of a script one by one.

    For comparing; `part.Definitions` keeps the statements themselves, of which some are played.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], SchemaObject] = {}
        self._further: defaultdict[str, list[str]] = defaultdict(list)
        self._kind_of_further: dict[str, str] = {}
        self._owned_by: dict[str, str] = {}
        self._owners: dict[str, str] = {}
        self._privileges: set[str] = set()

    def take(self, statement: str) -> None:
        """Learn from one statement; SET and RESET say nothing about the schema."""
        if _NOT_OURS.match(statement) or _LARGE.match(statement):
            return
        if statement.startswith("CREATE "):
            self._make(*_made(statement), statement)
        elif statement.startswith("COMMENT ") and (comment := _COMMENT.match(statement)):
            of_table = _COMMENTED.fullmatch(comment[1])
            self._make("comment", comment[1], (of_table[1] or of_table[2]) if of_table else "", statement)
        elif statement.startswith(("GRANT ", "REVOKE ", "ALTER DEFAULT PRIVILEGES ")):
            self._privileges.add(statement.removesuffix(";"))
        elif statement.startswith("ALTER "):
            self._alter(statement)

    def _make(self, type_: str, name: str, table: str, statement: str) -> None:
        known = self._made.get((type_, name))
        # a view in a circle is made twice: first a stand-in, then the real one
        text = f"{known.definition}\n{statement}" if known else statement
        self._made[type_, name] = SchemaObject(type_, name, text, table)

    def _alter(self, statement: str) -> None:
        if owner := _OWNER.fullmatch(statement):
            # which word stands before a sequence or a view depends on the version
            kind = "" if owner[1].strip() in _RELATIONS else owner[1].lower()
            self._owners[f"{kind}{owner[2]}"] = owner[3]
        elif constraint := _CONSTRAINT.match(statement):
            table, name = constraint[1], constraint[2]
            type_ = "foreign key" if constraint[3] else "constraint"
            self._make(type_, f"{table} {name}", table, statement)
        elif attached := _ATTACH.match(statement):
            self._further[attached[1]].append(statement)
            # the index of a partition's primary key is made by its constraint
            kind = "index" if statement.startswith("ALTER INDEX ") else "table"
            self._kind_of_further.setdefault(attached[1], kind)
        elif owned := _OWNED.fullmatch(statement):
            self._owned_by[owned[1]] = owned[2]
            self._further[owned[1]].append(statement)
        elif altered := _ALTER.match(statement):
            self._further[altered[2]].append(statement)
            self._kind_of_further.setdefault(altered[2], altered[1].removesuffix("ONLY ").strip().lower())

    def schema(self, spelling: str) -> Schema:
        """Return what was learnt, each statement with the object it is about."""
        objects = {}
        left = dict(self._further)
        for key, made in self._made.items():
            of_a_name = made.type not in ("constraint", "foreign key", "trigger", "policy", "rule", "comment")
            further = tuple(sorted(left.pop(made.name, ()))) if of_a_name else ()
            table = made.table or (self._owned_by.get(made.name, "") if made.type == "sequence" else "")
            objects[key] = SchemaObject(made.type, made.name, made.definition, table, further)
        for name, statements in left.items():
            # what is changed and not made here: a partial dump's, or an extension's
            type_ = self._kind_of_further.get(name, "table")
            objects[type_, name] = SchemaObject(type_, name, "\n".join(sorted(statements)))
        return Schema(objects, dict(self._owners), frozenset(self._privileges), spelling)


def _made(statement: str) -> tuple[str, str, str]:
    """Return type, name and table of what a CREATE statement makes."""
    if found := _RELATION.match(statement):
        return found[1].lower(), found[2], ""
    if found := _INDEX.match(statement):
        return "index", f"{_schema_of(found[2])}{found[1]}", found[2]
    if found := _ROUTINE.match(statement):
        return found[1].lower(), f"{found[2]}({_arguments(statement[found.end() :])})", ""
    if found := _RULE.match(statement):
        return "rule", f"{found[2]} {found[1]}", found[2]
    if found := _ON_TABLE.match(statement):
        return found[1].lower(), f"{found[3]} {found[2]}", found[3]
    if found := _NAMED.match(statement):
        return found[1].lower(), found[2], ""
    if found := _MAPPING.match(statement):
        return "user mapping", found[1], ""
    if found := _OTHER.match(statement):
        # a name ends before the options, one of which may be a login's
        name = re.split(r" \(| OPTIONS\b", found[2])[0]
        return found[1].strip().lower(), name.strip()[:_LONGEST_NAME], ""
    return "object", statement[:_LONGEST_NAME], ""


def _schema_of(name: str) -> str:
    """Return the part of a name before its last, with the dot."""
    parts = re.findall(_ID, name)
    return f"{parts[0]}." if len(parts) > 1 else ""


def _arguments(rest: str) -> str:
    """Return a routine's arguments without their defaults, which may change and leave it the same one."""
    depth = 1
    for found in re.finditer(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[()]""", rest):
        depth += (found[0] == "(") - (found[0] == ")")
        if not depth:
            rest = rest[: found.start()]
            break
    return ", ".join(piece.partition(" DEFAULT ")[0] for piece in pieces(rest))
