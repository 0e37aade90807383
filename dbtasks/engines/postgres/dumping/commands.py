"""Argument lists of pg_dump and friends: pure, apart from one question to the tool itself.

No host, user, password or database is in them: those come by the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ....errors import CommandFailed
from ....models import Compression, Format
from ....plans import DumpPlan
from ....runners import Command, Runner
from ..tables import Selection

__all__ = [
    "SUFFIXES",
    "dump_command",
    "globals_command",
    "list_command",
    "read_command",
    "zstd_in_pg_dump",
]

SUFFIXES: Mapping[tuple[Format, Compression], str] = {
    **{(Format.CUSTOM, codec): ".dump" for codec in Compression},
    **{(Format.DIRECTORY, codec): ".dir.tar" for codec in Compression},
    (Format.SQL, Compression.NONE): ".sql",
    (Format.SQL, Compression.GZIP): ".sql.gz",
    (Format.SQL, Compression.ZSTD): ".sql.zst",
}
LEVELS = {Compression.NONE: "0", Compression.GZIP: "1", Compression.ZSTD: "zstd:1"}
"""`1` means gzip:1 to every pg_dump; only those from 16 on take the long spelling."""


def dump_command(
    plan: DumpPlan,
    selection: Selection,
    *,
    database: str,
    snapshot: str,
    lock_timeout: float,
    folder: str | None = None,
    inherit: Sequence[int] = (),
) -> Command:
    """Return pg_dump's call: to stdout, or for the directory format into `folder`."""
    request = plan.request
    arguments = [
        f"--format={'plain' if plan.format is Format.SQL else plan.format}",
        "--no-password",
        f"--snapshot={snapshot}",
    ]
    if lock_timeout:
        arguments.append(f"--lock-wait-timeout={int(lock_timeout * 1000)}")
    if plan.format is not Format.SQL:
        arguments.append(f"--compress={LEVELS[plan.compression]}")
    if folder is not None:
        arguments += [f"--jobs={plan.jobs}", f"--file={folder}"]
    switches = {
        "--schema-only": request.schema_only,
        "--data-only": request.data_only,
        "--no-owner": request.no_owner,
    }
    arguments += [name for name, wanted in switches.items() if wanted]
    arguments += [*selection.arguments, *request.extra]
    return Command("pg_dump", tuple(arguments), env={"PGDATABASE": database}, inherit=tuple(inherit))


def globals_command(*, database: str, inherit: Sequence[int] = ()) -> Command:
    """Return the call that writes roles and tablespaces, password hashes included, to stdout."""
    # -l is read like a connection string: only a quoted value is surely a name
    name = "dbname='" + database.replace("\\", "\\\\").replace("'", "\\'") + "'"
    arguments = ("--globals-only", "--no-password", f"--database={name}")
    return Command("pg_dumpall", arguments, inherit=tuple(inherit))


def read_command(format_: Format, archive: str | None = None, *, only: str | None = None) -> Command:
    """Return the call that reads a custom file or an unpacked directory to its end and writes nothing.

    Without an archive a custom one is read from stdin. `only` names a file with the parts to read.
    """
    arguments = [f"--format={format_}", f"--file={os.devnull}"]
    arguments += [f"--use-list={only}"] if only else []
    arguments += [archive] if archive else []
    return Command("pg_restore", tuple(arguments))


def list_command(archive: str, format_: Format) -> Command:
    """Return the call that lists an archive's table of contents; it proves nothing about the data."""
    return Command("pg_restore", (f"--format={format_}", "--list", archive))


def zstd_in_pg_dump(runner: Runner) -> bool:
    """Ask pg_dump whether it can write zstd: it checks that before it connects.

    Its version does not tell: builds of the same version differ.
    """
    nowhere = {"PGHOST": os.path.join(os.sep, "nonexistent"), "PGDATABASE": "none"}  # noqa: PTH118 - a text
    try:
        runner.run(Command("pg_dump", ("--format=custom", "--compress=zstd:1", "--no-password"), env=nowhere))
    except CommandFailed as exc:
        return "compress" not in exc.details
    return False
