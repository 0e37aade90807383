"""Adopt: give somebody else's file a manifest, as a copy in the store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ..catalog import archive_name, new_id
from ..clock import Clock, utc_now
from ..engines.routes import open_checker
from ..errors import ArchiveDamaged, NotFound, Refused, UsageError
from ..events import OnEvent, Phase, ignore
from ..journal import recorded
from ..models import Adoption, Archive, Backup, Compression, Format, Manifest, Proof, Route, Target, Type
from ..plans import Checked, Described
from ..retention import Policy, plan_retention
from ..settings import Settings
from ..stores import Draft
from ..stores.local import LocalStore, open_archive, translated
from ..streams import HashingReader, pump
from .backup import nothing_published, writing_run
from .browse import list_backups, unlisted_archive
from .reading import hash_file, hashing
from .restoring.destination import prove_same_engine
from .verify import read_whole

__all__ = ["AdoptJob", "AdoptPlan", "adopt", "plan_adopt"]

UNPUBLISHED = "nothing was published"
UNTOUCHED = f"{UNPUBLISHED}; the file is as it was"
ENDINGS = {
    Format.SQLITE: ".sqlite3",
    Format.CUSTOM: ".dump",
    Format.SQL: ".sql",
    Format.DIRECTORY: ".dir.tar",
    Format.ROWS: ".json",
}
PACKED = {Compression.NONE: "", Compression.GZIP: ".gz", Compression.ZSTD: ".zst"}


@dataclass(frozen=True)
class AdoptJob:
    """What is asked of one adoption."""

    file: str
    """A path, or the name of a file in the store that has no manifest."""
    type: Type = Type.MANUAL
    note: str = ""
    dry_run: bool = False
    """Only the plan is wanted: not even its failure is written down."""


@dataclass(frozen=True)
class AdoptPlan:
    """What an adoption would write down; the file was read whole to make it, nothing was written."""

    job: AdoptJob
    target: Target
    archive: Archive
    manifest: Manifest
    """As it would be published; the id is an example. Of the backup that is there, where `existing` is one."""
    existing: Backup | None = None
    """The backup that these very bytes are already."""
    warnings: tuple[str, ...] = ()


def plan_adopt(settings: Settings, job: AdoptJob, *, on_event: OnEvent = ignore) -> AdoptPlan:
    """Read a file to its end and say what is known of it. Nothing is published; the database is not asked.

    A failure gets its line in the log, as the adoption it would have been; a dry run's does not.

    Raises:
        NotFound: no such file. ArchiveDamaged: it is not whole. ToolMissing: pg_restore is not there.
        WrongEngine: another tool's, or of another kind of database. Refused: it holds what no dump holds.
    """
    target = settings.require_target()
    if job.dry_run:
        return _plan(settings, job, target, on_event)
    with recorded(settings.backup_dir, "adopt", target.identity, failures_only=True) as run:
        run.note(file=job.file)
        return _plan(settings, job, target, on_event)


def _plan(settings: Settings, job: AdoptJob, target: Target, on_event: OnEvent) -> AdoptPlan:
    if job.type is Type.SAFETY:
        raise UsageError(
            "safety backups are made by restores only", hint="use manual, daily, weekly or monthly"
        )
    archive = unlisted_archive(settings, job.file, unverified=True)
    prove_same_engine(archive, target)
    # of this database alone: what is in another one's list is in this one's only when it is adopted
    listed = list_backups(settings).backups
    existing = next(
        (b for b in listed if b.manifest.sha256 == archive.sha256 and not b.manifest.damage), None
    )
    if existing:
        return AdoptPlan(job, target, archive, existing.manifest, existing, _counted_otherwise(job, existing))
    with open_checker(settings, archive.format, on_event=on_event) as engine:
        checked = read_whole(engine, archive, on_event, thorough=True)
        on_event(Phase("describe", archive.path.name))
        described = engine.describe(archive, on_event)
        route = engine.route
    with translated(f"cannot read {archive.path}"):
        facts = archive.path.stat()
    if hash_file(archive.path)[0] != archive.sha256:
        raise Refused(f"{archive.path.name} was changed while it was read", state=UNPUBLISHED)
    made_at = datetime.fromtimestamp(facts.st_mtime, UTC)
    manifest = _manifest(job, target, archive, described, checked, route, made_at, facts.st_size)
    return AdoptPlan(job, target, archive, manifest, warnings=_doubts(settings, manifest, listed))


def adopt(settings: Settings, plan: AdoptPlan, *, now: Clock = utc_now, on_event: OnEvent = ignore) -> Backup:
    """Publish a copy of the file with its manifest and return its catalog entry; the file itself stays as it is.

    What is in the list already is returned as it is there. After a failure the
    store holds what it held before.

    Raises:
        Busy: another run works on this database. ArchiveDamaged: it is not the file of the plan any more.
        StoreUnusable, StoreFull: nothing was published.
    """
    if plan.existing:
        return plan.existing
    archive, job = plan.archive, plan.job
    store = LocalStore(settings.backup_dir)
    with (
        nothing_published(UNTOUCHED),
        writing_run(settings, "adopt", plan.target) as run,
        store.draft(job.type) as draft,
    ):
        on_event(Phase("copy", archive.path.name))
        _copy(archive, draft)
        with (
            open_checker(settings, archive.format, on_event=on_event) as engine,
            hashing(draft.path) as hashed,
        ):
            checked = engine.check(replace(archive, path=draft.path), on_event)
            sha256, size_bytes = hashed.result()
        if sha256 != archive.sha256:
            raise ArchiveDamaged(
                "the copy read back from disk differs from the file",
                hint="check the disk the backup folder lies on",
            )
        proof = Proof(size_bytes, sha256, f"{checked.how}; sha256 read back", now())
        manifest = _named(plan, new_id(), proof)
        on_event(Phase("publish", manifest.archive))
        made = store.publish(draft, manifest, proof)
        run.note(backup=made.id, type=str(job.type), size_bytes=size_bytes)
    return made


def _copy(archive: Archive, draft: Draft) -> None:
    """Copy, never link: whoever writes to the original later must not write into the backup."""
    try:
        with draft.create() as sink, open_archive(archive.path) as source:
            reader = HashingReader(source)
            pump(reader, sink)
    except NotFound as exc:
        raise NotFound(
            f"{archive.path} is not there any more", hint="name the place it was moved to", state=UNPUBLISHED
        ) from exc
    if reader.sha256 != archive.sha256:
        raise ArchiveDamaged(
            f"{archive.path.name} was changed since it was looked at",
            hint="adopt it again",
            state=UNPUBLISHED,
        )


def _named(plan: AdoptPlan, id_: str, proof: Proof) -> Manifest:
    manifest, adoption = plan.manifest, plan.manifest.adoption
    name = archive_name(plan.target.identity, id_, manifest.started_at, _suffix(plan.archive))
    return replace(
        manifest,
        id=id_,
        archive=name,
        verified_at=proof.at,
        verified_how=proof.how,
        adoption=replace(adoption, at=proof.at) if adoption else None,
    )


def _suffix(archive: Archive) -> str:
    return ENDINGS[archive.format] + PACKED[archive.compression]


def _manifest(
    job: AdoptJob,
    target: Target,
    archive: Archive,
    described: Described,
    checked: Checked,
    route: Route,
    made_at: datetime,
    size_bytes: int,
) -> Manifest:
    id_, now = new_id(), utc_now()
    return Manifest(
        id=id_,
        archive=archive_name(target.identity, id_, made_at, _suffix(archive)),
        # the file's own time is all that is known of when it was made
        started_at=made_at,
        finished_at=made_at,
        database=target.identity,
        type=job.type,
        format=archive.format,
        compression=archive.compression,
        size_bytes=size_bytes,
        raw_size_bytes=described.raw_size_bytes,
        sha256=archive.sha256,
        route=route,
        server_version=described.server_version,
        tool_version=described.tool_version,
        verified_at=now,
        verified_how=checked.how,
        complete=not described.not_included,
        not_included=described.not_included,
        extensions=described.extensions,
        encoding=described.encoding,
        revision=described.revision,
        note=job.note,
        tables=described.tables,
        not_counted=described.not_counted,
        warnings=(*checked.warnings, *described.warnings),
        foreign=True,
        adoption=Adoption(archive.path.name, now, described.unknown),
    )


def _counted_otherwise(job: AdoptJob, existing: Backup) -> tuple[str, ...]:
    """Say that the backup it is already goes by another type than the one meant: that is how long it stays."""
    type_ = existing.manifest.type
    if type_ is job.type:
        return ()
    return (
        f"{existing.id} stays a {type_} backup, kept as long as those are: it was not adopted as {job.type}",
    )


def _doubts(settings: Settings, manifest: Manifest, listed: tuple[Backup, ...]) -> tuple[str, ...]:
    """Say what a user may not expect: above all that the retention would take it away again."""
    new = Backup(manifest, Path(manifest.archive))
    known = [backup for backup in listed if backup.manifest.foreign]
    plan = plan_retention([*known, new], Policy.of(settings), utc_now())
    going = [d for d in plan.decisions if d.backup.id == manifest.id and not d.keep]
    doubts = [
        f"the next cleanup would remove it ({', '.join(d.reasons)}): keep more, or adopt it as another type"
        for d in going
    ]
    if not manifest.complete:
        doubts.append(f"it holds a part only: {'; '.join(manifest.not_included)}")
    return (*doubts, *manifest.warnings)
