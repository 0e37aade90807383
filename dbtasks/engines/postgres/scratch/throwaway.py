"""A PostgreSQL server of our own for one run: from the binaries of this machine, in a private folder, gone afterwards.

It listens on a socket in a 0700 folder and nowhere else, so it trusts whoever
gets there. Nothing in it is worth an fsync.

What it is given to load was written by others, and it runs on this machine: it
is loaded by a plain role, which can neither run programs nor read or write
files. The superuser makes that role and the ones a backup names, nothing else.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ....errors import CannotReach, CommandFailed, OperationFailed, RouteUnavailable, StoreFull, ToolMissing
from ....events import OnEvent, Phase
from ....interrupts import held_back
from ....models import Archive, Format, PostgresTarget
from ....rows.comparison.held import HeldRows
from ....runners import Command
from ....runners.host import HostRunner
from ....runners.private import private_folder
from ....sessions import ConnectOptions, connect
from ....settings import Settings
from ....stores.drafts import claim_draft, discard_draft, drafts_in, open_draft
from ....stores.proofs import PROOFS, is_marked, proofs_folder
from ... import Scratch
from .. import PostgresEngine
from ..access import HostAccess
from ..archive.contents import read_contents
from ..last_words import disk_full
from .database import said_so, scratch

__all__ = ["ROOM_BYTES", "Binaries", "Throwaway", "find_binaries", "starting", "sweep_servers"]

PROGRAMS = ("initdb", "postgres", "pg_restore", "psql")
PACKAGED = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
)
"""Where the usual packages put a server, which is not on the PATH there."""
SUPERUSER = "dbtasks_throwaway"
LOADER = "dbtasks_loader"
OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": "5432",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "autovacuum": "off",
    "max_connections": "60",
    # a script is loaded in one transaction, which holds a lock for each table
    "max_locks_per_transaction": "1024",
    "shared_buffers": "64MB",
    "maintenance_work_mem": "64MB",
    # shared memory as files in the folder: it goes with it
    "dynamic_shared_memory_type": "mmap",
    "jit": "off",
    "lc_messages": "C",
    "logging_collector": "off",
    "log_min_messages": "fatal",
    "log_min_error_statement": "panic",
}
ROOM_BYTES = 400 << 20
"""Beside the tables: the server's own files and its log."""
START_SECONDS = 60.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05
TAIL_BYTES = 4000


@dataclass(frozen=True)
class Binaries:
    """A folder that holds a whole PostgreSQL server and the tools that load it."""

    folder: Path
    major: int


def find_binaries(settings: Settings, major: int) -> Binaries:
    """Return the oldest server of this machine that can hold a backup of this major version.

    Raises:
        RouteUnavailable: none can be run here. ToolMissing: there is none that new.
    """
    if os.name != "posix":
        raise RouteUnavailable("a throwaway server needs Unix sockets, which are not used on this system")
    if os.geteuid() == 0:
        raise RouteUnavailable(
            "a throwaway server cannot be started: PostgreSQL's server does not run as root",
            hint="run this as an ordinary user",
        )
    found: list[Binaries] = []
    for folder in _folders(settings):
        with suppress(ToolMissing, OperationFailed):
            runner = HostRunner(pg_bin=folder)
            versions = {runner.version(name).major for name in PROGRAMS}
            found.append(Binaries(folder, min(versions)))
    fitting = [one for one in found if one.major >= major]
    if fitting:
        return min(fitting, key=lambda one: one.major)
    there = ", ".join(sorted({str(one.major) for one in found}))
    where = f"in pg_bin ({settings.pg_bin})" if settings.pg_bin else "on this machine"
    raise ToolMissing(
        f"no PostgreSQL server of version {major} or later was found {where} to start a throwaway one from"
        + (f", only {there}" if there else ""),
        hint="install PostgreSQL's server, or set pg_bin to the folder that has initdb and postgres",
    )


def _folders(settings: Settings) -> list[Path]:
    """List the folders in which all programs lie; only pg_bin where that is set."""
    if settings.pg_bin:
        candidates = [settings.pg_bin]
    else:
        named = [shutil.which(name) for name in ("postgres", "initdb", "pg_dump")]
        places = [Path(name) for name in named if name]
        candidates = [place for path in places for place in (path.parent, path.resolve().parent)]
        candidates += [folder for pattern in PACKAGED for folder in sorted(Path("/").glob(pattern))]
    whole = [
        folder for folder in candidates if all(shutil.which(name, path=str(folder)) for name in PROGRAMS)
    ]
    return list(dict.fromkeys(whole))


class Throwaway:
    """The running server."""

    def __init__(self, settings: Settings, sockets: Path, major: int, on_event: OnEvent) -> None:
        self.major = major
        self._settings = settings
        self._superuser = PostgresTarget("postgres", host=str(sockets), user=SUPERUSER)
        self._on_event = on_event

    @contextmanager
    def scratch(self, archive: Archive) -> Iterator[Scratch]:
        """Load an archive into a database of its own; see `engines.Scratch`.

        Raises:
            As `Engine.scratch`.
        """
        target = replace(self._superuser, user=LOADER)
        access = HostAccess(target, self._settings, why="a throwaway server", on_event=self._on_event)
        with closing(access):
            engine = PostgresEngine(target, self._settings, access=access)
            # of policies and their roles a rows backup holds nothing
            if archive.format is not Format.ROWS:
                with said_so(archive):
                    self._make_roles(engine, archive)
            # what it makes goes with it: nobody has to be told
            with scratch(engine, archive, self._on_event, marked=False) as loaded:
                yield _Here(self.major, loaded)

    def make_loader(self) -> None:
        """Make the role that loads."""
        self._run(f"CREATE ROLE {LOADER} LOGIN CREATEDB BYPASSRLS")

    def answers(self) -> bool:
        """Whether it takes connections yet."""
        try:
            self._run("SELECT 1")
        except CannotReach:
            return False
        return True

    def _make_roles(self, engine: PostgresEngine, archive: Archive) -> None:
        """Make the roles that policies name: they come with their tables, whoever owns these."""
        from psycopg2 import sql

        names = sorted(read_contents(engine, archive).in_policies)
        options = ConnectOptions()
        with connect(self._superuser, database="postgres", options=options) as session:
            there = {
                name for (name,) in session.rows("SELECT rolname::text AS name FROM pg_catalog.pg_roles")
            }
            for name in names:
                if name not in there:
                    session.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(name)))

    def _run(self, statement: str) -> None:
        with connect(self._superuser, database="postgres", options=ConnectOptions()) as session:
            session.execute(statement)


class _Here:
    """What was loaded, in words that say where."""

    def __init__(self, major: int, loaded: Scratch) -> None:
        self.where = f"a throwaway server on this machine (PostgreSQL {major})"
        self.began = loaded.began
        self._loaded = loaded

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._loaded.warnings

    def counts(self) -> dict[str, int]:
        return self._loaded.counts()

    def problems(self) -> tuple[str, ...]:
        return self._loaded.problems()

    def held_rows(self) -> AbstractContextManager[HeldRows]:
        return self._loaded.held_rows()


@contextmanager
def starting(settings: Settings, binaries: Binaries, on_event: OnEvent) -> Iterator[Throwaway]:
    """Start a server, and stop and remove it when the block ends, however it ends.

    Raises:
        RouteUnavailable: it did not start; details say why. StoreFull: no space left.
    """
    home = proofs_folder(settings.backup_dir)
    # nothing of the configured server's login is this one's
    own = replace(settings, pg_bin=binaries.folder, libpq={}, maintenance_db=None, wait=0)
    on_event(Phase("start", f"a throwaway server, PostgreSQL {binaries.major}"))
    with ExitStack() as stack:
        folder = stack.enter_context(open_draft(home)).folder
        sockets = stack.enter_context(private_folder())
        _make_cluster(binaries, folder, on_event)
        process = stack.enter_context(_running(binaries, folder, sockets))
        server = Throwaway(own, sockets, binaries.major, on_event)
        _await(server, process, folder)
        server.make_loader()
        yield server


def _make_cluster(binaries: Binaries, folder: Path, on_event: OnEvent) -> None:
    arguments = (
        f"--pgdata={folder / 'data'}",
        f"--username={SUPERUSER}",
        "--auth-local=trust",
        "--auth-host=reject",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
        "--no-instructions",
    )
    try:
        HostRunner(pg_bin=binaries.folder, on_event=on_event).run(Command("initdb", arguments))
    except CommandFailed as exc:
        raise _not_made(exc.details) from exc


@contextmanager
def _running(binaries: Binaries, folder: Path, sockets: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server; it inherits no lock, so that the folder of a killed run is known as dead whatever it does."""
    options = {**OPTIONS, "unix_socket_directories": str(sockets)}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    process: subprocess.Popen[bytes] | None = None
    try:
        with (folder / "log").open("wb") as log, held_back():
            process = subprocess.Popen(
                [str(binaries.folder / "postgres"), "-D", str(folder / "data"), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**_surroundings(), "LC_ALL": "C"},
                start_new_session=True,
            )
        yield process
    except OSError as exc:
        if process is None:
            raise _not_made(str(exc.strerror)) from exc
        raise
    finally:
        if process is not None:
            with held_back():
                _stop(process)


def _surroundings() -> dict[str, str]:
    names = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in names if name in os.environ}


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End it at once: what it holds is thrown away."""
    process.send_signal(signal.SIGQUIT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await(server: Throwaway, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not server.answers():
        if process.poll() is not None or time.monotonic() > deadline:
            said = (folder / "log").read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip()
            raise _not_made(said)
        time.sleep(POLL_SECONDS)


def _not_made(said: str) -> StoreFull | RouteUnavailable:
    message = "a throwaway server could not be started"
    if disk_full(said):
        return StoreFull(f"{message}: no space left", details=said, hint="free some space")
    return RouteUnavailable(message, details=said)


def sweep_servers(root: Path) -> None:
    """Remove the folders that killed proofs left in a store, and end the servers that still run in them.

    What tells of a database on the configured server stays until that is gone.
    """
    for folder in drafts_in(root / PROOFS):
        lock = claim_draft(folder)
        if lock is not None and is_marked(folder):
            os.close(lock)
        elif lock is not None:
            _end_orphan(folder / "data")
            discard_draft(folder, lock)


def _end_orphan(data: Path) -> None:
    """End the server that works in a dead run's folder.

    A number may be another process' by now, so it has to be at home there. Where that cannot be seen, the
    server ends by itself: once a minute it looks whether its folder is still its own.
    """
    with suppress(OSError, ValueError):
        pid = int((data / "postmaster.pid").read_text().split("\n")[0])
        at_home, deadline = Path(f"/proc/{pid}/cwd"), time.monotonic() + STOP_SECONDS
        if at_home.samefile(data):
            os.kill(pid, signal.SIGQUIT)
        while at_home.samefile(data) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
