"""How a restore is taken back: the command for it, from what was kept."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ..models import Backup
from ..plans import LoadStrategy, Swapped, TargetState
from ..settings import Settings

if TYPE_CHECKING:
    from .restore import RestorePlan

__all__ = ["way_back"]


def way_back(settings: Settings, plan: RestorePlan, safety: Backup | None, swapped: Swapped) -> str:
    """Return the command that brings the former state back, or say in words why there is none."""
    renamed = swapped.old and plan.load.strategy is LoadStrategy.SWAP
    sound = plan.load.state is not TargetState.DAMAGED
    if plan.target == settings.target and sound and (safety or renamed):
        return "db.undo"
    into = f" --into={shlex.quote(plan.job.into)}" if plan.job.into else ""
    if safety:
        return f"db.restore --file={safety.id}{into}"
    if swapped.old and plan.load.strategy is LoadStrategy.ASIDE:
        return f"the damaged files lie in {swapped.old}"
    if swapped.old:
        return f"the former database is kept as {swapped.old}"
    if plan.load.state is TargetState.MISSING:
        return f"there is no way back, and nothing to go back to: {plan.target.name} did not exist before"
    if plan.load.state is TargetState.EMPTY:
        return f"there is no way back, and nothing to go back to: {plan.target.name} was empty before"
    return f"no way back was kept ({plan.why_no_safety})"
