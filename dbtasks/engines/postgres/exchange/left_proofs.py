"""What killed proofs and migrations left on a server: databases half or wholly loaded, which nobody is connected to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ....errors import Busy, Refused
from ....sessions import Session
from ....stores.proofs import PROOF, ProofMark
from ..facts import system_identifier
from ..names import is_scratch_name, new_name
from .claim import claimed_by_another
from .leftovers import drop_left_over, found, in_use

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["drop_left_proof", "left_proofs"]

UNTOUCHED = "it was not touched"


def left_proofs(engine: PostgresEngine, mark: ProofMark) -> dict[str, str]:
    """See `Engine.left_proofs`."""
    if not _is_here(engine, mark):
        return {}
    with engine.maintenance_session() as session:
        if claimed_by_another(session, mark.database):
            # it may be making one
            raise Busy(f"another {mark.kind} is at work for {mark.database}", state="nothing was touched")
        if _is_another(session, mark):
            name = new_name(mark.database, mark.id)
            return {name: f"{name}, {_of_another(mark)}; where that is gone for good, remove {mark.folder}"}
        free = dict.fromkeys(found(session, mark.database, [mark.id]), "")
        left = free | in_use(session, mark.database, [mark.id], what=mark.kind)
    return {name: why for name, why in left.items() if _is_of(mark, name)}


def drop_left_proof(engine: PostgresEngine, mark: ProofMark, name: str) -> None:
    """See `Engine.drop_left_proof`; under the claim that a proof and a migration hold."""
    if not (_is_here(engine, mark) and _is_of(mark, name)):
        raise Refused(f"{name} is not what a {mark.kind} left on this server", state=UNTOUCHED)
    target = replace(engine.target, database=mark.database)
    beside = type(engine)(target, engine.settings, access=engine.access)
    with beside.claimed():
        with engine.maintenance_session() as session:
            if _is_another(session, mark):
                raise Refused(f"{name}, {_of_another(mark)}", state=UNTOUCHED)
        drop_left_over(beside, name)


def _is_here(engine: PostgresEngine, mark: ProofMark) -> bool:
    named = mark.kind != PROOF or is_scratch_name(mark.database)
    return mark.server == engine.target.identity.server and named


def _is_of(mark: ProofMark, name: str) -> bool:
    """Whether it is a proof's, for whose database nobody else makes any; or the very one a migration told of."""
    return mark.kind == PROOF or name == new_name(mark.database, mark.id)


def _is_another(session: Session, mark: ProofMark) -> bool:
    """Whether another server has the address by now, as far as the role may know."""
    return bool(mark.system_identifier) and system_identifier(session) not in ("", mark.system_identifier)


def _of_another(mark: ProofMark) -> str:
    return f"left over by an earlier {mark.kind}, is on another server, which had the address {mark.server}"
