"""Planning a load: whether an archive fits this server, and what loading it will do.

Everything that would make the load fail is looked for here, named, and told
with the way that is left. Nothing is written.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import (
    Busy,
    Refused,
    RightMissing,
    StoreFull,
    UsageError,
    VersionMismatch,
)
from ...models import Archive, DatabaseFacts, Format, Manifest
from ...plans import LoadPlan, LoadRequest, LoadStrategy, TargetState
from .contents import Contents, read_contents
from .holes import known_holes
from .inplace import find_in_the_way, lock_capacity
from .names import prove_name
from .server import Server, look_at_server, prove_extensions, prove_roles, some

if TYPE_CHECKING:
    from . import PostgresEngine

__all__ = ["plan_load"]

UNTOUCHED = "nothing was touched"


def plan_load(engine: PostgresEngine, archive: Archive, request: LoadRequest) -> LoadPlan:
    """Prove that the archive fits, choose how it becomes live, and say what that will do.

    Raises:
        VersionMismatch, ToolMissing, RightMissing: it does not fit; the hint names the way left.
        Refused: it would take the place of something it cannot replace.
    """
    _refuse_as_target(engine)
    state = engine.state()
    _refuse_what_replaces_nothing(engine, archive, request, state)
    _prove_versions(engine, archive.manifest)
    contents = read_contents(engine, archive)
    server, why_inside = look_at_server(engine, state)
    _refuse_where_it_may_do_harm(engine, archive, server)
    strategy, why = _strategy(engine, request, state, server, why_inside)
    _prove_ties(engine, server, strategy)
    warnings = prove_roles(engine, request, contents, server)
    warnings += prove_extensions(engine, archive.manifest, server, strategy, state)
    warnings += _holes(engine, archive)
    _prove_disk(archive)
    facts, live_rows, more = _live(engine, state)
    plan = LoadPlan(
        request=request,
        strategy=strategy,
        state=state,
        route=engine.route,
        why=why,
        facts=facts,
        live_rows=live_rows,
        sessions=server.sessions if strategy is LoadStrategy.SWAP else (),
        warnings=(*warnings, *more),
    )
    if strategy is LoadStrategy.IN_PLACE:
        plan = replace(plan, drops=_prove_in_place(engine, contents))
    return replace(plan, steps=_steps(engine, archive, plan))


# -- where to --------------------------------------------------------------------------


def _refuse_as_target(engine: PostgresEngine) -> None:
    target = engine.target.database
    prove_name(target)
    if target in ("template0", "template1"):
        raise Refused(
            f"{target} is a template of the server: new databases are made from it", state=UNTOUCHED
        )
    if target == engine.settings.maintenance_db:
        raise Refused(
            f"{target} is the maintenance database itself: databases are created and renamed from it",
            state=UNTOUCHED,
            hint="set maintenance_db to another database of this server",
        )


def _refuse_where_it_may_do_harm(engine: PostgresEngine, archive: Archive, server: Server) -> None:
    if server.template:
        raise Refused(
            f"{engine.target.database} is marked as a template: new databases are made from it",
            state=UNTOUCHED,
            hint="restore into another database, or take the mark away first (ALTER DATABASE ... IS_TEMPLATE false)",
        )
    if archive.manifest is None and server.powerful:
        # SET ROLE is no protection: what is loaded can RESET ROLE
        raise Refused(
            f"{archive.path.name} has no manifest of dbtasks, and loaded as {server.role} it could run programs"
            " or write files on the server's machine",
            state=UNTOUCHED,
            hint="connect as an ordinary role (the database's owner, with CREATEDB); --role is no protection here",
        )


def _holes(engine: PostgresEngine, archive: Archive) -> list[str]:
    if archive.manifest is not None:
        return []
    return [f"pg_restore {hole}" for hole in known_holes(engine.runner.version("pg_restore"))]


# -- the archive itself ----------------------------------------------------------------


def _refuse_what_replaces_nothing(
    engine: PostgresEngine, archive: Archive, request: LoadRequest, state: TargetState
) -> None:
    target, manifest = engine.target.database, archive.manifest
    if manifest is None and archive.format is Format.SQL:
        raise Refused(
            f"{archive.path.name} is a script without a manifest of ours: it is not run in this version",
            state=UNTOUCHED,
        )
    if request.in_place and state is TargetState.MISSING:
        raise UsageError(f"--in-place needs a database, and {target} does not exist")
    if request.in_place and request.drop_old:
        raise UsageError("--drop-old means nothing in place: no old database is kept")
    if manifest is None or manifest.complete:
        return
    lacks = "; ".join(manifest.not_included)
    if any(part.startswith("all definitions") for part in manifest.not_included):
        raise Refused(
            f"backup {manifest.id} holds rows only ({lacks}): there is nothing to load them into",
            state=UNTOUCHED,
            hint="load it by hand into a database that has the tables (db.show prints the commands)",
        )
    if state in (TargetState.PRESENT, TargetState.DAMAGED):
        raise Refused(
            f"backup {manifest.id} is partial ({lacks}) and would replace all of {target}",
            state=UNTOUCHED,
            hint=f"restore it beside: --into={target}_partial",
        )


def _prove_versions(engine: PostgresEngine, manifest: Manifest | None) -> None:
    """A newer dump into an older server may load, or lose what that server does not know: refused."""
    engine.runner.version("pg_restore")
    engine.runner.version("psql")
    if manifest is None:
        return
    dumped, here = _major(manifest.server_version), engine.server_version() // 10000
    if dumped > here:
        raise VersionMismatch(
            f"backup {manifest.id} was made from PostgreSQL {manifest.server_version},"
            f" and this server is {here}: what is new since may not exist here",
            state=UNTOUCHED,
            hint=f"restore into a server of PostgreSQL {dumped} or later",
        )


def _major(version: str) -> int:
    digits = version.split(".")[0].split()[0] if version.split() else ""
    return int(digits) if digits.isdecimal() else 0


def _prove_disk(archive: Archive) -> None:
    """A directory archive is unpacked beside itself; the server's own disk cannot be asked by SQL."""
    if archive.format is not Format.DIRECTORY:
        return
    needed, free = archive.path.stat().st_size, shutil.disk_usage(archive.path.parent).free
    if free < needed:
        raise StoreFull(
            f"unpacking {archive.path.name} needs {needed / 1e6:.0f} MB in {archive.path.parent},"
            f" and {free / 1e6:.0f} MB are free",
            state=UNTOUCHED,
            hint="free some space, or move the backup to a larger disk",
        )


# -- the server ----------------------------------------------------------------------------


def _strategy(
    engine: PostgresEngine, request: LoadRequest, state: TargetState, server: Server, why_inside: str
) -> tuple[LoadStrategy, str]:
    target = engine.target.database
    if request.in_place:
        return LoadStrategy.IN_PLACE, "asked for"
    able = server.creates and server.owns and not why_inside and server.closed_space is None
    if able:
        missing = state is TargetState.MISSING
        return (LoadStrategy.CREATE if missing else LoadStrategy.SWAP), engine.why
    if why_inside:
        why = f"no database can be created: {why_inside}"
    elif not server.creates:
        why = f"the role {server.role} may not create databases"
    elif server.closed_space is not None:
        why = f"the role {server.role} may not create in the tablespace {server.closed_space} of {target}"
    else:
        why = f"{target} belongs to {server.owner}, and {server.role} is not a member of that role"
    if state in (TargetState.PRESENT, TargetState.EMPTY):
        return LoadStrategy.IN_PLACE, why
    grant = (
        f'ALTER ROLE "{server.role}" CREATEDB'
        if not server.creates
        else f'GRANT "{server.owner}" TO "{server.role}"'
    )
    raise RightMissing(
        f"{target} cannot be {'created' if state is TargetState.MISSING else 'replaced'}: {why}",
        state=UNTOUCHED,
        hint=f"let a superuser say: {grant}",
    )


def _prove_ties(engine: PostgresEngine, server: Server, strategy: LoadStrategy) -> None:
    if not server.tied:
        return
    target = engine.target.database
    what = ", ".join(server.tied)
    if strategy is LoadStrategy.SWAP:
        raise Refused(
            f"{target} cannot be exchanged for another database: {what} would stay with the old one",
            state=UNTOUCHED,
            hint="remove it first, or restore with --in-place",
        )
    if any(name.startswith(("the subscription", "the prepared")) for name in server.tied):
        raise Refused(f"{target} is written to by {what}", state=UNTOUCHED, hint="remove it first")


def _prove_in_place(engine: PostgresEngine, contents: Contents) -> tuple[str, ...]:
    """List what is dropped, and prove that the role may and the server's lock table has room."""
    with engine.session() as session:
        found = find_in_the_way(session)
        capacity = lock_capacity(session)
    if found.not_ours:
        raise RightMissing(
            f"in place these would have to be dropped, and belong to others: {some(found.not_ours)}",
            state=UNTOUCHED,
            hint="restore as their owner or a superuser",
        )
    # a table comes with its row type, its TOAST table and that one's index
    needed = found.locks + 3 * contents.created
    if needed > capacity:
        raise Refused(
            f"in place the load needs up to {needed} locks in one transaction, and the server has room for {capacity}",
            state=UNTOUCHED,
            hint="raise max_locks_per_transaction and restart the server, or restore beside (without --in-place)",
        )
    return found.statements


def _live(
    engine: PostgresEngine, state: TargetState
) -> tuple[DatabaseFacts | None, dict[str, int], tuple[str, ...]]:
    if state not in (TargetState.PRESENT, TargetState.EMPTY):
        return None, {}, ()
    facts = engine.facts()
    try:
        return facts, engine.row_counts(), ()
    except (RightMissing, Busy) as exc:
        return facts, {}, (f"the live rows were not counted: {exc.message}",)


# -- the plan in words ------------------------------------------------------------------------


def _steps(engine: PostgresEngine, archive: Archive, plan: LoadPlan) -> tuple[str, ...]:
    target, name = engine.target.database, archive.path.name
    if plan.strategy is LoadStrategy.IN_PLACE:
        return (
            f"in one transaction: drop {len(plan.drops)} objects of {target}, load {name}",
            "check row counts, sequences, extensions and indexes, then COMMIT; until then nothing is changed",
        )
    beside = "" if plan.strategy is LoadStrategy.CREATE else f" beside {target}"
    first = (
        f"create a new database{beside} and load {name} into it",
        "check row counts, sequences, extensions and indexes",
    )
    if plan.strategy is LoadStrategy.CREATE:
        return (*first, f"name it {target}")
    kept = "dropped" if plan.request.drop_old or plan.state is TargetState.EMPTY else "kept"
    ended = f"; {len(plan.sessions)} sessions are ended" if plan.sessions else ""
    return (
        *first,
        f"carry over settings, privileges and comment of {target}",
        f"exchange the names in one transaction{ended}",
        f"the present {target} is {kept}" + (f" as {target}__before_<time>" if kept == "kept" else ""),
    )
