"""What a rows backup holds, for a comparison by its definitions: its own schema, spelt so that the other side can be spelt alike."""

from __future__ import annotations

from dataclasses import replace

from ...errors import Refused
from ...holdings import Holdings
from ...models import Archive, EngineName
from ...rows.comparison.definitions import TOLD, columns_alone, definitions_of
from ...rows.schema import PortableSchema
from .archive import Head, engine_of_rows, head_of_rows, opened_rows
from .older import other_version

__all__ = ["OTHER_WORDS", "document_holdings", "older_holdings", "spelling_of"]

OTHER_TABLES = ("all other tables", "table ")
"""How a manifest begins to say that tables were left out by choice."""
OTHER_WORDS = "a rows backup and one of pg_dump's do not tell them in the same words"
NAMED = 5
COLUMNS_ALONE = (
    "an older tool's file tells tables and the names of their columns: types, keys, indexes and whatever else is in a"
    " database are not compared"
)


def spelling_of(engine: EngineName, server_version: str) -> str:
    """Say whose words the expressions of a portable schema are: those of one major version are alike."""
    return f"PostgreSQL {server_version.partition('.')[0]}" if engine is EngineName.POSTGRESQL else ""


def document_holdings(archive: Archive) -> Holdings:
    """Say what a document of ours tells, and what its manifest adds; rows are counted as it counts them itself.

    Raises:
        ArchiveDamaged: it is not whole. Refused: an older tool wrote it.
    """
    head = head_of_rows(archive)
    engine = engine_of_rows(archive)
    if engine is None:
        raise Refused(
            f"{archive.path.name} was written by an older tool: what its tables are is said by the database, and it is"
            " compared with no other backup",
            hint="db.diff without --against compares it with the database",
            state="nothing was touched",
        )
    with opened_rows(archive) as document:
        version = str(document.metadata.document.get("server_version") or "")
    manifest = archive.manifest
    names = tuple(table.name for table in head.schema.tables if not table.partition_by)
    held = Holdings(
        tables=names,
        rows=head.rows,
        schema=definitions_of(head.schema, spelling_of(engine, version)) if head.typed else None,
        no_schema="" if head.typed else f"{archive.path.name} holds rows only, without definitions",
        server_version=version,
        warnings=(TOLD,) if head.typed else (),
        all_tables=True,
    )
    if manifest is None:
        return held
    return replace(
        held,
        tables=tuple(table.name for table in manifest.tables),
        revision=manifest.revision,
        extensions=manifest.extensions if engine is EngineName.POSTGRESQL else None,
        all_tables=not any(part.startswith(OTHER_TABLES) for part in manifest.not_included),
    )


def older_holdings(
    archive: Archive, head: Head, told: tuple[str, ...], live: PortableSchema, there: Holdings
) -> tuple[Holdings, Holdings]:
    """Say what an older tool's file tells, under the names of the tables that are there; and the same of these.

    The head, and what is told of it, are as `place_older` returns them; `live` describes the tables that are there,
    which hold what `there` says.
    """
    others = sorted(set(there.tables) - set(head.filled))
    listed = ", ".join(others[:NAMED]) + (f" and {len(others) - NAMED} more" if len(others) > NAMED else "")
    left = (f"not in {archive.path.name}, whether or not they were there: {listed}",) if others else ()
    ours = Holdings(
        tables=head.filled,
        rows=head.rows,
        schema=columns_alone(head.schema.tables),
        revision=archive.manifest.revision if archive.manifest else None,
        warnings=(COLUMNS_ALONE, *left, *told, *other_version(archive, head, there.revision)),
        all_tables=False,
    )
    columns = columns_alone(
        replace(table, columns=table.data_columns) for table in live.tables if table.name in head.filled
    )
    return ours, replace(there, schema=columns, all_tables=True)
