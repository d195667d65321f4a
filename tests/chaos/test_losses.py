"""Who is said to have lost a gateway that was there all the time is found, and who did lose one is not."""

from __future__ import annotations

from espfleet.domain.devices import Reason
from espfleet.store.events import Event
from tests.chaos.losses import EXCUSED_S, Losses


def lost(gateway: str, reason: Reason = Reason.GATEWAY) -> Event:
    return Event("1-0", 1, "presence", {"device": "3c71bff93720", "gateway": gateway, "reason": reason.value})


def test_a_loss_of_a_gateway_that_is_well_is_false() -> None:
    losses = Losses()
    assert losses.false([lost("vm-12-af01")], [12, 13], 100.0) == ["3c71bff93720 at vm-12-af01"]
    assert losses.false([lost("vm-12-af01", Reason.SILENT)], [12, 13], 100.0) == []


def test_a_gateway_that_is_dead_or_was_frozen_or_cut_off_was_lost_indeed() -> None:
    losses = Losses()
    assert losses.false([lost("vm-12-af01")], [13], 100.0) == []
    losses.troubled([12], 100.0)
    assert losses.false([lost("vm-12-af01")], [12, 13], 100.0 + EXCUSED_S) == []
    assert losses.false([lost("vm-13-af01")], [12, 13], 100.0 + EXCUSED_S) == ["3c71bff93720 at vm-13-af01"]
    assert losses.false([lost("vm-12-af01")], [12, 13], 100.1 + EXCUSED_S) == ["3c71bff93720 at vm-12-af01"]
    losses.all_troubled(200.0)
    assert losses.false([lost("vm-12-af01"), lost("vm-13-af01")], [12, 13], 200.0) == []


def test_an_outage_that_many_share_names_no_lamp_and_is_passed_over() -> None:
    outage = Event("1-0", 1, "outage", {"what": "gateway", "name": "vm-12-af01", "reason": Reason.GATEWAY.value})
    assert Losses().false([outage, lost("vm-12-af01")], [12], 100.0) == ["3c71bff93720 at vm-12-af01"]
