"""What others can read or have been given: modes of the store and of files with passwords, backups that git tracks."""

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

from ...errors import SettingsError
from ...models import Type
from ...settings import Settings, read_dotenv

__all__ = ["Exposure", "exposures", "holds_secret", "open_to_others"]

POSIX = os.name == "posix"
OTHERS = stat.S_IRWXG | stat.S_IRWXO
FOLDERS = ("", *Type, "restores", "reports")
SECRET_NAME = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|_KEY$|(^|_|DB|PG)PASS(_|$)|(_|DB|PG)PWD(_|$)"
)
LOGIN_IN_URL = re.compile(r"://[^/@\s:]*:[^/@\s]+@|[?&]password=[^&\s]", re.IGNORECASE)
MOUNTED_SECRETS = Path("/run/secrets")
"""Docker mounts secrets there, open to everybody in the container; no chmod reaches them."""
INVOKE_FILES = {
    "the project's invoke.yaml": "{root}/invoke",
    "~/.invoke.yaml": "{home}/.invoke",
    "/etc/invoke.yaml": "/etc/invoke",
}
"""Where each of Invoke's files lies, by the source a setting names; it may have another suffix."""
SUFFIXES = (".yaml", ".yml", ".json", ".py")
# What runs here may be root, and the repository somebody's: nothing it configures is run
GIT = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "protocol.allow=never")


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
        yield Exposure(
            f"{first} is open to other users (mode {_mode(first):04o}){rest}",
            # through a link chmod -R does not go on every system
            f"chmod -R go-rwx {shlex.quote(os.path.realpath(folder))}",
        )
    for path in dict.fromkeys(_with_secrets(settings)):
        if _mode(path) & OTHERS:
            yield Exposure(
                f"{path} holds a password and is open to other users (mode {_mode(path):04o})",
                f"chmod 600 {shlex.quote(str(path))}",
            )


def _with_secrets(settings: Settings) -> Iterator[Path]:
    """Name the files the settings read a password from."""
    dotenv = settings.root / ".env"
    if holds_secret(_names(dotenv)):
        yield dotenv
    for name, path in settings.read_from.items():
        if holds_secret({name: _text(path)}) and not path.is_relative_to(MOUNTED_SECRETS):
            yield path
    if settings.target is None or not settings.target.secrets:
        return
    for setting in settings.provenance:
        if setting.name == "url" and setting.source in INVOKE_FILES:
            stem = INVOKE_FILES[setting.source].format(root=settings.root, home=Path("~").expanduser())
            # Invoke reads the first of them; whether others may is asked of one that is there only
            yield from [path for suffix in SUFFIXES if _mode(path := Path(stem + suffix))][:1]


def _without_modes(settings: Settings) -> Iterator[Exposure]:
    if _is_folder(settings.backup_dir):
        yield Exposure(
            f"this system keeps nobody out of {settings.backup_dir} by modes: whoever may open it reads the backups",
            "give the folder rights for this user alone",
        )


def _in_git(folder: Path) -> Iterator[Exposure]:
    tracked, trouble = _tracked_by_git(folder)
    if trouble:
        yield Exposure(
            f"git does not say whether it tracks files in {folder} ({trouble})",
            f"git -C {shlex.quote(str(folder))} ls-files",
        )
    if tracked:
        files = "one file" if tracked == 1 else f"{tracked} files"
        yield Exposure(f"git tracks {files} in {folder}", f"git rm -r --cached {shlex.quote(str(folder))}")


def open_to_others(folder: Path) -> list[Path]:
    """Return the store's folders and files whose modes let group or others in.

    The store itself may be a link: it is what the link leads to. Links inside are not followed.
    """
    found = []
    for name in FOLDERS:
        place = folder / name
        try:
            if place != folder and place.is_symlink():
                continue
            with os.scandir(place) as entries:
                inside = [entry for entry in entries if not entry.name.startswith(".")]
            files = sorted(Path(e.path) for e in inside if not e.is_dir(follow_symlinks=False))
        except OSError:
            continue
        found += [path for path in (place, *files) if _mode(path, follow=path == folder) & OTHERS]
    return found


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # behind a folder that this user may not enter
        return False


def _mode(path: Path, *, follow: bool = True) -> int:
    """Return the rights of what lies at a path; 0, open to nobody, where that cannot be seen or is a link."""
    try:
        mode = path.stat(follow_symlinks=follow).st_mode
    except OSError:
        return 0
    return 0 if stat.S_ISLNK(mode) else stat.S_IMODE(mode)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""


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


def _tracked_by_git(folder: Path) -> tuple[int, str]:
    """Return how many files of a folder git tracks, and why it does not say; 0 where there is no git or no repository.

    A repository of another user's is looked at as well: it is this store that lies in it.
    """
    git = shutil.which("git")
    if git is None or not _is_folder(folder):
        return 0, ""
    try:
        listed = subprocess.run(
            [git, *GIT, "-C", str(folder), "ls-files", "-z", "--", "."],
            env={**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 0, "no answer within 10 s"
    except OSError as exc:
        return 0, exc.strerror or str(exc)
    if listed.returncode == 0:
        return listed.stdout.count(b"\0"), ""
    said = listed.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
    return (0, "") if "not a git repository" in said or "annot change to" in said else (0, said)
