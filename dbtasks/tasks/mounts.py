"""Which mount a task was called through, and what Invoke's configuration says to it.

Invoke hands a task one merged tree in which a `configure()` on the host's root
replaces the whole tree of a mount (pyinvoke/invoke 782). With two mounts that
would send one's task to the other's database, so the mount's own tree is looked
up in the collection the task object belongs to: every mount holds copies of its
own of our tasks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.executor import Executor

from ..errors import SettingsError

__all__ = ["Mount", "mount_of"]

KEY = "dbtasks"
# highest first; private to Invoke, but the merged result does not say which level a value came from
LEVELS = (
    ("_modifications", "the task's own configuration"),
    ("_overrides", "Invoke's overrides"),
    ("_runtime", "the file given with -f"),
    ("_project", "the project's invoke.yaml"),
    ("_user", "~/.invoke.yaml"),
    ("_system", "/etc/invoke.yaml"),
)


@dataclass(frozen=True)
class Mount:
    """What one call of a task was given from Invoke's side."""

    path: str
    """How the mount is called on the command line: `db`, `analytics`; empty at the root."""
    own: Mapping[str, Any] = field(default_factory=dict)
    shared: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    root: Path | None = None
    """Folder of the host's tasks.py."""

    def command(self, task: str) -> str:
        """Return how a task of this mount is called: `invoke db.list`, `invoke analytics.list`, `dbtasks list`."""
        return f"{_program()} {self.path}.{task}" if self.path else f"{_program()} {task}"


def _program() -> str:
    started = Path(sys.argv[0])
    ours = started.stem == "dbtasks" or started.parts[-2:] == ("dbtasks", "__main__.py")
    return "dbtasks" if ours else "invoke"


def mount_of(task: object, context: Context, environ: Mapping[str, str]) -> Mount:
    """Find the mount a task object lives in and gather the configuration that may reach it.

    Raises:
        SettingsError: a `dbtasks` tree is not a mapping.
    """
    config = context.config
    prefix = getattr(config, "_project_prefix", None)
    root = Path(prefix).resolve() if prefix else None
    shared = [("INVOKE_DBTASKS_*", _from_environ(environ))]
    shared += [(where, _tree(getattr(config, level, None), where)) for level, where in LEVELS]
    found = _search(task)
    if found is None:
        # called as a function from a host's own task: only the merged collection tree is known
        shared.append(
            ("the collection's configuration", _tree(getattr(config, "_collection", None), "configure()"))
        )
        return Mount("db", shared=tuple(shared), root=root)
    names, chain = found
    shared += [
        ("configure() of the host", _tree(outer.configuration(), "configure()")) for outer in chain[:-1]
    ]
    own = _tree(chain[-1].configuration(), "the mount's config=")
    return Mount(".".join(names), own=own, shared=tuple(shared), root=root)


def _from_environ(environ: Mapping[str, str]) -> dict[str, str]:
    start = "INVOKE_DBTASKS_"
    return {
        name.removeprefix(start).lower(): value for name, value in environ.items() if name.startswith(start)
    }


def _tree(level: object, where: str) -> dict[str, Any]:
    tree = level.get(KEY) if isinstance(level, Mapping) else None
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise SettingsError(f"{KEY} ({where}) must hold settings, not {type(tree).__name__}")
    return dict(tree)


def _search(task: object) -> tuple[list[str], list[Collection]] | None:
    """Walk from the running Executor's root collection to the one that holds this very task."""
    for executor in _executors():
        if executor.collection is not None:
            found = _path_to(task, executor.collection)
            if found:
                return found
    return None


def _executors() -> Iterator[Executor]:
    frame = sys._getframe(1)  # noqa: SLF001 - Invoke gives a task no other way to its collection
    while frame is not None:
        candidate = frame.f_locals.get("self")
        if isinstance(candidate, Executor):
            yield candidate
        frame = frame.f_back  # type: ignore[assignment]


def _path_to(task: object, collection: Collection) -> tuple[list[str], list[Collection]] | None:
    if any(own is task for own in collection.tasks.values()):
        return [], [collection]
    for name, inner in collection.collections.items():
        found = _path_to(task, inner)
        if found:
            return [name, *found[0]], [collection, *found[1]]
    return None
