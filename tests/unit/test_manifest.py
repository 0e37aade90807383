"""Manifests: what is written is read back the same, fits its JSON Schema, and damage is named."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtasks.errors import ArchiveDamaged
from dbtasks.manifest import dump_manifest, load_manifest, manifest_document
from dbtasks.models import (
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
from tests.samples import a_manifest

SCHEMA = json.loads(files("dbtasks").joinpath("manifest.schema.json").read_text("utf-8"))

texts = st.text(max_size=20)
names = st.text(st.characters(exclude_characters="/\\\0\n", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name not in (".", "..")
)
amounts = st.none() | st.integers(0, 2**63)
instants = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
lists = st.lists(texts, max_size=3).map(tuple)

manifests = st.builds(
    Manifest,
    id=st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=6, max_size=6),
    database=st.builds(Identity, st.sampled_from(EngineName), texts, texts),
    type=st.sampled_from(Type),
    format=st.sampled_from(Format),
    compression=st.sampled_from(Compression),
    archive=names,
    started_at=instants,
    finished_at=instants,
    size_bytes=st.integers(0, 2**63),
    raw_size_bytes=amounts,
    sha256=hashes,
    route=st.sampled_from(Route),
    server_version=texts,
    tool_version=texts,
    verified_at=instants,
    verified_how=texts,
    complete=st.booleans(),
    not_included=lists,
    environment=st.none() | texts,
    system_identifier=texts,
    extensions=st.dictionaries(texts, texts, max_size=3),
    encoding=texts,
    collation=texts,
    ctype=texts,
    revision=st.none() | st.builds(Revision, texts, lists),
    note=texts,
    pinned=st.booleans(),
    restored_at=st.none() | instants,
    restored_how=texts,
    restored_seconds=st.none() | st.floats(0, 1e9),
    tables=st.lists(st.builds(TableCount, texts, amounts, amounts, st.booleans()), max_size=3).map(tuple),
    not_counted=texts,
    sequences=lists,
    database_settings=lists,
    warnings=lists,
    globals=st.none() | names,
    globals_sha256=st.just("") | hashes,
    damage=texts,
    anomaly=texts,
    anomaly_accepted=st.booleans(),
)


@given(manifests)
def test_what_is_written_is_read_back_the_same(manifest):
    assert load_manifest(dump_manifest(manifest)) == manifest


@given(manifests)
def test_what_is_written_fits_the_shipped_schema(manifest):
    jsonschema.validate(json.loads(dump_manifest(manifest)), SCHEMA, jsonschema.Draft202012Validator)


def test_the_schema_is_a_schema_and_describes_every_field_that_is_written():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(manifest_document(a_manifest())) == set(SCHEMA["properties"])


def test_the_schema_refuses_what_the_reader_refuses():
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for name, value in BAD:
        if name in SCHEMA["properties"] and value is not MISSING:
            document = {**manifest_document(a_manifest()), name: value}
            assert not validator.is_valid(document), (name, value)


def test_a_manifest_is_readable_text_and_times_are_utc():
    moment = datetime(2026, 2, 24, 16, 3, tzinfo=timezone(timedelta(hours=1)))
    text = dump_manifest(a_manifest(note="größer", started_at=moment)).decode("utf-8")
    assert '"note": "größer"' in text
    assert '"started_at": "2026-02-24T15:03:00.000000Z"' in text
    assert text.endswith("}\n")


def test_a_file_name_that_is_not_utf_8_survives():
    server = b"gr\xfcn".decode("utf-8", "surrogateescape")
    manifest = a_manifest(database=Identity(EngineName.SQLITE, server, "app.db"))
    data = dump_manifest(manifest)
    data.decode("utf-8")
    assert load_manifest(data) == manifest


def test_fields_of_a_newer_version_are_tolerated():
    document = {**manifest_document(a_manifest()), "colour": "red", "schema_version": 7}
    document["database"]["shard"] = 3
    document["tables"][0]["checksum"] = "x"
    manifest = load_manifest(json.dumps(document).encode())
    assert manifest.schema_version == 7
    assert manifest.tables == a_manifest().tables


MISSING = object()
BAD: list[tuple[str, Any]] = [
    *((name, MISSING) for name in ("schema_version", "id", "archive", "database", "type", "sha256")),
    *((name, MISSING) for name in ("complete", "size_bytes", "started_at", "verified_at", "verified_how")),
    ("id", 7),
    ("id", ""),
    ("id", "../../etc"),
    ("archive", "../other.dump"),
    ("archive", "daily/other.dump"),
    ("archive", ".."),
    ("archive", ""),
    ("archive", "a\nb"),
    ("archive", None),
    ("database", "shop"),
    ("database", {"engine": "mysql", "server": "", "name": "x"}),
    ("type", "yearly"),
    ("format", "tar"),
    ("complete", "yes"),
    ("complete", 1),
    ("size_bytes", "3"),
    ("size_bytes", True),
    ("size_bytes", -1),
    ("size_bytes", 1.5),
    ("sha256", "abc"),
    ("sha256", "G" * 64),
    ("started_at", "yesterday"),
    ("started_at", "2026-02-24T15:03:20"),
    ("started_at", 1771945400),
    ("environment", 3),
    ("not_included", "everything"),
    ("warnings", [1]),
    ("tables", [{"rows": 1}]),
    ("tables", [{"name": "t", "rows": "1"}]),
    ("extensions", ["postgis"]),
    ("extensions", {"postgis": 3}),
    ("migration", "alembic"),
    ("globals", "../roles.sql"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_c06_a_missing_or_ill_typed_field_is_damage(name, value):
    document = manifest_document(a_manifest())
    if value is MISSING:
        del document[name]
    else:
        document[name] = value
    with pytest.raises(ArchiveDamaged, match="the manifest cannot be read"):
        load_manifest(json.dumps(document).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b"{",
        b"\xff\xfe\x00",
        b"\0" * 100,
        b"[" * 100_000,
        b'{"database": ' * 5000,
        dump_manifest(a_manifest())
        .replace(b"2026-02-24T15:03:20", b"0001-01-01T00:00:00")
        .replace(b"Z", b"+14:00"),
    ],
    ids=lambda data: repr(data[:12]),
)
def test_c06_anything_else_is_damage_too(data):
    with pytest.raises(ArchiveDamaged):
        load_manifest(data)


def test_c03_a_manifest_cut_anywhere_is_damage():
    data = dump_manifest(a_manifest()).rstrip()
    for size in range(len(data)):
        with pytest.raises(ArchiveDamaged):
            load_manifest(data[:size])
