"""Connections of many lamps: sockets that never block, on one epoll that asyncio looks at; nothing else a lamp."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import select
import socket
import ssl
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import Protocol
from urllib.parse import urlsplit

from espfleet.errors import StartError

#: Connections looked at in one turn of the loop.
_A_TURN = 512
_READ_BYTES = 4_096
#: What may wait for a gateway that reads nothing; a lamp has no room for more.
_UNSENT_BYTES = 65_536
_WANTS = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
#: Linux (4.2): take the port when connecting, so that one source address has a port for each connection.
_BIND_ADDRESS_NO_PORT = 24
#: Far below the 28,000 ports that Linux gives to one source address, and below a gateway's usual cap on one.
LAMPS_A_SOURCE = 4_000
#: What a process needs besides its lamps: 12 at work, and 2 for each move that is under way.
_OTHER_FILES = 48
#: Processes of one test.
MOST_PROCESSES = 64


class Owner(Protocol):
    """Whose connection it is."""

    def up(self) -> None:
        """TCP, and TLS where it is wanted, are done."""

    def hear(self, data: bytes) -> None:
        """Bytes have come."""

    def lost(self, why: str) -> None:
        """The other side has ended it, or the network; ``why`` is ``""`` where nothing more is known."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a gateway is, and where lamps come from.

    Attributes:
        host: As the URL says it.
        family: Of the socket.
        address: To connect to.
        sources: Addresses of this machine to connect from, in turn; none lets the system choose.
    """

    host: str
    family: int
    address: tuple[str, int]
    sources: tuple[str, ...]

    @property
    def is_here(self) -> bool:
        """Whether the gateway runs on this machine, and so by the same clock."""
        return ip_address(self.address[0]).is_loopback


def find(url: str, lamps: int) -> Place:
    """Return where a gateway is.

    Args:
        url: Of the gateway.
        lamps: How many will connect; on loopback they come from as many addresses as that needs.

    Raises:
        StartError: If there is no such host.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "wss" else 80)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as exc:
        raise StartError(f"the gateway's host {host!r} cannot be found: {exc.strerror}") from None
    ip = ip_address(address[0])
    sources: tuple[str, ...] = ()
    if isinstance(ip, IPv4Address) and ip.is_loopback:
        count = -(-lamps // LAMPS_A_SOURCE)
        sources = tuple(str(IPv4Address("127.0.1.1") + 256 * number) for number in range(count))
    return Place(host, family, (str(address[0]), int(address[1])), sources)


def allow_files(wanted: int) -> None:
    """Let this process have so many connections.

    Raises:
        StartError: If the system does not allow them; the text says how many it does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OTHER_FILES
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise StartError(
            f"{wanted} connections need {needed} open files, and a process may have {hard}: raise the limit "
            f"(ulimit -n, or LimitNOFILE= of systemd; the gateway's too), or run the lamps in more --processes"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def processes_for(lamps: int, spare: int) -> int:
    """Return how few processes may together have the connections of so many lamps, and ``spare`` for any of them.

    Returns:
        1 to ``MOST_PROCESSES``; the latter also where it is too few.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY:
        return 1
    each = (-(-lamps // count) for count in range(1, MOST_PROCESSES + 1))
    enough = (count for count, most in enumerate(each, 1) if most + min(most, spare) + _OTHER_FILES <= hard)
    return next(enough, MOST_PROCESSES)


class Wires:
    """All connections of this process.

    Args:
        place: Where they lead.
        tls: How to check the gateway's certificate, or ``None`` for plain connections.

    Raises:
        StartError: If the system has no epoll.
    """

    def __init__(self, place: Place, tls: ssl.SSLContext | None = None) -> None:
        if not hasattr(select, "epoll"):
            raise StartError("lamps by the thousand need Linux: this system has no epoll")
        self.place = place
        self.tls = tls
        self.wires: dict[int, Wire] = {}
        self.poll = select.epoll()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.poll.fileno(), self._look)

    def connect(self, owner: Owner, number: int) -> Wire:
        """Begin to connect.

        Args:
            owner: Is told what becomes of it.
            number: Chooses the source address.

        Raises:
            OSError: If that cannot even begin.
        """
        place = self.place
        plug = socket.socket(place.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if place.sources:
                plug.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
                plug.bind((place.sources[number % len(place.sources)], 0))
            code = plug.connect_ex(place.address)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
        except OSError:
            plug.close()
            raise
        return Wire(self, plug, owner)

    def close(self) -> None:
        """Close all that are open."""
        self._loop.remove_reader(self.poll.fileno())
        for wire in list(self.wires.values()):
            wire.close()
        self.poll.close()

    def _look(self) -> None:
        wires = self.wires
        for number, happened in self.poll.poll(0, _A_TURN):
            wire = wires.get(number)
            if wire is not None:
                wire.look(happened)


class Wire:
    """One connection."""

    __slots__ = ("_is_up", "_owner", "_plug", "_unsent", "_wires")

    def __init__(self, wires: Wires, plug: socket.socket, owner: Owner) -> None:
        self._wires = wires
        self._plug = plug
        self._owner = owner
        self._is_up = False
        self._unsent = b""
        wires.wires[plug.fileno()] = self
        wires.poll.register(plug.fileno(), select.EPOLLOUT)

    def look(self, happened: int) -> None:
        """Do what can be done now."""
        if not self._is_up:
            self._begin()
            return
        if happened & select.EPOLLOUT:
            self._send(self._unsent)
        if happened & ~select.EPOLLOUT:
            self._read()

    def write(self, data: bytes) -> None:
        """Send; what the kernel does not take waits."""
        if self._unsent:
            if len(self._unsent) < _UNSENT_BYTES:
                self._unsent += data
        else:
            self._send(data)

    def close(self) -> None:
        """Close; the owner is told nothing more."""
        if self._wires.wires.pop(self._plug.fileno(), None) is not None:
            self._wires.poll.unregister(self._plug.fileno())
        self._plug.close()

    def cut(self) -> None:
        """Close by a reset, as a machine does that has forgotten the connection."""
        if self._plug.fileno() >= 0:
            self._plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def abandon(self) -> None:
        """Neither read nor write any more, as a lamp without power; the other side is not told until ``close``."""
        if self._wires.wires.pop(self._plug.fileno(), None) is not None:
            self._wires.poll.unregister(self._plug.fileno())

    def _begin(self) -> None:
        """Go on with connecting."""
        tls = self._wires.tls
        try:
            if not isinstance(self._plug, ssl.SSLSocket):
                code = self._plug.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    self._fail(os.strerror(code))
                    return
                if tls is not None:
                    self._wrap(tls)
            if isinstance(self._plug, ssl.SSLSocket):
                self._plug.do_handshake()
        except ssl.SSLWantReadError:
            self._wires.poll.modify(self._plug.fileno(), select.EPOLLIN)
        except ssl.SSLWantWriteError:
            self._wires.poll.modify(self._plug.fileno(), select.EPOLLOUT)
        except OSError as exc:
            self._fail(exc.reason if isinstance(exc, ssl.SSLError) and exc.reason else exc.strerror or str(exc))
        else:
            self._is_up = True
            self._wires.poll.modify(self._plug.fileno(), select.EPOLLIN)
            self._owner.up()

    def _wrap(self, tls: ssl.SSLContext) -> None:
        # Wrapping takes the file over from the plain socket, under the same number.
        self._plug = tls.wrap_socket(
            self._plug, server_hostname=self._wires.place.host, do_handshake_on_connect=False, suppress_ragged_eofs=True
        )

    def _read(self) -> None:
        plug = self._plug
        try:
            data = plug.recv(_READ_BYTES)
        except _WANTS:
            return
        except OSError as exc:
            self._fail(exc.strerror or str(exc))
            return
        if not data:
            self._fail("")
            return
        self._owner.hear(data)
        # What TLS has decrypted already, epoll does not know of.
        while isinstance(plug, ssl.SSLSocket) and plug.fileno() >= 0 and plug.pending():
            self._owner.hear(plug.recv(_READ_BYTES))

    def _send(self, data: bytes) -> None:
        waited = bool(self._unsent)
        try:
            sent = self._plug.send(data)
        except _WANTS:
            sent = 0
        except OSError:
            # The next look finds out that it is over, and why.
            return
        self._unsent = data[sent:]
        if waited != bool(self._unsent):
            more = select.EPOLLOUT if self._unsent else 0
            self._wires.poll.modify(self._plug.fileno(), select.EPOLLIN | more)

    def _fail(self, why: str) -> None:
        self.close()
        self._owner.lost(why)
