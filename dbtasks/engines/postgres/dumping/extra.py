"""pg_dump's own arguments, given after `--`: which are ours to decide, and what the others leave out.

What chooses tables, rows or definitions is refused: the manifest counts what
the task chose. Of the rest a backup stays complete where every table, row and
definition is there all the same; what is not known here makes it partial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ....errors import UsageError

__all__ = ["ROW_SECURITY", "Argument", "incomplete_by", "metadata_left_out", "read_extra"]

ROW_SECURITY = "--enable-row-security"

_TABLES = "use --table and --exclude-table of the task"
_ROWS = "use --exclude-data of the task"
_ALL_EXTENSIONS = "a backup names all extensions; leave tables out with --exclude-table"
_WHOLE = "a restore replaces the database as a whole"
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
    "--schema": _TABLES,
    "--exclude-schema": _TABLES,
    "--section": "use --schema-only or --data-only of the task, or --table and --exclude-table",
    "--extension": _ALL_EXTENSIONS,
    "--exclude-extension": _ALL_EXTENSIONS,
    "--schema-only": "use --schema-only of the task",
    "--data-only": "use --data-only of the task",
    "--no-data": "use --schema-only of the task",
    "--no-schema": "use --data-only of the task",
    "--statistics-only": "statistics alone are no backup",
    "--no-unlogged-table-data": _ROWS,
    "--no-owner": "use --no-owner of the task",
    "--snapshot": "each backup has a snapshot of its own",
    "--serializable-deferrable": "each backup has a snapshot of its own",
    "--lock-wait-timeout": "use the setting lock_timeout",
    "--no-sync": "a backup is always synced to disk",
    "--clean": _WHOLE,
    "--if-exists": _WHOLE,
    "--create": "a restore creates the database itself",
    "--binary-upgrade": "it is for pg_upgrade only",
    "--verbose": "progress is shown anyway",
    "--version": "see db.info",
    "--help": "see pg_dump --help",
}
HARMLESS = frozenset(
    {
        "--blobs",
        "--column-inserts",
        "--disable-dollar-quoting",
        "--disable-triggers",
        "--include-foreign-data",
        "--inserts",
        "--large-objects",
        "--load-via-partition-root",
        "--on-conflict-do-nothing",
        "--quote-all-identifiers",
        "--restrict-key",
        "--role",
        "--rows-per-insert",
        "--sequence-data",
        "--strict-names",
        "--sync-method",
    }
)
"""Nothing is missing from the dump; it is written differently."""
METADATA = {
    "--no-comments": "comments",
    "--no-privileges": "privileges",
    "--no-acl": "privileges",
    "--no-security-labels": "security labels",
    "--no-publications": "publications",
    "--no-subscriptions": "subscriptions",
    "--no-tablespaces": "tablespaces of tables and indexes",
    "--no-toast-compression": "TOAST compression methods",
    "--no-table-access-method": "table access methods",
    "--no-statistics": "statistics",
}
"""Left out, and yet every table, row and definition is there."""
PARTIAL = frozenset(
    {
        ROW_SECURITY,
        "--encoding",
        "--extra-float-digits",
        "--no-blobs",
        "--no-large-objects",
        "--no-policies",
        "--statistics",
        "--superuser",
        "--use-set-session-authorization",
    }
)
"""Not refused; named here so that their abbreviations and values are understood."""
WITH_VALUE = frozenset(
    {
        "--encoding",
        "--extra-float-digits",
        "--include-foreign-data",
        "--restrict-key",
        "--role",
        "--rows-per-insert",
        "--superuser",
        "--sync-method",
    }
)
SHORT: Mapping[str, str] = dict(
    zip(
        "FfjZdhpUWwtTnNesaOcCvV?bBxES",
        [
            *("--format", "--file", "--jobs", "--compress", "--dbname", "--host", "--port", "--username"),
            *("--password", "--no-password", "--table", "--exclude-table", "--schema", "--exclude-schema"),
            *("--extension", "--schema-only", "--data-only", "--no-owner", "--clean", "--create"),
            *("--verbose", "--version", "--help", "--large-objects", "--no-large-objects"),
            *("--no-privileges", "--encoding", "--superuser"),
        ],
        strict=True,
    )
)
KNOWN = (*OURS, *HARMLESS, *METADATA, *PARTIAL)


@dataclass(frozen=True)
class Argument:
    """One option, with its name written out."""

    name: str
    text: str
    """As it was given, its value included."""


def read_extra(extra: Sequence[str]) -> tuple[Argument, ...]:
    """Read arguments as pg_dump would, in any spelling it takes.

    Raises:
        UsageError: one is ours to decide; names it and what to use instead.
    """
    found: list[Argument] = []
    rest = list(extra)
    while rest:
        given = rest.pop(0)
        if given.startswith("--"):
            name, has_value, _ = given.partition("=")
            options, open_end = [_long(name)], not has_value
        elif given.startswith("-") and given != "-":
            options, open_end = _cluster(given)
        else:
            raise UsageError(f"{given!r} after --: {OURS['--dbname']}")
        if open_end and options[-1] in WITH_VALUE and rest:
            given = f"{given} {rest.pop(0)}"
        found += [Argument(option, given) for option in options]
    return tuple(found)


def incomplete_by(extra: Sequence[str]) -> tuple[str, ...]:
    """Return those arguments with which a backup may lack rows or definitions, as they were given."""
    whole = HARMLESS | METADATA.keys()
    return tuple(dict.fromkeys(a.text for a in read_extra(extra) if a.name not in whole))


def metadata_left_out(extra: Sequence[str]) -> tuple[str, ...]:
    """Say what the arguments leave out of a backup that is complete all the same."""
    named = (f"{METADATA[a.name]} ({a.name})" for a in read_extra(extra) if a.name in METADATA)
    return tuple(dict.fromkeys(named))


def _long(given: str) -> str:
    # getopt takes every beginning of an option for the option
    meant = [given] if given in KNOWN else sorted(name for name in KNOWN if name.startswith(given))
    for name in meant:
        if name in OURS:
            raise UsageError(f"{given} after --: {OURS[name]}")
    return meant[0] if len(meant) == 1 else given


def _cluster(given: str) -> tuple[list[str], bool]:
    """Read `-xbE`; the second value tells whether the last one's value is still to come."""
    options = []
    for position, letter in enumerate(given[1:], start=1):
        name = SHORT.get(letter, f"-{letter}")
        if name in OURS:
            raise UsageError(f"-{letter} after --: {OURS[name]}")
        options.append(name)
        if name in WITH_VALUE:
            return options, position == len(given) - 1
    return options, False
