"""What killed proofs left on a server: databases half or wholly loaded, which nobody is connected to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import Busy, Refused
from ...stores.proofs import ProofMark
from .claim import claimed_by_another
from .leftovers import drop_left_over, found, in_use
from .names import is_scratch_name

if TYPE_CHECKING:
    from . import PostgresEngine

__all__ = ["drop_left_proof", "left_proofs"]


def left_proofs(engine: PostgresEngine, mark: ProofMark) -> dict[str, str]:
    """See `Engine.left_proofs`."""
    if not _is_here(engine, mark):
        return {}
    with engine.maintenance_session() as session:
        if claimed_by_another(session, mark.database):
            # it may be making one
            raise Busy(f"another proof is at work for {mark.database}", state="nothing was touched")
        free = dict.fromkeys(found(session, mark.database, [mark.id]), "")
        return free | in_use(session, mark.database, [mark.id], what="proof")


def drop_left_proof(engine: PostgresEngine, mark: ProofMark, name: str) -> None:
    """See `Engine.drop_left_proof`; under the claim that a proof holds."""
    if not _is_here(engine, mark):
        raise Refused(f"{name} is not what a proof left on this server", state="it was not touched")
    target = replace(engine.target, database=mark.database)
    beside = type(engine)(target, engine.settings, access=engine.access)
    with beside.claimed():
        drop_left_over(beside, name)


def _is_here(engine: PostgresEngine, mark: ProofMark) -> bool:
    return mark.server == engine.target.identity.server and is_scratch_name(mark.database)
