"""What engines take, what they bring back, and what every engine can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from espfleet.domain.samples import Floats, Slots
from espfleet.domain.targets import Address, Target, parse_address


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A target as an engine sees it.

    Attributes:
        name: Name of the target.
        address: How and where it is probed.
        timeout_ms: How long an answer may take; may be longer than the interval.
    """

    name: str
    address: Address
    timeout_ms: int

    @classmethod
    def of(cls, target: Target) -> Endpoint:
        """Return a target as engines see it."""
        return cls(target.name, parse_address(target.address), target.timeout_ms)


@dataclass(frozen=True, slots=True)
class Round:
    """Samples of one engine that became known together, all of one round.

    Attributes:
        number: Number of the round since the origin of the schedule.
        at_ns: When the probe of slot 0 was due in this round, monotonic ns.
        step_ns: Time between the probes of two neighbouring slots, ns.
        slots: Positions in the order of sending, int32 [n], rising.
        rtt_us: RTT in microseconds or a code of ``domain.samples``, float32 [n].
    """

    number: int
    at_ns: int
    step_ns: int
    slots: Slots
    rtt_us: Floats


@dataclass(slots=True)
class Counters:
    """What an engine did since it was built.

    Attributes:
        sent: Probes that the kernel took.
        received: Answers in time.
        lost: Probes without an answer in time.
        late: Answers that came after their time-out.
        duplicate: Answers to a probe that was answered already.
        foreign: Messages for somebody else, seen by raw sockets only.
        spoofed: Answers with our id and a wrong token, or from a wrong source. None becomes a sample.
        unreachable: Probes that the network said it could not deliver.
        refused: TCP connections refused: the host is alive, its round-trip is measured in user time.
        local_drops: Messages or probes that this machine dropped for want of room. Never counted as loss.
        unstamped: Answers whose round-trip rests on a clock read in the process, not on two kernel stamps.
        not_measured: Probes of which nothing can be said.
        skipped: Probes that were never sent because the process stood still for longer than an interval.
        voided_rounds: Rounds that a step of the clock made worthless.
        lateness_p50_ms: Median delay of recent sends against their schedule.
        lateness_p99_ms: 99th percentile of it.
        lateness_max_ms: Longest such delay since the start.
    """

    sent: int = 0
    received: int = 0
    lost: int = 0
    late: int = 0
    duplicate: int = 0
    foreign: int = 0
    spoofed: int = 0
    unreachable: int = 0
    refused: int = 0
    local_drops: int = 0
    unstamped: int = 0
    not_measured: int = 0
    skipped: int = 0
    voided_rounds: int = 0
    lateness_p50_ms: float = 0.0
    lateness_p99_ms: float = 0.0
    lateness_max_ms: float = 0.0

    def with_more(self, other: Counters) -> Counters:
        """Return the counts of two engines together; of the delays, the longer ones."""
        return Counters(
            **{
                field.name: (max if field.name.startswith("lateness") else _add)(
                    getattr(self, field.name), getattr(other, field.name)
                )
                for field in fields(Counters)
            }
        )


def _add(one: int, other: int) -> int:
    return one + other


class Engine(Protocol):
    """Probes a fixed list of endpoints at one interval. Driven by ticks from one thread; never blocks.

    Slots are positions in the order of sending. All times that come in are monotonic nanoseconds.
    """

    def tick(self, now_ns: int) -> list[Round]:
        """Send what is due, collect what has come, and return the samples that became known."""

    def next_tick_ns(self, now_ns: int) -> int:
        """Return when ``tick`` wants to be called again unless one of ``filenos`` becomes readable before."""

    def filenos(self) -> Sequence[int]:
        """Return the descriptors that become readable when an answer comes; none where ticks are cheaper."""

    def readdress(self, slot: int, ip: str | None) -> bool:
        """Probe ``slot`` at another address from now on; ``None``: its name has none.

        Returns:
            Whether this engine can; if not, build engines anew.
        """

    def retire(self) -> None:
        """Send nothing more; answers are still collected."""

    @property
    def outstanding(self) -> int:
        """How many probes are neither answered nor given up."""

    def counters(self) -> Counters:
        """Return what was done so far."""

    def close(self) -> None:
        """Give back sockets. Samples not yet known never will be."""
