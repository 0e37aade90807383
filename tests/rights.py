"""A process for which modes count: root may enter every folder, and gives that up here."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any

__all__ = ["bound_by_modes"]

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


def bound_by_modes() -> dict[str, Callable[[], None]]:
    """Return what subprocess has to be told so that a folder of mode 0000 keeps its child out, root or not."""
    if os.name != "posix" or os.geteuid() != 0:
        return {}
    prctl: Any = ctypes.CDLL(None, use_errno=True).prctl

    def drop() -> None:
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            if prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "this root cannot give up its rights")

    return {"preexec_fn": drop}
