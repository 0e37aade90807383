"""The document of a `rows` backup, whichever engine's: its head, then its tables, then its end; hashed on the way to the disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ...errors import UsageError
from ...events import OnEvent
from ...models import Compression, DatabaseFacts, Target
from ...plans import DumpRequest
from ...rows import TableSource
from ...rows.copy import copy_tables
from ...rows.file import FileSink
from ...rows.schema import Table, document_of, outline_of
from ...stores import Draft
from ...streams import HashingWriter, compressing

__all__ = ["SUFFIX", "WrittenDocument", "document_head", "refuse_compression", "write_document"]

SUFFIX = ".json.gz"


@dataclass(frozen=True)
class WrittenDocument:
    """What went into a draft."""

    rows: Mapping[str, int]
    """How many each table has."""
    raw_size_bytes: int
    sha256: str
    """Of the archive, which is compressed."""


def refuse_compression(request: DumpRequest) -> None:
    """Refuse what such a document is not packed with.

    Raises:
        UsageError: another compression than gzip is asked for.
    """
    if request.compression not in (None, Compression.GZIP):
        raise UsageError(
            f"a rows backup is gzip: --compression={request.compression} is for the other formats"
        )


def document_head(target: Target, facts: DatabaseFacts) -> dict[str, Any]:
    """Return what every such document says first: when, where from, and where the migrations stood."""
    return {
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "migration_version": ", ".join(facts.revision.revisions) if facts.revision else None,
        "database_name": target.name,
        "database_host": target.identity.server,
        "engine": str(target.engine),
        "server_version": facts.server_version,
    }


def write_document(
    draft: Draft,
    head: Mapping[str, Any],
    source: TableSource,
    tables: Iterable[Table],
    request: DumpRequest,
    on_event: OnEvent,
) -> WrittenDocument:
    """Write the rows of these tables of a source into a draft, which is whole only when this returns.

    The head tells the source's definitions as well; where only rows were asked for, no more than what values they are.

    Raises:
        StoreFull: no space left. As the source's `rows`.
    """
    tables = tuple(tables)
    if request.data_only:
        schema = {"outline": document_of(outline_of(source.schema, tables))}
    else:
        schema = {"schema": document_of(source.schema)}
    with draft.create() as file:
        archive = HashingWriter(file)
        with compressing(archive, Compression.GZIP) as sink:
            document = FileSink(sink, {**head, **schema}, on_event)
            rows = copy_tables(source, document, tables)
            document.finish()
    return WrittenDocument(rows, document.size_bytes, archive.sha256)
