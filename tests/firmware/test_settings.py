"""Settings: checked, kept twice, put in place by one rename, with secrets elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lamp import RefusedError, settings
from tests.firmware.boards import Firmware

USUAL = {
    "networks": [{"ssid": "home", "password": "home-secret"}],
    "gateway": "ws://10.0.0.5:5678",
    "token": "lamp-secret",
}


class Chip:
    CHIP = "ESP32"
    OUTPUTS = bytes([4, 13, 14, 18, 19, 21])
    INPUTS = bytes([34, 35])
    LIGHT = bytes([18, 19, 4])


class Vault:
    def __init__(self) -> None:
        self.places = [b"{}", b"{}"]

    def read(self, place: int) -> bytes:
        return self.places[place]

    def write(self, place: int, data: bytes) -> None:
        self.places[place] = data


@pytest.fixture(autouse=True)
def flash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the lamp's files."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def vault() -> Vault:
    return Vault()


def put(**values: Any) -> None:
    Path("settings.json").write_text(json.dumps(values))


def load(vault: Vault | None) -> dict[str, Any]:
    values, problems = settings.load(vault, Chip)
    assert problems == []
    return values


def stored() -> str:
    return "".join(path.read_text() for path in Path().iterdir())


def test_a_new_lamp_has_defaults_and_writes_nothing(vault: Vault, flash: Path) -> None:
    values = load(vault)
    assert {key: values[key] for key in settings.TABLE} == {key: row[0] for key, row in settings.TABLE.items()}
    assert values["light"] == bytes([18, 19, 4])
    assert list(flash.iterdir()) == []


def test_secrets_move_from_the_file_into_the_vault(vault: Vault) -> None:
    put(**USUAL)
    values = load(vault)
    assert values["token"] == "lamp-secret"
    assert "secret" not in stored()
    again = load(vault)
    assert again["token"] == "lamp-secret"
    assert again["networks"] == USUAL["networks"]


def test_where_there_is_no_vault_secrets_stay_in_the_file() -> None:
    put(**USUAL)
    load(None)
    assert load(None)["networks"] == USUAL["networks"]


def test_settings_that_are_in_order_are_not_written_again(vault: Vault, flash: Path) -> None:
    put(**USUAL)
    load(vault)
    before = {path: path.stat().st_mtime_ns for path in flash.iterdir()}
    load(vault)
    assert {path: path.stat().st_mtime_ns for path in flash.iterdir()} == before


def test_a_file_uploaded_without_its_secrets_keeps_the_known_ones(vault: Vault) -> None:
    put(**USUAL)
    load(vault)
    put(networks=[{"ssid": "home"}, {"ssid": "garden", "password": "garden-secret"}], gateway="ws://10.0.0.6")
    values = load(vault)
    assert values["token"] == "lamp-secret"
    assert [one["password"] for one in values["networks"]] == ["home-secret", "garden-secret"]
    assert "secret" not in stored()


@pytest.mark.parametrize("broken", ["", "{", "[]", "\0\0\0", '{"token":'])
def test_a_broken_file_is_told_and_its_backup_used(vault: Vault, broken: str) -> None:
    put(**USUAL, brightness=40)
    load(vault)
    Path("settings.json").write_text(broken)
    values, problems = settings.load(vault, Chip)
    assert problems[0].startswith("settings.json is not")
    assert (values["brightness"], values["token"]) == (40, "lamp-secret")
    assert Path("settings.json").read_text() == broken, "the mistake is left to the one who made it"


def test_without_file_and_backup_a_lamp_starts_with_defaults(vault: Vault) -> None:
    for name in ("settings.json", "settings.json.bak"):
        Path(name).write_text("{")
    values, problems = settings.load(vault, Chip)
    assert len(problems) == 2
    assert values["networks"] == []


def test_a_value_that_cannot_be_used_is_told_and_the_rest_holds(vault: Vault) -> None:
    put(**USUAL, brightness=400, pixels=3)
    values, problems = settings.load(vault, Chip)
    assert problems == ["brightness must be a whole number from 1 to 100"]
    assert (values["brightness"], values["pixels"], values["token"]) == (100, 3, "lamp-secret")


def test_a_setting_of_a_later_program_is_no_mistake(vault: Vault) -> None:
    put(**USUAL, mood="good")
    assert load(vault)["token"] == "lamp-secret"


WRONG = [
    ({"name": "a b"}, "name may have letters, digits and '-'"),
    ({"name": "x" * 33}, "name must be a text of at most 32 characters"),
    ({"networks": "home"}, "networks must be a list of at most 4 objects"),
    ({"networks": [{"ssid": "a"}] * 5}, "networks must be a list of at most 4 objects"),
    ({"networks": ["home"]}, "networks must be a list"),
    ({"networks": [{"ssid": "", "password": "12345678"}]}, "a network has an ssid"),
    ({"networks": [{"ssid": "home", "password": "short"}]}, "a password of at least 8 characters or none"),
    ({"networks": [{"ssid": 5}]}, "ssid must be a text"),
    ({"gateway": "http://10.0.0.5"}, "gateway must be ws://HOST:PORT"),
    ({"token": 5}, "token must be a text of at most 128"),
    ({"output": "laser"}, "output must be one of leds, rgb, led, strip"),
    ({"pins": [18, 18, 4]}, "pins must be a list of different pins"),
    ({"pins": 4}, "pins must be a list of different pins"),
    ({"pins": [[1], {}, 2]}, "a pin must be a whole number"),
    ({"pins": [18, 19]}, "output leds has 3 pins"),
    ({"output": "led", "pins": [18, 19, 4]}, "output led has 1 pins"),
    ({"pins": [6, 7, 8]}, "pin 6 of an ESP32 cannot be used"),
    ({"pins": [34, 35, 4]}, "pin 34 of an ESP32 cannot be used"),
    ({"inverted": "yes"}, "inverted must be true or false"),
    ({"pixels": 0}, "pixels must be a whole number from 1 to 300"),
    ({"brightness": 0}, "brightness must be a whole number from 1 to 100"),
    ({"gpio": [18]}, "a pin of the light cannot be used for something else"),
    ({"gpio": [9]}, "pin 9 of an ESP32 cannot be used"),
    ({"sensor": 13}, "sensor must be an object with kind and pin"),
    ({"sensor": {"kind": "bme", "pin": 13}}, "kind must be one of dht11, dht22"),
    ({"sensor": {"kind": "dht22", "pin": 35}}, "pin 35 of an ESP32 cannot be used"),
    ({"sensor": {"kind": "dht22", "pin": 19}}, "a pin of the light cannot be used"),
    ({"dns": None}, "dns must be a text"),
    ({"address": "192.168.1.200"}, "address must be like"),
    ({"address": "192.168.1.200/24 router"}, "address must be like"),
    ({"address": "192.168.1.200/33 192.168.1.1"}, "address must be like"),
    ({"address": "192.168.1.256/24 192.168.1.1"}, "address must be like"),
    ({"http_port": 65_536}, "http_port must be a whole number from 0 to 65535"),
    ({"colour": "blue"}, "there is no setting colour"),
]


@pytest.mark.parametrize(("changes", "says"), WRONG, ids=[str(changes)[:40] for changes, _ in WRONG])
def test_a_change_that_cannot_be_used_changes_nothing(vault: Vault, changes: dict[str, Any], says: str) -> None:
    put(**USUAL)
    values = load(vault)
    before = (dict(values), stored(), list(vault.places))
    with pytest.raises(RefusedError) as refused:
        settings.change(values, {"brightness": 50, **changes}, vault, Chip)
    assert says in str(refused.value)
    assert (values, stored(), vault.places) == before


def test_a_change_holds_at_once_and_after_a_restart(vault: Vault) -> None:
    put(**USUAL)
    values = load(vault)
    for number in range(5):
        changes = {"token": f"lamp-secret-{number}", "output": "led", "gpio": [13, 34]}
        settings.change(values, changes, vault, Chip)
        assert (values["token"], values["light"]) == (f"lamp-secret-{number}", bytes([18]))
        assert load(vault)["token"] == f"lamp-secret-{number}"
    assert "secret" not in stored()


def test_a_password_that_is_known_need_not_be_told_again(vault: Vault) -> None:
    put(**USUAL)
    values = load(vault)
    told = [{"ssid": "new", "password": "new-secret"}, {"ssid": "home", "password": True}]
    settings.change(values, {"networks": told, "token": True}, vault, Chip)
    assert [one["password"] for one in values["networks"]] == ["new-secret", "home-secret"]
    settings.change(values, {"networks": [{"ssid": "home"}, {"ssid": "open"}]}, vault, Chip)
    assert [one["password"] for one in load(vault)["networks"]] == ["home-secret", ""]
    assert values["token"] == "lamp-secret"
    settings.change(values, {"networks": [{"ssid": "home", "password": ""}]}, vault, Chip)
    assert values["networks"] == [{"ssid": "home", "password": ""}]
    with pytest.raises(RefusedError):
        settings.change(values, {"networks": [{"ssid": "other", "password": True}]}, vault, Chip)


def test_no_secret_is_shown(vault: Vault) -> None:
    put(**USUAL)
    shown = settings.shown(load(vault))
    assert shown["token"] is True
    assert shown["networks"] == [{"ssid": "home", "password": True}]
    assert "secret" not in json.dumps(shown)


def test_lost_secrets_are_told(vault: Vault) -> None:
    put(**USUAL)
    load(vault)
    vault.places = [b"\xff", b"\xff"]
    values, problems = settings.load(vault, Chip)
    assert problems == ["the secrets of the lamp are lost"]
    assert values["token"] == ""


async def test_a_power_cut_at_any_write_leaves_the_old_settings_or_the_new(firmware: Firmware, flash: Path) -> None:
    out = await firmware.run("power_cuts.py", folder=flash, heap="500wk")
    told = json.loads(out.splitlines()[-1])
    assert told["neither"] == []
    assert told["old"] + told["new"] == told["cuts"]
    assert told["old"] > 5
    assert told["new"] > 0
    assert told["cuts"] > 10
