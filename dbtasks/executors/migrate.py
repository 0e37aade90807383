"""Migrate: a SQLite database into PostgreSQL, in one transaction that is committed when every row is proved."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from ..catalog import new_id
from ..clock import Clock, utc_now
from ..engines.migration import carry, opened_target
from ..engines.postgres import PostgresEngine
from ..engines.postgres.migration.arrival import arriving, as_it_was, look_at_ground
from ..engines.postgres.script.statements import quoted, quoted_pair
from ..engines.sqlite.leaving import LeavingRows, leaving_rows
from ..errors import DbTasksError, Interrupted, Refused
from ..events import OnEvent, Phase, RowsSoFar, Warned, ignore, without_route
from ..interrupts import held_back
from ..models import Backup
from ..nouns import many, some
from ..rows.migration.arriving import Loading, TableProof
from ..rows.migration.choices import Choices, ColumnChoice
from ..rows.migration.left_out import Clash
from ..rows.migration.orphans import Orphans
from ..rows.postgres.spelling import split_name
from ..settings import Settings
from .backup import BackupJob, backup, writing_run
from .migration.plan import UNTOUCHED, Met, prove_empty, refusal_recorded, turned_down
from .migration.rejects import Rejects, collected_rejects
from .migration.report import report_stem, reports_folder, write_report
from .migration.sides import url_line
from .migration.values import MigratedTable, MigrationPlan, MigrationReport, OnError
from .restoring.destination import reaching
from .restoring.left_proofs import sweep_proofs

__all__ = ["migrate", "prove_fitting", "refuse_misfits"]

AGAIN = "look again: db.migrate --dry-run"
NAMED = 5
FOLLOWS = re.compile(r"ON DELETE (?:CASCADE|SET)")
EMPTY_TEXT = ": '' "
"""How the words for a misfit go on behind the row's number, where the value is an empty text."""


def prove_fitting(settings: Settings, plan: MigrationPlan) -> None:
    """Do as `refuse_misfits` does; a refusal gets its line in the log, as one of the plan does.

    Raises:
        Refused: as `refuse_misfits`.
    """
    with refusal_recorded(settings, plan.source, plan.target):
        refuse_misfits(plan)


def refuse_misfits(plan: MigrationPlan) -> None:
    """See that every value fits, every key is there once and every row has what it refers to, or that rows may be left out.

    Raises:
        Refused: one does not; names columns, rows and why.
    """
    if not plan.misfits or plan.job.on_error is OnError.SKIP:
        return
    # the types of tables that are there are not ours to choose
    types = (
        "choose a type: --cast=TABLE.COLUMN:TYPE" if plan.makes_tables else "change the column's type there"
    )
    unfit = [one for name in plan.choices.order for one in plan.choices.columns[name] if one.misfits]
    told = []
    if unfit:
        first = f"{unfit[0].table}.{unfit[0].column}"
        told.append(f"{many(plan.choices.misfits, 'value')} will not fit: the first column is {first}")
    for by in dict.fromkeys(one.by for one in plan.orphans):
        told.append(_refers([one for one in plan.orphans if one.by == by]))
    if twice := sum(one.rows for one in plan.clashes):
        have = f"{many(twice, 'row')} {'has' if twice == 1 else 'have'} a key that is there already"
        told.append(f"{have}: the first is {plan.clashes[0].place}")
    retyped = f"or {types}; or " if unfit or (plan.clashes and plan.makes_tables) else "or "
    raise Refused(
        "; ".join(told),
        details="\n".join(
            [
                *(
                    f"{one.table}.{one.column}, {one.misfits:,} into {one.type}: {_rows(one)}"
                    for one in unfit
                ),
                *(f"{one.place}, {one.rows:,} to {one.nothing}: {_rows(one)}" for one in plan.orphans),
                *(
                    f"{one.place}, {one.rows:,} with a key that is there already: {_rows(one)}"
                    for one in plan.clashes
                ),
            ]
        ),
        state=UNTOUCHED,
        hint=f"mend the rows; {_as_null(unfit)}{retyped}{_leaving(plan)}: --on-error=skip",
    )


def _as_null(unfit: Sequence[ColumnChoice]) -> str:
    """Say how an empty text becomes no value, which is what it mostly means; no flag does it."""
    for one in unfit:
        if not one.not_null and any(EMPTY_TEXT in text for text in one.examples):
            name = quoted(one.column)
            return f"where '' is no value: UPDATE {quoted(one.table)} SET {name} = NULL WHERE {name} = ''; "  # noqa: S608 - quoted, and for people
    return ""


def _leaving(plan: MigrationPlan) -> str:
    """Say what `--on-error=skip` would cost: what refers to a row goes with it, however long the chain is."""
    if not plan.would_reject:
        return "leave such rows out"
    each = some([f"{count:,} of {name}" for name, count in plan.would_reject.items()], NAMED)
    rows, every = sum(plan.would_reject.values()), sum(plan.choices.rows.values())
    return f"leave out {rows:,} of {many(every, 'row')}, with what refers to such a row ({each})"


def _refers(orphans: Sequence[Orphans]) -> str:
    rows = sum(one.rows for one in orphans)
    to = f"a row only {orphans[0].by}" if orphans[0].by else "nothing"
    return f"{many(rows, 'row')} {'refers' if rows == 1 else 'refer'} to {to}: the first column is {orphans[0].place}"


def _rows(one: ColumnChoice | Orphans | Clash) -> str:
    return "; ".join(f"row {text}" for text in one.examples)


# -- the act -------------------------------------------------------------------------------------


def migrate(
    settings: Settings, plan: MigrationPlan, *, now: Clock = utc_now, on_event: OnEvent = ignore
) -> MigrationReport:
    """Carry a plan out.

    After success the target holds the rows of the source, each proved by a checksum on both sides, and reports lie
    under reports/ in the backup folder, with the rows that were left out, where that was asked for. The source is only
    read, and was backed up first. After a failure the target is as it was, and a database that was missing is missing;
    the error's state says so.

    Raises:
        Refused: values will not fit, or the source or the target is not what was planned any more.
        Busy: another run, or a lock. CannotReach: the way broke. LoadFailed: a row does not go in; names it.
        CountsDiffer: what arrived is not what was there. Interrupted: the state says what the target holds.
    """
    prove_fitting(settings, plan)
    started_at, id_ = now(), new_id()
    state = f"{plan.target.name} was not touched"
    try:
        with (
            writing_run(settings, "migrate", plan.target) as run,
            ExitStack() as waiting,
            leaving_rows(plan.source, settings.lock_timeout, plan.job.selection) as held,
            opened_target(reaching(settings, plan.target), plan.target, without_route(on_event)) as engine,
        ):
            run.note(source=str(plan.source.identity), migration=id_)
            saved = _save_source(settings, plan, now, on_event)
            run.note(backup=saved.id)
            sweep_proofs(reaching(settings, plan.target), on_event)
            stem = report_stem(started_at, id_)
            with engine.claimed(), _rejects(settings, plan, stem) as rejects:
                state = as_it_was(plan.target.name, plan.state)
                choices = _as_planned(settings, engine, held, plan, on_event)
                loading = _loading(plan, choices, rejects, on_event)
                with arriving(engine, plan.state, id_, on_event) as arrival:
                    proofs = carry(held, arrival, choices, loading, make=plan.makes_tables, on_event=on_event)
                    if rejects is not None:
                        rejects.settle()
                    on_event(Phase("commit", plan.target.name))
                    waiting.enter_context(held_back())
                    arrival.commit()
                    notes = [
                        *(text for proof in proofs for text in proof.indexes_left),
                        *arrival.analyze([_parts(choices.names[name]) for name in choices.order]),
                    ]
                state = f"{plan.target.name} holds what was migrated"
                told = _Told(settings, plan, choices, proofs, saved, id_, started_at, now(), notes)
                report = told.written(rejects, stem, on_event)
            run.note(rows=report.rows, report=str(report.page) if report.page else None)
            if report.has_losses:
                run.note(ok=False, exit_code=8, message=report.missing)
    except KeyboardInterrupt as exc:
        raise Interrupted(f"the migration into {plan.target.name} was interrupted", state=state) from exc
    except DbTasksError as exc:
        exc.state = exc.state or state
        raise
    for text in notes:
        on_event(Warned(text))
    return report


def _parts(name: str) -> tuple[str, str]:
    schema, table = split_name(name)
    return schema, table


def _save_source(settings: Settings, plan: MigrationPlan, now: Clock, on_event: OnEvent) -> Backup:
    """Back the source up whole, under its own name, whatever backups usually leave out."""
    on_event(Phase("backup", plan.source.name))
    whole = replace(
        settings,
        target=plan.source,
        via=("auto",),
        exclude_tables=(),
        exclude_data=(),
        format=None,
        compression=None,
        jobs=None,
        environment=settings.environment if plan.source == settings.target else None,
    )
    job = BackupJob(note=f"before migrating it into {plan.target.identity}")
    try:
        return backup(whole, job, now=now, on_event=without_route(on_event))
    except DbTasksError as exc:
        exc.state = (
            f"{plan.target.name} was not touched: without a backup of {plan.source.name} nothing is migrated"
        )
        raise


@contextmanager
def _rejects(settings: Settings, plan: MigrationPlan, stem: str) -> Iterator[Rejects | None]:
    if plan.job.on_error is OnError.STOP:
        yield None
        return
    with collected_rejects(reports_folder(settings.backup_dir), f"{stem}.rejects.jsonl") as rejects:
        yield rejects


def _loading(plan: MigrationPlan, choices: Choices, rejects: Rejects | None, on_event: OnEvent) -> Loading:
    total, done = sum(choices.rows.values()), dict[str, int]()

    def on_rows(table: str, rows: int) -> None:
        done[table] = rows
        on_event(RowsSoFar(sum(done.values()), total))

    how = Loading(batch_size=plan.job.batch_size, may_cast=plan.makes_tables, on_rows=on_rows)
    return how if rejects is None else replace(how, skip=True, on_reject=rejects.take)


def _as_planned(
    settings: Settings, engine: PostgresEngine, held: LeavingRows, plan: MigrationPlan, on_event: OnEvent
) -> Choices:
    """Look again: while somebody was asked, somebody else may have written to either side.

    Raises:
        Refused: other tables or other types would be chosen now, or the target is another.
    """
    ground = look_at_ground(engine)
    met = Met.of(settings, held, ground)
    if ground.state is not plan.state or met.live != plan.live or met.kept != plan.kept:
        raise Refused(f"{plan.target.name} was changed since this was planned", hint=AGAIN)
    if met.live is not None:
        prove_empty(engine, plan.target, plan.choices)
    if held.mark == plan.mark:
        return plan.choices
    choices = met.choices(held, plan.job, on_event)
    if _types(choices) != _types(plan.choices):
        raise Refused(
            f"{plan.source.name} was changed since this was planned, and would go another way now", hint=AGAIN
        )
    if plan.job.on_error is OnError.STOP:
        found = turned_down(engine, held, choices, met.live, skip=False)
        refuse_misfits(
            replace(
                plan, choices=choices, orphans=found.orphans, clashes=found.clashes, would_reject=found.would
            )
        )
    return choices


def _types(choices: Choices) -> list[tuple[str, str, str]]:
    """Return what was shown and agreed to."""
    return [(one.table, one.column, one.type) for name in choices.order for one in choices.columns[name]]


@dataclass(frozen=True)
class _Told:
    """What a report is made of."""

    settings: Settings
    plan: MigrationPlan
    choices: Choices
    proofs: Sequence[TableProof]
    saved: Backup
    id: str
    started_at: datetime
    ended_at: datetime
    notes: Sequence[str]

    def written(self, rejects: Rejects | None, stem: str, on_event: OnEvent) -> MigrationReport:
        """Write the report; what was migrated is migrated, and told, where that fails."""
        report, folder = self._report(), self.settings.backup_dir
        try:
            if rejects is not None:
                report = replace(report, rejects=rejects.publish(), causes=rejects.causes)
            page, document = write_report(folder, stem, report)
        except DbTasksError as exc:
            text = f"the report could not be written: {exc.message}"
            on_event(Warned(text))
            return replace(report, warnings=(*report.warnings, text))
        return replace(report, page=page, document=document)

    def _way_back(self) -> str:
        source = self.plan.source
        back = f"{source.name} was not changed and is backed up as {self.saved.id}: {url_line(self.settings, source)}"
        if self.plan.makes_database:
            return f"{back}; DROP DATABASE {quoted(self.plan.target.name)}; removes what was made"
        tables = [quoted_pair(_parts(self.choices.names[name])) for name in self.choices.order]
        if self.plan.makes_tables:
            return f"{back}; DROP TABLE {', '.join(tables)}; removes what was made"
        return f"{back}; {self._emptying(tables)}; empties the tables again{self._changed_along()}"

    def _emptying(self, tables: Sequence[str]) -> str:
        filled = {self.choices.names[name] for name in self.choices.order}
        live = self.plan.live.tables if self.plan.live else ()
        others = (one for one in live if one.name not in filled)
        if not any(key.references in filled for one in others for key in one.foreign_keys):
            return f"TRUNCATE {', '.join(tables)}"
        # what another table refers to is not truncated; in one statement a circle is no obstacle
        *before, last = (f"DELETE FROM {table}" for table in reversed(tables))  # noqa: S608 - quoted
        parts = ", ".join(f"d{number} AS ({text})" for number, text in enumerate(before, 1))
        return f"WITH {parts} {last}" if parts else last

    def _changed_along(self) -> str:
        """Say which other tables a deletion changes by their own keys."""
        filled = {self.choices.names[name] for name in self.choices.order}
        live = self.plan.live.tables if self.plan.live else ()
        names = [
            one.name
            for one in live
            if one.name not in filled
            and any(key.references in filled and FOLLOWS.search(key.definition) for key in one.foreign_keys)
        ]
        return f", and rows of {some(names)} are deleted or changed by their own keys" if names else ""

    def _report(self) -> MigrationReport:
        plan, choices = self.plan, self.choices
        proofs = {proof.table: proof for proof in self.proofs}
        return MigrationReport(
            id=self.id,
            source=plan.source,
            target=plan.target,
            started_at=self.started_at,
            seconds=(self.ended_at - self.started_at).total_seconds(),
            made_database=plan.makes_database,
            made_tables=plan.makes_tables,
            tables=tuple(
                MigratedTable(name, choices.names[name], choices.columns[name], proofs[name])
                for name in choices.order
            ),
            source_backup=self.saved,
            url_line=url_line(self.settings, plan.target),
            way_back=self._way_back(),
            losses=plan.losses,
            left_out=plan.left_out,
            kept=plan.kept,
            left_behind=plan.left_behind,
            only_target=choices.only_target,
            warnings=(*plan.warnings, *self.notes),
        )
