"""Asking a device who it is, and handing it what it needs.

What answers at an address that someone typed may be anything: no redirect is followed, no proxy of the environment is
used, an answer may have 64 KiB, and the whole exchange ends in time, however slowly the other side drips.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from espfleet.domain.devices import split_address
from espfleet.domain.names import check_device_id, shown
from espfleet.errors import BoardAnswerError, BoardUnreachableError, InvalidError, RefusedError

TIMEOUT_S = 3.0
ANSWER_BYTES = 65_536
_CHUNK_BYTES = 4_096
_WORD_CHARS = 64
_SENTENCE_CHARS = 200


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


class _DeadlineSocket(socket.socket):
    """A socket whose reads and writes all together end at ``end_s`` of the monotonic clock."""

    end_s = 0.0

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self._limit()
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self._limit()
        super().sendall(*args, **kwargs)

    def _limit(self) -> None:
        left_s = self.end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the time for the whole answer is over")
        self.settimeout(left_s)


class _DeadlineConnection(HTTPConnection):
    """A connection that counts its time from before it is open: time-outs of requests count each read anew."""

    def connect(self) -> None:
        allowed_s = self.timeout if isinstance(self.timeout, int | float) else TIMEOUT_S
        end_s = time.monotonic() + allowed_s
        super().connect()
        plain = self.sock
        limited = _DeadlineSocket(plain.family, plain.type, plain.proto, fileno=plain.detach())
        limited.end_s = end_s
        self.sock = limited


class _DeadlinePool(HTTPConnectionPool):
    ConnectionCls = _DeadlineConnection


class _DeadlineAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _DeadlinePool}


def identify(address: str, timeout_s: float = TIMEOUT_S) -> BoardInfo:
    """Return what the device at ``IP`` or ``IP:PORT`` says of itself.

    Raises:
        InvalidError: If ``address`` is not one.
        BoardUnreachableError: If it cannot be reached, or not within ``timeout_s``.
        BoardAnswerError: If what answers is not a device of ours.
    """
    status, body = _exchange("GET", address, "/", timeout_s)
    if status != 200:
        raise BoardAnswerError(f"{address} answers with HTTP {status}, not as a board does")
    values = _object(address, body)
    lacking = [key for key in ("id", "f", "gpio") if key not in values]
    if lacking:
        raise BoardAnswerError(f"{address} is not a board: its answer has no {' and no '.join(lacking)}")
    try:
        device_id = check_device_id(values["id"])
    except InvalidError as exc:
        raise BoardAnswerError(f"{address} is not a board: {exc}") from None
    f = values["f"]
    if not isinstance(f, int | float) or isinstance(f, bool):
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
        InvalidError: If ``address`` is not ``IP`` or ``IP:PORT`` of this machine.
        RefusedError: If the device has another token.
        BoardUnreachableError: If it cannot be reached, or not within ``timeout_s``.
        BoardAnswerError: If it does not take the token.
    """
    host, _ = split_address(address)
    if not ipaddress.ip_address(host).is_loopback:
        raise InvalidError(
            f"{address} is not on this machine: a token is not sent in the clear over a network", field="address"
        )
    body = json.dumps({"token": token, "gateway_url": gateway_url}).encode()
    status, answer = _exchange("POST", address, "/provision", timeout_s, body)
    if status == 409:
        raise RefusedError(f"the device at {address} has another token already")
    if status != 200:
        raise BoardAnswerError(f"{address} did not take the token: it answers with HTTP {status}{_told(answer)}")


def _exchange(method: str, address: str, path: str, timeout_s: float, body: bytes | None = None) -> tuple[int, bytes]:
    """Return status and body of one request; every failure gets its own sentence."""
    host, port = split_address(address)
    url = f"http://[{host}]:{port}{path}" if ":" in host else f"http://{host}:{port}{path}"
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "Connection": "close"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    with requests.Session() as session:
        # Neither proxies nor a .netrc of the environment.
        session.trust_env = False
        session.mount("http://", _DeadlineAdapter())
        try:
            with session.request(
                method, url, data=body, headers=headers, timeout=timeout_s, stream=True, allow_redirects=False
            ) as answer:
                if answer.is_redirect or answer.status_code in range(300, 400):
                    raise BoardAnswerError(f"{address} is not a board: it sends elsewhere (HTTP {answer.status_code})")
                return answer.status_code, _body(address, answer)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
            raise _failure(address, port, timeout_s, exc) from exc


def _body(address: str, answer: requests.Response) -> bytes:
    body = bytearray()
    for chunk in answer.raw.stream(_CHUNK_BYTES, decode_content=False):
        body += chunk
        if len(body) > ANSWER_BYTES:
            raise BoardAnswerError(f"{address} is not a board: it sends more than {ANSWER_BYTES // 1024} KiB")
    return bytes(body)


def _failure(address: str, port: int, timeout_s: float, exc: Exception) -> BoardAnswerError | BoardUnreachableError:
    causes = list(_causes(exc))
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return BoardUnreachableError(f"{address} refuses the connection: nothing listens on port {port} there")
    if any(isinstance(cause, TimeoutError | requests.Timeout | urllib3.exceptions.TimeoutError) for cause in causes):
        return BoardUnreachableError(f"{address} did not answer within {timeout_s:g} s")
    told = str(exc)
    if "BadStatusLine" in told or "LineTooLong" in told or "UnknownProtocol" in told or "HTTPException" in told:
        return BoardAnswerError(f"{address} is not a board: it does not speak HTTP")
    for cause in causes:
        if isinstance(cause, ConnectionError):
            return BoardUnreachableError(f"{address} broke the connection off before it had answered")
        if isinstance(cause, OSError) and cause.errno is not None and cause.strerror:
            return BoardUnreachableError(f"{address} cannot be reached: {cause.strerror}")
    return BoardAnswerError(f"{address} is not a board: its answer is broken off or garbled")


def _causes(exc: BaseException) -> Any:
    """Yield an error and everything it was raised from or wraps."""
    todo, seen = [exc], set()
    while todo:
        cause = todo.pop()
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        linked = [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
        todo += [other for other in linked if isinstance(other, BaseException)]


def _object(address: str, body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        if body.lstrip()[:1] == b"<":
            raise BoardAnswerError(f"{address} is not a board: it answers with a web page") from None
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
