"""What of a SQLite schema goes to PostgreSQL around its columns: references, plain indexes, the numbers of rows.

Pure. What cannot go is told as a loss; the restore across engines and the
migration, which choose the types of columns each by its own rule, share it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from ...schemas import table_name
from ..losses import Loss
from ..postgres.named import names_of_keys, numbered
from ..postgres.spelling import LIMIT_BYTES
from ..schema import ForeignKey, Index, Key, PortableSchema, Table
from ..schema import Sequence as Numbers
from ..sqlite.references import whens_of
from ..sqlite.words import counts_itself, index_items, index_parts, plain_items, words
from .folded import BINARY, FOLDED, WITHOUT, FoldedKey, folded_keys, folds_of

__all__ = ["SCHEMA", "UNORDERED", "Carried", "keys_of", "quoted_list"]

SCHEMA = "public"
TypeOf = Callable[[Table, str], str]
"""The type of a column there, without its length; empty where it has none."""
Condition = Callable[[Table, Sequence[str]], str | None]
"""What a condition of SQLite's is in PostgreSQL's words; None where it is nothing there."""
WIDER = {
    *(("character varying", "text"), ("text", "character varying")),
    *(("bigint", "numeric"), ("bigint", "double precision")),
}
"""A column of the first type may refer to one of the second, as well as any to its own."""
WHOLE = frozenset(("smallint", "integer", "bigint"))
"""Any of them to any."""
TEXTS = frozenset(("text", "character varying", "character"))
"""Types of which a collation says how they compare."""
UNORDERED = frozenset(("json", "xml"))
"""Types whose values no index puts in order."""
REFUSED = "ABORT"
"""What SQLite does with a row that is in the way, where nothing else is said."""
MOST_COLUMNS = 32
"""Of an index; the server is built with that."""
SYSTEM = frozenset(("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"))
"""Columns that every table there has already."""


class Carried:
    """The schema around the columns; `losses` gathers what stays behind.

    `taken` are the names of what is there already, and is no table of these; `used` all that SQLite's database has.
    """

    def __init__(
        self,
        schema: PortableSchema,
        names: Mapping[str, str],
        type_of: TypeOf,
        losses: list[Loss],
        condition: Condition = lambda table, said: None,  # noqa: ARG005 - nothing is carried unless it is said how
        taken: Collection[str] = (),
        used: Collection[str] = (),
    ) -> None:
        self._schema = schema
        self._names = names
        self._type_of = type_of
        self._losses = losses
        self._condition = condition
        self._renamed: dict[str, str] = {}
        """Tables whose names the server would not have, and what they could be called."""
        self._by_case = {table.name.lower(): table for table in schema.tables}
        # in SQLite indexes and views share the names of tables, and case makes none another one
        self._used = {*used, *(one.name for table in schema.tables for one in table.indexes)}
        self._taken = {table.name for table in schema.tables}.union(taken)
        # made in front of the indexes, by names of the server's
        for table in schema.tables:
            self._taken.update(names_of_keys(table, self._taken))

    def prove_table(self, table: Table) -> None:
        """Tell a table's name that the server would not have, with the statement of SQLite's that gives it another."""
        if why := _why_no_name(table.name):
            used = {*self._taken, *self._used, *self._renamed.values()}
            new = self._renamed[table.name] = _another(table.name, used)
            mend = f"ALTER TABLE {_quoted(table.name)} RENAME TO {_quoted(new)};"
            self._losses.append(Loss(_called("table", table.name), why, True, mend))

    def prove_columns(self, table: Table) -> None:
        """Do the same of a table's columns; the statements go behind the one for the table itself."""
        used = {column.name for column in table.columns}
        on = _quoted(self._renamed.get(table.name, table.name))
        for name in [column.name for column in table.columns]:
            taken = "has a name that PostgreSQL keeps for itself" if name in SYSTEM else ""
            if why := _why_no_name(name) or taken:
                new = _another(name, used)
                used.add(new)
                mend = f"ALTER TABLE {on} RENAME COLUMN {_quoted(name)} TO {_quoted(new)};"
                self._losses.append(Loss(_called(f"column of {table.name}", name), why, True, mend))

    def prove_conflicts(self, table: Table) -> None:
        """Tell what a row that breaks a key or has no value does in SQLite, but for being refused."""
        said = [word.upper() for word in words(table.definition)]
        ways = {
            way
            for on, conflict, way in zip(said, said[1:], said[2:], strict=False)
            if (on, conflict) == ("ON", "CONFLICT") and way != REFUSED
        }
        if ways:
            listed = " and ".join(f"ON CONFLICT {way}" for way in sorted(ways))
            self._losses.append(
                Loss(f"the table {table.name}", f"goes without its {listed}: such a row is refused there")
            )

    def references(self, table: Table) -> tuple[ForeignKey, ...]:
        """Return the foreign keys of a table."""
        pairs = zip(table.foreign_keys, whens_of(table), strict=True)
        return tuple(filter(None, (self._reference(table, one, when) for one, when in pairs)))

    def referenced(self, one: ForeignKey) -> tuple[Table, tuple[str, ...]] | None:
        """Return what a foreign key refers to; None where that is not there."""
        other = self._by_case.get(one.references.lower())
        key = other.primary_key.columns if other and other.primary_key else ()
        names = one.referenced or key
        if other is None or len(names) != len(one.columns):
            return None
        by_case = {column.name.lower(): column.name for column in other.columns}
        return other, tuple(by_case.get(name.lower(), name) for name in names)

    def _reference(self, table: Table, one: ForeignKey, when: str) -> ForeignKey | None:
        what = f"the foreign key of {table.name} ({', '.join(one.columns)}) to {one.references}"
        found = self.referenced(one)
        if found is None:
            self._losses.append(Loss(what, "refers to what does not come along"))
            return None
        other, referenced = found
        if set(referenced) not in keys_of(other) or self._why_no_index(other, referenced):
            self._losses.append(Loss(what, "refers to columns that are no key"))
            return None
        for mine, theirs in zip(one.columns, referenced, strict=True):
            types = self._type_of(table, mine), self._type_of(other, theirs)
            if types[0] != types[1] and types not in WIDER and not WHOLE.issuperset(types):
                self._losses.append(Loss(what, "compares columns of different types"))
                return None
        text = (
            f"FOREIGN KEY ({quoted_list(one.columns)}) REFERENCES {_quoted(SCHEMA)}.{_quoted(other.name)}({quoted_list(referenced)})"
            f" {one.definition}"
        )
        return ForeignKey(one.columns, self._names[other.name], referenced, "", text.rstrip() + when)

    def primary_key(self, table: Table) -> Key | None:
        """Return the primary key of a table, where an index holds it."""
        key = table.primary_key
        return Key(key.columns) if key and self._is_held("the primary key", table, key.columns) else None

    def unique(self, table: Table) -> tuple[Key, ...]:
        """Return the other keys of a table that an index holds."""
        own = table.primary_key.columns if table.primary_key else ()
        return tuple(
            Key(one.columns)
            for one in table.unique
            if one.columns != own and self._is_held("the unique key", table, one.columns)
        )

    def _is_held(self, key: str, table: Table, columns: Sequence[str]) -> bool:
        why = self._why_no_index(table, columns)
        if why:
            self._losses.append(Loss(f"{key} ({', '.join(columns)}) of {table.name}", why))
        return not why

    def _why_no_index(self, table: Table, columns: Collection[str]) -> str:
        """Return why no index of PostgreSQL's is over these; empty where one is."""
        if len(columns) > MOST_COLUMNS:
            return (
                f"is over {len(columns)} columns, and an index has {MOST_COLUMNS} at most there: not carried"
            )
        there = {column.name for column in table.data_columns}
        for name in columns:
            if name not in there:
                return f"is over {name}, which is computed: not carried"
            if (type_ := self._type_of(table, name)) in UNORDERED:
                return f"is over {name}, and {type_} has no order there: not carried"
        return ""

    def indexes(self, table: Table) -> tuple[Index, ...]:
        """Return the indexes of a table that are over columns, and those that keep what a collation makes unique."""
        plain = tuple(filter(None, (self._index(table, one) for one in table.indexes)))
        return (*plain, *filter(None, (self._kept_unique(table, one) for one in folded_keys(table))))

    def _kept_unique(self, table: Table, key: FoldedKey) -> Index | None:
        """Return a unique index beside a key that would hold less apart there than it does in SQLite."""
        if not key.is_plain:
            # it was made of what it says itself
            return None
        what = f"{key.place} of {table.name}"
        if self._why_no_index(table, key.columns):
            # told with the key
            return None
        parts = self._folds(table, key.columns, key.by, what)
        if parts is None or parts == [*map(_quoted, key.columns)]:
            return None
        name = self._free(f"{table.name[:20]}_{'_'.join(key.columns)[:20]}_folded")
        self._tell_folded(what, key.by, f"the unique index {name} beside it keeps that")
        return _index_over(table, name, parts, is_unique=True)

    def _folds(self, table: Table, columns: Sequence[str], by: Sequence[str], what: str) -> list[str] | None:
        """Return what is unique where these columns compare so; None, and told, where there is no word for it."""
        parts = []
        for column, collation in zip(columns, by, strict=True):
            is_text = self._type_of(table, column) in TEXTS
            if is_text and collation not in (BINARY, *FOLDED):
                self._losses.append(Loss(what, f"compares by {collation}: no key of PostgreSQL's does"))
                return None
            plain = _quoted(column)
            parts.append(FOLDED[collation].format(plain) if is_text and collation in FOLDED else plain)
        return parts

    def _tell_folded(self, what: str, by: Sequence[str], how: str) -> None:
        words = " and ".join(dict.fromkeys(WITHOUT[collation] for collation in by if collation in WITHOUT))
        self._losses.append(Loss(what, f"compares {words}: {how}"))

    def _index(self, table: Table, one: Index) -> Index | None:
        is_unique, over, where = index_parts(one.definition)
        items = plain_items(over, table)
        condition = self._condition(table, where) if where else ""
        said = index_items(over, table)
        if why := self._why_no_index(table, [column for column, _, _ in said or ()]):
            self._losses.append(Loss(f"the index {one.name}", why))
            return None
        if said and is_unique and condition is not None and (where or items is None):
            return self._folded_index(table, one, said, condition)
        if items is None or condition is None:
            self._losses.append(Loss(f"the index {one.name}", "is over more than columns, and not carried"))
            return None
        name = self._named(one)
        parts = [_quoted(column) + (" DESC" if down else "") for column, down in items]
        return _index_over(table, name, parts, is_unique=is_unique, condition=condition)

    def _folded_index(
        self, table: Table, one: Index, items: Sequence[tuple[str, str, bool]], condition: str
    ) -> Index | None:
        """Return a unique index that says by which collation it compares."""
        what = f"the unique index {one.name} of {table.name}"
        by = folds_of(table, [(column, collation) for column, collation, _ in items])
        parts = self._folds(table, [column for column, _, _ in items], by, what)
        if parts is None:
            return None
        name = self._named(one)
        if parts != [_quoted(column) for column, _, _ in items]:
            self._tell_folded(what, by, f"it is over {', '.join(parts)} there")
        parts = [part + (" DESC" if down else "") for part, (_, _, down) in zip(parts, items, strict=True)]
        return _index_over(table, name, parts, is_unique=True, condition=condition)

    def _named(self, one: Index) -> str:
        name = self._free(one.name)
        if name != one.name:
            why = "its name is taken" if _size(one.name) <= LIMIT_BYTES else "PostgreSQL would cut its name"
            self._losses.append(Loss(f"the index {one.name}", f"is called {name} there: {why}"))
        return name

    def _free(self, name: str) -> str:
        number, wanted = 1, name
        while wanted in self._taken or _size(wanted) > LIMIT_BYTES:
            number += 1
            wanted = numbered(name, number)
        self._taken.add(wanted)
        return wanted

    def numbers(self, table: Table, largest: int) -> Numbers | None:
        """Let the numbers of a table go on behind every one that was ever given; `largest` is the one that is there."""
        column = counts_itself(table)
        if column is None:
            return None
        recorded = max(
            (one.last_value for one in self._schema.sequences if one.table == table.name), default=0
        )
        last = max(recorded, largest)
        return Numbers(
            table_name(SCHEMA, self._free(f"{table.name}_{column}_seq")),
            max(last, 1),
            last > 0,
            "bigint",
            minimum=1,
            maximum=2**63 - 1,
            table=self._names[table.name],
            column=column,
        )


def _index_over(
    table: Table, name: str, parts: Sequence[str], *, is_unique: bool, condition: str = ""
) -> Index:
    on = f"{_quoted(SCHEMA)}.{_quoted(table.name)}"
    only = f" WHERE ({condition})" if condition else ""
    unique = "UNIQUE " if is_unique else ""
    return Index(name, f"CREATE {unique}INDEX {_quoted(name)} ON {on} USING btree ({', '.join(parts)}){only}")


def keys_of(table: Table) -> list[set[str]]:
    """Return what no two rows have alike: of columns, whether it was said as a key or by an index that comes along."""
    keys = [*([table.primary_key] if table.primary_key else ()), *table.unique]
    found = [set(key.columns) for key in keys]
    for one in table.indexes:
        is_unique, over, where = index_parts(one.definition)
        items = plain_items(over, table)
        if is_unique and items and not where:
            found.append({column for column, _ in items})
    return found


def _called(what: str, name: str) -> str:
    return f"the {what} {name}" if name else f"a {what}"


def _why_no_name(name: str) -> str:
    """Return why the server would not have a name, or not all of it; empty where it takes it."""
    size = _size(name)
    if not size:
        return "has an empty name, which PostgreSQL does not take"
    return (
        f"has a name of {size} bytes, and PostgreSQL cuts names after {LIMIT_BYTES}"
        if size > LIMIT_BYTES
        else ""
    )


def _another(name: str, used: Collection[str]) -> str:
    """Return a name near this one that the server takes and nothing else has, in whatever case."""
    near, number, folded = name or "unnamed", 1, {one.lower() for one in used}
    wanted = near.encode("utf-8", "replace")[:LIMIT_BYTES].decode("utf-8", "ignore")
    while wanted.lower() in folded:
        number += 1
        wanted = numbered(near, number)
    return wanted


def _size(name: str) -> int:
    return len(name.encode("utf-8", "replace"))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def quoted_list(names: Sequence[str]) -> str:
    """Return names as SQL."""
    return ", ".join(map(_quoted, names))
