"""A rule for many things is one test: as tests of their own, thousands would be collected by every worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Thing = TypeVar("Thing")


def for_each(
    things: Iterable[Thing], shown: Callable[[Thing], object] = str
) -> Callable[[Callable[[Thing], None]], Callable[[], None]]:
    """Make a test of a rule: it says of each thing that breaks the rule why, ``shown`` as what."""
    wanted = list(things)
    assert wanted, "a rule for nothing holds nothing"

    def as_test(rule: Callable[[Thing], None]) -> Callable[[], None]:
        def test() -> None:
            broken = []
            for thing in wanted:
                try:
                    rule(thing)
                except AssertionError as exc:
                    broken.append(f"{shown(thing)}: {exc}")
            assert not broken, "\n".join(broken)

        test.__name__, test.__qualname__, test.__doc__ = rule.__name__, rule.__qualname__, rule.__doc__
        test.__module__ = rule.__module__
        return test

    return as_test
