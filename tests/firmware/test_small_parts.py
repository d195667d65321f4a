"""Clock, memory, addresses, chips and the frame codec: what needs neither network nor hardware."""

from __future__ import annotations

import contextlib
import importlib.util
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espfleet import __version__
from lamp import VERSION, RefusedError, boots, checks, clock, resolve, urls, ws
from tests.firmware.conftest import ROOT

PERIOD = 2**30


def test_the_firmware_has_the_version_of_the_fleet() -> None:
    assert __version__ == VERSION


# Clock


class Ticks:
    """MicroPython's ticks, which begin again after 2**30 ms."""

    def __init__(self) -> None:
        self.real_ms = PERIOD - 5_000

    def __call__(self) -> int:
        return self.real_ms % PERIOD

    @staticmethod
    def difference(late: int, early: int) -> int:
        return (late - early + PERIOD // 2) % PERIOD - PERIOD // 2


def test_the_clock_goes_on_where_ticks_begin_again() -> None:
    ticks = Ticks()
    now = clock.Clock(ticks, ticks.difference)
    assert now() == 0
    for _ in range(2_000):
        ticks.real_ms += 86_400_000
        now()
    assert now() == 2_000 * 86_400_000


# Memory over restarts


class Memory:
    def __init__(self) -> None:
        self.data = b""

    def __call__(self, *data: bytes) -> bytes:
        if data:
            (self.data,) = data
        return self.data


def test_a_lamp_knows_why_it_started_and_how_often() -> None:
    memory = Memory()
    first = boots.Boots(memory, "power-on")
    assert (first.count, first.reason, first.crashes) == (1, "power-on", 0)
    first.note("light: fade.py:12 ValueError: ü\n", 1)
    second = boots.Boots(memory, "soft reset")
    assert (second.count, second.reason, second.crashes) == (2, "light: fade.py:12 ValueError: ??", 1)
    assert boots.Boots(memory, "watchdog").reason == "watchdog"


def test_a_lamp_that_crashes_again_and_again_waits_longer_each_time() -> None:
    memory, pauses = Memory(), []
    for _ in range(8):
        lamp = boots.Boots(memory, "")
        lamp.note("crash", lamp.crashes + 1)
        pauses.append(lamp.pause_ms())
    assert pauses == [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]


@given(st.binary() | st.sampled_from([b"[1]", b"[1,2,3,4]", b'{"a":1}', b"null", b'["a","b","c"]']))
def test_whatever_stands_in_the_memory_the_lamp_starts(data: bytes) -> None:
    memory = Memory()
    memory.data = data
    assert boots.Boots(memory, "power-on").count >= 1


# Addresses


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("ws://10.0.0.5:5678", (False, "10.0.0.5", 5678, "/lamp")),
        ("ws://10.0.0.5:5678/", (False, "10.0.0.5", 5678, "/lamp")),
        ("wss://gateway.local", (True, "gateway.local", 443, "/lamp")),
        ("ws://gateway/other/path?x=1", (False, "gateway", 80, "/other/path?x=1")),
    ],
)
def test_the_url_of_a_gateway_is_taken_apart(url: str, parts: tuple[object, ...]) -> None:
    assert urls.split(url) == parts


@pytest.mark.parametrize(
    "url",
    ["", "gateway", "http://gateway", "ws://", "ws://:80", "ws://a:b", "ws://a:0", "ws://a:65536", "ws://a:", "ws://u@a",
     "ws://a b", "ws://a#b", "ws://ä", "ws://a\r\nX: y", "ws://[::1]:80", "ws://a:1:2", "ws://" + "a" * 300],
)  # fmt: skip
def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(RefusedError, match=r"gateway must be ws://HOST:PORT or wss://HOST:PORT"):
        urls.split(url)


def test_an_address_is_told_from_a_name() -> None:
    names = ("1.2.3.4", "255.0.0.1", "256.1.1.1", "1.2.3", "a.b.c.d", "1.2.3.", "gw")
    assert [name for name in names if urls.is_address(name)] == ["1.2.3.4", "255.0.0.1"]


def test_a_fixed_address_has_its_mask_and_router() -> None:
    assert urls.fixed("192.168.1.200/24 192.168.1.1") == ("192.168.1.200", "255.255.255.0", "192.168.1.1")
    assert urls.fixed("10.1.2.3/20 10.1.0.1")[1] == "255.255.240.0"
    for wrong in ("", "10.0.0.2", "10.0.0.2/24", "10.0.0.2/7 10.0.0.1", "10.0.0.2/31 10.0.0.1", "a/24 10.0.0.1"):
        with pytest.raises(RefusedError):
            urls.fixed(wrong)


def test_a_question_for_a_name_is_one_of_the_rfc() -> None:
    assert resolve.question("gw.example", b"\x12\x34") == (
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02gw\x07example\x00\x00\x01\x00\x01"
    )


def test_the_address_is_found_behind_an_alias() -> None:
    head = b"\x12\x34\x81\x80\x00\x01\x00\x02\x00\x00\x00\x00\x02gw\x00\x00\x01\x00\x01"
    alias = b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x04\x01x\xc0\x0c"
    record = b"\xc0\x20\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x05"
    assert resolve.answer(head + alias + record) == "10.0.0.5"


@given(st.binary(max_size=100))
def test_whatever_answers_it_is_an_address_or_a_refusal(data: bytes) -> None:
    with contextlib.suppress(OSError):
        assert urls.is_address(resolve.answer(data))


# Checks


def test_checks_say_what_is_allowed() -> None:
    assert checks.whole("12", "pin", 0, 48) == checks.whole(12, "pin", 0, 48) == 12
    for wrong in (True, None, 1.0, "1.5", "-1", "", 49, [], "9" * 30):
        with pytest.raises(RefusedError, match="pin must be a whole number from 0 to 48"):
            checks.whole(wrong, "pin", 0, 48)
    for wrong in (None, 7, "a\nb", "x" * 9):
        with pytest.raises(RefusedError, match="name must be a text of at most 8 characters"):
            checks.text(wrong, "name", 8)
    for wrong in (None, [], {}, "LEDS", 1):
        with pytest.raises(RefusedError, match="output must be one of leds, rgb"):
            checks.one_of(wrong, "output", "leds", "rgb")
    for wrong in (None, 0, 1, "true"):
        with pytest.raises(RefusedError, match="inverted must be true or false"):
            checks.yes_or_no(wrong, "inverted")


# Chips


@pytest.fixture(scope="session")
def chips() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chips", ROOT / "esp32" / "lamp" / "board" / "chips.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ("Generic ESP32 module with ESP32", "ESP32"),
        ("Generic ESP32 module with SPIRAM with ESP32", "ESP32"),
        ("Generic ESP32S3 module with ESP32S3", "ESP32S3"),
        ("LOLIN_S2_MINI with ESP32-S2FN4R2", "ESP32S2"),
        ("ESP32C3 module with ESP32C3", "ESP32C3"),
        ("ESP32C6 module with ESP32C6", "ESP32C6"),
        ("linux", "ESP32"),
    ],
)
def test_a_chip_is_known_by_its_machine(chips: ModuleType, machine: str, name: str) -> None:
    assert chips.find(machine)[0] == name


#: Flash and memory, what decides how the chip boots, USB and the serial line.
NEVER = {
    "ESP32": {0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16, 17, 20, 24, 28, 29, 30, 31},
    "ESP32S2": {0, 19, 20, *range(26, 33), 43, 44, 45},
    "ESP32S3": {0, 3, 19, 20, *range(26, 38), 43, 44, 45, 46},
    "ESP32C3": {2, 8, 9, *range(11, 22)},
    "ESP32C6": {4, 5, 8, 9, 12, 13, 15, 16, 17, *range(24, 31)},
}


@pytest.mark.parametrize("name", NEVER)
def test_no_pin_is_offered_that_can_stop_the_board(chips: ModuleType, name: str) -> None:
    _, outputs, inputs, analogue, light = chips.find(f"board with {name}")
    assert not NEVER[name] & {*outputs, *inputs}
    assert not {*outputs} & {*inputs}
    assert {*analogue} <= {*outputs, *inputs}
    assert {*light} <= {*outputs}
    assert len(light) == 3


# Frames


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_a_frame_is_masked_byte_by_byte(data: bytes, key: bytes) -> None:
    made = ws.frame(1, data, key)
    head = 2 if len(data) < 126 else 4
    assert made[:head][1] & 0x80
    assert made[head : head + 4] == key
    assert bytes(byte ^ key[at % 4] for at, byte in enumerate(made[head + 4 :])) == data
