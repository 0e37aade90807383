"""What can be asked of a SQLite database: its state, its tables and rows, whether it holds together."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from ...errors import ArchiveDamaged
from ...models import DatabaseFacts
from ...plans import TargetState
from ...revisions import find_revision
from ...rows.losses import KEY_BROKEN
from ...schemas import Schema, SchemaObject
from .files import SIDECARS, connect, folded, identifier, is_one_byte, reading, sidecar, size_of

__all__ = [
    "Examined",
    "broken_foreign_keys",
    "count_objects",
    "count_rows",
    "count_table",
    "examine",
    "facts_of",
    "integrity_problems",
    "schema_of",
    "state_of",
    "table_names",
    "which_check",
]

FULL_CHECK_BYTES = 64 << 20
"""Up to here the full integrity check costs a fraction of a second; above, only who asks for it waits for it."""
# what SQLite makes by itself, for a UNIQUE or for its statistics, has no text or a name of its own
DEFINITIONS = """
    SELECT type, name, tbl_name, sql FROM sqlite_master
    WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
"""

CACHE_KIB = 512


def state_of(path: Path, timeout: float) -> TargetState:
    """Look at a file: missing, empty (nothing but what SQLite keeps for itself), damaged, or present.

    Raises:
        Busy: it cannot be looked at because it is locked. TargetUnreachable: this user may not look.
    """
    size_bytes = size_of(path)
    if size_bytes is None:
        return TargetState.MISSING
    if size_bytes == 0 and not any(sidecar(path, s).exists() for s in SIDECARS):
        return TargetState.EMPTY
    if is_one_byte(path):
        return TargetState.DAMAGED
    try:
        with reading(path, timeout) as connection:
            if integrity_problems(connection, which_check(size_bytes)):
                return TargetState.DAMAGED
            return TargetState.PRESENT if count_objects(connection) else TargetState.EMPTY
    except ArchiveDamaged:
        return TargetState.DAMAGED


def count_objects(connection: sqlite3.Connection) -> int:
    """Count what somebody made in it: tables, views, indexes, triggers; not what SQLite keeps for itself."""
    # the table of AUTOINCREMENT numbers and those of statistics stay when the last table is dropped
    query = "SELECT count(*) FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    (count,) = connection.execute(query).fetchone()
    return int(count)


def integrity_problems(connection: sqlite3.Connection, check: str) -> list[str]:
    """Run one of SQLite's checks, see `which_check`; returns what it found, empty when all is well."""
    found = [str(row[0]) for row in connection.execute(f"PRAGMA {check}(10)")]
    return [] if found == ["ok"] else found


def which_check(size_bytes: int, *, thorough: bool = False) -> str:
    """Choose the check for a database of this size.

    Both read every page. The quick one does not compare indexes with their
    tables, which takes five times as long; a copy of whole pages cannot break that.
    """
    return "integrity_check" if thorough or size_bytes <= FULL_CHECK_BYTES else "quick_check"


def broken_foreign_keys(
    connection: sqlite3.Connection, held: Collection[str] | None = None
) -> tuple[str, ...]:
    """Say for each table how often its foreign keys do not hold: the same words for the same file.

    `held`: the tables whose rows a part has. What refers to others is not whole by itself, and not broken.
    """
    texts = (_broken_keys(connection, table, held) for table in table_names(connection))
    return tuple(text for text in texts if text)


def _broken_keys(connection: sqlite3.Connection, table: str, held: Collection[str] | None = None) -> str:
    query = "SELECT parent, count(*) FROM pragma_foreign_key_check(?) GROUP BY 1"
    try:
        found = connection.execute(query, (table,)).fetchall()
        judged = None if held is None else {folded(name) for name in held}
        rows = sum(number for parent, number in found if judged is None or folded(parent) in judged)
    except sqlite3.OperationalError as exc:
        # a key that refers to no unique columns is SQLite's to turn down, not ours: the file is whole
        return f"{table}: its foreign keys cannot be checked ({exc})"
    return f"{table}: {_times(rows)} {KEY_BROKEN}" if rows else ""


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def facts_of(connection: sqlite3.Connection, path: Path, migration_table: str | None) -> DatabaseFacts:
    """Ask an open database about itself."""
    (encoding,) = connection.execute("PRAGMA encoding").fetchone()
    tables = table_names(connection)
    columns = {table: _columns(connection, table) for table in tables}
    sidecars = sum(s.stat().st_size for s in (sidecar(path, x) for x in SIDECARS) if s.is_file())
    return DatabaseFacts(
        server_version=f"SQLite {sqlite3.sqlite_version}",
        size_bytes=path.stat().st_size + sidecars,
        tables=tuple(tables),
        encoding=str(encoding),
        revision=find_revision(
            columns, lambda table, wanted: _select(connection, table, wanted), migration_table
        ),
    )


def table_names(connection: sqlite3.Connection) -> list[str]:
    """List the tables that hold rows of the user's: no views, none of SQLite's own."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    return [str(name) for (name,) in connection.execute(query)]


def schema_of(connection: sqlite3.Connection) -> Schema:
    """Return the definitions in the words they were made with."""
    objects = {}
    for type_, name, table, sql in connection.execute(DEFINITIONS):
        of = "" if type_ in ("table", "view") else str(table)
        objects[str(type_), str(name)] = SchemaObject(str(type_), str(name), str(sql), of)
    return Schema(objects)


@dataclass(frozen=True)
class Examined:
    """What reading every table of a file at rest showed, in the tables' order."""

    rows: Mapping[str, int | None]
    """None: not counted, because the table's module is not in this SQLite."""
    broken: tuple[str, ...]
    """Foreign keys that do not hold, one text per table."""


def examine(path: Path, held: Collection[str] | None = None) -> Examined:
    """Count and check the keys of a single-file database that nobody else uses, table by table on two cores.

    `held` as for `broken_foreign_keys`.

    Interrupted, the questions under way are ended at once.
    """
    with closing(_copy(path)) as connection:
        names = tuple(table_names(connection))
    left = iter(names)  # shared: each worker takes the next table
    found: dict[str, tuple[int | None, str]] = {}

    def work(connection: sqlite3.Connection) -> None:
        for table in left:
            found[table] = (count_table(connection, table), _broken_keys(connection, table, held))

    with ExitStack() as stack:
        connections = [stack.enter_context(closing(_copy(path))) for _ in range(min(2, len(names)))]
        pool = stack.enter_context(ThreadPoolExecutor(2, "dbtasks-examine"))
        working = [pool.submit(work, connection) for connection in connections]
        try:
            for worker in working:
                worker.result()
        except BaseException:
            for _ in left:
                pass  # none is begun any more
            for connection in connections:
                connection.interrupt()
            raise
    broken = tuple(found[name][1] for name in names if found[name][1])
    return Examined({name: found[name][0] for name in names}, broken)


def _copy(path: Path) -> sqlite3.Connection:
    connection = connect(path, "ro", immutable=True, across_threads=True)
    # several look at the copy at once: SQLite's 2 MB of pages for each would be memory that grows with the database
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    return connection


def count_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """Count every table's rows, as one snapshot when the caller holds a transaction.

    Virtual tables whose module is not in this library are left out.
    """
    counts = {table: count_table(connection, table) for table in table_names(connection)}
    return {table: rows for table, rows in counts.items() if rows is not None}


def count_table(connection: sqlite3.Connection, table: str) -> int | None:
    """Count one table's rows; None where its module is not in this library."""
    try:
        (rows,) = connection.execute(f"SELECT count(*) FROM {identifier(table)}").fetchone()  # noqa: S608 - quoted below
    except sqlite3.OperationalError as exc:
        if _lacks_module(exc):
            return None
        raise
    return int(rows)


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    try:
        return [str(row[1]) for row in connection.execute(f"PRAGMA table_info({identifier(table)})")]
    except sqlite3.OperationalError as exc:
        if _lacks_module(exc):
            return []
        raise


def _lacks_module(exc: sqlite3.OperationalError) -> bool:
    # the code is the general SQLITE_ERROR; only the text tells
    return str(exc).startswith("no such module")


def _select(connection: sqlite3.Connection, table: str, columns: tuple[str, ...]) -> list[tuple[object, ...]]:
    wanted = ", ".join(identifier(column) for column in columns)
    return connection.execute(f"SELECT {wanted} FROM {identifier(table)}").fetchall()  # noqa: S608 - quoted
