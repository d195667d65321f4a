"""Numbers that devices report."""

from __future__ import annotations

from espfleet.store import readings
from espfleet.store.client import Store
from espfleet.store.readings import Reading

ID = "3c71bff93720"


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
