"""Networks for probing that nobody else is on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.namespace import private_network
from tests.probes.tun import Responder, responder


@pytest.fixture
def private() -> Iterator[None]:
    """A network namespace where everybody may open ping sockets; for tests marked ``root``."""
    with private_network():
        yield


@pytest.fixture
def network(private: None) -> Iterator[Responder]:
    """The network of ``tests/probes/tun.py``."""
    with responder() as made:
        yield made
