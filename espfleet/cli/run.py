"""``run WORKER``: one worker as a process."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import gc
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from espfleet import logs
from espfleet.cli.encryption import server_side
from espfleet.cli.first_admin import ensure_admin
from espfleet.cli.opening import datadog, fleet_url, gateway_url, settings
from espfleet.cli.reviving import keep_server
from espfleet.cli.stopping import run_until_told
from espfleet.domain.actors import Actor
from espfleet.domain.names import check_number, check_whole, nearest, shown
from espfleet.errors import InvalidError
from espfleet.settings import Settings
from espfleet.store import audit
from espfleet.store.client import Store, open_store
from espfleet.store.embedded import SILENT_FOR_S
from espfleet.workers.membership import worker_name

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from espfleet.certificates.contexts import ServerSide
    from espfleet.gateway.server import Limits
    from espfleet.web.settings import Limits as WebLimits

logger = logging.getLogger(__name__)

Work = Callable[[Store, Settings], Awaitable[None]]

#: Who asks the web hears after this time that Redis does not answer; workers, whom nobody waits for, are patient.
WEB_WAITS_S = 3.0


async def _prober(store: Store, given: Settings) -> None:
    from espfleet.workers.prober import Prober, ProberSettings

    kept_s = given.long_window_s + 60
    await Prober(
        store,
        ProberSettings(name=worker_name(), flush_ms=given.flush_ms, resolve_s=given.resolve_s, kept_s=kept_s),
    ).run()


async def _leveler(store: Store, given: Settings) -> None:
    from espfleet.domain.sizes import Memory
    from espfleet.workers.leveler import Leveler

    memory = Memory(
        short_ms=round(given.short_window_s * 1_000),
        long_ms=round(given.long_window_s * 1_000),
        loss_ms=round(given.loss_window_s * 1_000),
        clear_after_ms=round(given.clear_after_s * 1_000),
    )
    await Leveler(store, worker_name(), memory).run()


async def _gateway(store: Store, given: Settings, share_port: int = 0, drain_s: float = 0.0) -> None:
    from espfleet.gateway.server import GatewaySettings, run_gateway

    tls = server_side(given)
    serving = run_gateway(
        store,
        GatewaySettings(
            tls=tls.context if tls else None,
            limits=limits_of(given),
            name=worker_name(),
            host=given.server_host,
            port=share_port or given.server_port,
            share_port=bool(share_port),
            drain_ms=round(drain_s * 1_000),
            keepalive_ms=given.keepalive_ms,
            watchdog_ms=given.watchdog_ms,
            period_ms=given.period_ms,
            lease_ms=given.lease_ms,
            pinglamp_tick_ms=given.pinglamp_tick_ms,
            relay_ping_ms=given.relay_ping_ms,
        ),
    )
    await _with_certificate(serving, tls)


def limits_of(given: Settings) -> Limits:
    """Return how much a gateway takes: each limit that can be set has the name of its setting."""
    from espfleet.gateway.server import Limits

    return Limits(**_set_for(Limits, "gateway", given))


def web_limits_of(given: Settings) -> WebLimits:
    """Return how much a web server takes."""
    from espfleet.web.settings import Limits

    return Limits(**_set_for(Limits, "web", given))


def _set_for(limits: type[DataclassInstance], worker: str, given: Settings) -> dict[str, Any]:
    named = {one.name: f"{worker}_{one.name}" for one in dataclasses.fields(limits)}
    return {name: getattr(given, setting) for name, setting in named.items() if hasattr(given, setting)}


async def _web(store: Store, given: Settings) -> None:
    # It makes a hundred thousand objects and hardly any garbage: looking for some would take a fifth of the time.
    gc.disable()
    try:
        from espfleet.web.server import run_web
        from espfleet.web.settings import WebSettings
    finally:
        gc.enable()

    tls = server_side(given)
    await ensure_admin(store, given)
    serving = run_web(
        store,
        WebSettings(
            name=worker_name(),
            host=given.web_host,
            port=given.web_port,
            gateway_url=gateway_url(given),
            board_token=given.board_token or "",
            tls=tls.context if tls else None,
            limits=web_limits_of(given),
            proxies=given.web_proxies,
        ),
    )
    await _with_certificate(serving, tls)


async def _with_certificate(serving: Awaitable[None], tls: ServerSide | None) -> None:
    """Serve, and take a renewed certificate meanwhile."""
    watching = asyncio.create_task(tls.watch(), name="certificate") if tls else None
    try:
        await serving
    finally:
        if watching is not None:
            watching.cancel()


async def _steward(store: Store, given: Settings) -> None:
    from espfleet.workers.steward import Steward, StewardSettings

    await Steward(
        store,
        worker_name(),
        StewardSettings(
            poll_s=given.poll_s,
            board_token=given.board_token or "",
            datadog=datadog(given),
            prometheus_host=given.prometheus_host,
            prometheus_port=given.prometheus_port,
            dogstatsd_host=given.dogstatsd_host,
            dogstatsd_port=given.dogstatsd_port,
            host=socket.gethostname(),
        ),
    ).run()


async def _lamps(store: Store, given: Settings) -> None:
    from espfleet.cli.simulate import run_enlisted

    await run_enlisted(store, given)


WORKERS: dict[str, Work] = {
    "prober": _prober,
    "leveler": _leveler,
    "gateway": _gateway,
    "web": _web,
    "steward": _steward,
    "lamps": _lamps,
}


def run(worker: str, processes: str = "1", drain: str = "0", share_port: str = "0") -> None:
    """Run one worker until it is told to stop.

    Args:
        worker: Which one.
        processes: How many of it, 1 to 64.
        drain: How long a gateway may take to hand its lamps over when it is told to stop, 0 to 3600 s.
        share_port: The port that a gateway shares with others of this user on this machine; 0 for its own.

    Raises:
        InvalidError: If there is no such worker, or an option cannot be used.
        StoreError: If Redis cannot be used at the start; later it is waited for.
    """
    if worker.isdigit():
        raise InvalidError(
            f"run {worker} of EspNet is './espcli run steward' here; how often boards are visited is the setting "
            f"POLL_S, in seconds",
            field="worker",
        )
    if worker not in WORKERS:
        close = nearest(worker, WORKERS)
        hint = f"did you mean {close[0]}?" if close else f"use one of {', '.join(WORKERS)}"
        raise InvalidError(f"there is no worker {shown(worker)}; {hint}", field="worker")
    count = check_whole(processes, "processes", 1, 64)
    drain_s = check_number(drain, "drain", 0, 3_600, "s")
    port = check_whole(share_port, "share_port", 0, 65_535)
    if worker != "gateway" and (drain_s or port):
        raise InvalidError(
            f"{worker} has no lamps to hand over and no port to share: --drain and --share_port are for gateway",
            field="drain",
        )
    given = settings()
    logs.set_up(worker, given.log_level)
    if count > 1:
        from espfleet.cli.processes import run_processes

        run_processes(worker, given, count, drain_s)
        return
    work, new_loop = WORKERS[worker], None
    if worker == "gateway":
        from espfleet.gateway.patience import patient_loop

        work, new_loop = functools.partial(_gateway, share_port=port, drain_s=drain_s), patient_loop
    with fleet_url(given, SILENT_FOR_S) as url:
        run_until_told(lambda: _worker(worker, work, url, given), drain_s, new_loop)


async def _worker(worker: str, work: Work, url: str, given: Settings) -> None:
    audit.act_as(Actor(worker, worker_name(), socket.gethostname()))
    within_s = WEB_WAITS_S if worker == "web" else None
    opened = open_store(url, name=worker, shards=given.shards, retries=0, answer_within_s=within_s)
    async with opened as store, asyncio.TaskGroup() as tasks:
        if given.redis_url is None:
            tasks.create_task(keep_server(given), name="embedded server")
        tasks.create_task(_awaited(work(store, given)), name=worker)


async def _awaited(work: Awaitable[None]) -> None:
    await work
