"""Serial ports: whether one can be used and, if not, why."""

from __future__ import annotations

import fcntl
import grp
import os
import stat
import time
from pathlib import Path

from espfleet.domain.names import shown
from espfleet.errors import PortError

#: Where boards appear on Linux and macOS.
_BOARDS = ("ttyUSB*", "ttyACM*", "cu.usb*", "cu.SLAB*", "cu.wch*")

_LOOKS = 10
_LOOK_S = 0.05


def check_port(port: str) -> None:
    """See whether somebody may talk through a port, and nobody else does.

    Raises:
        PortError: If it does not exist, is none, may not be used, or is in use.
    """
    try:
        opened = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise PortError(f"there is no port {shown(port)}; {_others()}") from None
    except PermissionError:
        raise PortError(f"you may not use {port}: {_remedy(port)}") from None
    except IsADirectoryError:
        raise PortError(f"{shown(port)} is a folder, not a serial port") from None
    except (OSError, ValueError) as exc:
        raise PortError(f"{shown(port)} cannot be opened: {getattr(exc, 'strerror', None) or exc}") from None
    try:
        if not os.isatty(opened):
            raise PortError(f"{shown(port)} is not a serial port; {_others()}")
        if not _is_free(opened):
            raise PortError(f"{port} is in use by another program: end it first (a terminal, an editor, mpremote)")
    finally:
        os.close(opened)


def _is_free(opened: int) -> bool:
    """Return whether nobody else holds a port; who has just let go of it needs a moment."""
    for _ in range(_LOOKS):
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(_LOOK_S)
    return False


def _others() -> str:
    found = sorted(str(path) for pattern in _BOARDS for path in Path("/dev").glob(pattern))
    return f"there is {', '.join(found)}" if found else "no board is plugged in, or its cable carries power only"


def _remedy(port: str) -> str:
    info = Path(port).stat()
    if not info.st_mode & stat.S_IRGRP:
        return "only its owner may"
    try:
        group = grp.getgrgid(info.st_gid).gr_name
    except KeyError:
        group = str(info.st_gid)
    return f"join its group with 'sudo usermod -aG {group} $USER' and log in again"
