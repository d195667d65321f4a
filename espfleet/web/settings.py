"""What can be set about the web."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from ssl import SSLContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much the web takes before it says no. Times in ms.

    Attributes:
        connections: Open connections; each who looks at the dashboard needs one or two.
        connections_per_source: Those of them from one address, or one /64 network of IPv6.
        requests_per_s: Requests of one source in a second, for as long as it likes.
        requests_at_once: So many may come at once from one that was quiet.
        readers: Those who follow the live feed.
        video_readers: Those who look at a camera.
        handshakes: TLS handshakes that are under way; who comes then waits for a turn, by source.
        handshake_ms: From the TCP connection to the end of the handshake.
        head_ms: For the head of a request, from the connection or the answer before it.
        body_ms: For the body of a request, and half of it for that of a device.
        body_bytes: Of a body, but for those of devices.
        blocked_ms: How long a reader of the live feed or of a camera may take nothing of what waits for it; twice as
            long for any other answer.
    """

    connections: int = 2_500
    connections_per_source: int = 1_000
    requests_per_s: float = 200
    requests_at_once: int = 1_000
    readers: int = 2_000
    video_readers: int = 200
    handshakes: int = 128
    handshake_ms: int = 10_000
    head_ms: int = 10_000
    body_ms: int = 20_000
    body_bytes: int = 65_536
    blocked_ms: int = 5_000


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
        limits: How much is taken.
        proxies: Addresses and networks of proxies in front, with commas: they are believed who asks.
    """

    name: str
    host: str = "127.0.0.1"
    port: int = 8000
    gateway_url: str = "ws://127.0.0.1:5678/lamp"
    board_token: str = field(default="", repr=False)
    tls: SSLContext | None = field(default=None, repr=False)
    limits: Limits = field(default_factory=Limits)
    proxies: str = ""

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
