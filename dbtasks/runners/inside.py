"""Files inside a container for a while: laid down private, checked there, gone afterwards.

A keeper holds the folder: a shell inside that waits for the end of its input
and then removes it. Its input ends with our block, and with this process,
however that ends.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias, cast

from ..errors import ArchiveDamaged, CommandFailed, DbTasksError, OperationFailed, StoreFull
from ..streams import BLOCK_BYTES, HashingReader, HasWrite, pump
from . import Command

if TYPE_CHECKING:
    from .container import ContainerRunner

__all__ = ["Inside", "kept_folder"]

# The path is an argument, never part of the script. What an earlier life of the container left goes first:
# its keepers were killed with it.
KEEPER = (
    # nobody may be there any more to be told, and that must not end it before it has removed what it made
    "trap '' PIPE; "
    'umask 077; own=$1; for old in "$2"-*; do case $old in "$3"-*) ;;'
    ' *) [ -d "$old" ] && rm -rf "$old" 2>/dev/null ;; esac; done;'
    ' mkdir "$own" && echo "$(id -u) $(id -g)" && read -r word;'
    # a tool that was told to end at the same moment may still put files there: once is not enough. And where
    # nobody says that all is over, Docker may be unpacking into it, and makes the folder anew for what comes next
    ' for try in 1 2 3 4 5 6 7 8; do rm -rf "$own"; [ "$word" = over ] || [ "$try" -gt 3 ] && [ ! -e "$own" ] && exit 0;'
    " sleep 1; done; exit 1"
)
OVER = b"over\n"
# private from its first byte, and never over anything that is there
TAKE = 'umask 077; set -C; cat >"$1"'
PLACE = "/tmp/dbtasks"  # noqa: S108 - inside the container; made with a random name and 0700
BLOCK = 512
_Member: TypeAlias = tuple[str, int, int, IO[bytes]]
"""Name, size in bytes, time, and the bytes themselves."""
MEMBER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}")


class Inside:
    """A private folder inside the container."""

    def __init__(self, runner: ContainerRunner, path: str, owner: tuple[int, int]) -> None:
        self.path = path
        self._runner = runner
        self._owner = owner
        self.is_unpacking = False
        """A copy was broken off: Docker may not have noticed yet."""

    def put(self, path: Path) -> str:
        """Copy a file, or a folder of files, in; returns where it lies inside.

        Raises:
            ArchiveDamaged: what arrived is not what was sent. StoreFull, OperationFailed: it did not arrive.
        """
        from docker.errors import APIError

        files = sorted(path.iterdir()) if path.is_dir() else [path]
        sums: dict[str, str] = {}
        try:
            self.is_unpacking = True
            self._runner.put_tar(self.path, self._tar(path, files, sums))
            self.is_unpacking = False
        except OperationFailed as exc:
            # only Docker's own answer says that it is done with it
            self.is_unpacking = not isinstance(exc.__cause__, APIError)
            if not _is_unseen(exc):
                raise
            sums = self._sent(path, files)
        self._check(sums)
        return f"{self.path}/{path.name if path.is_dir() else _plain(path.name)}"

    def write(self, name: str, data: bytes) -> str:
        """Lay down a new file, 0600 from its first byte, by a tool's input; returns where it lies.

        Raises:
            OperationFailed: it did not arrive.
        """
        path = f"{self.path}/{name}"
        command = Command("sh", ("-c", TAKE, "sh", path))
        with self._runner.writing(command, announce=False, watched=False) as file:
            file.write(data)
        return path

    def pack(self, sink: HasWrite) -> None:
        """Write the files of the folder `dump` inside as one flat tar, as Docker streams them out."""
        # left open, Docker's answer would block every other question about this container for a minute
        with closing(self._runner.get_tar(f"{self.path}/dump")) as blocks:
            try:
                members = self._copied(chain([next(blocks)], blocks))
            except OperationFailed as exc:
                if not _is_unseen(exc):
                    raise
                members = self._read()
            self._write_flat(members, sink)

    def _write_flat(self, members: Iterator[_Member], sink: HasWrite) -> None:
        with tarfile.open(fileobj=sink, mode="w|", bufsize=BLOCK_BYTES, format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
            for name, size, mtime, stream in members:
                if not MEMBER.fullmatch(name):
                    raise OperationFailed(f"{name!r} is no file of a directory dump")
                flat = tarfile.TarInfo(name)
                flat.size, flat.mtime, flat.mode = size, mtime, 0o600
                tar.addfile(flat, stream)

    def _copied(self, blocks: Iterator[bytes]) -> Iterator[_Member]:
        """Yield the files of the dump out of Docker's own copy."""
        with tarfile.open(fileobj=_Blocks(blocks), mode="r|", bufsize=BLOCK_BYTES) as inner:
            for member in inner:
                stream = inner.extractfile(member) if member.isreg() else None
                if stream is not None:
                    yield member.name.rpartition("/")[2], member.size, int(member.mtime), stream

    def _read(self) -> Iterator[_Member]:
        """Yield the files of the dump one by one, through `cat`."""
        folder = f"{self.path}/dump"
        listed = self._runner.run(Command("ls", ("-ln", folder)), announce=False).splitlines()
        for words in (line.split() for line in listed if line.startswith("-")):
            with self._runner.reading(Command("cat", (f"{folder}/{words[-1]}",))) as stream:
                yield words[-1], int(words[4]), int(time.time()), cast(IO[bytes], stream)

    def _sent(self, path: Path, files: list[Path]) -> dict[str, str]:
        """Send the files one by one through `cat`; returns the sha256 of each."""
        prefix, sums = "", {}
        try:
            if path.is_dir():
                prefix = f"{path.name}/"
                self._runner.run(Command("mkdir", ("-m", "700", f"{self.path}/{path.name}")), announce=False)
            for file in files:
                name = f"{prefix}{_plain(file.name)}"
                command = Command("sh", ("-c", TAKE, "sh", f"{self.path}/{name}"))
                descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
                with (
                    os.fdopen(descriptor, "rb") as plain,
                    self._runner.writing(command, announce=False, watched=False) as taker,
                ):
                    source = HashingReader(plain)
                    pump(source, taker)
                sums[name] = source.sha256
        except CommandFailed as exc:
            kind = StoreFull if "No space left" in exc.details else OperationFailed
            raise kind(f"a file could not be copied into {self._runner.where}", details=exc.details) from exc
        return sums

    def _tar(self, path: Path, files: list[Path], sums: dict[str, str]) -> Iterator[bytes]:
        """Yield a tar of the files, hashing each as it goes; nothing is held in memory."""
        prefix = f"{path.name}/" if path.is_dir() else ""
        if prefix:
            yield self._header(prefix.rstrip("/"), 0, folder=True)
        for file in files:
            name = f"{prefix}{_plain(file.name)}"
            digest = hashlib.sha256()
            descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            with os.fdopen(descriptor, "rb") as stream:
                size = os.fstat(descriptor).st_size
                yield self._header(name, size)
                sent = 0
                while block := stream.read(min(BLOCK_BYTES, size - sent)):
                    digest.update(block)
                    sent += len(block)
                    yield block
            if sent != size:
                raise OperationFailed(f"{file} changed while it was copied into {self._runner.where}")
            yield b"\0" * (-size % BLOCK)
            sums[name] = digest.hexdigest()
        yield b"\0" * (2 * BLOCK)

    def _header(self, name: str, size: int, *, folder: bool = False) -> bytes:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o700 if folder else 0o600
        entry.type = tarfile.DIRTYPE if folder else tarfile.REGTYPE
        entry.uid, entry.gid = self._owner
        return entry.tobuf(tarfile.GNU_FORMAT)

    def _check(self, sums: dict[str, str]) -> None:
        names = [f"{self.path}/{name}" for name in sums]
        said = self._runner.run(Command("sha256sum", ("--", *names)), announce=False)
        arrived = [line.split()[0].lstrip("\\") for line in said.splitlines()]
        if arrived != list(sums.values()):
            raise ArchiveDamaged(f"what was copied into {self._runner.where} is not what arrived there")


def _is_unseen(exc: OperationFailed) -> bool:
    """Whether Docker's own copy missed a folder that is there: it does not see into a tmpfs."""
    return "could not find the file" in f"{exc.message} {exc.details}".lower()


def _plain(name: str) -> str:
    return name if MEMBER.fullmatch(name) else "archive"


@contextmanager
def kept_folder(runner: ContainerRunner) -> Iterator[Inside]:
    """Make a 0700 folder inside; it is gone when the block ends, and when this process does.

    Raises:
        OperationFailed: it cannot be made.
    """
    life = f"{PLACE}-{runner.life}"
    path = f"{life}-{secrets.token_hex(8)}"
    command = Command("sh", ("-c", KEEPER, "sh", path, life.rpartition("-")[0], life))
    with runner.writing(command, output=True, announce=False, watched=False) as keeper:
        line = keeper.read_line().split()
        if len(line) != 2:
            raise OperationFailed(f"no private folder could be made in {runner.where}", details=keeper.said)
        inside = Inside(runner, path, (int(line[0]), int(line[1])))
        try:
            yield inside
        finally:
            if not inside.is_unpacking:
                with suppress(DbTasksError):
                    keeper.write(OVER)
            # the end of its input is the word to remove the folder; a keeper that is killed instead leaves it
            keeper.close()


class _Blocks(io.RawIOBase):
    """An iterator of bytes as something tarfile can read."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = block
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
