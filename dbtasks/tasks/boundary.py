"""The edge between Invoke and the executors: one task class, one error boundary.

A task body gets a `Call` in place of Invoke's context, and returns an
`Outcome`. Everything else is done here: --json and --dry-run, settings,
signals, errors to exit codes.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task

from .mounts import Mount, mount_of

if TYPE_CHECKING:
    from ..console import Console
    from ..errors import DbTasksError
    from ..events import OnEvent
    from ..settings import Settings

__all__ = ["Call", "DbTask", "Outcome", "db_task"]

COMMON = {
    "json_": "Print one JSON document on stdout and never ask.",
    "dry_run": "Show the plan and change nothing (Invoke's own --dry does the same).",
}
COMMANDS = re.compile(
    r"(?<![\w./\\-])db\.(adopt|backup|restore|undo|diff|list|show|info|verify|migrate|cleanup|log)(?![\w.])"
)


@dataclass(frozen=True)
class Outcome:
    """What a task body hands back."""

    value: Any
    """What a Python caller of the task gets."""
    lines: Sequence[str]
    document: dict[str, Any] = field(default_factory=dict)
    exit_code: int = 0


@dataclass
class _State:
    """What a failure tells as the state where it says nothing of it itself."""

    state: str = ""


class Call:
    """One call of a task: its console, its settings, its flags."""

    def __init__(self, context: Context, mount: Mount, console: Console, *, dry: bool, told: _State) -> None:
        self.context = context
        self.mount = mount
        self.console = console
        self.dry = dry
        self._told = told

    def begins(self, state: str) -> OnEvent:
        """Say that from here on it acts: that nothing was touched is true no more, and `state` is what holds instead.

        Returns the listener to act with. It is the console's, and hears which safety backup was made: where a bug
        ends the run, no executor says so.
        """
        from ..events import Event, PresentSaved

        def listen(event: Event) -> None:
            if isinstance(event, PresentSaved):
                self._told.state = f"{state}; what it held before is backed up as {event.backup}"
            self.console(event)

        self._told.state = state
        return listen

    def settings(self, **flags: Any) -> Settings:
        """Load the settings; flags that were not given are left out.

        Raises:
            SettingsError: all problems at once.
        """
        from ..engines.configured import load_settings

        given = {name: value for name, value in flags.items() if value not in (None, "", ())}
        root = self.mount.root
        settings = load_settings(root, shared=self.mount.shared, mount=self.mount.own, **given)
        for text in settings.warnings:
            self.console.warn(text)
        return settings

    def spelled(self, text: str) -> str:
        """Return a text with its commands as they are typed here: executors know none but `db.…`."""
        return COMMANDS.sub(lambda found: self.mount.command(found[1]), text)

    @property
    def remainder(self) -> str:
        """Everything after `--` on the command line."""
        return str(getattr(self.context, "remainder", "") or "")


class DbTask(Task):  # type: ignore[type-arg]
    """A task that is equal to itself only.

    Invoke compares tasks by name and code and drops equal calls from a command
    line. Mounted twice, `inv db.backup analytics.backup` would then back up
    one database and report nothing about the other.
    """

    untouched = ""
    """What every failure tells as the state until the body calls `Call.begins`."""

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Any]:
        """Return the flags; Invoke uses a task's help texts up, which a second mount or page still needs."""
        texts = dict(self.help)
        try:
            return list(super().get_arguments(ignore_unknown_help=ignore_unknown_help))
        finally:
            self.help = texts

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body inside the boundary."""
        if not args or not isinstance(args[0], Context):
            raise TypeError(
                f"{self.name} expects Invoke's context first; from Python, call dbtasks.{self.name}()"
            )
        self.times_called += 1
        return _run(self, args[0], args[1:], kwargs)


def db_task(
    *,
    name: str | None = None,
    help: dict[str, str] | None = None,  # noqa: A002 - the word Invoke uses
    iterable: Sequence[str] = (),
    untouched: str = "",
) -> Callable[[Callable[..., Outcome]], DbTask]:
    """Make a task of a body: no positionals, no automatic short flags, --json and --dry-run added.

    `untouched` is what its failures tell as the state until it acts; a task that changes no database needs none.
    """

    def wrap(body: Callable[..., Outcome]) -> DbTask:
        signature = inspect.signature(body)
        common = [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=False)
            for name in ("dry_run", "json_")
        ]
        body.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*signature.parameters.values(), *common]
        )
        task = DbTask(
            body,
            name=name,
            positional=[],
            auto_shortflags=False,
            iterable=list(iterable),
            # Invoke looks help up by the flag's name, which has lost its outer underscores
            help={key.strip("_"): text for key, text in {**(help or {}), **COMMON}.items()},
        )
        task.untouched = untouched
        return task

    return wrap


def _run(task: DbTask, context: Context, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    from ..console import Console

    given = dict(kwargs)
    as_json = bool(given.pop("json_", False))
    dry = bool(given.pop("dry_run", False)) or bool(_run_setting(context, "dry"))
    console = Console(as_json=as_json, echo=bool(_run_setting(context, "echo")))
    name, told = str(task.name), _State(task.untouched)
    with _one_way_out(name, console, told), _termination():
        call = Call(context, mount_of(task, context, os.environ), console, dry=dry, told=told)
        console.spell = call.spelled
        outcome = task.body(call, *args, **given)
        console.show(
            name, [call.spelled(line) for line in outcome.lines], outcome.document, outcome.exit_code
        )
    if outcome.exit_code:
        raise Exit(code=outcome.exit_code)
    return outcome.value


@contextmanager
def _one_way_out(name: str, console: Console, told: _State) -> Iterator[None]:
    """Turn every exception into one message and one exit code, with the state things are in.

    This is the only place that catches broadly: a bug of ours ends with 1 and
    a traceback under Invoke's debug, and with one honest line without it.
    """
    from ..errors import DbTasksError, Interrupted

    try:
        yield
    except DbTasksError as exc:
        exc.state = exc.state or told.state
        _fail(name, console, exc)
    except KeyboardInterrupt as exc:
        state = told.state or "what was started is told to end, unfinished files are removed"
        _fail(name, console, Interrupted(f"{name} was interrupted", state=state), exc)
    except Exception as exc:
        if _debugging():
            raise
        bug = DbTasksError(
            f"{name} met a bug: {type(exc).__name__} in {_place(exc)}",
            hint="run again with INVOKE_DEBUG=1 for the traceback (check it for secrets before you share it)",
            state=told.state,
        )
        _fail(name, console, bug, exc)


def _fail(name: str, console: Console, error: DbTasksError, cause: BaseException | None = None) -> None:
    console.fail(name, error)
    if _debugging():
        raise cause or error
    raise Exit(code=error.exit_code) from None


def _debugging() -> bool:
    return logging.getLogger("invoke").isEnabledFor(logging.DEBUG)


def _place(exc: BaseException) -> str:
    """Name file and line of the innermost frame: a text of ours may hold no data of the user's."""
    trace = exc.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "an unknown place"


def _run_setting(context: Context, name: str) -> object:
    run = context.config.get("run") or {}
    return run.get(name)


@contextmanager
def _termination() -> Iterator[None]:
    """Let SIGTERM unwind like Ctrl-C, so that locks, children and drafts go."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
