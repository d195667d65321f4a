"""Settings come from the environment and ``.env``; what is wrong is named with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from espfleet.errors import SettingsError
from espfleet.settings import names, read_settings, sources


def write_env(folder: Path, text: str) -> None:
    (folder / ".env").write_text(text)


def test_without_anything_set_the_defaults_hold(tmp_path: Path) -> None:
    settings = read_settings({}, tmp_path)
    assert (settings.server_host, settings.server_port, settings.redis_url) == ("127.0.0.1", 5678, None)
    assert settings.data == tmp_path / ".espfleet"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    write_env(tmp_path, "SERVER_PORT=6000\nWATCHDOG_MS=4000 # with a comment\n")
    settings = read_settings({"SERVER_PORT": "7000", "HOME": "/nowhere"}, tmp_path)
    assert (settings.server_port, settings.watchdog_ms) == (7000, 4000)


def test_an_absolute_data_folder_stays_where_it_is(tmp_path: Path) -> None:
    assert read_settings({"ESPFLEET_DATA": "/var/lib/fleet"}, tmp_path).data == Path("/var/lib/fleet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nSERVER_PROT=1\n", r"\.env line 2: there is no setting 'SERVER_PROT'; did you mean SERVER_PORT\?"),
        ("WATCHDOG_MS=nan", r"\.env line 1: WATCHDOG_MS cannot be used: WATCHDOG_MS must be a number from 150 to"),
        ("WATCHDOG_MS=1.5e9", r"must be a number from 150 to 600000 ms"),
        ("KEEPALIVE_MS=900.5", r"must be a whole number"),
        ("LOG_LEVEL=loud", r"it must be one of DEBUG, INFO, WARNING, ERROR, not 'loud'"),
        ("PRESET=moon", r"it must be one of lan, broadband"),
        ("PING_TARGET_1_HOST=192.0.2.1", r"line 1: PING_TARGET_1_HOST is a setting of PING_LAMP; './espcli import env"),
        ("what is this", r"line 1 is not of the form NAME=value"),
        ("COMPLETELY_ELSEWHERE=1", r"there is no setting 'COMPLETELY_ELSEWHERE'; './espcli settings' lists"),
        ("KEEPALIVE_MS=3000", r"WATCHDOG_MS \(3000\) must be at least 1\.5 × KEEPALIVE_MS \(3000\)"),
        ("LEASE_MS=500", r"LEASE_MS \(500\) must be at least 1\.5 × PERIOD_MS \(500\)"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    write_env(tmp_path, text)
    with pytest.raises(SettingsError, match=message):
        read_settings({}, tmp_path)


def test_a_misspelt_variable_of_ours_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match="the environment: there is no setting 'ESPFLEET_DATE'; did you mean ESPFLEET_DATA"
    ):
        read_settings({"ESPFLEET_DATE": "x"}, tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00LOG")
    with pytest.raises(SettingsError, match="is not a text file"):
        read_settings({}, tmp_path)


def test_each_setting_is_listed_with_its_source_and_no_secret(tmp_path: Path) -> None:
    write_env(tmp_path, "PERIOD_MS=600\n")
    environ = {"REDIS_URL": "rediss://fleet:very-secret@redis.lan:6380/0"}
    listed = {one.name: one for one in sources(environ, tmp_path)}
    assert list(listed) == names()
    assert listed["PERIOD_MS"].source == ".env line 1"
    assert listed["REDIS_URL"].source == "environment"
    assert listed["WATCHDOG_MS"].source == "default"
    assert "very-secret" not in str(listed)
    assert "redis.lan" in listed["REDIS_URL"].value


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://fleet:s3cret@h:6379/0", "redis://fleet:…@h:6379/0"), ("redis://:s3@s3cret@h/0", "redis://:…@h/0"),
        ("redis://s3cret@h", "redis://…@h"), ("redis://u:s3:cr/s3cret@h", "redis://u:…@h"),
        ("redis+sentinel://h:1,h2:2/m?sentinel_password=s3cret&db=1", "redis+sentinel://h:1,h2:2/m?sentinel_password=…&db=1"),
        ("redis:/u:s3cret@h", "…"), ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
    ],
)  # fmt: skip
def test_no_password_of_a_url_is_listed(tmp_path: Path, url: str, told: str) -> None:
    assert next(one.value for one in sources({"REDIS_URL": url}, tmp_path) if one.name == "REDIS_URL") == told


def test_a_line_that_is_not_understood_is_not_repeated_for_it_may_hold_a_secret(tmp_path: Path) -> None:
    write_env(tmp_path, "\nBOARD_TOKEN: s3cret\n")
    with pytest.raises(SettingsError) as refused:
        read_settings({}, tmp_path)
    assert str(refused.value) == ".env line 2 is not of the form NAME=value"


def test_no_secret_is_in_the_text_of_the_settings(tmp_path: Path) -> None:
    assert "very-secret" not in repr(read_settings({"REDIS_URL": "redis://:very-secret@redis.lan"}, tmp_path))


def test_the_example_file_names_every_setting_and_only_those() -> None:
    example = (Path(__file__).parents[1] / ".env.example").read_text()
    listed = [line.lstrip("# ").partition("=")[0] for line in example.splitlines() if "=" in line]
    assert listed == names()
