"""Lamps die, in every way there is: how soon do the command line, the web and the metrics all say so?

Gateway, steward, web and the others run each as a process over a Redis of its own (``tests/whole/house.py``), with the
settings that users have; the lamps are simulated, behind a proxy that can hold up what passes. Three onlookers ask
without pause: ``espcli watch``, ``GET /api/devices`` and ``GET /metrics``. One has said it with the first answer after
which it says nothing else. Where Redis is gone, what is to be said is that nothing is known. Of all rounds and
onlookers the latest counts.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.report import report
from espfleet.store.embedded import embedded_server, revive
from tests.ports import free_port
from tests.whole.fleet import Fleet
from tests.whole.house import House, counts, end, word

CAP_S = 600.0

SEED = 1
dice = random.Random(SEED)
ROUNDS = 3
LAMPS = 3
ASLEEP_S = 5.0
LATEST_S = 30.0
#: What was said must still be said so much later.
STAYS_S = 1.0
PAUSE_S = 0.02
BOUND = "ours <= 4"

#: How many lamps are in which state, with the reason where there is one; nothing where nothing is known.
Told = Mapping[str, int]
Process = subprocess.Popen[bytes]
#: Since when it is so, on the monotonic clock, and how it ends.
Fate = tuple[float, Callable[[], object]]


@dataclass
class Onlooker:
    """Somebody who looks again and again.

    Attributes:
        name: What it looks at.
        heard: When what was told, on the monotonic clock; the latest last.
    """

    name: str
    heard: list[tuple[float, Told]] = field(default_factory=list)

    def hear(self, told: Told) -> None:
        """Note what was told."""
        self.heard.append((time.monotonic(), told))

    def says(self, wanted: Told) -> bool:
        """Tell whether the latest that was told is this."""
        return bool(self.heard) and is_told(self.heard[-1][1], wanted)

    def since_s(self, wanted: Told) -> float:
        """Return since when nothing else was told, on the monotonic clock."""
        since_s = self.heard[-1][0]
        for at_s, told in reversed(self.heard):
            if not is_told(told, wanted):
                break
            since_s = at_s
        return since_s


def is_told(told: Told, wanted: Told) -> bool:
    """Tell whether what is told is what is wanted; reasons matter where some are wanted."""
    return told == wanted or by_state(told) == wanted


def by_state(told: Told) -> Told:
    """Return what is told without reasons."""
    return counts([state.partition(":")[0] for state, count in told.items() for _ in range(count)])


class Onlookers:
    """The three who look at a house, each on its own, until the end of the stack."""

    def __init__(self, house: House, stack: ExitStack) -> None:
        self._words, self._web, self._metrics = Onlooker("watch"), Onlooker("web"), Onlooker("metrics")
        self._over = threading.Event()
        watch = subprocess.Popen(
            house.fleet.command("watch"), env=house.fleet.environ, stdout=subprocess.PIPE, text=True
        )
        for listen in (
            lambda: self._hear_words(watch),
            lambda: self._ask(self._web, lambda: counts(house.by_web())),
            lambda: self._ask(self._metrics, house.by_metrics),
        ):
            thread = threading.Thread(target=listen)
            thread.start()
            stack.callback(thread.join)
        stack.callback(self._over.set)
        stack.callback(end, watch)

    def wait_for(self, wanted: Told, within_s: float) -> None:
        """Wait until all say the same."""
        until_s = time.monotonic() + within_s
        while not all(one.says(told) for one, told in self._of_each(wanted)):
            assert time.monotonic() < until_s, f"{wanted}: {[one.heard[-3:] for one, _ in self._of_each(wanted)]}"
            time.sleep(PAUSE_S)

    def waits_s(self, begun_s: float, wanted: Told) -> dict[str, float]:
        """Return how long after a moment each began to say what is wanted, and nothing else any more, s."""
        self.wait_for(wanted, LATEST_S)
        time.sleep(STAYS_S)
        self.wait_for(wanted, LATEST_S)
        return {one.name: one.since_s(told) - begun_s for one, told in self._of_each(wanted)}

    def _of_each(self, wanted: Told) -> list[tuple[Onlooker, Told]]:
        """Return who looks, each with what it is told where others are told this: metrics have no reasons."""
        return [(self._words, wanted), (self._web, wanted), (self._metrics, by_state(wanted))]

    def _ask(self, one: Onlooker, ask: Callable[[], Told]) -> None:
        while not self._over.is_set():
            one.hear(ask())
            time.sleep(PAUSE_S)

    def _hear_words(self, watch: subprocess.Popen[str]) -> None:
        """Follow ``watch``, which prints what changes, and when nothing is known."""
        assert watch.stdout is not None
        states: dict[str, str] = {}
        for line in watch.stdout:
            row = json.loads(line)
            if row["kind"] == "trouble":
                states.clear()
            elif row["kind"] == "device":
                states[row["name"]] = word(row["presence"], row["offline_reason"])
            self._words.hear(counts(list(states.values())))


class Fates:
    """What can become of lamps; each does it and returns since when it is so, on the monotonic clock, with its end."""

    def __init__(self, house: House, data: Path) -> None:
        self._house = house
        self._data = data

    def killed(self, lamps: Process) -> Fate:
        lamps.kill()
        return time.monotonic(), lambda: None

    def frozen(self, lamps: Process) -> Fate:
        return self._stop([lamps.pid])

    def cut(self, _: Process) -> Fate:
        self._hold()
        return time.monotonic(), self._heal

    def gateway_killed(self, _: Process) -> Fate:
        self._house.gateway.kill()
        return time.monotonic(), self._new_gateway

    def gateway_frozen(self, _: Process) -> Fate:
        return self._stop([self._house.gateway.pid])

    def redis_killed(self, _: Process) -> Fate:
        os.kill(self._redis(), signal.SIGKILL)
        return time.monotonic(), lambda: revive(self._data)

    def redis_stopped(self, _: Process) -> Fate:
        return self._stop([self._redis()])

    def asleep(self, _: Process) -> Fate:
        """Let everything but the lamps sleep, and their link break meanwhile: it counts from when all are awake."""
        running = self._house.fleet.processes()
        pids = [pid for name, some in running.items() if not name.startswith("simulate") for pid in some]
        wake = self._stop(pids)[1]
        self._hold()
        time.sleep(ASLEEP_S)
        wake()
        return time.monotonic(), self._heal

    def _stop(self, pids: Sequence[int]) -> Fate:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)

        def go_on() -> None:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

        return time.monotonic(), go_on

    def _hold(self) -> None:
        self._house.link.loop.call_soon_threadsafe(self._house.link.proxy.hold)

    def _heal(self) -> None:
        self._house.link.loop.call_soon_threadsafe(self._house.link.proxy.heal)

    def _new_gateway(self) -> None:
        self._house.gateway = self._house.workers.start("gateway")

    def _redis(self) -> int:
        (pid,) = self._house.fleet.processes()["redis"]
        return pid


#: Each way to die: its words, what does it, and what is to be said then.
WAYS: Sequence[tuple[str, Callable[[Fates, Process], Fate], Told]] = (
    ("a lamp is killed", Fates.killed, {"offline: closed": LAMPS}),
    ("a lamp freezes", Fates.frozen, {"offline: silent": LAMPS}),
    ("the link of a lamp is cut without a word", Fates.cut, {"offline: silent": LAMPS}),
    ("the gateway of a lamp is killed", Fates.gateway_killed, {"offline: gateway gone": LAMPS}),
    ("the gateway of a lamp freezes", Fates.gateway_frozen, {"offline: gateway gone": LAMPS}),
    ("Redis is killed", Fates.redis_killed, {}),
    ("Redis freezes", Fates.redis_stopped, {}),
    ("the host sleeps, and the lamp is gone when it wakes", Fates.asleep, {"offline": LAMPS}),
)


def main() -> None:
    """Measure and report."""
    found: dict[str, list[dict[str, float]]] = {words: [] for words, _, _ in WAYS}
    with running() as (house, fates):
        for _ in range(ROUNDS):
            for words, die, wanted in WAYS:
                found[words].append(one_death(house, partial(die, fates), wanted))
    for words, rounds in found.items():
        medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        split = ", ".join(f"{name} {median:.2f} s" for name, median in medians.items())
        report(
            f"{words}: the command line, the web and the metrics say so",
            [max(max(one.values()) for one in rounds)],
            unit="s",
            bound=BOUND,
            note=f"the latest of all three in {len(rounds)} rounds; medians: {split}",
        )


@contextmanager
def running() -> Iterator[tuple[House, Fates]]:
    """Run a fleet without lamps, over a Redis that nobody but us starts again."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ef")))
        url = stack.enter_context(embedded_server(home / ".espfleet"))
        fleet = Fleet(home, PROMETHEUS_PORT=str(free_port()), REDIS_URL=url)
        house = House(fleet, stack)
        house.ready()
        yield house, Fates(house, home / ".espfleet")


def one_death(house: House, die: Callable[[Process], Fate], wanted: Told) -> dict[str, float]:
    """Let some lamps live, then die; return when each onlooker said so, s."""
    with ExitStack() as stack:
        lamps = house.lamps(LAMPS, "hall", {"live": LAMPS})
        stack.callback(end, lamps)
        onlookers = Onlookers(house, stack)
        onlookers.wait_for({"live": LAMPS}, LATEST_S)
        # At any moment between two keepalives.
        time.sleep(dice.random())
        begun_s, heal = die(lamps)
        try:
            waits_s = onlookers.waits_s(begun_s, wanted)
        finally:
            heal()
    until_s = time.monotonic() + LATEST_S
    while house.fleet.type("demo", "remove").returncode:
        assert time.monotonic() < until_s, "the fleet does not come back"
    return waits_s


if __name__ == "__main__":
    main()
