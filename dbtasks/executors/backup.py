"""Back up: dump into a draft, read it back whole, publish it with its manifest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from ..anomaly import find_anomaly
from ..catalog import archive_name, new_id, read_catalog
from ..clock import Clock, utc_now
from ..engines import Engine
from ..engines.python_route import Dumping
from ..engines.routes import open_engine
from ..errors import (
    AlreadyExists,
    ArchiveDamaged,
    Damaged,
    DbTasksError,
    OperationFailed,
    RouteUnavailable,
    UsageError,
)
from ..events import OnEvent, Phase, Warned, ignore
from ..journal import Run, recorded
from ..lock import run_lock
from ..manifest import is_plain_name
from ..models import Archive, Backup, Manifest, Proof, Target, Type
from ..plans import Checked, Dumped, DumpPlan, DumpRequest
from ..settings import Settings
from ..stores import Draft
from ..stores.local import LocalStore, OutputFolder, translated
from .reading import hash_file, hashing

__all__ = [
    "BackupJob",
    "BackupPlan",
    "backup",
    "dumping_of",
    "make_backup",
    "nothing_published",
    "plan_backup",
    "shrunk",
    "writing_run",
]

UNTOUCHED = "nothing was published; earlier backups are untouched"


@dataclass(frozen=True)
class BackupJob:
    """What is asked of one backup."""

    type: Type = Type.MANUAL
    request: DumpRequest = DumpRequest()  # noqa: RUF009 - frozen
    note: str = ""
    globals: bool = False
    via: str | None = None
    output: Path | None = None
    """A file or folder outside the store; such a backup is nobody's `latest`."""


@dataclass(frozen=True)
class BackupPlan:
    """What a backup would do; made by reading only."""

    target: Target
    type: Type
    dump: DumpPlan
    archive: Path
    """Where it would be published; the id in the name is an example."""


def plan_backup(
    settings: Settings, job: BackupJob | None = None, *, on_event: OnEvent = ignore
) -> BackupPlan:
    """Prove that a backup can be made and say what it would hold. Nothing is written.

    Raises:
        CannotReach: the database, a tool or a right is not there. StoreUnusable: the folder cannot be written.
        UsageError: the request does not fit the database.
    """
    job = job or BackupJob()
    target = settings.require_target()
    LocalStore(settings.backup_dir).prove()
    store = _place(settings, job)
    needs = dumping_of(settings, job.request, globals_=job.globals)
    with open_engine(settings, target, via=job.via, on_event=on_event, dumping=needs) as engine:
        plan = engine.plan_dump(job.request, globals_=job.globals)
    name = _name(settings, job, target, new_id(), utc_now(), plan)
    return BackupPlan(target, job.type, plan, store.home(job.type) / name)


def backup(
    settings: Settings,
    job: BackupJob | None = None,
    *,
    now: Clock = utc_now,
    on_event: OnEvent = ignore,
) -> Backup:
    """Make one verified backup and return its catalog entry.

    One that has shrunk beyond belief is made all the same: its manifest's `anomaly` says how, and until
    a normal one follows `plan_cleanup` lets nothing go.

    It becomes visible only after the dump ended well, was read back from disk
    and its manifest is written. After any failure, and after a kill, the store
    holds what it held before.

    Raises:
        Busy: another run works on this database. StoreUnusable: the folder cannot be written.
        CannotReach, DumpFailed, StoreFull: nothing was published.
    """
    job = job or BackupJob()
    if job.type is Type.SAFETY:
        raise UsageError(
            "safety backups are made by restores only", hint="use manual, daily, weekly or monthly"
        )
    target = settings.require_target()
    with writing_run(settings, "backup", target) as run:
        needs = dumping_of(settings, job.request, globals_=job.globals)
        with open_engine(settings, target, via=job.via, on_event=on_event, dumping=needs) as engine:
            made = make_backup(settings, engine, job, now=now, on_event=on_event)
        run.note(backup=made.id, type=str(job.type), size_bytes=made.manifest.size_bytes)
        # what the next one's forecast compares by
        _note_kind(run, made.manifest)
        if made.manifest.anomaly:
            run.note(ok=False, exit_code=8, anomaly=made.manifest.anomaly, message=shrunk(made.manifest))
    return made


def dumping_of(settings: Settings, request: DumpRequest, *, globals_: bool = False) -> Dumping:
    """Return what a backup needs of its route; looks into the store only when the last one is come to."""

    def complete() -> str:
        target = settings.require_target()
        own = read_catalog(LocalStore(settings.backup_dir).entries(), target.identity).backups
        return next((b.id for b in own if b.manifest.complete and not b.manifest.damage), "")

    return Dumping.of(settings, request, globals_=globals_, complete=complete)


def shrunk(made: Manifest) -> str:
    """Say that a backup was made and has shrunk, and what follows from it."""
    return (
        f"the backup was made, and it holds {made.anomaly}; nothing is cleaned up until a normal one is made,"
        f" or db.cleanup --accept={made.id} takes this one for normal"
    )


def _note_kind(run: Run, made: Manifest) -> None:
    run.note(
        format=str(made.format),
        compression=str(made.compression),
        raw_size_bytes=made.raw_size_bytes,
        route=str(made.route),
        complete=made.complete,
    )
    if made.warnings:
        run.note(warnings=list(made.warnings))


@contextmanager
def writing_run(settings: Settings, task: str, target: Target) -> Iterator[Run]:
    """Prepare the store, hold the run lock, sweep leftovers, and write the log's line."""
    store = LocalStore(settings.backup_dir)
    store.prepare()
    with (
        recorded(store.root, task, target.identity) as run,
        run_lock(store.root, target.identity, f"db.{task}"),
    ):
        store.sweep()
        if settings.target and settings.target.identity != target.identity:
            # --into: the log of the project's own database shows it too
            run.note(configured=str(settings.target.identity))
        yield run


def make_backup(
    settings: Settings, engine: Engine, job: BackupJob, *, now: Clock = utc_now, on_event: OnEvent = ignore
) -> Backup:
    """Make a backup while the caller holds the run lock; see `backup`."""
    store = _place(settings, job)
    started_at, id_ = now(), new_id()
    plan = engine.plan_dump(job.request, globals_=job.globals)
    for text in plan.warnings:
        on_event(Warned(text))
    name = _name(settings, job, engine.target, id_, started_at, plan)
    with translated(f"cannot look into {store.home(job.type)}"):
        is_taken = (store.home(job.type) / name).exists()
    if is_taken:
        raise AlreadyExists(
            f"{name} exists already in {store.home(job.type)}; archives are never overwritten"
        )
    with nothing_published(UNTOUCHED), _route_held(), store.draft(job.type) as draft:
        dumped = engine.dump(plan, draft, on_event)
        for text in dumped.warnings:
            on_event(Warned(text))
        proof = _read_back(engine, draft, plan, dumped, now, on_event)
        manifest = _manifest(settings, engine, job, plan, dumped, proof)
        manifest = replace(manifest, id=id_, archive=name, started_at=started_at, finished_at=now())
        manifest = _with_globals(manifest, draft, plan)
        manifest = _compared(settings, manifest)
        on_event(Phase("publish", name))
        made = store.publish(draft, manifest, proof)
    if manifest.anomaly:
        on_event(Warned(shrunk(manifest)))
    return made


@contextmanager
def nothing_published(state: str) -> Iterator[None]:
    """Let every failure say in which state it left the store."""
    try:
        yield
    except DbTasksError as exc:
        exc.state = exc.state or state
        raise


@contextmanager
def _route_held() -> Iterator[None]:
    try:
        yield
    except RouteUnavailable as exc:
        # it was there when the work began
        raise OperationFailed(
            f"the backup broke off: {exc.message}", details=exc.details, state=UNTOUCHED, hint=exc.hint
        ) from exc


def _place(settings: Settings, job: BackupJob) -> LocalStore:
    if job.output is None:
        return LocalStore(settings.backup_dir)
    output = _output(settings, job.output)
    with translated(f"--output: cannot look for {output}"):
        is_folder = output.is_dir()
        is_taken = not is_folder and (output.exists() or output.is_symlink())
    if is_taken:
        raise UsageError(
            f"--output: {output} exists already; archives are never overwritten",
            hint="name another file, or a folder",
            state="it was not touched",
        )
    if not is_folder and not is_plain_name(output.name):
        raise UsageError(
            f"--output: {output.name!r} is no name for an archive",
            hint="choose one without line breaks and backslashes",
        )
    return OutputFolder(output if is_folder else output.parent)


def _output(settings: Settings, output: Path) -> Path:
    return settings.root / output.expanduser()


def _name(
    settings: Settings, job: BackupJob, target: Target, id_: str, started_at: datetime, plan: DumpPlan
) -> str:
    if job.output is not None and not _output(settings, job.output).is_dir():
        return job.output.name
    return archive_name(target.identity, id_, started_at, plan.suffix)


def _read_back(
    engine: Engine, draft: Draft, plan: DumpPlan, dumped: Dumped, now: Clock, on_event: OnEvent
) -> Proof:
    """Read the draft from disk, whole: its hash must be the one that was written, its inside must hold."""
    archive = Archive(draft.path, plan.format, plan.compression, None)
    with hashing(draft.path) as hashed:
        try:
            inside: Checked | Damaged = engine.check(archive, on_event)
        except Damaged as exc:
            inside = exc
        sha256, size_bytes = hashed.result()
    # a disk that lost bytes is the cause, what the check stumbled over its effect
    if dumped.sha256 is not None and dumped.sha256 != sha256:
        raise ArchiveDamaged(
            "the archive read back from disk differs from what was written",
            state="nothing was published",
            hint="check the disk the backup folder lies on",
        )
    if isinstance(inside, Damaged):
        raise inside
    return Proof(size_bytes, sha256, f"{inside.how}; sha256 read back", now())


def _manifest(
    settings: Settings, engine: Engine, job: BackupJob, plan: DumpPlan, dumped: Dumped, proof: Proof
) -> Manifest:
    facts = plan.facts
    return Manifest(
        id="",
        archive="",
        started_at=proof.at,
        finished_at=proof.at,
        database=engine.target.identity,
        type=job.type,
        format=plan.format,
        compression=plan.compression,
        size_bytes=proof.size_bytes,
        raw_size_bytes=dumped.raw_size_bytes,
        sha256=proof.sha256,
        route=plan.route,
        server_version=facts.server_version,
        tool_version=plan.tool_version,
        verified_at=proof.at,
        verified_how=proof.how,
        complete=plan.complete,
        all_tables=plan.all_tables,
        not_included=plan.not_included if dumped.not_included is None else dumped.not_included,
        environment=settings.environment,
        system_identifier=facts.system_identifier,
        extensions=facts.extensions,
        encoding=facts.encoding,
        collation=facts.collation,
        ctype=facts.ctype,
        revision=(dumped.facts or facts).revision,
        note=job.note,
        tables=dumped.tables,
        not_counted=dumped.not_counted,
        sequences=dumped.sequences,
        database_settings=facts.settings,
        warnings=(*plan.warnings, *dumped.warnings),
    )


def _compared(settings: Settings, manifest: Manifest) -> Manifest:
    """Compare with the backups of this database in the store, wherever this one goes."""
    earlier = read_catalog(LocalStore(settings.backup_dir).entries(), manifest.database).backups
    return replace(manifest, anomaly=find_anomaly(manifest, earlier, settings.shrink_limit))


def _with_globals(manifest: Manifest, draft: Draft, plan: DumpPlan) -> Manifest:
    if not plan.globals:
        return manifest
    sha256, _ = hash_file(draft.globals_path)
    return replace(manifest, globals=f"{manifest.archive}.globals.sql", globals_sha256=sha256)
