"""db.verify."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .boundary import Call, Outcome, db_task

if TYPE_CHECKING:
    from ..models import Backup

__all__ = ["verify"]


@db_task(
    help={
        "file": "Number, id, beginning of an id, latest, latest:TYPE, name or path (default: latest).",
        "all_": "Every backup of this database; a bad one does not stop the others.",
        "subset": "N/M: of every backup the N-th of M shares, such as 2/7 for the second night of a week.",
        "restore": "Prove it by a restore: into a scratch database, compared with the manifest, and dropped.",
        "in_": "Where to, with --restore, for PostgreSQL: auto, server or throwaway (default: auto).",
        "via": "The way to PostgreSQL (default: the setting, else auto).",
        "wait": "Seconds to wait for a database that is starting (default: the setting).",
    },
    untouched="no live database was touched",
)
def verify(
    call: Call,
    file: str | None = None,
    all_: bool = False,
    subset: str | None = None,
    restore: bool = False,
    in_: str | None = None,
    via: str | None = None,
    wait: str | None = None,
) -> Outcome:
    """Read a backup again to its end, or prove it by a restore.

    The outcome is written into the manifest. A damaged backup stays where it
    is and counts for nothing from then on. With --restore the backup is also
    loaded into a scratch database, on the same server or on a throwaway one,
    or into a temporary SQLite file; its rows are counted and compared with
    the manifest, and it is gone again. The live database is not touched.

    Examples:
        invoke db.verify
        invoke db.verify --restore
        invoke db.verify --all --json
        invoke db.verify --restore --subset=1/7

    Exit codes:
        0  whole; also when no backup belongs to the share
        2  a setting or flag is wrong
        3  the tool that reads this format, a server or a right is missing
        4  no such backup
        5  damaged, or the restore did not bring what the manifest says
        6  it holds not all that it takes to restore it by itself
        7  another proof of this database is under way
        9  no disk for a second copy
        130  interrupted; what was loaded is removed
    """
    from ..console.verify import no_backup_lines, planned_lines, verify_document, verify_lines
    from ..executors.verify import plan_proofs
    from ..executors.verify import verify as run

    place = _place(in_, restore=restore)
    settings = call.settings(via=via, wait=wait)
    backups = _chosen(settings, file, subset, everything=all_)
    _prove_meant(via, backups)
    if not backups:
        return Outcome(backups, no_backup_lines(subset), verify_document(()))
    if call.dry:
        planned = plan_proofs(settings, backups, where=place, on_event=call.console) if restore else ()
        document: dict[str, Any] = {"dry_run": True, "would_verify": [b.id for b in backups]}
        if restore:
            document["would_restore"] = [{"id": p.backup.id, "into": p.into} for p in planned]
        return Outcome(backups, planned_lines(backups, planned), document)
    listen = (
        call.begins("no live database was touched; what was loaded is removed") if restore else call.console
    )
    results = run(settings, backups, restore=restore, where=place, on_event=listen)
    codes = {r.exit_code for r in results if not r.ok}
    code = 5 if 5 in codes else max(codes, default=0)
    return Outcome(results, verify_lines(results), verify_document(results), exit_code=code)


def _place(text: str | None, *, restore: bool) -> Any:
    from ..engines.scratch import Place, parse_place
    from ..errors import UsageError

    if text is None:
        return Place.AUTO
    if not restore:
        raise UsageError("--in says where a backup is restored to: it needs --restore")
    return parse_place(text)


def _prove_meant(via: str | None, backups: tuple[Backup, ...]) -> None:
    from ..errors import UsageError
    from ..models import Format

    if via and any(backup.manifest.format is Format.SQLITE for backup in backups):
        raise UsageError(f"--via={via} means nothing for SQLite: the file is read directly")
    if via and backups and all(backup.manifest.format is Format.ROWS for backup in backups):
        raise UsageError(f"--via={via} means nothing for a rows backup: it is read without client tools")


def _chosen(settings: Any, file: str | None, subset: str | None, *, everything: bool) -> tuple[Backup, ...]:
    """Return the backups that are meant; none is an answer only where many were asked for."""
    from ..errors import UsageError
    from ..executors.browse import find, list_backups, prove_known
    from ..executors.shares import parse_share

    share = None if subset is None else parse_share(subset)
    if file and (everything or share):
        raise UsageError(f"--{'subset' if share else 'all'} and --file exclude each other")
    if not (everything or share):
        return (find(settings, file or "latest"),)
    prove_known(settings)
    backups: tuple[Backup, ...] = list_backups(settings).backups
    return share.of_these(backups) if share else backups
