"""Numbers that devices report."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from espfleet.domain.shards import shard_of
from espfleet.store import presence, readings
from espfleet.store.client import Store
from espfleet.store.readings import Reading

ID = "3c71bff93720"
#: The beginning of an hour.
NOW_MS = 1_789_999_200_000
DAY_MS = 24 * 3_600_000


async def test_the_latest_of_each_name_is_kept(store: Store) -> None:
    assert await readings.get(store, ID) == {}
    await readings.put(store, ID, {"temperature_c": 21.5, "rssi_dbm": -61}, 1_000)
    await readings.put(store, ID, {"rssi_dbm": -70}, 2_000)
    await readings.put(store, ID, {}, 3_000)
    assert await readings.get(store, ID) == {
        "temperature_c": Reading(21.5, 1_000),
        "rssi_dbm": Reading(-70.0, 2_000),
    }


async def test_a_device_cannot_fill_the_server_with_names(store: Store) -> None:
    await readings.put(store, ID, {f"r{number}": number for number in range(1_000)}, 1_000)
    assert len(await readings.get(store, ID)) == readings.MAX_NAMES
    await readings.put(store, ID, {"one more": 1, "r0": 7}, 2_000)
    found = await readings.get(store, ID)
    assert "one more" not in found
    assert found["r0"] == Reading(7.0, 2_000)


async def told_each_minute(store: Store, minutes: int, values: Callable[[int], dict[str, float]]) -> list[int]:
    times_ms = [NOW_MS + 60_000 * minute + minute % 7 for minute in range(minutes)]
    for minute, at_ms in enumerate(times_ms):
        await readings.put(store, ID, values(minute), at_ms)
    return times_ms


async def test_of_each_minute_the_first_is_kept_exactly(store: Store) -> None:
    times_ms = await told_each_minute(store, 130, lambda minute: {"air.temp": 20 + minute / 7, "rssi_dbm": -minute})
    await readings.put(store, ID, {"air.temp": 99, "rssi_dbm": 99}, times_ms[-1] + 1)
    found = await readings.past(store, ID, "air.temp")
    assert found == [Reading(20 + minute / 7, at_ms) for minute, at_ms in enumerate(times_ms)]
    assert await readings.past(store, ID, "rssi_dbm", times_ms[100]) == [
        Reading(-minute, times_ms[minute]) for minute in range(100, 130)
    ]
    assert await readings.past(store, ID, "nothing") == []


@pytest.mark.parametrize(
    "value",
    [
        *(0, -61, 21.5, 21.43, -0.07, 327.67, 327.68, -327.69),
        *(71_232, 86_400_000, 2**31 - 1, -(2**31), 2**31, 2.0**53),
        *(1013.25, 21.437, 123_456.7, 16_777_217.5, 0.1 + 0.2, 1 / 3, 3.402823e38, 1e300, -1e-300, 1e-9),
    ],
)
async def test_a_number_comes_back_as_it_was_told(store: Store, value: float) -> None:
    await readings.put(store, ID, {"one": value}, NOW_MS + 3_599_999)
    assert await readings.past(store, ID, "one") == [Reading(value, NOW_MS + 3_599_999)]


async def test_a_day_is_kept_and_no_more_and_three_readings_of_a_lamp_take_40_kb(store: Store) -> None:
    times_ms = await told_each_minute(
        store,
        26 * 60,
        lambda minute: {"rssi_dbm": -60 - minute % 9, "heap_bytes": 71_232 + minute, "uptime_ms": 60_000 * minute + 13},
    )
    found = await readings.past(store, ID, "uptime_ms")
    assert [reading.at_ms for reading in found] == [at_ms for at_ms in times_ms if at_ms > times_ms[-1] - DAY_MS]
    key = store.keys.minutes(shard_of(ID, store.shards), ID)
    assert await store.do("HLEN", key) <= 3 * 25
    assert await store.do("MEMORY", "USAGE", key, "SAMPLES", 0) <= 40_000
    assert DAY_MS - 60_000 < await store.do("PTTL", key) <= DAY_MS


async def test_a_device_whose_clock_jumps_cannot_fill_the_server(store: Store) -> None:
    key = store.keys.minutes(shard_of(ID, store.shards), ID)
    for step in range(200):
        await readings.put(store, ID, {"one": 1 / 3}, NOW_MS + 60_000 * (step % 2))
    assert sum(map(len, await store.do("HVALS", key))) <= 60 * 11
    for step in range(200):
        await readings.put(store, ID, {"one": step}, NOW_MS + step * (-1) ** step * 7_200_000)
    assert await store.do("HLEN", key) <= 26


async def test_names_told_around_the_end_of_an_hour_keep_both_hours(store: Store) -> None:
    await readings.put(store, ID, {"early": 1}, NOW_MS + 1)
    await readings.put(store, ID, {"late": 2}, NOW_MS - 1)
    assert await readings.past(store, ID, "early") == [Reading(1, NOW_MS + 1)]
    assert await readings.past(store, ID, "late") == [Reading(2, NOW_MS - 1)]


async def test_what_an_earlier_version_wrote_is_read_until_it_expires(store: Store) -> None:
    key = store.keys.minutes_before(shard_of(ID, store.shards), ID)
    for minute in range(3):
        words = ("air.temp", f"{NOW_MS + 60_000 * minute} {20.5 + minute}", "rssi_dbm", f"{NOW_MS} -61")
        await store.do("XADD", key, "*", *words[: 2 if minute else 4])
    await store.do("PEXPIRE", key, DAY_MS)
    await readings.put(store, ID, {"air.temp": 30}, NOW_MS + 180_000)
    found = await readings.past(store, ID, "air.temp")
    assert [reading.value for reading in found] == [20.5, 21.5, 22.5, 30]
    assert await readings.past(store, ID, "rssi_dbm") == [Reading(-61, NOW_MS)]


async def test_a_device_that_is_forgotten_takes_its_past_along(store: Store) -> None:
    await readings.put(store, ID, {"air.temp": 30}, NOW_MS)
    await presence.forget(store, ID)
    assert await readings.past(store, ID, "air.temp") == []
