"""Jobs: stored wishes about pins. Rules only: time, values and what was wished before come in as arguments.

A ``timer`` wishes its pin on while one of its windows lasts. A ``threshold`` does so while, within its windows, a value
is on the wrong side of a border. Outside, both wish it off.

Several jobs on one pin: it is on if at least one wishes it on, and off only if all that have an opinion wish it off.
A paused job has no opinion; where nobody has one, the pin stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from espfleet.domain.names import check_device_id, check_name, check_number, check_whole, shown
from espfleet.errors import InvalidError

DAY_S = 86_400
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
#: Pins that can be switched on some chip of the family.
PINS = (0, 48)
#: Without a fresh value a threshold keeps its wish so long; then it wishes the pin off.
VALUE_KEPT_MS = 300_000
_START = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


class JobKind(StrEnum):
    """What a job goes by."""

    TIMER = "timer"
    THRESHOLD = "threshold"


class Side(StrEnum):
    """On which side of its border a value lets a threshold wish its pin on."""

    BELOW = "below"
    ABOVE = "above"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A wish about one pin of one device.

    Attributes:
        device_id: Whose pin.
        name: Unique among the device's jobs.
        pin: Which.
        kind: Timer or threshold.
        start_s: When a window begins: seconds after midnight by the clock on the wall.
        duration_s: How long it lasts, 1 s to 24 h; by the clock on the wall it may end on the next day.
        days: Days on which windows begin: 0 for Monday to 6 for Sunday.
        zone: IANA name of the time zone. A start that a change of clocks leaves out is one hour later; one that
            comes twice counts the first time.
        source: Of a threshold: ``DEVICE/READING``, or ``key:NAME`` for a key of Redis.
        border: The value at which the pin goes on.
        hysteresis: How far beyond it, on the other side, the pin goes off again; 0 or more.
        side: Where the value is while the pin shall be on.
        unit: Of the border: ``C``, ``F`` (a value in °C is converted), or any word, which changes nothing.
        min_on_s, min_off_s: Shortest times between changes of this job's wish.
        paused: Whether it is to be left alone.
    """

    device_id: str
    name: str
    pin: int
    kind: JobKind
    start_s: int = 0
    duration_s: int = DAY_S
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    zone: str = "UTC"
    source: str = ""
    border: float = 0.0
    hysteresis: float = 0.0
    side: Side = Side.BELOW
    unit: str = "C"
    min_on_s: float = 0.0
    min_off_s: float = 0.0
    paused: bool = False

    @property
    def key(self) -> str:
        """What it is stored under."""
        return f"{self.device_id}/{self.name}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for storing."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Job:
        """Return the job that ``to_dict`` described."""
        return cls(
            **{
                **values,
                "kind": JobKind(values["kind"]),
                "side": Side(values["side"]),
                "days": tuple(values["days"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Wish:
    """What a job wishes.

    Attributes:
        on: Whether its pin shall be on; ``None`` for no opinion.
        since_ms: Since when, ms since the epoch.
        why: In words.
        value_ms: When it had a value last, ms since the epoch; 0 for never.
    """

    on: bool | None
    since_ms: int
    why: str
    value_ms: int = 0


def check_job(job: Job) -> Job:
    """Return the job if it makes sense.

    Raises:
        InvalidError: If it does not.
    """
    check_device_id(job.device_id)
    check_name(job.name, "job")
    check_whole(job.pin, "pin", *PINS)
    check_whole(job.start_s, "start", 0, DAY_S - 1, "s")
    check_whole(job.duration_s, "duration", 1, DAY_S, "s")
    check_number(job.hysteresis, "hysteresis", 0, 1e9)
    check_number(job.border, "border", -1e9, 1e9)
    check_number(job.min_on_s, "min_on", 0, DAY_S, "s")
    check_number(job.min_off_s, "min_off", 0, DAY_S, "s")
    if not job.days or not set(job.days) <= set(range(7)):
        raise InvalidError(f"days must be some of {', '.join(DAYS)}", field="days")
    zone_of(job)
    named, _, reading = job.source.partition("/")
    if job.kind is JobKind.THRESHOLD and not (job.source.startswith("key:") or (named and reading)):
        raise InvalidError(
            f"{shown(job.source)} is no input: use DEVICE/READING, such as porch/dht22.temp, or key:NAME",
            field="source",
        )
    return job


def start_of(text: str) -> int:
    """Return the seconds after midnight of ``HH:MM`` or ``HH:MM:SS``.

    Raises:
        InvalidError: If it is another form, or no time of a day.
    """
    found = _START.fullmatch(text)
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (24, 0, 0)
    if hours > 23 or minutes > 59 or seconds > 59:
        raise InvalidError(f"{shown(text)} is not a time of day: use HH:MM or HH:MM:SS", field="start")
    return hours * 3_600 + minutes * 60 + seconds


def days_of(text: str) -> tuple[int, ...]:
    """Return the days in ``mon,wed``, ``mon-fri`` or ``all``.

    Raises:
        InvalidError: If one is no day.
    """
    found: set[int] = set()
    for part in ["mon-sun"] if text in ("", "all") else text.lower().split(","):
        first, _, last = part.strip().partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise InvalidError(
                f"{shown(part)} is no day: use {', '.join(DAYS)}, such as mon-fri or sat,sun", field="days"
            )
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found |= {day % 7 for day in range(begin, end + (7 if end < begin else 0) + 1)}
    return tuple(sorted(found))


def zone_of(job: Job) -> ZoneInfo:
    """Return the job's time zone.

    Raises:
        InvalidError: If there is none of that name.
    """
    try:
        return ZoneInfo(job.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidError(
            f"{shown(job.zone)} is not a time zone: use a name such as Europe/Berlin", field="zone"
        ) from None


def window(job: Job, now_ms: int) -> tuple[int, int] | None:
    """Return the window that lasts now, as ms since the epoch of its begin and its end, or ``None``."""
    zone = zone_of(job)
    today = datetime.fromtimestamp(now_ms / 1_000, zone).date()
    for day in (today, today - timedelta(days=1)):
        if day.weekday() in job.days:
            begin_ms = _begin_ms(day, job.start_s, zone)
            end_ms = begin_ms + job.duration_s * 1_000
            # A job of all day must leave no gap on the one day of the year that has 25 hours.
            if job.duration_s == DAY_S:
                end_ms = max(end_ms, _begin_ms(day + timedelta(days=1), job.start_s, zone))
            if begin_ms <= now_ms < end_ms:
                return begin_ms, end_ms
    return None


def _begin_ms(day: date, start_s: int, zone: ZoneInfo) -> int:
    at = time_of_day(start_s // 3_600, start_s // 60 % 60, start_s % 60)
    return round(datetime.combine(day, at, tzinfo=zone).astimezone(UTC).timestamp() * 1_000)


def converted(job: Job, value: float, reading: str) -> float:
    """Return a value in the unit of the job's border; ``f`` is the one reading that comes in °F."""
    fahrenheit = reading in ("f", "esp32.f")
    if job.unit == "F" and not fahrenheit:
        return value * 9 / 5 + 32
    if job.unit == "C" and fahrenheit:
        return (value - 32) * 5 / 9
    return value


def wish(job: Job, now_ms: int, before: Wish | None = None, value: float | None = None) -> Wish:
    """Return what a job wishes now.

    Args:
        job: The job.
        now_ms: Current time, ms since the epoch.
        before: What it wished last, or ``None``.
        value: Of a threshold, the fresh value in the unit of its border; ``None`` if there is none.
    """
    # A clock that was set back must not let a shortest time last for ever.
    since_ms = min(before.since_ms, now_ms) if before else now_ms
    value_ms = now_ms if value is not None else min(before.value_ms, now_ms) if before else 0
    if job.paused:
        return Wish(None, now_ms if before is None or before.on is not None else since_ms, "it is paused", value_ms)
    was_on = before.on if before else None
    on, why = _wanted(job, now_ms, was_on, value, value_ms)
    if was_on is not None and on != was_on:
        least_s = job.min_on_s if was_on else job.min_off_s
        left_s = least_s - (now_ms - since_ms) / 1_000
        if left_s > 0:
            word = "on" if was_on else "off"
            return Wish(was_on, since_ms, f"{why}; but it stays {word} for another {left_s:.0f} s", value_ms)
    return Wish(on, since_ms if on == was_on else now_ms, why, value_ms)


def _wanted(job: Job, now_ms: int, was_on: bool | None, value: float | None, value_ms: int) -> tuple[bool, str]:
    now = window(job, now_ms)
    if now is None:
        return False, "it is outside its window"
    until = datetime.fromtimestamp(now[1] / 1_000, zone_of(job)).strftime("%H:%M:%S")
    if job.kind is JobKind.TIMER:
        return True, f"its window lasts until {until}"
    if value is None:
        if was_on is not None and now_ms - value_ms <= VALUE_KEPT_MS:
            return was_on, f"{job.source} has no fresh value; it stays as it was for {VALUE_KEPT_MS // 1_000} s"
        return False, f"{job.source} has had no fresh value for {VALUE_KEPT_MS // 1_000} s"
    told = f"{job.source} is {value:g} {job.unit}"
    below = job.side is Side.BELOW
    if value < job.border if below else value > job.border:
        return True, f"{told}, {job.side} {job.border:g}"
    back = job.border + job.hysteresis if below else job.border - job.hysteresis
    if value > back if below else value < back:
        return False, f"{told}, beyond {back:g}"
    return bool(was_on), f"{told}, between {min(job.border, back):g} and {max(job.border, back):g}"


def pins_wished(jobs: Iterable[Job], wishes: Mapping[str, Wish]) -> dict[int, bool]:
    """Return by pin whether it shall be on; pins about which nobody has an opinion are absent.

    Args:
        jobs: Of one device.
        wishes: By name of the job.
    """
    found: dict[int, bool] = {}
    for job in jobs:
        wished = wishes[job.name].on if job.name in wishes else None
        if wished is not None:
            found[job.pin] = found.get(job.pin, False) or wished
    return found


def paused(job: Job, yes: bool) -> Job:
    """Return the job paused, or going on."""
    return replace(job, paused=yes)
