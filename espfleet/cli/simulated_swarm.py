"""``simulate --lamps N``: lamps by the ten thousand in one process, for load tests."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext

from espfleet import logs
from espfleet.cli import output, swarm_words
from espfleet.cli.encryption import lamp_side
from espfleet.cli.opening import fleet, fleet_url, gateway_url, settings
from espfleet.cli.stopping import run_until_told
from espfleet.cli.words import now_ms
from espfleet.domain.devices import Device
from espfleet.domain.names import SIMULATED, check_name, check_whole
from espfleet.domain.tokens import hash_token
from espfleet.errors import InvalidError, StoreError
from espfleet.services import simulated as service
from espfleet.settings import Settings
from espfleet.simulator.swarm import script as scripts
from espfleet.simulator.swarm.figures import Figures
from espfleet.simulator.swarm.play import play
from espfleet.simulator.swarm.script import Step
from espfleet.simulator.swarm.swarm import Swarm, Who
from espfleet.store.client import open_store

MOST_LAMPS = 200_000
MOST_ROOMS = 1_000
#: Of seeds, and of the first lamp.
MOST_NUMBER = 999_999
ROOM = "sim-room-{}"
SCRIPT_BYTES = 100_000
#: Time for goodbyes, and for the registry to be as it was, when it is stopped.
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """What is to be run.

    Attributes:
        who: The lamps.
        steps: Of the script.
        rooms: Where lamps stand at first, in turn.
        seed: Of everything random.
        keep: Whether they stay registered afterwards.
        tls: How to check the gateway's certificate.
    """

    who: Who
    steps: Sequence[Step]
    rooms: Sequence[str]
    seed: int
    keep: bool
    tls: SSLContext | None


def simulate_swarm(
    lamps: str, *, room: str, ca: str, script: str, rooms: str, seed: str, first: str, keep: str
) -> None:
    """Run many simulated lamps by a script, until it ends or Ctrl-C."""
    count = check_whole(lamps, "lamps", 1, MOST_LAMPS)
    room_count = check_whole(rooms, "rooms", 0, MOST_ROOMS)
    if room and room_count:
        raise InvalidError("lamps stand in one --room, or in turn in several --rooms: not both", field="rooms")
    given = settings()
    logs.set_up("simulate", given.log_level)
    trust = lamp_side(given, ca)
    seed_number = check_whole(seed, "seed", 0, MOST_NUMBER)
    test = Test(
        who=Who(count, seed=seed_number, first=check_whole(first, "first", 1, MOST_NUMBER)),
        steps=_steps(script, count),
        rooms=[check_name(room, "room")] if room else [ROOM.format(one) for one in range(1, max(room_count, 1) + 1)],
        seed=seed_number,
        keep=keep == "True",
        tls=trust.context if trust else None,
    )
    with fleet_url(given) as url:
        run_until_told(lambda: _run(url, given, test), PATIENCE_S)


def _steps(path: str, lamps: int) -> list[Step]:
    if not path:
        return scripts.everyone(lamps)
    try:
        with Path(path).open("rb") as stream:
            text = stream.read(SCRIPT_BYTES + 1)
        if len(text) > SCRIPT_BYTES:
            raise InvalidError(f"{path} is too long for a script: {SCRIPT_BYTES} bytes are the most", field="script")
        return scripts.read(text.decode(), lamps, path)
    except OSError as exc:
        raise InvalidError(f"{path} cannot be read: {exc.strerror}", field="script") from None
    except UnicodeDecodeError:
        raise InvalidError(f"{path} is not a text file", field="script") from None


async def _run(url: str, given: Settings, test: Test) -> None:
    spare = scripts.most_returning(test.steps, test.who.count)
    # Before anything is registered, for it may be refused.
    swarm = Swarm(test.who, gateway_url(given), tls=test.tls, seed=test.seed, spare=spare)
    try:
        async with fleet(url, given, "simulate") as store:
            made = await service.ensure_rooms(store, [*test.rooms, *scripts.rooms(test.steps)])
            await service.enlist(store, _devices(test))
        try:
            await _play(url, given, test, swarm)
        finally:
            await swarm.goodbye()
            if not test.keep:
                async with open_store(url, name="simulate", shards=given.shards) as store:
                    await service.dismiss(store, [test.who.id_of(number) for number in range(test.who.count)], made)
    finally:
        swarm.close()


def _devices(test: Test) -> list[Device]:
    registered_ms, who = now_ms(), test.who
    return [
        Device(
            id=who.id_of(number),
            name=who.name_of(number),
            room=test.rooms[number % len(test.rooms)],
            labels=(SIMULATED,),
            token_hashes=(hash_token(who.token_of(number)),),
            registered_ms=registered_ms,
        )
        for number in range(who.count)
    ]


async def _play(url: str, given: Settings, test: Test, swarm: Swarm) -> None:
    """Play the script, and tell each second how it goes, and at the end how it was."""

    async def move(ids: Sequence[str], room: str) -> None:
        try:
            async with open_store(url, name="simulate", shards=given.shards) as store:
                await service.move(store, ids, room)
        except StoreError as exc:
            swarm_words.warn(f"lamps were not moved to room {room}: {exc}")

    # Nothing here makes cycles, and the collector would walk over all lamps again and again.
    gc.collect()
    gc.freeze()
    watch = Watch(swarm)
    try:
        async with asyncio.TaskGroup() as work:
            watching = work.create_task(watch.run())
            await play(test.steps, swarm, move, watch.tell)
            watching.cancel()
    finally:
        gc.unfreeze()
        watch.end()


class Watch:
    """Looks at a swarm once a second, and tells what it sees."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm
        self._began_s = self._looked_s = time.monotonic()
        self._used_s = self._first_used_s = time.process_time()
        self._all = Figures(same_clock=swarm.gateway_is_here)
        self._rows = 0
        self._full_s: float | None = None

    async def run(self) -> None:
        """Tell, until cancelled."""
        while True:
            # On whole seconds of the test, however long a look takes.
            await asyncio.sleep(1.0 - (time.monotonic() - self._began_s) % 1.0)
            self._look()

    def tell(self, step: Step, lamps: int) -> None:
        """Tell that a step of the script begins."""
        at_s = time.monotonic() - self._began_s
        if output.for_programs():
            swarm_words.line({"kind": "step", "at_s": round(at_s, 1), "line": step.line, "lamps": lamps})
        else:
            fewer = "" if step.count in (None, lamps) else f" ({lamps} there are)"
            swarm_words.say(f"{step.line}{fewer}")

    def end(self) -> None:
        """Tell how it was."""
        at_s = time.monotonic() - self._began_s
        swarm, used_s = self._swarm, time.process_time() - self._first_used_s
        self._all.add(swarm.figures)
        report = self._all.report(
            at_s=at_s, connected=swarm.connected(), glows=swarm.glows(), busy=used_s / max(at_s, 0.001)
        )
        swarm_words.show_end(report, self._all.endings, len(swarm.lamps), self._full_s)

    def _look(self) -> None:
        swarm, now_s, used_s = self._swarm, time.monotonic(), time.process_time()
        glows, connected = swarm.glows(), swarm.connected()
        busy = (used_s - self._used_s) / max(now_s - self._looked_s, 0.001)
        at_s = now_s - self._began_s
        if self._full_s is None and connected == len(swarm.lamps):
            self._full_s = at_s
        report = swarm.figures.report(at_s=at_s, connected=connected, glows=glows, busy=busy)
        self._all.add(swarm.figures)
        swarm.figures.begin()
        self._looked_s, self._used_s = now_s, used_s
        swarm_words.show_second(report, self._rows)
        self._rows += 1
