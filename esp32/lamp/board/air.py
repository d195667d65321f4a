"""The radio as an access point, and what else is in the air. Borrowed by set-up."""

import network
from micropython import const

_MOST = const(20)
_GUESTS = const(4)
_OPEN = const(0)


def open(name: str):
    """Become an access point without a password; return it."""
    radio = network.WLAN(network.AP_IF)
    radio.active(True)
    radio.config(ssid=name, security=_OPEN, max_clients=_GUESTS)
    return radio


def close(radio) -> None:
    """Be none any more."""
    radio.active(False)


def guests(radio) -> int:
    """Return how many have joined, as far as the driver knows."""
    try:
        return len(radio.status("stations"))
    except OSError:
        return 0


def names(station) -> list:
    """Return the names of the networks in reach, strongest first; the lamp stands still for some two seconds.

    Raises:
        OSError: If the radio is busy.
    """
    found = {}
    for one in station.scan():
        try:
            name = str(one[0], "utf-8")
        except UnicodeError:
            # Nobody could type it.
            continue
        if name:
            found[name] = max(found.get(name, -200), one[3])
    return sorted(found, key=lambda name: -found[name])[:_MOST]
