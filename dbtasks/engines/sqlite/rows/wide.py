"""A row that is too wide to be held goes into a table: its long values by way of SQLite's temporary file, in parts.

SQLite puts a row together in memory, twice over, whoever hands it the values;
that is all that is ever held of one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ....rows.cells import LongBytes, LongText
from .. import files

__all__ = ["bytes_of_text", "insert_statement", "insert_wide", "is_odd", "stored_as"]

PARTS, WHOLE = "dbtasks parts", "dbtasks values"
CODECS = {"UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}


def insert_statement(table: str, columns: Sequence[str], values: Sequence[str] = ()) -> str:
    """Return the statement that adds a row: of these values as SQL, without any of one bound to each column."""
    names = ", ".join(map(files.identifier, columns))
    given = ", ".join(values or "?" * len(columns))
    return f"INSERT INTO main.{files.identifier(table)} ({names}) VALUES ({given})"  # noqa: S608 - quoted


def insert_wide(live: sqlite3.Connection, table: str, columns: Sequence[str], cells: Iterable[Any]) -> None:
    """Insert one row, in the caller's transaction; each value keeps its storage class.

    Raises:
        sqlite3.Error: the table does not take it. ValueError: it is not as long as the table is wide, or no row.
    """
    codec = stored_as(live)
    wanted: list[str] = []
    bound: list[Any] = []
    with _spool(live):
        for number, (_, cell) in enumerate(zip(columns, cells, strict=True)):
            if isinstance(cell, LongText | LongBytes):
                _keep(live, number, _stored(cell, codec))
                kind = "BLOB" if isinstance(cell, LongBytes) else "TEXT"
                # without the cast it is held once more
                wanted.append(f'CAST((SELECT v FROM temp."{WHOLE}" WHERE id = {number}) AS {kind})')  # noqa: S608 - names of ours
            elif is_odd(cell):
                wanted.append("CAST(? AS TEXT)")
                bound.append(bytes_of_text(cell, codec))
            else:
                wanted.append("?")
                bound.append(cell)
        live.execute(insert_statement(table, columns, wanted), bound)


def _stored(cell: LongText | LongBytes, codec: str | None) -> Iterable[bytes]:
    if isinstance(cell, LongBytes):
        return cell.parts
    return (bytes_of_text(part, codec) for part in cell.parts)


@contextmanager
def _spool(live: sqlite3.Connection) -> Iterator[None]:
    live.execute(f'CREATE TEMP TABLE "{PARTS}" (id INTEGER PRIMARY KEY, part BLOB)')
    live.execute(f'CREATE TEMP TABLE "{WHOLE}" (id INTEGER PRIMARY KEY, v BLOB)')
    yield
    # after a failure the caller's rollback takes them
    live.execute(f'DROP TABLE temp."{PARTS}"')
    live.execute(f'DROP TABLE temp."{WHOLE}"')


def _keep(live: sqlite3.Connection, number: int, parts: Iterable[bytes]) -> None:
    """Put a value where SQLite can read it; room for it is made when its size is known."""
    size = 0
    for part in parts:
        live.execute(f'INSERT INTO temp."{PARTS}" (part) VALUES (?)', (part,))  # noqa: S608 - a name of ours
        size += len(part)
    live.execute(f'INSERT INTO temp."{WHOLE}" VALUES (?, zeroblob(?))', (number, size))  # noqa: S608 - a name of ours
    with live.blobopen(WHOLE, "v", number, name="temp") as value:
        for (part,) in live.execute(f'SELECT part FROM temp."{PARTS}" ORDER BY id'):  # noqa: S608 - a name of ours
            value.write(part)
    live.execute(f'DELETE FROM temp."{PARTS}"')  # noqa: S608 - a name of ours


def stored_as(live: sqlite3.Connection) -> str | None:
    """Return the codec of a file whose texts are UTF-16; None: they are UTF-8."""
    ((encoding,),) = live.execute("PRAGMA encoding")
    return CODECS.get(str(encoding))


def is_odd(value: Any) -> bool:
    """Whether it is text with bytes that are no character."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False


def bytes_of_text(value: str, codec: str | None) -> bytes:
    """Return a text as the file holds it, those bytes of it that are no character, too.

    Raises:
        ValueError: it is none.
    """
    data = value.encode("utf-8", "surrogateescape")
    if codec is None:
        return data
    return data.decode("utf-8", "surrogatepass").encode(codec, "surrogatepass")
