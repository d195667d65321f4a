"""Who watches at one gateway is told that lamps of another are gone also while no steward sweeps."""

from __future__ import annotations

from espfleet.store import events, presence
from espfleet.store.presence import Session
from tests.gateway.conftest import Fleet, Gateway, dialled


async def test_a_lamp_whose_gateway_died_is_told_gone_while_no_steward_runs(fleet: Fleet, gateway: Gateway) -> None:
    device, _ = await fleet.add("porch")
    await presence.came(fleet.store, device.id, Session(session_id="1", gateway="dead", watchdog_ms=3_000))
    async with dialled(gateway, "/watch") as viewer:
        await viewer.send("watch", devices="*")
        await viewer.until(type="presence", presence="live")
        told = await viewer.until(type="presence", presence="offline")
        assert (told["name"], told["reason"]) == ("porch", "gateway gone")
        # It was slow, and not dead: no event says that the lamp comes, for it has never gone.
        await presence.refresh(fleet.store, "dead", {device.id: 3_600_000})
        told = await viewer.until(type="presence", presence="live")
        assert (told["name"], told["reason"]) == ("porch", "")
    assert [event.fields["presence"] for event in await events.latest(fleet.store, 10)] == ["live"]
