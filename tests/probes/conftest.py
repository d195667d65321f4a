"""Networks for probing that nobody else is on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.namespace import private_network
from tests.probes import alongside
from tests.probes.tun import Responder, responder


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test by itself, or with others."""
    return alongside.call(pyfuncitem) or None


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
