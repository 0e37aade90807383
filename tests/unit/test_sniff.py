"""What a file is, by its bytes: a dump that is read, or another tool's file, refused by its name with the way left."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import pytest

from dbtasks.errors import ArchiveDamaged, WrongEngine
from dbtasks.formats import sniff
from dbtasks.models import Compression, Format
from tests.fix_postgres import PgServer
from tests.postgres.rich import tool

DUMP = b"--\n-- PostgreSQL database dump\n--\n\nSET statement_timeout = 0;\n"


def sqlite_dump() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.executescript("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
    text = "\n".join(connection.iterdump())
    connection.close()
    return f"PRAGMA foreign_keys=OFF;\n{text}\n".encode()


def zipped() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("dump.sql", DUMP)
    return data.getvalue()


def tarred(*names: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return data.getvalue()


OTHERS: dict[str, tuple[bytes, str, str]] = {
    "mysqldump": (b"-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n--\n", "mysqldump", "MySQL"),
    "mariadb-dump": (
        b"/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\n",
        "mariadb-dump",
        "MariaDB",
    ),
    "mariadb-dump, older": (b"-- MariaDB dump 10.19  Distrib 10.6\n", "mariadb-dump", "MariaDB"),
    "phpMyAdmin": (b"-- phpMyAdmin SQL Dump\n-- version 5.2.1\n", "phpMyAdmin", "MySQL"),
    "a script for MySQL": (b"-- mine\n/*!40101 SET NAMES utf8 */;\n", "MySQL", "MySQL"),
    "a script with MySQL's names": (b"DROP TABLE IF EXISTS `users`;\n", "MySQL", "MySQL"),
    "pg_dumpall": (b"--\n-- PostgreSQL database cluster dump\n--\n\n\\restrict a\n", "pg_dumpall", "psql"),
    "SQLite's .dump": (sqlite_dump(), r"SQLite's \.dump", "sqlite3 new.db"),
    "Python's iterdump": (sqlite_dump().split(b"\n", 1)[1], r"SQLite's \.dump", "sqlite3 new.db"),
    "a script for SQL Server": (b"USE [shop]\r\nGO\r\n", "SQL Server", "there"),
    "a table for SQL Server": (
        b"/****** Object:  Table [dbo].[t] ******/\r\nSET ANSI_NULLS ON\r\n",
        "SQL Server",
        "there",
    ),
    "a backup of SQL Server": (b"TAPE\0\0\3\0" + b"\0" * 600, "SQL Server", "there"),
    "a script for Oracle": (
        b"--------------------------------------------------------\n--  DDL for Table SHOP\n",
        "Oracle",
        "there",
    ),
    "Oracle's exp": (b"\x03\x03iEXPORT:V19.00.00\n", "Oracle", "imp"),
    "mongodump": (b"\x6d\xe2\x99\x81" + b"\0" * 60, "mongodump", "mongorestore"),
    "Redis": (b"REDIS0011\xfa", "Redis", "there"),
    "Access": (b"\0\1\0\0Standard Jet DB\0", "Access", "export"),
    "COPY's binary rows": (b"PGCOPY\n\xff\r\n\0" + b"\0" * 8, "COPY", "pg_dump"),
    "a fixture": (b'[{"model": "shop.order", "pk": 1}]', "Django", "loaddata"),
    "JSON": (b'{"customers": [], "orders": []}', "JSON", "dumps"),
    "CSV": (b"id,name,price\n1,shoe,2.50\n", "CSV", "copy"),
    "XML": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML", "error"),
    "a web page": (b"\n<!DOCTYPE html><html><body>Sign in", "web page", "download"),
    "a pointer of Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "Git LFS",
        "git lfs pull",
    ),
    "zip": (zipped(), "zip", "unpack"),
    "bzip2": (bz2.compress(DUMP), "bzip2", "unpack"),
    "xz": (lzma.compress(DUMP), "xz", "unpack"),
    "lz4": (b"\x04\x22\x4d\x18" + b"\0" * 60, "lz4", "unpack"),
    "7-Zip": (b"7z\xbc\xaf\x27\x1c\0\4", "7-Zip", "unpack"),
    "age": (b"age-encryption.org/v1\n-> X25519 x\n", "age", "decrypt"),
    "gpg": (b"-----BEGIN PGP MESSAGE-----\n\nhQ==\n", "gpg", "decrypt"),
    "openssl": (b"Salted__" + b"\1" * 60, "openssl", "decrypt"),
    "UTF-16": (b"\xff\xfe" + DUMP.decode().encode("utf-16-le"), "UTF-16", "--file"),
    "a tar of something": (tarred("readme.txt", "data/"), r"toc\.dat is missing", "unpack"),
    "pg_basebackup": (tarred("backup_label", "base/"), "pg_basebackup", "data folder"),
    "a tar that is compressed": (gzip.compress(tarred("toc.dat")), "a tar inside a gzip file", "gunzip"),
    "a custom archive that is compressed": (
        gzip.compress(b"PGDMP\x01\x0f\x00"),
        "pg_restore does not read",
        "unpack",
    ),
    "SQL by hand": (b"-- my tables\nCREATE TABLE t (a int);\n", "cut one", "psql"),
    "SQL by hand behind a comment": (b"/* mine */ insert into t values (1);\n", "cut one", "psql"),
    "a script of commands": (b"\\connect shop\n", "cut one", "psql"),
    "the end of a dump alone": (b"--\n-- PostgreSQL database dump complete\n--\n", "not a backup", "pg_dump"),
    "prose": (b"Dear colleague, here is the file you asked for", "not a backup", "pg_dump"),
    "noise": (bytes(range(7, 250)) * 20, "not a backup", "pg_dump"),
}


@pytest.mark.parametrize(("data", "what", "way"), OTHERS.values(), ids=OTHERS)
def test_c09_a_file_of_another_tool_is_refused_by_name_with_the_way_left(
    tmp_path: Path, data: bytes, what: str, way: str
) -> None:
    path = tmp_path / "theirs.sql"
    path.write_bytes(data)
    with pytest.raises(WrongEngine, match=what) as refused:
        sniff(path)
    assert way in refused.value.hint
    assert refused.value.exit_code == 6
    if data[:2] not in (b"\x1f\x8b", b"PK") and b"ustar" not in data[:300]:
        # inside gzip it is the same
        path.write_bytes(gzip.compress(data))
        with pytest.raises(WrongEngine, match=what):
            sniff(path)


@pytest.mark.parametrize(
    "start",
    [
        DUMP,
        DUMP.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + DUMP,
        b"\n\n" + DUMP,
        b"\\restrict aB3\n\nSET statement_timeout = 0;\n",
        b"SET statement_timeout = 0;\n",
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_plain_dump_is_known_whatever_an_editor_did_to_its_first_lines(
    tmp_path: Path, start: bytes, packed: bool
) -> None:
    path = tmp_path / "misnamed.json"
    path.write_bytes(gzip.compress(start) if packed else start)
    assert sniff(path) == (Format.SQL, Compression.GZIP if packed else Compression.NONE)


@pytest.mark.parametrize("packed", [False, True])
def test_a_rows_file_is_known_by_its_first_words(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "misnamed.sql"
    data = b'{"metadata": {"layout": 1}, "tables": {}}'
    path.write_bytes(gzip.compress(data) if packed else data)
    assert sniff(path) == (Format.ROWS, Compression.GZIP if packed else Compression.NONE)


def test_an_empty_file_is_damaged_plain_and_packed(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    for data in (b"", gzip.compress(b"")):
        path.write_bytes(data)
        with pytest.raises(ArchiveDamaged):
            sniff(path)


def test_what_pg_dumpall_really_writes_is_known(any_pg: PgServer, tmp_path: Path) -> None:
    path = tmp_path / "all.sql"
    path.write_bytes(tool(any_pg, "pg_dumpall", "--globals-only"))
    with pytest.raises(WrongEngine, match="pg_dumpall"):
        sniff(path)
