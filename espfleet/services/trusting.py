"""Telling lamps which certificates they shall trust."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable

from espfleet.domain.devices import Device, Dialect, Kind
from espfleet.domain.names import SIMULATED
from espfleet.services import devices, telling
from espfleet.services.devices import DeviceView
from espfleet.store import registry
from espfleet.store.client import Store

_TIMEOUT_MS = 5_000
#: Lamps told at once.
_AT_ONCE = 8


async def tell(store: Store, *, trusted: str, already: Collection[str], now_ms: int) -> tuple[list[str], list[str]]:
    """Let all lamps trust certificates; simulated ones read them from their file.

    Args:
        store: Where the fleet is kept.
        trusted: The certificates, DER one after the other, in base64.
        already: Hardware ids of lamps that trust them.
        now_ms: Current time, ms since the epoch.

    Returns:
        Names of the lamps that trust them now, and of those that do not: they are not there, or refuse.
    """
    views = await devices.views(store, now_ms=now_ms)
    lamps = [view.device for view in views if _has_store_of_its_own(view)]
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(device: Device) -> bool:
        if device.id in already:
            return True
        async with turn:
            done = await telling.tell(
                store,
                name=device.id,
                action="trust",
                arguments={"ca": trusted},
                timeout_ms=_TIMEOUT_MS,
                now_ms=now_ms,
            )
        return done.ok

    done = await asyncio.gather(*(one(device) for device in lamps))
    told = [device.name for device, trusts in zip(lamps, done, strict=True) if trusts]
    return told, [device.name for device in lamps if device.name not in told]


async def ids_of(store: Store, names: Iterable[str]) -> list[str]:
    """Return the hardware ids of devices."""
    current = await registry.latest(store)
    return [current.device(name).id for name in names]


def _has_store_of_its_own(view: DeviceView) -> bool:
    """Return whether it is a lamp, and a real one or a simulated one that runs the program of real ones."""
    device = view.device
    is_program = device.simulated and view.chip in ("", SIMULATED)
    return Kind.LAMP in device.kinds and device.dialect is Dialect.V1 and not is_program
