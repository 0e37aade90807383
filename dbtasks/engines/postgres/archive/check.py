"""Checking an archive: every byte of it is read, by pg_restore or by us.

`pg_restore --list` is never enough: of 405 damaged files it noticed none,
because it reads the table of contents only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ....errors import ArchiveDamaged, CommandFailed, DbTasksError, VersionMismatch, WrongEngine
from ....events import OnEvent, Phase
from ....formats import sniff
from ....models import Archive, Compression, Format
from ....plans import Checked
from ....runners import Runner
from ....stores.files import open_archive
from ....streams import BLOCK_BYTES, decompressing, pump
from ..dumping.commands import list_command, read_command
from .tarred import unpacked

__all__ = ["check_archive"]

HEAD = re.compile(rb"^\\restrict ([A-Za-z0-9]+)\r?\n", re.MULTILINE)
TAIL = re.compile(
    rb"\n--\r?\n-- PostgreSQL database dump complete\r?\n--\s*(?:\\unrestrict ([A-Za-z0-9]+)\s*)?\Z"
)
HEAD_BYTES = TAIL_BYTES = 4096
PART = re.compile(r"\d+;")
HALVES_FROM_BYTES = 16 << 20
"""Smaller ones are read before a second tool has started."""


def check_archive(runner: Runner, archive: Archive, on_event: OnEvent) -> Checked:
    """Read an archive's inside to its end; its checksum is somebody else's business.

    Raises:
        ArchiveDamaged: it is cut, or cannot be read to its end.
        WrongEngine: it is another kind of file. ToolMissing: pg_restore is not there.
        VersionMismatch: pg_restore is older than the archive, or lacks its codec.
    """
    on_event(Phase("verify", archive.path.name))
    format_, compression = sniff(archive.path)
    if format_ is not archive.format:
        kind = WrongEngine if format_ is Format.SQLITE else ArchiveDamaged
        raise kind(f"{archive.path.name} holds a {format_} archive, not a {archive.format} one")
    if format_ is Format.SQL:
        return _check_sql(archive.path, compression)
    if compression is not Compression.NONE:
        raise ArchiveDamaged(f"{archive.path.name} is a {compression} file around a {format_} archive")
    if format_ is Format.CUSTOM:
        _read(runner, archive.path, format_, archive.path.name)
        return Checked("pg_restore read the archive to its end")
    with unpacked(archive.path) as folder:
        _read(runner, folder, format_, archive.path.name)
    return Checked("tar read to its end, pg_restore read the directory to its end")


def _read(runner: Runner, path: Path, format_: Format, name: str) -> None:
    try:
        if format_ is Format.CUSTOM and not runner.sees_our_files and _read_from_stdin(runner, path):
            return
        with runner.staged(path) as there:
            if runner.sees_our_files and _size(path) >= HALVES_FROM_BYTES:
                _read_halves(runner, there, format_)
            else:
                runner.run(read_command(format_, there))
    except CommandFailed as exc:
        raise _unreadable(runner, exc, name) from exc


def _size(path: Path) -> int:
    return sum(inner.stat().st_size for inner in path.iterdir()) if path.is_dir() else path.stat().st_size


def _read_halves(runner: Runner, archive: str, format_: Format) -> None:
    """Let two tools read one half of the parts each, every part in just one of them: unpacking takes one core each.

    Each of them skips what is the other's without unpacking it.
    """
    listed = runner.run(list_command(archive, format_))
    parts = [line.partition(";")[0] for line in listed.splitlines() if PART.match(line)]
    with ThreadPoolExecutor(2, "dbtasks-check") as pool:
        halves = [pool.submit(_read_parts, runner, archive, format_, parts[start::2]) for start in (0, 1)]
        # a failure is that of the first half that failed; the other one ends by itself
        for half in halves:
            half.result()


def _read_parts(runner: Runner, archive: str, format_: Format, parts: Sequence[str]) -> None:
    with runner.writing(read_command(format_, archive, only="/dev/stdin")) as tool:
        tool.write("".join(f"{part};\n" for part in parts).encode())


def _read_from_stdin(runner: Runner, path: Path) -> bool:
    """Send a custom archive to pg_restore: no room is needed where it runs, and it reads while we send.

    Returns False for an archive that cannot be read without going back: one whose parts are not in
    the order of its table of contents, which pg_dump does not write.
    """
    try:
        with open_archive(path) as source, runner.writing(read_command(Format.CUSTOM)) as sink:
            pump(source, sink)
    except CommandFailed as exc:
        if "non-seekable" in exc.details:
            return False
        # it ends by itself once it has read the last part, maybe before we have said that nothing more comes
        if exc.returncode != 0:
            raise
    return True


def _unreadable(runner: Runner, exc: CommandFailed, name: str) -> DbTasksError:
    version = runner.version("pg_restore")
    said = exc.details.lower()
    if "unsupported version" in said:
        return VersionMismatch(
            f"pg_restore {version} ({runner.where}) is older than the pg_dump that wrote {name}",
            details=exc.details,
            hint="install client tools as new as the server the backup came from, or set pg_bin to their folder",
        )
    if "does not support compression" in said or "compression not supported" in said:
        return VersionMismatch(
            f"pg_restore {version} ({runner.where}) was built without the codec of {name}",
            details=exc.details,
            hint="set pg_bin to client tools that have it",
        )
    return ArchiveDamaged(f"pg_restore cannot read {name} to its end", details=exc.details)


def _check_sql(path: Path, compression: Compression) -> Checked:
    """Decompress to the end and demand the last lines pg_dump writes, as the very last ones.

    A file cut inside COPY rows, or whose dump broke off, does not end so.
    """
    head = tail = b""
    with open_archive(path) as stream, decompressing(stream, compression) as plain:
        while block := plain.read(BLOCK_BYTES):
            head = (head + block)[:HEAD_BYTES] if len(head) < HEAD_BYTES else head
            tail = (tail + block)[-TAIL_BYTES:]
    complete = TAIL.search(tail)
    if complete is None:
        raise ArchiveDamaged(
            f"{path.name} ends before its end: pg_dump's last lines are missing",
            hint="it was cut, or pg_dump did not make it: without them nobody can tell; make the dump again",
        )
    opened = HEAD.search(head)
    if (opened.group(1) if opened else None) != complete.group(1):
        raise ArchiveDamaged(f"{path.name} was put together from two dumps: its \\restrict keys differ")
    codec = "" if compression is Compression.NONE else f"{compression} decompressed to its end, "
    return Checked(f"{codec}pg_dump's last lines are there")
