"""The port that several gateways of one machine share."""

from __future__ import annotations

import socket

import pytest

from espfleet.cli.processes import reserved
from espfleet.errors import StartError
from tests.ports import free_port

HOST = "127.0.0.1"


@pytest.fixture
def left() -> int:
    """Return a port whose gateway has sent a lamp away and ended."""
    port = free_port()
    with listening(port) as gateway, socket.create_connection((HOST, port)) as lamp:
        served, _ = gateway.accept()
        # Who closes first keeps the connection in mind for a minute.
        served.close()
        assert lamp.recv(1) == b""
    return port


def listening(port: int) -> socket.socket:
    """Return what a gateway listens with."""
    gateway = socket.socket()
    gateway.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    gateway.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    gateway.bind((HOST, port))
    gateway.listen()
    return gateway


@pytest.fixture(params=["a port that nobody had", "a port that a gateway has just left"])
def port(request: pytest.FixtureRequest) -> int:
    return int(request.getfixturevalue("left") if "left" in request.param else free_port())


def test_gateways_that_ended_can_be_started_again_at_once(left: int) -> None:
    with reserved(HOST, left) as port, listening(port) as gateway:
        assert gateway.getsockname() == (HOST, left)


def test_two_gateways_share_what_is_held(port: int) -> None:
    with reserved(HOST, port), listening(port), listening(port):
        pass


def refused(port: int) -> bool:
    """Tell whether gateways are refused a port."""
    try:
        with reserved(HOST, port):
            return False
    except StartError as exc:
        return "Address already in use; set SERVER_HOST or SERVER_PORT" in str(exc)


def test_a_port_that_others_hold_is_refused(port: int) -> None:
    with reserved(HOST, port):
        assert refused(port)
    assert not refused(port)


def test_a_port_on_which_others_listen_is_refused(port: int) -> None:
    with reserved(HOST, port), listening(port):
        assert refused(port)
    with socket.create_server((HOST, port)):
        assert refused(port)
