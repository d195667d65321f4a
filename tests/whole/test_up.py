"""One command makes a fleet; whatever is killed comes back; nothing is left when it stops."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.whole.fleet import Fleet, Up, wait_for

#: Offline is told 3 s after the last keepalive; starting a Python on a busy machine takes some of the rest.
SHOWS_WITHIN_S = 6.0
HEALS_WITHIN_S = 20.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fleet, Up]]:
    """A fleet with the demo, healthy."""
    fleet = Fleet(tmp_path_factory.mktemp("up"))
    with fleet.up() as up:
        wait_for(lambda: healthy(fleet), 30, lambda: f"a healthy demo; {fleet.devices_by_web()} {up.said()}")
        yield fleet, up
    assert fleet.processes() == {}
    assert "Traceback" not in up.said()


def healthy(fleet: Fleet) -> bool:
    """Return whether all three lamps of the demo are live and show a level."""
    devices = fleet.devices_by_web()
    return len(devices) == 3 and all(one["presence"] == "live" and one["state"] == "ok" for one in devices.values())


@pytest.fixture
def fleet(running: tuple[Fleet, Up]) -> Fleet:
    wait_for(
        lambda: healthy(running[0]),
        HEALS_WITHIN_S,
        lambda: f"a healthy fleet: {running[0].devices_by_web()} {running[1].said()}",
    )
    return running[0]


@pytest.fixture
def up(running: tuple[Fleet, Up]) -> Up:
    return running[1]


@contextmanager
def simulated_lamp(fleet: Fleet) -> Iterator[str]:
    """Run a simulated lamp that waits to be registered; yield its address."""
    command = fleet.command("simulate", "1")
    with subprocess.Popen(command, env=fleet.environ, stderr=subprocess.PIPE, text=True) as lamps:
        assert lamps.stderr is not None
        line = next(line for line in lamps.stderr if "waits at" in line)
        try:
            yield line.split("register ")[1].split()[0]
        finally:
            lamps.terminate()


def test_an_empty_fleet_begins_with_the_demo(fleet: Fleet, up: Up) -> None:
    devices = fleet.devices()
    assert all(one["simulated"] and one["room"].startswith("demo-") for one in devices.values())
    assert all(row["simulated"] for row in fleet.ask("targets"))
    assert "it begins with the demo" in up.said()


def test_the_lamps_show_what_the_fleet_says(fleet: Fleet) -> None:
    def agree() -> bool:
        device = fleet.devices()["demo-fridge"]
        state = requests.get(f"http://{device['address']}/state", timeout=30).json()
        return bool((state["look"], state["room"]) == ("level", "demo-kitchen") and state["level"] == device["level"])

    # Between the two questions the level may have changed.
    wait_for(agree, 10, fleet.devices)


def test_why_agrees_with_what_is_published(fleet: Fleet) -> None:
    def agree() -> bool:
        told = fleet.ask("why", "demo-fridge")
        levels = [target["level"] for target in told["explanation"]["targets"]]
        return bool(max(levels) == told["published"]["level"])

    # Between the two there may have been a new sample.
    wait_for(agree, 10, lambda: "the level explained is the level published")


@pytest.mark.parametrize("worker", ["prober", "leveler", "gateway", "lamps"])
def test_a_killed_worker_shows_and_comes_back(fleet: Fleet, up: Up, worker: str) -> None:
    before = fleet.processes()[f"run {worker}"]
    os.kill(before[0], signal.SIGSTOP)
    try:
        wait_for(lambda: not healthy(fleet), SHOWS_WITHIN_S, lambda: f"a stopped {worker} shows: {fleet.devices()}")
        shown = fleet.devices()
        assert any((one["presence"], one["state"]) != ("live", "ok") for one in shown.values()), shown
    finally:
        # Stopped for ever, it would fail all tests after this one.
        os.kill(before[0], signal.SIGKILL)
    wait_for(
        lambda: healthy(fleet), HEALS_WITHIN_S, lambda: f"it heals without its {worker}: {fleet.devices()} {up.said()}"
    )
    assert fleet.processes()[f"run {worker}"] != before


def test_a_lamp_keeps_the_token_that_it_is_handed(fleet: Fleet, up: Up) -> None:
    def token() -> str:
        rows = json.loads((fleet.home / ".espfleet" / "lamps.json").read_text())
        return str(next(row["token"] for row in rows if row["name"] == "demo-fridge"))

    old = token()
    fleet.ask("device", "demo-fridge", "rotate_token")
    new = token()
    assert new != old
    before = fleet.processes()["run lamps"]
    up.kill("lamps")
    wait_for(
        lambda: fleet.processes().get("run lamps", before) != before and healthy(fleet),
        HEALS_WITHIN_S,
        lambda: f"it comes back with it: {fleet.devices()} {up.said()}",
    )
    assert token() == new


def test_a_killed_steward_comes_back(fleet: Fleet, up: Up) -> None:
    before = fleet.processes()["run steward"]
    up.kill("steward")
    wait_for(lambda: fleet.processes().get("run steward", before) != before, 10, up.said)


def test_a_killed_redis_comes_back_with_everything(fleet: Fleet, up: Up) -> None:
    fleet.ask("room", "kept", "add")
    time.sleep(1.1)  # appendfsync everysec: what is older than a second survives
    up.kill("redis")
    wait_for(lambda: healthy(fleet), HEALS_WITHIN_S, lambda: f"{fleet.devices()} {up.said()}")
    assert fleet.ask("room", "kept")["name"] == "kept"
    fleet.ask("room", "kept", "remove")


def test_a_second_up_in_the_same_folder_is_refused(fleet: Fleet) -> None:
    told = fleet.type("up")
    assert told.returncode == 1
    assert "is running in" in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert healthy(fleet)


def test_a_lamp_registered_by_hand_appears_with_room_level_and_presence(fleet: Fleet) -> None:
    with simulated_lamp(fleet) as address:
        done = fleet.ask("register", address, "porch", "--room", "demo-kitchen")
        assert done["new"]
        assert "token" not in done
        wait_for(
            lambda: (one := fleet.devices_by_web().get("porch")) and (one["presence"], one["state"]) == ("live", "ok"),
            10,
            fleet.devices,
        )
        shown = fleet.devices()["porch"]
        assert (shown["room"], shown["address"], shown["chip"]) == ("demo-kitchen", address, "simulated")
        assert fleet.ask("device", "porch", "identify")["ok"]
    wait_for(
        lambda: (one := fleet.devices_by_web().get("porch")) and one["presence"] == "offline",
        SHOWS_WITHIN_S,
        fleet.devices,
    )
    assert fleet.devices()["porch"]["offline_reason"] == "closed"
    fleet.ask("unregister", "porch")


def test_it_stops_in_two_seconds_and_leaves_nothing(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    with fleet.up("--nodemo") as up:
        wait_for(lambda: len(fleet.processes()) == 7, 20, fleet.processes)
        wait_for(lambda: "listens" in up.said(), 20, up.said)
        took_s = up.stop(signal.SIGINT)
    assert took_s < 4.0, "it has two seconds on a machine with nothing else to do"
    assert up.process.returncode == 0
    assert fleet.processes() == {}
    assert fleet.devices() == {}
    assert "Traceback" not in up.said()


def test_its_workers_end_when_it_is_killed(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    with fleet.up("--nodemo") as up:
        wait_for(lambda: "listens" in up.said(), 20, up.said)
        up.process.kill()
        up.process.wait()
        # They end as they would when told to, which takes long on a busy machine.
        wait_for(lambda: not fleet.processes(), 30, fleet.processes)


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        fleet = Fleet(tmp_path, SERVER_PORT=str(taken.getsockname()[1]))
        told = fleet.type("up")
    assert told.returncode == 1
    assert "the gateway cannot listen on 127.0.0.1" in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert fleet.processes() == {}


@pytest.mark.parametrize("setting", ["ESPFLEET_DATA", "SERVER_HOST"])
def test_a_setting_that_cannot_work_is_one_sentence(tmp_path: Path, setting: str) -> None:
    bad = {"ESPFLEET_DATA": "/proc/nowhere", "SERVER_HOST": "192.0.2.1"}[setting]
    told = Fleet(tmp_path, **{setting: bad}).type("up")
    assert told.returncode == 1
    assert told.stderr.startswith("espfleet: ")
    assert len(told.stderr.splitlines()) == 1
