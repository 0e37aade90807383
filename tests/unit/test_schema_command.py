"""Where schema_command is led: the url in its environment is the database, and nothing it inherits leads elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbtasks.engines.schema_command import NAMES, environment_for
from dbtasks.models import PostgresTarget, SqliteTarget
from dbtasks.secrets import Secret
from dbtasks.urls import parse_url

TARGETS = [
    PostgresTarget("shop", "localhost", 5433, "ada", Secret("p@ss:w/rd %?#")),
    PostgresTarget("sh op/é", "db.example.org", 5432, "a@b"),
    PostgresTarget("shop", "/var/run/postgresql", 5440, "ada", Secret("x")),
    PostgresTarget("shop", "", 5440, "ada"),
    PostgresTarget("shop", "::1", 5432, "ada", options={"sslmode": "require"}),
]


def revealed(value: str | Secret | None) -> str:
    return value.reveal() if isinstance(value, Secret) else value or ""


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.address)
def test_g18_the_url_leads_back_to_the_very_database(target: PostgresTarget) -> None:
    environment = environment_for(target, "DBTASKS_")
    assert parse_url(revealed(environment["DATABASE_URL"]), root=Path("/"), source="x") == target
    for part, value in (("host", target.host), ("port", str(target.port)), ("database", target.database)):
        assert {environment[name] for name in NAMES[part]} == {value}
    # of the surroundings neither stays
    assert {environment[name] for name in NAMES["user"]} == {target.user or None}
    assert {environment[name] for name in NAMES["password"]} == {target.password}


def test_g11_what_holds_the_password_prints_as_a_secret() -> None:
    environment = environment_for(TARGETS[0], "SHOP_")
    assert "p@ss" not in str(environment)
    assert environment["SHOP_URL"] == environment["SHOP_DATABASE_URL"] == environment["DATABASE_URL"]


@pytest.mark.parametrize("name", ["app.db", "with blank.db", "50%?#.db"])
def test_a_file_is_led_to_by_its_path(name: str) -> None:
    target = SqliteTarget(Path("/srv") / name)
    environment = environment_for(target, "DBTASKS_")
    assert environment["DATABASE_PATH"] == environment["DB_NAME"] == f"/srv/{name}"
    found = parse_url(revealed(environment["DATABASE_URL"]), root=Path("/"), source="x")
    assert isinstance(found, SqliteTarget)
    assert found.path == target.path
