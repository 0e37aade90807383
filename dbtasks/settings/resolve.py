"""Levels in, frozen settings out: pure, so that every rule is a table test.

flag > DBTASKS_* in the environment, then in .env > Invoke configuration >
conventional names > default. A container found by its labels stands between
the last two; somebody who may ask Docker adds it (`engines.configured`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from ..errors import DbTasksError, RouteRefused, RouteUnavailable, SettingsError
from ..models import Compression, Format, Target
from ..secrets import Secret
from ..urls import parse_url
from .families import Found, Names, read_family
from .keys import KEYS, PREFIX, RESERVED, Key

__all__ = ["Levels", "NoContainer", "Setting", "Settings", "SparePassword", "resolve_settings"]

T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """One value as `db.info` shows it; a secret's text is already masked."""

    name: str
    text: str
    source: str


@dataclass(frozen=True)
class NoContainer:
    """Why no container could stand in for a url that nobody configured."""

    why: str
    hint: str = ""
    refused: bool = False
    """Several fit, or the one named is not there: an answer is wanted, not another url."""
    wrong: bool = False
    """The settings that name it contradict each other."""
    blocked: bool = False
    """A container is meant, and Docker cannot be asked for it: that is what has to be mended."""


@dataclass(frozen=True)
class SparePassword:
    """POSTGRES_PASSWORD without anything that says which database: that of a container that is found."""

    password: Secret
    source: str


@dataclass(frozen=True)
class Levels:
    """Everything a setting may come from, read by somebody else."""

    root: Path
    flags: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    dotenv: Mapping[str, str] = field(default_factory=dict)
    shared: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """Process-wide Invoke configuration, highest first: (where it came from, tree)."""
    mount: Mapping[str, Any] = field(default_factory=dict)
    """The tree given in this mount's own `config=`."""


@dataclass(frozen=True)
class Settings:
    """What a run works with. Built once; nothing reads the environment after it."""

    root: Path
    target: Target | None
    backup_dir: Path
    via: tuple[str, ...]
    container: str | None
    service: str | None
    compose_project: str | None
    pg_bin: Path | None
    maintenance_db: str | None
    format: Format | None
    compression: Compression | None
    jobs: int | None
    exclude_tables: tuple[str, ...]
    exclude_data: tuple[str, ...]
    keep: int | None
    keep_days: int | None
    keep_daily: int | None
    keep_weekly: int | None
    keep_monthly: int | None
    min_keep: int
    shrink_limit: float | None
    safety_backup: bool
    drop_old: bool
    wait: float
    """Seconds."""
    connect_timeout: float
    """Seconds."""
    lock_timeout: float
    """Seconds."""
    protect: tuple[str, ...]
    environment: str | None
    migration_table: str | None
    after_load: tuple[Path, ...]
    """Absolute."""
    schema_command: tuple[str, ...]
    """Its words; empty: there is none."""
    schema_timeout: float
    """Seconds."""
    into: Target | None = field(repr=False)
    """Where --into=@ leads."""
    env_prefix: str = PREFIX
    libpq: Mapping[str, str] = field(default_factory=dict)
    """PGPASSFILE and PGSSL*: what libpq may read by itself."""
    docker: Mapping[str, str] = field(default_factory=dict)
    """DOCKER_*: which engine is asked, wherever it was set."""
    found_in: str = ""
    """Name of the container the target was read from, where no url is configured."""
    no_container: NoContainer | None = None
    spare_password: SparePassword | None = None
    read_from: Mapping[str, Path] = field(default_factory=dict)
    """The files that NAME_FILE variables led to, by NAME."""
    provenance: tuple[Setting, ...] = ()
    warnings: tuple[str, ...] = ()

    def require_target(self) -> Target:
        """Return the database to work on.

        Raises:
            SettingsError: none is configured; the hint shows the shortest way to say it.
            RouteRefused: several containers could be meant, or the one named is not there.
            RouteUnavailable: a container is meant, and Docker cannot be asked for it.
        """
        if self.target is None:
            raise self.why_no_target()
        return self.target

    def why_no_target(self) -> DbTasksError:
        """Return what to raise where a database is needed and none is known."""
        none = self.no_container
        if none and none.refused:
            return RouteRefused(none.why, hint=none.hint)
        if none and none.wrong:
            return SettingsError(none.why, hint=none.hint)
        name = "DATABASE_URL" if self.env_prefix == PREFIX else f"{self.env_prefix}URL"
        if none and none.blocked:
            return RouteUnavailable(
                f"no database is configured, and its container cannot be looked for: {none.why}",
                hint=f"{none.hint}; or set {name}",
            )
        ways = f"set {name} in the environment or in .env, for instance {name}=sqlite:///app.db"
        if none:
            ways += "; or start this project's database container (docker compose up -d)"
        return SettingsError("no database is configured", details=none.why if none else "", hint=ways)


def resolve_settings(levels: Levels) -> Settings:
    """Resolve every key and the database; all problems are reported together.

    Raises:
        SettingsError: one or more keys are unknown, malformed or contradict
            each other; each is named with its source and what is allowed.
    """
    return _Resolution(levels).settings()


class _Resolution:
    """One pass over the levels: collects values, sources, warnings and problems."""

    def __init__(self, levels: Levels) -> None:
        self.levels = levels
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.provenance: list[Setting] = []
        self.prefix = self._prefix()
        self.private = self.prefix != PREFIX
        own = Names(levels.environ, levels.dotenv, prefix=self.prefix)
        bare = Names(levels.environ, levels.dotenv)
        self.names = own
        self.conventional = own if self.private else bare

    def settings(self) -> Settings:
        self._check_names()
        values = {key.name: self._value(key) for key in KEYS if key.name not in ("url", "env_prefix")}
        target = self._attempt(self._target)
        into = self._attempt(lambda: self._into(values.pop("into_url")))
        if self.problems:
            raise _report(self.problems)
        planned = {key.name for key in KEYS if key.planned}
        kept = {name: value for name, value in values.items() if name not in planned}
        kept["backup_dir"] = self.levels.root / kept["backup_dir"]
        kept["after_load"] = tuple(self.levels.root / file.expanduser() for file in kept["after_load"])
        kept["pg_bin"] = self.levels.root / kept["pg_bin"] if kept["pg_bin"] else None
        return Settings(
            root=self.levels.root,
            target=target,
            into=into,
            env_prefix=self.prefix,
            spare_password=None if target else self._spare_password(),
            libpq=MappingProxyType(
                self._picked(lambda name: name == "PGPASSFILE" or name.startswith("PGSSL"))
            ),
            docker=MappingProxyType(self._picked(lambda name: name.startswith("DOCKER_"))),
            read_from=MappingProxyType({**self.names.read_from, **self.conventional.read_from}),
            provenance=tuple(self.provenance),
            warnings=tuple(self.warnings),
            **kept,
        )

    def _prefix(self) -> str:
        key = next(key for key in KEYS if key.name == "env_prefix")
        given = self.levels.mount.get("env_prefix")
        for where, tree in self.levels.shared:
            if tree.get("env_prefix") is not None:
                # from there it would move every mount at once, onto one database
                self.problems.append(f"env_prefix ({where}): only a mount's own config= may set it")
        if given is None:
            return PREFIX
        return str(self._parse(key, Found(_as_text(given), "the mount's config=")) or PREFIX)

    def _attempt(self, act: Callable[[], T]) -> T | None:
        try:
            return act()
        except SettingsError as exc:
            self.problems.append(f"{exc.message}; {exc.hint}" if exc.hint else exc.message)
            return None

    # -- names nobody knows ------------------------------------------------

    def _check_names(self) -> None:
        known = [key.name for key in KEYS]
        trees = [*self.levels.shared, ("the mount's config=", self.levels.mount), ("flag", self.levels.flags)]
        for where, tree in trees:
            for name in tree:
                if name not in known:
                    self.problems.append(f"{name} ({where}): unknown setting{_suggest(name, known)}")
        for level, where in ((self.levels.environ, "the environment"), (self.levels.dotenv, ".env")):
            for name in level:
                self._check_variable(name, where, known)

    def _check_variable(self, variable: str, where: str, known: list[str]) -> None:
        if not variable.startswith(self.prefix):
            return
        name = variable.removeprefix(self.prefix)
        if name == "ENV_PREFIX":
            self.problems.append(f"{variable} (in {where}): only a mount's own config= may set env_prefix")
        if name.startswith(RESERVED) or name.removesuffix("_FILE") in (key.upper() for key in known):
            return
        suggestion = _suggest(name, [known_name.upper() for known_name in known], self.prefix)
        if not self.private:
            self.problems.append(f"{variable} (in {where}): unknown setting{suggestion}")
        elif suggestion:
            # ANALYTICS_* may well belong to the application: only a near miss is worth a word
            self.warnings.append(f"{variable} (in {where}) is not a setting of dbtasks{suggestion}")

    # -- one key -----------------------------------------------------------

    def _value(self, key: Key) -> Any:
        found = self._attempt(lambda: next(self._candidates(key), None))
        value = key.default if found is None else self._parse(key, found)
        if found is not None and key.planned:
            self.problems.append(
                f"{key.name} ({found.source}): not in this version yet ({key.planned}); remove it"
            )
        if not key.planned:
            text = key.default_text if found is None else found.text
            self.provenance.append(
                Setting(
                    key.name, "***" if key.secret and found else text, found.source if found else "default"
                )
            )
        return value

    def _candidates(self, key: Key) -> Iterator[Found]:
        if self.levels.flags.get(key.name) is not None:
            yield Found(_as_text(self.levels.flags[key.name]), f"--{key.name.replace('_', '-')}")
        found = self.names.get(key.name.upper())
        if found:
            yield found
        yield from self._configured(key)
        found = self.conventional.get(*key.conventional) if key.conventional and not key.planned else None
        if found:
            yield found

    def _configured(self, key: Key) -> Iterator[Found]:
        for where, tree in self.levels.shared:
            if self.private and (key.own or where.startswith("INVOKE_")):
                continue
            if tree.get(key.name) is not None:
                yield Found(_as_text(tree[key.name]), where)
        if self.levels.mount.get(key.name) is not None:
            yield Found(_as_text(self.levels.mount[key.name]), "the mount's config=")

    def _parse(self, key: Key, found: Found) -> Any:
        try:
            return key.parse(found.text.strip())
        except ValueError as exc:
            shown = "***" if key.secret else repr(found.text)
            self.problems.append(f"{key.name} = {shown} ({found.source}): allowed is {exc}")
            return key.default

    # -- the database ------------------------------------------------------

    def _target(self) -> Target | None:
        key = next(key for key in KEYS if key.name == "url")
        candidates = [(found, self._url(found)) for found in self._candidates(key)]
        if not candidates:
            family = self._family()
            if family:
                self._show(family[0], family[1])
            return family[0] if family else None
        found, target = candidates[0]
        self._guard_bound(candidates)
        self._compare_with_family(found, target)
        self._show(target, {"url": found.source})
        return target

    def _into(self, url: str | None) -> Target | None:
        return parse_url(url, root=self.levels.root, source="into_url") if url else None

    def _family(self) -> tuple[Target, Mapping[str, str]] | None:
        return next(read_family(self.conventional, root=self.levels.root, libpq=not self.private), None)

    def _spare_password(self) -> SparePassword | None:
        try:
            found = self.conventional.get("POSTGRES_PASSWORD")
        except SettingsError:
            # a compose file's POSTGRES_PASSWORD_FILE may well be a file of the container
            return None
        return SparePassword(Secret(found.text), found.source) if found else None

    def _compare_with_family(self, found: Found, target: Target) -> None:
        """Say so where the conventional names point somewhere else than the url that was chosen."""
        try:
            family = self._family()
        except SettingsError as exc:
            # the application's own database may be none of ours: MySQL, or in memory
            self.warnings.append(f"{exc.message}; {found.source} is used")
            return
        if family and family[0].identity != target.identity:
            other = next(iter(family[1].values()))
            self.warnings.append(
                f"{other} names {family[0].identity}, but {found.source} names {target.identity}: the latter is used"
            )

    def _url(self, found: Found) -> Target:
        return parse_url(found.text, root=self.levels.root, source=found.source)

    def _guard_bound(self, candidates: list[tuple[Found, Target]]) -> None:
        """Refuse to let a process-wide source move a mount that was given its url in code."""
        bound = next((target for found, target in candidates if found.source == "the mount's config="), None)
        found, target = candidates[0]
        if bound is None or target.identity == bound.identity:
            return
        if self.private:
            self.warnings.append(
                f"{found.source} names {target.identity}, not the mount's own {bound.identity}: the former is used"
            )
            return
        raise SettingsError(
            f"{found.source} names {target.identity}, but this mount is bound to {bound.identity} by its config=",
            hint="remove one of them, or give the mount an env_prefix of its own",
        )

    def _show(self, target: Target, sources: Mapping[str, str]) -> None:
        parts = []
        for part, source in sources.items():
            value = "***" if part == "password" else target.address if part in ("url", "path") else None
            shown = value or {"dbname": target.name}.get(part) or str(getattr(target, part, ""))
            parts.append(Setting(part, shown, source))
        self.provenance[:0] = parts

    def _picked(self, wanted: Callable[[str], bool]) -> dict[str, str]:
        """Pick what other software may read by itself.

        Of libpq's names PGHOSTADDR, PGSERVICE, PGOPTIONS and the rest never pass.
        """
        levels = (self.levels.dotenv, self.levels.environ)
        return {name: value for level in levels for name, value in level.items() if value and wanted(name)}


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, list | tuple):
        return ",".join(str(part) for part in value)
    return str(value)


def _suggest(name: str, known: Sequence[str], prefix: str = "") -> str:
    wanted = name.upper() if prefix else name.lower()
    close = difflib.get_close_matches(wanted, known, n=1, cutoff=0.7)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def _report(problems: list[str]) -> SettingsError:
    if len(problems) == 1:
        # from the end: the value that is shown may hold one as well
        message, _, hint = problems[0].rpartition("; ")
        return SettingsError(message or hint, hint=hint if message else "")
    lines = "".join(f"\n  - {problem}" for problem in problems)
    return SettingsError(f"{len(problems)} settings are wrong:{lines}")
