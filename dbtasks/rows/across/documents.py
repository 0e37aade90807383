"""Whether a text that is held is one JSON document, and one that jsonb keeps as it is."""

from __future__ import annotations

import json
import re
from typing import Any

from ..comparison.alike import NEGATIVE_ZERO
from .json_form import BELOW_ZERO
from .misfit import Misfit, shortened

__all__ = ["prove_document"]

BLANKS = " \t\n\r"
ESCAPED_ZERO = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
MAYBE_BELOW_ZERO = re.compile(r"-0[0.]*(?:[eE][-+]?[0-9]+)?(?:[\s,\]}]|$)")
"""A number that is -0, or something like it in a string."""
HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""Half of a character beyond the first 65,536; mostly the other one follows."""


def _no_json(name: str) -> Any:
    raise ValueError(name)


class _BelowZero(ValueError):
    """A number is -0: jsonb makes 0 of it."""


def _above_zero(text: str) -> str:
    if NEGATIVE_ZERO.fullmatch(text):
        raise _BelowZero
    return text


class _Twice(ValueError):
    """An object has one name twice: jsonb keeps only the last."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice
    return found


DOCUMENTS = json.JSONDecoder(parse_constant=_no_json)
WITHOUT_TWICE = json.JSONDecoder(parse_constant=_no_json, object_pairs_hook=_once)
NUMBERS_AS_WRITTEN = json.JSONDecoder(parse_int=_above_zero, parse_float=_above_zero)


def prove_document(text: str, value: Any, *, binary: bool) -> None:
    """See that a text is JSON, with `binary` such as jsonb keeps; `value` is what it was, for the words.

    Raises:
        Misfit: it is not.
    """
    text = text.strip(BLANKS)
    try:
        held, end = (WITHOUT_TWICE if binary else DOCUMENTS).raw_decode(text)
    except _Twice as exc:
        raise Misfit(f"{shortened(value)} has a name twice, of which jsonb keeps one") from exc
    except (ValueError, RecursionError) as exc:
        raise Misfit(f"{shortened(value)} is no JSON") from exc
    if end != len(text):
        raise Misfit(f"{shortened(value)} is more than one JSON document")
    if binary:
        _prove_binary(text, value, held)


def _prove_binary(text: str, value: Any, held: Any) -> None:
    if MAYBE_BELOW_ZERO.search(text):
        try:
            NUMBERS_AS_WRITTEN.decode(text)
        except _BelowZero as exc:
            raise Misfit(f"{shortened(value)} {BELOW_ZERO}") from exc
    if ESCAPED_ZERO.search(text):
        raise Misfit(f"{shortened(value)} holds a zero character, which jsonb does not")
    if HALF.search(text):
        try:
            json.dumps(held, ensure_ascii=False).encode()
        except UnicodeEncodeError as exc:
            raise Misfit(f"{shortened(value)} holds half a character, which jsonb does not") from exc
