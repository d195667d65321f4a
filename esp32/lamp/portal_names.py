"""Every name leads to the lamp: a DNS server for its own access point, so that phones find the page. Borrowed."""

import socket

from micropython import const

_PORT = const(53)
_BYTES = const(512)
_AT_ONCE = const(8)
_ADDRESS = b"\x00\x01\x00\x01"


class Names:
    """Answers who asks for names.

    Args:
        address: Of the lamp in its own network, where it listens too.
        port: UDP port.

    Raises:
        OSError: If it cannot listen.
    """

    def __init__(self, address: str, port: int = _PORT) -> None:
        self._address = bytes([int(part) for part in address.split(".")])
        self._socket = sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(socket.getaddrinfo(address, port)[0][-1])
        except OSError:
            sock.close()
            raise
        sock.setblocking(False)

    def look(self) -> None:
        """Answer what has come."""
        for _ in range(_AT_ONCE):
            try:
                query, sender = self._socket.recvfrom(_BYTES)
                reply = answer(query, self._address)
                if reply:
                    self._socket.sendto(reply, sender)
            except OSError:
                # Nothing more has come, or who asked is gone.
                return

    def close(self) -> None:
        """Answer no more."""
        self._socket.close()


def answer(query: bytes, address: bytes):
    """Return the answer to a question, or ``None`` if it is none: an address where one is wanted, else nothing.

    Args:
        query: The message.
        address: Four bytes.
    """
    at = 12
    # One question, and not an answer.
    if len(query) < 17 or query[2] & 0xF8 or query[4:6] != b"\x00\x01":
        return None
    while at < len(query) and query[at]:
        if query[at] > 63:
            return None
        at += query[at] + 1
    end = at + 5
    if end > len(query):
        return None
    found = query[at + 1 : end] == _ADDRESS
    head = query[:2] + bytes([0x84 | query[2] & 1, 0x80]) + b"\x00\x01\x00" + bytes([found]) + b"\x00\x00\x00\x00"
    if not found:
        return head + query[12:end]
    # For a second: when the lamp is set up, the names lead elsewhere again.
    return head + query[12:end] + b"\xc0\x0c" + _ADDRESS + b"\x00\x00\x00\x01\x00\x04" + address
