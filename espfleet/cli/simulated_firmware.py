"""``simulate --firmware N``: lamps that run the lamp's real program."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from espfleet import logs
from espfleet.cable.program import build_with_fakes
from espfleet.cli.encryption import certificate_for_lamps
from espfleet.cli.opening import fleet, fleet_url, gateway_url, settings
from espfleet.cli.simulate import device_of
from espfleet.cli.stopping import run_until_told
from espfleet.domain.names import check_name, check_whole
from espfleet.domain.tokens import new_token
from espfleet.errors import StartError
from espfleet.services import simulated as service
from espfleet.settings import Settings
from espfleet.simulator.firmware import MOST_FIRMWARES, FirmwareLamp, Firmwares, Program, free_ports
from espfleet.simulator.specs import LampSpec, new_lamps


def simulate_firmware(count: str, room: str) -> None:
    """Run the lamp's program several times until Ctrl-C."""
    number = check_whole(count, "firmware", 1, MOST_FIRMWARES)
    if room:
        check_name(room, "room")
    given = settings()
    url = gateway_url(given)
    if "[" in url:
        raise StartError("the lamp's program speaks IPv4 only: set SERVER_HOST to an IPv4 address of this machine")
    logs.set_up("simulate", given.log_level)
    specs = new_lamps(number, seed=secrets.randbits(32), prefix="firmware")
    specs = [replace(spec, port=port) for spec, port in zip(specs, free_ports(number), strict=True)]
    if room:
        specs = [replace(spec, name=f"sim-{spec.id[-6:]}", token=new_token()) for spec in specs]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="espfleet-")))
        program = Program(micropython=interpreter(), folder=folder / "program")
        build_with_fakes(program.folder)
        lamps = [FirmwareLamp(spec, program, folder / spec.name, _say) for spec in specs]
        ca = certificate_for_lamps(given) if given.tls else b""
        for lamp in lamps:
            lamp.set_up(url, ca)
        redis_url = stack.enter_context(fleet_url(given)) if room else ""
        run_until_told(lambda: _run(Firmwares(lamps), given, redis_url, room))


def interpreter() -> Path:
    """Return the MicroPython for this machine: of this environment, unless ``MICROPYTHON`` names another.

    Raises:
        StartError: If there is none.
    """
    found = Path(os.environ.get("MICROPYTHON") or Path(sys.executable).parent / "micropython")
    if not os.access(found, os.X_OK):
        raise StartError(
            f"there is no MicroPython at {found}: './espcli setup' brings one for Linux on x86-64 and for macOS on "
            "Apple's processors; elsewhere build its unix port and set MICROPYTHON to it"
        )
    return found


async def _run(firmwares: Firmwares, given: Settings, redis_url: str, room: str) -> None:
    specs = [lamp.spec for lamp in firmwares.lamps]
    if room:
        async with fleet(redis_url, given, "simulate") as store:
            await service.ensure_room(store, room)
            devices = [replace(device_of(store, spec, room), address=f"127.0.0.1:{spec.port}") for spec in specs]
            await service.enlist(store, devices)
    await firmwares.run(lambda: _introduce(firmwares.lamps, room))


def _introduce(lamps: Sequence[FirmwareLamp], room: str) -> None:
    for lamp in lamps:
        where = f"is in room {room}" if room else f"waits: ./espcli register {lamp.address} NAME"
        _say(lamp.spec, f"http://{lamp.address}/ui, {where}")
    print(
        f"{len(lamps)} {'lamp runs' if len(lamps) == 1 else 'lamps run'} the lamp's program; Ctrl-C stops them.",
        file=sys.stderr,
    )


def _say(spec: LampSpec, line: str) -> None:
    print(f"{spec.name} ({spec.id}): {line}", file=sys.stderr, flush=True)
