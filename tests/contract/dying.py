"""Child processes of the store's fault tests: they die at every step, sweep for ever, or write onto a full disk.

Started as `python -m tests.contract.dying WHAT FOLDER`.
"""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from dbtasks.errors import DbTasksError
from dbtasks.models import Backup
from dbtasks.stores.local import LocalStore
from tests.samples import a_manifest, a_proof

STEPS = ("open", "link", "unlink", "replace", "rename", "mkdir", "rmdir", "chmod", "fsync")
"""Calls that change what is on disk; dying before each is dying after each."""


def stored(store: LocalStore, id_: str, data: bytes = b"archive", **changes: Any) -> Backup:
    manifest = a_manifest(
        id=id_,
        archive=f"shop_20260224T150320Z_{id_}.dump",
        globals=f"shop_20260224T150320Z_{id_}.globals.sql",
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        **changes,
    )
    with store.draft(manifest.type) as draft:
        with draft.create() as stream:
            stream.write(data)
        draft.globals_path.write_bytes(b"CREATE ROLE jo;\n")
        return store.publish(draft, manifest, a_proof(data))


def publish(store: LocalStore, first: Backup) -> None:
    stored(store, "bbbbbb", b"another archive")


def remove(store: LocalStore, first: Backup) -> None:
    store.remove(first)


def rewrite(store: LocalStore, first: Backup) -> None:
    store.replace_manifest(first, replace(first.manifest, note="new"))


def die_at_every_step(work: Callable[[LocalStore, Backup], None], folder: Path) -> None:
    """Print one store per step at which a process died, and last the one where it did not."""
    step, died = 0, True
    while died:
        store = LocalStore(folder / str(step))
        first = stored(store, "aaaaaa")
        child = os.fork()
        if child == 0:
            die_before(step)
            work(store, first)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        died = os.WIFSIGNALED(status)
        if not died and status:
            raise SystemExit(f"the child failed at step {step}")
        print(store.root)
        step += 1


def die_before(step: int) -> None:
    """Make the calls of this process deadly from the given one on."""
    left = step

    def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return call(*args, **kwargs)

        return counted

    for name in STEPS:
        setattr(os, name, deadly(getattr(os, name)))


def sweep_for_ever(folder: Path) -> None:
    store = LocalStore(folder)
    print("sweeping", flush=True)
    while True:
        store.sweep()


def fill(folder: Path, limit: bool) -> None:
    """Write an archive, then a manifest that there is no room for; print how each ended."""
    store = LocalStore(folder)
    stored(store, "aaaaaa")
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536))
    for what in ({"data": os.urandom(1 << 20)}, {"note": "x" * 1_000_000}):
        try:
            stored(store, "bbbbbb", **what)
        except DbTasksError as exc:
            print(type(exc).__name__, exc.exit_code, "earlier backups are untouched" in exc.state)
    print(*(entry.id for entry in store.entries() if isinstance(entry, Backup)))


if __name__ == "__main__":
    what, folder = sys.argv[1], Path(sys.argv[2])
    works = {"publish": publish, "remove": remove, "rewrite": rewrite}
    if what in works:
        die_at_every_step(works[what], folder)
    elif what == "sweep":
        sweep_for_ever(folder)
    else:
        fill(folder, limit=what == "limited")
