"""Database URLs: every spelling in use is understood or refused by name, and none leaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtasks.errors import SettingsError
from dbtasks.models import EngineName, PostgresTarget, SqliteTarget
from dbtasks.secrets import Secret
from dbtasks.urls import parse_url, postgres_url, sqlite_target

ROOT = Path("/srv/shop")
CANARY = "c4n4ry"


def parsed(url: str) -> object:
    return parse_url(url, root=ROOT, source="DATABASE_URL in .env")


def refused(url: str) -> str:
    with pytest.raises(SettingsError) as caught:
        parsed(url)
    assert caught.value.message.startswith("DATABASE_URL in .env: ")
    assert caught.value.__cause__ is None, "libpq's own message quotes the URL"
    return f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    "scheme",
    [
        "postgres",
        "postgresql",
        "pgsql",
        "postgis",
        "timescale",
        "timescaledb",
        "POSTGRESQL",
        "postgresql+psycopg2",
        "postgresql+asyncpg",
        "postgresql+psycopg",
        "timescaledb+psycopg2",
    ],
)
def test_every_postgresql_scheme_means_the_same_database(scheme):
    assert parsed(f"{scheme}://jo:pw@db.example.org:5433/shop") == PostgresTarget(
        "shop", host="db.example.org", port=5433, user="jo", password=Secret("pw")
    )


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("postgresql:///shop", PostgresTarget("shop")),
        ("postgresql://h/shop", PostgresTarget("shop", host="h")),
        ("postgresql://jo@h", PostgresTarget("jo", host="h", user="jo")),
        ("postgresql://jo:@h/shop", PostgresTarget("shop", host="h", user="jo")),
        ("postgresql://%2Fvar%2Frun%2Fpostgresql/shop", PostgresTarget("shop", host="/var/run/postgresql")),
        ("postgresql://jo@/shop?host=/tmp", PostgresTarget("shop", host="/tmp", user="jo")),
        ("postgresql://[::1]:5433/shop", PostgresTarget("shop", host="::1", port=5433)),
        ("postgresql://h/shop?port=5433", PostgresTarget("shop", host="h", port=5433)),
        ("postgresql://jo:p#a@h/shop", PostgresTarget("shop", host="h", user="jo", password=Secret("p#a"))),
        (
            "postgresql://j%40o:p%40%3A%2F%25@h/my%20shop",
            PostgresTarget("my shop", host="h", user="j@o", password=Secret("p@:/%")),
        ),
        (
            "postgresql://h/shop?sslmode=require&application_name=x",
            PostgresTarget("shop", host="h", options={"sslmode": "require", "application_name": "x"}),
        ),
        ("  postgresql://h/shop\n", PostgresTarget("shop", host="h")),
    ],
)
def test_a_postgresql_url_is_read_as_libpq_reads_it(url, target):
    assert parsed(url) == target


@pytest.mark.parametrize(
    ("url", "path", "server"),
    [
        ("sqlite:///app.db", "/srv/shop/app.db", ""),
        ("sqlite:///data/app.db", "/srv/shop/data/app.db", "data"),
        ("sqlite:////var/lib/app.db", "/var/lib/app.db", "/var/lib"),
        ("sqlite:////srv/shop/data/app.db", "/srv/shop/data/app.db", "data"),
        ("sqlite:///../other/app.db", "/srv/other/app.db", "/srv/other"),
        ("sqlite3:///app.db", "/srv/shop/app.db", ""),
        ("spatialite:///app.db", "/srv/shop/app.db", ""),
        ("SQLite+aiosqlite:///app.db", "/srv/shop/app.db", ""),
        ("sqlite:///file:app.db?mode=ro&uri=true", "/srv/shop/app.db", ""),
        ("sqlite:///app.db?timeout=5", "/srv/shop/app.db", ""),
        ("sqlite:///my%20app%3F.db", "/srv/shop/my app?.db", ""),
        ("sqlite:///a#b.db", "/srv/shop/a#b.db", ""),
    ],
)
def test_a_sqlite_url_names_a_file_relative_to_the_root_or_absolute(url, path, server):
    assert parsed(url) == SqliteTarget(Path(path), server=server)


def test_a_path_below_home_is_understood(monkeypatch):
    monkeypatch.setenv("HOME", "/home/jo")
    assert parsed("sqlite:///~/app.db") == SqliteTarget(Path("/home/jo/app.db"), server="/home/jo")


def test_two_spellings_of_one_file_are_one_database():
    spellings = (
        "sqlite:///app.db",
        "sqlite:///./app.db",
        "sqlite:///x/../app.db",
        "sqlite:////srv/shop/app.db",
    )
    assert len({parsed(url).identity for url in spellings}) == 1


def test_every_loopback_spelling_is_one_server():
    hosts = ("", "localhost", "LOCALHOST", "127.0.0.1", "[::1]", "%2Fvar%2Frun")
    identities = {parsed(f"postgresql://{host}/shop").identity for host in hosts}
    assert {(i.engine, i.server, i.name) for i in identities} == {
        (EngineName.POSTGRESQL, "localhost:5432", "shop")
    }


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "cockroachdb", "oracle+cx_oracle", "mongodb", "http"])
def test_other_databases_are_refused_by_name(scheme):
    assert f"{scheme.partition('+')[0]}:// databases are not supported" in refused(f"{scheme}://u:p@h/db")


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite+aiosqlite:///:memory:",
        "sqlite:///file::memory:?cache=shared",
        "sqlite:///file:x?mode=memory",
    ],
)
def test_an_in_memory_database_is_refused(url):
    assert "memory" in refused(url) or "three slashes" in refused(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://app.db", "three slashes"),
        ("sqlite://data/app.db", "three slashes"),
        ("sqlite:///a%00b", "NUL"),
        ("sqlite:///..", "names no file"),
        ("sqlite+pysqlcipher://:pw@/app.db", "SQLCipher"),
        ("app.db", "no scheme"),
        ("", "no scheme"),
        ("postgresql:shop", "no scheme"),
        ("postgresql://h1:5432,h2:5433/shop", "several hosts"),
        ("postgresql://h/shop?hostaddr=10.0.0.1", "hostaddr"),
        ("postgresql://h/shop?service=prod", "service"),
        ("postgresql://h/shop?passfile=/x", "passfile"),
        ("postgresql://h/shop?options=-c%20role%3Droot", "options"),
        ("postgresql://h/shop?schema=public", "libpq's own parameters"),
        ("postgresql://h:0/shop", "port must be a number"),
        ("postgresql://h:port/shop", "port must be a number"),
        ("postgresql://h/a%00b", "cannot be read"),
        ("postgresql://", "no database name"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_reason(url, said):
    assert said in refused(url)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://jo:{CANARY}%zz@h/db",
        f"postgresql://jo:{CANARY}/x@h/db",
        f"postgresql://jo:{CANARY}@h:x{CANARY}/db",
        f"postgresql://jo:{CANARY}@h1,h2/db",
        f"postgresql://jo:{CANARY}@h/db?service={CANARY}",
        f"postgresql://jo:{CANARY}@h/db?bad={CANARY}",
        f"postgresql://jo:{CANARY}@[::1/db",
        f"mysql://jo:{CANARY}@h/db",
        f"jo:{CANARY}@h://db",
        f"{CANARY}",
        f"jo:{CANARY}@h/db",
        f"sqlite://jo:{CANARY}@h/app.db",
        f"sqlite+pysqlcipher://:{CANARY}@/app.db",
    ],
)
def test_g07_no_refusal_holds_any_part_of_the_url(url):
    assert CANARY not in refused(url)


@given(st.text(min_size=1, max_size=12).map(lambda text: f"{CANARY}{text}"))
def test_g08_whatever_a_password_holds_no_refusal_shows_it(password):
    url = f"postgresql://jo:{password}@h/db"
    try:
        target = parsed(url)
    except SettingsError as exc:
        assert CANARY not in f"{exc.message} {exc.hint} {exc.details} {exc.__cause__}"
    else:
        assert CANARY not in repr(target)


@pytest.mark.parametrize(
    ("target", "url"),
    [
        (PostgresTarget("db", "h", 5432, "jo", Secret(CANARY)), "postgresql://jo:***@h:5432/db"),
        (PostgresTarget("d b", "h", 5433, "a@b"), "postgresql://a%40b@h:5433/d%20b"),
        (PostgresTarget("db", "::1", 5432), "postgresql://[::1]:5432/db"),
        (PostgresTarget("db", "/tmp", 5432, "jo"), "postgresql://jo@/db?host=%2Ftmp&port=5432"),
        (PostgresTarget("db", "", 5432), "postgresql:///db?port=5432"),
        (PostgresTarget("db", "h", options={"sslmode": "require"}), "postgresql://h:5432/db?sslmode=require"),
        (PostgresTarget("db", "h", options={"sslpassword": CANARY}), "postgresql://h:5432/db"),
    ],
)
def test_g07_a_masked_url_shows_where_and_never_how(target, url):
    shown = postgres_url(target, "***" if target.password else "", without=("sslpassword",))
    assert shown == url
    masked = replace(target, password=Secret("***") if target.password else None)
    assert parsed(shown) == replace(masked, options={n: v for n, v in target.options.items() if v != CANARY})


def test_a_path_is_normalised_without_following_links(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "app.db").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "app.db")
    assert sqlite_target(Path("link.db"), root=tmp_path).path == tmp_path / "link.db"
