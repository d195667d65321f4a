from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from espfleet.boards.client import Board, BoardInfo, identify, provision
from espfleet.errors import (
    BoardAnswerError,
    BoardBrokenOffError,
    BoardError,
    BoardOtherError,
    BoardPageError,
    BoardRefusedError,
    BoardSlowError,
    BoardUnreachableError,
    InvalidError,
    RefusedError,
)
from tests.own_time import calm_s

GOOD: dict[str, Any] = {"f": 112, "id": "3c71bff93720", "gpio": {"0": 1, "39": 0}}
Serve = Callable[[socket.socket, bytes], None]


def whole(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


@contextmanager
def serving(serve: Serve, host: str = "127.0.0.1") -> Iterator[tuple[str, list[bytes]]]:
    """Run ``serve`` for one connection and yield the address; the list gets the request."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    requests: list[bytes] = []
    with socket.create_server((host, 0), family=family) as server:

        def answer() -> None:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(30)
                request = b""
                while not whole(request):
                    request += connection.recv(65_536)
                requests.append(request)
                try:
                    serve(connection, request)
                except OSError:
                    return

        thread = threading.Thread(target=answer)
        thread.start()
        port = server.getsockname()[1]
        try:
            yield (f"[{host}]:{port}" if ":" in host else f"{host}:{port}"), requests
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(30)
            assert not thread.is_alive()


def http(body: bytes, head: str = "HTTP/1.1 200 OK\r\n") -> Serve:
    return lambda connection, _: connection.sendall(head.encode() + b"\r\n" + body)


def asking(serve: Serve, timeout_s: float = 3.0) -> BoardInfo:
    with serving(serve) as (address, _):
        return identify(address, timeout_s)


def test_a_board_says_who_it_is() -> None:
    body = json.dumps(
        {**GOOD, "name": "lamp-1", "chip": "ESP32", "firmware": "1.0.0", "kind": "lamp", "provision": True}
    )
    assert asking(http(body.encode())) == BoardInfo(
        id="3c71bff93720",
        f=112.0,
        gpio={0: 1, 39: 0},
        name="lamp-1",
        chip="ESP32",
        firmware="1.0.0",
        kind="lamp",
        provision=True,
    )


def test_a_board_of_espnet_that_says_no_more_than_the_least_is_enough() -> None:
    info = asking(http(json.dumps(GOOD).encode()))
    assert (info.id, info.name, info.provision) == ("3c71bff93720", "", False)


def test_an_address_can_be_of_ipv6() -> None:
    with serving(http(json.dumps(GOOD).encode()), "::1") as (address, _):
        assert identify(address).id == "3c71bff93720"


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert asking(http(json.dumps(GOOD).encode())).id == "3c71bff93720"


def test_nothing_of_the_user_is_sent_along() -> None:
    with serving(http(json.dumps(GOOD).encode())) as (address, requests):
        identify(address)
    assert b"authorization" not in requests[0].lower()
    assert b"cookie" not in requests[0].lower()


def test_a_port_without_a_listener_refuses() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(BoardUnreachableError, match=f"{address} refuses the connection: nothing listens on port"):
            identify(address)


@pytest.mark.parametrize(
    ("serve", "sentence"),
    [
        (http(b"SSH-2.0-OpenSSH_9.2\r\n", head="SSH-2.0-OpenSSH_9.2\r\n"), "does not speak HTTP"),
        (lambda connection, _: None, "broke the connection off before it had answered"),
        (http(b"<!doctype html><title>Router</title>"), "it answers with a web page"),
        (http(b"hello"), "its answer is not JSON"),
        (http(b""), "its answer is not JSON"),
        (http(b"[" * 60_000), "its answer is not JSON"),
        (http(b"\xff\xfe"), "its answer is not JSON"),
        (http(b"[1, 2]"), "its answer is not a JSON object"),
        (http(b"{}"), "its answer has no id and no f and no gpio"),
        (http(json.dumps({**GOOD, "id": "porch"}).encode()), "'porch' is not a hardware id"),
        (http(json.dumps({**GOOD, "id": 7}).encode()), "'7' is not a hardware id"),
        (http(json.dumps({**GOOD, "f": "warm"}).encode()), "its temperature f is 'warm'"),
        (http(json.dumps({**GOOD, "gpio": {"0": 2}}).encode()), "its gpio is not an object of pins"),
        (http(json.dumps({**GOOD, "gpio": [0]}).encode()), "its gpio is not an object of pins"),
        (http(json.dumps({**GOOD, "gpio": {"x": 0}}).encode()), "its gpio is not an object of pins"),
        (http(b"", head="HTTP/1.1 404 Not Found\r\n"), "answers with HTTP 404"),
        (http(b"", head="HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\n"), "it sends elsewhere (HTTP 302)"),
        (http(b"x" * 70_000), "it sends more than 64 KiB"),
        (http(b"{}", head="HTTP/1.1 200 OK\r\nContent-Length: 100\r\n"), "broken off or garbled"),
        (http(b"zz\r\n", head="HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"), "broken off or garbled"),
        (http(b"-5\r\n", head="HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"), "broken off or garbled"),
    ],
)
def test_each_wrong_answer_has_its_own_sentence(serve: Serve, sentence: str) -> None:
    with serving(serve) as (address, _), pytest.raises((BoardAnswerError, BoardUnreachableError)) as caught:
        identify(address)
    assert str(caught.value).startswith(address)
    assert sentence in str(caught.value)


def test_silence_ends_in_time() -> None:
    asked = calm_s()
    done = threading.Event()
    with serving(lambda *_: done.wait(30) and None) as (address, _):
        with pytest.raises(BoardUnreachableError, match=r"did not answer within 0\.3 s"):
            identify(address, 0.3)
        done.set()
    assert calm_s() - asked < 2


@pytest.mark.parametrize("head", ["", "HTTP/1.1 200 OK\r\n\r\n"], ids=["in its head", "in its body"])
def test_an_answer_that_drips_ends_in_time(head: str) -> None:
    done = threading.Event()

    def drip(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head.encode())
        while not done.wait(0.05):
            connection.sendall(b"x")

    asked = calm_s()
    with serving(drip) as (address, _):
        with pytest.raises(BoardUnreachableError, match=r"did not answer within 0\.4 s"):
            identify(address, 0.4)
        done.set()
    assert calm_s() - asked < 2


@pytest.mark.parametrize(
    ("head", "again"),
    [
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("HTTP/1.1 200 OK\r\n", f"Set-Cookie: {'x' * 60_000}\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", f"1;{'x' * 60_000}\r\n \r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", f"X: {'x' * 60_000}\r\n"),
    ],
    ids=["answers that promise another", "headers", "chunks with much to say", "what follows the last chunk"],
)
def test_what_goes_on_and_on_around_an_answer_has_an_end(head: str, again: str) -> None:
    sent_bytes = 0

    def pour(connection: socket.socket, _: bytes) -> None:
        nonlocal sent_bytes
        connection.sendall(head.encode())
        while sent_bytes < 64 * 1_048_576:
            connection.sendall(again.encode())
            sent_bytes += len(again)

    with pytest.raises(BoardAnswerError, match="it sends more than 128 KiB"):
        asking(pour, 30.0)


@pytest.mark.parametrize("address", ["porch", "http://127.0.0.1", "127.0.0.1:0", "", "127.0.0.1:99999", "0.0.0.0"])
def test_only_addresses_of_devices_are_asked(address: str) -> None:
    with pytest.raises(InvalidError):
        identify(address)


def test_a_token_is_handed_over() -> None:
    with serving(http(b'{"id":"3c71bff93720","status":"OK"}')) as (address, requests):
        provision(address, "secret", "ws://127.0.0.1:5678")
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /provision HTTP/1.1")
    assert json.loads(body) == {"token": "secret", "gateway_url": "ws://127.0.0.1:5678"}


def test_a_device_with_another_token_keeps_it() -> None:
    refusing = serving(http(b"{}", head="HTTP/1.1 409 Conflict\r\n"))
    with refusing as (address, _), pytest.raises(RefusedError, match="has another token already"):
        provision(address, "secret", "ws://127.0.0.1:5678")


def test_a_device_that_takes_no_token_says_why() -> None:
    refusing = serving(http(b'{"error":"not today"}', head="HTTP/1.1 400 Bad Request\r\n"))
    with refusing as (address, _), pytest.raises(BoardAnswerError, match=r"HTTP 400 \(not today\)"):
        provision(address, "secret", "ws://127.0.0.1:5678")


def test_a_token_is_never_sent_in_the_clear_over_a_network() -> None:
    with pytest.raises(BoardRefusedError, match="not on this machine"):
        provision("192.0.2.1", "secret", "ws://127.0.0.1:5678")


@pytest.mark.parametrize(
    ("serve", "error"),
    [
        (http(b"<html>"), BoardPageError),
        (http(b"{}", head="HTTP/1.1 200 OK\r\nContent-Length: 100\r\n"), BoardBrokenOffError),
        (http(json.dumps({**GOOD, "id": "3c71bff93721"}).encode()), BoardOtherError),
        (http(b'{"error": "no such pin"}'), BoardRefusedError),
        (http(b'{"error": "no"}', head="HTTP/1.1 403 Forbidden\r\n"), BoardRefusedError),
    ],
)
def test_each_failure_of_a_known_board_has_an_error_of_its_own(serve: Serve, error: type[BoardError]) -> None:
    with serving(serve) as (address, _), pytest.raises(error) as raised:
        Board(address=address, id="3c71bff93720", timeout_s=30).get_basic()
    assert type(raised.value) is error


def test_a_known_board_that_is_slow_has_an_error_of_its_own() -> None:
    done = threading.Event()
    with serving(lambda *_: done.wait(30) and None) as (address, _):
        with pytest.raises(BoardSlowError):
            Board(address=address, id="3c71bff93720", timeout_s=0.3).get_basic()
        done.set()


def test_the_token_goes_into_a_header_and_forms_are_those_of_espnet() -> None:
    with serving(http(b'{"id": "3c71bff93720", "status": "OK"}')) as (address, requests):
        Board(address=address, id="3c71bff93720", token="t0k").set_gpio([22, 23], 1)
    assert b"Authorization: Bearer t0k\r\n" in requests[0]
    assert requests[0].endswith(b"\r\n\r\npin=22%2C23&value=1")


@pytest.mark.parametrize(
    "answer",
    [{"temp": "warm", "humidity": 1}, {"temp": True, "humidity": 1}, {"temp": 10**400, "humidity": 1}, {"humidity": 1}],
)
def test_a_measurement_that_is_no_number_is_refused(answer: dict[str, Any]) -> None:
    body = json.dumps({"id": "3c71bff93720", **answer}).encode()
    with serving(http(body)) as (address, _), pytest.raises(BoardAnswerError, match="answers a temp of"):
        Board(address=address, id="3c71bff93720").get_dht22(4)
