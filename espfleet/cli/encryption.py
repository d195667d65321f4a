"""From settings to both sides of TLS."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

from espfleet.errors import StartError
from espfleet.settings import Settings

if TYPE_CHECKING:
    from espfleet.certificates.contexts import LampSide, ServerSide
    from espfleet.certificates.folder import Folder


def now() -> datetime.datetime:
    """Return the current time."""
    return datetime.datetime.now(datetime.UTC)


def folder_of(given: Settings) -> Folder:
    """Return where the fleet's own certificates are."""
    # Only here and below: it loads a library that most commands do without.
    from espfleet.certificates.folder import Folder

    return Folder(given.data, now)


def names_for(given: Settings) -> list[str]:
    """Return by which names and addresses the servers of these settings are reached."""
    from espfleet.certificates.addresses import own_names

    return own_names([given.server_host, given.web_host])


def ensure(given: Settings) -> None:
    """Make the fleet's own certificates, where TLS is on and needs them; renew them where they are about to end.

    Raises:
        StartError: If that is not possible.
    """
    if given.tls and given.tls_cert is None:
        folder_of(given).ensure(names_for(given))


def server_side(given: Settings) -> ServerSide | None:
    """Return what gateway and web need for TLS, or ``None`` where it is off.

    Raises:
        StartError: If there is no certificate that can be used.
    """
    if not given.tls:
        return None
    from espfleet.certificates.contexts import ServerSide

    ensure(given)
    if given.tls_cert is not None:
        return ServerSide(given.tls_cert, given.tls_key)
    return ServerSide(folder_of(given).server)


def lamp_side(given: Settings, ca: str = "") -> LampSide | None:
    """Return what simulated lamps check the gateway with, or ``None`` where TLS is off and no authority is named.

    Args:
        given: The settings.
        ca: PEM file with the authorities to trust, instead of the fleet's own.

    Raises:
        StartError: If there is no certificate that can be used.
    """
    if not given.tls and not ca:
        return None
    from espfleet.certificates.contexts import LampSide

    if ca:
        return LampSide(Path(ca))
    own = folder_of(given).bundle
    return LampSide(None if given.tls_cert is not None or not own.exists() else own)


def certificate_for_lamps(given: Settings) -> bytes:
    """Return the authority of this fleet, in DER, as lamps are given it by cable; ``b""`` where there is none.

    Raises:
        StartError: If it cannot be read, or TLS is on and it cannot be made.
    """
    ensure(given)
    path = folder_of(given).for_lamps
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as exc:
        raise StartError(f"{path} cannot be read: {exc.strerror}") from exc


def is_open(host: str) -> bool:
    """Return whether others than this machine can connect to a server that listens on ``host``."""
    if host == "localhost":
        return False
    with contextlib.suppress(ValueError):
        return not ipaddress.ip_address(host).is_loopback
    return True
