"""What a migration would do: the source read once, types chosen, the target looked at. Nothing is touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ...engines.migration import opened_target, prove_makeable
from ...engines.postgres import PostgresEngine
from ...engines.postgres.migration.arrival import Ground, filled_tables, look_at_ground
from ...engines.sqlite.facts import facts_of
from ...engines.sqlite.leaving import LeavingRows, leaving_rows
from ...errors import Refused, RightMissing, UsageError
from ...events import OnEvent, Phase, ignore
from ...guards import consent_needed
from ...journal import recorded
from ...models import PostgresTarget, SqliteTarget
from ...nouns import many, some
from ...plans import TargetState
from ...revisions import known_tables, revision_summary
from ...rows.losses import Loss
from ...rows.migration.choices import Cast, Choices, choose, survey_for
from ...rows.migration.leading_out import leading_out
from ...rows.migration.left_out import LeftOut, left_out
from ...rows.migration.long_keys import long_keys
from ...rows.postgres.spelling import split_name
from ...rows.schema import PortableSchema
from ...settings import Settings
from ...stores.local import LocalStore
from ..restoring.destination import environment_of, reaching
from .sides import migration_source, migration_target, prove_database
from .values import MigrationJob, MigrationPlan, OnError

__all__ = ["UNTOUCHED", "Met", "plan_migration", "prove_empty", "refusal_recorded", "turned_down"]

UNTOUCHED = "nothing was touched"
NAMED = 5


def plan_migration(
    settings: Settings, job: MigrationJob | None = None, *, on_event: OnEvent = ignore
) -> MigrationPlan:
    """Read the source once, choose types, look at the target, and say what will be done. Nothing is touched.

    A failure gets its line in the log, as the migration it would have been; a dry run's does not. Values that will not
    fit are no failure of the plan: `plan.misfits` counts them, and `migrate` refuses unless it may leave rows out.

    Raises:
        UsageError: the flags name no SQLite file, no PostgreSQL database, or a table or column that is not there.
        StoreUnusable: the backup folder cannot be written.
        CannotReach: one of the two cannot be reached, or the database may not be created: the details hold the SQL.
        Refused: tables of the target have rows, or something of the source can go nowhere.
    """
    job = _sound(job or MigrationJob())
    source, target = migration_source(settings, job.source), migration_target(settings, job.target)
    # the source's backup and the report go there
    LocalStore(settings.backup_dir).prove()
    if job.dry_run:
        return _plan(settings, job, source, target, on_event)
    with refusal_recorded(settings, source, target):
        return _plan(settings, job, source, target, on_event)


@contextmanager
def refusal_recorded(settings: Settings, source: SqliteTarget, target: PostgresTarget) -> Iterator[None]:
    """Give a failure its line in the log, as the migration it would have been."""
    with recorded(settings.backup_dir, "migrate", target.identity, failures_only=True) as run:
        run.note(source=str(source.identity))
        yield


def _sound(job: MigrationJob) -> MigrationJob:
    """See that it can be meant; a plain word for what happens to rows that do not go in is one of them."""
    if job.batch_size < 1:
        raise UsageError(f"--batch-size={job.batch_size}: at least one row", state=UNTOUCHED)
    try:
        return replace(job, on_error=OnError(job.on_error))
    except ValueError as exc:
        known = " or ".join(OnError)
        raise UsageError(f"--on-error={job.on_error}: {known} is meant", state=UNTOUCHED) from exc


def _plan(
    settings: Settings, job: MigrationJob, source: SqliteTarget, target: PostgresTarget, on_event: OnEvent
) -> MigrationPlan:
    prove_database(source, named=job.source is not None)
    with (
        leaving_rows(source, settings.lock_timeout, job.selection, as_it_lies=job.dry_run) as held,
        opened_target(reaching(settings, target), target, on_event) as engine,
    ):
        ground = look_at_ground(engine)
        met = Met.of(settings, held, ground)
        choices = met.choices(held, job, on_event)
        if met.live is None:
            prove_makeable(engine, choices, missing=ground.state is TargetState.MISSING)
        else:
            prove_empty(engine, target, choices)
        on_event(Phase("check", "keys and references"))
        found = turned_down(engine, held, choices, met.live, skip=job.on_error is OnError.SKIP)
        behind = {name: count for name in choices.only_source if (count := held.count(name))}
        warnings = [
            f"{many(count, 'row')} of {name} {'does' if count == 1 else 'do'} not go: {target.name} has no such table; make it there,"
            f" or say that it stays: --exclude-table={name}"
            for name, count in behind.items()
        ]
        return MigrationPlan(
            # what is kept of it may be shown
            job=replace(job, target=None),
            source=source,
            target=target,
            state=ground.state,
            route=engine.route,
            why=engine.why,
            choices=choices,
            consent=consent_needed(target, settings.protect),
            environment=environment_of(settings, target),
            live=met.live,
            mark=held.mark,
            left_out=held.left_out,
            kept=met.kept,
            left_behind=behind,
            losses=tuple(map(str, choices.losses)),
            warnings=(
                *warnings,
                *(f"not counted before: {text}" for text in found.uncounted),
                *long_keys(held.connection, held.schema, choices, met.live),
                *_other_revision(settings, source, target, held, ground),
            ),
            orphans=found.orphans,
            clashes=found.clashes,
            falls=found.falls,
            rejects=found.rows,
            would_reject=found.would,
        )


@dataclass(frozen=True)
class Met:
    """What of the source goes, and where its tables are there already."""

    schema: PortableSchema
    live: PortableSchema | None
    kept: tuple[str, ...] = ()
    taken: frozenset[str] = frozenset()
    """Names in the schema where tables are made."""
    others: tuple[str, ...] = ()
    """The tables that are there, where none of them is the source's."""

    @classmethod
    def of(cls, settings: Settings, held: LeavingRows, ground: Ground) -> Met:
        """Tell whether any of the source's tables is there; else all of them are made."""
        there = {split_name(table.name)[-1].lower() for table in ground.live.tables} if ground.live else set()
        if not there & {name.lower() for name in held.tables}:
            others = ground.live.tables if ground.live else ()
            alone = tuple(one.name for one in others if not one.partition_of)
            return cls(held.schema, None, taken=ground.names, others=alone)
        # what made the tables wrote down how far it has come: that is the target's own
        own = known_tables(settings.migration_table) & there if ground.revision else frozenset()
        kept = tuple(name for name in held.tables if name.lower() in own)
        tables = tuple(table for table in held.schema.tables if table.name not in kept)
        return cls(replace(held.schema, tables=tables), ground.live, kept)

    def choices(self, held: LeavingRows, job: MigrationJob, on_event: OnEvent) -> Choices:
        """Read every row, and choose.

        Raises:
            UsageError: a cast means nothing. Refused: something has nowhere to go; lists all of it.
        """
        casts = [Cast.parse(text) for text in job.casts]
        survey = held.read(survey_for(self.schema, casts, self.live), on_event)
        choices = choose(
            self.schema,
            survey,
            casts=casts,
            live=self.live,
            beside=held.beside,
            taken=self.taken,
            used=held.names,
        )
        if self.live is None:
            choices = replace(choices, only_target=self.others)
        stops: list[Loss] = [loss for loss in choices.losses if loss.holds_up]
        if stops:
            raise Refused(
                f"it cannot be migrated as it is: {stops[0]}",
                details="\n".join(map(str, stops)),
                state=UNTOUCHED,
                hint=_mending(stops),
            )
        return choices


def _mending(stops: Sequence[Loss]) -> str:
    """Say what helps; where it is names alone, the statements that give others."""
    renames = [loss.mend for loss in stops if loss.mend]
    rest = "mend that" if not renames else "mend the rest" if len(renames) < len(stops) else ""
    other_names = "the application has to use the new names too"
    said = f"in SQLite, in this order: {' '.join(renames)} ({other_names})" if renames else ""
    return "; ".join(filter(None, (said, rest, "or leave the table out: --exclude-table=NAME")))


def _other_revision(
    settings: Settings, source: SqliteTarget, target: PostgresTarget, held: LeavingRows, ground: Ground
) -> Iterator[str]:
    """Warn where the application's migrations stand elsewhere on the two sides."""
    if ground.revision is None:
        return
    ours = facts_of(held.connection, held.path, settings.migration_table).revision
    if ours is not None and ours != ground.revision:
        yield (
            f"{source.name} stands at {revision_summary(ours)}, and {target.name} at {revision_summary(ground.revision)}:"
            " bring both to the same one first, or their tables may not mean the same"
        )


def turned_down(
    engine: PostgresEngine,
    held: LeavingRows,
    choices: Choices,
    live: PortableSchema | None,
    *,
    skip: bool,
) -> LeftOut:
    """Look for the rows that do not go in; of tables that get none it is asked whether they have some."""
    outside = {one.references for one in leading_out(held.schema, choices, live)}
    try:
        filled = filled_tables(engine, sorted(outside)) if outside else ()
    except RightMissing:
        # what is in there only the server knows
        filled = tuple(outside)
    return left_out(held.connection, held.schema, choices, live, skip=skip, filled=filled)


def prove_empty(engine: PostgresEngine, target: PostgresTarget, choices: Choices) -> None:
    """See that the tables that will be filled hold no row.

    Raises:
        Refused: one does; names them.
    """
    filled = filled_tables(engine, [choices.names[name] for name in choices.order])
    if filled:
        raise Refused(
            f"tables of {target.name} hold rows already: {some(filled, NAMED)}",
            state=UNTOUCHED,
            hint="empty them, leave them out (--exclude-table=NAME), or migrate into another database: --to=URL",
        )
