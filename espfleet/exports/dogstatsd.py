"""DogStatsD: points as datagrams to an agent of Datadog on this machine or network.

Nothing answers, so what does not arrive is lost without a word; ``datadog.py`` loses nothing. Never blocks.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator

from espfleet.domain.points import Point
from espfleet.errors import StartError

#: A datagram of this size passes networks whole.
DATAGRAM_BYTES = 1_432
#: What would end a name, a tag or a line.
_IN_NAME = re.compile(r"[^a-zA-Z0-9_.]")
_IN_TAG = re.compile(r"[\s,|#\x00-\x1f\x7f]")


class DogStatsd:
    """Sends gauges to an agent.

    Args:
        host: Its name or IP.
        port: Its port, 8125 as a rule.

    Attributes:
        sent, lost: Points that were handed to the system, and that it did not take.

    Raises:
        StartError: If there is no such host.
    """

    def __init__(self, host: str, port: int) -> None:
        self.sent = self.lost = 0
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        except (OSError, UnicodeError) as exc:
            raise StartError(f"there is no DogStatsD at {host}:{port}: {exc}; see DOGSTATSD_HOST") from exc
        self._socket = socket.socket(family, kind, protocol)
        self._socket.setblocking(False)
        self._address = address

    def send(self, points: Iterable[Point]) -> None:
        """Send points as they are now; those that the system does not take are counted and gone."""
        for datagram, count in datagrams(points):
            try:
                self._socket.sendto(datagram, self._address)
                self.sent += count
            except OSError:
                self.lost += count

    def close(self) -> None:
        """Send nothing any more."""
        self._socket.close()


def datagrams(points: Iterable[Point]) -> Iterator[tuple[bytes, int]]:
    """Yield points as datagrams, each with how many points are in it; one that is too long for one is left out."""
    lines: list[bytes] = []
    room = DATAGRAM_BYTES
    for point in points:
        line = line_of(point).encode()
        if len(line) > DATAGRAM_BYTES:
            continue
        if len(line) + 1 > room and lines:
            yield b"\n".join(lines), len(lines)
            lines, room = [], DATAGRAM_BYTES
        lines.append(line)
        room -= len(line) + 1
    if lines:
        yield b"\n".join(lines), len(lines)


def line_of(point: Point) -> str:
    """Return a point as DogStatsD writes a gauge: ``NAME:VALUE|g|#TAG,TAG``; what means something there becomes _."""
    tags = ",".join(_IN_TAG.sub("_", tag) for tag in point.tags)
    return f"{_IN_NAME.sub('_', point.name)}:{point.value:.15g}|g" + (f"|#{tags}" if tags else "")
