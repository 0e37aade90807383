"""db.info's screen: long texts are laid out behind their labels, words stay whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtasks.console.text import labelled_lines, printable


def test_a_text_goes_on_below_itself() -> None:
    assert labelled_lines("Routes", "container ✓ pg_dump, pg_restore, psql 18.4", 40, indent=12) == [
        "Routes      container ✓ pg_dump,",
        "            pg_restore, psql 18.4",
    ]


@pytest.mark.parametrize("width", [None, 80])
def test_where_there_is_room_it_is_one_line(width: int | None) -> None:
    assert labelled_lines("Project", "/srv/shop", width, indent=12) == ["Project     /srv/shop"]


def test_a_path_is_never_cut() -> None:
    path = "/srv/" + "x" * 60
    assert labelled_lines("Backups", f"{path}: none yet", 40, indent=12) == [
        f"Backups     {path}:",
        "            none yet",
    ]


@pytest.mark.parametrize(
    ("character", "shown"),
    [("\x1b", r"\x1b"), ("\x85", r"\x85"), ("\u202e", r"\u202e"), ("\U000e0041", r"\U000e0041")],
)
def test_what_is_not_printable_is_shown_so_that_what_follows_is_not_read_into_it(
    character: str, shown: str
) -> None:
    assert printable(f"a{character}00", "utf-8") == f"a{shown}00"


@given(st.text(max_size=200), st.integers(0, 100))
def test_nothing_is_lost_and_no_control_character_is_sent(text: str, width: int) -> None:
    lines = labelled_lines("x", text, width, indent=3)
    shown = printable(text, "utf-8")
    assert " ".join(line[3:] for line in lines).split() == shown.split()
    for line in lines:
        assert line.isprintable()
        assert len(line) <= max(width, 40) or " " not in line[3:].strip()
