"""What can be set about a gateway."""

from __future__ import annotations

from dataclasses import dataclass, field
from ssl import SSLContext

from espfleet.domain.messages import HELLO_MS, KEEPALIVE_MS, LEASE_PERIODS, PERIOD_MS, WATCHDOG_MS
from espfleet.domain.places import TOLD
from espfleet.errors import InvalidError

DEFAULT_PORT = 5678
#: S1 sends a level each tick, whether it changed or not.
PINGLAMP_TICK_MS = 50
#: As S2's server: with as long again for the answer, a client that is gone is noticed within 20 s.
RELAY_PING_MS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much the gateway takes before it says no. Times in ms.

    Attributes:
        connections: Open connections, of lamps and viewers together.
        told: So many more than may be open are told when to return; beyond that, clients are cut unheard.
        connections_per_source: Those of them from one address, or one /64 network of IPv6.
        viewers: Open connections of viewers.
        guests: Connections that have not said yet who they are.
        guests_per_source: Those of them from one source.
        connects_per_s: Clients that may come in a second; others are told when to return.
        messages_per_s: Messages from one client in a second.
        bytes_per_s: Bytes of messages from one client in a second.
        picture_bytes_per_s: The same for a camera.
        waiting_bytes: What may wait for one client that reads too slowly, beside the newest level.
        handshakes: TLS handshakes that are under way; who comes then waits for a turn, by source.
        handshake_ms: From the TCP connection to the end of the handshake; with TLS, of each of the two.
        hello_ms: From there to the hello, or the watch.
        ping_ms: For the answer to a ping when a second session of the same device comes.
        blocked_ms: How long a client may take nothing of what waits for it.
        linger_ms: How long a client that was told to go may take to read that.
    """

    connections: int = 50_000
    told: int = TOLD
    connections_per_source: int = 20_000
    viewers: int = 500
    guests: int = 16_384
    guests_per_source: int = 8_192
    connects_per_s: int = 2_000
    messages_per_s: int = 200
    bytes_per_s: int = 262_144
    picture_bytes_per_s: int = 16 * 1_048_576
    waiting_bytes: int = 4 * 1_048_576
    handshakes: int = 512
    handshake_ms: int = 10_000
    hello_ms: int = HELLO_MS
    ping_ms: int = 1_000
    blocked_ms: int = 10_000
    linger_ms: int = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """What can be set about a gateway. Times in ms.

    Attributes:
        host: Address or name to listen on; a name may stand for several addresses.
        port: TCP port; 0 lets the system choose.
        name: Name of this gateway among others.
        keepalive_ms: How often lamps are told to send a keepalive.
        watchdog_ms: Silence after which a lamp counts as offline. It is late after two thirds of it, and its
            connection is closed after ten times of it.
        period_ms: A level is sent at least this often.
        lease_ms: How long a lamp may show a level without a newer one; at least ``period_ms``.
        pinglamp_tick_ms: How often lamps of S1 are sent a level.
        relay_ping_ms: Silence after which a client of the relay is asked whether it lives; after twice of it, it is
            sent away.
        limits: How much the gateway takes.
        tls: Certificate and key, or ``None`` for plain connections.
        share_port: Whether other processes of this user may listen on the same port: the kernel spreads the lamps.
        drain_ms: How long it may take, when the gateway is told to stop, to hand its lamps over to other gateways.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    name: str = "gateway"
    keepalive_ms: int = KEEPALIVE_MS
    watchdog_ms: int = WATCHDOG_MS
    period_ms: int = PERIOD_MS
    lease_ms: int = LEASE_PERIODS * PERIOD_MS
    pinglamp_tick_ms: int = PINGLAMP_TICK_MS
    relay_ping_ms: int = RELAY_PING_MS
    limits: Limits = field(default_factory=Limits)
    tls: SSLContext | None = field(default=None, repr=False)
    share_port: bool = False
    drain_ms: int = 0

    def __post_init__(self) -> None:
        if self.lease_ms < self.period_ms:
            raise InvalidError(
                f"a lamp would be stale between two levels: lease_ms ({self.lease_ms}) must be at least period_ms "
                f"({self.period_ms})",
                field="lease_ms",
            )

    @property
    def late_ms(self) -> int:
        """Silence after which a lamp is late and is sent nothing."""
        return self.watchdog_ms * 2 // 3

    @property
    def close_ms(self) -> int:
        """Silence after which a connection is closed."""
        return 10 * self.watchdog_ms
