"""Statements of a script that are left out, because what they do is done or must not be done."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

__all__ = ["Needless", "clears"]

_NAME = rb'(?:"(?:[^"]|"")+"|[^\s",;()]+?)'
_NAMES = _NAME + rb"(?:\." + _NAME + rb")?"
_IF = rb"(?:IF EXISTS )?"
_TABLE = rb"ALTER TABLE " + _IF + rb"(?:ONLY )?" + _NAMES
_CLEARING = re.compile(
    rb"DROP .*;"
    rb"|" + _TABLE + rb" (?:DROP CONSTRAINT " + _IF + _NAME + rb"|ALTER COLUMN " + _NAME + rb" DROP DEFAULT);"
    rb"|SELECT (?:CASE WHEN EXISTS\(SELECT 1 FROM pg_catalog\.pg_largeobject_metadata WHERE oid = '\d+'\) THEN )?"
    rb"pg_catalog\.lo_unlink\('\d+'\)(?: END)?;",
    re.DOTALL,
)
"""What pg_dump --clean writes first, to clear a database that is not empty."""
_PUBLIC = (b"CREATE SCHEMA public;",)
"""A new database has it; pg_dump --schema=public writes it all the same."""


def clears(statement: bytes) -> bool:
    """Whether pg_dump --clean wrote it, to drop what the dump brings."""
    return _CLEARING.fullmatch(statement) is not None


class Needless:
    """Asked about each statement of one script, in order: whether psql is not to see it."""

    def __init__(
        self, kept_schemas: Collection[str] = (), *, also: Callable[[bytes], bool] | None = None
    ) -> None:
        """Leave out what creates `kept_schemas`, which are there already, and what `also` says."""
        from psycopg2 import sql

        from ....psql import render

        self._also = also
        self._there = {f"CREATE SCHEMA {render(sql.Identifier(name))};".encode() for name in kept_schemas}
        self._there |= {f"CREATE SCHEMA {name};".encode() for name in kept_schemas}
        self._there |= set(_PUBLIC)
        self._is_clearing = True

    def __call__(self, statement: bytes) -> bool:
        """Whether to leave this one out."""
        # only an extension's owner may comment on it, and its comment comes with it anyway
        if statement.startswith(b"COMMENT ON EXTENSION ") or statement in self._there:
            return True
        if self._is_clearing and clears(statement):
            return True
        # a drop that comes behind what was created means that
        self._is_clearing = self._is_clearing and not statement.startswith(b"CREATE ")
        return self._also is not None and self._also(statement)
