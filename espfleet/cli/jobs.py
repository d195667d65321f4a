"""Commands about jobs, sensors and readings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espfleet.cli import output
from espfleet.cli.boards import BoardCommands, tell
from espfleet.cli.opening import with_store, with_time
from espfleet.cli.words import age
from espfleet.domain.jobs import DAYS, Job
from espfleet.domain.names import shown
from espfleet.domain.sensors import Sensor, SensorKind, new_sensor
from espfleet.errors import InvalidError, RefusedError
from espfleet.services import jobs as service
from espfleet.services.jobs import JobView
from espfleet.store import readings, registry
from espfleet.store.client import Store
from espfleet.store.readings import Reading

if TYPE_CHECKING:
    from rich.console import RenderableType


def to_json(view: JobView) -> dict[str, Any]:
    """Return a job as programs see it."""
    job, wish = view.job, view.wish
    return {
        **job.to_dict(),
        "device": view.device.name,
        "start": clock(job.start_s),
        "days": [DAYS[day] for day in job.days],
        "wish": wish.on if wish else None,
        "since_ms": wish.since_ms if wish else None,
        "why": wish.why if wish else None,
    }


def clock(seconds: int) -> str:
    """Return seconds after midnight as a time of day."""
    return f"{seconds // 3_600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def list_jobs(device: str | None = None) -> None:
    """List the jobs of one device, or of all."""
    views = with_store(functools.partial(service.views, device=device))
    output.show([to_json(view) for view in views], lambda: job_table(views))


def job_table(views: list[JobView]) -> RenderableType:
    """Return jobs as a table for people."""
    return output.table(
        ("device", "job", "pin", "kind", "wish", "why"),
        [
            (
                view.device.name,
                view.job.name,
                str(view.job.pin),
                view.job.kind.value,
                {True: "on", False: "off", None: "–"}[view.wish.on if view.wish else None],
                view.wish.why if view.wish else "nobody has looked yet",
            )
            for view in views
        ],
        "No job yet: ./espcli device NAME add_timer_job JOB PIN START HOURS",
        folded=("why",),
    )


def local_zone() -> str:
    """Return the name of this machine's time zone, or ``UTC``."""
    path = str(Path("/etc/localtime").resolve())
    _, found, name = path.partition("zoneinfo/")
    return name.removeprefix("posix/") if found else "UTC"


class JobCommands:
    """One job. Without a verb it is shown, with the reason why its pin shall be on or off."""

    def __init__(self, device: str, name: str) -> None:
        self._device = device
        self._name = name

    def __str__(self) -> str:
        views = with_store(functools.partial(service.views, device=self._device))
        found = [view for view in views if view.job.name == self._name]
        if not found:
            raise InvalidError(f"{self._device} has no job {shown(self._name)}", field="name")
        return output.rendered(to_json(found[0]), lambda: job_table(found))

    def pause(self) -> None:
        """Leave the pin alone until 'resume'.

        Example: ./espcli device porch job lights pause
        """
        with_store(functools.partial(service.pause, device=self._device, name=self._name, yes=True))
        output.say(f"{self._name} of {self._device} is paused.")

    def resume(self) -> None:
        """Go on after 'pause'.

        Example: ./espcli device porch job lights resume
        """
        with_store(functools.partial(service.pause, device=self._device, name=self._name, yes=False))
        output.say(f"{self._name} of {self._device} goes on.")

    def remove(self) -> None:
        """Remove the job; its pin stays as it is.

        Example: ./espcli device porch job lights remove
        """
        with_store(functools.partial(service.remove, device=self._device, name=self._name))
        output.say(f"{self._name} of {self._device} is removed.")


class PinCommands(BoardCommands):
    """Jobs and sensors of a device."""

    def jobs(self) -> None:
        """List the device's jobs: what each wishes, and why.

        Example: ./espcli device porch jobs
        """
        list_jobs(self._name)

    def job(self, name: str) -> JobCommands:
        """Show one job (why is it on?), or pause, resume, remove it.

        Example: ./espcli device porch job lights pause

        Args:
            name: Its name.
        """
        return JobCommands(self._name, name)

    def add_timer_job(self, name: str, pin: str, start: str, hours: str, days: str = "all", zone: str = "") -> None:
        """Keep a pin on for some hours each day.

        Example: ./espcli device porch add_timer_job lights 22 18:30 4.5

        Args:
            name: Name of the job; one of that name is replaced.
            pin: Number of the pin.
            start: HH:MM or HH:MM:SS, by the clock on the wall.
            hours: How long, up to 24.
            days: Days on which it begins, such as mon-fri or sat,sun.
            zone: Time zone, such as Europe/Berlin; without, this machine's.
        """
        wish = {"name": name, "pin": pin, "start": start, "how_long": hours, "days": days, "zone": zone}
        self._add(service.add_timer, wish)

    def add_threshold_job(
        self,
        name: str,
        pin: str,
        start: str,
        hours: str,
        lock: str,
        input_key: str,
        target: str,
        unit: str = "F",
        hysteresis: str = "0",
        side: str = "below",
        days: str = "all",
        zone: str = "",
    ) -> None:
        """Keep a pin on while a value is below a target (a heater), or above it (a fan, --side above).

        Example: ./espcli device porch add_threshold_job heat 23 00:00 24 60000 porch/air.temp 20 --unit C

        Args:
            name: Name of the job; one of that name is replaced.
            pin: Number of the pin.
            start: HH:MM or HH:MM:SS, by the clock on the wall.
            hours: How long, up to 24; outside, the pin is off.
            lock: Shortest time between two changes, in ms.
            input_key: DEVICE/READING, a key of EspNet such as devices:porch:f, or any key of Redis.
            target: The border.
            unit: Of the target: F, as EspNet's, C, or any word. Values in °C are converted.
            hysteresis: How far beyond the target the pin goes off.
            side: below or above.
            days: Days on which it begins, such as mon-fri or sat,sun.
            zone: Time zone, such as Europe/Berlin; without, this machine's.
        """
        wish = {"name": name, "pin": pin, "start": start, "how_long": hours, "days": days, "zone": zone}
        value = {"source": input_key, "border": target, "hysteresis": hysteresis, "side": side, "unit": unit}
        self._add(service.add_threshold, {**wish, **value, "least_ms": lock})

    def _add(self, add: Callable[..., Coroutine[Any, Any, Job]], wish: Mapping[str, str]) -> None:
        wish = {**wish, "device": self._name, "zone": wish["zone"] or local_zone()}
        job = with_store(lambda store: add(store, **wish))
        output.say(
            f"{job.name} wishes pin {job.pin} of {self._name} on from {clock(job.start_s)} ({job.zone}).", job.to_dict()
        )

    # --- sensors

    def add_sensor(self, name: str, kind: str, pin: str, interval: str = "30", power_pin: str = "") -> None:
        """Read a sensor again and again.

        Example: ./espcli device porch add_sensor air dht22 4 --interval 60

        Args:
            name: Name of the sensor; its readings are NAME.temp and NAME.humidity, or NAME.raw.
            kind: dht22 or adc.
            pin: Number of the pin.
            interval: Seconds between two readings.
            power_pin: Pin that is to be high meanwhile, of an adc.
        """

        async def add(store: Store) -> Sensor:
            device = (await registry.load(store)).device(self._name)
            sensor = new_sensor(
                device_id=device.id, name=name, kind=kind, pin=pin, interval_s=interval, power_pin=power_pin
            )
            return await service.add_sensor(store, sensor)

        sensor = with_store(add)
        output.say(f"{sensor.name} of {self._name} is read every {sensor.interval_s:g} s.", sensor.to_dict())

    def sensors(self) -> None:
        """List the sensors of the device.

        Example: ./espcli device porch sensors
        """
        found = with_store(functools.partial(service.sensors, device=self._name))
        output.show(
            [sensor.to_dict() for sensor in found],
            lambda: output.table(
                ("sensor", "kind", "pin", "every"),
                [(one.name, one.kind.value, str(one.pin), f"{one.interval_s:g} s") for one in found],
                f"No sensor yet: ./espcli device {self._name} add_sensor NAME dht22 PIN",
            ),
        )

    def remove_sensor(self, name: str) -> None:
        """Do not read a sensor any more.

        Example: ./espcli device porch remove_sensor soil

        Args:
            name: Its name.
        """
        with_store(functools.partial(service.remove_sensor, device=self._name, name=name))
        output.say(f"{name} of {self._name} is removed.")

    def readings(self) -> None:
        """List the last value of each reading, with its age: °C unless the name says f.

        Example: ./espcli device porch readings
        """
        found, at_ms = with_time(self._readings)
        output.show(
            {name: {"value": one.value, "at_ms": one.at_ms} for name, one in found.items()},
            lambda: output.table(
                ("reading", "value", "age"),
                [(name, f"{one.value:g}", age(one.at_ms, at_ms)) for name, one in sorted(found.items())],
                "No readings yet.",
            ),
        )

    def history(self, reading: str) -> None:
        """List what a reading was during the last day, at most once a minute.

        Example: ./espcli device porch history air.temp

        Args:
            reading: Such as f or air.temp.
        """

        async def read(store: Store) -> list[Reading]:
            return await readings.past(store, (await registry.load(store)).device(self._name).id, reading)

        found = with_store(read)
        output.show(
            [{"at_ms": one.at_ms, "value": one.value} for one in found],
            lambda: output.table(
                ("time (UTC)", reading),
                [(f"{datetime.fromtimestamp(one.at_ms / 1_000, UTC):%H:%M:%S}", f"{one.value:g}") for one in found],
                "No readings yet.",
            ),
        )

    def add_dht22(self, name: str, pin: str) -> None:
        """Add a DHT22, as 'add_sensor NAME dht22 PIN' does.

        Example: ./espcli device porch add_dht22 air 4

        Args:
            name: Name of the sensor.
            pin: Number of the pin.
        """
        self.add_sensor(name, SensorKind.DHT22, pin)

    def list_dht22(self) -> None:
        """Print the pin of each DHT22.

        Example: ./espcli device porch list_dht22
        """
        found = with_store(functools.partial(service.sensors, device=self._name))
        tell({sensor.name: sensor.pin for sensor in found if sensor.kind is SensorKind.DHT22})

    def get_dht22(self) -> None:
        """Print what each DHT22 measured last, in °C and percent.

        Example: ./espcli device porch get_dht22
        """
        found = with_store(self._readings)
        tell({name: one.value for name, one in found.items() if name.endswith((".temp", ".humidity"))})

    def update_dht22(self) -> None:
        """Read the DHT22s now and print what they measure.

        Example: ./espcli device porch update_dht22
        """
        done = self._visit()
        if done.trouble:
            raise RefusedError("; ".join(f"{name}: {why}" for name, why in done.trouble.items()))
        tell(dict(done.values))

    async def _readings(self, store: Store) -> dict[str, Reading]:
        return await readings.get(store, (await registry.load(store)).device(self._name).id)
