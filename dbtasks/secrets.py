"""The one type that holds a password, and the filter that keeps it out of texts.

`reveal()` is called where a secret is handed to libpq or written to a 0600
passfile, and nowhere else; a test keeps that list.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn
from urllib.parse import quote, quote_plus

__all__ = ["Secret", "redact"]

MASK = "***"


class Secret:
    """A string that prints as `***` however it is formatted, and cannot be pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself; the caller must not print or store it."""
        return self._value

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __format__(self, spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not serialised")


def redact(text: str, secrets: Iterable[Secret | None]) -> str:
    """Mask every given secret in a text, whole, URL-encoded or split.

    libpq quotes parts of a password it mistook for a host name or an option,
    so the pieces between the characters that split a URL are masked as well
    when they are recognisable as such: four characters, and not a plain word
    that may stand in any message (`--no-password`).
    """
    for secret in secrets:
        if not secret:
            continue
        for form in _forms(secret.reveal()):
            text = text.replace(form, MASK)
    return text


def _forms(value: str) -> list[str]:
    forms = {value, quote(value, safe=""), quote(value), quote_plus(value)}
    pieces = value
    for separator in "@/:#%? ='\"\\":
        pieces = pieces.replace(separator, "\n")
    telling = (piece for piece in pieces.split("\n") if len(piece) >= 4 and not piece.isalpha())
    forms.update(telling)
    return sorted((form for form in forms if form), key=len, reverse=True)
