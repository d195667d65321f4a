"""What a whole fleet costs: 10,000 lamps, 1,000 targets, everything on this machine, run as users run it.

``up`` runs Redis, prober, leveler, gateway, steward and web, each a process. Each lamp sends a keepalive a second,
every tenth with numbers in it, and readings each half minute, as the firmware does, and is told a level twice a second;
999 addresses of loopback are probed by ICMP once a second, in 20 groups, and one on an emulated network (20 ± 2 ms)
twice a second, with thresholds so close that nearly every reply makes another level, which is what the lamps show. CPU
is that of all processes of the fleet. Then one lamp in 32 is looked at on the wire: both moments, of the reply and of
the frame, are the kernel's stamps. (The kernel copies each packet to who looks, at the cost of who sends it: half a
microsecond of eight.)

``python -m bench.whole_fleet 0`` runs it with bare keepalives only, ``… 5`` with twice as many numbers.
"""

from __future__ import annotations

import ctypes
import json
import selectors
import socket
import statistics
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import emulate, namespace
from bench.capacity_page import NUMBERS
from bench.gateway import allow_files, cpu_s
from bench.peers.lamps import Lamps, lamps
from bench.reply_to_lamp import delays_ms, fleet, open_sniffer, sniff
from bench.report import not_measured, report
from espfleet.domain.devices import Device
from espfleet.domain.groups import Group
from espfleet.domain.rooms import Room
from espfleet.domain.targets import Target
from espfleet.domain.tokens import hash_token, new_token
from espfleet.simulator.session import FULL_KEEPALIVE_EVERY
from espfleet.store import registry
from espfleet.store.client import open_store
from espfleet.store.registry import Change

CAP_S = 540.0

RUNS = 5
LAMPS = 10_000
TARGETS = 1_000
GROUPS = 20
WATCHED = emulate.hosts(3, 1)[0]
WARM_UP_S = 10.0
MEASURED_S = 20.0
LOOKED_S = 15.0
SETTLE_S = 4.0
EMULATED_S = 120
CPU = "10,000 lamps, 1,000 targets: CPU of the whole fleet with Redis"
HALF = "10,000 lamps, 1,000 targets: from reply received to frame written, median"
TAIL = "10,000 lamps, 1,000 targets: from reply received to frame written, 99 of 100"
BOUNDS = {CPU: ("% of a core", "ours <= 60"), HALF: ("ms", "ours <= 80"), TAIL: ("ms", "ours <= 200")}
SO_ATTACH_FILTER = 26


@dataclass(frozen=True)
class Cost:
    """What one run took: share of a core by process, and how soon lamps were told, ms; and what lamps said."""

    shares: Mapping[str, float]
    delays_ms: list[float]
    lamps_busy: float
    said: str


def main(numbers_every: int = FULL_KEEPALIVE_EVERY) -> None:
    """Measure and report; every so many-th keepalive has numbers in it, or with 0 none."""
    allow_files()
    lack = emulate.missing() or ("" if namespace.possible() else "needs root, to see replies on the wire")
    if lack:
        for promise, (unit, bound) in BOUNDS.items():
            not_measured(promise, bound=bound, unit=unit, reason=lack)
        return
    runs = [one_run(numbers_every) for _ in range(RUNS)]
    shares = {name: statistics.median(run.shares[name] for run in runs) for name in runs[0].shares}
    split = ", ".join(f"{name} {share:.1%}" for name, share in sorted(shares.items(), key=lambda item: -item[1]))
    busy = max(run.lamps_busy for run in runs)
    figures = {
        CPU: [100 * sum(run.shares.values()) for run in runs],
        HALF: [statistics.median(run.delays_ms) for run in runs],
        TAIL: [statistics.quantiles(run.delays_ms, n=100)[98] for run in runs],
    }
    for promise, (unit, bound) in BOUNDS.items():
        note = f"{split}; the lamps' process: {busy:.0%}; {runs[-1].said}"
        report(promise, figures[promise], unit=unit, bound=bound, note=note)


def one_run(numbers_every: int) -> Cost:
    """Run a fleet and its lamps once."""
    tokens = [new_token() for _ in range(LAMPS)]

    async def set_up(url: str) -> None:
        async with open_store(url, name="bench") as store:
            await registry.change(store, lambda _: changes(tokens))

    with (
        namespace.private_network(),
        emulate.emulated_network(EMULATED_S),
        tempfile.TemporaryDirectory(prefix="ef") as home,
        tempfile.TemporaryDirectory(prefix="ef") as folder,
        fleet(Path(home), set_up) as (port, pid),
    ):
        time.sleep(SETTLE_S)  # the registry is read every two seconds where a hint was missed
        hellos = [hello(number, token) for number, token in enumerate(tokens)]
        with lamps(Path(folder), port, hellos) as crowd:
            opened = crowd.ask("connect 200")
            assert opened["open"] == LAMPS, opened
            crowd.tell(f"numbers {numbers_every}")
            return measure(crowd, port, pid, home)


def changes(tokens: list[str]) -> list[Change]:
    """Return the whole fleet: one group that all lamps watch, and twenty that are measured beside it."""
    small = {"latency_orange_ms": 18, "latency_red_ms": 24}
    none = dict.fromkeys(("jitter_orange_ms", "jitter_red_ms", "jump_orange", "jump_red"))
    watched = Target(name="watched", address=WATCHED, interval_ms=500)
    others = [
        Target(name=f"t{number}", address=f"127.98.{number // 250}.{1 + number % 250}") for number in range(TARGETS - 1)
    ]
    members = [tuple(target.name for target in others[start::GROUPS]) for start in range(GROUPS)]
    groups = [Group(name="watched", targets=("watched",), overrides={**small, **none})]
    groups += [Group(name=f"g{number}", targets=names) for number, names in enumerate(members)]
    devices = [
        Device(id=f"02be{number:08x}", name=f"bench-{number}", room="hall", token_hashes=(hash_token(token),))
        for number, token in enumerate(tokens)
    ]
    return [
        *(Change("targets", target.name, target.to_dict()) for target in (watched, *others)),
        *(Change("groups", group.name, group.to_dict()) for group in groups),
        Change("rooms", "hall", Room(name="hall", group="watched").to_dict()),
        *(Change("devices", device.id, device.to_dict()) for device in devices),
    ]


def hello(number: int, token: str) -> str:
    """Return what a lamp says first."""
    return json.dumps({"type": "hello", "protocol": 1, "id": f"02be{number:08x}", "token": token})


def measure(crowd: Lamps, port: int, pid: int, home: str) -> Cost:
    """Let the lamps live for a while, and look."""
    whole_ms = round((WARM_UP_S + MEASURED_S + LOOKED_S + 1) * 1_000)
    answers: list[Mapping[str, float]] = []
    living = threading.Thread(target=lambda: answers.append(crowd.ask(f"live 1000 {whole_ms}")))
    living.start()
    time.sleep(WARM_UP_S)
    before = {name: cpu_s(one) for name, one in processes(pid, home).items()}
    lamps_s, at_s = cpu_s(crowd.pid), time.monotonic()
    time.sleep(MEASURED_S)
    passed_s = time.monotonic() - at_s
    found = processes(pid, home)
    assert found.keys() == before.keys(), "a process of the fleet has died"
    shares = {name: (cpu_s(one) - before[name]) / passed_s for name, one in found.items()}
    busy = (cpu_s(crowd.pid) - lamps_s) / passed_s
    replies, frames = look(port, LOOKED_S)
    living.join()
    assert answers[0]["open"] == LAMPS, answers
    return Cost(shares=shares, delays_ms=delays_ms(replies, frames), lamps_busy=busy, said=in_words(answers[0]))


def in_words(did: Mapping[str, float]) -> str:
    """Return what lamps said that is not free: a bare keepalive costs a tenth of one with numbers."""
    share = did["numbered"] / did["sent"]
    if not share:
        return "bare keepalives only"
    return f"{share:.0%} of {did['sent']:,} keepalives with {NUMBERS}, and {did['readings']:,} messages of readings"


def look(port: int, for_s: float) -> tuple[list[float], list[tuple[float, int, int]]]:
    """Return when replies came, and frames to one lamp in 32."""
    replies: list[float] = []
    frames: list[tuple[float, int, int]] = []
    end_s = time.monotonic() + for_s
    with open_sniffer("") as sniffer, selectors.DefaultSelector() as ready:
        keep_few(sniffer)
        ready.register(sniffer, selectors.EVENT_READ)
        while time.monotonic() < end_s:
            if ready.select(0.05):
                sniff(sniffer, port, replies, frames, WATCHED)
    return replies, frames


def keep_few(sniffer: socket.socket) -> None:
    """Let the kernel pass on only echo replies, and TCP to ports that 32 divides (classic BPF, on the IP header)."""
    program = [
        (0x30, 0, 0, 9),  # the protocol
        (0x15, 0, 2, 1),  # ICMP?
        (0x30, 0, 0, 20),  # its type
        (0x15, 4, 5, 0),  # an echo reply: take it
        (0x15, 0, 4, 6),  # TCP?
        (0x28, 0, 0, 22),  # the port it goes to
        (0x54, 0, 0, 31),
        (0x15, 0, 1, 0),
        (0x06, 0, 0, 0xFFFF),
        (0x06, 0, 0, 0),
    ]
    packed = b"".join(struct.pack("HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(packed)
    sniffer.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(buffer)))


def processes(parent: int, home: str) -> dict[str, int]:
    """Return the processes of the fleet in a folder by what they are."""
    found: dict[str, int] = {"up": parent}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat[1]) == parent and "run" in words:
            found[words[words.index("run") + 1]] = int(folder.name)
        elif "valkey-server" in words[0] and f":{home}/" in words[0]:
            found["redis"] = int(folder.name)
    return found


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
