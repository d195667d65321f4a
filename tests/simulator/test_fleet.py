from __future__ import annotations

import asyncio
import socket

import pytest

from espfleet.domain.light import Link
from espfleet.errors import ConflictError, InvalidError, NotFoundError, StartError
from espfleet.simulator.fleet import Simulator
from espfleet.simulator.specs import LampSpec, hardware_id, new_lamps
from tests.conftest import wait_until
from tests.simulator.conftest import FakeGateway, get, running

LAMPS = [LampSpec(id=lamp.id, name=lamp.name, token=f"token-{lamp.name}") for lamp in new_lamps(50)]


async def test_fifty_lamps_live_in_one_process(gateway: FakeGateway) -> None:
    async with running(LAMPS, gateway.url) as simulator:
        await wait_until(lambda: all(look.link == Link.CONNECTED for look in simulator.looks()))
        assert {hello.id: hello.token for hello in gateway.hellos} == {lamp.id: lamp.token for lamp in LAMPS}
        assert len({look.address for look in simulator.looks()}) == 50
        for look in simulator.looks()[:5]:
            assert (await get(look.address, "/"))[0] == 200


async def test_stopping_closes_connections_properly_and_frees_the_ports(gateway: FakeGateway) -> None:
    lamps = LAMPS[:3]
    async with running(lamps, gateway.url) as simulator:
        await wait_until(lambda: all(look.link == Link.CONNECTED for look in simulator.looks()))
        addresses = [look.address for look in simulator.looks()]
    await wait_until(lambda: len(gateway.closed) == 3)
    assert set(gateway.closed.values()) == {1001}
    for address in addresses:
        host, _, port = address.rpartition(":")
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind((host, int(port)))


async def test_being_cancelled_is_stopping_too(gateway: FakeGateway) -> None:
    simulator = Simulator(LAMPS[:2], gateway.url)
    task = asyncio.create_task(simulator.run())
    await wait_until(lambda: len(gateway.hellos) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_until(lambda: set(gateway.closed.values()) == {1001})
    assert not [other for other in asyncio.all_tasks() if other.get_name().startswith("lamp ")]


async def test_a_port_that_is_taken_is_named(gateway: FakeGateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        lamp = LampSpec(id=hardware_id(1), name="porch", port=port)
        with pytest.raises(StartError, match=f"'porch' cannot serve its pages on 127.0.0.1:{port}"):
            await Simulator([lamp], gateway.url).run()


async def test_two_lamps_cannot_be_the_same() -> None:
    with pytest.raises(ConflictError, match="same id or name"):
        Simulator([LAMPS[0], LAMPS[0]], "ws://127.0.0.1:9")


async def test_a_url_that_is_no_gateway_is_refused_before_anything_runs() -> None:
    with pytest.raises(InvalidError, match="not the URL of a gateway"):
        Simulator(LAMPS[:1], "http://127.0.0.1")


async def test_a_lamp_is_found_by_id_or_name_and_a_wrong_name_gets_a_suggestion() -> None:
    simulator = Simulator(LAMPS[:2], "ws://127.0.0.1:9")
    assert simulator.look("lamp-1").id == simulator.look(LAMPS[0].id).id == LAMPS[0].id
    with pytest.raises(NotFoundError, match="did you mean 'lamp-"):
        simulator.look("lamb-1")


async def test_what_a_stopped_gateway_leaves_is_seen_on_every_lamp(gateway: FakeGateway) -> None:
    gateway.lease_ms = 100
    async with running(LAMPS[:10], gateway.url) as simulator:
        await wait_until(lambda: all(look.link == Link.CONNECTED for look in simulator.looks()))
        await gateway.close()
        await wait_until(lambda: {look.word for look in simulator.looks()} == {"no gateway"})
        assert all(look.channels.green < 0.01 for look in simulator.looks())
        await gateway.open()
