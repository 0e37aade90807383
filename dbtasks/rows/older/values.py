"""The plain JSON values of an older file: what they are as they are read, and what each engine's columns make of them alike.

What a column does not take is said in words without the value, which may be a secret.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

__all__ = [
    "DECODER",
    "NUMBER",
    "WHOLE",
    "Members",
    "NotTaken",
    "Number",
    "Unending",
    "bytes_of",
    "json_of",
    "kind_of",
]

WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)")
NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
HEX = re.compile(r"\\x(?:[0-9a-fA-F]{2})*")
PYTHON_BYTES = re.compile(r"b'.*'|b\".*\"", re.DOTALL)


class Number(str):
    """A number, as it is written."""

    __slots__ = ()


class Unending(str):
    """`NaN`, `Infinity` or `-Infinity`, which is not JSON and which Python writes."""

    __slots__ = ()


class Members(list[tuple[str, Any]]):
    """The members of an object, in order; a key may come twice."""

    __slots__ = ()


DECODER = json.JSONDecoder(
    parse_int=Number, parse_float=Number, parse_constant=Unending, object_pairs_hook=Members
)


class NotTaken(ValueError):
    """A value that is none of its column's type, or could be two things; says which, without the value."""


def kind_of(value: Any) -> str:
    """Say what a value is, without it."""
    if isinstance(value, Number):
        return "a number"
    if isinstance(value, Unending):
        return "NaN or infinity"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, Members):
        return "an object"
    return "a list" if isinstance(value, list) else "a text"


def bytes_of(text: str) -> bytes:
    r"""Read bytes in the two spellings that are nothing else: `\x00ff`, and Python's `b'...'`.

    Raises:
        NotTaken: it could be hexadecimal, base64 or the characters themselves.
    """
    if not text:
        return b""
    if HEX.fullmatch(text):
        return bytes.fromhex(text[2:])
    if PYTHON_BYTES.fullmatch(text):
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as exc:
            raise NotTaken("bytes that are written as no Python writes them") from exc
        if isinstance(value, bytes) and repr(value) == text:
            return value
    raise NotTaken(
        r"bytes as a text that could be hexadecimal, base64 or characters: only \x00ff and b'...' are clear"
    )


def json_of(value: Any) -> str:
    """Write a value that was read as JSON again; a number stays as it was written.

    Raises:
        NotTaken: it is none (NaN, infinity), or nested too deep.
    """
    try:
        return _json(value)
    except RecursionError as exc:
        raise NotTaken("nested deeper than anybody writes") from exc


def _json(value: Any) -> str:
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, Unending):
        raise NotTaken("NaN or infinity, which JSON does not know")
    if isinstance(value, Members):
        return "{" + ", ".join(f"{_quoted(key)}: {_json(held)}" for key, held in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
