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
#: Also when so many clients have come, and at least twice as many as there are lamps: most of those never were one.
COME = 20_000
COME_TIMES = 2


class Garbage:
    """What clients leave behind, lamps that were here for long above all.

    A transport of asyncio keeps a method of its own, and so itself: of each connection about 1 KiB stays until the
    collector finds it, of a TLS handshake that failed 4 KiB.
    """

    def __init__(self) -> None:
        self._gone = self._come = 0

    def sweep(self, gone: int, here: int, come: int) -> bool:
        """Collect it if it is time.

        Args:
            gone: Lamps that have gone since the gateway began.
            here: Lamps that are here.
            come: Clients that have come since the gateway began.

        Returns:
            Whether it was time.
        """
        many_gone = gone - self._gone >= max(GONE, here // GONE_SHARE)
        if not many_gone and come - self._come < max(COME, here * COME_TIMES):
            return False
        self._gone, self._come = gone, come
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
