"""From settings to an open store: on the user's Redis, or on the embedded one."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from espfleet.domain.actors import Actor
from espfleet.settings import Settings, read_settings
from espfleet.store import audit
from espfleet.store.client import Store, open_store
from espfleet.store.embedded import embedded_server

if TYPE_CHECKING:
    from espfleet.exports.datadog import Datadog

Answer = TypeVar("Answer")

#: How long somebody who typed a command waits for a Redis that does not answer, in seconds. Workers wait longer.
OPEN_WITHIN_S = 4.0


def home() -> Path:
    """Return the folder that holds ``.env`` and the data: where ``espcli`` is, else the present one."""
    return Path(os.environ.get("ESPFLEET_HOME") or Path.cwd())


def settings() -> Settings:
    """Return the settings of this process.

    Raises:
        SettingsError: If one is unknown or bad.
    """
    return read_settings(os.environ, home())


def gateway_url(given: Settings) -> str:
    """Return the URL by which a lamp on this machine reaches the gateway of these settings."""
    return _url("wss" if given.tls else "ws", given.server_host, given.server_port) + "lamp"


def web_url(given: Settings) -> str:
    """Return the URL of the dashboard of these settings, for a browser on this machine."""
    return _url("https" if given.tls else "http", given.web_host, given.web_port)


def _url(scheme: str, host: str, port: int) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"


def datadog(given: Settings) -> Datadog | None:
    """Return where metrics go, or ``None`` without a key."""
    # Only here: it loads a library that most commands do without.
    from espfleet.exports.datadog import Datadog

    return Datadog(url=given.datadog_url.rstrip("/"), api_key=given.datadog_api_key) if given.datadog_api_key else None


def user() -> Actor:
    """Return who types commands here."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        # A container may run users that have no name.
        name = str(os.getuid())
    return Actor("cli", name, socket.gethostname())


@contextlib.contextmanager
def fleet_url(given: Settings, silent_s: float = OPEN_WITHIN_S) -> Iterator[str]:
    """Yield the URL of the fleet's Redis; the embedded one runs for as long as this lasts, or longer.

    What is done with it is done in the name of who typed the command, unless a worker says otherwise.

    Args:
        given: Settings.
        silent_s: How long an embedded server that runs may keep silent, in seconds.

    Raises:
        StoreStartError: If the embedded server cannot be started.
    """
    audit.act_as(user())
    if given.redis_url:
        yield given.redis_url
    else:
        with embedded_server(given.data, silent_s) as url:
            yield url


def fleet(url: str, given: Settings, name: str = "cli") -> AbstractAsyncContextManager[Store]:
    """Return the way to an open store for a command that somebody has typed and waits for.

    Nothing is sent twice: who typed it sees what went wrong, and may type it again.
    """
    return open_store(url, name=name, shards=given.shards, retries=0, open_within_s=OPEN_WITHIN_S)


def with_store(use: Callable[[Store], Awaitable[Answer]]) -> Answer:
    """Return what ``use`` makes of an open store; each command calls it once.

    Raises:
        StoreError: If Redis cannot be used.
        SettingsError: If a setting is unknown or bad.
    """
    given = settings()

    async def opened(url: str) -> Answer:
        async with fleet(url, given) as store:
            return await use(store)

    with fleet_url(given) as url:
        return asyncio.run(opened(url))


def with_time(use: Callable[[Store], Awaitable[Answer]]) -> tuple[Answer, int]:
    """Return what ``with_store`` returns, and the time then, ms since the epoch: by the clock of Redis.

    All moments of the fleet are by that clock, and what is told of their age must be too: this machine's may be wrong.
    """

    async def timed(store: Store) -> tuple[Answer, int]:
        return await use(store), store.now_ms()

    return with_store(timed)
