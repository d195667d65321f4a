"""What people do past the workers is written down: once each, with who, and only when something was done."""

from __future__ import annotations

from espfleet.domain.actors import Actor
from espfleet.domain.points import Point
from espfleet.services import by_hand, devices
from espfleet.store import audit, points
from espfleet.store.client import Store


async def written(store: Store) -> list[tuple[str, str]]:
    """Return what was written down since the fleet was set up, newest first."""
    found = await audit.latest(store)
    return [(entry.action, entry.actor.name) for entry in found if entry.action != "change"]


async def test_who_locks_and_unlocks_a_board_is_written_down(store: Store) -> None:
    await devices.register(store, device_id="3c71bff93720", name="porch", now_ms=1)
    with audit.acting_as(Actor("web", "mia")):
        assert await by_hand.lock(store, name="porch", purpose="request", ttl_ms=60_000)
    with audit.acting_as(Actor("cli", "tom")):
        assert not await by_hand.lock(store, name="porch", purpose="request", ttl_ms=60_000)
        assert await by_hand.unlock(store, name="3c71bff93720", purpose="request")
        assert not await by_hand.unlock(store, name="porch", purpose="request")
    assert await written(store) == [("unlock", "tom"), ("lock", "mia")]
    (newest, _) = [entry for entry in await audit.latest(store) if entry.action != "change"]
    assert newest.details == {"device": "porch", "purpose": "request"}


async def test_who_gives_metrics_up_is_written_down(store: Store) -> None:
    await points.append(store, [Point("esp32.f", 1.0, 1)])
    await points.make_group(store)
    (entry,) = await points.read(store, "steward", 10)
    with audit.acting_as(Actor("web", "mia")):
        assert await by_hand.give_up(store, entry_ids=[entry.entry_id]) == 1
        assert await by_hand.give_up(store, entry_ids=[entry.entry_id]) == 0
    assert await written(store) == [("give up", "mia")]
