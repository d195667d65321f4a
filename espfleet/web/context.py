"""What every handler of the API gets: the open fleet, a clock, and some values."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Annotated

from fastapi import Depends, Request

from espfleet.domain.attempts import Attempts
from espfleet.services.registering import REAL, Boards
from espfleet.store.client import Store
from espfleet.web.live import Live
from espfleet.web.projector import Projector


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """Where and how the web is served.

    Attributes:
        name: Name of this worker, unique in the fleet.
        host: Address to listen on.
        port: Port to listen on.
        gateway_url: Where devices that are registered here shall connect to.
        tls: Certificate and key, or ``None`` for plain connections.
        board_token: What boards want to see, or ``""``.
    """

    name: str
    host: str = "127.0.0.1"
    port: int = 8000
    gateway_url: str = "ws://127.0.0.1:5678/lamp"
    board_token: str = field(default="", repr=False)
    tls: SSLContext | None = field(default=None, repr=False)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Return whether ``host`` means this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What handlers share.

    Attributes:
        store: The open fleet.
        live: The live feed.
        settings: Where and how the web is served.
        clock: Returns ms since the epoch.
        boards: How devices are spoken to.
        attempts: Who has shown wrong tokens.
        projector: Shows pictures of cameras.
        started_ms: When this worker started, ms since the epoch.
    """

    store: Store
    live: Live
    settings: WebSettings
    clock: Callable[[], int]
    projector: Projector
    started_ms: int
    boards: Boards = REAL
    attempts: Attempts = field(default_factory=lambda: Attempts(time.monotonic))


def _context(request: Request) -> Context:
    context: Context = request.state.context
    return context


Here = Annotated[Context, Depends(_context)]
