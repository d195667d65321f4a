"""However a lamp dies, the command line, the web and the metrics say so: soon, why, and in the same words."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from random import Random

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.chaos.proxy import FaultProxy
from tests.whole.fleet import Fleet, free_port, wait_for
from tests.whole.test_sharing import Workers

#: What is promised: a watchdog of 3 s, and a second to say so; and what a busy machine takes to start a command.
SAID_WITHIN_S = 4.0
LOOKING_S = 6.0
LOSSY_S = 12.0
LOSS = 0.2


class Link:
    """A proxy with a loop of its own."""

    def __init__(self, port: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.proxy = FaultProxy([port], Random(1))
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.proxy.start(), self.loop).result(10)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.proxy.stop(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class House:
    """Workers, a bad link, and lamps behind it, each lot a process."""

    def __init__(self, fleet: Fleet, stack: ExitStack) -> None:
        self.fleet = fleet
        self.workers = Workers(fleet, stack)
        self.metrics_url = f"http://127.0.0.1:{fleet.environ['PROMETHEUS_PORT']}/metrics"
        self.api_url = f"http://127.0.0.1:{fleet.web_port}/api/devices"
        self.workers.start("steward")
        for worker in ("leveler", "prober", "web"):
            self.workers.start(worker)
        self.gateway = self.workers.start("gateway")
        self.link = Link(fleet.port)
        stack.callback(self.link.close)
        self._stack = stack

    def lamps(self, count: int, room: str, wanted: dict[str, int]) -> subprocess.Popen[bytes]:
        """Start lamps in a process of their own; return it once all three say what is wanted."""
        environ = {**self.fleet.environ, "SERVER_PORT": str(self.link.proxy.port)}
        log = self._stack.enter_context(self.workers.log.open("ab"))
        words = self.fleet.command("simulate", str(count), "--room", room)
        process = subprocess.Popen(words, env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._stack.callback(_end, process)
        self.agree(wanted, 40.0)
        return process

    def by_web(self) -> list[str]:
        """Return what the web says of each device; nothing while it says nothing."""
        with contextlib.suppress(requests.RequestException, KeyError):
            rows = requests.get(self.api_url, timeout=10).json()["items"]
            return [_word(row["presence"], row["offline_reason"]) for row in rows]
        return []

    def by_metrics(self) -> dict[str, int]:
        """Return how many devices are in each state, by the metrics."""
        with contextlib.suppress(requests.RequestException):
            families = text_string_to_metric_families(requests.get(self.metrics_url, timeout=10).text)
            found = {one.name: one.samples for one in families}
            return {sample.labels["state"]: int(sample.value) for sample in found.get("espfleet_devices", [])}
        return {}

    def by_words(self) -> list[str]:
        """Return what the command line says of each device."""
        return [_word(row["presence"], row["offline_reason"]) for row in self.fleet.ask("devices")]

    def agree(self, wanted: dict[str, int], within_s: float) -> float:
        """Wait until all three say the same; return how long the web and the metrics took."""
        began_s = time.monotonic()

        def told() -> bool:
            words = self.by_web()
            by_state = _counts([word.partition(":")[0] for word in words])
            return _counts(words) == wanted and self.by_metrics() == by_state

        wait_for(
            told,
            within_s,
            lambda: f"{wanted}: {self.by_web()} {self.by_metrics()} {self.workers.log.read_text()[-3_000:]}",
        )
        took_s = time.monotonic() - began_s
        assert _counts(self.by_words()) == wanted
        return took_s


def _word(presence: str, reason: str | None) -> str:
    return f"{presence}: {reason}" if presence == "offline" else presence


def _counts(words: list[str]) -> dict[str, int]:
    return {word: words.count(word) for word in set(words)}


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    fleet = Fleet(tmp_path_factory.mktemp("h"), PROMETHEUS_PORT=str(free_port()))
    with ExitStack() as stack:
        house = House(fleet, stack)
        wait_for(lambda: "the sweep is mine" in house.workers.log.read_text(), 20, house.workers.log.read_text)
        wait_for(lambda: _listens(fleet.web_port), 20, house.workers.log.read_text)
        yield house
    assert "Traceback" not in house.workers.log.read_text()
    assert fleet.processes() == {}


@pytest.fixture
def house(built: House) -> Iterator[House]:
    """Return a house without lamps."""
    yield built
    assert built.fleet.type("demo", "remove").returncode == 0


def _listens(port: int) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).ok
    return False


def said_in_time(took_s: float) -> None:
    assert took_s < SAID_WITHIN_S + LOOKING_S


@pytest.mark.timeout(240)
def test_every_way_a_lamp_can_die_is_told_with_its_reason_and_the_same_everywhere(house: House) -> None:
    killed = house.lamps(2, "hall", {"live": 2})
    killed.kill()
    said_in_time(house.agree({"offline: closed": 2}, SAID_WITHIN_S + LOOKING_S))

    frozen = house.lamps(1, "attic", {"offline: closed": 2, "live": 1})
    frozen.send_signal(signal.SIGSTOP)
    said_in_time(house.agree({"offline: closed": 2, "offline: silent": 1}, SAID_WITHIN_S + LOOKING_S))

    house.lamps(2, "cellar", {"offline: closed": 2, "offline: silent": 1, "live": 2})
    house.link.loop.call_soon_threadsafe(house.link.proxy.hold)
    said_in_time(house.agree({"offline: closed": 2, "offline: silent": 3}, SAID_WITHIN_S + LOOKING_S))
    house.link.loop.call_soon_threadsafe(house.link.proxy.heal)

    def told() -> set[str]:
        return {event["sentence"] for event in house.fleet.ask("events") if event["kind"] == "outage"}

    wanted = {
        "2 of 2 devices of room hall went offline at one moment: closed",
        "2 of 2 devices of room cellar went offline at one moment: silent",
    }
    wait_for(lambda: wanted <= told(), SAID_WITHIN_S + LOOKING_S, told)


@pytest.mark.timeout(240)
def test_a_gateway_that_dies_or_sleeps_is_the_reason_of_all_its_lamps(house: House) -> None:
    house.lamps(2, "hall", {"live": 2})
    house.gateway.send_signal(signal.SIGSTOP)
    said_in_time(house.agree({"offline: gateway gone": 2}, SAID_WITHIN_S + LOOKING_S))
    house.gateway.send_signal(signal.SIGCONT)
    house.agree({"live": 2}, 40.0)
    house.gateway.kill()
    said_in_time(house.agree({"offline: gateway gone": 2}, SAID_WITHIN_S + LOOKING_S))
    house.gateway = house.workers.start("gateway")
    house.agree({"live": 2}, 60.0)


@pytest.mark.timeout(240)
def test_while_redis_is_gone_nobody_says_that_anything_is_well(house: House) -> None:
    house.lamps(2, "hall", {"live": 2})
    (pid,) = house.fleet.processes()["redis"]
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(
            lambda: "espfleet_fresh 0.0" in requests.get(house.metrics_url, timeout=10).text,
            2 * (SAID_WITHIN_S + LOOKING_S),
            lambda: requests.get(house.metrics_url, timeout=10).text[:500],
        )
        assert house.by_metrics() == {}
        assert requests.get(house.api_url, timeout=15).status_code == 503
        told = house.fleet.type("devices", timeout_s=40)
        assert (told.returncode, told.stdout) == (1, "")
        assert len(told.stderr.splitlines()) == 1
    finally:
        os.kill(pid, signal.SIGCONT)
    house.agree({"live": 2}, 40.0)


@pytest.mark.timeout(240)
def test_a_link_that_loses_every_fifth_packet_makes_no_lamp_offline(house: House) -> None:
    house.lamps(3, "hall", {"live": 3})
    (latest,) = house.fleet.ask("events", "1", "--each")
    house.link.loop.call_soon_threadsafe(house.link.proxy.lose, LOSS)
    until_s = time.monotonic() + LOSSY_S
    while time.monotonic() < until_s:
        assert not [word for word in house.by_web() if word.startswith("offline")]
        time.sleep(0.2)
    house.link.loop.call_soon_threadsafe(house.link.proxy.heal)
    since = [event for event in house.fleet.ask("events", "100", "--each") if event["at_ms"] > latest["at_ms"]]
    assert [event for event in since if event.get("presence") == "offline"] == []
