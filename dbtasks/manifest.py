"""Manifests as JSON: what is written, and how carefully it is read back.

The schema is shipped as `manifest.schema.json`; fields are only ever added.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from .errors import ArchiveDamaged
from .models import (
    Adoption,
    Compression,
    EngineName,
    Format,
    Identity,
    Manifest,
    Revision,
    Route,
    TableCount,
    Type,
)

__all__ = ["SUFFIX", "dump_manifest", "is_plain_name", "load_manifest", "manifest_document"]

SUFFIX = ".manifest.json"
T = TypeVar("T")


def manifest_document(manifest: Manifest) -> dict[str, Any]:
    """Return the manifest as the JSON object that is stored and shown by --json."""
    database = manifest.database
    return {
        "schema_version": manifest.schema_version,
        "id": manifest.id,
        "archive": manifest.archive,
        "engine": str(database.engine),
        "database": {"engine": str(database.engine), "server": database.server, "name": database.name},
        "system_identifier": manifest.system_identifier or None,
        "environment": manifest.environment,
        "type": str(manifest.type),
        "format": str(manifest.format),
        "compression": str(manifest.compression),
        "route": str(manifest.route),
        "complete": manifest.complete,
        "all_tables": manifest.all_tables,
        "not_included": list(manifest.not_included),
        "server_version": manifest.server_version,
        "tool_version": manifest.tool_version,
        "extensions": dict(sorted(manifest.extensions.items())),
        "encoding": manifest.encoding,
        "collation": manifest.collation,
        "ctype": manifest.ctype,
        "migration": _revision(manifest.revision),
        "note": manifest.note,
        "pinned": manifest.pinned,
        "started_at": _instant(manifest.started_at),
        "finished_at": _instant(manifest.finished_at),
        "size_bytes": manifest.size_bytes,
        "raw_size_bytes": manifest.raw_size_bytes,
        "sha256": manifest.sha256,
        "tables": [
            {"name": table.name, "rows": table.rows, "bytes": table.bytes, "data": table.data}
            | ({"hypertable": True} if table.hypertable else {})
            for table in manifest.tables
        ],
        "not_counted": manifest.not_counted or None,
        "sequences": list(manifest.sequences),
        "database_settings": list(manifest.database_settings),
        "globals": manifest.globals,
        "globals_sha256": manifest.globals_sha256 or None,
        "warnings": list(manifest.warnings),
        "foreign": manifest.foreign,
        "adopted": _adoption(manifest.adoption),
        "verified_at": _instant(manifest.verified_at),
        "verified_how": manifest.verified_how,
        "restored_at": _instant(manifest.restored_at) if manifest.restored_at else None,
        "restored_how": manifest.restored_how or None,
        "restored_seconds": manifest.restored_seconds,
        "damage": manifest.damage or None,
        "anomaly": manifest.anomaly or None,
        "anomaly_accepted": manifest.anomaly_accepted,
    }


def dump_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest file."""
    text = json.dumps(manifest_document(manifest), indent=2, ensure_ascii=False)
    # a file name that is not UTF-8 holds lone surrogates; Python's escape for them is JSON's as well
    return text.encode("utf-8", "backslashreplace") + b"\n"


def load_manifest(data: bytes) -> Manifest:
    """Read a manifest file.

    Unknown fields are left out, so that a newer version's manifests stay
    listable; a missing or ill-typed one is damage.

    Raises:
        ArchiveDamaged: not a manifest of ours.
    """
    try:
        document = json.loads(data)
        return _manifest(document)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as exc:
        raise ArchiveDamaged("the manifest cannot be read", details=f"{type(exc).__name__}: {exc}") from exc


def _manifest(document: Mapping[str, Any]) -> Manifest:
    database = document["database"]
    return Manifest(
        schema_version=_is(int, document["schema_version"]),
        id=_id(document["id"]),
        archive=_file_name(document["archive"]),
        database=Identity(
            EngineName(database["engine"]), _is(str, database["server"]), _is(str, database["name"])
        ),
        system_identifier=_is(str, document.get("system_identifier") or ""),
        environment=_optional(lambda v: _is(str, v), document.get("environment")),
        type=Type(document["type"]),
        format=Format(document["format"]),
        compression=Compression(document["compression"]),
        route=Route(document["route"]),
        complete=_is(bool, document["complete"]),
        all_tables=_is(bool, document.get("all_tables", False)),
        not_included=_texts(document.get("not_included", [])),
        server_version=_is(str, document["server_version"]),
        tool_version=_is(str, document["tool_version"]),
        extensions={_is(str, k): _is(str, v) for k, v in document.get("extensions", {}).items()},
        encoding=_is(str, document.get("encoding", "")),
        collation=_is(str, document.get("collation", "")),
        ctype=_is(str, document.get("ctype", "")),
        revision=_load_revision(document.get("migration")),
        note=_is(str, document.get("note", "")),
        pinned=_is(bool, document.get("pinned", False)),
        started_at=_moment(document["started_at"]),
        finished_at=_moment(document["finished_at"]),
        size_bytes=_amount(document["size_bytes"]),
        raw_size_bytes=_optional(_amount, document.get("raw_size_bytes")),
        sha256=_sha256(document["sha256"]),
        tables=tuple(_table(table) for table in document.get("tables", [])),
        not_counted=_is(str, document.get("not_counted") or ""),
        sequences=_texts(document.get("sequences", [])),
        database_settings=_texts(document.get("database_settings", [])),
        globals=_optional(_file_name, document.get("globals")),
        globals_sha256=_optional(_sha256, document.get("globals_sha256")) or "",
        warnings=_texts(document.get("warnings", [])),
        verified_at=_moment(document["verified_at"]),
        verified_how=_is(str, document["verified_how"]),
        restored_at=_optional(_moment, document.get("restored_at")),
        restored_how=_is(str, document.get("restored_how") or ""),
        restored_seconds=_optional(_seconds, document.get("restored_seconds")),
        # whatever says that it was adopted is somebody else's
        foreign=_is(bool, document.get("foreign", False)) or document.get("adopted") is not None,
        adoption=_optional(_load_adoption, document.get("adopted")),
        damage=_is(str, document.get("damage") or ""),
        anomaly=_is(str, document.get("anomaly") or ""),
        anomaly_accepted=_is(bool, document.get("anomaly_accepted", False)),
    )


def _table(document: Mapping[str, Any]) -> TableCount:
    return TableCount(
        name=_is(str, document["name"]),
        rows=_optional(_amount, document.get("rows")),
        bytes=_optional(_amount, document.get("bytes")),
        data=_is(bool, document.get("data", True)),
        hypertable=_is(bool, document.get("hypertable", False)),
    )


def _revision(revision: Revision | None) -> dict[str, Any] | None:
    return None if revision is None else {"tool": revision.tool, "revisions": list(revision.revisions)}


def _load_revision(document: Mapping[str, Any] | None) -> Revision | None:
    return None if document is None else Revision(_is(str, document["tool"]), _texts(document["revisions"]))


def _adoption(adoption: Adoption | None) -> dict[str, Any] | None:
    if adoption is None:
        return None
    return {"file": adoption.file, "at": _instant(adoption.at), "unknown": list(adoption.unknown)}


def _load_adoption(document: Mapping[str, Any]) -> Adoption:
    return Adoption(_is(str, document["file"]), _moment(document["at"]), _texts(document.get("unknown", [])))


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without zone")
    return moment.astimezone(UTC)


def _is(kind: type[T], value: Any) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{kind.__name__} expected")
    return value


def _optional(read: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else read(value)


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(_is(str, value) for value in _is(list, values))


def _amount(value: Any) -> int:
    number = _is(int, value)
    if number < 0:
        raise ValueError("a number from 0 up expected")
    return number


def _seconds(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise TypeError("seconds expected")
    return float(value)


def _id(value: Any) -> str:
    """Accept letters and digits only: restore records are named after it."""
    text = _is(str, value)
    if not (text.isascii() and text.isalnum()):
        raise ValueError("letters and digits expected")
    return text


def _sha256(value: Any) -> str:
    text = _is(str, value)
    if len(text) != 64 or text.strip("0123456789abcdef"):
        raise ValueError("sha256 expected")
    return text


def is_plain_name(text: str) -> bool:
    """Whether an archive may be called so: a manifest must not point out of its folder."""
    return bool(text) and text not in (".", "..") and not any(c in text for c in "/\\\0\n")


def _file_name(value: Any) -> str:
    text = _is(str, value)
    if not is_plain_name(text):
        raise ValueError("plain file name expected")
    return text
