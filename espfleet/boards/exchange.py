"""One HTTP exchange with a device: capped in size and time, and every failure with a sentence of its own.

What answers at an address that someone typed may be anything: no redirect is followed, no proxy, cookie or password of
the environment is used, an answer may have 64 KiB, with all that is around it 128 KiB, and the whole exchange ends in
time, however slowly the other side drips.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from espfleet.boards.limits import ANSWER_BYTES, TIMEOUT_S, WIRE_BYTES
from espfleet.domain.devices import split_address
from espfleet.errors import (
    BoardAnswerError,
    BoardBrokenOffError,
    BoardClosedError,
    BoardSlowError,
    BoardUnreachableError,
)

_CHUNK_BYTES = 4_096


class _TooMuchError(OSError):
    """Raised when more comes than any board sends, in headers, ends of chunks or whatever else."""


class _DeadlineSocket(socket.socket):
    """A socket whose reads and writes all together end at ``end_s`` of the monotonic clock.

    Its reads end after ``WIRE_BYTES``, too: what reads HTTP takes megabytes of headers, and any number of answers that
    promise another one.
    """

    end_s = 0.0
    left_bytes = WIRE_BYTES

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self._limit()
        count = super().recv_into(*args, **kwargs)
        self.left_bytes -= count
        if self.left_bytes < 0:
            raise _TooMuchError
        return count

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


def exchange(
    method: str,
    address: str,
    path: str,
    timeout_s: float = TIMEOUT_S,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Return status and body of one request.

    Raises:
        InvalidError: If ``address`` is not ``IP`` or ``IP:PORT``.
        BoardUnreachableError: If it cannot be reached, or not within ``timeout_s``; its children say how.
        BoardAnswerError: If what answers does not speak HTTP as a board does.
    """
    host, port = split_address(address)
    url = f"http://[{host}]:{port}{path}" if ":" in host else f"http://{host}:{port}{path}"
    request = requests.Request(
        method,
        url,
        data=body,
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Connection": "close",
            **(headers or {}),
        },
    ).prepare()
    # The adapter alone: a session would look for proxies, cookies, redirects and a .netrc, each time.
    adapter = _DeadlineAdapter()
    try:
        answer = adapter.send(request, stream=True, timeout=timeout_s)
        with answer:
            if answer.status_code in range(300, 400):
                raise BoardAnswerError(f"{address} is not a board: it sends elsewhere (HTTP {answer.status_code})")
            return answer.status_code, _body(address, answer)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
        # A ValueError is what urllib3 makes of a chunk that has less than no bytes.
        raise _failure(address, port, timeout_s, exc) from exc
    finally:
        adapter.close()


def _body(address: str, answer: requests.Response) -> bytes:
    body = bytearray()
    for chunk in answer.raw.stream(_CHUNK_BYTES, decode_content=False):
        body += chunk
        if len(body) > ANSWER_BYTES:
            raise _too_much(address, ANSWER_BYTES)
    return bytes(body)


def _too_much(address: str, most_bytes: int) -> BoardAnswerError:
    return BoardAnswerError(f"{address} is not a board: it sends more than {most_bytes // 1024} KiB")


def _failure(address: str, port: int, timeout_s: float, exc: Exception) -> BoardAnswerError | BoardUnreachableError:
    causes = list(_causes(exc))
    if any(isinstance(cause, _TooMuchError) for cause in causes):
        return _too_much(address, WIRE_BYTES)
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return BoardClosedError(f"{address} refuses the connection: nothing listens on port {port} there")
    if any(isinstance(cause, TimeoutError | requests.Timeout | urllib3.exceptions.TimeoutError) for cause in causes):
        return BoardSlowError(f"{address} did not answer within {timeout_s:g} s")
    told = str(exc)
    if "BadStatusLine" in told or "LineTooLong" in told or "UnknownProtocol" in told or "HTTPException" in told:
        return BoardAnswerError(f"{address} is not a board: it does not speak HTTP")
    for cause in causes:
        if isinstance(cause, ConnectionError):
            return BoardUnreachableError(f"{address} broke the connection off before it had answered")
        if isinstance(cause, OSError) and cause.errno is not None and cause.strerror:
            return BoardUnreachableError(f"{address} cannot be reached: {cause.strerror}")
    return BoardBrokenOffError(f"{address} is not a board: its answer is broken off or garbled")


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
