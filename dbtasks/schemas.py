"""Schemas, object by object, and what lies between two of them. Pure: where the definitions come from is the engines' business.

An object is known by its type and its name. Two definitions are the same when
their texts are, but for white space outside quotes. Texts that two versions
of a server or a tool wrote may differ for nothing: then only what no version
spells otherwise (which objects there are, the columns of a table, the labels of an
enum) counts as drift, and the rest is told as not certain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = [
    "ObjectChange",
    "Schema",
    "SchemaDrift",
    "SchemaObject",
    "compare_schemas",
    "pieces",
    "quoted",
    "table_name",
]

Key = tuple[str, str]

_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)
      | (?P<quoted>'(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | \[[^\]\n]*\])
      | (?P<space>\s+)
      | (?P<mark>[(),])
      | (?P<dollar>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
      | (?P<other>[^-/'"`\[\s(),$]+|.)""",
    re.DOTALL | re.VERBOSE,
)
_NAME = re.compile(r"""("(?:[^"]|"")+"|`[^`]+`|\[[^\]]+\]|[^\s"(]+)\s*(.*)""", re.DOTALL)
_OF_THE_TABLE = re.compile(
    r"(constraint|primary\s+key|unique|check|foreign\s+key|exclude|like)\b", re.IGNORECASE
)
SHOWN_WHOLE = frozenset({"constraint", "domain", "index", "policy", "sequence", "type"})
"""Types whose definitions are short and hold no login: a trigger's arguments may be a token, a server's options a password."""
LONGEST_SHOWN = 300
_LABELS = re.compile(r"CREATE TYPE .* AS ENUM \(", re.DOTALL)
"""What every version spells in the same words."""


@dataclass(frozen=True)
class SchemaObject:
    """One object and the statements that make it."""

    type: str
    """In lower case: `table`, `index`, `foreign key`, `function`."""
    name: str
    """With its schema where there are schemas; a function's with its argument types."""
    definition: str
    table: str = ""
    """The table it belongs to, and comes and goes with; empty where it is none's."""
    further: tuple[str, ...] = ()
    """Statements about it beside the one that makes it: defaults, partitions, options."""


@dataclass(frozen=True)
class Schema:
    """All definitions of a database, or of a backup of one."""

    objects: Mapping[Key, SchemaObject] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    """Object to role; empty where owners were left out, or there are none."""
    privileges: frozenset[str] = frozenset()
    """GRANT and REVOKE statements."""
    spelling: str = ""
    """Which versions wrote the texts: those of one spelling can be compared word by word."""


@dataclass(frozen=True)
class ObjectChange:
    """One object that is not the same in both."""

    type: str
    name: str
    table: str = ""
    details: tuple[str, ...] = ()
    """Lines that begin with `+` (so in the backup), `-` (so in what it is compared with) or `~` (about both)."""


@dataclass(frozen=True)
class SchemaDrift:
    """What lies between the schema of a backup and the one it is compared with."""

    only_in_backup: tuple[ObjectChange, ...] = ()
    only_against: tuple[ObjectChange, ...] = ()
    changed: tuple[ObjectChange, ...] = ()
    uncertain: tuple[ObjectChange, ...] = ()
    """Texts that differ, perhaps only because other versions wrote them."""
    why_uncertain: str = ""
    owners: tuple[str, ...] = ()
    """Objects in both that belong to different roles, in words."""
    privileges: tuple[str, ...] = ()
    """Statements that only one of the two has, behind `+` or `-`."""

    @property
    def differs(self) -> bool:
        """Whether anything is certain to differ."""
        return bool(
            self.only_in_backup or self.only_against or self.changed or self.owners or self.privileges
        )


def compare_schemas(
    backup: Schema, against: Schema, *, partial: tuple[bool, bool] = (False, False)
) -> SchemaDrift:
    """Compare object by object; what a partial side (the backup's, the other) does not have is no difference."""
    same_words = backup.spelling == against.spelling
    changed: list[ObjectChange] = []
    uncertain: list[ObjectChange] = []
    for key in sorted(backup.objects.keys() & against.objects.keys()):
        ours, theirs = backup.objects[key], against.objects[key]
        if _is_same(ours, theirs):
            continue
        change = ObjectChange(ours.type, ours.name, ours.table, _details(ours, theirs))
        sure = same_words or _other_columns(ours, theirs) or bool(_LABELS.match(ours.definition))
        (changed if sure else uncertain).append(change)
    return SchemaDrift(
        only_in_backup=() if partial[1] else _only(backup, against),
        only_against=() if partial[0] else _only(against, backup),
        changed=tuple(changed),
        uncertain=tuple(uncertain),
        why_uncertain=_why_uncertain(backup, against) if uncertain else "",
        owners=tuple(_other_owners(backup, against)),
        privileges=_other_privileges(backup, against, partial),
    )


def _only(one: Schema, other: Schema) -> tuple[ObjectChange, ...]:
    found = (one.objects[key] for key in sorted(one.objects.keys() - other.objects.keys()))
    return tuple(ObjectChange(o.type, o.name, o.table) for o in found)


def _why_uncertain(backup: Schema, against: Schema) -> str:
    return f"the one was written by {backup.spelling or 'an unknown version'}, the other by {against.spelling or 'an unknown version'}"


def _other_owners(backup: Schema, against: Schema) -> Iterator[str]:
    for name in sorted(backup.owners.keys() & against.owners.keys()):
        if backup.owners[name] != against.owners[name]:
            yield f"{name} belongs to {backup.owners[name]} in the backup, to {against.owners[name]} in the other"


def _other_privileges(backup: Schema, against: Schema, partial: tuple[bool, bool]) -> tuple[str, ...]:
    # a backup without owners was made without privileges as well, or says nothing about either;
    # which single rights make up "all" depends on the version
    if not backup.owners or not against.owners or backup.spelling != against.spelling:
        return ()
    ours = [] if partial[1] else sorted(backup.privileges - against.privileges)
    theirs = [] if partial[0] else sorted(against.privileges - backup.privileges)
    return (*(f"+ {text}" for text in ours), *(f"- {text}" for text in theirs))


# -- inside one definition ------------------------------------------------------------


def _is_same(ours: SchemaObject, theirs: SchemaObject) -> bool:
    if ours.further != theirs.further:
        return False
    return ours.definition == theirs.definition or _words(ours.definition) == _words(theirs.definition)


def _words(definition: str) -> str:
    """Return a definition with single blanks for white space, and without comments."""
    kept: list[str] = []
    for token in _TOKEN.finditer(definition):
        part = " " if token["space"] or token["comment"] else token[0]
        if part != " " or (kept and kept[-1] != " "):
            kept.append(part)
    return "".join(kept).strip()


def pieces(text: str) -> list[str]:
    """Split at the commas that stand outside of quotes and parentheses; comments are left out."""
    found, current, depth = [], list[str](), 0
    for token in _TOKEN.finditer(text):
        part = token[0]
        if token["comment"]:
            continue
        if part == "," and not depth:
            found.append("".join(current).strip())
            current = []
            continue
        depth += (part == "(") - (part == ")")
        current.append(part)
    last = "".join(current).strip()
    return [*found, last] if last else found


def _body(definition: str) -> str | None:
    """Return what stands between the first parenthesis and the one that closes it."""
    depth, start = 0, -1
    for token in _TOKEN.finditer(definition):
        if token[0] == "(":
            depth += 1
            start = token.end() if depth == 1 else start
        elif token[0] == ")" and token["mark"]:
            depth -= 1
            if not depth:
                return definition[start : token.start()]
    return None


def _columns(definition: str) -> dict[str, str]:
    """Return a table's columns and constraints, by name, as they are defined."""
    found: dict[str, str] = {}
    for piece in pieces(_body(definition) or ""):
        if _OF_THE_TABLE.match(piece):
            found[_words(piece)] = ""
        elif named := _NAME.match(piece):
            found[named[1]] = _words(named[2])
    return found


def _names_of(columns: Mapping[str, str]) -> set[str]:
    return {name for name in columns if not _OF_THE_TABLE.match(name)}


def _other_columns(ours: SchemaObject, theirs: SchemaObject) -> bool:
    if ours.type != "table":
        return False
    return _names_of(_columns(ours.definition)) != _names_of(_columns(theirs.definition))


def _details(ours: SchemaObject, theirs: SchemaObject) -> tuple[str, ...]:
    if ours.type == "table":
        found = [*_column_details(_columns(ours.definition), _columns(theirs.definition))]
        found += _line_details(ours.further, theirs.further)
        return tuple(found or _line_details(ours.definition.splitlines(), theirs.definition.splitlines()))
    if ours.type not in SHOWN_WHOLE:
        return ()
    if ours.definition != theirs.definition:
        return (_short(f"+ {ours.definition}"), _short(f"- {theirs.definition}"))
    return tuple(_line_details(ours.further, theirs.further))


def _column_details(ours: Mapping[str, str], theirs: Mapping[str, str]) -> Iterator[str]:
    for name, text in ours.items():
        if name not in theirs:
            yield _short(f"+ {name} {text}")
        elif theirs[name] != text:
            yield _short(f"+ {name} {text}")
            yield _short(f"- {name} {theirs[name]}")
    yield from (_short(f"- {name} {text}") for name, text in theirs.items() if name not in ours)
    if ours.keys() == theirs.keys() and list(ours) != list(theirs):
        yield "~ the columns stand in another order"


def _line_details(here: Sequence[str], there: Sequence[str]) -> Iterator[str]:
    yield from (_short(f"+ {line}") for line in here if line not in there)
    yield from (_short(f"- {line}") for line in there if line not in here)


def _short(text: str) -> str:
    line = _words(text).strip()
    return line if len(line) <= LONGEST_SHOWN else f"{line[:LONGEST_SHOWN]} …"


def table_name(schema: str, name: str) -> str:
    """Return `schema.table` as manifests spell it: quoted only where a dot or a quote makes it ambiguous."""
    return ".".join(quoted(part) if "." in part or '"' in part else part for part in (schema, name))


def quoted(*names: str) -> str:
    """Spell a name, with its schema where there are two, so that it is surely that in SQL of either engine."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)
