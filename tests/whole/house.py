"""A house full of lamps behind a bad link, looked at in every way there is: words, web and metrics."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path
from random import Random

import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.chaos.proxy import FaultProxy
from tests.own_time import calm_s
from tests.whole.fleet import Fleet, Workers, wait_for


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
        self._thread.join(30)
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

    def ready(self) -> None:
        """Wait until the steward has its duties and the web answers."""
        wait_for(lambda: "the sweep is mine" in self.workers.log.read_text(), 20, self.workers.log.read_text)
        wait_for(self._web_answers, 20, self.workers.log.read_text)

    def _web_answers(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"http://127.0.0.1:{self.fleet.web_port}/healthz", timeout=30).ok
        return False

    def lamps(self, count: int, room: str, wanted: dict[str, int]) -> subprocess.Popen[bytes]:
        """Start lamps in a process of their own; return it once all three say what is wanted."""
        process = self.start_lamps(count, room)
        self.agree(wanted, 40.0)
        return process

    def start_lamps(self, count: int, room: str, port: int | None = None) -> subprocess.Popen[bytes]:
        """Start lamps in a process of their own: behind the bad link, or at a port of loopback."""
        environ = {**self.fleet.environ, "SERVER_PORT": str(port or self.link.proxy.port)}
        log = self._stack.enter_context(self.workers.log.open("ab"))
        words = self.fleet.command("simulate", str(count), "--room", room)
        process = subprocess.Popen(words, env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._stack.callback(end, process)
        return process

    def watch(self) -> Path:
        """Let somebody watch by the command line; return the file that is written."""
        told = self.fleet.home / "watched"
        with told.open("wb") as file:
            process = subprocess.Popen(self.fleet.command("watch"), env=self.fleet.environ, stdout=file, stderr=file)
        self._stack.callback(end, process)
        return told

    def by_web(self) -> list[str]:
        """Return what the web says of each device; nothing while it says nothing."""
        with contextlib.suppress(requests.RequestException, KeyError):
            rows = requests.get(self.api_url, timeout=30).json()["items"]
            return [word(row["presence"], row["offline_reason"]) for row in rows]
        return []

    def by_metrics(self) -> dict[str, int]:
        """Return how many devices are in each state, by the metrics."""
        with contextlib.suppress(requests.RequestException):
            families = text_string_to_metric_families(requests.get(self.metrics_url, timeout=30).text)
            found = {one.name: one.samples for one in families}
            told = {sample.labels["state"]: int(sample.value) for sample in found.get("espfleet_devices", [])}
            return {state: count for state, count in told.items() if count}
        return {}

    def by_words(self) -> list[str]:
        """Return what the command line says of each device."""
        return [word(row["presence"], row["offline_reason"]) for row in self.fleet.ask("devices")]

    def agree(self, wanted: dict[str, int], within_s: float) -> float:
        """Wait until all three say the same; return how long the web and the metrics took."""
        began_s = calm_s()

        def told() -> bool:
            words = self.by_web()
            by_state = counts([told.partition(":")[0] for told in words])
            return counts(words) == wanted and self.by_metrics() == by_state

        wait_for(
            told,
            within_s,
            lambda: f"{wanted}: {self.by_web()} {self.by_metrics()} {self.workers.log.read_text()[-3_000:]}",
        )
        took_s = calm_s() - began_s
        assert counts(self.by_words()) == wanted
        return took_s


def word(presence: str, reason: str | None) -> str:
    """Return the state of a device, with the reason why it is not there."""
    return f"{presence}: {reason}" if presence == "offline" else presence


def counts(words: list[str]) -> dict[str, int]:
    """Return how many devices are in each state."""
    return {word: words.count(word) for word in set(words)}


def end(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """End a process, also one that is stopped."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()
