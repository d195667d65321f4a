"""``provision PORT``: from a board on a cable to a lamp of the fleet."""

from __future__ import annotations

import getpass
import ipaddress
import re
import socket
import sys
from pathlib import Path
from typing import Any

from espfleet.cable.lamp_settings import Network
from espfleet.cli import output
from espfleet.cli.encryption import certificate_for_lamps
from espfleet.cli.flash import shown_progress
from espfleet.cli.opening import settings, with_store
from espfleet.domain.names import check_whole, shown
from espfleet.errors import InvalidError
from espfleet.services import provisioning
from espfleet.services.provisioning import Wishes
from espfleet.settings import Settings

_SSID_CHARS = 32
#: As WPA has it; an open network has none.
_PASSWORD_CHARS = (8, 64)
_GATEWAY = re.compile(r"wss?://[A-Za-z0-9._-]{1,253}(:\d{1,5})?")
OUTPUTS = ("leds", "rgb", "led", "strip")
#: Belongs to nobody (RFC 5737): asked only over which of its own addresses this machine would reach the world.
_ELSEWHERE = ("192.0.2.1", 9)


def provision(
    port: str,
    *,
    name: str,
    room: str,
    wifi: str,
    password_file: str,
    gateway: str,
    output_kind: str,
    pins: str,
    inverted: str,
) -> None:
    """Make the board at a port a lamp of the fleet."""
    if not name:
        raise InvalidError("the lamp needs a name: add --name NAME", field="name")
    given = settings()
    chosen = _light(output_kind, pins, inverted)
    wishes = Wishes(
        name=name,
        room=room or None,
        gateway_url=_gateway_url(given, gateway),
        network=_network(wifi, password_file),
        ca=certificate_for_lamps(given),
        settings=chosen,
    )
    with shown_progress() as progress:
        done = with_store(
            lambda store: provisioning.provision(
                store, port=port, wishes=wishes, now_ms=store.now_ms(), progress=progress
            )
        )
    device = done.device
    known = "is in the fleet now" if done.new else "is in the fleet as before"
    state = "has its settings and restarts" if done.changed else "had all its settings already and restarts"
    output.say(
        f"{device.name} ({device.id}, {done.seen.chip}) {known}, in room {device.room}; it {state}.\n"
        f"See it come: ./espcli device {device.name}",
        {
            "name": device.name,
            "id": device.id,
            "room": device.room,
            "chip": done.seen.chip,
            "firmware": done.seen.firmware,
            "gateway": done.seen.settings["gateway"],
            "networks": [one["ssid"] for one in done.seen.settings["networks"]],
            "new": done.new,
            "changed": done.changed,
            "problems": list(done.seen.problems),
        },
    )


def _network(ssid: str, password_file: str) -> Network | None:
    """Return the Wi-Fi with its password: from the file, from a pipe, or typed without being shown."""
    if not ssid:
        if password_file:
            raise InvalidError("a password belongs to a Wi-Fi: add --wifi SSID", field="wifi")
        return None
    if len(ssid.encode()) > _SSID_CHARS or not ssid.isprintable():
        raise InvalidError(
            f"{shown(ssid)} cannot be the name of a Wi-Fi: it has 1 to {_SSID_CHARS} bytes", field="wifi"
        )
    password = _password(ssid, password_file)
    low, high = _PASSWORD_CHARS
    if password and not (low <= len(password) <= high and password.isprintable()):
        raise InvalidError(f"a password of a Wi-Fi has {low} to {high} characters, or none at all", field="wifi")
    return Network(ssid=ssid, password=password)


def _password(ssid: str, file: str) -> str:
    if file:
        try:
            return Path(file).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as exc:
            reason = getattr(exc, "strerror", None) or "it is not text"
            raise InvalidError(f"{shown(file)} cannot be read: {reason}", field="wifi_password_file") from None
    if sys.stdin.isatty():
        return getpass.getpass(f"Password of {ssid} (nothing is shown; empty for an open Wi-Fi): ")
    line = sys.stdin.readline()
    if not line:
        raise InvalidError(
            f"the password of {shown(ssid)} is missing: type it at a terminal, pipe it in, or add "
            "--wifi-password-file FILE; an empty line is for an open Wi-Fi",
            field="wifi",
        )
    return line.rstrip("\r\n")


def _light(kind: str, pins: str, inverted: str) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    if kind:
        if kind not in OUTPUTS:
            raise InvalidError(f"{shown(kind)} is no output: use one of {', '.join(OUTPUTS)}", field="output")
        chosen["output"] = kind
    if pins:
        chosen["pins"] = [check_whole(pin.strip(), "a pin", 0, 48) for pin in pins.strip("()[]").split(",")]
    if inverted:
        if inverted not in ("True", "False"):
            raise InvalidError("use --inverted or --noinverted", field="inverted")
        chosen["inverted"] = inverted == "True"
    return chosen


def _gateway_url(given: Settings, wanted: str) -> str:
    """Return where a lamp on the network finds the gateway.

    Raises:
        InvalidError: If the gateway is for this machine only, or the wanted address is none.
    """
    if wanted:
        if not _GATEWAY.fullmatch(wanted):
            raise InvalidError(
                f"{shown(wanted)} is not the address of a gateway: use ws://HOST:PORT or wss://HOST:PORT",
                field="gateway",
            )
        return wanted
    host = given.server_host
    if host in ("0.0.0.0", "::"):
        host = _own_address()
    if ":" in host or _is_this_machine_only(host):
        raise InvalidError(
            f"no lamp can reach the gateway at {host}: set SERVER_HOST in .env to this machine's address in your "
            "network (or 0.0.0.0) and start the fleet again, or add --gateway ws://HOST:PORT",
            field="gateway",
        )
    return f"{'wss' if given.tls else 'ws'}://{host}:{given.server_port}"


def _is_this_machine_only(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            # Sends nothing: it only chooses a way.
            asked.connect(_ELSEWHERE)
            return str(asked.getsockname()[0])
        except OSError:
            raise InvalidError(
                "this machine is in no network that a lamp could be in: add --gateway ws://HOST:PORT", field="gateway"
            ) from None
