"""Registering a device that is there: ask it who it is, store it, hand it its token."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

from espfleet.boards.client import BoardInfo, identify, provision
from espfleet.domain.devices import Dialect, check_device_address, split_address
from espfleet.domain.names import SIMULATED, check_name
from espfleet.errors import BoardError
from espfleet.services import devices
from espfleet.services.devices import Registered
from espfleet.store.client import Store

Ask = Callable[[str], BoardInfo]
HandOver = Callable[[str, str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Boards:
    """How devices are spoken to; tests put their own in.

    Attributes:
        ask: Returns what the device at an address says of itself; waits.
        hand_over: Gives a device its token and the gateway's address; waits.
    """

    ask: Ask = identify
    hand_over: HandOver = provision


REAL = Boards()


@dataclass(frozen=True, slots=True, kw_only=True)
class AtAddress:
    """A device registered at its address.

    Attributes:
        done: What was stored; its token is of use only where the device has not got it.
        handed_over: Whether the device itself took its token and the gateway's address.
        refusal: Why it did not although it waited for them, or ``""``.
    """

    done: Registered
    handed_over: bool
    refusal: str = ""


def labels_for(info: BoardInfo, address: str) -> tuple[str, ...]:
    """Return the labels of a device by what it says of itself: whether it is only a program on this machine.

    A simulated lamp says so. One that runs the program of real ones does not know; it has a hardware id that no maker
    of chips gives (IEEE 802: locally administered), and nothing but this machine is at its address.
    """
    host, _ = split_address(address)
    made_up = int(info.id[:2], 16) & 0x02 != 0
    here = ipaddress.ip_address(host).is_loopback
    return (SIMULATED,) if info.chip == SIMULATED or (made_up and here) else ()


async def register_at(
    store: Store,
    *,
    address: str,
    name: str,
    now_ms: int,
    gateway_url: str,
    room: str | None = None,
    dialect: Dialect | None = None,
    token_wanted: bool = False,
    boards: Boards = REAL,
) -> AtAddress:
    """Add the device at an address to the fleet.

    Args:
        store: Where the fleet is kept.
        address: ``IP`` or ``IP:PORT`` of its own HTTP server.
        name: Name for people.
        now_ms: Current time, ms since the epoch.
        gateway_url: Where it shall connect to.
        room: Room to put it into; an existing one.
        dialect: What it speaks; only devices of protocol 1 can be asked who they are.
        token_wanted: Give it another token although it has one.
        boards: How devices are spoken to.

    Raises:
        BoardError: If what is there cannot be reached, or is no device.
        FleetError: As ``devices.register`` does.
    """
    address = check_device_address(address)
    # Sooner than somebody has to be waited for.
    check_name(name, "device")
    info: BoardInfo | None = None
    if dialect is not None and not dialect.has_own_page:
        device_id = await devices.id_at(store, address=address) or devices.made_up_id()
    else:
        info = await asyncio.to_thread(boards.ask, address)
        device_id = info.id
    waits = info is not None and info.provision
    done = await devices.register(
        store,
        device_id=device_id,
        name=name,
        now_ms=now_ms,
        address=address,
        room=room,
        labels=() if info is None else labels_for(info, address),
        dialect=dialect,
        token_wanted=token_wanted or waits,
    )
    if not waits or done.token is None:
        return AtAddress(done=done, handed_over=False)
    try:
        await asyncio.to_thread(boards.hand_over, address, done.token, gateway_url)
    except BoardError as exc:
        return AtAddress(done=done, handed_over=False, refusal=str(exc))
    return AtAddress(done=done, handed_over=True)
