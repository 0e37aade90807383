"""Files of other tools by their first bytes: what each is, and what can be done with it."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["HEAD_BYTES", "UNPACK", "Other", "other_tool"]

HEAD_BYTES = 4096
"""What is looked at; every mark stands before."""
UNPACK = "unpack it first, then give the file that was inside"
DECRYPT = "decrypt it first"
PLAIN = "make the dump again with pg_dump --format=custom, or as plain SQL"
MYSQL = "load it into {server} and move the rows from there; dbtasks reads PostgreSQL and SQLite only"
SPACE = rb"(?:\s|--[^\n]*(?:\n|\Z)|/\*(?!!)(?s:.*?)\*/)*"
"""Blanks and comments, as far as they are in sight."""


@dataclass(frozen=True)
class Other:
    """What a file is, in words that go on after its name, and the way left."""

    what: str
    way: str


_MARKS: tuple[tuple[bytes, str, str], ...] = (
    (rb"\xff\xfe|\xfe\xff", "is text in UTF-16, as PowerShell's > writes it", "use pg_dump --file=NAME"),
    # SQL of others
    (
        rb"\s*-- MySQL dump|\s*-- mysqldump",
        "was made by mysqldump",
        MYSQL.format(server="MySQL"),
    ),
    (
        rb"\s*/\*M?!999999|\s*-- MariaDB dump",
        "was made by mariadb-dump",
        MYSQL.format(server="MariaDB"),
    ),
    (rb"\s*-- phpMyAdmin SQL Dump", "was made by phpMyAdmin", MYSQL.format(server="MySQL")),
    (
        SPACE + rb"(?:/\*!\d{5}|(?i:(?:SET|CREATE TABLE|DROP TABLE|INSERT INTO)\b[^;]*?`))",
        "is a script for MySQL or MariaDB",
        MYSQL.format(server="MySQL"),
    ),
    (
        rb"--\r?\n-- PostgreSQL database cluster dump",
        "was made by pg_dumpall: it holds every database of a server, and its roles",
        "load it by psql into a new server, then db.backup each database; or make pg_dump's dump of the one",
    ),
    (
        SPACE
        + rb"PRAGMA foreign_keys ?= ?OFF;\s*BEGIN TRANSACTION;|"
        + SPACE
        + rb"BEGIN TRANSACTION;\s*CREATE",
        "was made by SQLite's .dump",
        "make a database of it first: sqlite3 new.db < FILE, then give new.db",
    ),
    (
        SPACE + rb"(?:USE|use) \[[^\]\n]+\]|/\*{4,} Object: |" + SPACE + rb"SET ANSI_NULLS ",
        "is a script for SQL Server",
        "load it there; dbtasks reads PostgreSQL and SQLite only",
    ),
    (
        rb"\s*-{10,}\s*--\s+(?:DDL for |File created)|" + SPACE + rb"(?:REM |SET DEFINE OFF|PROMPT )",
        "is a script for Oracle's SQL*Plus",
        "load it there; dbtasks reads PostgreSQL and SQLite only",
    ),
    # binary exports
    (rb"TAPE\0\0", "is a backup of SQL Server", "restore it there; dbtasks reads PostgreSQL and SQLite only"),
    (rb".{0,4}EXPORT:V", "was made by Oracle's exp", "load it there by imp"),
    (rb"\x6d\xe2\x99\x81", "was made by mongodump", "load it there by mongorestore"),
    (rb"REDIS\d{4}", "is a snapshot of Redis", "load it there"),
    (rb"\x00\x01\x00\x00Standard (?:Jet|ACE) DB", "is a database of Microsoft Access", "export its tables"),
    (rb"PGCOPY\n\xff\r\n\0", "is the binary output of COPY: one table's rows, without its name", PLAIN),
    # packed or encrypted
    (rb"PK\x03\x04|PK\x05\x06", "is a zip archive", UNPACK),
    (rb"BZh[1-9]", "is compressed by bzip2", UNPACK),
    (rb"\xfd7zXZ\0", "is compressed by xz", UNPACK),
    (rb"\x04\x22\x4d\x18", "is compressed by lz4", UNPACK),
    (rb"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive", UNPACK),
    (rb"Rar!\x1a\x07", "is a rar archive", UNPACK),
    (rb"\x1f\x9d", "is compressed by compress", UNPACK),
    (rb"age-encryption\.org/|-----BEGIN AGE ", "is encrypted by age", DECRYPT),
    (rb"-----BEGIN PGP MESSAGE-----|\x85[\x01-\x04]|\x8c\x0d\x04", "is encrypted by gpg", DECRYPT),
    (rb"Salted__", "is encrypted by openssl", DECRYPT),
    # no dump at all
    (
        rb"version https://git-lfs\.github\.com/",
        "is a pointer of Git LFS, not the file",
        "fetch it: git lfs pull",
    ),
    (
        rb"(?i:\s*(?:<!doctype html|<html))",
        "is a web page, maybe of a login or an error in place of the file",
        "download it again",
    ),
    (
        rb"\s*<\?xml|\s*<[A-Za-z]",
        "is XML",
        "if it came from a bucket, read it: it may be the error in place of the file",
    ),
    (
        rb'\s*\[\s*\{\s*"(?:model|pk)":',
        "is a Django fixture, as dumpdata makes it",
        "load it into a migrated database: manage.py loaddata",
    ),
    (rb'\s*[\[{]\s*(?:["\]}\[{]|[-\d])', "is JSON", "this version restores dumps, not rows"),
)
_KNOWN = tuple((re.compile(mark), Other(what, way)) for mark, what, way in _MARKS)

_STATEMENT = re.compile(
    SPACE
    + rb"(?i:(?:ALTER|ANALYZE|BEGIN|COMMENT|COPY|CREATE|DELETE|DO|DROP|GRANT|INSERT|REVOKE|SELECT|SET|START"
    rb"|TRUNCATE|UPDATE|WITH)\b|\\[a-z!])"
)
_HANDMADE = Other(
    "is SQL, and not as pg_dump writes it: without the lines that pg_dump writes first and last nobody can tell a"
    " whole script from a cut one",
    "run it by psql into a database yourself, then db.backup",
)
_LIST = re.compile(rb'"?[\w .-]{1,60}"?(?P<mark>[,;\t|])[^\n]*\n[^\n]*(?P=mark)[^\n]*(?:\n|\Z)')
"""Two lines with the same mark between their values."""
_CSV = Other("looks like a list of values (CSV): one table's rows", "load it into its table by psql's \\copy")


def other_tool(head: bytes) -> Other | None:
    """Say what a file is that no restore can read, by its first bytes; None where that is not known."""
    for mark, other in _KNOWN:
        if mark.match(head):
            return other
    if _STATEMENT.match(head):
        return _HANDMADE
    return _CSV if b"\0" not in head and _LIST.match(head) else None
