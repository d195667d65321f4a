"""New firmware through the gateway: offers, pieces, and what is remembered of it."""

from __future__ import annotations

import asyncio
import hmac
from hashlib import sha256
from statistics import median
from typing import Any
from unittest import mock

import pytest

from espfleet.domain.messages import Fetch
from espfleet.domain.releases import Release, new_release
from espfleet.errors import StoreUnavailableError
from espfleet.gateway.commands import Commands
from espfleet.gateway.updates import Updates
from espfleet.store import commands, releases
from espfleet.store.client import Store
from tests.conftest import wait_until
from tests.gateway.conftest import Fleet, Gateway, Lamp, Start, lamp_of, running
from tests.own_time import own_ms

RELEASE = new_release("0.2.0", {"lamp/app.mpy": bytes(range(256)) * 20, "lamp/ws.mpy": b"ws" * 700})
WHOLE = RELEASE.manifest + RELEASE.data


async def binary(lamp: Lamp, timeout_s: float = 30.0) -> bytes:
    """Return the next binary frame."""
    async with asyncio.timeout(timeout_s):
        while not isinstance(data := await lamp.socket.recv(), bytes):
            pass
        return data


async def piece(lamp: Lamp, at: int, size: int, release: str = RELEASE.id) -> bytes:
    """Ask for a piece and return it."""
    await lamp.send("fetch", release=release, at=at, bytes=size)
    data = await binary(lamp)
    assert int.from_bytes(data[:4], "big") == at
    return data[4:]


async def order(store: Store, device_id: str, release: str = RELEASE.id) -> dict[str, Any] | None:
    command = {"action": "update", "arguments": {"release": release}, "expires_ms": 10_000}
    return await commands.send(store, device_id, command, 10_000)


async def test_a_lamp_is_offered_a_release_with_a_seal_of_its_own(fleet: Fleet, gateway: Gateway) -> None:
    await releases.put(fleet.store, RELEASE)
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.until(type="welcome")
        async with running(order(fleet.store, device.id)) as ordered:
            command = await lamp.until(10, type="command")
            key = hmac.new(token.encode(), b"espfleet update 1", sha256).digest()
            assert command["arguments"] == {
                "release": RELEASE.id,
                "manifest_bytes": len(RELEASE.manifest),
                "hmac": hmac.new(key, RELEASE.manifest, sha256).hexdigest(),
            }
            await lamp.send("result", id=command["id"], ok=True, data={"version": "0.2.0"})
            answer = await ordered
        assert answer is not None
        assert answer["data"] == {"version": "0.2.0"}


async def test_any_gateway_hands_out_any_piece(fleet: Fleet, start: Start) -> None:
    await releases.put(fleet.store, RELEASE)
    device, token = await fleet.add("porch")
    got = b""
    for name in ("one", "two"):
        gateway = await start(name=name)
        async with lamp_of(gateway, device, token) as lamp:
            await lamp.until(type="welcome")
            for _ in range(3):
                got += await piece(lamp, len(got), 1_111)
        await gateway.stop()
    assert got == WHOLE[: len(got)]
    assert len(got) > len(RELEASE.manifest) + 5_000


async def test_the_last_piece_is_shorter_and_beyond_it_there_is_nothing(fleet: Fleet, gateway: Gateway) -> None:
    await releases.put(fleet.store, RELEASE)
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.until(type="welcome")
        assert await piece(lamp, len(WHOLE) - 10, 2_048) == WHOLE[-10:]
        assert await piece(lamp, len(WHOLE), 2_048) == b""


async def test_a_release_that_nobody_has_is_answered_with_nothing(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.until(type="welcome")
        assert await piece(lamp, 0, 512, "0123456789abcdef") == b""
        answer = await order(fleet.store, device.id, "0123456789abcdef")
        assert answer is not None
        assert (answer["ok"], answer["error"]) == (False, "there is no such release (any more)")


async def test_who_asks_again_and_again_for_what_nobody_has_holds_up_nobody(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: list[str] = []
    updates = Updates(store, Commands(lambda device_id, *_: answered.append(device_id), lambda: 0.0), lambda: 0)
    loud, quiet = (mock.Mock(connection=mock.Mock(blocked_s=0.0)) for _ in range(2))
    quiet.device.id = "quiet"

    async def none(*_: object) -> None:
        # It asks anew before it is answered.
        updates.asked(loud, Fetch(release="none", at=0, size=1))
        await asyncio.sleep(0)

    monkeypatch.setattr(releases, "get", none)
    async with running(updates.run()):
        updates.asked(quiet, Fetch(release="other", at=0, size=1))
        updates.asked(loud, Fetch(release="none", at=0, size=1))
        await wait_until(lambda: quiet.connection.send.called)
        updates.offer(quiet, {"id": "c-1", "arguments": {"release": "none"}})
        await wait_until(lambda: answered == ["quiet"])


@pytest.mark.parametrize("fields", [{"bytes": 2_049}, {"bytes": 0}, {"at": -1}, {"at": 10**9}, {"release": "x" * 65}])
async def test_a_piece_that_may_not_be_asked_for_ends_the_connection(
    fleet: Fleet, gateway: Gateway, fields: dict[str, Any]
) -> None:
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.until(type="welcome")
        await lamp.send("fetch", **({"release": RELEASE.id, "at": 0, "bytes": 512} | fields))
        code, reason = await lamp.closed()
        assert code == 4003
        assert reason.split()[0] in fields


async def test_what_a_lamp_tells_of_its_update_is_remembered(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")

    async def known(**fields: Any) -> bool:
        progress = await releases.get_progress(fleet.store, device.id)
        return progress is not None and all(getattr(progress, name) == value for name, value in fields.items())

    standing = {"state": "trial", "slot": "b", "bad": "", "why": ""}
    async with lamp_of(gateway, device, token, firmware="0.2.0", update=standing) as lamp:
        await wait_until(lambda: known(state="trial", slot="b", version="0.2.0"))
        await lamp.send("event", name="update", state="writing", version="0.3.0", done_bytes=10, total_bytes=20)
        await wait_until(lambda: known(state="writing", version="0.3.0", done_bytes=10, total_bytes=20))
        # What makes no sense changes nothing.
        await lamp.send("event", name="update", state="dancing", version="9")
        await lamp.send("event", name="update", state="failed", error=7, done_bytes=-1, total_bytes=10**12)
        await wait_until(lambda: known(state="failed", version="0.3.0", done_bytes=10, error=""))
    standing = {"state": "returned", "slot": "a", "bad": "0.3.0", "why": "it failed at 3 starts"}
    async with lamp_of(gateway, device, token, firmware="0.2.0", update=standing):
        await wait_until(lambda: known(state="returned", slot="a", bad="0.3.0", why="it failed at 3 starts"))


async def test_lamps_that_fetch_slow_nobody_else(fleet: Fleet, gateway: Gateway) -> None:
    """A level that changes reaches another lamp as soon while eight lamps fetch as fast as they may."""
    large = new_release("0.3.0", {f"lamp/m{number}.mpy": bytes([number]) * 20_000 for number in range(10)})
    await releases.put(fleet.store, large)
    watcher, token = await fleet.add("porch", 99)
    fetchers = [await fleet.add(f"lamp-{number}", number) for number in range(1, 9)]
    fetched = [0]

    async def delay_ms(lamp: Lamp, level: int) -> float:
        begun_ms = own_ms()
        await fleet.publish(level)
        await lamp.until(type="level", level=level)
        return own_ms() - begun_ms

    async def fetch(lamp: Lamp) -> None:
        while True:
            await piece(lamp, 2_048 * (fetched[0] % 90), 2_048, large.id)
            fetched[0] += 1
            await asyncio.sleep(1 / 150)

    async with lamp_of(gateway, watcher, token) as lamp, asyncio.TaskGroup() as group, running(lamp.keep_alive(0.5)):
        await lamp.until(type="welcome")
        quiet = [await delay_ms(lamp, level) for level in range(20, 40)]
        stop = asyncio.Event()
        for device, its_token in fetchers:
            group.create_task(_busy(gateway, device, its_token, fetch, stop))
        await wait_until(lambda: fetched[0] > 50)
        busy = [await delay_ms(lamp, level) for level in range(40, 60)]
        before = fetched[0]
        await wait_until(lambda: fetched[0] > before)
        stop.set()
    # Clients and gateway share one process here, so that much of what is measured is the clients themselves.
    assert median(busy) < median(quiet) + 250, (quiet, busy)


async def _busy(gateway: Gateway, device: Any, token: str, fetch: Any, stop: asyncio.Event) -> None:
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.until(type="welcome")
        async with running(fetch(lamp)):
            await stop.wait()


async def test_releases_that_are_fetched_stay_few_in_memory(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    many: list[Release] = [new_release(f"0.2.{number}", {"lamp/app.mpy": bytes(3_000)}) for number in range(6)]
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.until(type="welcome")
        for release in many:
            await releases.put(fleet.store, release)
            assert await piece(lamp, len(release.manifest), 512, release.id) == bytes(512)
        for release in many:
            await fleet.store.do("DEL", fleet.store.keys.release(release.id))
        held = [await piece(lamp, 0, 512, release.id) != b"" for release in many]
    assert held == [False, False, True, True, True, True]


async def test_while_redis_is_away_nothing_is_answered_and_nothing_lost(
    fleet: Fleet, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway answers nothing, as the lamp will ask again; what the lamp told is kept."""
    await releases.put(fleet.store, RELEASE)
    device, token = await fleet.add("porch")
    away, tried = True, [0]
    get, put_progress = releases.get, releases.put_progress

    def may_fail(function: Any) -> Any:
        async def called(*words: Any) -> Any:
            tried[0] += 1
            if away:
                raise StoreUnavailableError("Redis is away")
            return await function(*words)

        return called

    monkeypatch.setattr(releases, "get", may_fail(get))
    monkeypatch.setattr(releases, "put_progress", may_fail(put_progress))
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.until(type="welcome")
        await lamp.send("event", name="update", state="writing", version="0.2.0")
        await lamp.send("fetch", release=RELEASE.id, at=0, bytes=512)
        await wait_until(lambda: tried[0] >= 2)
        with pytest.raises(TimeoutError):
            await binary(lamp, 0.5)
        away = False
        assert await piece(lamp, 512, 100) == WHOLE[512:612]

        async def known() -> bool:
            progress = await releases.get_progress(fleet.store, device.id)
            return progress is not None and progress.state == "writing"

        await wait_until(known)
