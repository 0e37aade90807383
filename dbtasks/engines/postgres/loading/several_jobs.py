"""Loading by pg_restore with several jobs: side by side what locks one table, then one after another what locks more.

pg_restore keeps two jobs from one table, but not from the partitions of their
partitions: a foreign key of the whole takes locks all the way down while an
index below is attached, and PostgreSQL ends one of the two ("deadlock
detected"). So what reaches beyond its own table comes last, by one session.
Rows and the building of indexes, where the time goes, stay side by side.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ....models import Archive
from ....plans import LoadPlan
from ....runners import Command
from ..archive.contents import list_there
from ..dumping.commands import list_command

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["restore_into"]

ATTACHED = "INDEX ATTACH"
"""Only partitioned tables with indexes have it; without any, pg_restore's own order is enough."""
AFTERWARDS = (
    ATTACHED,
    "FK CONSTRAINT",
    "CHECK CONSTRAINT",
    "TRIGGER",
    "POLICY",
    "ROW SECURITY",
    "COMMENT",
    "SECURITY LABEL",
    "PUBLICATION",
    "SUBSCRIPTION",
    "ACL",
    "DEFAULT ACL",
    "MATERIALIZED VIEW DATA",
    "STATISTICS DATA",
    "EVENT TRIGGER",
)
"""What locks more than one table, and whatever pg_restore itself puts behind it or makes depend on it."""
_ENTRY = re.compile(r"\d+; \d+ \d+ (?P<what>.*)", re.DOTALL)


def restore_into(engine: PostgresEngine, plan: LoadPlan, archive: Archive, new: str, there: str) -> None:
    """Load an archive that lies `there` into an empty database.

    Raises:
        CommandFailed: pg_restore refused something, or could not read the archive.
    """
    # several jobs fill TimescaleDB's catalog in an order its foreign keys do not allow
    jobs = 1 if plan.timescale else plan.request.jobs or engine.settings.jobs or os.cpu_count() or 1
    if jobs > 1:
        listed = engine.runner.run(list_command(there, archive.format)).splitlines(keepends=True)
        if any(_is(line, (ATTACHED,)) for line in listed):
            _in_two(engine, plan, archive, new, there, jobs, listed)
            return
    engine.runner.run(_command(plan, archive, new, there, jobs))


def _in_two(
    engine: PostgresEngine,
    plan: LoadPlan,
    archive: Archive,
    new: str,
    there: str,
    jobs: int,
    listed: list[str],
) -> None:
    for number, lines in ((jobs, _first(listed)), (1, _afterwards(listed))):
        with list_there(engine, "".join(lines)) as part:
            engine.runner.run(_command(plan, archive, new, there, number, part))


def _first(listed: list[str]) -> Iterator[str]:
    return (line for line in listed if not _is(line, AFTERWARDS))


def _afterwards(listed: list[str]) -> Iterator[str]:
    return (line for line in listed if _is(line, AFTERWARDS))


def _is(line: str, kinds: tuple[str, ...]) -> bool:
    entry = _ENTRY.match(line)
    return entry is not None and entry["what"].startswith(tuple(f"{kind} " for kind in kinds))


def _command(
    plan: LoadPlan, archive: Archive, new: str, path: str, jobs: int, only: str | None = None
) -> Command:
    # -d is read like a connection string: only a quoted value is surely a name
    name = new.replace("\\", "\\\\").replace("'", "\\'")
    arguments = [
        f"--format={archive.format}",
        "--exit-on-error",
        "--no-password",
        f"--jobs={jobs}",
        f"--dbname=dbname='{name}'",
    ]
    if only:
        arguments.append(f"--use-list={only}")
    if plan.request.no_owner:
        arguments += ["--no-owner", "--no-privileges"]
    if plan.request.role:
        arguments.append(f"--role={plan.request.role}")
    return Command("pg_restore", (*arguments, path))
