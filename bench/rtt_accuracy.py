"""How far measured round trips are off, on a network of known delays, idle and with a busy core; and false losses.

The truth is a tap: a packet socket on the device, which the kernel tells when each packet passed it. What it cannot
show is the way from the socket to the device. The network answers from the first core; we, and whoever keeps our core
busy, are on the last one.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from bench.emulate import DEVICE, WAYS, emulated_network, hosts, missing
from bench.namespace import possible, private_network
from bench.prober import an_engine, first_core, last_core, on_core, target_list
from bench.report import not_measured, report
from espfleet.probes.outcomes import Engine
from espfleet.probes.sockets import SO_RCVBUFFORCE, SO_TIMESTAMPNS
from espfleet.probes.wire import PACKET

CAP_S = 240.0

TARGETS = 1_000
ROUNDS = 4
RUNS = 3
HOGS = 3
#: Half a second for what is on its way at the end.
REST_S = 1.3
TAP_BYTES = 64 << 20
#: Only a socket of all protocols sees what is sent, too.
ETH_P_ALL = 0x0003
IP_BYTES = 20
FPING_LINE = re.compile(r"(\S+) +: \[(\d+)\], \d+ bytes, ([\d.]+) ms")

Table = npt.NDArray[np.float64]

P50 = "RTT error against a tap, median, {load}"
P99 = "RTT error against a tap, 99th percentile, {load}"
FALSE_LOSS = "probes called lost whose answer came in time, {load}"
LOADS = {"idle": 0, f"{HOGS} busy loops on the core": HOGS}
BOUNDS = {P50: "ours <= 2", P99: "ours <= 30", FALSE_LOSS: "ours == 0"}


def main() -> None:
    """Measure all promises, idle and busy."""
    reason = ("needs root, for a network namespace" if not possible() else "") or missing()
    if reason:
        for load in LOADS:
            for promise, bound in BOUNDS.items():
                not_measured(promise.format(load=load), bound=bound, reason=reason)
        return
    with private_network(), emulated_network(int(CAP_S), core=first_core()), on_core(last_core()):
        for load, hogs in LOADS.items():
            with busy(hogs):
                measure(load)


def measure(load: str) -> None:
    """Take turns with fping, and report."""
    ips = [ip for way in WAYS for ip in hosts(way, TARGETS // len(WAYS))]
    ours, theirs = [], []
    for _ in range(RUNS):
        ours.append(our_errors(ips))
        if shutil.which("fping"):
            theirs.append(fping_errors(ips))
    true_loss = sum(errors.true_loss for errors in ours)
    note = f"{RUNS} runs of {TARGETS * ROUNDS:,} probes, of which the network lost {true_loss}"
    for promise, percent in ((P50, 50), (P99, 99)):
        report(
            promise.format(load=load),
            [errors.percentile_us(percent) for errors in ours],
            [errors.percentile_us(percent) for errors in theirs] or None,
            bound=BOUNDS[promise],
            unit="µs",
            peer_name="fping" if theirs else "",
            note=f"{note}; worst {max(errors.percentile_us(100) for errors in ours):.0f} µs",
        )
    report(
        FALSE_LOSS.format(load=load),
        [errors.false_loss for errors in ours],
        [errors.false_loss for errors in theirs] or None,
        bound=BOUNDS[FALSE_LOSS],
        peer_name="fping" if theirs else "",
        note=f"{note}; called answered by us although lost: {sum(errors.false_life for errors in ours)}",
    )


class Errors:
    """Measured against true round trips, both in microseconds, NaN where there was none.

    Attributes:
        true_loss: Probes that the network lost.
        false_loss: Answered in truth, lost as measured.
        false_life: The other way round.
    """

    def __init__(self, measured: Table, truth: Table) -> None:
        self._off_us = np.abs(measured - truth)
        lost = np.isnan(truth)
        self.true_loss = int(lost.sum())
        self.false_loss = int((np.isnan(measured) & ~lost).sum())
        self.false_life = int((~np.isnan(measured) & lost).sum())

    def percentile_us(self, percent: float) -> float:
        """Return a percentile of the error."""
        return float(np.nanpercentile(self._off_us, percent))


def our_errors(ips: Sequence[str]) -> Errors:
    """Probe for some rounds and compare with what passed the device."""
    engine = an_engine(ips, 1_000, timeout_ms=1_000)
    with tap() as packets:
        measured = asyncio.run(probe(engine, len(ips)))
        engine.close()
        truth = np.full(measured.shape, np.nan)
        sent: dict[tuple[int, int], int] = {}
        for at_ns, icmp in packets():
            if len(icmp) < PACKET.itemsize:
                continue
            packet = np.frombuffer(icmp, PACKET, 1)[0]
            key = int(packet["round"]), int(packet["slot"])
            if packet["type"] == 8:
                sent[key] = at_ns
            elif packet["type"] == 0 and key in sent and key[0] < ROUNDS:
                truth[key] = (at_ns - sent[key]) / 1e3
    return Errors(measured, truth)


async def probe(engine: Engine, slots: int) -> Table:
    """Return the round trips of some rounds, float64 [rounds, slots]."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    found = np.full((ROUNDS, slots), np.nan)
    last_send, end = loop.time() + ROUNDS - 0.0005, loop.time() + ROUNDS + REST_S

    def tick() -> None:
        if loop.time() >= last_send:
            engine.retire()
        for part in engine.tick(time.monotonic_ns()):
            if part.number < ROUNDS:
                found[part.number, part.slots] = part.rtt_us
        if loop.time() >= end:
            done.set()
        else:
            wanted_s = engine.next_tick_ns(time.monotonic_ns()) / 1e9
            loop.call_at(min(wanted_s, end), tick)

    tick()
    await done.wait()
    return found


def fping_errors(ips: Sequence[str]) -> Errors:
    """Let fping do the same, as evenly spread."""
    index = {ip: number for number, ip in enumerate(ips)}
    measured, truth = (np.full((ROUNDS, len(ips)), np.nan) for _ in range(2))
    with target_list(ips) as targets, tap() as packets:
        command = [
            "fping",
            "-i",
            str(900 / len(ips)),
            "-p",
            "1000",
            "-t",
            "1000",
            "-c",
            str(ROUNDS),
            "-f",
            str(targets),
        ]
        said = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60).stdout
        for ip, number, rtt_ms in FPING_LINE.findall(said):
            measured[int(number), index[ip]] = float(rtt_ms) * 1e3
        # fping probes each address in turn, so an address's requests pass in the order of their numbers.
        counts = dict.fromkeys(ips, 0)
        waiting: dict[tuple[str, bytes], tuple[int, int]] = {}
        for at_ns, packet in packets(whole=True):
            request = packet[IP_BYTES] == 8
            ip = socket.inet_ntoa(packet[16:20] if request else packet[12:16])
            key = ip, packet[IP_BYTES + 4 : IP_BYTES + 8]
            if request and ip in counts:
                waiting[key] = at_ns, counts[ip]
                counts[ip] += 1
            elif key in waiting:
                sent_ns, number = waiting.pop(key)
                if number < ROUNDS:
                    truth[number, index[ip]] = (at_ns - sent_ns) / 1e3
    return Errors(measured, truth)


@contextlib.contextmanager
def tap() -> Iterator[object]:
    """Record what passes the device; yields a function that returns (time in ns since the epoch, packet) of each."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, TAP_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.bind((DEVICE, ETH_P_ALL))
        sock.setblocking(False)

        def packets(whole: bool = False) -> Iterator[tuple[int, bytes]]:
            with contextlib.suppress(BlockingIOError):
                while True:
                    packet, ancillary, _, _ = sock.recvmsg(256, 128)
                    seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
                    if len(packet) > IP_BYTES and packet[0] == 0x45 and packet[9] == socket.IPPROTO_ICMP:
                        yield seconds * 1_000_000_000 + nanoseconds, packet if whole else packet[IP_BYTES:]

        yield packets


@contextlib.contextmanager
def busy(hogs: int) -> Iterator[None]:
    """Keep the present core busy with endless loops."""
    command = ["timeout", str(int(CAP_S)), "sh", "-c", "while :; do :; done"]
    running = [subprocess.Popen(command) for _ in range(hogs)]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
