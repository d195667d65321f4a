"""The keeper, a duty of the steward: visits boards, each once an interval, and sets their pins as jobs wish.

Boards without a link are visited over HTTP, spread over the interval; lamps report by themselves over their link and
are visited only if they have jobs or sensors. Boards that failed are visited by threads of their own, so that a hundred
that hang delay nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from espfleet.domain.devices import Device, Dialect, Kind, Presence
from espfleet.domain.registry import Registry
from espfleet.domain.sensors import Sensor
from espfleet.errors import BoardError, FleetError, RefusedError, StoreError
from espfleet.services import boards
from espfleet.services.boards import Visit
from espfleet.store import presence, registry
from espfleet.store.client import Store
from espfleet.store.leases import Lease

logger = logging.getLogger(__name__)

DUTY = "lead:boards"
LEASE_MS = 2_000
STEP_S = 0.02
LOOK_S = 1.0
#: Threads for boards that answer, and for those that did not.
GOOD_THREADS, BAD_THREADS = 16, 48
#: A board is offline when it has not answered for so many intervals.
MISSED = 3
_LATENESSES = 4_096

#: Takes what came of a visit.
Tell = Callable[[Registry, Device, Visit], None]


class Keeper:
    """Visits boards while it has the duty.

    Args:
        store: Where the fleet is kept.
        name: Of this worker.
        interval_s: Time between two visits to one board.
        token: What boards want to see.
        tell: Called with what came of each visit.
        clock: Seconds since the epoch, by which jobs go; visits go by one that nobody sets.

    Attributes:
        visits, failures, switched: Counts so far.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        interval_s: float = 5.0,
        token: str = "",
        tell: Tell | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.visits = self.failures = self.switched = 0
        self._store = store
        self._name = name
        self._interval_s = interval_s
        self._token = token
        self._tell = tell
        self._clock = clock or store.now_s
        self._lease: Lease | None = None
        self._current = Registry(version=-1)
        self._due: dict[str, float] = {}
        self._sensors_due: dict[str, float] = {}
        self._linked: set[str] = set()
        self._seen: set[str] = set()
        self._bad: set[str] = set()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._lateness_ms: deque[float] = deque(maxlen=_LATENESSES)
        self._good_threads = ThreadPoolExecutor(GOOD_THREADS, thread_name_prefix="boards")
        self._bad_threads = ThreadPoolExecutor(BAD_THREADS, thread_name_prefix="bad boards")
        self._looked_s = 0.0

    @property
    def leads(self) -> bool:
        """Whether this worker has the duty for sure."""
        return self._lease is not None and self._lease.held

    def figures(self) -> dict[str, float]:
        """Return what it tells of itself: counts, and how late visits began, in ms."""
        late = sorted(self._lateness_ms)
        return {
            "visits": self.visits,
            "failures": self.failures,
            "switched": self.switched,
            "late_p50_ms": round(late[len(late) // 2], 1) if late else 0.0,
            "late_p99_ms": round(late[len(late) * 99 // 100], 1) if late else 0.0,
        }

    async def step(self) -> None:
        """Look at what is due and begin visits; called again and again."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_S or self._lease is None:
            await self._look(now_s)
        if not self.leads:
            return
        for device_id, due_s in list(self._due.items()):
            if due_s <= now_s and device_id not in self._under_way:
                # What was missed is left out: one visit tells everything.
                behind = (now_s - due_s) // self._interval_s + 1
                self._due[device_id] = due_s + behind * self._interval_s
                visit = asyncio.create_task(self._visit(self._current.devices[device_id], due_s))
                self._under_way[device_id] = visit
                visit.add_done_callback(partial(self._ended, device_id))

    def _ended(self, device_id: str, visit: asyncio.Task[None]) -> None:
        self._under_way.pop(device_id, None)
        if not visit.cancelled() and (failure := visit.exception()) is not None:
            logger.error("a visit to %s failed", device_id, exc_info=failure)

    async def close(self) -> None:
        """Give the duty up and end what is under way."""
        under_way = list(self._under_way.values())
        for visit in under_way:
            visit.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        self._good_threads.shutdown(wait=False, cancel_futures=True)
        self._bad_threads.shutdown(wait=False, cancel_futures=True)
        if self._lease is not None:
            await self._lease.release()

    async def _look(self, now_s: float) -> None:
        self._looked_s = now_s
        lease = await Lease.take(self._store, DUTY, self._name, LEASE_MS)
        if lease is not None and self._lease is None:
            logger.info("the boards are mine")
        self._lease = lease
        if lease is None:
            return
        if await registry.version(self._store) != self._current.version:
            self._current = await registry.load(self._store)
            self._schedule(now_s)
        await self._note_presence()

    def _schedule(self, now_s: float) -> None:
        """Spread the devices over the interval; those that stay keep their time."""
        wanted = sorted(device.id for device in self._current.devices.values() if self._is_visited(device))
        kept = {device_id: self._due[device_id] for device_id in wanted if device_id in self._due}
        new = [device_id for device_id in wanted if device_id not in kept]
        gaps = {device_id: self._interval_s * number / len(new) for number, device_id in enumerate(new)}
        self._due = kept | {device_id: now_s + gap for device_id, gap in gaps.items()}

    def _is_visited(self, device: Device) -> bool:
        wanted = device.id in self._current.jobs_of or device.id in self._current.sensors_of
        return wanted or (bool(device.address) and Kind.BOARD in device.kinds)

    async def _note_presence(self) -> None:
        """Tell which boards answered, and learn which devices are on the link."""
        known = await presence.read_presence(self._store, list(self._due))
        self._linked = {
            device_id
            for device_id, info in known.items()
            if info.presence is not Presence.OFFLINE and info.gateway != boards.HTTP
        }
        seen, self._seen = self._seen - self._linked, set()
        await boards.answered(self._store, seen, known, lasts_ms=round(self._interval_s * MISSED * 1_000))

    async def _visit(self, device: Device, due_s: float) -> None:
        current = self._current
        sensors = self._sensors(current.sensors_of.get(device.id, ()))
        try:
            done = await self._visited(current, device, sensors, due_s)
        except StoreError as exc:
            logger.debug("%s was not visited: %s", device.name, exc)
        except (BoardError, RefusedError, FleetError) as exc:
            self.failures += 1
            if device.id not in self._bad:
                self._bad.add(device.id)
                logger.info("%s cannot be visited: %s", device.name, exc)
        else:
            if done is not None:
                self._note_sensors(sensors)
                self._note(current, device, done)

    async def _visited(
        self, current: Registry, device: Device, sensors: Sequence[Sensor], due_s: float
    ) -> Visit | None:
        now_ms = round(self._clock() * 1_000)
        if device.id in self._linked and device.dialect is Dialect.V1:
            if device.id not in current.jobs_of and not sensors:
                return None
            self._lateness_ms.append((time.monotonic() - due_s) * 1_000)
            try:
                return await boards.visit_by_link(self._store, current, device, now_ms=now_ms, sensors=sensors)
            except RefusedError:
                if not device.address:
                    raise
        threads = self._bad_threads if device.id in self._bad else self._good_threads
        began = False

        async def ask(call: Callable[[], Any]) -> Any:
            def timed() -> Any:
                nonlocal began
                if not began:
                    began = True
                    self._lateness_ms.append((time.monotonic() - due_s) * 1_000)
                return call()

            return await asyncio.get_running_loop().run_in_executor(threads, timed)

        return await boards.visit(
            self._store,
            current,
            device,
            now_ms=now_ms,
            sensors=sensors,
            token=self._token,
            ask=ask,
        )

    def _sensors(self, sensors: Sequence[Sensor]) -> list[Sensor]:
        """Return those that are due."""
        now_s = time.monotonic()
        return [sensor for sensor in sensors if now_s >= self._sensors_due.get(sensor.key, 0.0)]

    def _note_sensors(self, sensors: Sequence[Sensor]) -> None:
        """Note when sensors that were read are due again; those of a visit that failed are due at the next."""
        now_s = time.monotonic()
        for sensor in sensors:
            # Half an interval early is better than a whole one late.
            self._sensors_due[sensor.key] = now_s + max(0.0, sensor.interval_s - self._interval_s / 2)

    def _note(self, current: Registry, device: Device, done: Visit) -> None:
        self.visits += 1
        self.switched += len(done.switched)
        # A lamp is there when its link is, whatever its pages say.
        if done.f is not None and Kind.BOARD in device.kinds:
            self._seen.add(device.id)
        if device.id in self._bad:
            self._bad.discard(device.id)
            logger.info("%s answers again", device.name)
        if done.switched:
            logger.info("%s: set %s", device.name, _pins(done.switched))
        if self._tell is not None:
            self._tell(current, device, done)


def _pins(switched: Mapping[int, int]) -> str:
    return ", ".join(f"pin {pin} to {value}" for pin, value in sorted(switched.items()))
