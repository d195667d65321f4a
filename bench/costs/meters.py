"""What is read before and after: CPU of processes, what a Redis did, what went over loopback."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from bench.gateway import cpu_s
from espfleet.store.client import Store

Reading = Mapping[str, float]


class Meters:
    """Reads the same meters again and again.

    Args:
        store: A fleet on a server of its own, on this machine.
        pids: Processes by name.
    """

    def __init__(self, store: Store, pids: Mapping[str, int]) -> None:
        self._store = store
        self._pids = pids

    async def read(self) -> Reading:
        """Return CPU of each process, µs, what Redis did, and bytes over loopback, all since they began."""
        told = await info(self._store)
        return {
            "at_s": time.monotonic(),
            **{name: cpu_s(pid) * 1e6 for name, pid in self._pids.items()},
            "redis": cpu_s(told["process_id"]) * 1e6,
            "redis_commands": told["total_commands_processed"],
            "redis_bytes": told["total_net_input_bytes"] + told["total_net_output_bytes"],
            "wire_bytes": loopback_bytes(),
        }


def per_second(before: Reading, after: Reading) -> dict[str, float]:
    """Return how fast each meter went."""
    passed_s = after["at_s"] - before["at_s"]
    return {name: (after[name] - before[name]) / passed_s for name in after if name != "at_s"}


async def info(store: Store) -> dict[str, int]:
    """Return the numbers that the server tells of itself."""
    told = await store.do("INFO", "everything")
    return {name: value for name, value in told.items() if isinstance(value, int)}


async def used_bytes(store: Store) -> int:
    """Return how much memory the data of a server takes."""
    return (await info(store))["used_memory"]


def loopback_bytes() -> int:
    """Return what went over loopback in this network namespace, headers included."""
    for row in Path("/proc/thread-self/net/dev").read_text().splitlines():
        name, _, counts = row.partition(":")
        if name.strip() == "lo":
            return int(counts.split()[0])
    raise AssertionError("the kernel does not tell of loopback")
