"""What a lamp does when its fleet tells it to, and what its lights are made of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from espfleet.domain import messages, replies
from tests.conftest import wait_until
from tests.firmware.boards import Board
from tests.firmware.servers import TEXT, Peer, serving
from tests.firmware.together import Boards, together

Tell = Callable[..., Any]


class Told:
    """A lamp that is connected, and its answers."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.peer: Peer | None = None
        self.said: list[dict[str, Any]] = []
        self._number = 0

    async def serve(self, peer: Peer) -> None:
        await peer.welcome(level=0)
        self.peer = peer
        levels = asyncio.create_task(peer.levels(0))
        try:
            while True:
                opcode, data = await peer.frame()
                if opcode == TEXT:
                    assert messages.parse(data.decode()) is not None, "the gateway would not understand this"
                    self.said.append(json.loads(data))
        finally:
            levels.cancel()

    async def result(self, action: str, **arguments: Any) -> dict[str, Any]:
        """Tell the lamp to do something and return its result."""
        self._number += 1
        command_id = f"c-{self._number}"
        assert self.peer is not None
        await self.peer.say(replies.command(command_id, action, arguments, 5_000))
        await wait_until(lambda: self._results(command_id))
        return self._results(command_id)[0]

    async def done(self, action: str, **arguments: Any) -> dict[str, Any]:
        result = await self.result(action, **arguments)
        assert result["ok"] is True, result
        data: dict[str, Any] = result["data"]
        return data

    async def refused(self, action: str, **arguments: Any) -> str:
        result = await self.result(action, **arguments)
        assert result["ok"] is False, result
        return str(result["error"])

    def _results(self, command_id: str) -> list[dict[str, Any]]:
        return [one for one in self.said if one["type"] == "result" and one["id"] == command_id]


@asynccontextmanager
async def lamp(boards: Boards, **settings: Any) -> AsyncIterator[Told]:
    board = boards()
    told = Told(board)
    async with serving(told.serve) as gateway:
        board.set(gateway=gateway.url, **settings)
        board.power_on()
        await wait_until(lambda: told.peer)
        yield told


@together
async def test_a_lamp_that_is_looked_for_blinks_and_then_shows_its_level_again(boards: Boards) -> None:
    async with lamp(boards) as told:
        await told.board.line("light: level")
        assert await told.done("identify", for_ms=600) == {"for_ms": 600}
        await told.board.line("light: identify")
        await told.board.line("light: level", told.board.at)
        assert (await told.done("identify")) == {"for_ms": 10_000}


@together
async def test_nobody_can_order_green(boards: Boards) -> None:
    async with lamp(boards) as told:
        await told.board.line("light: level")
        assert await told.refused("override", level=49) == "level must be a whole number from 50 to 100"
        assert await told.done("override", level=100, for_ms=60_000) == {"level": 100, "for_ms": 60_000}
        await told.board.line("light: override")
        await wait_until(lambda: told.board.light()[2] == 65_535)
        assert await told.done("override") == {"level": None, "for_ms": 60_000}
        await wait_until(lambda: told.board.light() == (0, 0, 0))
        assert await told.done("override", off=True) == {"off": True}
        await wait_until(lambda: told.board.light()[0] > 60_000)


@together
async def test_brightness_dims_what_is_fed(boards: Boards) -> None:
    async with lamp(boards) as told:
        await told.board.line("light: level")
        assert await told.done("brightness", percent=50) == {"percent": 50}
        await wait_until(lambda: told.board.light()[0] == round(65_535 * 0.5**2.2))


@together
async def test_pins_are_switched_and_read_but_only_safe_ones(boards: Boards) -> None:
    async with lamp(boards, sensor={"kind": "dht22", "pin": 13}) as told:
        board = told.board
        board.world("pins", '{"34": 4095, "25": 0}')
        assert await told.done("gpio", pin=4, value=None) == {"pin": 4, "value": 0}
        assert await told.done("gpio", pin=34) == {"pin": 34, "value": 1}
        assert await told.done("gpio", pin=25, value=1) == {"pin": 25, "value": 1}
        assert await told.done("gpio", pin=25, value=2) == {"pin": 25, "value": 0}
        assert await told.done("gpio", pin=[25, 26], value=1) == {"values": {"25": 1, "26": 1}}
        for pin in (6, 0, 1, 18, 13, 34, 40, 99, -1, None, "x", True, 1.5):
            assert await told.refused("gpio", pin=pin, value=1)
        assert await told.refused("gpio", pin=[27, 6], value=1)
        assert await told.refused("gpio", pin=26, value=3) == "value must be a whole number from 0 to 2"
        assert await told.refused("gpio", pin=6) == "pin 6 of this ESP32 cannot be read"
        await told.done("gpio", pin=21, value=1)
        await board.line("@pin 21 1")
        done = [line.split() for line in board.lines]
        switched = {words[1] for words in done if words[0] == "@pin"}
        assert switched == {"25", "26", "21"}, "nothing is switched unless all may be"
        assert {words[1] for words in done if words[0] == "@mode"} == switched, "reading must not reconfigure"


@together
async def test_an_owner_can_name_the_pins_that_may_be_switched(boards: Boards) -> None:
    async with lamp(boards, gpio=[25]) as told:
        assert await told.done("gpio", pin=25, value=1) == {"pin": 25, "value": 1}
        assert await told.refused("gpio", pin=26, value=1) == "pin 26 of this ESP32 cannot be switched"
        assert await told.done("gpio", pin=26) == {"pin": 26, "value": 0}


@together
async def test_voltages_are_measured_while_a_sensor_has_power(boards: Boards) -> None:
    async with lamp(boards) as told:
        told.board.world("pins", '{"34": 2000}')
        data = await told.done("adc", pin=34, power_pin=25, samples=5)
        assert data == {"pin": 34, "raw": 2_000, "millivolts": 1_600}
        await told.board.line("@pin 25 1")
        await told.board.line("@pin 25 0", told.board.at)
        assert await told.refused("adc", pin=25) == "pin 25 of this ESP32 measures no voltages"
        assert await told.refused("adc", pin=34, power_pin=18) == "pin 18 of this ESP32 cannot be switched"
        assert await told.refused("adc", pin=34, samples=0) == "samples must be a whole number from 1 to 100"


@together
async def test_a_sensor_is_read_on_request(boards: Boards) -> None:
    async with lamp(boards) as told:
        assert await told.refused("sensor") == "this lamp has no sensor"
        assert await told.refused("sensor", kind="dht22", pin=25) == "no dht22 answers at pin 25"
        told.board.world("climate", '{"temperature": -3.5, "humidity": 91}')
        assert await told.done("sensor", kind="dht22", pin=25) == {"temperature_c": -3.5, "humidity_percent": 91}
        assert await told.refused("sensor", kind="dht22", pin=6)


@together
async def test_settings_are_shown_without_secrets_and_changed_for_the_next_start(boards: Boards) -> None:
    async with lamp(boards) as told:
        shown = await told.done("settings")
        assert (shown["output"], shown["token"], shown["networks"]) == (
            "leds",
            True,
            [{"ssid": "home", "password": True}],
        )
        assert "secret" not in json.dumps(shown)
        assert await told.done("settings", brightness=40) == {"restart": True}
        assert await told.refused("settings", brightness=0) == "brightness must be a whole number from 1 to 100"
        assert await told.refused("settings", colour="blue") == "there is no setting colour"
        assert json.loads((told.board.folder / "settings.json").read_text())["brightness"] == 40
        await told.done("reboot")
        await wait_until(lambda: told.board.starts == 2)
        await wait_until(lambda: told.board.pwm(18) == round(65_535 * 0.4**2.2))


@together
async def test_an_unknown_command_is_answered_with_the_known_ones(boards: Boards) -> None:
    async with lamp(boards) as told:
        assert await told.refused("levitate") == (
            "this lamp knows adc, brightness, gpio, identify, override, reboot, sensor, settings, trust"
        )


@together
async def test_no_argument_crashes_a_lamp(boards: Boards) -> None:
    random = Random(7)
    values = [None, True, False, 0, -1, 1.5, 10**12, "", "5", "x" * 500, [], [[]], [{}], {}, {"a": 1}, ["18"], "dht22"]
    names = ["for_ms", "percent", "level", "off", "pin", "value", "power_pin", "samples", "kind", "networks", "pins",
             "gateway", "sensor", "gpio", "token", "output", "name"]  # fmt: skip
    actions = ["identify", "brightness", "override", "settings", "gpio", "adc", "sensor", "", "x" * 64]
    async with lamp(boards) as told:
        for _ in range(300):
            arguments = {name: random.choice(values) for name in random.sample(names, random.randint(0, 3))}
            await told.result(random.choice(actions), **arguments)
        assert told.board.starts == 1


# Outputs


GREEN: list[tuple[dict[str, Any], str]] = [
    ({"output": "rgb", "pins": [21, 22, 23]}, "@pwm 22 65535"),
    ({"output": "led", "pins": [21]}, "@pwm 21 1311"),
    ({"output": "strip", "pins": [21], "pixels": 12}, "@strip 21 12 0 255 0"),
    ({"output": "leds", "inverted": True}, "@pwm 18 0"),
    ({"output": "leds", "pins": [25, 26, 27], "brightness": 50}, "@pwm 25 14263"),
]


@together
async def test_green_on_every_kind_of_light(boards: Boards) -> None:
    async def one(settings: dict[str, Any], line: str) -> None:
        async with lamp(boards, **settings) as told:
            await told.board.line("light: level")
            await told.board.line(line, told.board.at)

    await asyncio.gather(*(one(settings, line) for settings, line in GREEN))


@together
async def test_a_light_that_cannot_be_is_told_and_the_usual_one_used(boards: Boards) -> None:
    board = boards(output="leds", pins=[6, 7, 8])
    board.power_on()
    await board.line("settings: pin 6 of an ESP32 cannot be used")
    await board.line("@pwm 18")
