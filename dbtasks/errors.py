"""Every error dbtasks raises on purpose.

The tree, with the exit code a task ends with:

DbTasksError                  1
├─ SettingsError              2   a key, a value, a flag or a folder is wrong
│  ├─ UsageError              2   this call cannot be meant
│  ├─ MissingExtra            2   an optional package is not installed
│  └─ StoreUnusable           2   the backup folder cannot be written or trusted
├─ CannotReach                3   the way to the database is blocked
│  ├─ TargetUnreachable       3   no answer from the server, or no such file
│  │  ├─ DatabaseMissing      3   the server is there, the database is not
│  │  └─ CommitInDoubt        3   the server went away over a COMMIT: nobody knows what came of it
│  ├─ LoginRefused            3   wrong user, password or pg_hba entry
│  ├─ RouteUnavailable        3   no container, no tools
│  │  ├─ ContainerStopped     3   the database's container is there and takes no commands
│  │  └─ RouteRefused         3   it is not certain what is meant: no other way is taken instead
│  ├─ ToolMissing             3   pg_dump and friends are not there
│  ├─ VersionMismatch         3   tool, server, archive or extension do not fit together
│  └─ RightMissing            3   the role may not do what is needed
├─ NotFound                   4   no such backup
├─ Damaged                    5   bytes or rows are not what they should be
│  ├─ ArchiveDamaged          5   checksum, cut, unreadable
│  └─ CountsDiffer            5   loaded rows do not equal the manifest's
├─ Refused                    6   possible, but not without a clear word from a person
│  ├─ NeedsConfirmation       6   nobody is there to ask
│  ├─ Declined                6   the answer was no
│  └─ WrongEngine             6   the file belongs to another kind of database
├─ Busy                       7   a lock is held by somebody else
├─ OperationFailed            9   a dump, a load or a copy broke off
│  ├─ CommandFailed           9   a client tool ended badly
│  ├─ QueryFailed             9   the server turned a statement down
│  ├─ DumpFailed              9
│  ├─ LoadFailed              9
│  ├─ StoreFull               9   no space left
│  └─ AlreadyExists           9   archives are never overwritten
└─ Interrupted                130 Ctrl-C or SIGTERM

Code 8 (done with losses) and 10 (differences, unhealthy) belong to results, not to errors.
"""

from __future__ import annotations

__all__ = [
    "AlreadyExists",
    "ArchiveDamaged",
    "Busy",
    "CannotReach",
    "CommandFailed",
    "CommitInDoubt",
    "ContainerStopped",
    "CountsDiffer",
    "Damaged",
    "DatabaseMissing",
    "DbTasksError",
    "Declined",
    "DumpFailed",
    "Interrupted",
    "LoadFailed",
    "LoginRefused",
    "MissingExtra",
    "NeedsConfirmation",
    "NotFound",
    "OperationFailed",
    "QueryFailed",
    "Refused",
    "RightMissing",
    "RouteRefused",
    "RouteUnavailable",
    "SettingsError",
    "StoreFull",
    "StoreUnusable",
    "TargetUnreachable",
    "ToolMissing",
    "UsageError",
    "VersionMismatch",
    "WrongEngine",
]


class DbTasksError(Exception):
    """Something foreseen went wrong; the parts of the message are kept apart.

    message: what failed, on which object. details: the tool's last words,
    already redacted. state: what state things are in now. hint: the one
    command or step that helps. None of them ever holds a secret.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", state: str = "", details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.state = state
        self.details = details

    @property
    def code(self) -> str:
        """Name of the error for scripts, such as `archive_damaged`."""
        name = type(self).__name__
        return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


class SettingsError(DbTasksError):
    """A setting is wrong: names the key, where its value came from, and what is allowed."""

    exit_code = 2


class UsageError(SettingsError):
    """The flags given do not fit together or name something that does not exist."""


class MissingExtra(SettingsError):
    """An optional package is needed; the hint holds the install line."""


class StoreUnusable(SettingsError):
    """The backup folder is missing, not writable, or not safe to write to."""


class CannotReach(DbTasksError):
    """The database, or the way to it, is not available."""

    exit_code = 3


class TargetUnreachable(CannotReach):
    """The server does not answer, or the database file does not exist."""


class DatabaseMissing(TargetUnreachable):
    """The server answered: it has no database of this name."""


class CommitInDoubt(TargetUnreachable):
    """The server went away over a COMMIT: what was loaded may be there or not."""


class LoginRefused(CannotReach):
    """The server answered and turned the login down."""


class RouteUnavailable(CannotReach):
    """The route asked for is not there, or no route is."""


class ContainerStopped(RouteUnavailable):
    """The database's container was found, and is stopped, paused or restarting; the hint starts it."""


class RouteRefused(RouteUnavailable):
    """Several containers fit, or the one named is not the url's: nothing else is tried instead."""


class ToolMissing(CannotReach):
    """A client tool is not installed where it would have to run."""


class VersionMismatch(CannotReach):
    """Tool, server, archive or extension versions do not fit together."""


class RightMissing(CannotReach):
    """The role lacks a right that is needed before anything is touched."""


class NotFound(DbTasksError):
    """No backup matches, or there is nothing to act on."""

    exit_code = 4


class Damaged(DbTasksError):
    """Bytes or rows are not what the manifest says."""

    exit_code = 5


class ArchiveDamaged(Damaged):
    """The archive fails its checksum, ends early or cannot be read."""


class CountsDiffer(Damaged):
    """Row counts after a load differ from the manifest; nothing was kept."""


class Refused(DbTasksError):
    """It could be done, but only with a clear word from a person."""

    exit_code = 6


class NeedsConfirmation(Refused):
    """A question has to be asked and there is no terminal; the hint names the flag."""


class Declined(Refused):
    """The person said no, or typed something else than the name asked for."""


class WrongEngine(Refused):
    """The file was made from, or for, another kind of database."""


class Busy(DbTasksError):
    """A lock is held: says by whom and since when, where that is known."""

    exit_code = 7


class OperationFailed(DbTasksError):
    """Work broke off; the state says what is left."""

    exit_code = 9


class CommandFailed(OperationFailed):
    """A client tool ended badly; details hold the redacted tail of its stderr.

    `cause` is what ended it from outside, where that is known: its container stopped, or Docker went away.
    """

    def __init__(self, tool: str, where: str, returncode: int, tail: str, *, cause: str = "") -> None:
        how = f"was killed by signal {-returncode}" if returncode < 0 else f"exited {returncode}"
        super().__init__(f"{tool} broke off: {cause}" if cause else f"{tool} {how} ({where})", details=tail)
        self.tool = tool
        self.returncode = returncode
        self.cause = cause

    @property
    def last_words(self) -> str:
        """What is known of its end: the cause, then what it said itself."""
        return "\n".join(filter(None, (self.cause, self.details))) or self.message


class QueryFailed(OperationFailed):
    """The server turned a statement down; details hold its redacted message."""

    def __init__(
        self, message: str, *, sqlstate: str = "", column: str = "", hint: str = "", details: str = ""
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.sqlstate = sqlstate
        self.column = column
        """The one it is about, where the server names one; the message is in the server's language."""


class DumpFailed(OperationFailed):
    """Nothing was published; earlier backups are untouched."""


class LoadFailed(OperationFailed):
    """The state says what the live database holds now."""


class StoreFull(OperationFailed):
    """No space left; the unfinished file was removed."""


class AlreadyExists(OperationFailed):
    """The name is taken; archives are never overwritten."""


class Interrupted(DbTasksError):
    """Ctrl-C or SIGTERM; children have ended and unfinished files are gone."""

    exit_code = 130
