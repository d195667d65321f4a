"""The lamp, with a clock that runs twenty times as fast while a new version is on trial."""

import sys

import slots

slots.enter()

from lamp import clock  # noqa: E402
from lamp.app import main  # noqa: E402

RATE = 20 if "back" in slots.read() else 1


class Fast(clock.Clock):
    def __init__(self, ticks, difference):
        super().__init__(ticks, lambda new, old: RATE * difference(new, old))


sys.modules["lamp.app"].Clock = Fast
main()
