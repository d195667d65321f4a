"""What can be asked of a device's own HTTP server, and what it can be told.

The wire is that of EspNet: forms in, JSON out; each function says which failure has which error.
"""

from __future__ import annotations

import ipaddress
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard
from urllib.parse import urlencode

from espfleet.boards.limits import TIMEOUT_S
from espfleet.domain.devices import split_address
from espfleet.domain.names import check_device_id, check_whole, shown
from espfleet.errors import (
    BoardAnswerError,
    BoardOtherError,
    BoardPageError,
    BoardRefusedError,
    InvalidError,
    RefusedError,
)

_WORD_CHARS = 64
_SENTENCE_CHARS = 200
#: Values of ``POST /gpio``; the third turns a pin round.
FLIP = 2
PINS = (0, 48)
SAMPLES = (1, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardInfo:
    """What a device says of itself.

    Attributes:
        id: Hardware id, 12 hex digits.
        f: Temperature of its chip, °F.
        gpio: Value (0 or 1) of each pin that can be read.
        name: What it calls itself, or ``""``.
        chip, firmware, kind: What it runs on and what it is, or ``""``.
        provision: Whether it waits for a token.
    """

    id: str
    f: float
    gpio: Mapping[int, int] = field(default_factory=dict)
    name: str = ""
    chip: str = ""
    firmware: str = ""
    kind: str = ""
    provision: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Climate:
    """What a DHT22 measured: °C, and percent of relative humidity."""

    temp_c: float
    humidity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Voltages:
    """What an ADC measured.

    Attributes:
        data: Raw values, 0 to 4095, one for each pin that was read.
        ticks_us: How long it took, in microseconds; ``None`` where the board does not say.
    """

    data: tuple[float, ...]
    ticks_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A device that is asked over HTTP.

    Attributes:
        address: ``IP`` or ``IP:PORT``.
        id: The hardware id that must answer, or ``""`` for any.
        token: Sent as ``Authorization: Bearer …`` unless it is ``""``.
        timeout_s: Time for one whole exchange.

    Every method raises ``BoardUnreachableError`` if the device cannot be reached in time, ``BoardAnswerError`` if what
    answers is no board, ``BoardOtherError`` if it is another one, and ``BoardRefusedError`` if it refuses.
    """

    address: str
    id: str = ""
    token: str = field(default="", repr=False)
    timeout_s: float = TIMEOUT_S

    def get_basic(self) -> BoardInfo:
        """Return temperature, id and pins."""
        return _info(self.address, self._told("GET", "/"))

    def set_gpio(self, pin: int | Sequence[int], value: int) -> None:
        """Set one or several pins to 0 or 1."""
        self._gpio(pin, check_whole(value, "value", 0, 1))

    def flip_gpio(self, pin: int | Sequence[int]) -> None:
        """Turn one or several pins round."""
        self._gpio(pin, FLIP)

    def get_dht22(self, pin: int) -> Climate:
        """Return what the DHT22 at a pin measures."""
        values = self._told("POST", "/dht22", read_pin=check_whole(pin, "pin", *PINS))
        return Climate(temp_c=_number(self.address, values, "temp"), humidity=_number(self.address, values, "humidity"))

    def read_adc(self, pin: int, power_pin: int | None = None, samples: int = 20) -> Voltages:
        """Return what the ADC at a pin measures: the mean of 1 to 100 samples; a power pin is high meanwhile."""
        fields = {"read_pin": check_whole(pin, "pin", *PINS), "samples": check_whole(samples, "samples", *SAMPLES)}
        if power_pin is not None:
            fields["power_pin"] = check_whole(power_pin, "power_pin", *PINS)
        values = self._told("POST", "/adc", **fields)
        data = values.get("data")
        data = data if isinstance(data, list) else [data]
        if not data or not all(is_number(one) for one in data):
            raise BoardAnswerError(f"{self.address} answers an ADC value of {shown(values.get('data'))}")
        ticks = values.get("ticks")
        return Voltages(data=tuple(map(float, data)), ticks_us=ticks if isinstance(ticks, int) else None)

    def set_host(self, ip: str) -> None:
        """Tell the board the address of its fleet."""
        split_address(ip)
        self._told("POST", "/set_host", ip=ip)

    def _gpio(self, pin: int | Sequence[int], value: int) -> None:
        pins = [pin] if isinstance(pin, int) else list(pin)
        checked = ",".join(str(check_whole(one, "pin", *PINS)) for one in pins)
        self._told("POST", "/gpio", pin=checked, value=value)

    def _told(self, method: str, path: str, **fields: str | int) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        body = None
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(fields).encode()
        status, answer = _exchange(method, self.address, path, self.timeout_s, body, headers)
        if status in (401, 403):
            raise BoardRefusedError(f"{self.address} wants another token: see set_board_token{_told(answer)}")
        if status in (400, 404, 405, 409, 413, 422) and method == "POST":
            raise BoardRefusedError(f"{self.address} refuses {path} (HTTP {status}){_told(answer)}")
        if status != 200:
            raise BoardAnswerError(f"{self.address} answers with HTTP {status}, not as a board does{_told(answer)}")
        values = _object(self.address, answer)
        if self.id and "id" in values and values["id"] != self.id:
            raise BoardOtherError(self.address, self.id, shown(values["id"]).strip("'"))
        if "error" in values:
            raise BoardRefusedError(f"{self.address} refuses {path}{_told(answer)}")
        return values


def identify(address: str, timeout_s: float = TIMEOUT_S) -> BoardInfo:
    """Return what the device at ``IP`` or ``IP:PORT`` says of itself.

    Raises:
        InvalidError: If ``address`` is not one.
        BoardUnreachableError: If it cannot be reached, or not within ``timeout_s``.
        BoardAnswerError: If what answers is not a device of ours.
        BoardRefusedError: If it wants a token.
    """
    status, body = _exchange("GET", address, "/", timeout_s)
    if status in (401, 403):
        raise BoardRefusedError(
            f"{address} wants a token to say who it is: register it with --id, then tell its token by set_board_token"
        )
    if status != 200:
        raise BoardAnswerError(f"{address} answers with HTTP {status}, not as a board does")
    return _info(address, _object(address, body))


def _exchange(
    method: str,
    address: str,
    path: str,
    timeout_s: float,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    # With what it stands on it takes longer to import than all else of a command, most of which ask no device.
    from espfleet.boards.exchange import exchange

    return exchange(method, address, path, timeout_s, body, headers)


def _info(address: str, values: Mapping[str, Any]) -> BoardInfo:
    lacking = [key for key in ("id", "f", "gpio") if key not in values]
    if lacking:
        raise BoardAnswerError(f"{address} is not a board: its answer has no {' and no '.join(lacking)}")
    try:
        device_id = check_device_id(values["id"])
    except InvalidError as exc:
        raise BoardAnswerError(f"{address} is not a board: {exc}") from None
    f = values["f"]
    if not is_number(f):
        raise BoardAnswerError(f"{address} is not a board: its temperature f is {shown(f)}")
    return BoardInfo(
        id=device_id,
        f=float(f),
        gpio=_pins(address, values["gpio"]),
        name=_word(values.get("name")),
        chip=_word(values.get("chip")),
        firmware=_word(values.get("firmware")),
        kind=_word(values.get("kind")),
        provision=values.get("provision") is True,
    )


def provision(address: str, token: str, gateway_url: str, timeout_s: float = TIMEOUT_S) -> None:
    """Hand a token to the device at ``address``, which must be on this machine: the token goes in the clear.

    Raises:
        InvalidError: If ``address`` is not ``IP`` or ``IP:PORT``.
        BoardRefusedError: If it is not one of this machine.
        RefusedError: If the device has another token.
        BoardUnreachableError: If it cannot be reached, or not within ``timeout_s``.
        BoardAnswerError: If it does not take the token.
    """
    host, _ = split_address(address)
    if not ipaddress.ip_address(host).is_loopback:
        raise BoardRefusedError(
            f"{address} is not on this machine, and a token is not sent in the clear over a network: "
            f"enter it at http://{address}/ui, or put it on by cable with ./espcli provision"
        )
    body = json.dumps({"token": token, "gateway_url": gateway_url}).encode()
    status, answer = _exchange("POST", address, "/provision", timeout_s, body, {"Content-Type": "application/json"})
    if status == 409:
        raise RefusedError(f"the device at {address} has another token already")
    if status != 200:
        raise BoardAnswerError(f"{address} did not take the token: it answers with HTTP {status}{_told(answer)}")


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a board may have measured that."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _number(address: str, values: Mapping[str, Any], name: str) -> float:
    if not is_number(values.get(name)):
        raise BoardAnswerError(f"{address} answers a {name} of {shown(values.get(name))}")
    return float(values[name])


def _object(address: str, body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        if body.lstrip()[:1] == b"<":
            raise BoardPageError(f"{address} is not a board: it answers with a web page") from None
        raise BoardAnswerError(f"{address} is not a board: its answer is not JSON") from None
    if not isinstance(values, dict):
        raise BoardAnswerError(f"{address} is not a board: its answer is not a JSON object")
    return values


def _pins(address: str, gpio: object) -> dict[int, int]:
    if isinstance(gpio, dict) and len(gpio) <= 64:
        pins = {int(pin): value for pin, value in gpio.items() if pin.isascii() and pin.isdigit() and len(pin) < 3}
        if len(pins) == len(gpio) and all(value in (0, 1) for value in pins.values()):
            return {pin: int(value) for pin, value in pins.items()}
    raise BoardAnswerError(f"{address} is not a board: its gpio is not an object of pins that are 0 or 1")


def _word(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= _WORD_CHARS and value.isprintable() else ""


def _told(body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return ""
    return f" ({error})" if isinstance(error, str) and len(error) <= _SENTENCE_CHARS and error.isprintable() else ""
