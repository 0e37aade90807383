"""The tool most projects would use instead, in an environment of its own: django-dbbackup."""

from __future__ import annotations

import subprocess
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .measure import Job
from .project import clean_environment
from .servers import Server, Unavailable

__all__ = ["DjangoProject", "install_django_dbbackup"]

PACKAGES = ("django-dbbackup", "psycopg2-binary")
SETTINGS = """
SECRET_KEY = "measured"
INSTALLED_APPS = ["dbbackup"]
USE_TZ = True
DATABASES = {{"default": {{"ENGINE": "django.db.backends.postgresql", **{database!r}}}}}
STORAGES = {{
    "default": {{"BACKEND": "django.core.files.storage.FileSystemStorage"}},
    "staticfiles": {{"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}},
    "dbbackup": {{"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {{"location": {store!r}}}}},
}}
"""


def install_django_dbbackup(folder: Path) -> tuple[Path, str]:
    """Install it into an environment of its own; return its Python and its version.

    Raises:
        Unavailable: it cannot be installed here.
    """
    python = folder / "bin" / "python"
    try:
        venv.create(folder, with_pip=True)
        command: list[str | Path] = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            *PACKAGES,
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=180)
        asked = "from importlib.metadata import version; print(version('django-dbbackup'))"
        said = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True)
    except (OSError, subprocess.SubprocessError) as exc:
        raise Unavailable("django-dbbackup cannot be installed here") from exc
    return python, said.stdout.strip()


@dataclass(frozen=True)
class DjangoProject:
    """A Django project of nothing but settings, all of dbbackup's left at their defaults."""

    folder: Path
    python: Path
    server: Server
    database: str

    def __post_init__(self) -> None:
        self.store.mkdir(parents=True, exist_ok=True)
        login = {"NAME": self.database, "USER": self.server.user, "PASSWORD": self.server.password}
        place = {"HOST": self.server.host, "PORT": str(self.server.port)}
        text = SETTINGS.format(database={**login, **place}, store=str(self.store))
        (self.folder / "measured_settings.py").write_text(text)

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def job(self, command: str = "dbbackup") -> Job:
        environment: Mapping[str, str] = {
            **clean_environment(),
            "PATH": f"{self.server.bin}:{clean_environment().get('PATH', '')}",
            "PYTHONPATH": str(self.folder),
            "DJANGO_SETTINGS_MODULE": "measured_settings",
        }
        argv = [str(self.python), "-m", "django", command, "--noinput"]
        return Job(argv, environment, self.folder)

    def archive_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.store.iterdir() if path.suffix != ".metadata")

    def forget(self) -> None:
        for path in self.store.iterdir():
            path.unlink()
