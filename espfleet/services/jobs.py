"""What can be done with jobs and sensors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espfleet.domain.devices import Device
from espfleet.domain.jobs import Job, JobKind, Side, Wish, check_job, converted, days_of, paused, start_of, wish
from espfleet.domain.names import check_number, check_whole, nearest, shown
from espfleet.domain.registry import Registry
from espfleet.domain.sensors import Sensor
from espfleet.errors import ConflictError, InvalidError, NotFoundError, StoreLoginError
from espfleet.store import readings, registry, wishes
from espfleet.store.client import Store
from espfleet.store.registry import Change

#: Older values of a threshold's input count as none.
FRESH_MS = 120_000
#: So many jobs, and sensors, a device may have.
MOST = 64
_ESPNET_KEY = re.compile(r"devices:([^:]+):(?:dht22:([^:]+):(temp|humidity)|(f))")


@dataclass(frozen=True, slots=True)
class JobView:
    """A job, and what it wishes as far as anybody has looked; ``None`` if nobody has."""

    job: Job
    device: Device
    wish: Wish | None


async def add_timer(
    store: Store, *, device: str, pin: object, start: str, how_long: str, days: str, **more: Any
) -> Job:
    """Add a job that keeps a pin on for a while each day, given as people say it; ``add_threshold`` tells the rest.

    Raises:
        InvalidError: If something cannot be understood.
        NotFoundError: If there is no such device.
        ConflictError: If the device has too many jobs.
    """
    job = Job(
        device_id=(await registry.load(store)).device(device).id,
        pin=check_whole(pin, "pin", 0, 48),
        start_s=start_of(start),
        duration_s=hours(how_long),
        days=days_of(days),
        **{"kind": JobKind.TIMER, **more},
    )
    return await add(store, job)


async def add_threshold(
    store: Store, *, source: str, border: object, hysteresis: object, side: str, least_ms: object, **more: Any
) -> Job:
    """Add a job that keeps a pin on while a value is on one side of a border, given as people say it.

    Args:
        store: Where the fleet is kept.
        source: The value: ``DEVICE/READING``, a key of EspNet or any key of Redis.
        border: Where the pin goes on.
        hysteresis: How far beyond it the pin goes off.
        side: ``below`` or ``above``.
        least_ms: Shortest time between two changes, in ms.
        more: ``device``, ``name``, ``pin``; ``start`` (``HH:MM``), ``how_long`` (hours) and ``days`` (``mon-fri``) by
            the clock of ``zone``; ``unit``.

    Raises:
        InvalidError: If something cannot be understood.
        NotFoundError: If there is no such device.
        ConflictError: If the device has too many jobs.
    """
    if side not in tuple(Side):
        raise InvalidError(f"{shown(side)} is no side: use below or above", field="side")
    least_s = check_whole(least_ms, "lock", 0, 86_400_000, "ms") / 1_000
    return await add_timer(
        store,
        kind=JobKind.THRESHOLD,
        source=source_of(source),
        border=check_number(border, "target", -1e9, 1e9),
        hysteresis=check_number(hysteresis, "hysteresis", 0, 1e9),
        side=Side(side),
        min_on_s=least_s,
        min_off_s=least_s,
        **more,
    )


async def add(store: Store, job: Job) -> Job:
    """Add a job, or replace the one of that name.

    Raises:
        InvalidError: If it makes no sense.
        NotFoundError: If its device, or that of its input, is not registered.
        ConflictError: If the device has too many.
    """
    check_job(job)

    def plan(current: Registry) -> list[Change]:
        current.device(job.device_id)
        if job.kind is JobKind.THRESHOLD and not job.source.startswith("key:"):
            current.device(job.source.partition("/")[0])
        if job.key not in current.jobs and len(current.jobs_of.get(job.device_id, ())) >= MOST:
            raise ConflictError(f"a device may have {MOST} jobs")
        return [Change("jobs", job.key, job.to_dict())]

    await registry.change(store, plan)
    return job


async def remove(store: Store, *, device: str, name: str) -> Job:
    """Remove a job; its pin stays as it is unless another job wishes something.

    Raises:
        NotFoundError: If there is no such device or job.
    """
    gone: list[Job] = []

    def plan(current: Registry) -> list[Change]:
        gone[:] = [_job(current, device, name)]
        return [Change("jobs", gone[0].key, None)]

    await registry.change(store, plan)
    return gone[0]


async def pause(store: Store, *, device: str, name: str, yes: bool) -> Job:
    """Let a job be left alone, or go on.

    Raises:
        NotFoundError: If there is no such device or job.
    """
    changed: list[Job] = []

    def plan(current: Registry) -> list[Change]:
        changed[:] = [paused(_job(current, device, name), yes)]
        return [Change("jobs", changed[0].key, changed[0].to_dict())]

    await registry.change(store, plan)
    return changed[0]


def _job(current: Registry, device: str, name: str) -> Job:
    found = current.device(device)
    jobs = {job.name: job for job in current.jobs_of.get(found.id, ())}
    if name not in jobs:
        raise NotFoundError(f"job of {found.name}", name, nearest(name, jobs))
    return jobs[name]


async def views(store: Store, *, device: str | None = None) -> list[JobView]:
    """Return the jobs of one device, or of all, with what they wish.

    Raises:
        NotFoundError: If there is no such device.
    """
    current = await registry.load(store)
    ids = sorted(current.jobs_of) if device is None else [current.device(device).id]
    found = []
    for device_id in ids:
        known = await wishes.get(store, device_id)
        for job in current.jobs_of.get(device_id, ()):
            if device_id in current.devices:
                found.append(JobView(job, current.devices[device_id], known.get(job.name)))
    return found


async def judge(store: Store, current: Registry, jobs: Sequence[Job], now_ms: int) -> dict[str, Wish]:
    """Return what the jobs of one device wish now, by name."""
    if not jobs:
        return {}
    before = await wishes.get(store, jobs[0].device_id)
    found = {}
    for job in jobs:
        value = await value_of(store, current, job, now_ms) if job.kind is JobKind.THRESHOLD else None
        found[job.name] = wish(job, now_ms, before.get(job.name), value)
    return found


async def value_of(store: Store, current: Registry, job: Job, now_ms: int) -> float | None:
    """Return the fresh value of a threshold's input in the unit of its border, or ``None``."""
    if job.source.startswith("key:"):
        try:
            return _number(await _text(store, job.source.removeprefix("key:")), job, "")
        except StoreLoginError:
            # This user of Redis may not read that key; the other jobs of the device have nothing to do with it.
            return None
    name, _, reading = job.source.partition("/")
    try:
        source = current.device(name)
    except NotFoundError:
        return None
    found = (await readings.get(store, source.id)).get(reading)
    # One from the future is as bad as an old one: a clock is wrong.
    if found is None or abs(now_ms - found.at_ms) > FRESH_MS:
        return None
    return converted(job, found.value, reading)


async def _text(store: Store, key: str) -> bytes | None:
    if await store.do("TYPE", key) not in (b"string", "string"):
        return None
    text: bytes | None = await store.do("GET", key)
    return text


def _number(text: bytes | None, job: Job, reading: str) -> float | None:
    try:
        value = float(text or b"")
    except ValueError:
        return None
    return converted(job, value, reading) if abs(value) < float("inf") else None


def source_of(text: str) -> str:
    """Return the input that ``text`` names; keys of EspNet, such as ``devices:porch:f``, are understood."""
    found = _ESPNET_KEY.fullmatch(text)
    if found:
        device, sensor, what, f = found.groups()
        return f"{device}/{f}" if f else f"{device}/{sensor}.{what}"
    return text if "/" in text or text.startswith("key:") else f"key:{text}"


# --- sensors


async def add_sensor(store: Store, sensor: Sensor) -> Sensor:
    """Add a sensor, or replace the one of that name.

    Raises:
        NotFoundError: If its device is not registered.
        ConflictError: If the device has too many.
    """

    def plan(current: Registry) -> list[Change]:
        current.device(sensor.device_id)
        if sensor.key not in current.sensors and len(current.sensors_of.get(sensor.device_id, ())) >= MOST:
            raise ConflictError(f"a device may have {MOST} sensors")
        return [Change("sensors", sensor.key, sensor.to_dict())]

    await registry.change(store, plan)
    return sensor


async def remove_sensor(store: Store, *, device: str, name: str) -> Sensor:
    """Remove a sensor; its last readings stay for a day.

    Raises:
        NotFoundError: If there is no such device or sensor.
    """
    gone: list[Sensor] = []

    def plan(current: Registry) -> list[Change]:
        found = current.device(device)
        sensors: Mapping[str, Sensor] = {one.name: one for one in current.sensors_of.get(found.id, ())}
        if name not in sensors:
            raise NotFoundError(f"sensor of {found.name}", name, nearest(name, sensors))
        gone[:] = [sensors[name]]
        return [Change("sensors", sensors[name].key, None)]

    await registry.change(store, plan)
    return gone[0]


async def sensors(store: Store, *, device: str) -> list[Sensor]:
    """Return the sensors of a device.

    Raises:
        NotFoundError: If there is no such device.
    """
    current = await registry.load(store)
    return list(current.sensors_of.get(current.device(device).id, ()))


def hours(text: str) -> int:
    """Return the seconds of a number of hours, such as ``1.5``.

    Raises:
        InvalidError: If it is no number from above 0 to 24.
    """
    try:
        seconds = round(float(text) * 3_600)
    except (ValueError, OverflowError):
        seconds = 0
    if not 0 < seconds <= 86_400:
        raise InvalidError(f"hours must be a number above 0 and up to 24, not {shown(text)}", field="hours")
    return seconds
