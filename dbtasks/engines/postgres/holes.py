"""Minor releases of the client tools that have known security holes.

The last ones that matter to a backup: a crafted archive runs code in
pg_restore, back-quotes after `\\unrestrict` run in psql.
"""

from __future__ import annotations

from ...runners import ToolVersion

__all__ = ["known_holes"]

MENDED = {14: 25, 15: 20, 16: 16, 17: 12, 18: 7}
"""First minor release of each major one without them."""


def known_holes(version: ToolVersion) -> tuple[str, ...]:
    """Say in one sentence what is wrong with a tool of this version; empty where nothing is known."""
    number = f"{version.major}.{version.minor}"
    if version.major < min(MENDED):
        return (f"{number} has known security holes and gets no more releases: use {min(MENDED)} or later",)
    minor = MENDED.get(version.major, 0)
    if version.minor >= minor:
        return ()
    return (f"{number} has known security holes, which {version.major}.{minor} mends",)
