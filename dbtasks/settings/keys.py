"""The table of settings: name, meaning, default, and how its text is read.

The parser, the `None` leaves Invoke needs, docs/settings.md, `.env.example`
and `db.info`'s provenance all come from it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models import Compression, Format

__all__ = ["KEYS", "PREFIX", "RESERVED", "Key"]

PREFIX = "DBTASKS_"
RESERVED = ("TEST_", "HOOK_")
"""DBTASKS_TEST_* steer our own suite, DBTASKS_HOOK_* are handed to hooks: never settings."""


@dataclass(frozen=True)
class Key:
    """One setting."""

    name: str
    doc: str
    parse: Callable[[str], Any]
    """Text to value; raises ValueError with what is allowed."""
    default: Any = None
    default_text: str = "–"
    secret: bool = False
    conventional: tuple[str, ...] = ()
    """Names other tools use for the same thing; lowest level above the default."""
    own: bool = False
    """Says which database it is: never shared between mounts."""
    planned: str = ""
    """What a later version does with it; until then setting it is refused, not ignored."""


def _text(value: str) -> str:
    return value


def _folder(value: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise ValueError("a folder; this ~ leads to no home folder") from None


def _number(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise ValueError("a whole number from 1 up")
    return int(value)


def _limit(value: str) -> int | None:
    if value.lower() == "none":
        return None
    try:
        return _number(value)
    except ValueError:
        raise ValueError("a whole number from 1 up, or none") from None


def _share(value: str) -> float | None:
    if value.lower() == "none":
        return None
    try:
        share = float(value)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ValueError("a number above 0, at most 1, or none")
    return share


def _files(value: str) -> tuple[Path, ...]:
    return () if value.lower() == "none" else tuple(Path(name) for name in _names(value))


SHELLS = frozenset(("&&", "||", "|", "|&", "&", ";", ">", ">>", "<", "<<", "2>", "2>&1", "&>"))


def _command(value: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(value))
    except ValueError as exc:
        raise ValueError(f"a command as a shell reads it, with its quotes in pairs ({exc})") from None
    if _shells(value):
        raise ValueError(
            f"one command, and no shell reads it: {_shells(value)} would be one of its arguments; sh -c 'one && two' runs several"
        )
    return () if [word.lower() for word in words] == ["none"] else words


def _shells(value: str) -> str:
    """Return the first bare word that only a shell understands; empty where there is none."""
    try:
        # quotes stay on: what is quoted is meant as it stands
        words = shlex.split(value, posix=False)
    except ValueError:
        return ""
    ends = (word[-1:] for word in words if word.endswith(";") and not word.endswith("\\;"))
    return next((word for word in words if word in SHELLS), next(ends, ""))


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise ValueError("seconds, 0 or more")
    return seconds


def _switch(value: str) -> bool:
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if value.lower() not in words:
        raise ValueError("on or off")
    return words[value.lower()]


def _names(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.lower() not in allowed:
            raise ValueError(" or ".join(allowed))
        return value.lower()

    return parse


def _format(value: str) -> Format:
    return Format(_choice(*(f.value for f in Format))(value))


def _compression(value: str) -> Compression:
    return Compression(_choice(*(c.value for c in Compression))(value))


def _via(value: str) -> tuple[str, ...]:
    routes = _names(value.lower())
    if not routes or any(route not in ("auto", "container", "host", "python") for route in routes):
        raise ValueError("auto, container, host, python, or a list of them with commas")
    return routes


def _prefix(value: str) -> str:
    if not value.endswith("_") or not value[:-1].replace("_", "").isalnum() or value.upper() != value:
        raise ValueError("capital letters ending in an underscore, such as ANALYTICS_")
    if value.startswith(PREFIX) and value != PREFIX:
        # to the first mount its names would be unknown settings
        raise ValueError(f"a prefix that does not begin with {PREFIX}")
    return value


KEYS: tuple[Key, ...] = (
    Key("url", "The database: sqlite:///… or postgresql://…", _text, secret=True, own=True),
    Key(
        "env_prefix",
        "Prefix of this mount's own environment variables; only in a mount's config.",
        _prefix,
        PREFIX,
        PREFIX,
        own=True,
    ),
    Key(
        "backup_dir",
        "Folder of the local store, relative to the project root; created 0700 with a .gitignore.",
        _folder,
        Path("backups"),
        "backups",
        conventional=("BACKUP_DIR",),
    ),
    Key(
        "via",
        "The way to PostgreSQL: auto, container, host, python, or a list of them with commas.",
        _via,
        ("auto",),
        "auto",
        own=True,
    ),
    Key("container", "Name or id of the database's container.", _text, default_text="found", own=True),
    Key("service", "Compose service of the database.", _text, default_text="found", own=True),
    Key("compose_project", "Compose project of the database.", _text, default_text="found", own=True),
    Key(
        "pg_bin",
        "Folder of the host's client tools; when set, only that folder is looked at.",
        _folder,
        default_text="PATH",
    ),
    Key(
        "maintenance_db",
        "Database to connect to while others are created and renamed.",
        _text,
        default_text="postgres, then template1",
        own=True,
    ),
    Key(
        "format",
        "Format of backups: custom, sql, directory; sqlite for SQLite; rows for both.",
        _format,
        default_text="by engine",
    ),
    Key(
        "compression",
        "gzip, zstd or none; SQLite files stay plain by default, a rows backup is always gzip.",
        _compression,
        default_text="fast gzip or zstd, by what the tools can",
    ),
    Key(
        "jobs", "Parallel jobs of a directory dump and of a restore.", _number, default_text="number of cores"
    ),
    Key("exclude_tables", "Tables left out of backups entirely, with commas.", _names, ()),
    Key("exclude_data", "Tables whose schema is kept and whose rows are left out, with commas.", _names, ()),
    Key("keep", "Newest backups kept per database and type; none unsets it.", _limit, 3, "3"),
    Key(
        "keep_days",
        "Backups younger than this many days are kept; none unsets it.",
        _limit,
        conventional=("BACKUP_RETENTION_DAYS",),
    ),
    Key("keep_daily", "Days of which the newest backup is kept.", _limit),
    Key("keep_weekly", "ISO weeks of which the newest backup is kept.", _limit),
    Key("keep_monthly", "Months of which the newest backup is kept.", _limit),
    Key("min_keep", "Newest backups that stay whatever the other limits say.", _number, 1, "1"),
    Key(
        "shrink_limit",
        "A backup with less than this share of the last normal one's rows or bytes is an anomaly: kept, exit 8,"
        " nothing cleaned up; none unsets it.",
        _share,
        0.5,
        "0.5",
    ),
    Key("safety_backup", "Back up the present state before each restore.", _switch, True, "on"),
    Key(
        "drop_old",
        "Drop the replaced database at once after a swap instead of keeping it.",
        _switch,
        False,
        "off",
    ),
    Key("wait", "Seconds to wait for a database that is starting.", _seconds, 0.0, "0"),
    Key("connect_timeout", "Seconds a connection may take.", _seconds, 10.0, "10"),
    Key("lock_timeout", "Seconds to wait for a lock inside the database.", _seconds, 30.0, "30"),
    Key(
        "protect",
        "Database names or hosts no restore, undo or migration may target without --confirm=NAME, with commas.",
        _names,
        (),
    ),
    Key(
        "environment", "Label such as production; recorded in each backup and shown before a restore.", _text
    ),
    Key(
        "migration_table",
        "Table in which the application's schema migrations are recorded.",
        _text,
        default_text="found",
    ),
    Key(
        "after_load",
        "SQL files run inside a backup that was loaded, between its checks and the swap, with commas; relative to the"
        " project root; none unsets it.",
        _files,
        (),
    ),
    Key(
        "into_url",
        "The database that db.restore --into=@ and db.migrate --to=@ mean, with its password: so it stands on no command line.",
        _text,
        secret=True,
        own=True,
    ),
    Key(
        "schema_command",
        "Command that makes the tables for a restore of rows where there are none, such as alembic upgrade head; run"
        " in the project root without a shell, DATABASE_URL and its like lead it to the database; none unsets it.",
        _command,
        (),
    ),
    Key("schema_timeout", "Seconds schema_command may take.", _seconds, 900.0, "900"),
    Key("remote", "Remote store, s3://bucket/prefix.", _text, planned="remote stores"),
    Key("s3_endpoint", "Endpoint of an S3-compatible store.", _text, planned="remote stores"),
    Key("s3_region", "Region of the bucket.", _text, planned="remote stores"),
    Key("s3_path_style", "Address buckets by path.", _switch, planned="remote stores"),
    Key("s3_profile", "Profile of the AWS configuration.", _text, planned="remote stores"),
    Key("encrypt_to", "age recipients.", _names, planned="encryption"),
    Key("identity", "age identity file.", _text, planned="encryption"),
    Key("cron", "Cron expression of the schedule.", _text, planned="schedules"),
    Key("on_success", "URL to ping after a success.", _text, secret=True, planned="notifications"),
    Key("on_failure", "URL to ping after a failure.", _text, secret=True, planned="notifications"),
)
