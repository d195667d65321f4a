"""Handing over: lamps go no faster than other gateways take them, and all go in time."""

from __future__ import annotations

from espfleet.gateway.hand_over import CONNECTS_PER_S, MOST_UNDER_WAY, HandOver

LAMPS = [f"{number:012x}" for number in range(3_000)]
UNTIL_S = 10.0
WAITED_S = 1.5


def hand_over(lamps: list[str] = LAMPS) -> HandOver:
    return HandOver(lamps, UNTIL_S, WAITED_S)


def test_lamps_wait_until_those_before_them_have_arrived() -> None:
    handing = hand_over()
    first = handing.next(0)
    assert len(first) == MOST_UNDER_WAY
    assert handing.next(0.5) == []
    for device_id in first[:7]:
        handing.arrived(device_id)
    assert handing.next(0.6) == LAMPS[MOST_UNDER_WAY : MOST_UNDER_WAY + 7]


def test_who_does_not_arrive_is_not_waited_for() -> None:
    handing = hand_over()
    handing.next(0)
    assert handing.next(WAITED_S - 0.01) == []
    assert len(handing.next(WAITED_S)) == MOST_UNDER_WAY


def test_all_go_in_time_also_when_none_arrives() -> None:
    handing = hand_over()
    gone, now_s = [], 0.0
    while now_s < UNTIL_S:
        going = handing.next(now_s)
        gone += going
        # Those that must go without waiting go at a pace that can be served.
        assert len(going) <= max(MOST_UNDER_WAY, CONNECTS_PER_S * 0.02 + 1)
        now_s += 0.02
    gone += handing.next(UNTIL_S)
    assert gone == LAMPS


def test_where_others_are_quick_nobody_waits_for_the_end() -> None:
    handing = hand_over()
    gone, now_s = 0, 0.0
    while gone < len(LAMPS):
        for device_id in (going := handing.next(now_s)):
            handing.arrived(device_id)
        gone += len(going)
        now_s += 0.02
    assert now_s < UNTIL_S / 10


def test_who_arrives_elsewhere_by_itself_does_no_harm() -> None:
    handing = hand_over(LAMPS[:2])
    handing.arrived(LAMPS[2])
    assert handing.next(0) == LAMPS[:2]
    assert handing.next(1) == []
