"""Commands reach the device they are for, wherever it is connected, and its answer comes back."""

from __future__ import annotations

import asyncio
from typing import Any

from espfleet.domain.devices import Reason
from espfleet.store import commands, presence
from tests.conftest import wait_until
from tests.gateway.conftest import SOON_LATE, Fleet, Gateway, Lamp, Start, lamp_of


async def obey(lamp: Lamp, **answer: Any) -> dict[str, Any]:
    """Return the next command after answering it."""
    command = await lamp.until(type="command")
    await lamp.send("result", id=command["id"], **answer)
    return command


async def test_a_command_is_passed_on_and_its_result_comes_back(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    wish = {"action": "gpio", "arguments": {"pin": 4, "value": 1}, "expires_ms": 2_000}
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.receive()
        result, command = await asyncio.gather(
            commands.send(fleet.store, device.id, wish), obey(lamp, ok=True, data={"pin": 4})
        )
        assert command.pop("id")
        assert command == {"type": "command", **wish}
        assert result is not None
        assert (result["ok"], result["data"]) == (True, {"pin": 4})


async def test_arguments_may_stand_beside_the_action(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.receive()
        result, command = await asyncio.gather(
            commands.send(fleet.store, device.id, {"action": "identify", "for_ms": 500}),
            obey(lamp, ok=False, error="not now"),
        )
        assert (command["arguments"], command["expires_ms"]) == ({"for_ms": 500}, 5_000)
        assert result is not None
        assert (result["ok"], result["error"]) == (False, "not now")


async def test_a_command_finds_its_device_among_gateways(fleet: Fleet, gateway: Gateway, start: Start) -> None:
    second = await start(name="second")
    porch, roof = await fleet.add("porch", 1), await fleet.add("roof", 2)
    async with lamp_of(gateway, *porch) as first_lamp, lamp_of(second, *roof) as second_lamp:
        await first_lamp.receive()
        await second_lamp.receive()
        result, command = await asyncio.gather(
            commands.send(fleet.store, roof[0].id, {"action": "identify"}), obey(second_lamp, ok=True)
        )
        assert command["action"] == "identify"
        assert result is not None
        assert result["ok"]


async def test_a_result_that_comes_too_late_or_for_nothing_is_dropped(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.receive()
        await lamp.send("result", id="never-sent", ok=True)
        sending = asyncio.create_task(
            commands.send(fleet.store, device.id, {"action": "identify", "expires_ms": 1_000}, timeout_ms=3_000)
        )
        command = await lamp.until(type="command")
        await asyncio.sleep(1.5)
        await lamp.send("result", id=command["id"], ok=True)
        assert await sending is None


async def test_a_command_to_a_late_device_is_answered_by_the_gateway(fleet: Fleet, start: Start) -> None:
    gateway = await start(**SOON_LATE)
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.receive()

        async def late() -> bool:
            # By now it may be offline; the connection stays.
            return (await presence.read_presence(fleet.store, [device.id]))[device.id].reason is Reason.SILENT

        await wait_until(late)
        result = await commands.send(fleet.store, device.id, {"action": "identify"})
        assert result is not None
        assert (result["ok"], result["error"]) == (False, "porch is connected but does not answer")


async def test_a_command_to_nobody_is_nobodys(fleet: Fleet, gateway: Gateway) -> None:
    assert await commands.send(fleet.store, "00000000dead", {"action": "identify"}, timeout_ms=200) is None
