"""A machine with the primary of Redis is cut off, with a whole fleet on each side of the cut."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from redis import Redis

from espfleet.domain.devices import Device, Presence
from espfleet.domain.rooms import new_room
from espfleet.domain.tokens import hash_token, new_token
from espfleet.errors import StoreError, StoreUnavailableError
from espfleet.services import rooms, simulated, targets
from espfleet.store import presence, registry
from espfleet.store.binaries import find_server
from espfleet.store.client import Store, open_store
from espfleet.store.registry import Change
from tests.conftest import wait_until
from tests.machines.hosts import REDIS_PORT, Machines, bare_machines, serve_redis
from tests.machines.lamps import Lamp

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(240)]

PORT = "5700"
SENTINEL_PORT = 26_400
#: The old side has the primary; the new side and a third machine are the majority.
OLD, NEW, THIRD = "old", "new", "third"
#: As docs/redis.md advises: a primary that no replica follows takes no writes.
SAFE = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2", "--repl-diskless-sync-delay", "0")
#: At the end of a test nobody waits for replicas that have gone.
SHORT = ("--shutdown-timeout", "0")


class Lab:
    """Three machines, on two of which a whole fleet runs with a lamp."""

    def __init__(self, machines: Machines, folder: Path) -> None:
        self.machines = machines
        self.lamps: dict[str, Lamp] = {}
        self.devices: dict[str, Device] = {}
        self.sockets = {name: folder / f"{name}.sock" for name in machines.hosts}
        self.sentinels = {name: folder / f"{name}-sentinel.sock" for name in machines.hosts}
        hosts = ",".join(f"{host.address}:{SENTINEL_PORT}" for host in machines.hosts.values())
        self._url = f"redis+sentinel://{hosts}/fleet/0"

    def serve(self, name: str) -> None:
        """Run a Redis and a Sentinel on a machine."""
        host, primary = self.machines.hosts[name], self.machines.hosts[OLD].address
        follows = () if name == OLD else ("--replicaof", primary, str(REDIS_PORT))
        # Whoever takes over shall be the one that this process can ask.
        follows += ("--replica-priority", "0") if name == THIRD else ()
        serve_redis(host, self.sockets[name], *SAFE, *SHORT, *follows)
        settings = host.folder / f"{name}.conf"
        settings.write_text(
            f"sentinel monitor fleet {primary} {REDIS_PORT} 2\n"
            "sentinel down-after-milliseconds fleet 1000\nsentinel failover-timeout fleet 5000\n"
        )
        where = ("--bind", host.address, "--port", str(SENTINEL_PORT), "--unixsocket", str(self.sentinels[name]))
        host.run(find_server(), str(settings), "--sentinel", *where, "--protected-mode", "no")

    def run_fleet(self, name: str, token: str) -> None:
        """Run all workers on a machine, and its lamp."""
        host = self.machines.hosts[name]
        for worker in ("prober", "leveler"):
            host.worker(worker, self._url)
        host.worker("gateway", self._url, SERVER_HOST=host.address, SERVER_PORT=PORT)
        self.lamps[name] = Lamp(host, f"ws://{host.address}:{PORT}/lamp", self.devices[name].id, token)

    def shows_a_level(self, name: str) -> bool:
        return self.lamps[name].told().get("state") == "ok"

    def store(self, name: str) -> contextlib.AbstractAsyncContextManager[Store]:
        """Open the Redis of one machine, wherever the cables are."""
        return open_store(f"unix://{self.sockets[name]}", name="test", retries=0)


async def role_of(store: Store) -> str:
    return str((await store.redis.info("replication"))["role"])


async def followers(store: Store) -> int:
    return int((await store.redis.info("replication"))["connected_slaves"])


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    with bare_machines(tmp_path, OLD, NEW, THIRD) as made:
        lab = Lab(made, tmp_path)
        for name in made.hosts:
            lab.serve(name)
        sockets = [*lab.sockets.values(), *lab.sentinels.values()]
        await wait_until(lambda: all(socket.exists() for socket in sockets))
        async with AsyncExitStack() as stack:
            await wait_until(lambda: is_followed(lab))
            store = await stack.enter_async_context(lab.store(OLD))
            # Each side can measure this on its own, so it looks well to both.
            await targets.add(store, name="here", address="127.0.0.1", interval_ms=200, preset="lan")
            await rooms.add(store, name="hall", group="default")
            tokens = {name: new_token() for name in (OLD, NEW)}
            for number, (name, token) in enumerate(tokens.items()):
                lab.devices[name] = Device(
                    id=f"{number + 7:012x}", name=name, room="hall", token_hashes=(hash_token(token),)
                )
            await simulated.enlist(store, list(lab.devices.values()))
        for name, token in tokens.items():
            lab.run_fleet(name, token)
        # Those that are not known when the cable is pulled are never found.
        await wait_until(lambda: are_known(lab))
        yield lab


async def is_followed(lab: Lab) -> bool:
    """Return whether the primary has both replicas, without which it takes no writes."""
    with contextlib.suppress(StoreError):
        async with lab.store(OLD) as store:
            return await followers(store) == 2
    return False


def are_known(lab: Lab) -> bool:
    """Return whether each Sentinel knows both others and both replicas, which it asks for every ten seconds only."""
    for socket in lab.sentinels.values():
        with contextlib.closing(Redis(unix_socket_path=str(socket))) as client:
            known = client.execute_command("SENTINEL", "MASTER", "fleet")
        if (int(known[b"num-other-sentinels"]), int(known[b"num-slaves"])) != (2, 2):
            return False
    return True


async def changed(store: Store, room: str) -> None:
    await registry.change(store, lambda _: [Change("rooms", room, new_room(room).to_dict())])


async def refuses(store: Store) -> bool:
    """Return whether nothing can be changed; before that, it is lost."""
    try:
        await changed(store, "lost")
    except StoreUnavailableError:
        return True
    return False


async def test_a_side_that_is_cut_off_shows_nothing_as_well_and_the_other_goes_on_and_loses_nothing(lab: Lab) -> None:
    await wait_until(lambda: lab.shows_a_level(OLD) and lab.shows_a_level(NEW), 60)
    async with lab.store(OLD) as old:
        await changed(old, "before")
        await old.do("WAIT", 2, 5_000)

        lab.machines.cut(OLD)
        # Its gateway, leveler, prober and Redis still reach one another; but what they say could be lost.
        await wait_until(lambda: refuses(old))
        await wait_until(lambda: lab.lamps[OLD].told().get("state") == "unknown")
        told_until = len(lab.lamps[OLD].all_told())

    async def taken_over() -> bool:
        with contextlib.suppress(StoreError):
            async with lab.store(NEW) as store:
                return await role_of(store) == "master" and await followers(store) == 1
        return False

    await wait_until(taken_over, 40)
    async with lab.store(NEW) as new:
        await changed(new, "after")
        await wait_until(lambda: lab.shows_a_level(NEW), 40)

        async def one_is_there() -> bool:
            found = await presence.read_presence(new, [lab.devices[name].id for name in (OLD, NEW)])
            return [found[lab.devices[name].id].presence for name in (OLD, NEW)] == [Presence.OFFLINE, Presence.LIVE]

        await wait_until(one_is_there, 40)
        assert not [one for one in lab.lamps[OLD].all_told()[told_until:] if one.get("state") == "ok"]
        assert lab.lamps[OLD].told()["state"] == "unknown"

        lab.machines.mend(OLD)
        await wait_until(lambda: lab.shows_a_level(OLD) and lab.shows_a_level(NEW), 60)
        assert {"before", "after"} <= set((await registry.load(new)).rooms)
        assert "lost" not in (await registry.load(new)).rooms

        async def both_are_there() -> bool:
            found = await presence.read_presence(new, [lab.devices[name].id for name in (OLD, NEW)])
            return all(one.presence is Presence.LIVE for one in found.values())

        await wait_until(both_are_there, 60)
