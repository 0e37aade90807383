"""SQL of the user's own that runs in a loaded backup before it goes live: judged first, then run in one transaction.

It comes from the project and not from a backup, and may do whatever the role
may, but neither run commands on this machine nor end the transaction that
holds the work together: the gate reads it as it reads a dump.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ....errors import CommandFailed, LoadFailed, QueryFailed, Refused, TargetUnreachable
from ....events import OnEvent, Phase
from ....plans import LoadPlan
from ....row_values import first_error
from ....sessions import Session
from ...own_sql import AS_SQL, MAKE_READABLE, TAKE_OUT, way_on
from ..foreign_keys import broken_foreign_keys
from ..script.feed import Feed, transaction
from ..script.gate import Gate
from .checks import loaded_problems

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["prove_scripts", "run_beside", "run_here", "run_inside"]

LEFT_BY_DUMPS = ("row_security", "check_function_bodies", "default_tablespace", "default_table_access_method")
"""What a script of pg_dump sets for itself, and would still hold for what follows in its session."""
SEARCH_PATH = "SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'search_path'"
OWN_LINES = (b"BEGIN;", b"COMMIT;")
WAYS_ON = {
    "meta-command": AS_SQL,
    "psql variable": AS_SQL,
    "without its end": "end its last statement with a semicolon",
    "the restore's to say": TAKE_OUT,
    "another name": TAKE_OUT,
}
"""What helps, by a word of what the gate refuses."""
PLACE = re.compile(r"^psql:<stdin>:\d+: ", re.MULTILINE)
"""psql counts the lines of everything that was sent: no line of the file."""


class _OwnScript(Gate):
    """A script without pg_dump's trailer; it may end wherever a statement does."""

    def _first_word(self, start: int, final: bool) -> bool | None:
        if not final and not self._has_line(start):
            self._at = start
            return False
        if self._data.startswith(OWN_LINES, start):
            # around pg_dump's large objects these are left out; here they are meant
            return None
        return super()._first_word(start, final)

    def _demand_the_end(self) -> None:
        if self._scan != self._sql or self._words or self._marks:
            self._refuse("a last statement without its end, perhaps a missing semicolon")


def prove_scripts(files: Sequence[Path]) -> None:
    """Read the files through the gate; nothing is run.

    Raises:
        Refused: one cannot be read, or holds a meta-command, a COMMIT or half a statement.
    """
    for file in files:
        try:
            with file.open("rb") as source:
                for _ in _OwnScript(source):
                    pass
        except OSError as exc:
            raise Refused(
                f"after_load: {file} cannot be read: {exc.strerror}",
                hint=way_on(MAKE_READABLE),
                state="nothing was touched",
            ) from exc
        except Refused as exc:
            raise _told(file, exc) from exc


def _told(file: Path, exc: Refused) -> Refused:
    what = exc.message.removeprefix("the SQL script holds ").replace(
        "outside of what pg_dump writes", "which is the restore's to say"
    )
    what = what.replace(
        ", as pg_dump --create writes it", ": until it goes live the loaded database has another name"
    )
    hint = next((way_on(how) for word, how in WAYS_ON.items() if word in what), way_on())
    return Refused(f"after_load: {file} holds {what}", hint=hint, state="nothing was touched")


def run_beside(
    engine: PostgresEngine, plan: LoadPlan, new: str, files: Sequence[Path], on_event: OnEvent
) -> None:
    """Run the files in the new database, all in one transaction of their own.

    Raises:
        LoadFailed: one failed, or foreign keys do not hold afterwards.
    """
    from psycopg2 import sql

    with transaction(engine, new) as feed:
        if plan.request.role:
            feed.session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(plan.request.role)))
        # the new database has the settings of the live one only when it takes its place
        run_inside(engine, feed, files, on_event, like=None if plan.facts else new)
        feed.commit()


def run_inside(
    engine: PostgresEngine, feed: Feed, files: Sequence[Path], on_event: OnEvent, *, like: str | None = None
) -> None:
    """Run the files in the open transaction, names looked up as in a new connection to the live database.

    `like` is another database whose way of looking up names counts.

    Raises:
        LoadFailed: as `run_beside`.
    """
    _run(engine, feed.session, partial(feed.send, on_event=on_event), files, on_event, like)


def run_here(
    engine: PostgresEngine,
    session: Session,
    files: Sequence[Path],
    on_event: OnEvent,
    *,
    like: str | None = None,
) -> None:
    """Run the files in the open transaction of a session that is no psql; rows behind a COPY cannot come that way.

    `like` as for `run_inside`.

    Raises:
        LoadFailed: as `run_beside`.
    """

    def send(script: Gate) -> None:
        try:
            text = b"".join(script).decode()
        except UnicodeDecodeError as exc:
            raise LoadFailed(
                "after_load: a file is not UTF-8 text", details=str(exc), hint=way_on(MAKE_READABLE)
            ) from exc
        session.execute(text)
        session.execute("SELECT pg_catalog.set_config('search_path', '', false)")

    _run(engine, session, send, files, on_event, like)


def _run(
    engine: PostgresEngine,
    inside: Session,
    send: Callable[[Gate], object],
    files: Sequence[Path],
    on_event: OnEvent,
    like: str | None = None,
) -> None:
    with engine.session(like) as session:
        ((path,),) = session.rows(SEARCH_PATH)
    for file in files:
        on_event(Phase("after_load", file.name))
        try:
            for name in LEFT_BY_DUMPS:
                inside.execute(f"RESET {name}")
            inside.execute("SELECT pg_catalog.set_config('search_path', %s, false)", (path,))
            with file.open("rb") as source:
                send(_OwnScript(source))
            # what waits for the COMMIT would only fail then
            inside.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except (TargetUnreachable, CommandFailed, QueryFailed) as exc:
            raise LoadFailed(
                f"after_load: {file} failed: {first_error(exc.details) or exc.message}",
                details=PLACE.sub("", exc.details),
                hint=way_on(),
            ) from exc
        except OSError as exc:
            raise LoadFailed(
                f"after_load: {file} cannot be read: {exc.strerror}", hint=way_on(MAKE_READABLE)
            ) from exc
        except Refused as exc:
            raise _told(file, exc) from exc
    _prove_whole(inside, files)


def _prove_whole(session: Session, files: Sequence[Path]) -> None:
    """See that indexes are valid and every key leads somewhere: triggers may have been switched off meanwhile.

    Raises:
        LoadFailed: it is not so.
    """
    problems = (*broken_foreign_keys(session), *loaded_problems(session, None))
    if problems:
        names = ", ".join(file.name for file in files)
        raise LoadFailed(
            f"after {names} the database does not hold together: {problems[0]}",
            details="\n".join(problems[1:10]),
            hint=way_on(),
        )
