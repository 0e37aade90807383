"""A `rows` archive, whichever engine it came from: read to its end, and refused where it cannot be used yet."""

from __future__ import annotations

import codecs
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ...errors import ArchiveDamaged, CountsDiffer, Refused, WrongEngine
from ...events import OnEvent, Phase
from ...formats import sniff
from ...models import Archive, Compression, EngineName, Format, TableCount
from ...plans import Checked, Described
from ...rows.file import FileSource, Header
from ...rows.kinds import kinds_of, kinds_proved
from ...rows.losses import MAKE_FIRST
from ...rows.older.file import OlderSource, is_older
from ...rows.schema import Column, PortableSchema, Table
from ...stores.files import open_archive
from ...streams import HasRead, decompressing

__all__ = [
    "Head",
    "check_rows",
    "describe_rows",
    "engine_of_rows",
    "head_of_rows",
    "head_of_tables",
    "head_to_prove",
    "not_provable",
    "opened_older",
    "opened_rows",
    "prove_header",
]


def check_rows(archive: Archive, on_event: OnEvent) -> Checked:
    """Read the document to its end: each table's rows counted, each line a row, the end where it should be.

    In somebody else's each value has to be of the kind its column says: ours are written so.

    Raises:
        ArchiveDamaged: it is cut, or not as we write it. CountsDiffer: a table holds other rows than it says, or than
        the manifest says. WrongEngine: it is another kind of file.
    """
    on_event(Phase("verify", archive.path.name))
    # what was just written has neither a manifest nor a sum of its own yet
    is_somebodys = archive.manifest.foreign if archive.manifest else bool(archive.sha256)
    with _opened(archive) as document:
        _prove_counts(archive, _counted(document, archive.path.name, kinds=is_somebodys))
    return Checked("gzip decompressed to its end, every row counted")


def describe_rows(archive: Archive, on_event: OnEvent) -> Described:
    """Say what somebody's document tells of itself; see `Engine.describe`."""
    on_event(Phase("count", archive.path.name))
    with _opened(archive) as document:
        counts = _counted(document, archive.path.name)
        told, size_bytes = document.metadata.document, document.size_bytes
    if isinstance(document, OlderSource):
        return Described(
            tables=tuple(TableCount(name, rows) for name, rows in sorted(counts.items())),
            raw_size_bytes=size_bytes,
            not_included=("all definitions: it holds rows alone",),
            unknown=(
                "whether tables were left out when it was made",
                f"which migration tool's revision it holds (it says {told['migration_version'] or 'none'})",
            ),
        )
    extensions = told.get("extensions")
    return Described(
        tables=tuple(TableCount(name, rows) for name, rows in sorted(counts.items())),
        server_version=str(told.get("server_version") or ""),
        extensions={str(k): str(v) for k, v in extensions.items()} if isinstance(extensions, dict) else {},
        raw_size_bytes=size_bytes,
        not_included=("whatever is no table, key, row, type or sequence",),
        unknown=("whether tables were left out when it was made", "which migration tool's revision it holds"),
    )


def engine_of_rows(archive: Archive) -> EngineName | None:
    """Return from which kind of database a document was made; None for an older tool's, whose values are of none.

    Raises:
        ArchiveDamaged: it does not say.
    """
    with _opened(archive) as document:
        if isinstance(document, OlderSource):
            return None
        said = document.metadata.document.get("engine")
    if said not in list(EngineName):
        raise ArchiveDamaged(f"{archive.path.name} does not say of which engine its rows are")
    return EngineName(said)


HEAD_BYTES = 1 << 16
"""An older tool's metadata is far shorter."""


@dataclass(frozen=True)
class Head:
    """What a document holds, without its rows."""

    schema: PortableSchema
    """Without one in the document: the tables that have rows, with the names of their columns, and the types where it tells them."""
    filled: tuple[str, ...]
    """The tables whose rows are in it, in its order."""
    rows: Mapping[str, int]
    """How many each of them has."""
    typed: bool
    """Whether the schema is the document's own."""
    types_known: bool
    """Whether it is at least told of which types the columns were."""
    older: bool = False
    """Whether an older tool wrote it: what its values mean is said by the tables they go into."""
    migration_version: str | None = None
    """Of an older tool's: where its migrations stood."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Of an older tool's, once they were looked up: each of its tables, and the one that is there."""


def head_of_rows(archive: Archive) -> Head:
    """Say what is in a document, which was read whole before.

    Its own tables decide, not the manifest: read to its end once more where only that tells.

    Raises:
        ArchiveDamaged: it is not whole.
    """
    filled: dict[str, tuple[str, ...]] = {}
    rows: dict[str, int] = {}
    with _opened(archive) as document:
        typed = document.metadata.schema is not None
        schema = document.metadata.schema or document.metadata.outline
        manifest = archive.manifest
        if schema is not None:
            _prove_schema(schema, archive.path.name)
        if schema is not None and manifest is not None and not manifest.not_counted:
            return _described(schema, manifest.counts, archive.path.name, typed=typed)
        for header in document.headers():
            filled[header.name] = header.columns
            for _ in document.pieces():
                pass
            rows[header.name] = document.row_count
    if schema is not None:
        return _described(schema, rows, archive.path.name, typed=typed)
    tables = tuple(Table(name, tuple(map(_bare, columns))) for name, columns in filled.items())
    head = Head(PortableSchema(tables=tables), tuple(filled), rows, typed=False, types_known=False)
    if isinstance(document, OlderSource):
        return replace(
            head, older=True, migration_version=document.metadata.document.get("migration_version")
        )
    return head


def head_to_prove(archive: Archive) -> Head:
    """Return what is to be made for a proof by a restore.

    Raises:
        Refused: the document does not tell its tables. ArchiveDamaged: it is not whole.
    """
    head = head_of_rows(archive)
    if not head.typed:
        raise Refused(
            f"{archive.path.name} holds rows alone, without the definitions of their tables: there is nothing to load them into",
            state="nothing was touched",
        )
    return head


def head_of_tables(archive: Archive, names: Sequence[str]) -> Head:
    """Return what is in a document, for single tables of it.

    Raises:
        Refused: it does not tell what they are. ArchiveDamaged: it is not whole.
    """
    head = head_of_rows(archive)
    if not head.typed:
        raise Refused(
            f"--table={names[0]}: {archive.path.name} holds rows only, without the definitions that tell what they are",
            state="nothing was touched",
            hint="restored whole it fills the tables that are there; db.show prints how to take rows out by hand",
        )
    return head


def not_provable(archive: Archive, exc: Refused) -> Refused:
    """Return why there is no proof: what a rows backup does not hold is no damage of it."""
    return Refused(
        f"{archive.path.name} cannot be proven by a restore: {exc.message}",
        details=exc.details,
        state=exc.state,
        # what is made for a proof is new: nobody can make anything there first
        hint="restored into a database that has what is missing, it is whole"
        if exc.hint == MAKE_FIRST
        else exc.hint,
    )


def _described(schema: PortableSchema, rows: Mapping[str, int], name: str, *, typed: bool) -> Head:
    strange = sorted(rows.keys() - {table.name for table in schema.tables})
    if strange:
        raise ArchiveDamaged(f"{name} holds rows of {strange[0]}, which its own schema does not know")
    return Head(schema, tuple(rows), rows, typed=typed, types_known=True)


def _prove_schema(schema: PortableSchema, name: str) -> None:
    """See that what is looked up by it, and what sequences are set to, is of the kind that it should be."""
    texts: list[object] = [table.name for table in schema.tables]
    for table in schema.tables:
        for column in table.columns:
            texts += (column.name, column.type, column.generated, column.default, column.identity)
    numbers: list[object] = []
    for sequence in schema.sequences:
        texts += (sequence.name, sequence.table)
        numbers += (sequence.last_value, sequence.increment)
    for type_ in schema.types:
        texts += (type_.name, type_.kind, type_.base)
    if not all(isinstance(text, str) for text in texts) or not all(type(number) is int for number in numbers):
        raise ArchiveDamaged(f"{name} is not a whole rows file: its schema is none")


def _bare(name: str) -> Column:
    return Column(name, "")


@contextmanager
def opened_rows(archive: Archive) -> Iterator[FileSource]:
    """Open a document of ours for one reading.

    Raises:
        WrongEngine: it is another kind of file. ArchiveDamaged: it is not one of ours.
    """
    with _opened(archive) as document:
        if isinstance(document, OlderSource):
            raise WrongEngine(
                f"{archive.path.name} was written by an older tool: its values are no rows of ours"
            )
        yield document


@contextmanager
def opened_older(archive: Archive) -> Iterator[OlderSource]:
    """Open an older tool's document for one reading.

    Raises:
        WrongEngine: it is another kind of file. ArchiveDamaged: it is cut, or not of this shape.
    """
    with _opened(archive) as document:
        if isinstance(document, FileSource):
            raise WrongEngine(f"{archive.path.name} is a rows file of dbtasks, not one of an older tool")
        yield document


@contextmanager
def _opened(archive: Archive) -> Iterator[FileSource | OlderSource]:
    name = archive.path.name
    format_, compression = sniff(archive.path)
    if format_ is not Format.ROWS:
        raise WrongEngine(f"{name} holds a {format_} archive, not a rows one")
    if compression is not Compression.GZIP and archive.manifest is None:
        raise WrongEngine(
            f"{name} is not gzip, and a rows file is read from gzip alone",
            hint=f"pack a copy: {'zstd -dc' if compression is Compression.ZSTD else 'cat'} {shlex.quote(name)} | gzip >"
            " ANOTHER.backup.gz, and name that",
        )
    if compression is not Compression.GZIP:
        raise ArchiveDamaged(f"{name} is not gzip, and a rows archive is")
    with open_archive(archive.path) as stream, decompressing(stream, compression) as plain:
        seen = b""
        while len(seen) < HEAD_BYTES and (block := plain.read(HEAD_BYTES - len(seen))):
            seen += block
        again = _Again(seen, plain)
        yield OlderSource(again, name) if is_older(seen) else FileSource(again, name)


class _Again:
    """A stream of which the beginning was read already."""

    def __init__(self, seen: bytes, rest: HasRead) -> None:
        self._seen = seen
        self._rest = rest

    def read(self, size: int = -1) -> bytes:
        """Read on from the beginning."""
        if not self._seen:
            return self._rest.read(size)
        end = len(self._seen) if size < 0 else size
        block, self._seen = self._seen[:end], self._seen[end:]
        return block


def _counted(document: FileSource | OlderSource, name: str, *, kinds: bool = False) -> dict[str, int]:
    """Read every table to its end, and demand UTF-8 of all of it; with `kinds` that values are of theirs, too."""
    counts = {}
    for header in document.headers():
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            for piece in _looked_at(document, header, name) if kinds else document.pieces():
                decoder.decode(piece)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as exc:
            raise ArchiveDamaged(f"{name}: {header.name} holds what is not UTF-8") from exc
        counts[header.name] = document.row_count
    return counts


def _looked_at(document: FileSource | OlderSource, header: Header, name: str) -> Iterator[bytes]:
    """Yield a table's lines; those of a document whose values are parsed one by one need no look at their kinds."""
    if isinstance(document, OlderSource) or not header.columns:
        return document.pieces()
    if document.metadata.document.get("engine") != EngineName.POSTGRESQL:
        return document.pieces()
    kinds = kinds_of(document.schema.table(header.name), header)
    return kinds_proved(document.pieces(), header, kinds, name)


def _prove_counts(archive: Archive, counts: dict[str, int]) -> None:
    expected = archive.manifest.counts if archive.manifest else counts
    wrong = [
        f"{table}: {counts.get(table, 'no')} rows, the manifest says {expected.get(table, 'none')}"
        for table in sorted({*counts, *expected})
        if counts.get(table) != expected.get(table)
    ]
    if wrong:
        raise CountsDiffer(
            f"{archive.path.name} does not hold the rows of its manifest", details="\n".join(wrong[:10])
        )


def prove_header(archive: Archive, head: Head, header: Header) -> None:
    """See that a table's rows have the columns that the document's own schema says.

    Raises:
        ArchiveDamaged: they have not.
    """
    table = head.schema.table(header.name)
    if table is None or [column.name for column in table.data_columns] != list(header.columns):
        raise ArchiveDamaged(
            f"{archive.path.name}: the rows of {header.name} do not have the columns that its schema says"
        )
