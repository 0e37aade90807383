"""A part of a test as an ordinary user: PostgreSQL's server does not run as root, and the suite may."""

from __future__ import annotations

import importlib
import os
import pkgutil
import shutil
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dbtasks

__all__ = ["a_folder", "as_ordinary_user", "forked"]


@contextmanager
def a_folder() -> Iterator[Path]:
    """Yield a folder that belongs to that user, with a short path: sockets may lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="dbtasks-ordinary-"))
    try:
        if os.geteuid() == 0:
            os.chown(folder, *_account())
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def as_ordinary_user(act: Callable[[], object]) -> None:
    """Run a part of a test in a child of this process, which gives root up; its failure is the test's."""
    child = forked(act)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "see the traceback on stderr"


def forked(act: Callable[[], object]) -> int:
    """Start such a child and return its process id, for the caller to reap."""
    # what is imported later may lie where that user may not read
    for module in pkgutil.walk_packages(dbtasks.__path__, "dbtasks."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    importlib.import_module("psycopg2.sql")
    with warnings.catch_warnings():
        # newer Pythons warn of forking beside threads: the child starts none of pytest's
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    status = 1
    try:
        if os.geteuid() == 0:
            user, group = _account()
            os.setgroups([])
            os.setresgid(group, group, group)
            os.setresuid(user, user, user)
        act()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _account() -> tuple[int, int]:
    import pwd

    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid
