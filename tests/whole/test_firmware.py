"""``simulate --firmware``: the lamp's real program on the real fleet, as a user starts both."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cable.plugged import PluggedBoard
from tests.firmware.boards import micropython
from tests.whole.fleet import Fleet, Up, wait_for


class Simulated:
    """One run of ``simulate --firmware``; what it says is kept in a file."""

    def __init__(self, fleet: Fleet, *words: str) -> None:
        self.log = fleet.home / "simulate.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                fleet.command("simulate", "--firmware", *words),
                env=fleet.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def said(self) -> str:
        return self.log.read_text()

    def addresses(self) -> list[str]:
        return re.findall(r"http://(127\.0\.0\.1:\d+)/ui", self.said())

    def started(self, count: int) -> list[str]:
        """Wait until all serve their pages, and return where."""
        wait_for(lambda: "Ctrl-C stops them" in self.said() or self.process.poll() is not None, 30, self.said)
        assert len(self.addresses()) == count, self.said()
        return self.addresses()


def fleet_in(folder: Path) -> Fleet:
    if not micropython().exists():
        reason = "there is no MicroPython for this machine: set MICROPYTHON to one that you built"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    (folder / "t").mkdir()
    return Fleet(folder, TMPDIR=str(folder / "t"))


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return fleet_in(tmp_path)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A fleet that runs, with one target and no device of the demo."""
    fleet = fleet_in(tmp_path_factory.mktemp("fleet"))
    with fleet.up("--nodemo") as running:
        wait_for(lambda: fleet.type("target", "calm", "add", "sim://calm?seed=1").returncode == 0, 20, running.said)
        yield running


@contextmanager
def simulated(fleet: Fleet, *words: str) -> Iterator[Simulated]:
    """Run it for a while; Ctrl-C must end it without a trace."""
    running = Simulated(fleet, *words)
    try:
        yield running
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(20) == 0, running.said()
        assert not chips(fleet)
        assert not list((fleet.home / "t").glob("espfleet-*"))
        assert "Traceback" not in running.said()
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def chips(fleet: Fleet) -> list[int]:
    """Return the process ids of the lamps' programs."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"FAKE_WORLD={fleet.home}/".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def state(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://{address}/state", timeout=10) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def wait_for_look(addresses: list[str], *looks: str) -> None:
    """Wait until each of the lamps shows one of these."""
    left = set(addresses)

    def all_do() -> bool:
        left.difference_update([one for one in left if state(one)["look"] in looks])
        return not left

    wait_for(all_do, 25, lambda: [state(one) for one in addresses])


def gateway(up: Up) -> int:
    (pid,) = up.fleet.processes()["run gateway"]
    return pid


def test_two_firmwares_are_registered_show_their_room_and_go_late_stale_and_fresh_with_their_gateway(
    up: Up,
) -> None:
    fleet = up.fleet
    with simulated(fleet, "2") as lamps:
        first, second = lamps.started(2)
        wait_for_look([first, second], "no settings")
        for address, name in ((first, "porch"), (second, "shelf")):
            assert fleet.ask("register", address, name)["name"] == name
        wait_for_look([first, second], "level")
        names = {"porch", "shelf"}
        wait_for(
            lambda: names <= {name for name, row in fleet.devices_by_web().items() if row["presence"] == "live"},
            20,
            fleet.devices,
        )
        row = fleet.devices()["porch"]
        assert (row["presence"], row["simulated"], row["chip"], row["room"]) == ("live", True, "ESP32", "default")
        wait_for(lambda: state(first)["level"] == fleet.levels()["default"]["level"], 20, lambda: state(first))
        assert state(second)["room"] == "default"
        # Frozen: what is shown becomes late, then stale; it is never green for long.
        pid = gateway(up)
        os.kill(pid, signal.SIGSTOP)
        wait_for_look([first, second], "late", "stale", "no gateway")
        wait_for_look([first, second], "stale", "no gateway")
        os.kill(pid, signal.SIGCONT)
        wait_for_look([first, second], "level")
        # Killed: `up` starts another one, and the lamps find it.
        before = {name: lamps.said().count(f"connected as {name}") for name in ("porch", "shelf")}
        os.kill(gateway(up), signal.SIGKILL)
        for name, count in before.items():
            wait_for(lambda: lamps.said().count(f"connected as {name}") > count, 25, lamps.said)  # noqa: B023
        wait_for_look([first, second], "level")
        with urllib.request.urlopen(f"http://{first}/ui", timeout=10) as page:
            told = page.read()
        assert (
            (gzip.decompress(told) if told[:2] == b"\x1f\x8b" else told).lstrip().lower().startswith(b"<!doctype html")
        )


def test_a_board_on_a_cable_is_provisioned_comes_and_shows_its_level(up: Up, tmp_path: Path) -> None:
    fleet = up.fleet
    board = PluggedBoard(tmp_path / "board")
    try:
        # Only here: without pages of its own, which would be everybody's.
        (board.folder / "settings.json").write_text('{"http_port": 0}')
        words = ("--name", "attic", "--wifi", "home", "--gateway", f"ws://127.0.0.1:{fleet.port}")
        told = subprocess.run(
            fleet.command("provision", board.port, *words),
            env=fleet.environ,
            input="a password of home\n",
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert told.returncode == 0, told.stderr
        assert json.loads(told.stdout)["id"] == "3c71bff93720"

        def shows() -> bool:
            row = fleet.devices_by_web().get("attic", {})
            return bool(row and row["presence"] == "live" and row["state"] == "ok" and not row["simulated"])

        wait_for(shows, 25, fleet.devices)
        assert "a password of home" not in up.said() + told.stdout + told.stderr
    finally:
        board.close()


def test_firmwares_register_themselves_in_a_room_and_leave_with_the_demo(fleet: Fleet) -> None:
    with simulated(fleet, "1", "--room", "hall") as lamps:
        (address,) = lamps.started(1)
        (row,) = fleet.devices().values()
        assert (row["room"], row["simulated"], row["address"]) == ("hall", True, address)
        assert re.match(r"sim-[0-9a-f]{6}$", row["name"])
        # Its gateway does not run.
        wait_for_look([address], "no gateway")
    assert fleet.ask("demo", "remove")["devices"] == 1


def test_firmwares_end_also_when_whoever_started_them_is_killed(fleet: Fleet) -> None:
    lamps = Simulated(fleet, "2")
    try:
        lamps.started(2)
        assert len(chips(fleet)) == 2
    finally:
        lamps.process.kill()
        lamps.process.wait()
    wait_for(lambda: not chips(fleet), 20, lambda: chips(fleet))


def test_without_a_micropython_one_sentence_says_what_to_do(fleet: Fleet) -> None:
    fleet.environ["MICROPYTHON"] = "/nothing/micropython"
    told = fleet.type("simulate", "--firmware", "1")
    assert told.returncode == 1
    assert told.stderr.startswith("espfleet: there is no MicroPython at /nothing/micropython: './espcli setup'")
    assert len(told.stderr.splitlines()) == 1
    assert fleet.type("simulate", "--firmware", "33").stderr == (
        "espfleet: firmware must be a number from 1 to 32, not '33'\n"
    )
