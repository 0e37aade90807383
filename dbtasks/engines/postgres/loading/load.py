"""Loading an archive: beside the live database and exchanged for it, or inside one transaction of it; rows into its tables."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ....events import OnEvent
from ....models import Archive
from ....plans import LoadPlan, LoadStrategy
from ... import Loaded
from ..rows.load import loading_rows
from .beside import loading_beside
from .fit import plan_load
from .inplace import loading_in_place

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["loading", "plan_load"]


def loading(
    engine: PostgresEngine, plan: LoadPlan, archive: Archive, on_event: OnEvent, id_: str = ""
) -> AbstractContextManager[Loaded]:
    """Load as the plan says; inside the block the backup is loaded and not yet live.

    Raises:
        LoadFailed, Busy, ArchiveDamaged, Refused: the live database is as it was; the state says so.
    """
    if plan.strategy is LoadStrategy.ROWS:
        return loading_rows(engine, plan, archive, on_event)
    if plan.strategy is LoadStrategy.IN_PLACE:
        return loading_in_place(engine, plan, archive, on_event)
    return loading_beside(engine, plan, archive, on_event, id_)
