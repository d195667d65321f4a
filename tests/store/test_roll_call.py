"""A roll call says the same of every device as asking for each of them."""

from __future__ import annotations

from espfleet.domain.devices import Dialect, Presence, Reason
from espfleet.store import presence
from espfleet.store.client import Store
from espfleet.store.presence import Session
from espfleet.store.roll_call import those_there
from tests.conftest import wait_until

LIVE, LATE, WENT, SILENT, NEVER = (f"00000000000{number}" for number in range(5))


async def come(store: Store, device_id: str, watchdog_ms: int = 60_000) -> None:
    began = Session(
        session_id=device_id, gateway="gateway-1", watchdog_ms=watchdog_ms, peer="127.0.0.1:1", dialect=Dialect.V1
    )
    await presence.came(store, device_id, began)


async def test_all_that_are_there_answer_and_nobody_else(store: Store) -> None:
    assert await those_there(store) == {}
    await come(store, SILENT, watchdog_ms=50)
    for device_id in (LIVE, LATE, WENT):
        await come(store, device_id)
    await presence.changed(store, LATE, LATE, Presence.LATE, Reason.SILENT)
    await presence.went(store, WENT, WENT, Reason.CLOSED)

    async def silence() -> bool:
        # Its key and its place among those who are due may end a millisecond apart.
        (asked,) = (await presence.read_presence(store, [SILENT])).values()
        return asked.presence is Presence.OFFLINE and SILENT not in await those_there(store)

    await wait_until(silence)
    there = await those_there(store)
    assert there == {LIVE: Presence.LIVE, LATE: Presence.LATE}
    asked = await presence.read_presence(store, [LIVE, LATE, WENT, SILENT, NEVER])
    assert {
        device_id: one.presence for device_id, one in asked.items() if one.presence is not Presence.OFFLINE
    } == there
