"""Argument lists of pg_dump and friends: pure, apart from one question to the tool itself.

No host, user, password or database is in them: those come by the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ...errors import CommandFailed, UsageError
from ...models import Compression, DumpPlan, Format
from ...runners import Command, Runner
from .tables import Selection

__all__ = [
    "SUFFIXES",
    "check_extra",
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

OURS = {
    "--format": "use --format of the task",
    "--file": "use --output",
    "--jobs": "use --jobs of the task",
    "--compress": "use --compression",
    "--dbname": "the database is set by the url",
    "--host": "the server is set by the url",
    "--port": "the server is set by the url",
    "--username": "the user is set by the url",
    "--password": "there is never a prompt: set the password in the url",
    "--no-password": "there is never a prompt anyway",
    "--table": "use --table of the task",
    "--exclude-table": "use --exclude-table of the task",
    "--exclude-table-data": "use --exclude-data",
    "--table-and-children": "use --table: partitions are included",
    "--exclude-table-and-children": "use --exclude-table: partitions are included",
    "--exclude-table-data-and-children": "use --exclude-data: partitions are included",
    "--filter": "use --table, --exclude-table and --exclude-data",
    "--schema-only": "use --schema-only of the task",
    "--data-only": "use --data-only of the task",
    "--no-owner": "use --no-owner of the task",
    "--snapshot": "each backup has a snapshot of its own",
    "--lock-wait-timeout": "use the setting lock_timeout",
    "--no-sync": "a backup is always synced to disk",
    "--clean": "a restore replaces the database as a whole",
    "--if-exists": "a restore replaces the database as a whole",
    "--create": "a restore creates the database itself",
    "--verbose": "progress is shown anyway",
    "--version": "see db.info",
    "--help": "see pg_dump --help",
}
SHORT = dict(
    zip(
        "FfjZdhpUWwtTsaOcCvV?",
        [
            *("--format", "--file", "--jobs", "--compress", "--dbname", "--host", "--port", "--username"),
            *("--password", "--no-password", "--table", "--exclude-table", "--schema-only", "--data-only"),
            *("--no-owner", "--clean", "--create", "--verbose", "--version", "--help"),
        ],
        strict=True,
    )
)
SHORT_WITH_VALUE = frozenset("EenNS")
LONG_WITH_VALUE = frozenset(
    {
        "--encoding",
        "--exclude-extension",
        "--exclude-schema",
        "--extension",
        "--extra-float-digits",
        "--include-foreign-data",
        "--restrict-key",
        "--role",
        "--rows-per-insert",
        "--schema",
        "--section",
        "--superuser",
        "--sync-method",
    }
)


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


def read_command(archive: str, format_: Format) -> Command:
    """Return the call that reads a custom file or an unpacked directory to its end and writes nothing."""
    return Command("pg_restore", (f"--format={format_}", f"--file={os.devnull}", archive))


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


def check_extra(extra: Sequence[str]) -> None:
    """Refuse arguments given after `--` that are ours to decide, in any spelling pg_dump would take.

    Raises:
        UsageError: names the argument and what to use instead.
    """
    rest = list(extra)
    while rest:
        argument = rest.pop(0)
        if argument.startswith("--"):
            takes_next = _check_long(argument)
        elif argument.startswith("-") and argument != "-":
            takes_next = _check_short(argument)
        else:
            raise UsageError(f"{argument!r} after --: {OURS['--dbname']}")
        if takes_next and rest:
            rest.pop(0)


def _check_long(argument: str) -> bool:
    name, has_value, _ = argument.partition("=")
    if name in LONG_WITH_VALUE:
        return not has_value
    for ours, instead in OURS.items():
        # getopt takes every beginning of an option for the option
        if ours.startswith(name):
            raise UsageError(f"{name} after --: {instead}")
    return False


def _check_short(cluster: str) -> bool:
    for position, letter in enumerate(cluster[1:], start=1):
        if letter in SHORT:
            raise UsageError(f"-{letter} after --: {OURS[SHORT[letter]]}")
        if letter in SHORT_WITH_VALUE:
            return position == len(cluster) - 1
    return False
