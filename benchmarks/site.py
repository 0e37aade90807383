"""Everything a run needs, made when it is first asked for: servers, databases, projects."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any

from . import postgres_data, sqlite_data
from .containers import running_container
from .peers import install_django_dbbackup
from .project import Project, clean_environment
from .servers import Server, Unavailable, installation, running_server

__all__ = ["SMALL_SCALE", "Site"]

SMALL_SCALE = 0.006
"""A database of about 15 MB."""
SHARES = {"shop": 1, "tenth": 10, "fiftieth": 50}
"""By what the scale is divided for a database of that name."""
SQLITE_SHARE = 0.9


class Site:
    """A temporary folder with all that lives in it; gone, servers too, when the block ends."""

    def __init__(self, scale: float, say: Callable[[str], object]) -> None:
        self.scale = scale
        self.say = say
        self.versions: dict[str, str] = {}
        """What was measured with, for the page."""
        self._held = ExitStack()
        self._made: dict[str, Any] = {}

    def __enter__(self) -> Site:
        self.folder = Path(tempfile.mkdtemp(prefix="dbtasks-bench-"))
        self._held.callback(shutil.rmtree, self.folder, ignore_errors=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Make something once; what is not on this machine is not looked for again."""
        if name not in self._made:
            try:
                self._made[name] = make()
            except Unavailable as exc:
                self._made[name] = exc
        made = self._made[name]
        if isinstance(made, Unavailable):
            raise made
        return made

    def hold(self, context: Any) -> Any:
        """Enter a context that lasts as long as the site."""
        return self._held.enter_context(context)

    # -- PostgreSQL ------------------------------------------------------------------

    @property
    def server(self) -> Server:
        """PostgreSQL 17, whose tools have zstd."""

        def start() -> Server:
            server: Server = self.hold(running_server(17, self.scale))
            self.versions["PostgreSQL"] = server.version
            return server

        return self.once("server", start)  # type: ignore[no-any-return]

    @property
    def plain_tools(self) -> Path:
        """Client tools without zstd; newer than the server, which they may be."""
        tools = installation(18) / "bin"
        said = subprocess.run([tools / "pg_dump", "--version"], check=True, capture_output=True, text=True)
        self.versions["client tools without zstd"] = said.stdout.split()[-1]
        return tools

    def database(self, name: str) -> str:
        """Build a database of the host's server: `shop`, `tenth`, `fiftieth`, `small`, `many`, `letters` or `wide`."""
        return str(self.once(f"database {name}", lambda: self._build(name)))

    def _build(self, name: str) -> str:
        self.server.create(name)
        scales = {name: self.scale / share for name, share in SHARES.items()} | {"small": SMALL_SCALE}
        with closing(self.server.connect(name)) as connection:
            if name in scales:
                size = postgres_data.build_shop(connection, scales[name])
            elif name == "letters":
                size = postgres_data.build_letters(connection, self.scale)
            else:
                build = postgres_data.build_many if name == "many" else postgres_data.build_wide
                size = build(connection)
        self.say(f"  built {name}: {size / 1e6:,.0f} MB")
        return name

    def script(self, path: Path, name: str, *flags: str) -> None:
        """Write a plain dump of a database of the host's server."""
        database = self.database(name)
        environment = {**clean_environment(), **self.server.environment(database)}
        subprocess.run(
            [self.server.bin / "pg_dump", f"--file={path}", *flags],
            env=environment,
            check=True,
            capture_output=True,
        )

    # -- PostgreSQL in a container ------------------------------------------------------

    def boxed(self, name: str) -> tuple[Server, str]:
        """Bring a database of the host's server into the container's; return that server and the container's name."""
        server, container = self.once("container", lambda: self.hold(running_container(17, self.scale)))
        self.once(f"boxed {name}", lambda: self._carry(self.database(name), server))
        return server, container

    def _carry(self, name: str, server: Server) -> None:
        server.create(name)
        tools, archive = self.server.bin, self.folder / "carried.dump"
        for reached, tool, *arguments in (
            (self.server, "pg_dump", "-Fc", "--compress=zstd:1", f"--file={archive}"),
            (server, "pg_restore", "--jobs=2", f"--dbname={name}", str(archive)),
        ):
            environment = {**clean_environment(), **reached.environment(name)}
            subprocess.run([tools / tool, *arguments], env=environment, check=True, capture_output=True)
        archive.unlink()
        server.run("VACUUM ANALYZE", name)
        self.say(f"  carried {name} into the container")

    # -- peers ------------------------------------------------------------------------

    @property
    def django_python(self) -> Path:
        """A Python with django-dbbackup."""

        def install() -> Path:
            python, version = install_django_dbbackup(self.folder / "django")
            self.versions["django-dbbackup"] = version
            return python

        return self.once("django", install)  # type: ignore[no-any-return]

    # -- SQLite ----------------------------------------------------------------------

    def file(self, name: str) -> Path:
        """Build a SQLite database: `shop`, `tenth` or `wide`."""
        return Path(self.once(f"file {name}", lambda: self._build_file(name)))

    def _build_file(self, name: str) -> Path:
        path = self.folder / f"{name}.db"
        scales = {"shop": self.scale * SQLITE_SHARE, "tenth": self.scale * SQLITE_SHARE / 10}
        wide = name not in scales
        size = sqlite_data.build_wide(path) if wide else sqlite_data.build_shop(path, scales[name])
        self.say(f"  built {path.name}: {size / 1e6:,.0f} MB")
        return path

    # -- host projects ----------------------------------------------------------------

    def project(self, url: str, pg_bin: Path | None = None, **more: str) -> Project:
        """Return a host project of its own."""
        number = len([entry for entry in self.folder.iterdir() if entry.is_dir()])
        return Project(self.folder / f"project{number}", url, pg_bin, more)
