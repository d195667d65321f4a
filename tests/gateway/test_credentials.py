"""Tokens: rotated without losing a device, and ended everywhere at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
import requests

from espfleet.domain.devices import Device, Dialect, Presence
from espfleet.domain.tokens import hash_token
from espfleet.errors import RefusedError
from espfleet.services import device_tokens, devices, tokens
from espfleet.store import presence, registry
from tests.conftest import wait_until
from tests.gateway.conftest import Fleet, Gateway, Lamp, Start, dialled, lamp_of
from tests.own_time import own_s
from tests.web.serving import Web, serving

NOW_MS = 1_700_000_000_000
#: Within so long what has ended ends everywhere (docs/promises.md).
PROMISED_S = 1.0


async def hashes(fleet: Fleet, device_id: str) -> tuple[str, ...]:
    return (await registry.load(fleet.store)).device(device_id).token_hashes


async def come(fleet: Fleet, lamp: Lamp, device: Device) -> None:
    """Wait until the whole fleet knows that a lamp is there."""
    await lamp.until(type="welcome")

    async def live() -> bool:
        return (await presence.read_presence(fleet.store, [device.id]))[device.id].presence is Presence.LIVE

    await wait_until(live)


async def obey(lamp: Lamp, **answer: Any) -> Any:
    """Return the arguments of the next command after answering it."""
    command = await lamp.until(type="command")
    await lamp.send("result", id=command["id"], **answer)
    assert command["action"] == "settings"
    return command["arguments"]


async def test_a_device_is_handed_another_token_and_the_old_one_ends_when_it_has_used_it(
    fleet: Fleet, start: Start
) -> None:
    gateway, other = await start(), await start(name="second")
    device, old = await fleet.add("porch")
    async with lamp_of(gateway, device, old) as lamp:
        await come(fleet, lamp, device)
        _, given = await asyncio.gather(
            device_tokens.rotate(fleet.store, name="porch", now_ms=NOW_MS), obey(lamp, ok=True, data={"restart": True})
        )
        new = given["token"]
        assert await hashes(fleet, device.id) == (hash_token(old), hash_token(new))
    # Both are valid, also where the lamp was not.
    async with lamp_of(other, device, old) as lamp:
        await lamp.until(type="welcome")
    async with lamp_of(gateway, device, new) as lamp:
        await lamp.until(type="welcome")

        async def settled() -> bool:
            return await hashes(fleet, device.id) == (hash_token(new),)

        await wait_until(settled)
        await fleet.publish(64)
        await lamp.until(level=64)

        async def refused_elsewhere() -> bool:
            async with lamp_of(other, device, old) as thief:
                with contextlib.suppress(TimeoutError):
                    return (await thief.closed(1.0))[0] == 4001
            return False

        await wait_until(refused_elsewhere)


async def test_a_session_with_the_old_token_ends_when_the_new_one_is_used(fleet: Fleet, start: Start) -> None:
    gateway, other = await start(), await start(name="second")
    device, old = await fleet.add("porch")
    _, new = await device_tokens.add(fleet.store, name="porch")
    async with lamp_of(gateway, device, old) as thief:
        await thief.until(type="welcome")
        async with lamp_of(other, device, new) as lamp:
            await lamp.until(type="welcome")
            assert (await thief.closed())[0] in (4001, 4002)


async def test_a_device_that_refuses_another_token_keeps_the_one_it_has(fleet: Fleet, gateway: Gateway) -> None:
    device, old = await fleet.add("porch")
    async with lamp_of(gateway, device, old) as lamp:
        await come(fleet, lamp, device)
        with pytest.raises(RefusedError, match="the flash is full; its token stays what it was"):
            await asyncio.gather(
                device_tokens.rotate(fleet.store, name="porch", now_ms=NOW_MS),
                obey(lamp, ok=False, error="the flash is full"),
            )
        assert await hashes(fleet, device.id) == (hash_token(old),)


async def test_a_device_that_is_away_or_speaks_another_dialect_keeps_the_one_it_has(fleet: Fleet) -> None:
    device, old = await fleet.add("porch")
    with pytest.raises(RefusedError, match="cannot be told"):
        await device_tokens.rotate(fleet.store, name="porch", now_ms=NOW_MS)
    assert await hashes(fleet, device.id) == (hash_token(old),)
    await fleet.add("old", 2, dialect=Dialect.PINGLAMP)
    with pytest.raises(RefusedError, match="rotate_token --show"):
        await device_tokens.rotate(fleet.store, name="old", now_ms=NOW_MS)


async def test_where_no_answer_comes_both_stay_valid(
    fleet: Fleet, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_tokens, "_TIMEOUT_MS", 200)
    device, old = await fleet.add("porch")
    async with lamp_of(gateway, device, old) as lamp:
        await come(fleet, lamp, device)
        with pytest.raises(RefusedError, match="both tokens are valid"):
            await device_tokens.rotate(fleet.store, name="porch", now_ms=NOW_MS)
    assert len(await hashes(fleet, device.id)) == 2
    # However often that happens, there are never more than three, and the one it has is among them.
    for _ in range(3):
        await device_tokens.add(fleet.store, name="porch")
    assert len(await hashes(fleet, device.id)) == 3
    assert (await hashes(fleet, device.id))[0] == hash_token(old)


async def test_a_device_may_be_handed_tokens_again_and_again_while_it_stays_connected(
    fleet: Fleet, gateway: Gateway
) -> None:
    device, old = await fleet.add("porch")
    async with lamp_of(gateway, device, old) as lamp:
        await come(fleet, lamp, device)
        for _ in range(3):
            _, given = await asyncio.gather(
                device_tokens.rotate(fleet.store, name="porch", now_ms=NOW_MS),
                obey(lamp, ok=True, data={"restart": True}),
            )
            assert (await hashes(fleet, device.id))[0] == hash_token(old)
    async with lamp_of(gateway, device, given["token"]) as lamp:
        await lamp.until(type="welcome")

    async def settled() -> bool:
        return await hashes(fleet, device.id) == (hash_token(given["token"]),)

    await wait_until(settled)


class Feed:
    """Somebody who looks at the live feed."""

    def __init__(self, web: Web, token: str) -> None:
        self._answer = requests.get(
            f"{web.url}/api/live", headers={"Authorization": f"Bearer {token}"}, stream=True, timeout=30
        )
        assert self._answer.status_code == 200
        self._lines = self._answer.iter_lines()
        next(self._lines)

    def until_over(self) -> None:
        """Read until the server ends it."""
        for _ in self._lines:
            pass
        self._answer.close()


async def test_a_token_that_is_removed_ends_everywhere_at_once(fleet: Fleet, start: Start) -> None:
    gateways = [await start(), await start(name="second")]
    await tokens.add(fleet.store, name="boss", role="admin", now_ms=1)
    token = await tokens.add(fleet.store, name="laptop", role="operator", now_ms=1)
    device, device_token = await fleet.add("porch")
    async with AsyncExitStack() as stack:
        web = await stack.enter_async_context(serving(fleet.store))
        other_web = await stack.enter_async_context(serving(fleet.store))
        viewers = [await stack.enter_async_context(dialled(one, "/watch")) for one in gateways]
        for viewer in viewers:
            await viewer.send("watch", token=token, devices="*")
            await viewer.until(type="watching")
        lamp = await stack.enter_async_context(lamp_of(gateways[1], device, device_token))
        await lamp.until(type="welcome")
        cookie = {"Cookie": f"espfleet_token={token}"}
        assert (await web.send("GET", "/api/rooms", headers=cookie)).status_code == 200
        feeds = [await asyncio.to_thread(Feed, one, token) for one in (web, other_web)]
        reading = [asyncio.create_task(asyncio.to_thread(feed.until_over)) for feed in feeds]
        over_s: list[float] = []
        for one in reading:
            one.add_done_callback(lambda _: over_s.append(own_s()))
        began_s = own_s()
        await tokens.remove(fleet.store, name="laptop")
        assert (await web.send("GET", "/api/rooms", headers=cookie)).status_code == 401
        assert (await other_web.send("GET", "/api/rooms", headers=cookie)).status_code == 401
        for viewer in viewers:
            assert (await viewer.closed())[0] == 4001
        await devices.unregister(fleet.store, name="porch")
        assert (await lamp.closed())[0] == 4004
        await asyncio.wait_for(asyncio.gather(*reading), 30)
        await wait_until(lambda: len(over_s) == 2)
        assert max(over_s) - began_s < PROMISED_S


async def test_the_old_token_of_a_rotation_ends_at_open_doors_too(fleet: Fleet, gateway: Gateway) -> None:
    await tokens.add(fleet.store, name="boss", role="admin", now_ms=1)
    old = await tokens.add(fleet.store, name="laptop", role="viewer", now_ms=1)
    new = await tokens.rotate(fleet.store, name="laptop", now_ms=2, keep_s=3_600)
    async with dialled(gateway, "/watch") as viewer, dialled(gateway, "/watch") as newer:
        for one, token in ((viewer, old), (newer, new)):
            await one.send("watch", token=token, devices="*")
            await one.until(type="watching")
        # What the steward does twice a second.
        await tokens.end_old(fleet.store, now_ms=3_600_002)
        assert (await viewer.closed())[0] == 4001
        await fleet.publish(65)
        await newer.until(type="level", level=65)


async def test_a_fleet_has_no_secret_of_its_own(fleet: Fleet, gateway: Gateway) -> None:
    assert await tokens.holders(fleet.store) == []
    device, _ = await fleet.add("porch")
    for guess in ("", "admin", "password", "espfleet", hash_token("x"), device.token_hashes[0]):
        async with dialled(gateway) as lamp:
            await lamp.socket.send(json.dumps({"type": "hello", "protocol": 1, "id": device.id, "token": guess}))
            assert (await lamp.closed())[0] == 4001
