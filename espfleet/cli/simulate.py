"""Commands that run what exists only as a program on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from ssl import SSLContext
from typing import TYPE_CHECKING

from espfleet import logs
from espfleet.cli import output
from espfleet.cli.encryption import lamp_side
from espfleet.cli.opening import fleet, fleet_url, gateway_url, settings, with_store
from espfleet.cli.stopping import run_until_told
from espfleet.domain.devices import Device, Dialect
from espfleet.domain.names import SIMULATED, check_name, check_whole, shown
from espfleet.domain.tokens import hash_token, new_token
from espfleet.errors import InvalidError, StartError
from espfleet.services import simulated as service
from espfleet.settings import Settings
from espfleet.simulator.specs import MOST_LAMPS, LampSpec, new_lamps
from espfleet.store.client import Store

if TYPE_CHECKING:
    from espfleet.simulator.fleet import Simulator

#: Seed of the hardware ids of the demo's lamps; those of `simulate` are others on each run.
DEMO_SEED = 1


def demo(action: str) -> None:
    """Add or remove the demo."""
    if action not in ("add", "remove"):
        raise InvalidError(f"demo can add or remove, not {shown(action)}", field="action")
    given = settings()
    if action == "add":
        with_store(lambda store: add_demo(store, given))
        output.say("The demo is set up: 2 rooms, 3 lamps, 4 targets, all simulated. './espcli up' runs it.")
        return
    gone = with_store(service.remove)
    _path(given).unlink(missing_ok=True)
    counts = {"devices": gone.devices, "rooms": gone.rooms, "groups": gone.groups, "targets": gone.targets}
    output.say(f"Removed what was simulated: {', '.join(f'{count} {kind}' for kind, count in counts.items())}.", counts)


async def add_demo(store: Store, given: Settings) -> None:
    """Set up the demo: targets, groups, rooms, and lamps with tokens that only this data folder knows."""
    await service.add_demo(store)
    specs = new_lamps(len(service.DEMO_LAMPS), seed=DEMO_SEED)
    # Lamps that run already would not hear of other tokens.
    known = _known_tokens(given)
    named = [
        replace(spec, name=name, token=known.get(spec.id) or new_token())
        for spec, (name, _) in zip(specs, service.DEMO_LAMPS, strict=True)
    ]
    places = [room for _, room in service.DEMO_LAMPS]
    lamps = [device_of(store, spec, room) for spec, room in zip(named, places, strict=True)]
    await service.enlist(store, lamps, keep=True)
    save(given, named)


def device_of(store: Store, spec: LampSpec, room: str, dialect: Dialect = Dialect.V1) -> Device:
    """Return how a simulated lamp that has a token is registered."""
    assert spec.token is not None
    return Device(
        id=spec.id,
        name=spec.name,
        room=room,
        labels=(SIMULATED,),
        dialect=dialect,
        token_hashes=(hash_token(spec.token),),
        registered_ms=store.now_ms(),
    )


def _path(given: Settings) -> Path:
    return given.data / "lamps.json"


def save(given: Settings, specs: Sequence[LampSpec]) -> None:
    """Keep simulated lamps with their tokens in the data folder, readable by its owner only."""
    path = _path(given)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_suffix(".new")
    rows = [{"id": spec.id, "name": spec.name, "token": spec.token} for spec in specs]
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:  # noqa: PTH123
        json.dump(rows, stream)
    new.replace(path)


def load(given: Settings) -> list[LampSpec]:
    """Return the simulated lamps of the data folder; none where there is no file.

    Raises:
        StartError: If the file is not readable.
    """
    path = _path(given)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [LampSpec(id=row["id"], name=row["name"], token=row["token"]) for row in rows]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise StartError(f"{path} cannot be read; './espcli demo add' writes it anew") from exc


def _known_tokens(given: Settings) -> dict[str, str | None]:
    try:
        return {spec.id: spec.token for spec in load(given)}
    except StartError:
        return {}


async def run_enlisted(store: Store, given: Settings) -> None:
    """Run the simulated lamps of this data folder, and tell the fleet where each serves its page."""
    from espfleet.simulator.fleet import Simulator

    specs = load(given)
    if not specs:
        raise StartError("there is no simulated lamp here; './espcli demo add' makes three")
    trust = lamp_side(given)
    known = {spec.id: spec for spec in specs}

    def keep(changed: LampSpec) -> None:
        save(given, list({**known, changed.id: changed}.values()))
        known[changed.id] = changed

    simulator = Simulator(specs, gateway_url(given), provisioned=keep, tls=trust.context if trust else None)

    async def tell() -> None:
        await service.tell_addresses(store, {look.id: look.address for look in simulator.looks()})

    watching = asyncio.create_task(trust.watch(), name="certificates") if trust else None
    try:
        await _run(simulator, tell)
    finally:
        if watching is not None:
            watching.cancel()


async def _run(simulator: Simulator, when_started: Callable[[], Awaitable[None]]) -> None:
    """Run lamps for ever, and do something once their pages are served."""
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(simulator.run())
        started = tasks.create_task(simulator.started.wait())
        await asyncio.wait({running, started}, return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            started.cancel()
            return
        await when_started()


def simulate(count: str, room: str, dialect: str, ca: str) -> None:
    """Run simulated lamps until Ctrl-C."""
    number = check_whole(count, "count", 1, MOST_LAMPS)
    if dialect not in (Dialect.V1, Dialect.PINGLAMP):
        raise InvalidError(
            f"{shown(dialect)} cannot be simulated: use {Dialect.V1} or {Dialect.PINGLAMP}", field="dialect"
        )
    if room:
        check_name(room, "room")
    given = settings()
    logs.set_up("simulate", given.log_level)
    specs = new_lamps(number, seed=secrets.randbits(32), prefix="sim")
    if dialect == Dialect.PINGLAMP or room:
        specs = [replace(spec, name=f"sim-{spec.id[-6:]}", token=new_token()) for spec in specs]
    if not room and dialect == Dialect.PINGLAMP:
        raise InvalidError("PING_LAMP clients cannot wait to be registered: add --room ROOM", field="room")
    trust = lamp_side(given, ca)
    tls = trust.context if trust else None
    if room:
        with fleet_url(given) as url:
            run_until_told(lambda: _in_room(url, given, specs, room, Dialect(dialect), tls))
    else:
        run_until_told(lambda: _waiting(given, specs, tls))


async def _in_room(
    url: str, given: Settings, specs: Sequence[LampSpec], room: str, dialect: Dialect, tls: SSLContext | None
) -> None:
    async with fleet(url, given, "simulate") as store:
        await service.ensure_room(store, room)
        await service.enlist(store, [device_of(store, spec, room, dialect) for spec in specs])
    _say(f"{len(specs)} simulated lamps in room {room}; Ctrl-C stops them.")
    if dialect is Dialect.PINGLAMP:
        from espfleet.simulator.pinglamp import run_pinglamps

        await run_pinglamps(gateway_url(given), [str(spec.token) for spec in specs], tls=tls)
    else:
        from espfleet.simulator.fleet import Simulator

        await Simulator(specs, gateway_url(given), tls=tls).run()


async def _waiting(given: Settings, specs: Sequence[LampSpec], tls: SSLContext | None) -> None:
    from espfleet.simulator.fleet import Simulator

    simulator = Simulator(specs, gateway_url(given), tls=tls)

    async def introduce() -> None:
        for look in simulator.looks():
            _say(f"{look.id} waits at http://{look.address}/ui: ./espcli register {look.address} NAME")

    await _run(simulator, introduce)


def _say(line: str) -> None:
    print(line, file=sys.stderr)
