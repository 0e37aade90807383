"""Retention: who stays, who goes, and why; the rules as tables, the promises as properties."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtasks.errors import SettingsError
from dbtasks.models import Backup, EngineName, Format, Identity, Type
from dbtasks.retention import Policy, RetentionPlan, plan_retention
from dbtasks.settings import Levels, resolve_settings
from tests.samples import SHOP, a_backup

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def aged(days: float, name: str = "", **changes: object) -> Backup:
    return a_backup(id=name or f"d{days}", started_at=NOW - timedelta(days=days), **changes)


def kept(plan: RetentionPlan) -> list[str]:
    return [backup.id for backup in plan.kept]


def reasons(plan: RetentionPlan, name: str) -> tuple[str, ...]:
    return next(decision.reasons for decision in plan.decisions if decision.backup.id == name)


ONE_A_DAY = [aged(days) for days in range(1, 41)]


@pytest.mark.parametrize(
    ("policy", "stay"),
    [
        (Policy(keep=3), [1, 2, 3]),
        (Policy(keep=100), list(range(1, 41))),
        (Policy(keep_days=5), [1, 2, 3, 4]),
        (Policy(keep=2, keep_days=5), [1, 2, 3, 4]),
        (Policy(keep=7, keep_days=3), [1, 2, 3, 4, 5, 6, 7]),
        (Policy(keep_days=1, min_keep=2), [1, 2]),
        (Policy(keep_daily=4), [1, 2, 3, 4]),
        (Policy(keep=1, keep_daily=4), [1, 2, 3, 4]),
        # 1 March 2026 is a Sunday: yesterday closes the first of the weeks
        (Policy(keep_weekly=3), [1, 7, 14]),
        (Policy(keep_monthly=2), [1, 29]),
        (Policy(keep=2, keep_weekly=2, keep_monthly=2), [1, 2, 7, 29]),
        (Policy(), list(range(1, 41))),
        (Policy(min_keep=3), list(range(1, 41))),
    ],
    ids=str,
)
def test_of_one_backup_a_day_the_policy_keeps(policy, stay, monkeypatch):
    in_zone(monkeypatch, "UTC")
    assert kept(plan_retention(ONE_A_DAY, policy, NOW)) == [f"d{days}" for days in stay]


def in_zone(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()


@pytest.fixture(autouse=True)
def own_zone_again(monkeypatch):
    yield
    monkeypatch.undo()
    time.tzset()


def test_one_goes_only_when_every_limit_that_is_set_says_so():
    plan = plan_retention([aged(1), aged(2), aged(10)], Policy(keep=1, keep_days=5), NOW)
    assert kept(plan) == ["d1", "d2"]
    assert reasons(plan, "d2") == ("younger than 5 days",)
    assert reasons(plan, "d10") == ("not among the newest 1", "5 days old or older")


def test_only_calendar_buckets_that_hold_a_backup_count():
    monthly = [aged(3), aged(200), aged(400)]
    assert kept(plan_retention(monthly, Policy(keep_monthly=2), NOW)) == ["d3", "d200"]


def test_the_newest_of_each_day_stays_and_the_day_is_the_local_one(monkeypatch):
    in_zone(monkeypatch, "Pacific/Kiritimati")  # UTC+14: these three fall on two local days
    day = datetime(2026, 2, 20, tzinfo=UTC)
    backups = [a_backup(id=f"h{hour}", started_at=day + timedelta(hours=hour)) for hour in (8, 9, 11)]
    assert kept(plan_retention(backups, Policy(keep_daily=5), NOW)) == ["h11", "h9"]


def test_h09_the_hour_that_a_clock_change_repeats_keeps_its_order(monkeypatch):
    in_zone(monkeypatch, "Europe/Berlin")  # 02:30 came twice on 26 October 2025
    first = a_backup(id="first", started_at=datetime(2025, 10, 26, 0, 30, tzinfo=UTC))
    second = a_backup(id="second", started_at=datetime(2025, 10, 26, 1, 30, tzinfo=UTC))
    assert kept(plan_retention([second, first], Policy(keep=1), NOW)) == ["second"]
    assert kept(plan_retention([first, second], Policy(keep_daily=1), NOW)) == ["second"]


def test_h09_a_backup_dated_in_the_future_stays_and_takes_nobodys_place():
    backups = [aged(-400, "future"), aged(1), aged(2)]
    plan = plan_retention(backups, Policy(keep=1), NOW)
    assert kept(plan) == ["future", "d1"]
    assert "dated in the future" in reasons(plan, "future")


def test_types_are_counted_apart():
    backups = [
        aged(days, f"{type_}{days}", type=type_) for days in (1, 2) for type_ in (Type.DAILY, Type.MANUAL)
    ]
    assert sorted(kept(plan_retention(backups, Policy(keep=1), NOW))) == ["daily1", "manual1"]


def test_complete_and_partial_backups_are_counted_apart():
    backups = [aged(1, "partial", complete=False), aged(2, "whole"), aged(3, "older")]
    assert kept(plan_retention(backups, Policy(keep=1), NOW)) == ["partial", "whole"]


def test_h03_nights_of_partial_backups_do_not_push_the_last_complete_one_out():
    backups = [
        *(aged(days, complete=False, type=Type.DAILY) for days in (1, 2, 3)),
        aged(90, "whole", type=Type.DAILY),
    ]
    plan = plan_retention(backups, Policy(keep=3, keep_days=7), NOW)
    assert "whole" in kept(plan)
    assert "the last complete backup of this database" in reasons(plan, "whole")


def test_h03_damaged_backups_count_for_nothing():
    backups = [
        *(aged(days, damage="the checksum differs") for days in (1, 2, 3)),
        aged(4, "whole"),
        aged(5, "older"),
    ]
    plan = plan_retention(backups, Policy(keep=1), NOW)
    assert kept(plan) == ["d1", "whole"]
    assert "the last complete backup of this database" in reasons(plan, "whole")


def test_h04_the_floor_holds_when_all_backups_are_too_old():
    plan = plan_retention([aged(100), aged(200), aged(300)], Policy(keep_days=30, min_keep=2), NOW)
    assert kept(plan) == ["d100", "d200"]
    assert reasons(plan, "d200") == ("never fewer than 2",)


@pytest.mark.parametrize("value", [0, -1])
@pytest.mark.parametrize(
    "name", ["keep", "keep_days", "keep_daily", "keep_weekly", "keep_monthly", "min_keep"]
)
def test_h11_zero_and_negative_numbers_are_refused(name, value):
    with pytest.raises(SettingsError, match=name):
        Policy(**{name: value})


def test_h13_names_that_share_a_beginning_are_different_databases():
    other = replace(SHOP, name="shop_test")
    backups = [aged(1, "test", database=other), aged(50, "live"), aged(60, "older")]
    assert kept(plan_retention(backups, Policy(keep=1), NOW)) == ["test", "live"]


def test_one_name_on_two_servers_is_two_databases():
    elsewhere = Identity(EngineName.POSTGRESQL, "db.example.org:5432", "shop")
    backups = [aged(1, "there", database=elsewhere), aged(2, "here")]
    assert kept(plan_retention(backups, Policy(keep=1), NOW)) == ["there", "here"]


def test_a_pinned_backup_stays_and_takes_a_place():
    plan = plan_retention([aged(1), aged(2), aged(3, "pin", pinned=True)], Policy(keep=1), NOW)
    assert kept(plan) == ["d1", "pin"]
    assert reasons(plan, "pin") == ("pinned",)


def test_what_the_caller_protects_stays_with_the_callers_reason():
    backups = [aged(days, type=Type.SAFETY) for days in (1, 2, 3)]
    plan = plan_retention(backups, Policy(keep=1), NOW, protected={"d3": "undoes the last restore"})
    assert kept(plan) == ["d1", "d3"]
    assert reasons(plan, "d3") == ("undoes the last restore",)


def test_the_last_complete_backup_is_not_a_safety_backup_while_there_is_another():
    plan = plan_retention([aged(1, "safety", type=Type.SAFETY), aged(2, "daily")], Policy(keep=1), NOW)
    assert "the last complete backup of this database" in reasons(plan, "daily")
    assert "the last complete backup of this database" not in reasons(plan, "safety")


def test_without_any_limit_nothing_goes_and_that_is_the_reason():
    plan = plan_retention([aged(1), aged(9000)], Policy(), NOW)
    assert not plan.removed
    assert "no limit is set" in reasons(plan, "d9000")


def test_no_backups_make_an_empty_plan():
    assert plan_retention([], Policy(keep=1), NOW).decisions == ()


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (Policy(), "No limit is set: every backup stays."),
        (Policy(keep=3), "Per database and type, the newest 3 stay; never fewer than 1 backup."),
        (
            Policy(keep=3, keep_days=1, min_keep=2),
            "Per database and type, the newest 3 and whatever is younger than 1 day stay; "
            "never fewer than 2 backups.",
        ),
        (
            Policy(keep_daily=7, keep_weekly=4, keep_monthly=12),
            "Per database and type, the newest of each of the last 7 days that have a backup, "
            "the newest of each of the last 4 weeks that have a backup and "
            "the newest of each of the last 12 months that have a backup stay; never fewer than 1 backup.",
        ),
    ],
)
def test_a_policy_prints_itself_as_a_sentence(policy, sentence):
    assert str(policy) == sentence


def test_the_policy_is_what_the_settings_say():
    settings = resolve_settings(
        Levels(root=Path("/srv/shop"), environ={"DBTASKS_KEEP": "none", "DBTASKS_KEEP_WEEKLY": "4"})
    )
    assert Policy.of(settings) == Policy(keep=None, keep_weekly=4, min_keep=1)


# -- promises, for any history ------------------------------------------------

numbers = st.none() | st.integers(1, 6)
policies = st.builds(
    Policy,
    keep=numbers,
    keep_days=numbers,
    keep_daily=numbers,
    keep_weekly=numbers,
    keep_monthly=numbers,
    min_keep=st.integers(1, 4),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Backup]:
    rows = draw(
        st.lists(
            st.tuples(
                st.floats(-3, 200),
                st.sampled_from([Type.DAILY, Type.MANUAL, Type.SAFETY]),
                st.sampled_from(["shop", "shop_test"]),
                st.booleans(),
                st.sampled_from([False, False, False, True]),
            ),
            max_size=25,
        )
    )
    return [
        aged(days, f"b{i}", type=type_, database=replace(SHOP, name=name), complete=complete, pinned=pinned)
        for i, (days, type_, name, complete, pinned) in enumerate(rows)
    ]


@given(histories(), policies)
def test_every_backup_gets_exactly_one_decision_with_a_reason(backups, policy):
    plan = plan_retention(backups, policy, NOW)
    assert sorted(d.backup.id for d in plan.decisions) == sorted(b.id for b in backups)
    assert all(decision.reasons for decision in plan.decisions)


@given(histories(), policies)
def test_h03_the_last_complete_backup_of_a_database_is_never_removed(backups, policy):
    plan = plan_retention(backups, policy, NOW)
    for name in ("shop", "shop_test"):
        complete = [
            b
            for b in backups
            if b.manifest.database.name == name and b.manifest.complete and b.manifest.started_at <= NOW
        ]
        if complete:
            assert max(complete, key=lambda b: (b.manifest.started_at, b.id)) in plan.kept


@given(histories(), policies)
def test_h04_at_least_min_keep_stay_per_database_type_and_completeness(backups, policy):
    plan = plan_retention(backups, policy, NOW)

    def group(backup: Backup) -> tuple[object, ...]:
        return (backup.manifest.database, backup.manifest.type, backup.manifest.complete)

    for key in {group(backup) for backup in backups}:
        there = sum(group(backup) == key for backup in backups)
        assert sum(group(backup) == key for backup in plan.kept) >= min(policy.min_keep, there)


@given(histories(), policies)
def test_a_second_cleanup_removes_nothing_more(backups, policy):
    first = plan_retention(backups, policy, NOW)
    assert plan_retention(first.kept, policy, NOW).removed == ()


@given(histories(), st.integers(1, 6))
def test_with_keep_alone_the_newest_n_of_each_group_stay_and_no_others(backups, keep):
    plan = plan_retention(backups, Policy(keep=keep), NOW)
    for backup in backups:
        newer = [
            b
            for b in backups
            if (b.manifest.database, b.manifest.type, b.manifest.complete)
            == (backup.manifest.database, backup.manifest.type, backup.manifest.complete)
            and (b.manifest.started_at, b.id) > (backup.manifest.started_at, backup.id)
            and b.manifest.started_at <= NOW
        ]
        always = backup.manifest.pinned or backup.manifest.started_at > NOW
        excused = any("last complete" in reason for reason in reasons(plan, backup.id))
        assert (backup in plan.kept) == (len(newer) < keep or always or excused)


@given(histories(), policies)
def test_pinned_and_future_backups_are_never_removed(backups, policy):
    for backup in plan_retention(backups, policy, NOW).removed:
        assert not backup.manifest.pinned
        assert backup.manifest.started_at <= NOW


@given(histories(), policies, st.randoms())
def test_the_order_in_which_backups_are_given_does_not_matter(backups, policy, random):
    shuffled = list(backups)
    random.shuffle(shuffled)
    assert plan_retention(shuffled, policy, NOW) == plan_retention(backups, policy, NOW)


def test_backups_of_another_server_at_the_same_address_are_counted_apart():
    old = [aged(days, f"old{days}", system_identifier="7001") for days in (10, 11, 12)]
    new = [aged(days, system_identifier="7002") for days in (1, 2, 3)]
    plan = plan_retention([*old, *new], Policy(keep=2), NOW)
    assert kept(plan) == ["d1", "d2", "old10", "old11"]
    apart = "made on another server at this address, counted apart"
    assert reasons(plan, "old12") == ("not among the newest 2", apart)
    assert apart in reasons(plan, "old10")
    assert apart not in reasons(plan, "d1")


def test_the_last_complete_backup_of_a_former_server_stays():
    old = aged(400, "old", system_identifier="7001")
    plan = plan_retention([old, aged(1, complete=False), aged(2)], Policy(keep_days=5), NOW)
    assert "the last complete backup of this database" in reasons(plan, "old")


def test_the_newest_complete_backup_that_a_restore_has_proven_stays_per_database():
    proven = {"restored_at": NOW}
    other = replace(SHOP, name="other")
    backups = [
        aged(1, "newest"),
        aged(2, "partial", complete=False, **proven),
        aged(3, "damaged", damage="it rotted", **proven),
        aged(4, "proven", type=Type.MONTHLY, **proven),
        aged(5, "older", type=Type.MONTHLY, **proven),
        aged(3.5, "monthly", type=Type.MONTHLY),
        aged(6, "theirs", database=other, **proven),
        aged(1, "their newest", database=other),
        aged(-1, "future", **proven),
    ]
    plan = plan_retention(backups, Policy(keep=1), NOW)
    why = "the last backup proven by a restore"
    assert {b.id for b in plan.kept if why in reasons(plan, b.id)} == {"proven", "theirs"}
    assert "older" not in kept(plan)


ROWS = {"format": Format.ROWS, "complete": False}


@pytest.mark.parametrize(
    "safety", [ROWS | {"all_tables": True}, {"format": Format.SQLITE}], ids=["of rows", "complete"]
)
def test_h04_a_safety_backup_takes_no_place_of_the_rows_that_latest_names(safety):
    backups = [
        *(aged(days, **ROWS) for days in (1, 2, 3)),
        aged(4, "safety", type=Type.SAFETY, **safety),
        aged(5, "named", **ROWS, all_tables=True),
        aged(6, "older", **ROWS, all_tables=True),
    ]
    plan = plan_retention(backups, Policy(keep=3), NOW)
    assert reasons(plan, "named") == ("the last one of all tables' rows, and no ordinary backup is complete",)
    assert kept(plan) == ["d1", "d2", "d3", "safety", "named"]


def test_h04_the_newest_rows_that_a_restore_has_proven_stay_beside_a_complete_backup():
    proven = ROWS | {"all_tables": True, "restored_at": NOW}
    backups = [
        aged(1, "complete"),
        *(aged(days, **ROWS) for days in (2, 3)),
        aged(4, "part", **{**proven, "all_tables": False}),
        aged(5, "proven", **proven),
        aged(6, "older", **proven),
    ]
    plan = plan_retention(backups, Policy(keep=1), NOW)
    assert kept(plan) == ["complete", "d2", "proven"]
    assert reasons(plan, "proven") == ("the last backup proven by a restore",)
