"""The firmware on the real gateway."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from espfleet.domain.devices import Presence, Reason
from espfleet.domain.states import State
from espfleet.store import commands, presence, readings
from tests.conftest import wait_until
from tests.firmware.boards import Board
from tests.firmware.conftest import ROOT, MakeBoard
from tests.gateway.conftest import QUICK, Fleet, Start


async def lamp_of(fleet: Fleet, boards: MakeBoard, url: str, name: str = "porch", number: int = 1) -> Board:
    """Register a lamp and switch it on."""
    device, token = await fleet.add(name, number)
    board = boards(gateway=url, token=token)
    board.world("id", device.id)
    board.power_on()
    return board


def shows(board: Board, green: float = 0.0, orange: float = 0.0, red: float = 0.0) -> bool:
    """Tell whether the light looks like this, each channel 0 to 1, give or take a little."""
    looks = [(fed / 65_535) ** (1 / 2.2) for fed in board.light()]
    return all(abs(is_ - wanted) < 0.05 for is_, wanted in zip(looks, (green, orange, red), strict=True))


async def test_a_registered_lamp_shows_the_level_of_its_room_and_follows_it(
    fleet: Fleet, start: Start, boards: MakeBoard
) -> None:
    gateway = await start()
    board = await lamp_of(fleet, boards, gateway.url)
    await board.line("link: connected as porch")
    await wait_until(lambda: shows(board, green=0.8, orange=0.2))
    await fleet.publish(75)
    await wait_until(lambda: shows(board, orange=0.5, red=0.5))
    await fleet.publish(50, state=State.UNKNOWN)
    await board.line("light: unknown", board.at)
    fleet.beating = set()
    await fleet.publish(10)
    await board.line("light: level", board.at)
    await board.line("light: unknown", board.at)


async def test_the_fleet_knows_what_a_lamp_is_and_what_it_reports(
    fleet: Fleet, start: Start, boards: MakeBoard
) -> None:
    gateway = await start(**QUICK)
    board = await lamp_of(fleet, boards, gateway.url)
    device_id = f"{1:012x}"

    async def live() -> bool:
        return (await presence.read_presence(fleet.store, [device_id]))[device_id].presence is Presence.LIVE

    await wait_until(live)

    async def reported() -> bool:
        found = await readings.get(fleet.store, device_id)
        return {"temperature_c", "rssi_dbm", "heap_bytes", "uptime_ms"} <= found.keys()

    await wait_until(reported, 12)
    result = await commands.send(fleet.store, device_id, {"action": "identify", "for_ms": 300})
    assert result is not None
    assert (result["ok"], result["data"]) == (True, {"for_ms": 300})
    await board.line("light: identify")
    result = await commands.send(fleet.store, device_id, {"action": "gpio", "arguments": {"pin": 6, "value": 1}})
    assert result is not None
    assert (result["ok"], result["error"]) == (False, "pin 6 of this ESP32 cannot be switched")
    board.signal(signal.SIGSTOP)

    async def silent() -> bool:
        found = (await presence.read_presence(fleet.store, [device_id]))[device_id]
        return (found.presence, found.reason) == (Presence.OFFLINE, Reason.SILENT)

    await wait_until(silent)
    board.signal(signal.SIGCONT)
    await wait_until(live)


async def test_a_lamp_that_is_not_registered_is_told_so_and_its_light_is_not_green(
    fleet: Fleet, start: Start, boards: MakeBoard
) -> None:
    gateway = await start()
    board = boards(gateway=gateway.url, token="anything")
    board.world("id", "0000000000ff")
    board.power_on()
    await board.line(r"link: the lamp is not registered \(4004: no device with id 0000000000ff is registered\)")
    await board.line("light: no gateway")
    impostor = boards(gateway=gateway.url, token="guessed")
    device, _ = await fleet.add("porch")
    impostor.world("id", device.id)
    impostor.power_on()
    await impostor.line(r"link: the gateway does not accept the token \(4001: this is not a token of porch\)")


async def test_three_lamps_of_two_rooms_show_each_their_own(fleet: Fleet, start: Start, boards: MakeBoard) -> None:
    await fleet.set_up({"hall": "wan", "attic": "lan"}, ["wan", "lan"])
    await fleet.publish(100, "lan")
    gateway = await start()
    lamps = [await lamp_of(fleet, boards, gateway.url, f"lamp-{number}", number) for number in (1, 2)]
    device, token = await fleet.add("lamp-3", 3, room="attic")
    third = boards(gateway=gateway.url, token=token)
    third.world("id", device.id)
    third.power_on()
    await wait_until(lambda: shows(third, red=1.0))
    await wait_until(lambda: all(shows(one, green=0.8, orange=0.2) for one in lamps))


async def test_a_gateway_that_restarts_has_its_lamps_back_soon(fleet: Fleet, start: Start, boards: MakeBoard) -> None:
    gateway = await start()
    board = await lamp_of(fleet, boards, gateway.url)
    await board.line("light: level")
    await gateway.stop()
    await board.line(r"link: the gateway closed the connection \(1012: restarting; retry_after_ms=\d+\)", board.at)
    await start(port=gateway.port)
    await board.line("link: connected as porch", board.at)
    await wait_until(lambda: shows(board, green=0.8, orange=0.2))


# A gateway that is killed and frozen


@asynccontextmanager
async def process(redis_url: str, port: int = 0) -> AsyncIterator[tuple[Process, int]]:
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.firmware.gateway", redis_url, str(port), cwd=ROOT, stdout=PIPE
    )
    try:
        assert gateway.stdout is not None
        async with asyncio.timeout(10):
            taken = int(await gateway.stdout.readline())
        yield gateway, taken
    finally:
        if gateway.returncode is None:
            gateway.kill()
        await gateway.wait()


async def test_a_lamp_goes_late_then_stale_then_fresh_with_its_gateway(
    fleet: Fleet, redis_url: str, boards: MakeBoard
) -> None:
    async with process(redis_url) as (gateway, port):
        board = await lamp_of(fleet, boards, f"ws://127.0.0.1:{port}")
        await wait_until(lambda: shows(board, green=0.8, orange=0.2))
        gateway.send_signal(signal.SIGSTOP)
        # Late: the level rises, before anything else is shown.
        await wait_until(lambda: shows(board, green=0.7, orange=0.3), 3)
        await board.line("light: stale", board.at)
        assert not [line for line in board.lines if "said nothing" in line]
        await board.line("link: the gateway said nothing for 5 s", board.at)
        await board.line("light: no gateway", board.at)
        gateway.send_signal(signal.SIGCONT)
        await board.line("link: connected as porch", board.at, 15)
        await board.line("light: level", board.at)
        gateway.kill()
        await board.line("link: the connection broke", board.at)
        await board.line("light: no gateway", board.at)
    began = time.monotonic()
    async with process(redis_url, port):
        await board.line("light: level", board.at, 10)
        assert time.monotonic() - began < 10
    assert board.starts == 1
