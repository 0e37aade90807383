"""What others can read or have been given: modes of the store and of `.env`, backups that git tracks."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import SettingsError
from ..models import Type
from ..settings import Settings, read_dotenv

__all__ = ["Exposure", "exposures", "holds_secret", "open_to_others"]

POSIX = os.name == "posix"
OTHERS = stat.S_IRWXG | stat.S_IRWXO
FOLDERS = ("", *Type, "restores", "reports")
SECRET_NAME = re.compile(r"PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|_KEY$|^PGPASS$|CREDENTIAL")
LOGIN_IN_URL = re.compile(r"://[^/@\s:]*:[^/@\s]+@")


@dataclass(frozen=True)
class Exposure:
    """Something others can read."""

    what: str
    command: str
    """What mends it: one command, where there is one."""


def exposures(settings: Settings) -> tuple[Exposure, ...]:
    """Return everything found; where files have no modes, that is what is said of them."""
    by_mode = _by_mode(settings) if POSIX else _without_modes(settings)
    return (*by_mode, *_in_git(settings.backup_dir))


def _by_mode(settings: Settings) -> Iterator[Exposure]:
    folder = settings.backup_dir
    found = open_to_others(folder)
    if found:
        first = found[0]
        rest = f" and {len(found) - 1} more in {folder}" if len(found) > 1 else ""
        mode = f"mode {stat.S_IMODE(first.stat().st_mode):04o}"
        yield Exposure(
            f"{first} is open to other users ({mode}){rest}",
            f"chmod -R go-rwx {shlex.quote(str(folder))}",
        )
    dotenv = settings.root / ".env"
    if _is_open(dotenv) and holds_secret(_names(dotenv)):
        mode = f"mode {stat.S_IMODE(dotenv.stat().st_mode):04o}"
        yield Exposure(
            f"{dotenv} holds a password and is open to other users ({mode})",
            f"chmod 600 {shlex.quote(str(dotenv))}",
        )


def _without_modes(settings: Settings) -> Iterator[Exposure]:
    if settings.backup_dir.is_dir():
        yield Exposure(
            f"this system keeps nobody out of {settings.backup_dir} by modes: whoever may open it reads the backups",
            "give the folder rights for this user alone",
        )


def _in_git(folder: Path) -> Iterator[Exposure]:
    tracked = _tracked_by_git(folder)
    if tracked:
        files = "one file" if tracked == 1 else f"{tracked} files"
        yield Exposure(f"git tracks {files} in {folder}", f"git rm -r --cached {shlex.quote(str(folder))}")


def open_to_others(folder: Path) -> list[Path]:
    """Return the store's folders and files whose modes let group or others in; links are not followed."""
    found = []
    for name in FOLDERS:
        place = folder / name
        if place.is_symlink() and place != folder:
            continue
        try:
            inside = sorted(path for path in place.iterdir() if not path.name.startswith("."))
        except OSError:
            continue
        found += [
            path for path in (place, *inside) if _is_open(path) and (path == place or not path.is_dir())
        ]
    return found


def _is_open(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return not stat.S_ISLNK(mode) and bool(stat.S_IMODE(mode) & OTHERS)


def _names(dotenv: Path) -> Mapping[str, str]:
    try:
        return read_dotenv(dotenv)
    except SettingsError:
        return {}


def holds_secret(variables: Mapping[str, str]) -> bool:
    """Whether one of the variables is a password, by its name or as part of a url."""
    return any(
        value and (SECRET_NAME.search(name.upper()) or LOGIN_IN_URL.search(value))
        for name, value in variables.items()
        if not name.upper().endswith("_FILE")  # names where it lies
    )


def _tracked_by_git(folder: Path) -> int:
    """Return how many files of a folder git tracks; 0 where there is no git or no repository."""
    git = shutil.which("git")
    if git is None or not folder.is_dir():
        return 0
    try:
        listed = subprocess.run(
            [git, "-C", str(folder), "ls-files", "-z", "--", "."],
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return listed.stdout.count(b"\0")
