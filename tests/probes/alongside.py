"""Tests that run at the same time, each in a thread and a network of its own: probes wait most of their time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from bench.namespace import private_network
from tests.probes.tun import responder

#: More would have to wait for each other, and some look at microseconds.
AT_ONCE = 8

Outcomes = dict[str, "Future[None]"]
_OUTCOMES = pytest.StashKey[Outcomes]()
_WITH_RESPONDER = "with_responder"


def alongside(*, network: bool = False) -> Callable[[Any], Any]:
    """Let a test run together with the others of its file that are marked so, in a network namespace of its own.

    Args:
        network: Whether the network of ``tun.py`` is in that namespace.
    """

    def mark(test: Any) -> Any:
        setattr(test, _WITH_RESPONDER, network)
        return test

    return mark


def call(item: pytest.Function) -> bool:
    """Run a test that is marked so, with those of its file that were chosen, or tell that it is not."""
    if not _marked(item):
        return False
    module = item.getparent(pytest.Module)
    assert module is not None
    outcomes = module.stash.setdefault(_OUTCOMES, {})
    if item.nodeid not in outcomes:
        with ThreadPoolExecutor(AT_ONCE, "alongside") as threads:
            for other in item.session.items:
                if isinstance(other, pytest.Function) and other.path == item.path and _marked(other):
                    outcomes[other.nodeid] = threads.submit(_run, other)
    outcomes[item.nodeid].result()
    return True


def _marked(item: pytest.Function) -> bool:
    return hasattr(item.function, _WITH_RESPONDER)


def _run(item: pytest.Function) -> None:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    with private_network():
        if getattr(item.function, _WITH_RESPONDER):
            with responder():
                item.function(**parameters)
        else:
            item.function(**parameters)
