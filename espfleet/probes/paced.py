"""What all engines share: they send in a fixed order at a fixed pace and keep a ledger."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from espfleet.domain.samples import NOT_MEASURED, UNRESOLVED
from espfleet.probes.clocks import SYSTEM, Clocks, StepWatch
from espfleet.probes.ledger import Ledger
from espfleet.probes.outcomes import Counters, Endpoint, Round
from espfleet.probes.pace import MS, Pace

#: Most probes sent in one tick, so that catching up does not hold up the event loop for more than about 10 ms.
MAX_PER_TICK = 1_024
#: Ticks whose lateness is remembered.
LATENESS_TICKS = 1_024
#: A tick wanted by nobody: far away, and still a time that ``call_at`` understands.
NEVER_NS = 3_600_000 * MS
#: Engines that probe less often are woken by their descriptors: a waking costs as much as a tick, and is at once.
WAKING_STEP_NS = 20 * MS
#: Before any time.
LONG_AGO_NS = -(2**62)


class PacedEngine(ABC):
    """An engine without its way of measuring.

    Args:
        endpoints: What is probed, in the order of sending; at least one.
        interval_ms: Length of a round.
        ips: Addresses of the endpoints; ``None`` where a name has none; left out by engines that need none.
        origin_ns: When round 0 began, monotonic; ``None`` for now. Engines that replace others take over theirs.
        clocks: Where times come from.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        interval_ms: int,
        ips: Sequence[str | None] | None = None,
        *,
        origin_ns: int | None = None,
        clocks: Clocks = SYSTEM,
    ) -> None:
        now_ns = clocks.monotonic_ns()
        self.endpoints = tuple(endpoints)
        self.pace = Pace(len(endpoints), interval_ms * MS, now_ns if origin_ns is None else origin_ns)
        self._clocks = clocks
        self._watch = StepWatch(clocks)
        self._totals = Counters()
        timeouts_ns = np.array([endpoint.timeout_ms * MS for endpoint in endpoints], np.int64)
        self._ledger = Ledger(interval_ms * MS, timeouts_ns, self._totals)
        # Slots that are not probed, and the sample they get instead.
        self._muted: dict[int, float] = {}
        self._ips = list(ips or ())
        for slot, ip in enumerate(self._ips):
            if ip is None:
                self.mute(slot, UNRESOLVED)
        self._retired = False
        self._sent_ns = LONG_AGO_NS
        self._lateness_ns: deque[int] = deque(maxlen=LATENESS_TICKS)
        self._open = -1
        self._start(now_ns)

    @property
    def outstanding(self) -> int:
        """How many probes are neither answered nor given up."""
        return self._ledger.outstanding

    def tick(self, now_ns: int) -> list[Round]:
        """Send what is due, collect what has come, and return the samples that became known."""
        self._collect(now_ns)
        if not self._retired:
            self._send_due(now_ns)
        return self._ledger.take()

    def next_tick_ns(self, now_ns: int) -> int:
        """Return when ``tick`` wants to be called again unless a descriptor becomes readable before."""
        wanted = now_ns + NEVER_NS
        if not self._retired:
            wanted = max(self.pace.due_ns(self._ledger.head), self._sent_ns + self.pace.tick_ns)
        if self._ledger.outstanding:
            if self.filenos():
                wanted = min(wanted, self._ledger.next_expiry_ns() or wanted)
            else:
                wanted = min(wanted, now_ns + self.pace.tick_ns)
        return wanted

    def filenos(self) -> Sequence[int]:
        """Return the descriptors that become readable when an answer comes; none where ticks are cheaper."""
        return ()

    def readdress(self, slot: int, ip: str | None) -> bool:
        """Probe ``slot`` at another address from now on; ``None``: its name has none."""
        if ip is None:
            self.mute(slot, UNRESOLVED)
            return True
        if ip != self._ips[slot] and not self._point(slot, ip):
            return False
        self._muted.pop(slot, None)
        return True

    def mute(self, slot: int, code: float) -> None:
        """Give ``slot`` this code on schedule instead of probing it."""
        self._muted[slot] = code

    def retire(self) -> None:
        """Send nothing more; answers are still collected."""
        self._retired = True

    def counters(self) -> Counters:
        """Return what was done so far."""
        recent_ms = np.array(self._lateness_ns or (0,)) / MS
        return replace(
            self._totals,
            lateness_p50_ms=float(np.percentile(recent_ms, 50)),
            lateness_p99_ms=float(np.percentile(recent_ms, 99)),
        )

    @abstractmethod
    def close(self) -> None:
        """Give back sockets."""

    @abstractmethod
    def _send(self, first: int, last: int, now_ns: int) -> bool:
        """Send the probes of slots ``first`` to ``last`` - 1, all of one round, as the ledger's next positions.

        Returns:
            Whether all left; if not, the rest is tried again at the next tick.
        """

    def _point(self, slot: int, ip: str) -> bool:
        """Take over an address; say whether this engine can."""
        self._ips[slot] = ip
        return True

    def _collect(self, now_ns: int) -> None:
        """Take over what has come and give up what is over time."""
        self._check_clock()
        self._ledger.expire(now_ns, LONG_AGO_NS)

    def _check_clock(self) -> bool:
        """Notice a step of the clock; say whether there was one."""
        return self._watch.step_ns() != 0

    def _start(self, now_ns: int) -> None:
        """Begin with the first probe that is not due yet."""
        self._ledger.head = self.pace.due_count(now_ns - 1)
        self._open = -1

    def _send_due(self, now_ns: int) -> None:
        ledger, pace = self._ledger, self.pace
        due = pace.due_count(now_ns)
        if due <= ledger.head:
            return
        late_ns = now_ns - pace.due_ns(ledger.head)
        self._lateness_ns.append(late_ns)
        self._totals.lateness_max_ms = max(self._totals.lateness_max_ms, late_ns / MS)
        if late_ns > pace.interval_ns:
            self._skip(due - 1, now_ns)
        self._sent_ns = now_ns
        due = min(due, ledger.head + MAX_PER_TICK)
        while ledger.head < due:
            number, slot = divmod(ledger.head, pace.slots)
            self._begin(number)
            if not self._send_run(slot, min(pace.slots, slot + due - ledger.head), now_ns):
                break

    def _send_run(self, first: int, last: int, now_ns: int) -> bool:
        """Send slots of one round around those that are muted."""
        muted = sorted(slot for slot in self._muted if first <= slot < last) if self._muted else []
        for slot in muted:
            if first < slot and not self._send(first, slot, now_ns):
                return False
            self._decide(self._muted[slot], 1, now_ns)
            first = slot + 1
        return first >= last or self._send(first, last, now_ns)

    def _decide(self, code: float, count: int, now_ns: int) -> None:
        """Give the next ``count`` positions, all of one round, a code instead of a probe."""
        if code == NOT_MEASURED:
            self._totals.not_measured += count
        self._ledger.decide(np.full(count, code, np.float32), now_ns)

    def _begin(self, number: int) -> None:
        """Open a round unless it is open."""
        if number != self._open:
            self._open = number
            self._ledger.begin(number, self.pace.start_ns(number), self.pace.step_ns(number))

    def _skip(self, position: int, now_ns: int) -> None:
        """Leave out what should have been sent while the process stood still; ``position`` is sent next."""
        head, slots = self._ledger.head, self.pace.slots
        self._totals.skipped += position - head
        if head % slots:
            self._begin(head // slots)
            self._decide(NOT_MEASURED, min(slots - head % slots, position - head), now_ns)
        start = position // slots * slots
        if start >= self._ledger.head:
            self._ledger.jump(start, now_ns)
        self._begin(position // slots)
        if position > self._ledger.head:
            self._decide(NOT_MEASURED, position - self._ledger.head, now_ns)
