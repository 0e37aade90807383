"""`schema_command`: the project's own command makes the tables, in the very database that the rows go into."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote

from ..errors import Refused
from ..events import CommandStarted, OnEvent, Phase
from ..models import Archive, PostgresTarget, SqliteTarget, Target
from ..runners.project_command import find_program, run_project_command
from ..secrets import Secret, redact
from ..settings import Settings
from ..settings.keys import PREFIX
from ..urls import postgres_url
from .rows.archive import Head

__all__ = [
    "NAMES",
    "blaming_command",
    "environment_for",
    "fill_step",
    "made_elsewhere",
    "make_schema",
    "not_run",
    "prove_command",
    "refuse_made_nothing",
    "shown_command",
    "state_after",
    "version_of",
]

VERSION = "DBTASKS_HOOK_MIGRATION_VERSION"
"""Where the backup's migrations stood, for a command that can go to any revision; empty: it does not say."""
NAMES = {
    "host": ("DB_HOST", "POSTGRES_HOST", "POSTGRES_SERVER", "PGHOST"),
    "port": ("DB_PORT", "POSTGRES_PORT", "PGPORT"),
    "database": ("DB_NAME", "DB_DATABASE", "POSTGRES_DB", "PGDATABASE"),
    "user": ("DB_USER", "DB_USERNAME", "POSTGRES_USER", "PGUSER"),
    "password": ("DB_PASSWORD", "DB_PASS", "POSTGRES_PASSWORD", "PGPASSWORD"),
}
"""Every family of conventional names: a program that reads another one would make its tables elsewhere."""


def shown_command(settings: Settings) -> str:
    """Return the command as it would be typed, without the database's password; empty where there is none."""
    hidden = settings.target.secrets if isinstance(settings.target, PostgresTarget) else ()
    return redact(shlex.join(settings.schema_command), hidden)


def prove_command(settings: Settings) -> None:
    """See that its program is there.

    Raises:
        ToolMissing: it is not.
    """
    find_program(settings.schema_command, settings.root)


@contextmanager
def blaming_command(head: Head) -> Iterator[None]:
    """Say of a refusal of the tables that the command made what helps: they are its own, and made anew by each restore.

    Raises:
        Refused: as inside.
    """
    try:
        yield
    except Refused as exc:
        exc.hint = f"let {PREFIX}SCHEMA_COMMAND make the tables of the backup's revision"
        if head.typed and not head.older:
            exc.hint += f"; or {PREFIX}SCHEMA_COMMAND=none, and the backup makes them itself"
        raise


def not_run(settings: Settings) -> tuple[str, ...]:
    """Say that the backup's own schema makes the tables here, whatever is set."""
    if not settings.schema_command:
        return ()
    return (
        f"schema_command ({shown_command(settings)}) is not run: the tables are made of the backup's own schema, because it"
        " comes from the other engine, or because the database holds other things already",
    )


def make_schema(settings: Settings, target: Target, version: str, on_event: OnEvent) -> None:
    """Run the command for a database that is empty; it is told where by its environment alone.

    Raises:
        ToolMissing, LoadFailed: it is not there, ended badly, or took too long.
    """
    command = shown_command(settings)
    on_event(Phase("schema", command))
    on_event(CommandStarted(command, "project"))
    run_project_command(
        settings.schema_command,
        settings.root,
        {**settings.libpq, **environment_for(target, settings.env_prefix), VERSION: version},
        seconds=settings.schema_timeout,
        secrets=target.secrets,
    )


def refuse_made_nothing(settings: Settings, tables: Sequence[str]) -> None:
    """Refuse a command that ended well and has worked elsewhere, or not at all.

    Raises:
        Refused: there are no tables in the database that it was given.
    """
    if not tables:
        raise Refused(
            f"schema_command ({shown_command(settings)}) ended with 0 and made no tables in the database that"
            " DATABASE_URL led it to",
            hint="see whether it made them elsewhere: it is to read DATABASE_URL (or DB_*, POSTGRES_*, PG*; DATABASE_PATH)"
            " from its environment, before any configuration",
        )


def version_of(archive: Archive, head: Head) -> str:
    """Return where a backup's migrations stood; empty where it does not say."""
    if archive.manifest and archive.manifest.revision:
        return ", ".join(archive.manifest.revision.revisions)
    return head.migration_version or ""


def made_elsewhere(name: str, given: str, variables: str) -> Refused:
    """Return what is said where the command has worked in the live database; `given` is what it was to work in."""
    return Refused(
        f"schema_command has made its tables in {name} itself, and not in the {given} that it was given",
        hint=f"let it read {variables} from its environment; then restore into the tables that are there now",
    )


def state_after(name: str, *, untouched: bool, made_is: str) -> str:
    """Say of the live database, after a failure, whether the command was in it, and what became of what it made."""
    if untouched:
        return f"{name} was not touched; what the command made is {made_is}"
    return f"{name} holds what schema_command made there; no row of the backup is in it"


def fill_step(archive: Archive) -> str:
    """Return the step behind the command, for people."""
    return f"compare its tables with those of {archive.path.name}, empty exactly these and fill them"


def environment_for(target: Target, prefix: str) -> dict[str, str | Secret | None]:
    """Return the variables that lead to a database; what holds a password is a secret, and None takes one away."""
    if isinstance(target, SqliteTarget):
        path = str(target.path)
        url: str | Secret = _sqlite_url(path)
        found: dict[str, str | Secret | None] = dict.fromkeys(
            ("DATABASE_PATH", "DB_NAME", "DB_DATABASE", "DB_PATH"), path
        )
    else:
        url = _url(target)
        values: dict[str, str | Secret | None] = {
            # empty, which is libpq's own default, where the surroundings may name another
            "host": target.host,
            "port": str(target.port),
            "database": target.database,
            "user": target.user or None,
            "password": target.password or None,
        }
        found = {name: values[part] for part, names in NAMES.items() for name in names}
    found["DATABASE_URL"] = url
    if prefix != PREFIX:
        found |= {f"{prefix}DATABASE_URL": url, f"{prefix}URL": url}
    return found


def _sqlite_url(path: str) -> str:
    # no more than a url needs: some readers take a path as it stands
    for char in "%?#":
        path = path.replace(char, quote(char))
    return f"sqlite:///{path}"


def _url(target: PostgresTarget) -> Secret:
    return Secret(postgres_url(target, target.password.reveal() if target.password else ""))
