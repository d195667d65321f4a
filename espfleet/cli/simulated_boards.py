"""``simulate --boards N``: boards that are asked over HTTP, as programs on this machine."""

from __future__ import annotations

import asyncio
import secrets
import sys

from espfleet import logs
from espfleet.cli.opening import fleet, fleet_url, settings
from espfleet.cli.stopping import run_until_told
from espfleet.domain.devices import Device, Kind
from espfleet.domain.names import SIMULATED, check_name
from espfleet.services import simulated as service
from espfleet.settings import Settings
from espfleet.simulator.boards import BoardSimulator, new_boards


def simulate_boards(count: str, room: str) -> None:
    """Run simulated boards until Ctrl-C; with a room they register themselves."""
    simulator = BoardSimulator(
        new_boards(int(count) if count.isascii() and count.isdigit() else 0, seed=secrets.randbits(32))
    )
    if room:
        check_name(room, "room")
    given = settings()
    logs.set_up("simulate", given.log_level)
    run_until_told(lambda: _run(simulator, room, given))


async def _run(simulator: BoardSimulator, room: str, given: Settings) -> None:
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(simulator.run())
        started = tasks.create_task(simulator.started.wait())
        await asyncio.wait({serving, started}, return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            started.cancel()
            return
        boards = list(simulator.boards.values())
        if room:
            with fleet_url(given) as url:
                async with fleet(url, given, "simulate") as store:
                    await service.ensure_room(store, room)
                    await service.enlist(
                        store,
                        [
                            Device(
                                id=board.id,
                                name=f"board-{board.id[-6:]}",
                                address=board.address,
                                room=room,
                                kinds=(Kind.BOARD,),
                                labels=(SIMULATED,),
                                registered_ms=store.now_ms(),
                            )
                            for board in boards
                        ],
                    )
            _say(f"{len(boards)} simulated boards in room {room}; Ctrl-C stops them.")
        for board in boards if not room else ():
            _say(f"{board.id} waits at http://{board.address}/ui: ./espcli register {board.address} NAME")
        await serving


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
