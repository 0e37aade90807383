"""Lines of a rows file turned into COPY's CSV, however they are cut."""

from __future__ import annotations

import csv
import io
import json
import random
from itertools import pairwise

import pytest

from dbtasks.errors import ArchiveDamaged
from dbtasks.rows.lines import from_values
from dbtasks.rows.postgres.csv import csv_of

PARTS = [
    "\\",
    '"',
    "\n",
    "\t",
    "\r",
    "\b",
    "\f",
    "\x01",
    "\x1f",
    "]",
    ",",
    "[",
    "],\n[",
    "u0041",
    "ü",
    "a",
    "\\n",
    "null",
    "\\.",
]


def lines_of(rows: list[list[str | int | bool | None]]) -> bytes:
    return b"".join(from_values(rows).lines())


def cut(text: bytes, chance: random.Random) -> list[bytes]:
    places = sorted({0, len(text), *(chance.randrange(len(text)) for _ in range(len(text) // 3))})
    return [text[a:b] for a, b in pairwise(places)]


def test_b04_values_come_through_wherever_the_lines_are_cut() -> None:
    chance = random.Random(4)
    for _ in range(300):
        rows = [["".join(chance.choices(PARTS, k=chance.randrange(8))) for _ in range(2)] for _ in range(4)]
        text = lines_of([list(row) for row in rows])
        whole = b"".join(csv_of([text], "t"))
        assert b"".join(csv_of(cut(text, chance), "t")) == whole
        with io.StringIO(whole.decode(), newline="") as stream:
            read = list(csv.reader(stream, escapechar="\\", doublequote=False, strict=True))
        assert read == rows


def test_null_numbers_and_booleans_stay_without_quotes() -> None:
    text = lines_of([[None, 1, True, "null"], [None, -2, False, ""]])
    assert b"".join(csv_of([text], "t")) == b'null,1,true,"null"\nnull,-2,false,""\n'


def test_a_table_without_rows_gives_nothing() -> None:
    assert list(csv_of([], "t")) == []


def test_a_value_of_any_length_is_never_held() -> None:
    block = json.dumps("x\n" * 1000).encode()[1:-1]
    pieces = [b'["', *[block] * 500, b'"]']
    longest = max(map(len, csv_of(iter(pieces), "t")))
    assert longest < 2 * len(block)


@pytest.mark.parametrize("spelled", [r"\u0041", r"\u0000", r"\/", r"\x", r"\ud83d\ude00"])
def test_g21_what_no_file_of_ours_spells_is_refused(spelled: str) -> None:
    with pytest.raises(ArchiveDamaged, match=r"a value of public\.t is not spelled"):
        list(csv_of([f'["{spelled}"]'.encode()], "public.t"))
