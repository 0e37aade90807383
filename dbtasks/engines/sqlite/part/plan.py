"""Planning to bring single tables of an archive into the live file: looked up on both sides, columns compared.

Nothing is written here. What the plan decides is decided again inside the
transaction of the load, and a difference ends it.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ....errors import Refused, TargetUnreachable, UsageError
from ....models import Archive, EngineName, Format, Manifest, Route
from ....near import did_you_mean
from ....nouns import some
from ....plans import PartPlan, PartRequest, PartTable, PartWay, TargetState
from ....rows.sqlite.words import is_strict
from ...rows.archive import engine_of_rows, head_of_rows, head_of_tables
from .. import facts, files
from ..affinity import STRICT_ANY
from ..check import laid_open
from ..load import prove_room
from ..rows.stage import definitions_laid_open
from .spelling import index_as, table_as
from .way_back import taking_away

if TYPE_CHECKING:
    from .. import SqliteEngine

__all__ = ["ROWIDS", "Brought", "attached", "bring", "plan_part"]

UNTOUCHED = "nothing was touched"
LISTED = 10
SHADOWS = (
    "config",
    "content",
    "data",
    "docsize",
    "idx",
    "node",
    "parent",
    "rowid",
    "segdir",
    "segments",
    "stat",
)
"""Ends of the names under which virtual tables keep what they hold."""
ROWIDS = ("rowid", "_rowid_", "oid")


@dataclass(frozen=True)
class Brought:
    """One table, as it is brought in."""

    source: str
    """Its name in the backup."""
    target: str
    """Its name in the live file."""
    way: PartWay
    columns: tuple[str, ...]
    """Those that are copied: all but generated ones."""
    rowid: str = ""
    """The spelling of the row's own number where that is copied as well."""
    create: str = ""
    after: tuple[str, ...] = ()
    """Indexes and triggers, made when the rows are there."""


@dataclass(frozen=True)
class _Column:
    name: str
    type: str
    required: bool
    """NOT NULL without a default."""
    key: bool
    generated: bool


def plan_part(engine: SqliteEngine, archive: Archive, request: PartRequest) -> PartPlan:
    """See `Engine.plan_part`."""
    for flag, given in (("--no-owner", request.no_owner), ("--role", request.role)):
        if given:
            raise UsageError(f"{flag} means nothing for SQLite")
    _prove_target(engine, archive, request.tables)
    prove_room(engine.path, archive, copies=2)
    with (
        _opened(archive, request) as plain,
        files.reading(engine.path, engine.settings.lock_timeout) as live,
        attached(live, plain),
    ):
        # one reading of one state: under a steady writer each further lock is a further wait
        live.execute("BEGIN")
        brought, warnings = bring(live, request)
        warnings += _of_rows(archive, brought)
        tables = tuple(_told(live, table, archive.manifest) for table in brought)
        going = taking_away(live, brought)
        known = facts.facts_of(live, engine.path, engine.settings.migration_table)
    return PartPlan(
        request=request,
        tables=tables,
        route=Route.FILE,
        why="SQLite is written directly",
        facts=known,
        steps=_steps(engine.path, brought, archive.format),
        warnings=warnings,
        takes_away=going,
        selection=brought,
    )


def _opened(archive: Archive, request: PartRequest) -> AbstractContextManager[Path]:
    if archive.format is Format.ROWS:
        return definitions_laid_open(archive, request.tables)
    return laid_open(archive)


def _of_rows(archive: Archive, brought: tuple[Brought, ...]) -> tuple[str, ...]:
    """See that a rows backup has rows to put in the place of others; what tables come without is told.

    Raises:
        Refused: it has none of one; names it.
    """
    if archive.format is not Format.ROWS:
        return ()
    filled = head_of_rows(archive).filled
    bare = [table for table in brought if table.source not in filled]
    emptied = ", ".join(table.source for table in bare if table.way is PartWay.REPLACE)
    if emptied:
        raise Refused(
            f"the rows of {emptied} were left out of {archive.path.name}: replacing what is there would empty it",
            state=UNTOUCHED,
            hint="choose another backup (db.list)",
        )
    made = ", ".join(table.target for table in brought if table.way is PartWay.CREATE)
    told = (f"{made}: a rows backup holds no triggers, it comes without",) if made else ()
    return (*told, *(f"{t.source}: the rows were left out of the backup, only the table comes" for t in bare))


def _prove_target(engine: SqliteEngine, archive: Archive, names: Sequence[str]) -> None:
    if archive.format is Format.ROWS and engine_of_rows(archive) is None:
        # an older tool's says what its tables are nowhere
        head_of_tables(archive, names)
    of_rows = archive.format is Format.ROWS and engine_of_rows(archive) is EngineName.SQLITE
    if archive.format is not Format.SQLITE and not of_rows:
        raise Refused(f"{archive.path.name} is no SQLite backup", state=UNTOUCHED)
    state = engine.state()
    whole = "restore all of it: db.restore without --table"
    if state is TargetState.MISSING:
        raise TargetUnreachable(
            f"{engine.path} does not exist: there is no database to bring a table into", hint=whole
        )
    if state is TargetState.DAMAGED:
        raise Refused(f"{engine.path} is damaged: no table is brought into it", hint=whole, state=UNTOUCHED)


@contextmanager
def attached(live: sqlite3.Connection, plain: Path) -> Iterator[None]:
    """Hold the backup's file as the schema `backup` of a connection, for a block; it is never written."""
    live.execute("ATTACH ? AS backup", (files.read_only_uri(plain),))
    try:
        yield
    finally:
        # inside a transaction it cannot be let go: it goes with the connection
        if not live.in_transaction:
            live.execute("DETACH backup")


# -- what is asked for ------------------------------------------------------------------


def bring(live: sqlite3.Connection, request: PartRequest) -> tuple[tuple[Brought, ...], tuple[str, ...]]:
    """Look up what a request names, on a connection that has the backup attached; returns it with warnings.

    Raises:
        UsageError: the backup does not hold a table. Refused: something stands in the way; names it.
    """
    brought: list[Brought] = []
    warnings: list[str] = []
    for name in dict.fromkeys(request.tables):
        _find(live, name)
        if request.as_name is not None:
            brought.append(_beside(live, name, request.as_name))
        elif (there := _there(live, name)) is None:
            brought.append(_created(live, name))
        else:
            brought.append(_replaced(live, name, there, warnings))
    return tuple(brought), tuple(warnings)


def _find(live: sqlite3.Connection, name: str) -> None:
    query = "SELECT type, sql FROM backup.sqlite_master WHERE name = ? AND type IN ('table', 'view')"
    found = live.execute(query, (name,)).fetchone()
    if found is None or name.lower().startswith("sqlite_"):
        raise UsageError(f"--table={name}: the backup holds no such table", hint=_nearest(live, name))
    kind, sql = found
    if kind == "view":
        raise Refused(f"--table={name}: that is a view, and holds no rows", state=UNTOUCHED)
    if str(sql).upper().startswith("CREATE VIRTUAL"):
        raise Refused(
            f"--table={name}: that is a virtual table, whose rows its module keeps elsewhere",
            state=UNTOUCHED,
            hint="restore beside with --into=FILE, and build it anew from the table it indexes",
        )
    owner, _, end = name.rpartition("_")
    virtual = "SELECT 1 FROM backup.sqlite_master WHERE name = ? AND sql LIKE 'CREATE VIRTUAL%'"
    if end in SHADOWS and live.execute(virtual, (owner,)).fetchone():
        raise Refused(f"--table={name}: the virtual table {owner} keeps its own data there", state=UNTOUCHED)


def _nearest(live: sqlite3.Connection, name: str) -> str:
    query = "SELECT name FROM backup.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    names = sorted(str(found) for (found,) in live.execute(query))
    return did_you_mean(name, names) or f"it holds {some(names, LISTED) or 'no tables'}"


def _there(live: sqlite3.Connection, name: str) -> str | None:
    """Return how the live file spells a table; SQLite itself tells no upper case from lower.

    Raises:
        Refused: what has that name is no plain table.
    """
    query = "SELECT name, type, sql FROM main.sqlite_master WHERE name = ? COLLATE NOCASE"
    found = live.execute(query, (name,)).fetchone()
    if found is None:
        return None
    if found[1] != "table" or str(found[2]).upper().startswith("CREATE VIRTUAL"):
        kind = "virtual table" if found[1] == "table" else found[1]
        raise Refused(
            f"{found[0]} is a {kind} in the live file: no rows can be brought into it", state=UNTOUCHED
        )
    return str(found[0])


# -- three ways -------------------------------------------------------------------------------


def _created(live: sqlite3.Connection, name: str) -> Brought:
    query = (
        "SELECT type, name, sql FROM backup.sqlite_master WHERE tbl_name = ? COLLATE NOCASE AND sql IS NOT NULL"
        " ORDER BY type = 'trigger', rowid"
    )
    create, after = "", []
    for kind, own, sql in live.execute(query, (name,)).fetchall():
        if kind == "table":
            create = str(sql)
            continue
        if live.execute("SELECT 1 FROM main.sqlite_master WHERE name = ? COLLATE NOCASE", (own,)).fetchone():
            raise Refused(
                f"the {kind} {own} of {name} would be created, and the live file has something of that name",
                state=UNTOUCHED,
                hint=f"rename that, or bring the table in under another name: --as={name}_restored",
            )
        after.append(str(sql))
    columns, rowid = _copied(live, "backup", name)
    return Brought(name, name, PartWay.CREATE, columns, rowid, create, tuple(after))


def _beside(live: sqlite3.Connection, name: str, new: str) -> Brought:
    if not new or new.lower().startswith("sqlite_"):
        raise UsageError(f"--as={new}: that is no name for a table")
    taken = {files.folded(str(found)) for (found,) in live.execute("SELECT name FROM main.sqlite_master")}
    if files.folded(new) in taken:
        raise Refused(
            f"--as={new}: the live file has something of that name",
            state=UNTOUCHED,
            hint="choose another name",
        )
    (sql,) = live.execute(
        "SELECT sql FROM backup.sqlite_master WHERE name = ? AND type = 'table'", (name,)
    ).fetchone()
    taken.add(files.folded(new))
    after = []
    indexes = (
        "SELECT name, sql FROM backup.sqlite_master WHERE tbl_name = ? COLLATE NOCASE AND type = 'index'"
        " AND sql IS NOT NULL ORDER BY rowid"
    )
    for index, index_sql in live.execute(indexes, (name,)).fetchall():
        free = _free(f"{new}_{index}", taken)
        after.append(index_as(str(index_sql), free, new))
    columns, rowid = _copied(live, "backup", name)
    brought = Brought(name, new, PartWay.BESIDE, columns, rowid, table_as(str(sql), new), tuple(after))
    _prove_copy(live, brought)
    return brought


def _prove_copy(live: sqlite3.Connection, table: Brought) -> None:
    """See, in memory, that SQLite reads the copy's definition as it is meant: the same columns, no foreign keys."""
    columns = 'SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?, ?)'
    theirs = live.execute(columns, (table.source, "backup")).fetchall()
    why = "it would not be the same table"
    with closing(sqlite3.connect(":memory:")) as trial:
        try:
            for sql in (table.create, *table.after):
                trial.execute(sql)
            ours = trial.execute(columns, (table.target, "main")).fetchall()
            keys = trial.execute(
                "SELECT count(*) FROM pragma_foreign_key_list(?)", (table.target,)
            ).fetchone()
            if ours == theirs and keys == (0,):
                return
        except sqlite3.OperationalError as exc:
            why = str(exc)
    raise Refused(
        f"the definition of {table.source} cannot be spelt under another name: {why}",
        details="; ".join((table.create, *table.after)),
        state=UNTOUCHED,
        hint="restore beside with --into=FILE",
    )


def _free(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while files.folded(name) in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(files.folded(name))
    return name


def _replaced(live: sqlite3.Connection, name: str, there: str, warnings: list[str]) -> Brought:
    theirs = {files.folded(column.name): column for column in _columns(live, "backup", name)}
    ours = {files.folded(column.name): column for column in _columns(live, "main", there)}
    differences = [text for key, column in theirs.items() if (text := _difference(column, ours.get(key)))]
    new = [column for key, column in ours.items() if key not in theirs and not column.generated]
    differences += [
        f"{column.name} is new and may not be empty" for column in new if column.required or column.key
    ]
    if differences:
        raise Refused(
            f"the columns of {there} are not those of the backup: {'; '.join(differences)}",
            state=UNTOUCHED,
            hint=f"bring it in beside, and copy what fits: --as={name}_restored",
        )
    if new:
        names = ", ".join(column.name for column in new)
        warnings.append(f"{there}: {names} did not exist when the backup was made, and will hold the default")
    query = "SELECT name FROM main.sqlite_master WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE"
    triggers = [str(found) for (found,) in live.execute(query, (there,))]
    if triggers:
        warnings.append(
            f"{there}: its triggers do not fire, what they keep elsewhere stays: {', '.join(triggers)}"
        )
    columns, rowid = _copied(live, "backup", name)
    if rowid and _rowid(live, "main", there) != rowid:
        rowid = ""
    return Brought(name, there, PartWay.REPLACE, columns, rowid)


def _difference(theirs: _Column, ours: _Column | None) -> str:
    if ours is None:
        return "" if theirs.generated else f"{theirs.name} is gone"
    if theirs.generated != ours.generated:
        return (
            f"{theirs.name} is {'not ' if theirs.generated else ''}generated any more"
            if theirs.generated
            else (f"{theirs.name} is generated now")
        )
    if theirs.type != ours.type:
        return f"{theirs.name} was {theirs.type or 'without a type'} and is {ours.type or 'without one'}"
    return ""


def _columns(live: sqlite3.Connection, schema: str, table: str) -> list[_Column]:
    query = 'SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?, ?)'
    words = f"SELECT sql FROM {schema}.sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE"  # noqa: S608 - constants
    strict = any(is_strict(str(sql)) for (sql,) in live.execute(words, (table,)))

    def told(kind: str) -> str:
        return STRICT_ANY if strict and kind == "ANY" else kind

    return [
        _Column(
            name=str(name),
            type=told(re.sub(r"\s+", " ", str(kind)).upper()),
            required=bool(required) and default is None,
            key=bool(key),
            generated=hidden in (2, 3),
        )
        for name, kind, required, default, key, hidden in live.execute(query, (table, schema))
    ]


def _copied(live: sqlite3.Connection, schema: str, table: str) -> tuple[tuple[str, ...], str]:
    columns = [column for column in _columns(live, schema, table) if not column.generated]
    return tuple(column.name for column in columns), _rowid(live, schema, table)


def _rowid(live: sqlite3.Connection, schema: str, table: str) -> str:
    """Return a word for the row's own number; empty where it has none, or no word that is free."""
    names = {files.folded(column.name) for column in _columns(live, schema, table)}
    free = next((word for word in ROWIDS if word not in names), "")
    try:
        live.execute(f"SELECT {free or 'NULL'} FROM {schema}.{files.identifier(table)} LIMIT 0")  # noqa: S608 - quoted
    except sqlite3.OperationalError as exc:
        if "no such column" not in str(exc):
            raise
        return ""  # WITHOUT ROWID
    return free


# -- the plan in words ---------------------------------------------------------------------------


def _told(live: sqlite3.Connection, table: Brought, manifest: Manifest | None) -> PartTable:
    counts = manifest.counts if manifest and not manifest.not_counted else {}
    rows = None
    if table.way is PartWay.REPLACE:
        rows = facts.count_table(live, table.target)
    return PartTable(table.target, table.way, counts.get(table.source), rows)


def _steps(path: Path, brought: tuple[Brought, ...], format_: Format) -> tuple[str, ...]:
    held = "rows and indexes" if format_ is Format.ROWS else "rows, indexes and triggers"
    words = {
        PartWay.REPLACE: "empty {0} and fill it from the backup, without firing its triggers",
        PartWay.CREATE: f"create {{0}} with its keys, {held}",
        PartWay.BESIDE: "create {0} with its keys, rows and indexes",
    }
    first, *others = (words[table.way].format(table.target) for table in brought)
    return (
        "unpack the backup beside the live file, check it",
        f"in one transaction of {path.name}: {first}",
        *others,
        "compare row counts and foreign keys, then COMMIT; until then nothing is changed",
    )
