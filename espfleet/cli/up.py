"""``up``: a whole fleet as one tree of processes on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from espfleet import logs
from espfleet.cli.children import WATCH_S, Child, end
from espfleet.cli.encryption import ensure
from espfleet.cli.first_admin import ensure_admin
from espfleet.cli.opening import fleet, fleet_url, gateway_url, settings, web_url
from espfleet.cli.reviving import keep_server
from espfleet.cli.simulate import add_demo, load
from espfleet.cli.stopping import run_until_told
from espfleet.cli.words import level_word
from espfleet.domain.devices import Presence
from espfleet.errors import StartError, StoreError
from espfleet.services import devices, groups, simulated
from espfleet.settings import Settings
from espfleet.store.client import Store

logger = logging.getLogger(__name__)

WORKERS = ("prober", "leveler", "gateway", "steward", "web")
REPORT_S = 60.0
RENEW_S = 6 * 3_600.0


def up(demo: bool | None) -> None:
    """Run a whole fleet until Ctrl-C.

    Raises:
        StartError: If a fleet runs in this data folder already, or a port is in use.
        StoreError: If Redis cannot be used.
    """
    given = settings()
    logs.set_up("up", given.log_level)
    with fleet_url(given) as url, _only_one(given.data):
        _check_port("gateway", given.server_host, given.server_port, "SERVER")
        _check_port("web", given.web_host, given.web_port, "WEB")
        ensure(given)
        run_until_told(lambda: _up(url, given, demo))


@contextlib.contextmanager
def _only_one(data: Path) -> Iterator[None]:
    """Hold the right to be the one `up` of this data folder."""
    path = data / "up.lock"
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StartError(
            f"the data folder {data} cannot be used: {exc.strerror}; set ESPFLEET_DATA to another"
        ) from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StartError(
            f"a fleet is running in {data} already; stop that one, or set ESPFLEET_DATA, SERVER_PORT and WEB_PORT "
            "for a second"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def _check_port(what: str, host: str, port: int, setting: str) -> None:
    """Refuse a port that somebody else has, before anything is started."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as exc:
        raise StartError(
            f"the {what} cannot listen on {host}:{port}: {exc.strerror}; set {setting}_HOST or {setting}_PORT"
        ) from exc


async def _up(url: str, given: Settings, demo: bool | None) -> None:
    async with fleet(url, given, "up") as store:
        await ensure_admin(store, given)
        await _offer_demo(store, given, demo)
        children = [Child(worker) for worker in WORKERS]
        try:
            _introduce(store, given, children)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_watch(children, given), name="children")
                tasks.create_task(_report(store), name="report")
                tasks.create_task(_renew(given), name="certificates")
                if given.redis_url is None:
                    tasks.create_task(keep_server(given), name="embedded server")
        finally:
            end(children)
            _say("Stopped.")


async def _offer_demo(store: Store, given: Settings, demo: bool | None) -> None:
    if demo is False or (demo is None and not await simulated.is_empty(store)):
        return
    await add_demo(store, given)
    _say("This fleet was empty, so it begins with the demo: simulated lamps and targets; nothing leaves this machine.")
    _say("'./espcli demo remove' removes it.")


def _introduce(store: Store, given: Settings, children: list[Child]) -> None:
    redis = "embedded Redis" if given.redis_url is None else "Redis"
    _say(f"{redis} at {store.url}; gateway at {gateway_url(given).removesuffix('/lamp')}")
    workers = ", ".join([*(child.worker for child in children), *(["simulated lamps"] if load(given) else [])])
    _say(f"Dashboard: {web_url(given)}")
    _say(f"Running: {workers}. Look: './espcli watch'. Ctrl-C stops everything.")


async def _watch(children: list[Child], given: Settings) -> None:
    """Keep the workers running, and the simulated lamps for as long as there are some."""
    lamps = Child("lamps")
    while True:
        if load(given) and lamps not in children:
            children.append(lamps)
        elif lamps in children and not load(given):
            children.remove(lamps)
            end([lamps])
            lamps.process = None
        for child in children:
            child.look(time.monotonic())
        await asyncio.sleep(WATCH_S)


async def _report(store: Store) -> None:
    """Say once a minute what the fleet is like."""
    await asyncio.sleep(REPORT_S / 6)
    while True:
        try:
            _say(await _summary(store))
        except StoreError as exc:
            logger.warning("%s", exc)
        await asyncio.sleep(REPORT_S)


async def _renew(given: Settings) -> None:
    """Renew the certificates in time; gateway and web take them while they run."""
    while True:
        await asyncio.sleep(RENEW_S)
        try:
            ensure(given)
        except StartError as exc:
            logger.warning("%s", exc)


async def _summary(store: Store) -> str:
    at_ms = store.now_ms()
    levels = [f"{view.group.name} {level_word(view.level)}" for view in await groups.views(store, now_ms=at_ms)]
    presences = [view.presence for view in await devices.views(store, now_ms=at_ms)]
    there = ", ".join(f"{presences.count(one)} {one.value}" for one in Presence if presences.count(one)) or "none yet"
    shown = ", ".join(levels[:6]) + (f" and {len(levels) - 6} more" if levels[6:] else "")
    return f"{time.strftime('%H:%M:%S')}  levels: {shown or 'none yet'}; lamps: {there}"


def _say(line: str) -> None:
    print(line, flush=True)
