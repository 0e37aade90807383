"""What an archive would do to a server, read from the archive itself: never loaded for it.

A custom or directory archive is asked through pg_restore, a script is read; in
both cases what comes is a plain script that goes through the gate.
"""

from __future__ import annotations

import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ....errors import ArchiveDamaged, CommandFailed, VersionMismatch
from ....models import Archive, Format
from ....runners import Command, Runner
from ....schemas import Schema
from ....stores.local import open_archive
from ....streams import HashingReader, HasRead, decompressing
from ..dumping.commands import list_command
from ..public_schema import ROLE, owner_of_public, unquoted
from ..script.gate import Gate
from ..script.head import Head
from ..script.needless import clears
from ..timescale import EXTENSION, without_inside
from .defined_schema import DefinedSchema
from .tarred import unpacked

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = [
    "Contents",
    "Script",
    "definitions_of",
    "is_ownership",
    "list_there",
    "read_contents",
    "read_output",
    "read_statements",
    "script_of",
]

_ROLES = rf"({ROLE}(?:, {ROLE})*)"
_OWNER = re.compile(rf"ALTER .* OWNER TO ({ROLE});", re.DOTALL)
_DEFAULTS = re.compile(
    rf"ALTER DEFAULT PRIVILEGES FOR ROLE ({ROLE}) .* (?:TO|FROM) {_ROLES}[^;,]*;", re.DOTALL
)
_SESSION = re.compile(r"(?:SET SESSION AUTHORIZATION '?(.*?)'?|RESET SESSION AUTHORIZATION);", re.DOTALL)
_GRANT = re.compile(
    rf"(?:GRANT .* TO|REVOKE .* FROM) {_ROLES}(?: WITH GRANT OPTION)?(?: GRANTED BY {ROLE})?;", re.DOTALL
)
_POLICY = re.compile(rf"CREATE POLICY .*? TO {_ROLES}(?= USING| WITH CHECK|;)", re.DOTALL)
_EXTENSION = re.compile(rf"CREATE EXTENSION (?:IF NOT EXISTS )?({ROLE})(?: WITH)?(?: SCHEMA ({ROLE}))?")
_BY_NAME = {"PUBLIC", "public", "CURRENT_USER", "SESSION_USER", "CURRENT_ROLE", "DEFAULT"}


@dataclass
class Contents:
    """What the statements of an archive ask of a server."""

    owners: set[str] = field(default_factory=set)
    """Roles the loading role has to be a member of."""
    public_owner: str = ""
    """Whom the schema `public` is given to, which every database has; empty where it is nobody else's."""
    named: set[str] = field(default_factory=set)
    """Roles that privileges are given to or taken from."""
    in_policies: set[str] = field(default_factory=set)
    """Roles in row-level security policies: needed even where owners and privileges are left out."""
    extensions: dict[str, str] = field(default_factory=dict)
    """Those it creates, with the schema of each; empty where it does not say."""
    server_version: str = ""
    """Of the server it was made from, as its own first lines say; empty where they do not."""
    tool_version: str = ""
    """The same of the pg_dump that made it."""
    cleared: int = 0
    """Statements that would drop what was there before, in front of all that create."""
    created: int = 0
    """Statements that create something: each needs locks until the transaction's end."""
    defined: DefinedSchema = field(default_factory=DefinedSchema)
    schema: Schema = field(default_factory=Schema)
    """What the statements make of an empty database; complete once all were read."""

    def take(self, statement: bytes) -> bool:
        """Learn from one statement; always lets it pass."""
        text = statement.decode(errors="surrogateescape")
        if not self.created and clears(statement):
            self.cleared += 1
            return False
        self.defined.take(text)
        if text.startswith("CREATE "):
            self.created += 1
            if text.startswith("CREATE POLICY ") and (policy := _POLICY.match(text)):
                self.in_policies |= _names(policy[1])
            elif extension := _EXTENSION.match(text):
                self.extensions[unquoted(extension[1])] = unquoted(extension[2] or "")
        elif given := owner_of_public(text):
            self.public_owner = given
        elif owner := _OWNER.fullmatch(text):
            self.owners |= _names(owner[1])
        elif defaults := _DEFAULTS.fullmatch(text):
            self.owners |= _names(defaults[1])
            self.named |= _names(defaults[2])
        elif (session := _SESSION.fullmatch(text)) and session[1]:
            self.owners |= _names(session[1])
        elif grant := _GRANT.fullmatch(text):
            self.named |= _names(grant[1])
        return False


def is_ownership(statement: bytes) -> bool:
    """Whether a statement is about owners or privileges: what --no-owner leaves out."""
    text = statement.decode(errors="surrogateescape")
    return any(kind.fullmatch(text) for kind in (_OWNER, _DEFAULTS, _SESSION, _GRANT))


def _names(text: str) -> set[str]:
    return {unquoted(name) for name in re.findall(ROLE, text) if name not in _BY_NAME}


def read_contents(engine: PostgresEngine, archive: Archive) -> Contents:
    """Read all statements of an archive, without the rows where the format allows.

    Raises:
        VersionMismatch: pg_restore cannot read this archive.
        Refused, ArchiveDamaged: see the gate.
    """
    with definitions_of(engine, archive) as source:
        return read_statements(source)


def read_statements(source: HasRead) -> Contents:
    """Read all statements of a plain script through the gate."""
    contents, head = Contents(), Head(source)
    for _ in Gate(head, leave_out=contents.take):
        pass
    contents.server_version, contents.tool_version = head.versions
    schema = contents.defined.schema(head.spelling)
    contents.schema = without_inside(schema) if EXTENSION in contents.extensions else schema
    return contents


def read_output(runner: Runner, command: Command) -> Contents:
    """Read all statements a tool writes; its end counts only if the tool ended well.

    Raises:
        CommandFailed: it did not.
    """
    with ExitStack() as stack:
        source = stack.enter_context(runner.reading(command))
        return read_statements(_ToItsEnd(source, stack.close))


@contextmanager
def definitions_of(engine: PostgresEngine, archive: Archive) -> Iterator[HasRead]:
    """Open all that an archive defines as a plain SQL script, without the rows where the format allows."""
    if archive.format is Format.SQL:
        with open_archive(archive.path) as file, decompressing(file, archive.compression) as plain:
            yield plain
        return
    with ExitStack() as stack:
        directory = archive.format is Format.DIRECTORY
        path = stack.enter_context(_table_of_contents(archive.path)) if directory else archive.path
        there = stack.enter_context(engine.runner.staged(path))
        arguments = (f"--format={archive.format}", "--schema-only", "--file=-", there)
        try:
            source = stack.enter_context(engine.runner.reading(Command("pg_restore", arguments)))
            yield _ToItsEnd(source, stack.close)
        except CommandFailed as exc:
            raise _unreadable(engine, archive, exc) from exc


@contextmanager
def _table_of_contents(archive: Path) -> Iterator[Path]:
    """Lay down toc.dat alone: all that is needed to read a directory dump's definitions."""
    with tempfile.TemporaryDirectory(prefix="dbtasks-") as name:
        try:
            with open_archive(archive) as file, tarfile.open(fileobj=file, mode="r:") as tar:
                member = next((m for m in tar if m.name.removeprefix("./") == "toc.dat" and m.isreg()), None)
                if member and member.issparse():
                    raise ArchiveDamaged(
                        f"{archive.name} holds a sparse toc.dat, which no directory dump has"
                    )
                source = tar.extractfile(member) if member else None
                if source is None:
                    raise ArchiveDamaged(f"{archive.name} holds no directory dump: toc.dat is missing")
                (Path(name) / "toc.dat").write_bytes(source.read())
        except tarfile.TarError as exc:
            raise ArchiveDamaged(f"{archive.name} is not a whole tar file", details=str(exc)) from exc
        yield Path(name)


def _unreadable(engine: PostgresEngine, archive: Archive, exc: CommandFailed) -> Exception:
    version = engine.runner.version("pg_restore")
    if "unsupported version" in exc.details:
        made_by = f" (made by pg_dump {archive.manifest.tool_version})" if archive.manifest else ""
        return VersionMismatch(
            f"pg_restore {version} ({engine.runner.where}) cannot read {archive.path.name}{made_by}",
            details=exc.details,
            state="nothing was touched",
            hint="install client tools at least as new as those that made it, or set pg_bin to their folder",
        )
    return ArchiveDamaged(f"pg_restore cannot read {archive.path.name}", details=exc.details)


class Script:
    """An archive as a plain SQL script, to be read once."""

    def __init__(self, source: HasRead, prove: Callable[[], None]) -> None:
        self.source = source
        self.prove = prove
        """Called after the end: raises ArchiveDamaged unless the bytes were those of the manifest."""


@contextmanager
def script_of(
    engine: PostgresEngine, archive: Archive, *, skip: Callable[[str], bool] | None = None
) -> Iterator[Script]:
    """Open the whole archive as a plain SQL script.

    `skip` is shown each line of the table of contents, where there is one, and says what is not to be unpacked.
    """
    if archive.format is Format.SQL:
        with open_archive(archive.path) as file:
            hashing = HashingReader(file)
            with decompressing(hashing, archive.compression) as plain:
                yield Script(plain, lambda: _prove_sha256(archive, hashing))
        return
    with ExitStack() as stack:
        directory = archive.format is Format.DIRECTORY
        path = stack.enter_context(unpacked(archive.path)) if directory else archive.path
        there = stack.enter_context(engine.runner.staged(path))
        arguments = [f"--format={archive.format}", "--file=-"]
        if skip is not None:
            listed = engine.runner.run(list_command(there, archive.format)).splitlines(keepends=True)
            chosen = "".join(line for line in listed if not skip(line))
            arguments.append(f"--use-list={stack.enter_context(list_there(engine, chosen))}")
        source = stack.enter_context(engine.runner.reading(Command("pg_restore", (*arguments, there))))
        yield Script(_ToItsEnd(source, stack.close), lambda: None)


@contextmanager
def list_there(engine: PostgresEngine, listed: str) -> Iterator[str]:
    """Lay a table of contents down where pg_restore finds it."""
    with tempfile.TemporaryDirectory(prefix="dbtasks-") as name:
        path = Path(name) / "list"
        path.write_text(listed, encoding="utf-8", errors="surrogateescape")
        with engine.runner.staged(path) as there:
            yield there


class _ToItsEnd:
    """The output of a tool whose end is an end only if the tool ended well."""

    def __init__(self, source: HasRead, leave: Callable[[], None]) -> None:
        self._source = source
        self._leave = leave

    def read(self, size: int = -1) -> bytes:
        """Read; at the end raises CommandFailed unless the tool exited 0."""
        block = self._source.read(size)
        if not block:
            self._leave()
        return block


def _prove_sha256(archive: Archive, hashing: HashingReader) -> None:
    hashing.drain()
    if archive.expected_sha256 and hashing.sha256 != archive.expected_sha256:
        than = "its manifest describes" if archive.manifest else "the plan was made from"
        raise ArchiveDamaged(f"{archive.path.name} is not the file {than}: the sha256 differs")
