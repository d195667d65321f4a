from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from espfleet.domain.light import Link, Word
from espfleet.domain.messages import Hello, Keepalive, Readings, parse
from espfleet.simulator.commands import ACTIONS
from espfleet.simulator.lamp import Lamp
from espfleet.simulator.specs import LampSpec, hardware_id

SPEC = LampSpec(id=hardware_id(1), name="lamp-1", token="secret")
#: After the self-test.
NOW = 1_000.0


@pytest.fixture
def lamp() -> Lamp:
    return Lamp(SPEC, now_ms=0, random=Random(1))


def welcome(**fields: Any) -> str:
    return json.dumps({"type": "welcome", "name": "porch", "level": 10, "seq": 7, "lease_ms": 1_500, **fields})


def level(value: int, **fields: Any) -> str:
    return json.dumps({"type": "level", "level": value, "state": "ok", "seq": 8, "lease_ms": 1_500, **fields})


def order(action: str, **arguments: Any) -> str:
    return json.dumps({"type": "command", "id": "c-1", "action": action, "arguments": arguments, "expires_ms": 5_000})


def answer(lamp: Lamp, text: str, now_ms: float = NOW) -> dict[str, Any]:
    (said,) = lamp.hear(text, now_ms)
    values: dict[str, Any] = json.loads(said)
    return values


def test_a_lamp_without_a_token_waits_to_be_provisioned() -> None:
    lamp = Lamp(replace(SPEC, token=None), now_ms=0, random=Random(1))
    assert lamp.view(NOW).word == Word.NO_SETTINGS


def test_a_lamp_tells_who_it_is(lamp: Lamp) -> None:
    hello = parse(lamp.hello())
    assert isinstance(hello, Hello)
    assert (hello.id, hello.token, hello.boot_reason, hello.boot_count, hello.resume) == (
        SPEC.id,
        "secret",
        "power-on",
        1,
        None,
    )
    assert {"identify", "brightness", "override", "reboot"} < set(hello.capabilities)
    assert set(hello.capabilities) == set(ACTIONS)


def test_a_welcomed_lamp_shows_its_level_and_knows_its_place(lamp: Lamp) -> None:
    lamp.hear(welcome(room="hall", group="wan"), NOW)
    view = lamp.view(NOW + 300)
    assert (view.name, view.room, view.group, view.link) == ("porch", "hall", "wan", Link.CONNECTED)
    assert (view.word, view.level, view.state) == (Word.LEVEL, 10, "ok")
    assert view.channels.green > 0.5
    assert view.channels.red == pytest.approx(0, abs=0.01)


def test_a_lamp_that_connects_again_says_what_it_heard_last(lamp: Lamp) -> None:
    lamp.hear(welcome(), NOW)
    lamp.hear(level(20), NOW)
    hello = parse(lamp.hello())
    assert isinstance(hello, Hello)
    assert hello.resume == 8


def test_a_new_level_is_approached_and_an_old_one_glows_on(lamp: Lamp) -> None:
    lamp.hear(welcome(level=100), NOW)
    full = lamp.view(NOW + 1_000).channels.red
    assert full == pytest.approx(1, abs=0.01)
    lamp.hear(level(0), NOW + 1_000)
    glow = [lamp.view(NOW + 1_000 + at).channels.red for at in (0, 100, 300, 900)]
    assert glow == sorted(glow, reverse=True)
    assert glow[2] == pytest.approx(0.5**2.2, abs=0.02)


def test_silence_shows_as_late_then_stale(lamp: Lamp) -> None:
    lamp.hear(welcome(period_ms=500), NOW)
    words = [lamp.view(NOW + silence).word for silence in (0, 700, 800, 1_400, 1_500)]
    assert words == [Word.LEVEL, Word.LEVEL, Word.LATE, Word.LATE, Word.STALE]
    assert lamp.view(NOW + 1_600).level is None


def test_a_later_welcome_changes_brightness_and_name(lamp: Lamp) -> None:
    lamp.hear(welcome(), NOW)
    lamp.hear(welcome(name="hall-1", brightness=0), NOW + 10)
    view = lamp.view(NOW + 200)
    assert view.name == "hall-1"
    assert view.rgb == (0, 0, 0)


def test_identify_blinks_in_full_light_and_goes_back_to_what_was(lamp: Lamp) -> None:
    lamp.hear(welcome(brightness=0, lease_ms=60_000, period_ms=60_000), NOW)
    assert answer(lamp, order("identify"))["ok"] is True
    assert lamp.view(NOW + 200).word == Word.IDENTIFY
    lit = {lamp.view(NOW + at).channels.red > 0.5 for at in range(300, 1_300, 25)}
    assert lit == {True, False}
    assert lamp.view(NOW + 10_000).word == Word.LEVEL
    assert lamp.view(NOW + 10_000).rgb == (0, 0, 0)


def test_brightness_dims_what_is_shown(lamp: Lamp) -> None:
    lamp.hear(welcome(level=100), NOW)
    assert answer(lamp, order("brightness", percent=50)) == {
        "type": "result",
        "id": "c-1",
        "ok": True,
        "data": {"percent": 50},
    }
    assert lamp.view(NOW + 1_000).channels.red == pytest.approx(0.5**2.2, abs=0.01)


def test_an_override_replaces_the_level_for_a_while(lamp: Lamp) -> None:
    lamp.hear(welcome(lease_ms=60_000, period_ms=60_000), NOW)
    assert answer(lamp, order("override", level=100, for_ms=1_000))["data"] == {"level": 100, "for_ms": 1_000}
    assert (lamp.view(NOW + 500).word, lamp.view(NOW + 500).level) == (Word.OVERRIDE, 100)
    assert lamp.view(NOW + 1_000).word == Word.LEVEL
    answer(lamp, order("override"), NOW + 2_000)
    assert lamp.view(NOW + 5_000).rgb == (0, 0, 0)
    answer(lamp, order("override", off=True), NOW + 5_000)
    assert lamp.view(NOW + 5_001).word == Word.LEVEL


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (order("override", level=10), "level must be a number from 50 to 100"),
        (order("override", level=100, for_ms=0), "for_ms must be a number from 100"),
        (order("identify", for_ms="long"), "for_ms must be a number"),
        (order("brightness"), "percent must be a number from 0 to 100"),
        (order("brightness", percent=101), "percent must be a number from 0 to 100"),
        (order("dance"), "a simulated lamp cannot do 'dance'"),
        (order("adc", pin=4), "pin 4 measures no voltages"),
        (order("adc"), "pin must be a number from 0 to 48"),
        (order("sensor", pin=5), "no DHT22 answers at pin 5"),
        (order("sensor", pin=4, kind="dht11"), "a simulated lamp has a dht22, no 'dht11'"),
        (order("x" * 4_000), "a simulated lamp cannot do 'xxx"),
        (order("settings", token=""), "token must be a text of 1 to 128 printable characters"),
        (order("settings", token="x" * 129), "token must be a text"),
        (order("settings", token=7), "token must be a text"),
        (order("settings", token=None), "token must be a text"),
        (order("settings", token="other", dance=1), "a simulated lamp has no setting 'dance', only token"),
    ],
)
def test_a_command_that_cannot_be_done_is_answered_with_a_sentence(lamp: Lamp, text: str, sentence: str) -> None:
    lamp.hear(welcome(), NOW)
    said = answer(lamp, text)
    assert said["ok"] is False
    assert said["error"].startswith(sentence)
    assert parse(json.dumps(said)) is not None
    assert lamp.spec == SPEC
    assert lamp.view(NOW + 100).word == Word.LEVEL


def test_a_token_that_is_handed_over_is_kept_before_it_is_used_and_told_to_nobody() -> None:
    kept: list[LampSpec] = []
    lamp = Lamp(SPEC, now_ms=0, random=Random(1), keep=kept.append)
    lamp.hear(welcome(), NOW)
    said = answer(lamp, order("settings", token="other"))
    assert (said["ok"], said["data"]) == (True, {"restart": True})
    hello = parse(lamp.hello())
    assert isinstance(hello, Hello)
    assert hello.token == "other"
    assert kept == [replace(SPEC, token="other")]
    assert "other" not in json.dumps(answer(lamp, order("settings")))
    # A secret that is told as true stays what it is, as with real ones.
    assert answer(lamp, order("settings", token=True))["ok"] is True
    assert lamp.spec.token == "other"


def test_a_token_that_cannot_be_kept_is_not_used() -> None:
    def full(_spec: LampSpec) -> None:
        raise OSError(28, "No space left on device")

    lamp = Lamp(SPEC, now_ms=0, random=Random(1), keep=full)
    lamp.hear(welcome(), NOW)
    said = answer(lamp, order("settings", token="other"))
    assert (said["ok"], said["error"]) == (False, "the token cannot be kept: No space left on device")
    assert lamp.spec.token == "secret"


def test_a_reboot_forgets_the_level_and_counts_itself(lamp: Lamp) -> None:
    lamp.hear(welcome(), NOW)
    assert answer(lamp, order("reboot"))["ok"] is True
    assert lamp.reboot_wanted
    lamp.restart("reboot", NOW + 500)
    assert not lamp.reboot_wanted
    assert lamp.view(NOW + 600).word == Word.SELF_TEST
    assert lamp.view(NOW + 2_000).word == Word.NO_GATEWAY
    hello = parse(lamp.hello())
    assert isinstance(hello, Hello)
    assert (hello.boot_reason, hello.boot_count, hello.resume) == ("reboot", 2, None)


def test_a_full_keepalive_tells_level_and_longest_silence(lamp: Lamp) -> None:
    lamp.hear(welcome(), NOW)
    lamp.hear(level(30), NOW + 700)
    lamp.hear(level(30), NOW + 900)
    said = parse(lamp.keepalive(NOW + 950))
    assert isinstance(said, Keepalive)
    assert (said.shown, said.late_ms, said.uptime_ms) == (30, 700, 1_950)
    again = parse(lamp.keepalive(NOW + 951))
    assert isinstance(again, Keepalive)
    assert again.late_ms == 0


def test_readings_carry_the_time_that_the_gateway_told(lamp: Lamp) -> None:
    without = parse(lamp.readings(NOW))
    assert isinstance(without, Readings)
    assert without.at_ms is None
    lamp.hear(welcome(time_ms=1_763_670_000_000), NOW)
    said = parse(lamp.readings(NOW + 1_234))
    assert isinstance(said, Readings)
    assert said.at_ms == 1_763_670_001_234
    assert set(said.values) == {"temperature_c"}
    assert 30 < said.values["temperature_c"] < 60


def test_what_a_lamp_cannot_use_changes_nothing(lamp: Lamp) -> None:
    lamp.hear(welcome(), NOW)
    for text in ("hello", '{"type":"level","level":"red"}', b"\x00"):
        assert lamp.hear(text, NOW + 10) == []
    assert lamp.view(NOW + 10).level == 10
