"""Planning a load: whether an archive fits this server, and what loading it will do.

Everything that would make the load fail is looked for here, named, and told
with the way that is left. Nothing is written.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from ....errors import Busy, Refused, RightMissing, StoreFull, UsageError, VersionMismatch
from ....models import Archive, DatabaseFacts, Format
from ....nouns import many, some
from ....plans import LoadPlan, LoadRequest, LoadStrategy, TargetState
from ...parts_left_out import rows_alone
from ..archive.contents import Contents, read_contents
from ..holes import known_holes
from ..last_words import by_hand
from ..names import prove_name
from ..public_schema import public_stays
from ..server import Server, anywhere, look_at_server, prove_extensions, prove_roles
from .after_load import prove_scripts
from .fit_timescale import prove_beside, prove_timescale, timescale_words
from .inplace import find_in_the_way, lock_capacity
from .may_create import prove_may_create
from .room import prove_room

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = [
    "plan_load",
    "prove_disk",
    "prove_versions",
    "refuse_as_target",
    "refuse_newer",
    "refuse_where_it_may_do_harm",
    "stranger_words",
]

UNTOUCHED = "nothing was touched"


def plan_load(engine: PostgresEngine, archive: Archive, request: LoadRequest) -> LoadPlan:
    """Prove that the archive fits, choose how it becomes live, and say what that will do.

    Raises:
        VersionMismatch, ToolMissing, RightMissing: it does not fit; the hint names the way left.
        Refused: it would take the place of something it cannot replace.
    """
    refuse_as_target(engine)
    prove_scripts(request.after_load or ())
    state = engine.state()
    _refuse_what_replaces_nothing(engine, archive, request, state)
    prove_versions(engine, archive)
    contents = read_contents(engine, archive)
    refuse_newer(engine, archive.path.name, contents.server_version)
    server, why_inside = look_at_server(engine, state)
    timescale = prove_timescale(engine, archive, contents, request, server)
    refuse_where_it_may_do_harm(engine, archive, server)
    strategy, why = _strategy(engine, request, state, server, why_inside)
    prove_beside(engine, request, strategy, why, timescale)
    _prove_ties(engine, server, strategy)
    warnings = prove_roles(engine, request, contents, server)
    with anywhere(engine) as session:
        stays, words = public_stays(session, contents, request)
    warnings += words
    warnings += prove_extensions(engine, _extensions(archive, contents), server, strategy, state)
    warnings += stranger_words(engine, archive, server)
    warnings += _cleared(contents)
    warnings += _maintained_from(engine)
    warnings += timescale_words(engine, archive, request) if timescale else []
    prove_disk(archive)
    warnings += prove_room(engine, archive, server.place)
    facts, live_rows, more = _live(engine, state)
    plan = LoadPlan(
        request=request,
        strategy=strategy,
        state=state,
        route=engine.route,
        why=engine.why,
        facts=facts,
        why_in_place=why,
        live_rows=live_rows,
        schema=contents.schema,
        sessions=server.sessions if strategy is LoadStrategy.SWAP else (),
        warnings=(*warnings, *more),
        timescale=timescale,
        public_stays=stays,
    )
    if strategy is LoadStrategy.IN_PLACE:
        drops = _prove_in_place(engine, request, why, contents)
        plan = replace(plan, drops=drops, warnings=(*plan.warnings, *_no_old(request)))
    else:
        plan = replace(plan, warnings=(*plan.warnings, *server.left_in_use))
    return replace(plan, steps=_steps(engine, archive, plan, server.left_over))


# -- where to --------------------------------------------------------------------------


def refuse_as_target(engine: PostgresEngine) -> None:
    """Refuse the server's own databases.

    Raises:
        Refused: it is one.
    """
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


def _maintained_from(engine: PostgresEngine) -> list[str]:
    """Say that the target is where everybody connects to who wants to make or rename another one."""
    if engine.target.database != "postgres":
        return []
    return [
        "postgres is a maintenance database: clients connect to it to create, rename and back up the others, and"
        " most servers keep nothing in it; a database of its own is surer (--into=NAME)"
    ]


def refuse_where_it_may_do_harm(engine: PostgresEngine, archive: Archive, server: Server) -> None:
    """Refuse a template as target, and somebody's file where the login could do what the file says to the machine."""
    if server.template:
        raise Refused(
            f"{engine.target.database} is marked as a template: new databases are made from it",
            state=UNTOUCHED,
            hint="restore into another database, or take the mark away first (ALTER DATABASE ... IS_TEMPLATE false)",
        )
    if not archive.is_ours and server.powerful:
        # SET ROLE is no protection: what is loaded can RESET ROLE
        raise Refused(
            f"{archive.path.name} {_whose(archive)}, and loaded as {server.role} it could run programs"
            " or write files on the server's machine",
            state=UNTOUCHED,
            hint="connect as an ordinary role (the database's owner, with CREATEDB); --role is no protection here",
        )


def stranger_words(engine: PostgresEngine, archive: Archive, server: Server) -> list[str]:
    """Say of a file that is not ours as whom it is loaded, and by what."""
    if archive.is_ours:
        return []
    loaded = (
        f"{archive.path.name} {_whose(archive)}: it is loaded as {server.role}, a role that can neither run"
        " programs nor write files on the server's machine, and it can do there whatever that role may"
    )
    # a script reaches psql through the gate only, and brings none of its holes to bear; rows reach no tool
    by_tool = archive.format not in (Format.SQL, Format.ROWS)
    holes = known_holes(engine.runner.version("pg_restore")) if by_tool else ()
    return [loaded, *(f"pg_restore {hole}" for hole in holes)]


def _whose(archive: Archive) -> str:
    return "was made by somebody else and adopted" if archive.manifest else "has no manifest of dbtasks"


def _cleared(contents: Contents) -> list[str]:
    if not contents.cleared:
        return []
    return [
        f"{many(contents.cleared, 'statement')} of pg_dump --clean left out: what --clean drops is not there by then"
    ]


# -- the archive itself ----------------------------------------------------------------


def _refuse_what_replaces_nothing(
    engine: PostgresEngine, archive: Archive, request: LoadRequest, state: TargetState
) -> None:
    target, manifest = engine.target.database, archive.manifest
    if request.in_place and state is TargetState.MISSING:
        raise UsageError(f"--in-place needs a database, and {target} does not exist")
    if request.in_place and request.drop_old:
        raise UsageError("--drop-old means nothing in place: no old database is kept")
    if manifest is None or manifest.complete:
        return
    lacks = "; ".join(manifest.not_included)
    if rows_alone(manifest.not_included):
        raise Refused(
            f"backup {manifest.id} holds rows only ({lacks}): there is nothing to load them into",
            state=UNTOUCHED,
            hint=f"{by_hand(archive, engine.settings.backup_dir)}, into a database that has the tables",
        )
    if state in (TargetState.PRESENT, TargetState.DAMAGED):
        raise Refused(
            f"backup {manifest.id} is partial ({lacks}) and would replace all of {target}",
            state=UNTOUCHED,
            hint=f"restore it beside: --into={target}_partial",
        )


def prove_versions(engine: PostgresEngine, archive: Archive) -> None:
    """See that the tools are there, and that the server is no older than the one in the manifest.

    Raises:
        ToolMissing, VersionMismatch: it is not so.
    """
    if archive.format is not Format.SQL:
        engine.runner.version("pg_restore")
    engine.runner.version("psql")
    if archive.manifest:
        refuse_newer(engine, f"backup {archive.manifest.id}", archive.manifest.server_version)


def _extensions(archive: Archive, contents: Contents) -> dict[str, str]:
    """Return what has to be installable with its version: as the manifest says, without one as the file does, empty."""
    return dict(archive.manifest.extensions) if archive.manifest else dict.fromkeys(contents.extensions, "")


def refuse_newer(engine: PostgresEngine, what: str, version: str) -> None:
    """A newer dump into an older server may load, or lose what that server does not know: refused."""
    dumped, here = _major(version), engine.server_version() // 10000
    if dumped > here:
        raise VersionMismatch(
            f"{what} was made from PostgreSQL {version},"
            f" and this server is {here}: what is new since may not exist here",
            state=UNTOUCHED,
            hint=f"restore into a server of PostgreSQL {dumped} or later",
        )


def _major(version: str) -> int:
    digits = version.split(".")[0].split()[0] if version.split() else ""
    return int(digits) if digits.isdecimal() else 0


def prove_disk(archive: Archive) -> None:
    """A directory archive is unpacked beside itself."""
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
    """Choose how it becomes live, and say why where that is in place."""
    target = engine.target.database
    if request.in_place:
        return LoadStrategy.IN_PLACE, "asked for"
    able = server.creates and server.owns and not why_inside and server.closed_space is None
    if able:
        missing = state is TargetState.MISSING
        return (LoadStrategy.CREATE if missing else LoadStrategy.SWAP), ""
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


def _no_old(request: LoadRequest) -> list[str]:
    """Say that there is nothing to drop, where it came to be in place by itself."""
    return ["drop_old means nothing in place: no old database is kept"] if request.drop_old else []


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


def _prove_in_place(
    engine: PostgresEngine, request: LoadRequest, why: str, contents: Contents
) -> tuple[str, ...]:
    """List what is dropped, and prove that the role may drop and create and the server's lock table has room."""
    with engine.session() as session:
        found = find_in_the_way(session)
        prove_may_create(session, request, why, contents.schema, found.kept_schemas)
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


def _steps(
    engine: PostgresEngine, archive: Archive, plan: LoadPlan, left_over: tuple[str, ...]
) -> tuple[str, ...]:
    target, name = engine.target.database, archive.path.name
    scripts = ", ".join(file.name for file in plan.request.after_load or ())
    hooks = (f"run {scripts} in it, check it again",) if scripts else ()
    if plan.strategy is LoadStrategy.IN_PLACE:
        first = f"in one transaction: drop {many(len(plan.drops), 'object')} of {target}, load {name}"
        checked = "check row counts, sequences, extensions and indexes"
        if hooks:
            return (first, checked, *hooks, "COMMIT; until then nothing is changed")
        return (first, f"{checked}, then COMMIT; until then nothing is changed")
    beside = "" if plan.strategy is LoadStrategy.CREATE else f" beside {target}"
    begin: tuple[str, ...] = (
        *(f"drop {left}, left over by an earlier restore" for left in left_over),
        *_filling(plan, beside, name),
        "check row counts, sequences, extensions and indexes",
        *hooks,
    )
    if plan.strategy is LoadStrategy.CREATE:
        return (*begin, f"name it {target}")
    kept = "dropped" if plan.request.drop_old or plan.state is TargetState.EMPTY else "kept"
    are = "is" if len(plan.sessions) == 1 else "are"
    ended = f"; {many(len(plan.sessions), 'session')} {are} ended" if plan.sessions else ""
    return (
        *begin,
        f"carry over settings, privileges and comment of {target}",
        f"exchange the names in one transaction{ended}",
        f"the present {target} is {kept}" + (f" as {target}__before_<time>" if kept == "kept" else ""),
    )


def _filling(plan: LoadPlan, beside: str, name: str) -> tuple[str, ...]:
    if plan.timescale is None:
        return (f"create a new database{beside} and load {name} into it",)
    return (
        f"create a new database{beside} with the extension timescaledb {plan.timescale.version} in it,"
        " SELECT timescaledb_pre_restore()",
        f"load {name} into it by one job, then SELECT timescaledb_post_restore(), also after a failure",
    )
