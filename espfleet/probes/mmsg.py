"""Many datagrams in one system call: sendmmsg(2) and recvmmsg(2), which Python's socket module does not have.

The kernel reads and writes arrays of ``struct mmsghdr``. They are built once, as numpy structured arrays, and point
into other arrays that hold packets, addresses and ancillary data; per call only counts and offsets change.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import sys

import numpy as np
import numpy.typing as npt

from espfleet.probes.wire import SOCKADDRS, Family, Table

#: ``struct mmsghdr`` of 64-bit little-endian Linux: a ``struct msghdr`` and the bytes received.
MMSGHDR = np.dtype(
    [
        ("name", "u8"),
        ("name_bytes", "u4"),
        ("pad_0", "u4"),
        ("iovec", "u8"),
        ("iovec_count", "u8"),
        ("control", "u8"),
        ("control_bytes", "u8"),
        ("flags", "i4"),
        ("pad_1", "u4"),
        ("bytes", "u4"),
        ("pad_2", "u4"),
    ]
)
IOVEC = np.dtype([("base", "u8"), ("bytes", "u8")])
#: Ancillary data of messages: a ``struct scm_timestamping``, of which the first of three times counts.
_STAMP = [
    ("bytes", "u8"),
    ("kind", "u8"),  # level and type as one number, so that one comparison tells
    ("seconds", "i8"),
    ("nanoseconds", "i8"),
    ("more_times", "V32"),
]
STAMP = np.dtype(_STAMP)
#: Of the error queue: the same, then a ``struct sock_extended_err`` and the address of who reported it.
REPORT = np.dtype(
    [
        *_STAMP,
        ("error_bytes", "u8"),
        ("error_kind", "u8"),
        ("errno", "u4"),
        ("report", "u4"),  # who speaks, ICMP type, ICMP code, nothing: a byte each
        ("info", "u4"),
        ("data", "u4"),
        ("offender", "V32"),
    ]
)
#: From linux/socket.h; the socket module does not have it.
MSG_ERRQUEUE = 0x2000
#: An ICMP error makes the next call on its socket fail once, whatever that call was for.
STALE_ERRORS = 3


def _load() -> ctypes.CDLL | None:
    """Return the C library if this machine's structures are those described here."""
    if sys.platform != "linux" or sys.byteorder != "little" or sys.maxsize <= 2**32:
        return None
    library = ctypes.CDLL(None, use_errno=True)
    if not (hasattr(library, "sendmmsg") and hasattr(library, "recvmmsg")):
        return None
    library.sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
    library.recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
    return library


_LIBC = _load()


def available() -> bool:
    """Return whether both calls exist here and are let through (a container's filter may stop them)."""
    if _LIBC is None:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        arena = Arena(sock.fileno(), 1, 64, SOCKADDRS[Family.V4], STAMP)
        return _LIBC.sendmmsg(sock.fileno(), arena.address, 0, 0) == 0 and arena.pull() == errno.EAGAIN


class Outbox:
    """Prebuilt messages, one for each row of ``packets``, ready to be sent in runs.

    Args:
        fd: Socket they leave by.
        packets: What is sent.
        addresses: Where to, row by row.
    """

    def __init__(self, fd: int, packets: Table, addresses: Table) -> None:
        self._fd = fd
        self._kept = packets, addresses, _iovecs(packets)
        self._headers = _headers(self._kept[2])
        self._headers["name"] = _rows(addresses)
        self._headers["name_bytes"] = addresses.itemsize
        self._address = self._headers.ctypes.data

    def send(self, first: int, count: int) -> tuple[int, int]:
        """Send ``count`` rows from ``first`` on.

        Returns:
            How many left, and, if none, the ``errno`` of the first.
        """
        assert _LIBC is not None
        for _ in range(STALE_ERRORS):
            sent = _LIBC.sendmmsg(self._fd, self._address + MMSGHDR.itemsize * first, count, 0)
            if sent > 0:
                return sent, 0
            error = ctypes.get_errno()
            if error == errno.EAGAIN:
                break
        return 0, error


class Arena:
    """Room for many received messages, filled by several calls and parsed at once.

    Args:
        fd: Socket they come from.
        rows: Most messages it holds.
        message_bytes: Room for a message; what is longer is cut. Tight, so that many fit the processor's cache.
        name: One of ``SOCKADDRS``.
        control: ``STAMP`` or ``REPORT``.
        flags: Flags of recvmmsg(2), beside not to wait.

    Attributes:
        fill: Rows in use.
        data: Messages, uint8 [rows, message_bytes]; ``lengths()`` says how much of each counts.
        names: Addresses they came with, of dtype ``name``.
        control: Ancillary data, of dtype ``control``.
    """

    def __init__(
        self,
        fd: int,
        rows: int,
        message_bytes: int,
        name: np.dtype[np.void],
        control: np.dtype[np.void],
        flags: int = 0,
    ) -> None:
        self.rows, self.fill = rows, 0
        self.data = np.zeros((rows, message_bytes), np.uint8)
        self.names = np.zeros(rows, name)
        self.control = np.zeros(rows, control)
        self._fd, self._flags = fd, flags | socket.MSG_DONTWAIT
        self._iovecs = _iovecs(self.data)
        self._headers = _headers(self._iovecs)
        self._headers["name"] = _rows(self.names)
        self._headers["control"] = _rows(self.control)
        self._name_bytes = self._headers["name_bytes"]
        self._control_bytes = self._headers["control_bytes"]
        self.address = self._headers.ctypes.data
        self.fill = rows
        self.clear()

    def pull(self) -> int:
        """Take what the socket holds, as far as there is room; return an ``errno``, 0 if something came."""
        if self.fill == self.rows:
            return 0
        assert _LIBC is not None
        for _ in range(STALE_ERRORS):
            came: int = _LIBC.recvmmsg(
                self._fd, self.address + MMSGHDR.itemsize * self.fill, self.rows - self.fill, self._flags, None
            )
            if came > 0:
                self.fill += came
                return 0
            error = ctypes.get_errno()
            if error == errno.EAGAIN:
                break
        return error

    def clear(self) -> None:
        """Make room again: the kernel has overwritten how much room there is."""
        self._name_bytes[: self.fill] = self.names.itemsize
        self._control_bytes[: self.fill] = self.control.itemsize
        self.fill = 0

    def lengths(self) -> npt.NDArray[np.uint32]:
        """Return the bytes of each message, uint32 [fill]."""
        return self._headers["bytes"][: self.fill]

    def controls(self) -> npt.NDArray[np.uint64]:
        """Return the bytes of ancillary data of each message, uint64 [fill]; what lies behind is of older messages."""
        return self._control_bytes[: self.fill]


def _rows(array: npt.NDArray[np.generic]) -> npt.NDArray[np.uint64]:
    """Return the memory address of each row."""
    return array.ctypes.data + array.strides[0] * np.arange(len(array), dtype=np.uint64)


def _iovecs(buffers: npt.NDArray[np.generic]) -> Table:
    iovecs = np.zeros(len(buffers), IOVEC)
    iovecs["base"] = _rows(buffers)
    iovecs["bytes"] = buffers.strides[0]
    return iovecs


def _headers(iovecs: Table) -> Table:
    headers = np.zeros(len(iovecs), MMSGHDR)
    headers["iovec"] = _rows(iovecs)
    headers["iovec_count"] = 1
    return headers
