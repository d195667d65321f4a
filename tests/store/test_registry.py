"""The registry in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest

from espfleet.domain.devices import new_device
from espfleet.domain.registry import Registry
from espfleet.errors import ConflictError, NameTakenError
from espfleet.store import registry
from espfleet.store.client import Store
from espfleet.store.registry import Change


def register(number: int, name: str) -> list[Change]:
    device = new_device(device_id=f"{number:012x}", name=name)
    return [Change("devices", device.id, device.to_dict())]


async def test_a_new_fleet_is_empty(store: Store) -> None:
    assert await registry.load(store) == Registry()


async def test_what_was_written_is_read_again(store: Store) -> None:
    after = await registry.change(store, lambda _: register(1, "porch"))

    assert after.device("porch").id == "000000000001"
    assert await registry.load(store) == after
    assert await registry.version(store) == after.version > 0


async def test_of_a_hundred_at_once_exactly_one_gets_the_name(store: Store) -> None:
    def plan(number: int, before: Registry) -> Sequence[Change]:
        if "porch" in before.device_ids:
            raise NameTakenError("device", "porch", "porch-2")
        return register(number, "porch")

    answers = await asyncio.gather(
        *(registry.change(store, lambda before, n=n: plan(n, before)) for n in range(100)), return_exceptions=True
    )

    assert sum(isinstance(answer, Registry) for answer in answers) == 1
    assert sum(isinstance(answer, NameTakenError) for answer in answers) == 99
    assert len((await registry.load(store)).devices) == 1


async def test_a_write_against_an_old_version_is_refused(store: Store) -> None:
    first = await registry.change(store, lambda _: register(1, "porch"))
    await registry.change(store, lambda _: register(2, "hall"))

    with pytest.raises(ConflictError):
        await registry.apply(store, register(3, "shed"), first.version)
    assert "shed" not in (await registry.load(store)).device_ids


async def test_no_version_is_used_twice_though_the_server_lost_it_and_its_clock_was_set_back(store: Store) -> None:
    ahead = await store.time_ms() * 1_000 + 3_600_000_000
    versions = set()

    def planned(number: int, _: Registry) -> list[Change]:
        return register(number, f"porch-{number}")

    for number in range(20):
        # Each time as it was a second before.
        await store.redis.set(store.keys.version(), ahead)
        versions.add((await registry.change(store, partial(planned, number))).version)
    assert min(versions) > ahead
    assert len(versions) == 20
