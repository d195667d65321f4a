"""``simulate --lamps N``: lamps by the ten thousand, for load tests."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from ssl import SSLContext

from espfleet import logs
from espfleet.cli import swarm_words
from espfleet.cli.encryption import lamp_side
from espfleet.cli.opening import fleet, fleet_url, gateway_url, settings
from espfleet.cli.stopping import run_until_told
from espfleet.cli.swarm_child import Order
from espfleet.cli.swarm_children import Children, children
from espfleet.cli.swarm_watch import SwarmWatch
from espfleet.domain.devices import Device
from espfleet.domain.names import SIMULATED, check_name, check_whole
from espfleet.domain.tokens import hash_token
from espfleet.errors import InvalidError, StoreError
from espfleet.services import simulated as service
from espfleet.settings import Settings
from espfleet.simulator.swarm import script as scripts
from espfleet.simulator.swarm.play import play
from espfleet.simulator.swarm.script import Step
from espfleet.simulator.swarm.swarm import Share, Swarm, Who
from espfleet.simulator.swarm.wires import MOST_PROCESSES, processes_for
from espfleet.store.client import Store, open_store

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
        keep: Whether they stay registered afterwards.
        ca: File with the authorities that they trust, or ``""``.
        tls: How to check the gateway's certificate.
        processes: How many run the lamps: this one alone, or others.
    """

    who: Who
    steps: Sequence[Step]
    rooms: Sequence[str]
    keep: bool
    ca: str
    tls: SSLContext | None
    processes: int

    @property
    def spare(self) -> int:
        """How many connections are needed beside one a lamp."""
        return scripts.most_returning(self.steps, self.who.count)


def simulate_swarm(
    lamps: str, *, room: str, ca: str, script: str, rooms: str, seed: str, first: str, keep: str, processes: str
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
        keep=keep == "True",
        ca=str(Path(ca).absolute()) if ca else "",
        tls=trust.context if trust else None,
        processes=check_whole(processes, "processes", 0, MOST_PROCESSES),
    )
    if not test.processes:
        test = replace(test, processes=processes_for(count, test.spare))
        if test.processes > 1:
            swarm_words.warn(
                f"{count} lamps need more open files than one process may have: {test.processes} processes run them"
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
    # Before anything is registered, for it may be refused.
    share = Share() if test.processes == 1 else Share(of=0)
    swarm = Swarm(test.who, gateway_url(given), tls=test.tls, share=share, spare=test.spare)
    try:
        async with children(_orders(test)) as others:
            async with fleet(url, given, "simulate") as store:
                made = await service.ensure_rooms(store, [*test.rooms, *scripts.rooms(test.steps)])
                await service.enlist(store, _devices(store, test))
            try:
                await _play(url, given, test, swarm, others)
            finally:
                await swarm.goodbye()
                await others.end()
                if not test.keep:
                    async with open_store(url, name="simulate", shards=given.shards) as store:
                        await service.dismiss(store, [test.who.id_of(one) for one in range(test.who.count)], made)
    finally:
        swarm.close()


def _orders(test: Test) -> list[Order]:
    """Return what other processes are to run: nothing where this one runs all lamps."""
    who, lines = test.who, "\n".join(step.line for step in test.steps)
    return [
        Order(
            lamps=who.count,
            seed=who.seed,
            first=who.first,
            secret=who.secret.hex(),
            script=lines,
            ca=test.ca,
            share=number,
            of=test.processes,
        )
        for number in range(test.processes if test.processes > 1 else 0)
    ]


def _devices(store: Store, test: Test) -> list[Device]:
    registered_ms, who = store.now_ms(), test.who
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


async def _play(url: str, given: Settings, test: Test, swarm: Swarm, others: Children) -> None:
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
    watch = SwarmWatch(swarm, others)
    began_s = await watch.begin()
    try:
        async with asyncio.TaskGroup() as work:
            watching = work.create_task(watch.run())
            await play(test.steps, swarm, move, watch.tell, began_s)
            watching.cancel()
    finally:
        gc.unfreeze()
        await watch.end()
