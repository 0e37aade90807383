"""Known security holes of PostgreSQL's client tools, and the minor releases that mend them.

Only what a backup or a restore walks into on the machine where the tools run;
holes of the server alone are its administrator's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...runners import ToolVersion

__all__ = ["HOLES", "MENDED", "Hole", "dumping_holes", "holes_of", "known_holes"]


@dataclass(frozen=True)
class Hole:
    """One published hole."""

    cve: str
    what: str
    tools: tuple[str, ...]
    """The client tools it is in."""
    mended: Mapping[int, int]
    """Major release → its first minor release without it; a major one that is not named never had it."""

    def is_in(self, tool: str, version: ToolVersion) -> bool:
        """Whether a tool of this version has it; releases without support have whatever theirs had."""
        if tool not in self.tools:
            return False
        if version.major < min(self.mended):
            return True
        minor = self.mended.get(version.major)
        return minor is not None and version.minor < minor


DUMPING = ("pg_dump", "pg_dumpall")

HOLES: tuple[Hole, ...] = (
    Hole(
        "CVE-2024-7348",
        "somebody who may create objects runs SQL with the rights of whoever dumps",
        DUMPING,
        {14: 13, 15: 8, 16: 4},
    ),
    Hole(
        "CVE-2025-8714",
        "the dumped server's superuser puts psql commands into a plain dump",
        (*DUMPING, "pg_restore"),
        {14: 19, 15: 14, 16: 10, 17: 6},
    ),
    Hole(
        "CVE-2025-8715",
        "line breaks in object names put psql commands into a dump",
        (*DUMPING, "pg_restore"),
        {14: 19, 15: 14, 16: 10, 17: 6},
    ),
    Hole(
        "CVE-2026-6477",
        "a hostile server writes over the memory of a client that reads large objects",
        ("pg_dump", "psql"),
        {14: 23, 15: 18, 16: 14, 17: 10, 18: 4},
    ),
    Hole(
        "CVE-2026-18408",
        "back-quotes after \\unrestrict run commands from a script",
        ("psql",),
        {14: 24, 15: 19, 16: 15, 17: 11, 18: 6},
    ),
    Hole(
        "CVE-2026-116314",
        "a crafted archive runs code",
        ("pg_restore",),
        {14: 25, 15: 20, 16: 16, 17: 12, 18: 7},
    ),
)

MENDED = {major: max(hole.mended.get(major, 0) for hole in HOLES) for major in range(14, 19)}
"""First minor release of each major one without any of them."""


def holes_of(tool: str, version: ToolVersion) -> tuple[Hole, ...]:
    """Return the known holes a client tool of this version has, oldest first."""
    return tuple(hole for hole in HOLES if hole.is_in(tool, version))


def known_holes(version: ToolVersion) -> tuple[str, ...]:
    """Say in one sentence what is wrong with tools of this version; empty where nothing is known."""
    number = f"{version.major}.{version.minor}"
    if version.major < min(MENDED):
        return (f"{number} has known security holes and gets no more releases: use {min(MENDED)} or later",)
    minor = MENDED.get(version.major, 0)
    if version.minor >= minor:
        return ()
    return (f"{number} has known security holes, which {version.major}.{minor} mends",)


def dumping_holes(version: ToolVersion) -> tuple[str, ...]:
    """Say in one sentence what a backup made by a pg_dump of this version risks; empty where nothing is known.

    Holes of the other tools concern restores of files that are not ours, and are left out.
    """
    found = holes_of("pg_dump", version)
    if not found:
        return ()
    (sentence,) = known_holes(version)
    return (f"pg_dump {sentence} ({', '.join(hole.cve for hole in found)})",)
