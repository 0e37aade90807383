"""How a restore is taken back: the command for it, from what was kept."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ...models import Backup, Format, Route
from ...plans import LoadStrategy, Swapped, TargetState
from ...settings import Settings

if TYPE_CHECKING:
    from ..restore import RestorePlan

__all__ = ["NO_TABLES_SAVED", "holds_way_back", "kept_as", "way_back"]

NO_TABLES_SAVED = "no backup goes back to a database without tables; what was made there is taken away by:"


def holds_way_back(safety: Backup | None) -> bool:
    """Whether a safety backup by itself brings the former state back: one of rows brings tables, and there may have been none."""
    return safety is not None and (safety.manifest.format is not Format.ROWS or bool(safety.manifest.tables))


def way_back(settings: Settings, plan: RestorePlan, safety: Backup | None, swapped: Swapped) -> str:
    """Return the command that brings the former state back, or say in words why there is none."""
    ours = plan.target == settings.target
    if (
        plan.load.takes_away
        and plan.load.state is TargetState.PRESENT
        and not (holds_way_back(safety) or (safety and ours))
    ):
        return f"{NO_TABLES_SAVED} {' '.join(plan.load.takes_away)}"
    renamed = swapped.old and plan.load.strategy is LoadStrategy.SWAP
    sound = plan.load.state is not TargetState.DAMAGED
    if ours and sound and (safety or renamed):
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


def kept_as(plan: RestorePlan) -> str:
    """Say as what an undo keeps the present state, where a restore carries it out."""
    if plan.load.state is TargetState.DAMAGED:
        return "the damaged database that it is, aside"
    if not plan.safety:
        return f"nothing ({plan.why_no_safety})"
    beside = plan.load.strategy is LoadStrategy.SWAP and plan.load.route is not Route.FILE
    return "a new safety backup" + (f" and {plan.target.name}__before_<time>" if beside else "")
