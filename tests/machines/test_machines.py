"""One fleet on five machines, which know nothing of each other but the address of Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from espfleet.domain.devices import Device, Presence
from espfleet.domain.tokens import hash_token, new_token
from espfleet.services import rooms, simulated, targets
from espfleet.store import levels, presence, workers
from espfleet.store.client import Store, open_store
from tests.conftest import wait_until
from tests.machines.hosts import Machines, machines
from tests.machines.lamps import Lamp

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

PORT = "5700"
TARGETS = 4


class Lab:
    """A fleet on machines, with one lamp that watches one target."""

    def __init__(self, machines: Machines, store: Store, device: Device, lamp: Lamp) -> None:
        self._lamp = lamp
        self.machines = machines
        self.store = store
        self.device = device

    def told(self) -> dict[str, object]:
        """Return the last thing that the lamp was told."""
        return self._lamp.told()

    def shows_a_level(self) -> bool:
        return self.told().get("state") == "ok"

    async def presence(self) -> Presence:
        return (await presence.read_presence(self.store, [self.device.id]))[self.device.id].presence

    async def probers(self) -> list[int]:
        """Return how many targets each prober says are its own."""
        return [info["targets"] for info in (await workers.alive(self.store, "prober")).values()]

    async def whole(self) -> bool:
        """Return whether two probers share the targets, and the lamp shows their level."""
        shares = await self.probers()
        return len(shares) == 2 and sum(shares) == TARGETS and self.shows_a_level()

    async def live(self) -> bool:
        return await self.presence() is Presence.LIVE

    async def offline(self) -> bool:
        return await self.presence() is Presence.OFFLINE


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def built(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    tmp_path = tmp_path_factory.mktemp("machines")
    token = new_token()
    device = Device(id="0" * 11 + "7", name="porch", room="hall", token_hashes=(hash_token(token),))
    with machines(tmp_path, "one", "two", "gateway", "lamp") as made:
        socket = tmp_path / "redis.sock"
        await wait_until(socket.exists)
        # This process reaches Redis by a file: it is on none of the machines.
        async with open_store(f"unix://{socket}", name="test") as store:
            address = made.hosts["redis"].address
            for number in range(TARGETS):
                await targets.add(store, name=f"t{number}", address=address, interval_ms=200, preset="lan")
            await rooms.add(store, name="hall", group="default")
            await simulated.enlist(store, [device])
            for name in ("one", "two"):
                made.hosts[name].worker("prober", made.url)
                made.hosts[name].worker("leveler", made.url)
            host = made.hosts["gateway"]
            host.worker("gateway", made.url, SERVER_HOST=host.address, SERVER_PORT=PORT)
            lamp = Lamp(made.hosts["lamp"], f"ws://{host.address}:{PORT}/lamp", device.id, token)
            yield Lab(made, store, device, lamp)


@pytest_asyncio.fixture(loop_scope="module")
async def lab(built: Lab) -> Lab:
    """Return a fleet that is whole, as each test leaves it."""
    await wait_until(built.whole, 40)
    return built


async def test_a_machine_that_is_cut_off_hands_its_work_to_the_other(lab: Lab) -> None:
    lab.machines.cut("one")

    async def moved() -> bool:
        return await lab.probers() == [TARGETS]

    await wait_until(moved)

    async def fresh() -> bool:
        return len((await levels.read_levels(lab.store)).fresh_shards) == lab.store.shards

    await wait_until(fresh)
    await wait_until(lab.shows_a_level)
    lab.machines.mend("one")
    said = lab.machines.hosts["one"].log.read_text

    try:
        await wait_until(lab.whole)
    except AssertionError as exc:
        raise AssertionError(f"{exc}; it said {said()}") from exc
    assert "Traceback" not in said()


async def test_a_cable_that_is_pulled_makes_the_lamp_offline_and_plugged_in_live_again(lab: Lab) -> None:
    await wait_until(lab.live)
    lab.machines.cut("lamp")
    await wait_until(lab.offline)
    lab.machines.mend("lamp")
    await wait_until(lab.live)
    await wait_until(lab.shows_a_level)


async def test_a_gateway_that_loses_redis_shows_unknown_and_then_the_level_again(lab: Lab) -> None:
    lab.machines.cut("redis")
    await wait_until(lambda: lab.told().get("state") == "unknown")
    lab.machines.mend("redis")
    await wait_until(lab.shows_a_level, 40)
