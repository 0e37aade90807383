"""Files of the older rows shape, made by hand: whatever JSON says, in whatever layout."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NAME = "backup_20260224_150320.backup.gz"
METADATA = {
    "timestamp": "2026-02-24T15:03:20.123456",
    "migration_version": "4f1c2ab90d11",
    "database_name": "shop",
    "database_host": "localhost",
}


def table(columns: Sequence[str], *rows: Sequence[Any], count: int | None = None) -> dict[str, Any]:
    """One table as the older tool wrote it."""
    said = len(rows) if count is None else count
    return {"columns": list(columns), "data": [list(row) for row in rows], "row_count": said}


def text_of(tables: Mapping[str, Any], **how: Any) -> str:
    """The document; `how` goes to json.dumps."""
    return json.dumps({"metadata": METADATA, "tables": tables}, **how)


def packed(folder: Path, text: str | bytes, name: str = NAME) -> Path:
    """A file of it."""
    path = folder / name
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    path.write_bytes(gzip.compress(data, 1))
    return path


def older(folder: Path, tables: Mapping[str, Any], **how: Any) -> Path:
    """Make one of tables."""
    return packed(folder, text_of(tables, **how))
