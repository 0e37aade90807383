"""Files inside a container for a while: laid down private, checked there, gone afterwards.

A keeper holds the folder: a shell inside that waits for the end of its input
and then removes it. Its input ends with our block, and with this process,
however that ends. So does the input of whatever puts something into it, and
nothing that does ever makes the folder itself: once gone it stays gone.
Docker's own copying is no such thing. It makes a folder that is not there, as
root and open to all, and where the image's user is another its keeper could
not remove that.
"""

from __future__ import annotations

import errno
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
from typing import IO, TYPE_CHECKING, BinaryIO, TypeAlias, cast

from ..errors import (
    ArchiveDamaged,
    CommandFailed,
    DbTasksError,
    NotFound,
    OperationFailed,
    StoreFull,
    StoreUnusable,
    ToolMissing,
)
from ..streams import BLOCK_BYTES, HashingReader, HasWrite, pump
from . import Command

if TYPE_CHECKING:
    from .container import ContainerRunner

__all__ = ["Inside", "kept_folder", "readable"]

# The path is an argument, never part of the script. What an earlier life of the container left goes first:
# its keepers were killed with it.
KEEPER = (
    # nobody may be there any more to be told, and that must not end it before it has removed what it made
    "trap '' PIPE; "
    'umask 077; own=$1; for old in "$2"-*; do case $old in "$3"-*) ;;'
    ' *) [ -d "$old" ] && rm -rf "$old" 2>/dev/null ;; esac; done;'
    ' mkdir "$own" || exit 1; echo made && read -r word;'
    # a tool that was told to end at the same moment may still put files there: once is not always enough
    ' tries=0; while rm -rf "$own" 2>/dev/null; [ -e "$own" ]; do tries=$((tries + 1));'
    ' [ "$tries" -lt 30 ] || { rm -rf "$own"; echo stays; exit 0; }; sleep 1; done; echo gone || exit 0'
)
MADE = b"made\n"
STAYS = b"stays\n"
# private from its first byte, and never over anything that is there
TAKE = 'umask 077; set -C; exec cat >"$1"'
# what a header says of owner and time is nothing; both the usual tar and the small images' know these letters
UNPACK = "-xomf"
PLACE = "/tmp/dbtasks"  # noqa: S108 - inside the container; made with a random name and 0700
BLOCK = 512
FULL = ("No space left", "Wrote only")
"""What `cat` and `tar` say of a disk that is full."""
_Member: TypeAlias = tuple[str, int, int, IO[bytes]]
"""Name, size in bytes, time, and the bytes themselves."""
MEMBER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}")


class Inside:
    """A private folder inside the container."""

    def __init__(self, runner: ContainerRunner, path: str) -> None:
        self.path = path
        self._runner = runner

    def put(self, path: Path) -> str:
        """Copy a file, or a folder of files, in; returns where it lies inside.

        Raises:
            ArchiveDamaged: what arrived is not what was sent. StoreFull, OperationFailed: it did not arrive.
        """
        name = path.name if path.is_dir() else _plain(path.name)
        try:
            sums = self._put_folder(path) if path.is_dir() else {name: self._put_file(path, name)}
        except CommandFailed as exc:
            kind = StoreFull if any(sign in exc.details for sign in FULL) else OperationFailed
            raise kind(
                f"a file could not be copied into {self._runner.where}: {exc.message}",
                details=exc.details,
                hint=exc.hint,
            ) from exc
        self._check(sums)
        return f"{self.path}/{name}"

    def write(self, name: str, data: bytes) -> str:
        """Lay down a new file, 0600 from its first byte, by a tool's input; returns where it lies.

        Raises:
            OperationFailed: it did not arrive.
        """
        with self._taking(name) as taker:
            taker.write(data)
        return f"{self.path}/{name}"

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

    def _put_file(self, path: Path, name: str) -> str:
        """Send a file through `cat`; returns its sha256."""
        with _opened(path) as plain, self._taking(name) as taker:
            source = HashingReader(plain)
            pump(source, taker)
        return source.sha256

    def _put_folder(self, path: Path) -> dict[str, str]:
        """Send the files of a folder, in one stream where there is a tar; returns the sha256 of each."""
        files = {f"{path.name}/{_plain(file.name)}": file for file in sorted(path.iterdir())}
        try:
            return self._put_tar(path.name, files)
        except ToolMissing:
            self._runner.run(Command("mkdir", ("-m", "700", f"{self.path}/{path.name}")), announce=False)
            return {name: self._put_file(file, name) for name, file in files.items()}

    def _put_tar(self, folder: str, files: dict[str, Path]) -> dict[str, str]:
        sums: dict[str, str] = {}
        command = Command("tar", (UNPACK, "-", "-C", self.path))
        with self._runner.writing(command, announce=False, watched=False) as taker:
            # thousands of small files are few large pieces on their way
            held = bytearray()
            for piece in self._tar(folder, files, sums):
                held += piece
                if len(held) >= BLOCK_BYTES:
                    taker.write(bytes(held))
                    held.clear()
            _write_last(taker, bytes(held))
        return sums

    def _tar(self, folder: str, files: dict[str, Path], sums: dict[str, str]) -> Iterator[bytes]:
        """Yield a tar of the files, hashing each as it goes; nothing is held in memory."""
        yield _header(folder, 0, folder=True)
        for name, file in files.items():
            with _opened(file) as plain:
                left = size = os.fstat(plain.fileno()).st_size
                yield _header(name, size)
                source = HashingReader(plain)
                while block := source.read(min(BLOCK_BYTES, left)):
                    yield block
                    left -= len(block)
            if left:
                raise OperationFailed(f"{file} changed while it was copied into {self._runner.where}")
            yield b"\0" * (-size % BLOCK)
            sums[name] = source.sha256
        yield b"\0" * (2 * BLOCK)

    @contextmanager
    def _taking(self, name: str) -> Iterator[HasWrite]:
        command = Command("sh", ("-c", TAKE, "sh", f"{self.path}/{name}"))
        with self._runner.writing(command, announce=False, watched=False) as taker:
            yield taker

    def _check(self, sums: dict[str, str]) -> None:
        names = [f"{self.path}/{name}" for name in sums]
        said = self._runner.run(Command("sha256sum", ("--", *names)), announce=False)
        arrived = [line.split()[0].lstrip("\\") for line in said.splitlines()]
        if arrived != list(sums.values()):
            raise ArchiveDamaged(f"what was copied into {self._runner.where} is not what arrived there")


def _write_last(tar: HasWrite, data: bytes) -> None:
    """Write what ends with the mark at which a tar ends by itself, maybe before we have seen that all was taken."""
    try:
        tar.write(data)
    except CommandFailed as exc:
        # what has arrived is compared afterwards
        if exc.returncode != 0:
            raise


def _is_unseen(exc: OperationFailed) -> bool:
    """Whether Docker's own copy missed a folder that is there: it does not see into a tmpfs."""
    return "could not find the file" in f"{exc.message} {exc.details}".lower()


def _header(name: str, size: int, *, folder: bool = False) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o700 if folder else 0o600
    entry.type = tarfile.DIRTYPE if folder else tarfile.REGTYPE
    return entry.tobuf(tarfile.GNU_FORMAT)


def _plain(name: str) -> str:
    return name if MEMBER.fullmatch(name) else "archive"


def _opened(path: Path) -> BinaryIO:
    with readable(path):
        return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say in our words why a file of ours, which may be gone since it was found, cannot be looked at or read.

    Raises:
        NotFound: it is not there. ArchiveDamaged: a link is. StoreUnusable: it cannot be read.
    """
    try:
        yield
    except FileNotFoundError as exc:
        raise NotFound(f"{path} is not there") from exc
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise ArchiveDamaged(f"{path} is a symbolic link, not an archive") from exc
        raise StoreUnusable(f"cannot read {path}: {exc.strerror or exc}") from exc


@contextmanager
def kept_folder(runner: ContainerRunner) -> Iterator[Inside]:
    """Make a 0700 folder inside; it is gone when the block ends, and when this process does.

    One that cannot be removed is told as a warning: what was done with it stands.

    Raises:
        OperationFailed: it cannot be made.
    """
    life = f"{PLACE}-{runner.life}"
    path = f"{life}-{secrets.token_hex(8)}"
    command = Command("sh", ("-c", KEEPER, "sh", path, life.rpartition("-")[0], life))
    with runner.writing(command, output=True, announce=False, watched=False) as keeper:
        if keeper.read_line() != MADE:
            if not keeper.is_in_running_container():
                raise runner.takes_none(keeper.said, was_down=True)
            raise OperationFailed(f"no private folder could be made in {runner.where}", details=keeper.said)
        try:
            yield Inside(runner, path)
        finally:
            # the end of its input is the word to remove the folder
            keeper.close()
            word = keeper.read_line()
            if word == STAYS:
                why = (keeper.said or "it is made again and again").splitlines()[-1]
                runner.warn(f"{path} in {runner.where} could not be removed: {why}")
            elif not word:
                # somebody has ended the keeper: while we live the folder is ours to remove
                with suppress(DbTasksError), runner.impatient():
                    runner.run(Command("rm", ("-rf", path)), announce=False)


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
