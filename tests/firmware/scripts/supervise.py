"""A supervisor with tasks that go wrong as SAID: prints what it is told."""

import asyncio
import sys
import time

from lamp.clock import Clock
from lamp.supervisor import Supervisor

clock = Clock(time.ticks_ms, time.ticks_diff)


async def well(beat):
    while True:
        beat()
        await asyncio.sleep_ms(50)


async def hangs(beat):
    beat()
    await asyncio.sleep_ms(1_000_000)


async def ends(beat):
    beat()


async def fails(beat):
    raise ValueError("no good")


def fail(why):
    print("@fail", why)
    sys.exit()


def watch():
    print("@watch")
    return lambda: None


async def main():
    supervisor = Supervisor(clock, watch, fail, lambda: print("@healthy"))
    supervisor.start("well", well, 500)
    supervisor.start("bad", {"hangs": hangs, "ends": ends, "fails": fails}[sys.argv[1]], 500)
    await supervisor.watch()


asyncio.run(main())
