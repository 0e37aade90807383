"""Secrets: however one is formatted it is masked, and texts are cleaned of every form of it."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtasks.models import PostgresTarget
from dbtasks.secrets import Secret, redact

CANARY = "c4n4ry pa55"


@dataclass
class Holder:
    secret: Secret


@pytest.mark.parametrize(
    "show",
    [
        str,
        repr,
        ascii,
        lambda secret: f"{secret}",
        lambda secret: f"{secret!r:>40}",
        lambda secret: f"{secret:>20}",
        "{}".format,
        "%s".__mod__,
        lambda secret: repr([secret]),
        lambda secret: repr({"password": secret}),
        lambda secret: repr(Holder(secret)),
        lambda secret: repr(PostgresTarget("db", password=secret)),
        lambda secret: str(ValueError("bad", secret)),
    ],
)
def test_g07_a_secret_prints_as_stars(show):
    shown = show(Secret(CANARY))
    assert "***" in shown
    assert "c4n4ry" not in shown


def test_a_secret_has_no_dictionary_to_dump():
    with pytest.raises(TypeError):
        vars(Secret(CANARY))


@pytest.mark.parametrize("leave", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps])
def test_a_secret_is_not_serialised_or_copied(leave):
    with pytest.raises(TypeError) as caught:
        leave(Secret(CANARY))
    assert "c4n4ry" not in str(caught.value)


def test_a_secret_equals_only_a_secret_of_the_same_value():
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


def test_an_empty_secret_is_false():
    assert not Secret("")
    assert Secret(" ")


def test_reveal_gives_the_value():
    assert Secret(CANARY).reveal() == CANARY


@pytest.mark.parametrize(
    "text",
    [
        "password is p@ss/w0rd%x",
        "in a URL: p%40ss%2Fw0rd%25x",
        "half encoded: p%40ss/w0rd%25x",
        'could not translate host name "w0rd%x@db" to address',
    ],
)
def test_g08_every_form_libpq_leaks_is_masked(text):
    cleaned = redact(text, [Secret("p@ss/w0rd%x")])
    assert "***" in cleaned
    for part in ("p@ss", "p%40ss", "w0rd"):
        assert part not in cleaned


def test_all_secrets_are_masked_and_missing_ones_ignored():
    assert redact("one two three", [Secret("one"), None, Secret(""), Secret("three")]) == "*** two ***"


def test_a_secret_that_begins_like_another_is_masked_whole():
    assert redact("hunter2hunter2", [Secret("hunter2"), Secret("hunter2hunter2")]).strip("*") == ""


def test_short_pieces_are_left_so_that_messages_stay_readable():
    assert redact("the host is db", [Secret("a@db@x1")]) == "the host is db"


def test_plain_words_of_a_password_are_left_so_that_options_stay_readable():
    assert redact("pg_dump --no-password", [Secret("my pass@w0rd")]) == "pg_dump --no-password"


@given(st.text(min_size=1), st.text(), st.text())
def test_g07_a_redacted_text_holds_the_secret_in_no_spelling(value, before, after):
    for form in (value, quote(value, safe=""), quote(value), quote_plus(value)):
        cleaned = redact(f"{before}{form}{after}", [Secret(value)])
        # what is left may spell the secret only where it consists of our own stars
        assert value not in cleaned or set(value) <= {"*"}
