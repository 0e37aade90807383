"""What ran, and how each restore is undone: log.jsonl and restores/ in the store's folder."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from .clock import utc_now
from .errors import DbTasksError
from .models import Identity
from .stores.drafts import open_draft, sweep_drafts
from .stores.local import translated

__all__ = ["Run", "RunRecord", "read_log", "read_restores", "recorded", "write_restore"]

T = TypeVar("T")
APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True)
class RunRecord:
    """One line of the log."""

    task: str
    started_at: datetime
    seconds: float
    ok: bool
    exit_code: int
    database: str
    backup: str | None = None
    size_bytes: int | None = None
    message: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def configured(self) -> str | None:
        """The configured database, where the run worked on another one (`--into`)."""
        return _of_type(str, self.extra.get("configured"))

    @property
    def source(self) -> str | None:
        """The database that a migration left for this one."""
        return _of_type(str, self.extra.get("source"))


class Run:
    """What a running task wants its line to say."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}

    def note(self, **fields: Any) -> None:
        """Add to the line: backup, size_bytes, exit_code, or anything worth keeping."""
        self.fields.update(fields)


@contextmanager
def recorded(
    root: Path, task: str, identity: Identity | None, *, failures_only: bool = False
) -> Iterator[Run]:
    """Write one line when the block ends, however it ends; `failures_only`: unless it ends well.

    Where the store's folder does not exist yet, there is no line. The line is best effort: a log that cannot be written never fails the run
    it tells about.
    """
    run, started = Run(), utc_now()
    outcome: dict[str, Any] = {"ok": False, "exit_code": 1}
    try:
        yield run
        outcome = {"ok": True, "exit_code": 0}
    except DbTasksError as exc:
        outcome = {"ok": False, "exit_code": exc.exit_code, "error": exc.code, "message": exc.message}
        raise
    except KeyboardInterrupt:
        outcome = {"ok": False, "exit_code": 130, "error": "interrupted", "message": "interrupted"}
        raise
    finally:
        line = {
            "at": started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "task": task,
            "engine": str(identity.engine) if identity else None,
            "database": str(identity) if identity else None,
            "seconds": round((utc_now() - started).total_seconds(), 3),
            **outcome,
            **run.fields,
        }
        if not (failures_only and outcome["ok"]):
            _append(root / "log.jsonl", line)


def _append(path: Path, line: Mapping[str, Any]) -> None:
    data = _encoded(json.dumps(line, ensure_ascii=False, default=str))
    try:
        descriptor = os.open(path, APPEND, 0o600)
    except OSError:
        return
    try:
        # one write: lines of two runs never mix
        os.write(descriptor, data if _ends_with_a_line(descriptor) else b"\n" + data)
    except OSError:
        pass  # a full disk is told by the run itself
    finally:
        os.close(descriptor)


def _ends_with_a_line(descriptor: int) -> bool:
    """Whether the last line is whole: a full disk may have cut it, and it must not swallow the next one."""
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"


def _encoded(text: str) -> bytes:
    # a file name that is not UTF-8 holds lone surrogates; Python's escape for them is JSON's as well
    return text.encode("utf-8", "backslashreplace") + b"\n"


def read_log(root: Path, database: str | None = None) -> list[RunRecord]:
    """Return the runs newest first; a line cut by a crash, or not written by a run, is passed over."""
    try:
        lines = (root / "log.jsonl").read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return []
    records = [record for record in map(_record, reversed(lines)) if record]
    return [r for r in records if database is None or r.database == database]


def _record(line: str) -> RunRecord | None:
    try:
        seen = json.loads(line)
        known = {"at", "task", "seconds", "ok", "exit_code", "database", "backup", "size_bytes", "message"}
        return RunRecord(
            task=str(seen["task"]),
            started_at=_with_zone(datetime.fromisoformat(seen["at"])),
            seconds=_finite(float(seen["seconds"])),
            ok=bool(seen["ok"]),
            exit_code=int(seen["exit_code"]),
            database=str(seen.get("database") or ""),
            backup=_of_type(str, seen.get("backup")),
            size_bytes=_of_type(int, seen.get("size_bytes")),
            message=str(seen.get("message") or ""),
            extra={key: value for key, value in seen.items() if key not in known},
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _with_zone(moment: datetime) -> datetime:
    """Return the moment; one that belongs to no zone cannot be compared with the others."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a zone")
    return moment


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("a number that is none")
    return number


def _of_type(kind: type[T], value: object) -> T | None:
    """Return the value where it is of the kind a run writes; somebody may have written into the log."""
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def write_restore(root: Path, id_: str, record: Mapping[str, Any]) -> Path:
    """Write how a restore is undone, replacing an earlier state of the same record atomically.

    Raises:
        StoreFull, OperationFailed: it cannot be written; an earlier state is still there.
    """
    folder = root / "restores"
    final = folder / f"{id_}.json"
    with translated(f"cannot write the record of the restore, {final}"):
        folder.mkdir(mode=0o700, exist_ok=True)
        sweep_drafts(folder)
        with open_draft(folder) as draft:
            with draft.create() as stream:
                stream.write(_encoded(json.dumps(record, indent=2, ensure_ascii=False, default=str)))
            draft.path.replace(final)
    return final


def read_restores(root: Path) -> list[dict[str, Any]]:
    """Return the restore records, newest first; unreadable ones are passed over.

    Raises:
        OperationFailed: this user may not look at what there is: which backup is still needed is not known.
    """
    folder, records = root / "restores", []
    with translated(f"cannot look for the records of restores in {folder}"):
        paths = list(folder.glob("*.json"))
    for path in paths:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(record, dict) and "started_at" in record:
            records.append(record)
    return sorted(records, key=lambda r: str(r["started_at"]), reverse=True)
