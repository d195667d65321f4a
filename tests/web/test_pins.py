"""Jobs, sensors, readings, locks and requests over HTTP, as on the command line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from espfleet.services import boards, devices
from espfleet.simulator.boards import BoardSimulator, SimulatedBoard, new_boards
from espfleet.store import readings, registry
from espfleet.store.client import Store
from tests.conftest import wait_until
from tests.web.serving import Web

ID = "3c71bff93721"
NIGHT = {"name": "night", "pin": 22, "start": "18:30", "hours": 4.5, "days": "mon-fri", "zone": "Europe/Berlin"}


@pytest.fixture
async def porch(store: Store) -> str:
    await devices.register(store, device_id=ID, name="porch", now_ms=1)
    return "/api/devices/porch"


@pytest.fixture
async def board(store: Store) -> AsyncIterator[SimulatedBoard]:
    """A board that is being served, registered as ``board``."""
    simulator = BoardSimulator(new_boards(1))
    running = asyncio.create_task(simulator.run())
    await wait_until(simulator.started.is_set)
    served = next(iter(simulator.boards.values()))
    await devices.register(store, device_id=served.id, name="board", now_ms=1, address=served.address)
    yield served
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_timer_is_added_paused_resumed_and_removed(web: Web, porch: str) -> None:
    made = await web.post(f"{porch}/jobs", NIGHT)
    assert (made["kind"], made["start"], made["duration_s"], made["days"][-1]) == ("timer", "18:30:00", 16_200, "fri")
    assert (made["device"], made["wish"], made["paused"]) == ("porch", None, False)
    assert (await web.post(f"{porch}/jobs/night/pause", None, 200))["paused"]
    assert not (await web.post(f"{porch}/jobs/night/resume", None, 200))["paused"]
    assert [job["name"] for job in await web.get("/api/jobs")] == ["night"]
    assert (await web.send("DELETE", f"{porch}/jobs/night")).status_code == 204
    assert await web.get(f"{porch}/jobs") == []
    assert (await web.get(f"{porch}/jobs/night", 404))["code"] == "not_found"


async def test_a_job_with_a_border_needs_its_value(web: Web, porch: str) -> None:
    heat = {"name": "heat", "pin": 23, "source": "porch/air.temp", "border": 20, "hysteresis": 1, "least_ms": 60_000}
    made = await web.post(f"{porch}/jobs", heat)
    assert (made["kind"], made["side"], made["min_on_s"]) == ("threshold", "below", 60)
    assert (await web.post(f"{porch}/jobs", {"name": "heat", "pin": 23, "border": 20}, 422))["field"] == "source"
    assert (await web.post(f"{porch}/jobs", {**NIGHT, "start": "25:00"}, 422))["field"] == "start"
    assert (await web.post(f"{porch}/jobs", {**NIGHT, "zone": "Mars"}, 422))["field"] == "zone"


async def test_sensors_are_added_listed_and_removed(web: Web, porch: str) -> None:
    await web.post(f"{porch}/sensors", {"name": "air", "kind": "dht22", "pin": 4})
    assert (await web.post(f"{porch}/sensors", {"name": "air", "kind": "nose", "pin": 4}, 422))["field"] == "kind"
    assert [one["interval_s"] for one in await web.get(f"{porch}/sensors")] == [30]
    assert (await web.send("DELETE", f"{porch}/sensors/air")).status_code == 204
    assert await web.get(f"{porch}/sensors") == []


async def test_readings_are_shown_with_their_past(store: Store, web: Web, porch: str) -> None:
    at_ms = await store.time_ms() - 300_000
    for number in range(3):
        await readings.put(store, ID, {"air.temp": 20.0 + number}, at_ms + number * 60_000)
    assert (await web.get(f"{porch}/readings"))["air.temp"] == {"value": 22.0, "at_ms": at_ms + 120_000}
    assert (await web.get(f"{porch}/readings/air.temp"))["value"] == [20.0, 21.0, 22.0]
    assert (await web.get(f"{porch}/readings/air.temp?seconds=200"))["value"] == [22.0]


async def test_a_board_is_visited_and_its_pins_become_as_its_jobs_wish(web: Web, board: SimulatedBoard) -> None:
    assert await web.get("/api/devices/board/board") is None
    await web.post("/api/devices/board/jobs", {"name": "always", "pin": 22})
    assert (await web.post("/api/devices/board/visit", None, 200))["switched"] == {"22": 1}
    assert (await web.get("/api/devices/board/board"))["gpio"]["22"] == 1
    job = (await web.get("/api/devices/board/jobs"))[0]
    assert job["wish"]
    assert job["why"].startswith("its window lasts until")


async def test_a_board_is_asked_past_its_lock(web: Web, board: SimulatedBoard) -> None:
    async def ask(question: str, status: int = 200, **arguments: object) -> dict[str, object]:
        body = {"question": question, "arguments": arguments}
        told: dict[str, object] = await web.post("/api/devices/board/requests", body, status)
        return told

    assert (await ask("get_basic"))["id"] == board.id
    assert await ask("set_gpio", pin=[22, 23], value=1) == {"pin": [22, 23], "value": 1}
    await ask("flip_gpio", pin=23)
    assert (await ask("get_basic"))["gpio"]["22"] == 1  # type: ignore[index]
    assert set(await ask("get_dht22", pin=4)) == {"temp", "humidity"}
    assert (await ask("read_adc", pin=34, samples=2))["data"]
    assert (await ask("dance", 422))["field"] == "question"
    assert (await ask("get_basic", 422, pin=1))["field"] == "arguments"
    assert (await ask("set_gpio", 422, pin=99, value=1))["field"] == "pin"


async def test_a_lock_keeps_others_away_until_it_is_opened(
    web: Web, board: SimulatedBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert boards.visit.__kwdefaults__ is not None
    monkeypatch.setitem(boards.visit.__kwdefaults__, "wait_ms", 300)
    assert (await web.send("PUT", "/api/devices/board/locks/request", json={"ttl_ms": 60_000})).status_code == 204
    assert (await web.post("/api/devices/board/visit", None, 409))["code"] == "lock_busy"
    assert (await web.send("DELETE", "/api/devices/board/locks/request")).json() == {"was_locked": True}
    await web.post("/api/devices/board/visit", None, 200)


async def test_a_device_gets_another_token_and_its_board_one_of_its_own(store: Store, web: Web, porch: str) -> None:
    first = await web.post(f"{porch}/token?show=true", None)
    assert len(first["token"]) == 43
    # Over its link it cannot be told: it is not there.
    assert (await web.post(f"{porch}/token", None, 409))["code"] == "refused"
    assert (await web.send("PUT", f"{porch}/board_token", json={"token": "of-the-board"})).status_code == 204
    assert (await registry.load(store)).device("porch").board_token == "of-the-board"
    shown = (await web.send("GET", porch)).text
    assert "of-the-board" not in shown
    assert first["token"] not in shown


async def test_firmware_is_shown_and_offered_only_to_lamps_that_are_there(web: Web, porch: str) -> None:
    assert (await web.get(f"{porch}/firmware"))["update"] is None
    assert (await web.post("/api/devices/nobody/firmware", {}, 404))["code"] == "not_found"
