"""``simulate --cameras N``: cameras as programs on this machine."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from ssl import SSLContext

from espfleet import logs
from espfleet.cli.encryption import lamp_side
from espfleet.cli.opening import fleet, fleet_url, gateway_url, settings, web_url
from espfleet.cli.simulate import device_of
from espfleet.cli.stopping import run_until_told
from espfleet.domain.devices import Dialect, Kind
from espfleet.domain.names import check_name, check_whole
from espfleet.domain.tokens import new_token
from espfleet.services import simulated as service
from espfleet.settings import Settings
from espfleet.simulator.camera import MOST_CAMERAS, run_cameras
from espfleet.simulator.specs import LampSpec, new_lamps

ROOM = "cameras"


def simulate_cameras(count: str, room: str, ca: str) -> None:
    """Register simulated cameras in a room and run them until Ctrl-C."""
    number = check_whole(count, "cameras", 1, MOST_CAMERAS)
    room = check_name(room or ROOM, "room")
    given = settings()
    logs.set_up("simulate", given.log_level)
    specs = [
        replace(spec, name=f"cam-{spec.id[-6:]}", token=new_token())
        for spec in new_lamps(number, seed=secrets.randbits(32))
    ]
    trust = lamp_side(given, ca)
    tls = trust.context if trust else None
    with fleet_url(given) as url:
        run_until_told(lambda: _run(url, given, specs, room, tls))


async def _run(url: str, given: Settings, specs: Sequence[LampSpec], room: str, tls: SSLContext | None) -> None:
    async with fleet(url, given, "simulate") as store:
        await service.ensure_room(store, room)
        await service.enlist(
            store, [replace(device_of(store, spec, room, Dialect.HUB), kinds=(Kind.CAMERA,)) for spec in specs]
        )
    sys.stderr.write(
        f"{len(specs)} simulated cameras in room {room}; look at {web_url(given)}video\n"
        "Ctrl-C stops them; './espcli demo remove' removes them.\n"
    )
    sys.stderr.flush()
    await run_cameras(gateway_url(given), specs, tls=tls)
