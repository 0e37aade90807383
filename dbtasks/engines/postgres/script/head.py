"""A script's first lines, which tell the versions that wrote it."""

from __future__ import annotations

import re

from ....streams import HasRead

__all__ = ["Head"]

_FROM_SERVER = re.compile(rb"^-- Dumped from database version ([^\r\n]{1,80})", re.MULTILINE)
_BY_TOOL = re.compile(rb"^-- Dumped by pg_dump version ([^\r\n]{1,80})", re.MULTILINE)
_MAJOR = re.compile(r"\d+")
HEAD_BYTES = 4096


class Head:
    """A script's bytes passed on and counted; the first of them are kept."""

    def __init__(self, source: HasRead) -> None:
        self._source = source
        self._seen = b""
        self.size_bytes = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes."""
        block = self._source.read(size)
        self.size_bytes += len(block)
        if len(self._seen) < HEAD_BYTES:
            self._seen += block[: HEAD_BYTES - len(self._seen)]
        return block

    @property
    def versions(self) -> tuple[str, str]:
        """The versions of the server and of pg_dump that they tell; empty where they do not."""
        found = (_FROM_SERVER.search(self._seen), _BY_TOOL.search(self._seen))
        server, tool = (match[1].decode(errors="replace").strip() if match else "" for match in found)
        return server, tool

    @property
    def spelling(self) -> str:
        """How its definitions are spelled: `PostgreSQL 18 and pg_dump 18`; empty where the versions are not told."""
        server, tool = (_MAJOR.match(version) for version in self.versions)
        return f"PostgreSQL {server[0]} and pg_dump {tool[0]}" if server and tool else ""
