"""``/metrics`` under attack: slow readers, crowds, names that point here, and requests that are none."""

from __future__ import annotations

import contextlib
import socket
import time
import urllib.request
from collections.abc import Iterator

import pytest

from espfleet.errors import StartError
from espfleet.exports import scraping
from espfleet.exports.prometheus import Prometheus
from tests.ports import free_port


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[Prometheus]:
    monkeypatch.setattr(scraping, "WITHIN_S", 1.0)
    one = Prometheus("127.0.0.1", free_port())
    yield one
    one.close()


def fetch(shown: Prometheus) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{shown.port}/metrics", timeout=30) as answer:
        return str(answer.read().decode())


def said(shown: Prometheus, data: bytes) -> bytes:
    """Return what is answered to some bytes until the server hangs up."""
    got = b""
    with socket.create_connection(("127.0.0.1", shown.port), timeout=30) as link:
        link.sendall(data)
        with contextlib.suppress(ConnectionResetError):
            while piece := link.recv(65_536):
                got += piece
    return got


def test_who_is_slow_keeps_no_place_and_no_thread(shown: Prometheus) -> None:
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(socket.create_connection(("127.0.0.1", shown.port), 10)) for _ in range(40)]
        for link in links:
            link.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
        for link in links:
            with contextlib.suppress(ConnectionResetError):
                assert link.recv(100) == b""
    assert "espfleet_fresh" in fetch(shown)


def test_a_crowd_of_one_source_is_cut_at_once(shown: Prometheus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scraping, "WITHIN_S", 30.0)
    with contextlib.ExitStack() as stack:
        for _ in range(scraping.AT_ONCE_PER_SOURCE):
            stack.enter_context(socket.create_connection(("127.0.0.1", shown.port), 10))
        began_s = time.monotonic()
        assert said(shown, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
        assert time.monotonic() - began_s < 20
    # Their places are free again when they have gone.
    deadline_s = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError):
            assert "espfleet_fresh" in fetch(shown)
            return
        assert time.monotonic() < deadline_s


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:9", "[", "@127.0.0.1"]
)
def test_a_name_that_points_here_is_not_here(shown: Prometheus, host: str) -> None:
    answer = said(shown, f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert b" 403 " in answer.split(b"\r\n")[0]
    assert b"espfleet_fresh" not in answer


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9109", "localhost", "LOCALHOST:1", "[::1]:9109", "[::1]"])
def test_whoever_means_this_machine_is_answered(shown: Prometheus, host: str) -> None:
    assert b"espfleet_fresh" in said(shown, f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 100 + b"\r\n\r\n", b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"POST /metrics HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"GET /metrics HTTP/9.9\r\n\r\n", b"\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: a\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)  # fmt: skip
def test_nonsense_gets_one_answer_or_none(shown: Prometheus, data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    answer = said(shown, data)
    assert answer.count(b"HTTP/1.") <= 1
    assert b"Traceback" not in answer
    assert "espfleet_fresh" in fetch(shown)
    assert capfd.readouterr() == ("", "")


def test_its_port_is_free_when_it_has_closed() -> None:
    port = free_port()
    for _ in range(2):
        Prometheus("127.0.0.1", port).close()
    with (
        contextlib.closing(Prometheus("127.0.0.1", port)),
        pytest.raises(StartError, match="/metrics cannot be served"),
    ):
        Prometheus("127.0.0.1", port)
