"""Room on the server's disk for what a restore loads, as far as it can be looked at from here.

SQL does not tell it. Through a container df does, inside; on the host's route
the folder itself, where the server is seen to run on this machine. A compressed
archive is less than what it unpacks to, so where not even that fits the restore
is refused; the tables' size at the backup, which old rows may have blown up, only warns.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ....errors import DbTasksError, StoreFull
from ....models import Archive, Route
from ....runners import Command
from ....sessions import Session

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["Place", "look_for_place", "prove_room"]

UNTOUCHED = "nothing was touched"
PLACE = """
    SELECT coalesce(nullif(pg_catalog.pg_tablespace_location(d.dattablespace), ''),
                    CASE WHEN pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE')
                         THEN pg_catalog.current_setting('data_directory') END) AS place,
           pg_catalog.pg_backend_pid() AS pid
    FROM (SELECT 1) AS one LEFT JOIN pg_catalog.pg_database d ON d.datname = %s
"""


@dataclass(frozen=True)
class Place:
    """Where on the server's machine a new database will lie."""

    folder: str = ""
    """Empty: the role may not know."""
    is_here: bool = False
    """Whether that machine is this one, as far as can be seen."""


def look_for_place(session: Session, database: str) -> Place:
    """Ask for the folder of a database, or of new ones where it is missing."""
    ((folder, pid),) = session.rows(PLACE, (database,))
    return Place(str(folder or ""), is_here=_runs_here(pid))


def _runs_here(pid: int) -> bool:
    try:
        # a server in a container counts its processes anew, and one elsewhere has none here
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"postgres: ")
    except OSError:
        return False


def prove_room(engine: PostgresEngine, archive: Archive, place: Place) -> list[str]:
    """Demand room for the archive on the server's disk; returns a warning where its tables may not fit.

    Raises:
        StoreFull: it cannot fit.
    """
    free = _free(engine, place)
    if free is None:
        return []
    manifest = archive.manifest
    least = archive.path.stat().st_size
    likely = sum(table.bytes or 0 for table in manifest.tables) if manifest else 0
    told = f"and {free / 1e6:,.0f} MB are free in {place.folder} on the server's disk"
    if free < least:
        raise StoreFull(
            f"{archive.path.name} unpacks to more than {least / 1e6:,.0f} MB, {told}",
            state=UNTOUCHED,
            hint="free some space there; in place it takes as much until it is done",
        )
    if free < likely:
        return [f"the restore may not fit: its tables took {likely / 1e6:,.0f} MB at the backup, {told}"]
    return []


def _free(engine: PostgresEngine, place: Place) -> int | None:
    if not place.folder:
        return None
    if engine.route is Route.CONTAINER:
        return _free_inside(engine, place.folder)
    try:
        return shutil.disk_usage(place.folder).free if place.is_here else None
    except OSError:
        return None


def _free_inside(engine: PostgresEngine, folder: str) -> int | None:
    try:
        lines = engine.runner.run(Command("df", ("-Pk", folder))).splitlines()
    except DbTasksError:
        return None  # not every image has it, and nothing else depends on it
    # file system, blocks, used, available, capacity, mount point
    words = lines[-1].split() if len(lines) > 1 else []
    return int(words[3]) * 1024 if len(words) > 5 and words[3].isdecimal() else None
