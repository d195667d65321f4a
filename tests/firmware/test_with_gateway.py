"""The firmware on the real gateway."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from espfleet.domain.devices import Presence, Reason
from espfleet.domain.shards import shard_of
from espfleet.domain.states import State
from espfleet.store import commands, presence, readings
from tests.conftest import wait_until
from tests.firmware.conftest import ROOT
from tests.firmware.on_gateway import has_shown, lamp_of, shows
from tests.firmware.together import Boards
from tests.firmware.updates_with_fleet import firmware_is_updated_from_the_command_line
from tests.gateway.conftest import QUICK, Fleet, Start
from tests.own_time import promised

PATIENCE_S = 30.0
#: How long levels are fresh: longer than for users, for what beats here is kept waiting by a busy machine.
FRESH_MS = 10_000


async def a_registered_lamp_shows_the_level_of_its_room_and_follows_it(
    fleet: Fleet, start: Start, boards: Boards
) -> None:
    gateway = await start(name="followed")
    board = await lamp_of(fleet, boards, gateway.url, 8, "study")
    await board.line("link: connected as lamp-8")
    await wait_until(lambda: shows(board, green=0.8, orange=0.2), PATIENCE_S)
    await fleet.publish(75, "vpn")
    await wait_until(lambda: shows(board, orange=0.5, red=0.5), PATIENCE_S)
    await fleet.publish(50, "vpn", State.UNKNOWN)
    await board.line("light: unknown", board.at)
    # Nobody answers for this level any more.
    fleet.beating = fleet.beating - {shard_of("vpn", fleet.store.shards)}
    await fleet.publish(10, "vpn")
    await board.line("light: level", board.at)
    await board.line("light: unknown", board.at)


async def the_fleet_knows_what_a_lamp_is_and_what_it_reports(fleet: Fleet, start: Start, boards: Boards) -> None:
    # Short, but a second for a keepalive of a busy machine.
    gateway = await start(name="quick", **QUICK | {"watchdog_ms": 1_000})
    board = await lamp_of(fleet, boards, gateway.url)
    device_id = f"{1:012x}"

    async def live() -> bool:
        return (await presence.read_presence(fleet.store, [device_id]))[device_id].presence is Presence.LIVE

    await wait_until(live, PATIENCE_S)

    async def reported() -> bool:
        found = await readings.get(fleet.store, device_id)
        return {"temperature_c", "rssi_dbm", "heap_bytes", "uptime_ms"} <= found.keys()

    await wait_until(reported, PATIENCE_S)
    result = await commands.send(fleet.store, device_id, {"action": "identify", "for_ms": 3_000})
    assert result is not None
    assert (result["ok"], result["data"]) == (True, {"for_ms": 3_000})
    await board.line("light: identify")
    result = await commands.send(fleet.store, device_id, {"action": "gpio", "arguments": {"pin": 6, "value": 1}})
    assert result is not None
    assert (result["ok"], result["error"]) == (False, "pin 6 of this ESP32 cannot be switched")
    board.signal(signal.SIGSTOP)

    async def silent() -> bool:
        found = (await presence.read_presence(fleet.store, [device_id]))[device_id]
        return (found.presence, found.reason) == (Presence.OFFLINE, Reason.SILENT)

    await wait_until(silent, PATIENCE_S)
    board.signal(signal.SIGCONT)
    await wait_until(live, PATIENCE_S)


async def a_lamp_that_is_not_registered_is_told_so_and_its_light_is_not_green(
    fleet: Fleet, start: Start, boards: Boards
) -> None:
    gateway = await start(name="strict")
    board = boards(gateway=gateway.url, token="anything")
    board.world("id", "0000000000ff")
    board.power_on()
    await board.line(r"link: the lamp is not registered \(4004: no device with id 0000000000ff is registered\)")
    await board.line("light: no gateway")
    impostor = boards(gateway=gateway.url, token="guessed")
    device, _ = await fleet.add("lamp-2", 2)
    impostor.world("id", device.id)
    impostor.power_on()
    await impostor.line(r"link: the gateway does not accept the token \(4001: this is not a token of lamp-2\)")


async def three_lamps_of_two_rooms_show_each_their_own(fleet: Fleet, start: Start, boards: Boards) -> None:
    gateway = await start(name="common")
    lamps = [await lamp_of(fleet, boards, gateway.url, number) for number in (3, 4)]
    third = await lamp_of(fleet, boards, gateway.url, 5, "attic")
    await wait_until(lambda: shows(third, red=1.0), PATIENCE_S)
    await wait_until(lambda: all(shows(one, green=0.8, orange=0.2) for one in lamps), PATIENCE_S)


async def a_gateway_that_restarts_has_its_lamps_back_soon(fleet: Fleet, start: Start, boards: Boards) -> None:
    gateway = await start(name="restarting")
    board = await lamp_of(fleet, boards, gateway.url, 6)
    await board.line("light: level")
    await gateway.stop()
    await board.line(r"link: the gateway closed the connection \(1012: restarting; retry_after_ms=\d+\)", board.at)
    await start(name="restarted", port=gateway.port)
    await board.line("link: connected as lamp-6", board.at)
    await wait_until(lambda: shows(board, green=0.8, orange=0.2), PATIENCE_S)


# A gateway that is killed and frozen


@asynccontextmanager
async def process(redis_url: str, port: int = 0) -> AsyncIterator[tuple[Process, int]]:
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.firmware.gateway", redis_url, str(port), cwd=ROOT, stdout=PIPE
    )
    try:
        assert gateway.stdout is not None
        async with asyncio.timeout(60):
            taken = int(await gateway.stdout.readline())
        yield gateway, taken
    finally:
        if gateway.returncode is None:
            gateway.kill()
        await gateway.wait()


async def a_lamp_goes_late_then_stale_then_fresh_with_its_gateway(fleet: Fleet, redis_url: str, boards: Boards) -> None:
    async with process(redis_url) as (gateway, port):
        board = await lamp_of(fleet, boards, f"ws://127.0.0.1:{port}", 7)
        await wait_until(lambda: shows(board, green=0.8, orange=0.2), PATIENCE_S)
        before = board.said
        gateway.send_signal(signal.SIGSTOP)
        # Late: the level rises, before anything else is shown.
        await wait_until(lambda: has_shown(board, before, green=0.7, orange=0.3), PATIENCE_S)
        await board.line("light: stale", board.at)
        assert not [line for line in board.lines if "said nothing" in line]
        await board.line("link: the gateway said nothing for 5 s", board.at)
        await board.line("light: no gateway", board.at)
        gateway.send_signal(signal.SIGCONT)
        await board.line("link: connected as lamp-7", board.at)
        await board.line("light: level", board.at)
        gateway.kill()
        await board.line("link: the connection broke", board.at)
        await board.line("light: no gateway", board.at)
    async with process(redis_url, port):
        with promised(10):
            await board.line("light: level", board.at)
    assert board.starts == 1


@pytest.mark.timeout(300)
async def test_lamps_on_a_gateway_that_changes(
    fleet: Fleet, start: Start, redis_url: str, boards: Boards, tmp_path: Path
) -> None:
    """All at once: what is slow about them is waiting."""
    await fleet.set_up({"hall": "wan", "attic": "lan", "study": "vpn"}, ["wan", "lan", "vpn"])
    assert len({shard_of(group, fleet.store.shards) for group in ("wan", "lan", "vpn")}) == 3
    await fleet.publish(100, "lan")
    await fleet.publish(10, "vpn")
    await asyncio.gather(
        firmware_is_updated_from_the_command_line(fleet, start, boards, redis_url, tmp_path),
        a_registered_lamp_shows_the_level_of_its_room_and_follows_it(fleet, start, boards),
        the_fleet_knows_what_a_lamp_is_and_what_it_reports(fleet, start, boards),
        a_lamp_that_is_not_registered_is_told_so_and_its_light_is_not_green(fleet, start, boards),
        three_lamps_of_two_rooms_show_each_their_own(fleet, start, boards),
        a_gateway_that_restarts_has_its_lamps_back_soon(fleet, start, boards),
        a_lamp_goes_late_then_stale_then_fresh_with_its_gateway(fleet, redis_url, boards),
    )
