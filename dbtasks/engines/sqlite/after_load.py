"""SQL of the user's own that runs in a loaded backup before it goes live: on the file beside, which nobody else uses."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from ...errors import LoadFailed, Refused
from ...events import OnEvent, Phase
from ...stores.local import translated
from ..own_sql import AS_SQL, MAKE_READABLE, TAKE_OUT, way_on
from . import check, facts, files

__all__ = ["prove_scripts", "run_here", "run_scripts"]

PREPARE = """
PRAGMA synchronous=OFF;
PRAGMA foreign_keys=ON;
PRAGMA secure_delete=ON;
"""
"""The file is thrown away when anything fails; what is deleted or overwritten in it must not stay in it unseen."""
LEADING = re.compile(r"(?:\s|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*", re.DOTALL)
"""Blanks and comments."""
VACUUM = re.compile(r"VACUUM\b", re.IGNORECASE)
FORBIDDEN = {
    sqlite3.SQLITE_TRANSACTION: "BEGIN and COMMIT are the restore's to say",
    sqlite3.SQLITE_SAVEPOINT: "SAVEPOINT is the restore's to say",
    sqlite3.SQLITE_ATTACH: "no other file may be reached",
    sqlite3.SQLITE_DETACH: "no other file may be reached",
}


def prove_scripts(scripts: Sequence[Path]) -> None:
    """See that the files can be read; nothing is run.

    Raises:
        Refused: one cannot.
    """
    for script in scripts:
        for _ in _statements(script, _text(script)):
            pass


def _text(script: Path) -> str:
    try:
        return script.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "not UTF-8 text"
        raise Refused(
            f"after_load: {script} cannot be read: {why}",
            hint=way_on(MAKE_READABLE),
            state="nothing was touched",
        ) from exc


def _statements(script: Path, text: str) -> Iterator[tuple[int, str]]:
    """Yield the script's statements with the lines they begin in; SQLite itself says where one ends."""
    begin, line = 0, 1
    ends = [found.end() for found in re.finditer(";", text)]
    for end in (*ends, len(text)):
        statement = text[begin:end]
        if end != len(text) and not sqlite3.complete_statement(statement):
            continue
        leading = LEADING.match(statement)
        space = leading.end() if leading else 0
        line += statement[:space].count("\n")
        if statement[space:].startswith("."):
            raise Refused(
                f"after_load: {script} holds a command of the sqlite3 shell (line {line}), not SQL",
                hint=way_on(AS_SQL),
                state="nothing was touched",
            )
        if statement[space:]:
            yield line, statement[space:]
        line += statement[space:].count("\n")
        begin = end


def run_scripts(staged: Path, scripts: Sequence[Path], on_event: OnEvent) -> None:
    """Run the files, then look again whether the database holds together.

    Raises:
        LoadFailed: one failed, or what it left does not hold. Refused: one holds what it may not.
    """
    before = set(_broken(staged))
    with files.translated(staged), files.opened(staged, "rw") as connection:
        connection.executescript(PREPARE)
        for script in scripts:
            on_event(Phase("after_load", script.name))
            _run(connection, script, connection.executescript)
    with translated(f"cannot write {staged}"), staged.open("rb+") as stream:
        os.fsync(stream.fileno())
    check.check_file(staged)
    _prove_keys(scripts, before, _broken(staged))


def run_here(connection: sqlite3.Connection, scripts: Sequence[Path], on_event: OnEvent) -> None:
    """Run the files in the open transaction of a connection, then look again at the foreign keys.

    Raises:
        As `run_scripts`.
    """
    before = set(facts.broken_foreign_keys(connection))
    for script in scripts:
        on_event(Phase("after_load", script.name))
        # not executescript, which commits what is open
        _run(connection, script, connection.execute)
    _prove_keys(scripts, before, facts.broken_foreign_keys(connection))


def _prove_keys(scripts: Sequence[Path], before: Collection[str], after: Iterable[str]) -> None:
    broken = [problem for problem in after if problem not in before]
    if broken:
        names = ", ".join(script.name for script in scripts)
        raise LoadFailed(
            f"after {names} the database does not hold together: {broken[0]}",
            details="\n".join(broken[1:10]),
            hint=way_on(),
        )


def _run(connection: sqlite3.Connection, script: Path, act: Callable[[str], object]) -> None:
    for line, statement in _statements(script, _text(script)):
        refused: list[str] = []
        connection.set_authorizer(_judge(statement, refused))
        try:
            act(statement)
        except sqlite3.Error as exc:
            if refused:
                raise Refused(
                    f"after_load: {script}, line {line}: {refused[0]}", hint=way_on(TAKE_OUT)
                ) from exc
            raise LoadFailed(
                f"after_load: {script} failed at line {line}: {exc}",
                details=str(exc),
                hint=way_on(),
            ) from exc
        finally:
            connection.set_authorizer(None)


def _judge(statement: str, refused: list[str]) -> Callable[..., int]:
    """Return what SQLite asks before it does anything; why it was told no is added to `refused`."""
    # it works by a transaction and a nameless file of its own
    vacuums = VACUUM.match(statement) is not None

    def allow(action: int, first: str | None, *_: str | None) -> int:
        nameless = action == sqlite3.SQLITE_ATTACH and not first
        own = vacuums and action in (sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_DETACH)
        if action not in FORBIDDEN or nameless or own:
            return sqlite3.SQLITE_OK
        refused.append(FORBIDDEN[action])
        return sqlite3.SQLITE_DENY

    return allow


def _broken(staged: Path) -> tuple[str, ...]:
    with files.translated(staged), files.opened(staged, "ro", immutable=True) as connection:
        return facts.broken_foreign_keys(connection)
