"""Which backups stay and which go: a policy, a list and a moment in, decisions with reasons out.

Pure. Backups are judged per database identity, server and type, complete and
partial ones apart; those that were found damaged count for nothing, and those that have shrunk beyond belief only
among themselves. The server
is PostgreSQL's system identifier: a new cluster under an old address pushes
out nothing the old one left, and adopted files push out none of ours. A backup stays if
a calendar bucket wants it; of the rest, one goes only when every limit that
is set says so. What always stays: the newest `min_keep`, pinned ones, the
last complete one of a database, the last one that a restore has proven, whatever the caller protects, and anything
dated in the future (a wrong clock is no reason to delete).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from .errors import SettingsError
from .models import Backup, Format, Identity, Type
from .settings import Settings

__all__ = ["Decision", "Policy", "RetentionPlan", "plan_retention"]

NOTHING: Mapping[str, str] = MappingProxyType({})
Reasons = dict[str, list[str]]
"""Per backup id, why it stays."""
Source = tuple[Identity, str, bool]
"""A database, the system identifier of the server it was on (SQLite has none), and whether the dump is somebody else's."""
ANOTHER_SERVER = "made on another server at this address, counted apart"
ADOPTED = "adopted, counted apart"


@dataclass(frozen=True)
class Policy:
    """How many backups stay; None leaves a rule out. Its text is a sentence for people.

    Raises:
        SettingsError: a number below one. To keep nothing is never meant.
    """

    keep: int | None = None
    keep_days: int | None = None
    keep_daily: int | None = None
    keep_weekly: int | None = None
    keep_monthly: int | None = None
    min_keep: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and value < 1:
                raise SettingsError(f"{name} = {value}: allowed is a whole number from 1 up")

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        """Return the policy that is configured."""
        return cls(
            keep=settings.keep,
            keep_days=settings.keep_days,
            keep_daily=settings.keep_daily,
            keep_weekly=settings.keep_weekly,
            keep_monthly=settings.keep_monthly,
            min_keep=settings.min_keep,
        )

    @property
    def is_set(self) -> bool:
        """Whether anything may go at all."""
        return any(value is not None for name, value in vars(self).items() if name != "min_keep")

    def __str__(self) -> str:
        if not self.is_set:
            return "No limit is set: every backup stays."
        stay = []
        if self.keep is not None:
            stay.append(f"the newest {self.keep}")
        if self.keep_days is not None:
            stay.append(f"whatever is younger than {_count(self.keep_days, 'day')}")
        for number, unit in (
            (self.keep_daily, "day"),
            (self.keep_weekly, "week"),
            (self.keep_monthly, "month"),
        ):
            if number is not None:
                stay.append(f"the newest of each of the last {_count(number, unit)} that have a backup")
        floor = _count(self.min_keep, "backup")
        return f"Per database and type, {_joined(stay)} stay; never fewer than {floor}."


@dataclass(frozen=True)
class Decision:
    """One backup's fate and why."""

    backup: Backup
    keep: bool
    reasons: tuple[str, ...]
    """Never empty."""


@dataclass(frozen=True)
class RetentionPlan:
    """What a cleanup will do; nothing outside it is removed."""

    policy: Policy
    decisions: tuple[Decision, ...]
    """One per backup, newest first."""

    @property
    def kept(self) -> tuple[Backup, ...]:
        """What stays, newest first."""
        return tuple(decision.backup for decision in self.decisions if decision.keep)

    @property
    def removed(self) -> tuple[Backup, ...]:
        """What goes, newest first."""
        return tuple(decision.backup for decision in self.decisions if not decision.keep)


def plan_retention(
    backups: Sequence[Backup],
    policy: Policy,
    now: datetime,
    *,
    protected: Mapping[str, str] = NOTHING,
) -> RetentionPlan:
    """Decide about every backup given; reads nothing and removes nothing.

    Age and order come from the manifests, never from file times. Give only
    backups whose archives are there: one that is gone would count as kept.
    `protected` maps an id to the reason why it stays.
    """
    past = [backup for backup in _newest_first(backups) if _made_at(backup) <= now]
    stays: Reasons = defaultdict(list)
    for backup in backups:
        if _made_at(backup) > now:
            stays[backup.id].append("dated in the future")
        if backup.manifest.pinned:
            stays[backup.id].append("pinned")
        if backup.id in protected:
            stays[backup.id].append(protected[backup.id])
    for backup in _last_complete(past):
        stays[backup.id].append("the last complete backup of this database")
    for backup in _last_rows(past):
        stays[backup.id].append("the last one of all tables' rows, and no ordinary backup is complete")
    for backup in _last_restored(past):
        stays[backup.id].append("the last backup proven by a restore")
    for group in _groups(past):
        _judge(group, policy, now, stays)
    elsewhere = _of_another_server(backups)
    decisions = tuple(
        _decision(backup, policy, stays[backup.id], apart=backup.id in elsewhere)
        for backup in _newest_first(backups)
    )
    return RetentionPlan(policy, decisions)


def _judge(group: Sequence[Backup], policy: Policy, now: datetime, stays: Reasons) -> None:
    """Note what the policy wants of one group, newest first."""
    for position, backup in enumerate(group, 1):
        if policy.keep is not None and position <= policy.keep:
            stays[backup.id].append(f"among the newest {policy.keep}")
        if policy.keep_days is not None and now - _made_at(backup) < timedelta(days=policy.keep_days):
            stays[backup.id].append(f"younger than {_count(policy.keep_days, 'day')}")
        if position <= policy.min_keep:
            stays[backup.id].append(f"never fewer than {policy.min_keep}")
    for number, bucket in (
        (policy.keep_daily, _day),
        (policy.keep_weekly, _week),
        (policy.keep_monthly, _month),
    ):
        for backup, name in _newest_of_each(group, bucket, number or 0):
            stays[backup.id].append(f"the newest of {name}")


def _newest_of_each(
    group: Iterable[Backup], bucket: Callable[[datetime], str], number: int
) -> Iterable[tuple[Backup, str]]:
    """Pick the newest backup of each of the last `number` buckets that have one."""
    picked: dict[str, Backup] = {}
    for backup in group:
        picked.setdefault(bucket(_made_at(backup).astimezone()), backup)
    return [(backup, name) for name, backup in list(picked.items())[:number]]


def _decision(backup: Backup, policy: Policy, stays: Sequence[str], *, apart: bool) -> Decision:
    if not policy.is_set:
        return Decision(backup, keep=True, reasons=(*stays, "no limit is set"))
    counted = (ANOTHER_SERVER,) if apart else (ADOPTED,) if backup.manifest.foreign else ()
    if stays:
        return Decision(backup, keep=True, reasons=(*stays, *counted))
    goes = []
    if policy.keep is not None:
        goes.append(f"not among the newest {policy.keep}")
    if policy.keep_days is not None:
        goes.append(f"{_count(policy.keep_days, 'day')} old or older")
    if (policy.keep_daily, policy.keep_weekly, policy.keep_monthly) != (None, None, None):
        goes.append("no day, week or month needs it")
    return Decision(backup, keep=False, reasons=(*goes, *counted))


def _source(backup: Backup) -> Source:
    return backup.manifest.database, backup.manifest.system_identifier, backup.manifest.foreign


def _of_another_server(backups: Iterable[Backup]) -> set[str]:
    """Pick what another server made under the same address than the one that made the newest backup there."""
    newest: dict[Identity, Source] = {}
    # an adopted file names no server
    ordered = [backup for backup in _newest_first(backups) if not backup.manifest.foreign]
    for backup in ordered:
        newest.setdefault(backup.manifest.database, _source(backup))
    return {backup.id for backup in ordered if _source(backup) != newest[backup.manifest.database]}


def _groups(backups: Iterable[Backup]) -> Iterable[list[Backup]]:
    groups: dict[tuple[Source, Type, bool, bool, bool], list[Backup]] = defaultdict(list)
    for backup in backups:
        manifest = backup.manifest
        # damaged ones, and those of a database that was emptied, take nobody's place: they only push each other out
        distrusted = (bool(manifest.damage), manifest.anomalous)
        groups[(_source(backup), manifest.type, manifest.complete, *distrusted)].append(backup)
    return groups.values()


def _last_complete(newest_first: Iterable[Backup]) -> Iterable[Backup]:
    """Pick what a restore of `latest` would take, per database and server; a safety backup where there is no other."""
    last: dict[Source, Backup] = {}
    for backup in newest_first:
        database = _source(backup)
        if not backup.manifest.complete or backup.manifest.damage:
            continue
        if database not in last or (
            last[database].manifest.type is Type.SAFETY and backup.manifest.type is not Type.SAFETY
        ):
            last[database] = backup
    return last.values()


def _last_rows(newest_first: Iterable[Backup]) -> Iterable[Backup]:
    """Pick what `latest` means where there is no complete backup but safety ones, per database and server."""
    whole: set[Source] = set()
    last: dict[Source, Backup] = {}
    for backup in newest_first:
        source, manifest = _source(backup), backup.manifest
        if manifest.damage:
            continue
        is_safety = manifest.type is Type.SAFETY
        if manifest.complete and not is_safety:
            whole.add(source)
        elif _of_all_rows(backup) and (
            source not in last or (last[source].manifest.type is Type.SAFETY and not is_safety)
        ):
            last[source] = backup
    return [backup for source, backup in last.items() if source not in whole]


def _last_restored(newest_first: Iterable[Backup]) -> Iterable[Backup]:
    """Pick what was restored into a scratch database and compared: per database and server, the newest whole one.

    The newest of all tables' rows beside it: neither is what the other is.
    """
    last: dict[tuple[Source, bool], Backup] = {}
    for backup in newest_first:
        manifest = backup.manifest
        if manifest.restored_at is None or manifest.damage:
            continue
        if manifest.complete or _of_all_rows(backup):
            last.setdefault((_source(backup), manifest.complete), backup)
    return last.values()


def _of_all_rows(backup: Backup) -> bool:
    return backup.manifest.format is Format.ROWS and backup.manifest.all_tables


def _newest_first(backups: Iterable[Backup]) -> list[Backup]:
    return sorted(backups, key=lambda backup: (_made_at(backup), backup.id), reverse=True)


def _made_at(backup: Backup) -> datetime:
    return backup.manifest.started_at


def _day(local: datetime) -> str:
    return f"{local:%Y-%m-%d}"


def _week(local: datetime) -> str:
    year, week, _ = local.isocalendar()
    return f"week {year}-W{week:02}"


def _month(local: datetime) -> str:
    return f"{local:%Y-%m}"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _joined(parts: Sequence[str]) -> str:
    return " and ".join((", ".join(parts[:-1]), parts[-1])) if len(parts) > 1 else parts[0]
