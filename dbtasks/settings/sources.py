"""Where settings are read from the real world: the environment, `.env`, the project root."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from .resolve import Levels, Settings, resolve_settings

__all__ = ["find_root", "load_settings", "read_dotenv"]


def load_settings(
    root: Path | str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    shared: Sequence[tuple[str, Mapping[str, Any]]] = (),
    mount: Mapping[str, Any] | None = None,
    **flags: Any,
) -> Settings:
    """Load the settings of a project.

    `root` is the folder relative paths belong to (default: the nearest folder
    upwards with a `.env` or `.git`, else with an `invoke.yaml` or `tasks.py`,
    else the current one). `environ` defaults to the process environment, which
    is only read. Keyword arguments count as flags:
    `load_settings(url="sqlite:///app.db", keep=5)`.

    Raises:
        SettingsError: all problems at once.
    """
    folder = Path(root).resolve() if root is not None else find_root(Path.cwd())
    seen = dict(os.environ if environ is None else environ)
    dotenv = {} if _disabled(seen.get("PYTHON_DOTENV_DISABLED", "")) else read_dotenv(folder / ".env")
    return resolve_settings(
        Levels(root=folder, flags=flags, environ=seen, dotenv=dotenv, shared=shared, mount=mount or {})
    )


def _disabled(text: str) -> bool:
    # the words python-dotenv itself takes for a yes
    return text.lower() in ("1", "true", "t", "yes", "y")


def find_root(start: Path) -> Path:
    """Return the nearest folder upwards that holds a `.env` or a `.git`, else an `invoke.yaml` or a `tasks.py`, else `start`.

    The latter two only where there is none of the former: a package inside a
    project may hold a `tasks.py` of its own, such as Celery's.
    """
    folders = (start, *start.parents)
    for marks in ((".env", ".git"), ("invoke.yaml", "tasks.py")):
        for folder in folders:
            if any(_marks(folder / name) for name in marks):
                return folder
    return start


def _marks(path: Path) -> bool:
    # a `.git` may be either; a `.env` that is a folder is one of Python's environments
    return path.is_file() or (path.name == ".git" and path.is_dir())


def read_dotenv(path: Path) -> dict[str, str]:
    """Read a `.env` without touching `os.environ`; a missing file is an empty one.

    `${…}` is not expanded: a password may hold it.

    Raises:
        SettingsError: a line cannot be parsed; python-dotenv itself would drop it with a warning.
    """
    from dotenv.parser import parse_stream

    try:
        with path.open(encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8 text"
        raise SettingsError(f"{path}: {reason}") from exc
    broken = [str(binding.original.line) for binding in bindings if binding.error]
    if broken:
        raise SettingsError(
            f"{path}: line {', '.join(broken)} cannot be parsed",
            hint="each line is NAME=value; quote a value that holds quotes or a # after a space",
        )
    return {binding.key: binding.value for binding in bindings if binding.key and binding.value is not None}
