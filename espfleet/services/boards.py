"""Visits: a device is asked for its state and set right, over its link where there is one, over HTTP otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from espfleet.boards.client import Board, is_number
from espfleet.domain.devices import Device, Dialect, Kind, Presence
from espfleet.domain.jobs import Job, pins_wished
from espfleet.domain.registry import Registry
from espfleet.domain.sensors import Sensor, SensorKind
from espfleet.errors import BoardError, InvalidError, RefusedError
from espfleet.services import jobs as job_service
from espfleet.store import boards, commands, locks, presence, readings, wishes
from espfleet.store.client import Store
from espfleet.store.presence import PresenceInfo, Session

#: Name under which boards that are asked over HTTP are present; no gateway is called so.
HTTP = presence.HTTP
#: How long a device on the link may take to answer; a DHT22 takes a quarter of a second.
LINK_MS = 2_000
#: How long a board counts as there after somebody visited it by hand.
LASTS_MS = 15_000
Answer = TypeVar("Answer")
Ask = Callable[[Callable[[], Answer]], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What came of a visit.

    Attributes:
        at_ms: When, ms since the epoch.
        f: Temperature of the chip, °F; ``None`` over a link, where lamps report it by themselves.
        gpio: Value of each pin as it is now; over a link only of those with jobs.
        switched: Pins that were not as wished, with what they are now.
        values: What the sensors measured, by name of the reading.
        trouble: Sensors that failed, and why.
    """

    at_ms: int
    f: float | None
    gpio: Mapping[int, int]
    switched: Mapping[int, int] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    trouble: Mapping[str, str] = field(default_factory=dict)


async def in_thread(call: Callable[[], Answer]) -> Answer:
    """Run a call that blocks in a thread."""
    return await asyncio.to_thread(call)


def board_of(device: Device, token: str = "") -> Board:
    """Return the way to a device's HTTP server; ``token`` is what boards want that have none of their own.

    Raises:
        InvalidError: If its address is not known.
    """
    if not device.address:
        raise InvalidError(f"{device.name} has no address: ./espcli register IP {device.name}", field="address")
    return Board(address=device.address, id=device.id, token=device.board_token or token)


async def visit(
    store: Store,
    current: Registry,
    device: Device,
    *,
    now_ms: int,
    sensors: Sequence[Sensor] = (),
    token: str = "",
    ask: Ask[object] = in_thread,
    wait_ms: int = locks.WAIT_MS,
) -> Visit:
    """Ask a board for its state over HTTP, set its pins as its jobs wish, read its sensors, and store what it said.

    Args:
        store: Where the fleet is kept.
        current: What is set up.
        device: Which device.
        now_ms: Current time, ms since the epoch.
        sensors: Those to read.
        token: What the board wants to see.
        ask: How to run a call that blocks.
        wait_ms: How long to wait while somebody else talks to it.

    Raises:
        LockBusyError: If somebody else talks to it for longer than that.
        LockLostError: If it took so long that somebody else has.
        BoardError: If the board does not do it; why is stored too.
    """
    board = board_of(device, token)
    async with locks.locked(store, device.id, name=device.name, wait_ms=wait_ms) as lock:
        try:
            done = await _told(store, current, device, board, now_ms, sensors, ask)
        except BoardError as exc:
            await boards.fail(store, lock, error=str(exc), at_ms=now_ms)
            raise
        await boards.put(store, lock, f=done.f or 0.0, gpio=done.gpio, at_ms=now_ms)
    await readings.report(store, device.id, {"f": done.f or 0.0, **done.values}, now_ms)
    return done


async def _told(
    store: Store,
    current: Registry,
    device: Device,
    board: Board,
    now_ms: int,
    sensors: Sequence[Sensor],
    ask: Ask[object],
) -> Visit:
    info = await _typed(ask, board.get_basic)
    values, trouble = {}, {}
    for sensor in sensors:
        try:
            values.update(await _typed(ask, lambda sensor=sensor: measure(board, sensor)))  # type: ignore[misc]
        except BoardError as exc:
            trouble[sensor.name] = str(exc)
    if values:
        # Before the jobs look at them.
        await readings.put(store, device.id, values, now_ms)
    jobs = current.jobs_of.get(device.id, ())
    wished = await _wished(store, current, jobs, now_ms)
    gpio = dict(info.gpio)
    wrong = {pin: value for pin, value in wished.items() if gpio.get(pin) != value}
    for value in (0, 1):
        pins = [pin for pin, wanted in wrong.items() if wanted == value]
        if pins:
            await _typed(ask, lambda pins=pins, value=value: board.set_gpio(pins, value))  # type: ignore[misc]
            gpio.update(dict.fromkeys(pins, value))
    return Visit(at_ms=now_ms, f=info.f, gpio=gpio, switched=wrong, values=values, trouble=trouble)


async def _typed(ask: Ask[object], call: Callable[[], Answer]) -> Answer:
    return await ask(call)  # type: ignore[return-value]


async def _wished(store: Store, current: Registry, jobs: Sequence[Job], now_ms: int) -> dict[int, int]:
    """Return what the jobs of a device want its pins to be, and remember why."""
    if not jobs:
        return {}
    judged = await job_service.judge(store, current, jobs, now_ms)
    await wishes.put(store, jobs[0].device_id, judged)
    return {pin: int(on) for pin, on in pins_wished(jobs, judged).items()}


async def visit_by_link(
    store: Store, current: Registry, device: Device, *, now_ms: int, sensors: Sequence[Sensor] = ()
) -> Visit:
    """Read sensors of a device on the link, set its pins as its jobs wish, and store what it said.

    Raises:
        RefusedError: If it does not do pins, or none of the sensors that are to be read.
    """
    values, trouble = {}, {}
    for sensor in sensors:
        try:
            values.update(await _measured_by_link(store, device, sensor))
        except RefusedError as exc:
            trouble[sensor.name] = str(exc)
    if trouble and not values:
        raise RefusedError("; ".join(f"{name}: {why}" for name, why in trouble.items()))
    # Before the jobs look at them.
    await readings.put(store, device.id, values, now_ms)
    wished = await _wished(store, current, current.jobs_of.get(device.id, ()), now_ms)
    gpio, wrong = {}, {}
    for pin, value in wished.items():
        gpio[pin] = await _pin(store, device, pin)
        if gpio[pin] != value:
            gpio[pin] = wrong[pin] = await _pin(store, device, pin, value)
    return Visit(at_ms=now_ms, f=None, gpio=gpio, switched=wrong, values=values, trouble=trouble)


async def _measured_by_link(store: Store, device: Device, sensor: Sensor) -> dict[str, float]:
    if sensor.kind is SensorKind.DHT22:
        told = await _told_by_link(store, device, "sensor", {"kind": "dht22", "pin": sensor.pin})
        found = {"temp": told.get("temperature_c"), "humidity": told.get("humidity_percent")}
    else:
        power = {} if sensor.power_pin is None else {"power_pin": sensor.power_pin}
        found = {"raw": (await _told_by_link(store, device, "adc", {"pin": sensor.pin, **power})).get("raw")}
    values = {f"{sensor.name}.{what}": value for what, value in found.items() if is_number(value)}
    if len(values) < len(found):
        raise RefusedError(f"{device.name} told no number of its sensor {sensor.name}")
    return values


async def _pin(store: Store, device: Device, pin: int, value: int | None = None) -> int:
    arguments = {"pin": pin} if value is None else {"pin": pin, "value": value}
    found = (await _told_by_link(store, device, "gpio", arguments)).get("value")
    if found not in (0, 1):
        raise RefusedError(f"{device.name} told no value of its pin {pin}")
    return int(found)


async def _told_by_link(store: Store, device: Device, action: str, arguments: Mapping[str, object]) -> dict[str, Any]:
    result = await commands.send(store, device.id, {"action": action, "arguments": arguments}, timeout_ms=LINK_MS)
    if result is None:
        raise RefusedError(f"{device.name} did not answer in time")
    told = result.get("data", result)
    if not result.get("ok") or not isinstance(told, dict):
        raise RefusedError(f"{device.name} refused: {result.get('error', 'it gave no reason')}")
    return told


async def answered(
    store: Store, device_ids: Iterable[str], known: Mapping[str, PresenceInfo], *, lasts_ms: int
) -> None:
    """Say that boards are there, for they answered over HTTP.

    Args:
        store: Where the fleet is kept.
        device_ids: Which.
        known: What was known of them before.
        lasts_ms: How long they count as there unless they answer again.
    """
    seen = list(device_ids)
    new = [one for one in seen if known[one].presence is Presence.OFFLINE or known[one].gateway != HTTP]
    sessions = {one: Session(session_id=f"{HTTP}-{one}", gateway=HTTP, watchdog_ms=lasts_ms) for one in new}
    await presence.came_all(store, sessions)
    await presence.refresh(store, HTTP, dict.fromkeys(seen, lasts_ms))


async def set_right(store: Store, current: Registry, device: Device, *, now_ms: int, token: str = "") -> Visit:
    """Visit a device by its link if it is there, over HTTP otherwise, or if its link does neither pins nor sensors.

    Raises:
        InvalidError: If there is neither a link nor an address.
        RefusedError, BoardError: If it does not do it.
    """
    sensors = current.sensors_of.get(device.id, ())
    if await on_link(store, device):
        try:
            return await visit_by_link(store, current, device, now_ms=now_ms, sensors=sensors)
        except RefusedError:
            if not device.address:
                raise
    done = await visit(store, current, device, now_ms=now_ms, sensors=sensors, token=token)
    if Kind.BOARD in device.kinds:
        known = await presence.read_presence(store, [device.id])
        # Else a link or a steward knows better how long it is there.
        if known[device.id].presence is Presence.OFFLINE:
            await answered(store, [device.id], known, lasts_ms=LASTS_MS)
    return done


async def on_link(store: Store, device: Device) -> bool:
    """Return whether a device is connected to a gateway and takes commands."""
    there = (await presence.read_presence(store, [device.id]))[device.id]
    return device.dialect is Dialect.V1 and there.presence is not Presence.OFFLINE and there.gateway != HTTP


def measure(board: Board, sensor: Sensor) -> dict[str, float]:
    """Read a sensor; blocks. Returns numbers by name of the reading: °C, percent, or raw."""
    if sensor.kind is SensorKind.DHT22:
        climate = board.get_dht22(sensor.pin)
        return {f"{sensor.name}.temp": climate.temp_c, f"{sensor.name}.humidity": climate.humidity}
    return {f"{sensor.name}.raw": board.read_adc(sensor.pin, sensor.power_pin).data[0]}
