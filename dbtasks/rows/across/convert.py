"""Values of one engine as the other one takes them, by what `mapping` chose for their column."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from .. import Batch
from ..cells import LongBytes, LongText, bytes_of_hex
from ..lines import ESCAPED

__all__ = ["cells_for_sqlite", "csv_from_sqlite", "rows_for_sqlite", "unfit_for_sqlite"]


# -- into PostgreSQL ----------------------------------------------------------------------


def csv_from_sqlite(batches: Iterable[Batch], hows: Sequence[str]) -> Iterator[bytes]:
    """Yield the rows as the CSV that `lines.COPY_OPTIONS` describes; every value was proved to fit.

    Raises:
        ValueError: a row is not as long as its table is wide.
    """
    spellers = [SPELLERS[how] for how in hows]
    for batch in batches:
        if (cells := batch.cells()) is not None:
            yield from _wide_csv(cells, hows)
            continue
        rows = (
            ",".join(
                "null" if value is None else spell(value) for spell, value in zip(spellers, row, strict=True)
            )
            for row in batch.values()
        )
        yield "".join(f"{row}\n" for row in rows).encode()


def _wide_csv(cells: Iterable[Any], hows: Sequence[str]) -> Iterator[bytes]:
    before = b""
    for how, cell in zip(hows, cells, strict=True):
        yield before
        before = b","
        if isinstance(cell, LongText) and how == "as it is":
            yield b'"'
            for part in cell.parts:
                yield part.translate(ESCAPED).encode()
            yield b'"'
        elif isinstance(cell, LongBytes) and how == "bytes":
            yield b'"\\\\x'
            for data in cell.parts:
                yield data.hex().encode()
            yield b'"'
        elif isinstance(cell, LongText | LongBytes):
            raise ValueError(f"a long value does not go {how}")
        else:
            yield b"null" if cell is None else SPELLERS[how](cell).encode()
    yield b"\n"


def _text(value: Any) -> str:
    return f'"{str(value).translate(ESCAPED)}"'


def _number(value: Any) -> str:
    if isinstance(value, float) and math.isinf(value):
        return '"Infinity"' if value > 0 else '"-Infinity"'
    return f'"{value!r}"'


SPELLERS: dict[str, Callable[[Any], str]] = {
    "as it is": _text,
    "number": _number,
    "boolean": lambda value: '"t"' if value else '"f"',
    "bytes": lambda value: f'"\\\\x{value.hex()}"',
}


# -- into SQLite ---------------------------------------------------------------------------


def rows_for_sqlite(batch: Batch, hows: Sequence[str]) -> list[list[Any]]:
    """Return the rows of a batch as values of SQLite's.

    Raises:
        ValueError: a value is none of its type, or a row is not as long as its table is wide.
    """
    readers = [READERS[how] for how in hows]
    return [
        [None if value is None else read(value) for read, value in zip(readers, row, strict=True)]
        for row in batch.values()
    ]


def unfit_for_sqlite(batch: Batch, hows: Sequence[str]) -> list[int]:
    """Count, column by column, the values that are no number to SQLite."""
    places = [place for place, how in enumerate(hows) if how in ("real", "number")]
    counts = [0] * len(hows)
    if places and (cells := batch.cells()) is not None:
        return [
            int(how in ("real", "number") and cell == "NaN") for how, cell in zip(hows, cells, strict=True)
        ]
    if places:
        for row in batch.values():
            for place in places:
                counts[place] += row[place] == "NaN"
    return counts


def cells_for_sqlite(cells: Iterable[Any], hows: Sequence[str]) -> Iterator[Any]:
    """Yield the values of a wide row as SQLite's, long ones in parts.

    Raises:
        ValueError: as `rows_for_sqlite`.
    """
    for how, cell in zip(hows, cells, strict=True):
        if isinstance(cell, LongText) and how == "bytes":
            yield LongBytes(bytes_of_hex(cell.parts))
        elif isinstance(cell, LongText) and how != "as it is":
            yield READERS[how]("".join(cell.parts))
        else:
            yield cell if cell is None or isinstance(cell, LongText | LongBytes) else READERS[how](cell)


def _read_number(value: Any) -> Any:
    number = Decimal(value)
    return int(number) if number == number.to_integral_value() else float(number)


READERS: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda value: value,
    "integer": int,
    "real": float,
    "number": _read_number,
    "bytes": lambda value: bytes.fromhex(value.removeprefix("\\x")),
}
