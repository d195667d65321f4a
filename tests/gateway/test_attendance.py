"""Redis is told who is there, also while thousands come."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from espfleet.domain.devices import Device, Presence
from espfleet.gateway.dialects.v1 import V1
from espfleet.gateway.hub import Hub
from espfleet.gateway.presence import AT_ONCE, Attendance
from espfleet.gateway.sessions import Session
from espfleet.gateway.settings import GatewaySettings
from espfleet.store import presence
from espfleet.store.client import Store
from tests.conftest import wait_until
from tests.gateway.conftest import running

SETTINGS = GatewaySettings(port=0, name="here", watchdog_ms=3_000)


class Crowd:
    """A hub with lamps that are heard all the time, on a clock that goes on by a fifth of a second with each look."""

    def __init__(self, count: int) -> None:
        self._looks = itertools.count()
        self.sessions: dict[str, Session] = {}
        for number in range(count):
            device = Device(id=f"02be{number:08x}", name=f"lamp-{number}")
            told: dict[str, Any] = {"device": device, "number": number, "since_ms": 1, "heard_s": 1e9}
            told |= {"connection": SimpleNamespace(host="192.0.2.1"), "dialect": V1(SETTINGS), "chip": ""}
            self.sessions[device.id] = cast(Session, SimpleNamespace(**told, firmware="", presence=Presence.LIVE))

    def clock(self) -> float:
        return next(self._looks) / 5

    def heard_since(self, _since_s: float) -> Iterable[Session]:
        return self.sessions.values()


async def test_those_who_are_there_are_kept_alive_while_thousands_come(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    kept: list[set[str]] = []
    came_all, refresh = presence.came_all, presence.refresh

    async def tell(store: Store, sessions: Mapping[str, presence.Session]) -> None:
        await came_all(store, sessions)
        told.extend(sessions)

    async def keep(store: Store, gateway: str, left_ms: Mapping[str, int]) -> list[str]:
        kept.append(set(left_ms))
        assert kept[-1] == set(told), "Redis is asked to keep alive whom it does not know, or not whom it knows"
        return await refresh(store, gateway, left_ms)

    monkeypatch.setattr(presence, "came_all", tell)
    monkeypatch.setattr(presence, "refresh", keep)
    crowd = Crowd(40 * AT_ONCE)
    attendance = Attendance(store, SETTINGS)
    for session in crowd.sessions.values():
        attendance.came(session)
    async with running(attendance.run(cast(Hub, crowd))):
        await wait_until(lambda: bool(kept) and len(kept[-1]) == len(crowd.sessions))
    # Each was told of once, and those who were there were thought of again and again meanwhile.
    assert len(told) == len(crowd.sessions)
    assert sum(0 < len(some) < len(crowd.sessions) for some in kept) >= 3
