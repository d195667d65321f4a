"""Jobs, sensors and readings over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from espfleet.domain.sensors import new_sensor
from espfleet.errors import InvalidError, NotFoundError
from espfleet.services import jobs
from espfleet.store import readings, registry
from espfleet.web.access import ADMIN, OPERATOR
from espfleet.web.context import Here
from espfleet.web.rows import JobRow, job_row
from espfleet.web.shapes import NewJob, NewSensor

router = APIRouter(tags=["jobs"])
DEVICE = "/devices/{name}"
Job = Annotated[str, Path(max_length=64)]


@router.get("/jobs")
async def list_all_jobs(here: Here) -> list[JobRow]:
    """List the jobs of all devices, each with what it wishes now and why, as far as anybody has looked."""
    return [job_row(view) for view in await jobs.views(here.store)]


@router.get(f"{DEVICE}/jobs")
async def list_jobs(here: Here, name: str) -> list[JobRow]:
    """List the jobs of a device, each with what it wishes now and why, as far as anybody has looked."""
    return [job_row(view) for view in await jobs.views(here.store, device=name)]


@router.post(f"{DEVICE}/jobs", status_code=201, dependencies=[ADMIN])
async def add_job(here: Here, name: str, wish: NewJob) -> JobRow:
    """Let a pin be on for a while each day, with `source` only while that value is below or above a border."""
    timer = wish.model_dump(include={"name", "pin", "start", "days", "zone"})
    timer |= {"device": name, "how_long": str(wish.hours)}
    if wish.source:
        value = wish.model_dump(include={"source", "border", "hysteresis", "side", "unit"})
        await jobs.add_threshold(here.store, **timer, **value, least_ms=wish.least_ms)
    elif wish.model_fields_set & {"border", "hysteresis", "side", "unit", "least_ms"}:
        raise InvalidError("a job with a border needs the value that is held against it", field="source")
    else:
        await jobs.add_timer(here.store, **timer)
    return await show_job(here, name, wish.name)


@router.get(f"{DEVICE}/jobs/{{job}}")
async def show_job(here: Here, name: str, job: Job) -> JobRow:
    """Show one job."""
    found = [view for view in await jobs.views(here.store, device=name) if view.job.name == job]
    if not found:
        raise NotFoundError(f"job of {name}", job)
    return job_row(found[0])


@router.post(f"{DEVICE}/jobs/{{job}}/pause", dependencies=[OPERATOR])
async def pause_job(here: Here, name: str, job: Job) -> JobRow:
    """Leave the pin of a job alone."""
    await jobs.pause(here.store, device=name, name=job, yes=True)
    return await show_job(here, name, job)


@router.post(f"{DEVICE}/jobs/{{job}}/resume", dependencies=[OPERATOR])
async def resume_job(here: Here, name: str, job: Job) -> JobRow:
    """Let a job go on."""
    await jobs.pause(here.store, device=name, name=job, yes=False)
    return await show_job(here, name, job)


@router.delete(f"{DEVICE}/jobs/{{job}}", status_code=204, dependencies=[ADMIN])
async def remove_job(here: Here, name: str, job: Job) -> None:
    """Remove a job; its pin stays as it is."""
    await jobs.remove(here.store, device=name, name=job)


@router.get(f"{DEVICE}/sensors")
async def list_sensors(here: Here, name: str) -> list[dict[str, Any]]:
    """List the sensors of a device."""
    return [sensor.to_dict() for sensor in await jobs.sensors(here.store, device=name)]


@router.post(f"{DEVICE}/sensors", status_code=201, dependencies=[ADMIN])
async def add_sensor(here: Here, name: str, wish: NewSensor) -> dict[str, Any]:
    """Read a sensor again and again."""
    device = (await registry.latest(here.store)).device(name)
    return (await jobs.add_sensor(here.store, new_sensor(device_id=device.id, **wish.model_dump()))).to_dict()


@router.delete(f"{DEVICE}/sensors/{{sensor}}", status_code=204, dependencies=[ADMIN])
async def remove_sensor(here: Here, name: str, sensor: Job) -> None:
    """Do not read a sensor any more."""
    await jobs.remove_sensor(here.store, device=name, name=sensor)


@router.get(f"{DEVICE}/readings")
async def show_readings(here: Here, name: str) -> dict[str, dict[str, float]]:
    """Show the latest of each reading that a device reported in the last 24 h."""
    device = (await registry.latest(here.store)).device(name)
    return {key: asdict(reading) for key, reading in (await readings.get(here.store, device.id)).items()}


@router.get(f"{DEVICE}/readings/{{reading}}")
async def show_past(
    here: Here,
    name: str,
    reading: Job,
    seconds: Annotated[int, Query(ge=60, le=86_400, description="how far back, from now")] = 86_400,
) -> dict[str, Any]:
    """Show what a reading was during the last day, at most once a minute, in columns."""
    device = (await registry.latest(here.store)).device(name)
    found = await readings.past(here.store, device.id, reading, here.clock() - seconds * 1_000)
    return {
        "device": device.name,
        "reading": reading,
        "at_ms": [one.at_ms for one in found],
        "value": [one.value for one in found],
    }
