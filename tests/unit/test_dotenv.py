"""`.env` as people write it: what is kept, what is refused, and where the error points."""

from __future__ import annotations

import pytest

from dbtasks.errors import SettingsError
from dbtasks.settings import load_settings, read_dotenv


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("X=pa$$word", "pa$$word"),
        ("X=a${HOME}b", "a${HOME}b"),
        ("X='a${HOME}b'", "a${HOME}b"),
        ('X="a${HOME}b"', "a${HOME}b"),
        ("X=$HOME", "$HOME"),
        ("X=ab#c", "ab#c"),
        ("X=ab #c", "ab"),
        ("X='ab #c'", "ab #c"),
        ("export X=1", "1"),
        ("X = spaced ", "spaced"),
        ("X=", ""),
        ("X=postgresql://jo:p%40@h/db?sslmode=require#x", "postgresql://jo:p%40@h/db?sslmode=require#x"),
        ('X="two\\nlines"', "two\nlines"),
        ("X=pass=word", "pass=word"),
        ("X=grün", "grün"),
        ("# X=no\nX=yes", "yes"),
        ("X=1\nX=2", "2"),
        ("X=1\r\n", "1"),
    ],
)
def test_a_line_is_read_as(tmp_path, line, value):
    path = tmp_path / ".env"
    path.write_text(f"{line}\n", encoding="utf-8", newline="")
    assert read_dotenv(path)["X"] == value


def test_a_name_without_a_value_counts_as_absent(tmp_path):
    path = tmp_path / ".env"
    path.write_text("X\nY=1\n")
    assert read_dotenv(path) == {"Y": "1"}


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    path = tmp_path / ".env"
    path.write_bytes(b"\xef\xbb\xbfX=1\n")
    assert read_dotenv(path) == {"X": "1"}


def test_a_missing_file_is_an_empty_one(tmp_path):
    assert read_dotenv(tmp_path / ".env") == {}


def test_a_broken_line_is_an_error_naming_file_and_line_but_not_its_text(tmp_path):
    path = tmp_path / ".env"
    path.write_text("A=1\nDB_PASSWORD='can''ary'\nB=2\n")
    with pytest.raises(SettingsError) as caught:
        read_dotenv(path)
    assert str(path) in caught.value.message
    assert "line 2" in caught.value.message
    assert "ary" not in caught.value.message.replace(str(path), "")


def test_a_file_in_another_encoding_is_an_error_naming_it(tmp_path):
    path = tmp_path / ".env"
    path.write_bytes(b"X=gr\xfcn\n")
    with pytest.raises(SettingsError, match="not UTF-8 text"):
        read_dotenv(path)


def test_a_folder_in_its_place_is_an_error_naming_it(tmp_path):
    path = tmp_path / ".env"
    path.mkdir()
    with pytest.raises(SettingsError, match=r"\.env"):
        read_dotenv(path)


@pytest.mark.parametrize(("word", "read"), [("1", False), ("true", False), ("0", True), ("", True)])
def test_python_dotenv_disabled_is_honoured(project, word, read):
    project.dotenv("DBTASKS_KEEP=7\n")
    settings = load_settings(project.root, environ={"PYTHON_DOTENV_DISABLED": word})
    assert settings.keep == (7 if read else 3)
