"""The step between two revisions, as far as the tools' tables tell it."""

from __future__ import annotations

import pytest

from dbtasks.migrations import Order, migration_step
from dbtasks.models import Revision


def order(tool: str, backup: tuple[str, ...], against: tuple[str, ...]) -> Order:
    step = migration_step(Revision(tool, backup), Revision(tool, against))
    assert step is not None
    return step.order


@pytest.mark.parametrize(
    ("backup", "against", "expected"),
    [
        (("1", "2"), ("2", "1"), Order.SAME),
        (("1",), ("1", "2"), Order.OLDER),
        ((), ("1",), Order.OLDER),
        (("1", "2"), ("1",), Order.NEWER),
        (("1", "2"), ("1", "3"), Order.DIVERGED),
    ],
)
def test_tools_that_keep_every_migration_are_put_in_order(
    backup: tuple[str, ...], against: tuple[str, ...], expected: Order
) -> None:
    assert order("django", backup, against) is expected


def test_a_number_is_compared_as_a_number_and_a_broken_off_migration_is_told() -> None:
    assert order("golang-migrate", ("9",), ("10",)) is Order.OLDER
    assert order("golang-migrate", ("10",), ()) is Order.NEWER
    assert order("golang-migrate", ("10 (dirty)",), ("10",)) is Order.SAME
    step = migration_step(Revision("golang-migrate", ("7 (dirty)",)), None)
    assert step is not None
    assert "migrate force" in step.note


def test_alembics_identifiers_tell_no_order_and_several_heads_have_a_command_of_their_own() -> None:
    assert order("alembic", ("a",), ("b",)) is Order.UNKNOWN
    assert order("alembic", ("a", "b"), ("b", "a")) is Order.SAME
    step = migration_step(Revision("alembic", ("a", "b")), None)
    assert step is not None
    assert (step.order, step.command) == (Order.UNKNOWN, "alembic upgrade heads")


def test_two_tools_are_not_compared_and_none_is_no_step() -> None:
    step = migration_step(Revision("django", ("a.1",)), Revision("alembic", ("b",)))
    assert step is not None
    assert step.order is Order.UNKNOWN
    assert "django" in step.note
    assert "alembic" in step.note
    assert migration_step(None, None) is None


def test_the_table_beside_it_tells_rails_from_dbmate() -> None:
    revision = Revision("schema_migrations", ("1",))
    rails = migration_step(revision, revision, ["public.schema_migrations", "public.ar_internal_metadata"])
    dbmate = migration_step(revision, revision, ["public.schema_migrations"])
    assert rails is not None
    assert dbmate is not None
    assert (rails.tool, rails.command) == ("rails", "bin/rails db:migrate")
    assert (dbmate.tool, dbmate.command) == ("dbmate", "dbmate up")
