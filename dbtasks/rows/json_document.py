"""One JSON document that is held whole: what in it json would turn down, and what jsonb would not keep as it is."""

from __future__ import annotations

import json
import re
from typing import Any

from .alike import NEGATIVE_ZERO
from .json_form import BELOW_ZERO
from .misfit import Misfit, shortened

__all__ = ["prove_document"]

ESCAPED_ZERO = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
MAYBE_BELOW_ZERO = re.compile(r"-0[0.]*(?:[eE][-+]?[0-9]+)?(?:[\s,\]}]|$)")
"""Such a number, or something like it in a string."""
HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""Half of a character beyond the first 65,536; mostly the other one follows."""
BLANKS = " \t\n\r"


class _BelowZero(ValueError):
    """A number is -0: jsonb makes 0 of it."""


class _Twice(ValueError):
    """An object has one name twice: jsonb keeps only the last."""


def _no_json(name: str) -> Any:
    raise ValueError(name)


def _above_zero(text: str) -> str:
    if NEGATIVE_ZERO.fullmatch(text):
        raise _BelowZero
    return text


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice
    return found


DOCUMENTS = json.JSONDecoder(parse_constant=_no_json)
WITHOUT_TWICE = json.JSONDecoder(parse_constant=_no_json, object_pairs_hook=_once)
NUMBERS_AS_WRITTEN = json.JSONDecoder(parse_int=_above_zero, parse_float=_above_zero)


def prove_document(value: Any, text: str, *, binary: bool) -> None:
    """Demand that a value's text is one document; with `binary`, one that jsonb keeps as it is.

    Raises:
        Misfit: it is not; names the value, and why.
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
        _prove_kept(value, text, held)


def _prove_kept(value: Any, text: str, held: Any) -> None:
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
