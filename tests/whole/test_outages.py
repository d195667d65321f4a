"""Redis stops, stalls or is emptied: lamps show that nothing is known, and everything comes back by itself."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
import redis
import requests

from tests.whole.fleet import Fleet, Up, wait_for

#: Longer than any answer of Redis is waited for, which is 7 s.
STALL_S = 9.0
#: Without a beat for 3 s the gateway says so; the lamps' own lease ends at the latest 1.5 s later.
DARK_WITHIN_S = 5.0
BACK_WITHIN_S = 5.0
#: Commands that look take their time on a busy machine.
LOOKING_S = 3.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fleet, Up, list[str]]]:
    """A healthy demo, and the addresses of its lamps."""
    fleet = Fleet(tmp_path_factory.mktemp("o"))
    with fleet.up() as up:
        wait_for(lambda: "come again" in up.said() or "is mine" in up.said(), 30, up.said)
        wait_for(lambda: len([one for one in fleet.devices_by_web().values() if one["address"]]) == 3, 20, up.said)
        addresses = [one["address"] for one in fleet.devices().values()]
        yield fleet, up, addresses
    assert "Traceback" not in up.said()
    assert fleet.processes() == {}


def words(addresses: list[str]) -> list[str]:
    """Return what the lamps show, asked at the lamps themselves."""
    return [requests.get(f"http://{address}/state", timeout=30).json()["look"] for address in addresses]


def test_a_stalled_redis_darkens_the_lamps_and_all_comes_back(running: tuple[Fleet, Up, list[str]]) -> None:
    fleet, up, addresses = running
    wait_for(lambda: set(words(addresses)) == {"level"}, 20, up.said)
    (pid,) = fleet.processes()["redis"]
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    try:
        wait_for(lambda: "level" not in words(addresses), DARK_WITHIN_S, lambda: f"dark lamps, not {words(addresses)}")
        while time.monotonic() - began < STALL_S:
            assert "level" not in words(addresses), "a lamp shows a level although nothing is known"
            time.sleep(0.25)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: set(words(addresses)) == {"level"}, BACK_WITHIN_S, lambda: f"{words(addresses)} {up.said()}")
    told = [line for line in up.said().splitlines() if "waiting for Redis" in line]
    assert told
    assert len({line.split(" waiting")[0].split(" ", 1)[1] for line in told}) == len(told), "each loop says so once"


def test_an_emptied_redis_is_an_empty_fleet_and_can_be_set_up_again(running: tuple[Fleet, Up, list[str]]) -> None:
    fleet, up, addresses = running
    wait_for(lambda: set(words(addresses)) == {"level"}, 20, up.said)
    with redis.Redis(unix_socket_path=str(fleet.home / ".espfleet" / "redis.sock")) as client:
        client.flushall()
    wait_for(lambda: "level" not in words(addresses), DARK_WITHIN_S, lambda: f"dark lamps, not {words(addresses)}")
    assert fleet.devices() == {}
    assert fleet.type("demo", "add").returncode == 0
    wait_for(
        lambda: fleet.levels() and all(one["state"] == "ok" for one in fleet.levels().values()),
        BACK_WITHIN_S + LOOKING_S,
        lambda: f"{fleet.levels()} {up.said()}",
    )
