"""When a gateway lets Python's garbage collector look: seldom, for it holds up everybody, and never too late."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

#: The collector looks at new objects when there are so many, at those that stayed after so many looks, and by itself
#: hardly ever at all: to look through 10,000 lamps takes 70 ms.
THRESHOLDS = (10_000, 50, 100)
#: It looks at all when so many lamps have gone, and at least a quarter as many as are here.
GONE = 1_000
GONE_SHARE = 4


class Garbage:
    """What lamps leave behind that were here for long.

    A transport of asyncio keeps a method of its own, and so itself: of each connection about 1 KiB stays until the
    collector finds it.
    """

    def __init__(self) -> None:
        self._swept = 0

    def sweep(self, gone: int, here: int) -> bool:
        """Collect it if it is time.

        Args:
            gone: Lamps that have gone since the gateway began.
            here: Lamps that are here.

        Returns:
            Whether it was time.
        """
        if gone - self._swept < max(GONE, here // GONE_SHARE):
            return False
        self._swept = gone
        gc.collect()
        return True


@contextlib.contextmanager
def long_lived_objects() -> Iterator[None]:
    """Keep the collector from walking over modules and connections again and again.

    A process that has seen to that itself, as tests do that run many gateways one after the other, is left alone.
    """
    if gc.get_freeze_count():
        yield
        return
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
