"""Settings: each rule about keys, levels and mounts, on the pure resolution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dbtasks.errors import SettingsError
from dbtasks.models import Compression, Format, PostgresTarget, SqliteTarget
from dbtasks.secrets import Secret
from dbtasks.settings import KEYS, Levels, Settings, load_settings, resolve_settings
from dbtasks.settings.resolve import Setting

ROOT = Path("/srv/shop")
CANARY = "c4n4ry-Pa55"


def resolved(**levels: Any) -> Settings:
    return resolve_settings(Levels(root=ROOT, **levels))


def refused(**levels: Any) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        resolved(**levels)
    assert caught.value.exit_code == 2
    return caught.value


def whole(error: SettingsError) -> str:
    return f"{error.message} {error.hint} {error.details} {error.state}"


def source_of(settings: Settings, name: str) -> str:
    return next(setting.source for setting in settings.provenance if setting.name == name)


# -- defaults -------------------------------------------------------------------


def test_nothing_configured_gives_the_documented_defaults():
    settings = resolved()
    assert settings.target is None
    assert settings.backup_dir == ROOT / "backups"
    assert settings.via == ("auto",)
    assert (settings.keep, settings.keep_days, settings.min_keep) == (3, None, 1)
    assert (settings.keep_daily, settings.keep_weekly, settings.keep_monthly) == (None, None, None)
    assert (settings.safety_backup, settings.drop_old) == (True, False)
    assert (settings.wait, settings.connect_timeout, settings.lock_timeout) == (0, 10, 30)
    assert (settings.format, settings.compression, settings.jobs) == (None, None, None)
    assert settings.warnings == ()


def test_without_a_database_the_error_shows_the_shortest_way_to_name_one():
    with pytest.raises(SettingsError) as caught:
        resolved().require_target()
    assert "DATABASE_URL=sqlite:///app.db" in caught.value.hint


def test_without_a_database_a_mount_is_told_its_own_variable():
    with pytest.raises(SettingsError) as caught:
        resolved(mount={"env_prefix": "ANALYTICS_"}).require_target()
    assert "ANALYTICS_URL" in caught.value.hint


def test_every_available_setting_is_shown_with_its_source():
    shown = {setting.name for setting in resolved().provenance}
    assert shown == {key.name for key in KEYS if not key.planned} - {"url", "env_prefix"}
    assert source_of(resolved(), "keep") == "default"


# -- levels -----------------------------------------------------------------------

KEEP_EVERYWHERE: dict[str, Any] = {
    "flags": {"keep_days": 1},
    "environ": {"DBTASKS_KEEP_DAYS": "2", "BACKUP_RETENTION_DAYS": "6"},
    "dotenv": {"DBTASKS_KEEP_DAYS": "3", "BACKUP_RETENTION_DAYS": "7"},
    "shared": [("invoke.yaml", {"keep_days": 4})],
    "mount": {"keep_days": 5},
}


@pytest.mark.parametrize(
    ("removed", "value", "source"),
    [
        ([], 1, "--keep-days"),
        (["flags"], 2, "DBTASKS_KEEP_DAYS in the environment"),
        (["flags", "environ"], 3, "DBTASKS_KEEP_DAYS in .env"),
        (["flags", "environ", "dotenv"], 4, "invoke.yaml"),
        (["flags", "environ", "dotenv", "shared"], 5, "the mount's config="),
        (["flags", "environ", "dotenv", "shared", "mount"], None, "default"),
    ],
)
def test_the_highest_level_that_is_set_wins(removed, value, source):
    settings = resolved(**{name: level for name, level in KEEP_EVERYWHERE.items() if name not in removed})
    assert settings.keep_days == value
    assert source_of(settings, "keep_days") == source


def test_a_conventional_name_comes_after_invoke_configuration_and_before_the_default():
    named = {"BACKUP_RETENTION_DAYS": "9"}
    assert resolved(environ=named).keep_days == 9
    assert resolved(environ=named, mount={"keep_days": 5}).keep_days == 5
    assert resolved(dotenv={"BACKUP_DIR": "dumps"}).backup_dir == ROOT / "dumps"


def test_an_empty_variable_counts_as_not_set():
    assert resolved(environ={"DBTASKS_KEEP": ""}, dotenv={"DBTASKS_KEEP": "8"}).keep == 8


def test_values_may_be_typed_in_the_configuration():
    settings = resolved(mount={"keep": 7, "drop_old": True, "protect": ["live", "prod"], "wait": 1.5})
    assert (settings.keep, settings.drop_old, settings.protect, settings.wait) == (
        7,
        True,
        ("live", "prod"),
        1.5,
    )


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("keep", "none", None),
        ("keep", "None", None),
        ("keep", " 5 ", 5),
        ("safety_backup", "off", False),
        ("safety_backup", "NO", False),
        ("drop_old", "1", True),
        ("format", "Directory", Format.DIRECTORY),
        ("compression", "none", Compression.NONE),
        ("via", "host,python", ("host", "python")),
        ("exclude_data", "log, public.audit ,", ("log", "public.audit")),
        ("connect_timeout", "2.5", 2.5),
        ("pg_bin", "tools/bin", ROOT / "tools/bin"),
        ("pg_bin", "/usr/lib/postgresql/16/bin", Path("/usr/lib/postgresql/16/bin")),
        ("backup_dir", "/var/backups/shop", Path("/var/backups/shop")),
        ("environment", "production", "production"),
    ],
)
def test_text_is_read_as(name, text, value):
    assert getattr(resolved(environ={f"DBTASKS_{name.upper()}": text}), name) == value


def test_a_folder_below_home_is_understood(monkeypatch):
    monkeypatch.setenv("HOME", "/home/jo")
    assert resolved(environ={"DBTASKS_BACKUP_DIR": "~/dumps"}).backup_dir == Path("/home/jo/dumps")


# -- what is refused ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("keep", "0", "a whole number from 1 up, or none"),
        ("keep", "-1", "a whole number from 1 up, or none"),
        ("keep", "many", "a whole number from 1 up, or none"),
        ("min_keep", "0", "a whole number from 1 up"),
        ("min_keep", "none", "a whole number from 1 up"),
        ("jobs", "1.5", "a whole number from 1 up"),
        ("safety_backup", "maybe", "on or off"),
        ("format", "tar", "sqlite or custom or sql or directory or rows"),
        ("compression", "bzip2", "none or gzip or zstd"),
        ("via", "docker", "auto, container, host, python, or a list of them with commas"),
        ("connect_timeout", "soon", "seconds, 0 or more"),
        ("lock_timeout", "nan", "seconds, 0 or more"),
        ("backup_dir", "~nobody-of-this-name/x", "a folder"),
    ],
)
def test_h11_a_bad_value_names_key_source_and_what_is_allowed(name, text, allowed):
    variable = f"DBTASKS_{name.upper()}"
    message = whole(refused(environ={variable: text}))
    assert message.startswith(f"{name} = {text!r} ({variable} in the environment)")
    assert allowed in message


@pytest.mark.parametrize(
    ("levels", "named"),
    [
        ({"environ": {"DBTASKS_KEPE": "3"}}, "DBTASKS_KEPE (in the environment)"),
        ({"dotenv": {"DBTASKS_KEPE": "3"}}, "DBTASKS_KEPE (in .env)"),
        ({"shared": [("invoke.yaml", {"kepe": 3})]}, "kepe (invoke.yaml)"),
        ({"mount": {"kepe": 3}}, "kepe (the mount's config=)"),
        ({"flags": {"kepe": 3}}, "kepe (flag)"),
    ],
)
def test_an_unknown_key_is_an_error_with_a_suggestion(levels, named):
    message = whole(refused(**levels))
    assert f"{named}: unknown setting" in message
    # in the spelling of the place it stands in
    wanted = "DBTASKS_KEEP" if named.startswith("DBTASKS_") else "keep"
    assert f"did you mean {wanted}?" in message


def test_a_name_like_no_setting_gets_no_suggestion():
    assert "did you mean" not in whole(refused(environ={"DBTASKS_XYZZY": "1"}))


def test_a_variable_in_small_letters_is_unknown_and_not_ignored():
    assert "DBTASKS_keep" in whole(refused(environ={"DBTASKS_keep": "3"}))


def test_all_problems_are_reported_at_once():
    error = refused(
        environ={"DBTASKS_KEEP": "0", "DBTASKS_NOSUCH": "1", "DATABASE_URL": "mysql://u@h/db"},
        dotenv={"DBTASKS_FORMAT": "tar"},
        mount={"wiat": 3},
    )
    assert error.message.startswith("5 settings are wrong:")
    for part in ("keep = '0'", "DBTASKS_NOSUCH", "mysql://", "format = 'tar'", "did you mean wait?"):
        assert part in error.message


def test_reserved_names_are_no_settings_and_no_errors():
    settings = resolved(environ={"DBTASKS_TEST_CHINOOK": "/x", "DBTASKS_HOOK_ARCHIVE": "/y"})
    assert not any("TEST_" in setting.name or "HOOK_" in setting.name for setting in settings.provenance)


@pytest.mark.parametrize("key", [key for key in KEYS if key.planned], ids=lambda key: key.name)
def test_a_key_of_a_later_version_is_refused_and_not_ignored(key):
    value = "on" if key.name == "s3_path_style" else "anything"
    message = whole(refused(environ={f"DBTASKS_{key.name.upper()}": value}))
    assert "not in this version yet" in message
    assert key.name in message


def test_env_prefix_is_refused_from_the_environment():
    assert "DBTASKS_ENV_PREFIX" in whole(refused(environ={"DBTASKS_ENV_PREFIX": "A_"}))


# -- files for secrets ------------------------------------------------------------


def test_a_value_may_lie_in_a_file(tmp_path):
    file = tmp_path / "password"
    file.write_text(f"{CANARY}\n")
    target = resolved(environ={"DB_NAME": "shop", "DB_PASSWORD_FILE": str(file)}).target
    assert isinstance(target, PostgresTarget)
    assert target.password == Secret(CANARY)


def test_only_the_last_line_end_of_a_file_is_dropped(tmp_path):
    file = tmp_path / "password"
    file.write_bytes(b" spaces \n\r\n")
    target = resolved(environ={"DB_NAME": "shop", "DB_PASSWORD_FILE": str(file)}).target
    assert isinstance(target, PostgresTarget)
    assert target.password == Secret(" spaces \n")


def test_a_url_may_lie_in_a_file(tmp_path):
    file = tmp_path / "url"
    file.write_text("sqlite:///shop.db\n")
    for name in ("DATABASE_URL_FILE", "DBTASKS_URL_FILE"):
        assert resolved(environ={name: str(file)}).require_target().name == "shop.db"


def test_a_value_and_its_file_together_are_refused(tmp_path):
    message = whole(refused(environ={"DB_NAME": "shop", "DB_PASSWORD": CANARY, "DB_PASSWORD_FILE": "/x"}))
    assert "DB_PASSWORD and DB_PASSWORD_FILE are both set in the environment" in message
    assert CANARY not in message


def test_a_missing_file_is_named(tmp_path):
    message = whole(refused(environ={"DB_NAME": "shop", "DB_PASSWORD_FILE": str(tmp_path / "none")}))
    assert "DB_PASSWORD_FILE in the environment" in message
    assert "No such file" in message


# -- families ----------------------------------------------------------------------

FAMILIES: list[tuple[str, dict[str, str], str]] = [
    ("DATABASE_URL", {"DATABASE_URL": "postgresql://u1@h1:5001/url"}, "url on h1:5001"),
    ("DATABASE_PATH", {"DATABASE_PATH": "data/path.db"}, "path.db on data"),
    ("DB_*", {"DB_HOST": "h3", "DB_PORT": "5003", "DB_NAME": "db"}, "db on h3:5003"),
    ("POSTGRES_*", {"POSTGRES_HOST": "h4", "POSTGRES_PORT": "5004", "POSTGRES_DB": "pg"}, "pg on h4:5004"),
    ("PG*", {"PGHOST": "h5", "PGPORT": "5005", "PGDATABASE": "libpq"}, "libpq on h5:5005"),
]


@pytest.mark.parametrize("first", range(len(FAMILIES)), ids=[name for name, _, _ in FAMILIES])
def test_the_first_family_that_is_present_is_read_and_no_other(first):
    environ = {key: value for _, names, _ in FAMILIES[first:] for key, value in names.items()}
    assert str(resolved(environ=environ).require_target().identity) == FAMILIES[first][2]


def test_the_family_is_chosen_before_the_level():
    settings = resolved(environ={"DB_NAME": "db", "DB_HOST": "h"}, dotenv={"DATABASE_URL": "sqlite:///a.db"})
    assert settings.require_target().name == "a.db"


def test_inside_a_family_the_environment_comes_before_dotenv():
    settings = resolved(
        environ={"DB_HOST": "outer"}, dotenv={"DB_HOST": "inner", "DB_NAME": "shop", "DB_USER": "jo"}
    )
    assert settings.target == PostgresTarget("shop", host="outer", user="jo")
    assert source_of(settings, "host") == "DB_HOST in the environment"
    assert source_of(settings, "dbname") == "DB_NAME in .env"


@pytest.mark.parametrize(
    "leak",
    [
        {"POSTGRES_HOST": "prod", "POSTGRES_PORT": "6000", "POSTGRES_DB": "live"},
        {"PGHOST": "prod", "PGPORT": "6000", "PGDATABASE": "live", "PGUSER": "root"},
    ],
)
def test_families_are_never_mixed(leak):
    assert resolved(environ={"DB_NAME": "shop", **leak}).target == PostgresTarget("shop")


@pytest.mark.parametrize(
    "kind", ["sqlite", "sqlite3", "SQLite", "django.db.backends.sqlite3", "sqlite+aiosqlite"]
)
@pytest.mark.parametrize("variable", ["DB_TYPE", "DB_ENGINE"])
def test_db_type_and_db_engine_name_sqlite(variable, kind):
    settings = resolved(environ={variable: kind, "DB_NAME": "data/app.db"})
    assert settings.target == SqliteTarget(ROOT / "data/app.db", server="data")


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "postgres",
        "postgresql",
        "PostgreSQL",
        "timescaledb",
        "postgresql+psycopg2",
        "django.db.backends.postgresql",
        "django.db.backends.postgresql_psycopg2",
        "django.contrib.gis.db.backends.postgis",
    ],
)
def test_db_type_names_postgresql_and_is_postgresql_when_missing(kind):
    environ = {"DB_NAME": "shop", "DB_USER": "jo", "DB_PASSWORD": CANARY, "DB_PORT": "5433"}
    settings = resolved(environ={**environ, **({"DB_TYPE": kind} if kind else {})})
    assert settings.target == PostgresTarget("shop", port=5433, user="jo", password=Secret(CANARY))


def test_another_kind_of_database_is_refused_by_name():
    message = whole(refused(environ={"DB_ENGINE": "django.db.backends.mysql", "DB_NAME": "shop"}))
    assert "DB_ENGINE in the environment" in message
    assert "mysql" in message


@pytest.mark.parametrize("environ", [{"DB_TYPE": "sqlite"}, {"DB_HOST": "h"}, {"PGHOST": "h"}])
def test_a_family_without_a_database_name_says_which_name_is_missing(environ):
    message = whole(refused(environ=environ))
    assert "DB_NAME" in message or "PGDATABASE" in message


def test_the_images_variables_have_the_images_defaults():
    settings = resolved(dotenv={"POSTGRES_USER": "shop", "POSTGRES_PASSWORD": CANARY})
    assert settings.target == PostgresTarget("shop", user="shop", password=Secret(CANARY))


@pytest.mark.parametrize(
    ("port", "host", "number"),
    [(None, "", 5432), ("5432", "", 5432), ("5433", "localhost", 5433)],
)
def test_the_images_variables_without_a_host_name_none_unless_they_name_a_published_port(port, host, number):
    given = {"POSTGRES_USER": "app", "POSTGRES_DB": "shop", **({"POSTGRES_PORT": port} if port else {})}
    settings = resolved(dotenv=given)
    assert settings.target == PostgresTarget("shop", host=host, port=number, user="app")
    if host:
        assert source_of(settings, "host") == "POSTGRES_PORT in .env, a published port"


def test_an_in_memory_sqlite_database_is_refused():
    for environ in (
        {"DATABASE_PATH": ":memory:"},
        {"DB_TYPE": "sqlite", "DB_NAME": ":memory:"},
        {"DATABASE_URL": "sqlite://"},
    ):
        refused(environ=environ)


@pytest.mark.parametrize("environ", [{"DB_PORT": "zwei"}, {"DB_PORT": "0"}, {"DB_PORT": "70000"}])
def test_a_bad_port_names_its_variable(environ):
    assert "DB_PORT in the environment" in whole(refused(environ={"DB_NAME": "shop", **environ}))


def test_g18_only_passfile_and_ssl_variables_are_left_to_libpq():
    environ = {
        "PGPASSFILE": "/home/jo/.pgpass",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/etc/ca.pem",
        "PGHOSTADDR": "10.0.0.1",
        "PGSERVICE": "prod",
        "PGOPTIONS": "-c role=root",
        "PGDATABASE": "shop",
    }
    assert dict(resolved(environ=environ).libpq) == {
        "PGPASSFILE": "/home/jo/.pgpass",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/etc/ca.pem",
    }


# -- mounts -------------------------------------------------------------------------

ANALYTICS = {"env_prefix": "ANALYTICS_"}


def test_a_mount_with_a_prefix_reads_its_own_names():
    settings = resolved(mount=ANALYTICS, environ={"ANALYTICS_URL": "sqlite:///an.db", "ANALYTICS_KEEP": "9"})
    assert settings.require_target().name == "an.db"
    assert settings.keep == 9


@pytest.mark.parametrize(
    "environ",
    [
        {"ANALYTICS_DATABASE_URL": "postgresql://h/an"},
        {"ANALYTICS_DB_HOST": "h", "ANALYTICS_DB_NAME": "an"},
        {"ANALYTICS_POSTGRES_HOST": "h", "ANALYTICS_POSTGRES_DB": "an", "ANALYTICS_POSTGRES_USER": ""},
    ],
)
def test_a_mount_with_a_prefix_reads_the_families_behind_its_prefix(environ):
    assert str(resolved(mount=ANALYTICS, environ=environ).require_target().identity) == "an on h:5432"


@pytest.mark.parametrize(
    "environ",
    [
        {"DATABASE_URL": "sqlite:///main.db"},
        {"DATABASE_PATH": "main.db"},
        {"DB_NAME": "main"},
        {"POSTGRES_DB": "main"},
        {"PGDATABASE": "main", "PGHOST": "h"},
        {"DBTASKS_URL": "sqlite:///main.db"},
        {"ANALYTICS_PGHOST": "h", "ANALYTICS_PGDATABASE": "main"},
    ],
    ids=lambda environ: next(iter(environ)),
)
def test_a_mount_with_a_prefix_never_reaches_the_other_database(environ):
    for level in ("environ", "dotenv"):
        assert resolved(mount=ANALYTICS, **{level: environ}).target is None


def test_a_mount_with_a_prefix_reads_no_dbtasks_or_invoke_variables():
    settings = resolved(
        mount=ANALYTICS,
        environ={"DBTASKS_KEEP": "9", "DBTASKS_NONSENSE": "1", "BACKUP_RETENTION_DAYS": "4"},
        shared=[("INVOKE_DBTASKS_KEEP", {"keep": "8"})],
    )
    assert (settings.keep, settings.keep_days) == (3, None)


def test_a_mount_with_a_prefix_shares_the_project_file_except_what_names_a_database():
    settings = resolved(
        mount=ANALYTICS,
        shared=[("invoke.yaml", {"keep": 8, "url": "sqlite:///main.db", "maintenance_db": "main"})],
    )
    assert settings.keep == 8
    assert settings.target is None
    assert settings.maintenance_db is None


def test_two_mounts_in_one_environment_are_two_databases():
    environ = {
        "DATABASE_URL": "sqlite:///main.db",
        "ANALYTICS_URL": "sqlite:///an.db",
        "DBTASKS_KEEP": "5",
        "ANALYTICS_KEEP": "6",
    }
    first, second = resolved(environ=environ), resolved(environ=environ, mount=ANALYTICS)
    assert (first.require_target().name, first.keep) == ("main.db", 5)
    assert (second.require_target().name, second.keep) == ("an.db", 6)


@pytest.mark.parametrize("prefix", ["analytics_", "ANALYTICS", "AN-A_", "_", "DBTASKS_ANALYTICS_"])
def test_a_prefix_that_cannot_work_is_refused(prefix):
    assert "env_prefix" in whole(refused(mount={"env_prefix": prefix}))


def test_a_prefix_for_all_mounts_at_once_is_refused():
    assert "only a mount's own config=" in whole(refused(shared=[("invoke.yaml", {"env_prefix": "A_"})]))


def test_a_near_miss_behind_a_prefix_is_warned_about_and_the_rest_is_the_applications():
    settings = resolved(mount=ANALYTICS, environ={"ANALYTICS_KEPE": "1", "ANALYTICS_COLOUR": "red"})
    assert len(settings.warnings) == 1
    assert "ANALYTICS_KEPE" in settings.warnings[0]
    assert "did you mean ANALYTICS_KEEP?" in settings.warnings[0]


@pytest.mark.parametrize(
    ("levels", "source"),
    [
        ({"environ": {"DBTASKS_URL": "sqlite:///b.db"}}, "DBTASKS_URL in the environment"),
        ({"dotenv": {"DBTASKS_URL": "sqlite:///b.db"}}, "DBTASKS_URL in .env"),
        ({"shared": [("INVOKE_DBTASKS_URL", {"url": "sqlite:///b.db"})]}, "INVOKE_DBTASKS_URL"),
        ({"shared": [("invoke.yaml", {"url": "sqlite:///b.db"})]}, "invoke.yaml"),
    ],
)
def test_a_url_bound_in_code_is_not_moved_by_a_process_wide_source(levels, source):
    message = whole(refused(mount={"url": "sqlite:///a.db"}, **levels))
    for part in (source, "a.db", "b.db"):
        assert part in message


def test_a_process_wide_source_that_names_the_bound_database_is_fine():
    settings = resolved(mount={"url": "sqlite:///a.db"}, environ={"DBTASKS_URL": "sqlite:///./a.db"})
    assert settings.require_target().name == "a.db"


def test_a_mount_with_its_own_prefix_may_be_moved_by_its_own_variable_with_a_warning():
    settings = resolved(
        mount={**ANALYTICS, "url": "sqlite:///a.db"}, environ={"ANALYTICS_URL": "sqlite:///b.db"}
    )
    assert settings.require_target().name == "b.db"
    assert "a.db" in settings.warnings[0]


@pytest.mark.parametrize(
    "levels",
    [{"environ": {"DBTASKS_URL": "sqlite:///a.db"}}, {"mount": {"url": "sqlite:///a.db"}}],
)
def test_a_differing_database_url_is_said_and_the_configured_one_used(levels):
    environ = {**levels.pop("environ", {}), "DATABASE_URL": f"postgresql://jo:{CANARY}@h/live"}
    settings = resolved(environ=environ, **levels)
    assert settings.require_target().name == "a.db"
    (warning,) = settings.warnings
    assert "DATABASE_URL in the environment" in warning
    assert "live on h:5432" in warning
    assert CANARY not in warning


def test_an_equal_database_url_is_not_worth_a_word():
    environ = {"DBTASKS_URL": "postgresql://localhost/shop", "DATABASE_URL": "postgres://127.0.0.1:5432/shop"}
    assert resolved(environ=environ).warnings == ()


def test_an_applications_mysql_url_does_not_stand_in_the_way_of_a_configured_one():
    settings = resolved(environ={"DATABASE_URL": "mysql://u@h/x", "DBTASKS_URL": "sqlite:///a.db"})
    assert settings.require_target().name == "a.db"
    assert "mysql://" in settings.warnings[0]


# -- secrets -------------------------------------------------------------------------

LEAKS: list[dict[str, Any]] = [
    {"environ": {"DATABASE_URL": f"postgresql://jo:{CANARY}@h:notaport/db"}},
    {"environ": {"DATABASE_URL": f"postgresql://jo:{CANARY}%zz@h/db"}},
    {"environ": {"DATABASE_URL": f"postgresql://jo:{CANARY}@h/db?nosuch=1"}},
    {"environ": {"DATABASE_URL": f"mysql://jo:{CANARY}@h/db"}},
    {"environ": {"DATABASE_URL": f"jo:{CANARY}@h/db"}},
    {"environ": {"DATABASE_URL": f"jo:{CANARY}@h://db"}},
    {"environ": {"DBTASKS_URL": f"postgresql://jo:{CANARY}@h1,h2/db"}},
    {"dotenv": {"DBTASKS_URL": f"postgresql://jo:{CANARY}@/"}, "environ": {"DBTASKS_KEEP": "0"}},
    {"mount": {"url": f"oracle://jo:{CANARY}@h/db"}},
    {"environ": {"DB_PASSWORD": CANARY, "DB_HOST": "h"}},
    {"environ": {"DB_PASSWORD": CANARY, "DB_NAME": "x", "DB_PORT": "x"}},
    {"environ": {"DB_PASSWORD": CANARY, "DB_NAME": "x", "DB_TYPE": "oracle"}},
    {"environ": {"PGPASSWORD": CANARY, "PGHOST": "h"}},
    {"environ": {"DBTASKS_ON_FAILURE": f"https://hooks.example.org/{CANARY}"}},
]


@pytest.mark.parametrize("levels", LEAKS, ids=[f"leak {number}" for number in range(len(LEAKS))])
def test_g07_no_error_holds_any_part_of_a_password(levels):
    error = refused(**levels)
    assert CANARY not in whole(error)
    assert CANARY not in str(error.__cause__)


def test_g07_settings_never_show_a_password():
    settings = resolved(environ={"DATABASE_URL": f"postgresql://jo:{CANARY}@h/db?sslpassword={CANARY}"})
    assert CANARY not in str(settings)
    assert Setting("url", "jo@h:5432/db", "DATABASE_URL in the environment") in settings.provenance


def test_g07_a_password_on_its_own_is_shown_masked():
    settings = resolved(environ={"DB_NAME": "shop", "DB_PASSWORD": CANARY})
    assert Setting("password", "***", "DB_PASSWORD in the environment") in settings.provenance
    assert CANARY not in repr(settings)


# -- the real world -------------------------------------------------------------------


def test_the_root_is_the_nearest_folder_with_a_dotenv_or_git(project, monkeypatch):
    inner = project.root / "src" / "deep"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert load_settings(environ={}).root == project.root
    (project.root / "src" / ".env").write_text("")
    assert load_settings(environ={}).root == project.root / "src"


def test_without_a_marker_the_root_is_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if any((folder / ".git").exists() or (folder / ".env").is_file() for folder in tmp_path.parents):
        pytest.fail("the temporary folder lies inside a project")
    assert load_settings(environ={}).root == tmp_path


def test_relative_paths_belong_to_the_root_wherever_it_was_started(project, monkeypatch):
    project.dotenv("DATABASE_URL=sqlite:///shop.db\n")
    inner = project.root / "src"
    inner.mkdir()
    monkeypatch.chdir(inner)
    settings = load_settings(environ={})
    assert settings.target == SqliteTarget(project.root / "shop.db")
    assert settings.backup_dir == project.root / "backups"


def test_keyword_arguments_count_as_flags(project):
    settings = load_settings(project.root, environ={"DBTASKS_KEEP": "4"}, url="sqlite:///app.db", keep=5)
    assert settings.require_target().name == "app.db"
    assert settings.keep == 5


def test_the_environment_is_read_and_never_changed(project, monkeypatch):
    import os

    project.dotenv("DATABASE_URL=sqlite:///shop.db\nDBTASKS_KEEP=4\n")
    monkeypatch.setenv("DBTASKS_KEEP_DAYS", "8")
    before = dict(os.environ)
    settings = load_settings(project.root)
    assert (settings.keep, settings.keep_days) == (4, 8)
    assert dict(os.environ) == before
