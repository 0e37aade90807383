"""Ready-made nouns for tests: valid manifests and backups, changed by keyword."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dbtasks.models import (
    Backup,
    Compression,
    EngineName,
    Format,
    Identity,
    Manifest,
    Proof,
    Route,
    TableCount,
    Type,
)

SHOP = Identity(EngineName.POSTGRESQL, "localhost:5432", "shop")
MOMENT = datetime(2026, 2, 24, 15, 3, 20, tzinfo=UTC)


def a_manifest(**changes: Any) -> Manifest:
    """A complete, verified backup of the shop."""
    started = changes.pop("started_at", MOMENT)
    values: dict[str, Any] = {
        "id": "k3f9a1",
        "database": SHOP,
        "type": Type.DAILY,
        "format": Format.CUSTOM,
        "compression": Compression.ZSTD,
        "archive": "shop_20260224T150320Z_k3f9a1.dump",
        "started_at": started,
        "finished_at": started + timedelta(seconds=12),
        "size_bytes": 3,
        "raw_size_bytes": None,
        "sha256": hashlib.sha256(b"abc").hexdigest(),
        "route": Route.HOST,
        "server_version": "16.14",
        "tool_version": "16.14",
        "verified_at": started + timedelta(seconds=11),
        "verified_how": "pg_restore read the archive to its end",
        "tables": (TableCount("public.orders", 2, 8192),),
    }
    return Manifest(**{**values, **changes})


def a_backup(**changes: Any) -> Backup:
    """A listed backup; the archive itself does not exist."""
    manifest = a_manifest(**changes)
    return Backup(manifest, Path("/nowhere") / manifest.type / manifest.archive)


def a_proof(data: bytes) -> Proof:
    """What a full read of these bytes shows."""
    return Proof(len(data), hashlib.sha256(data).hexdigest(), "read to its end", MOMENT)
