"""The lamp, and a task that looks at its memory, its files and its frames five times a second."""

import asyncio
import gc
import os
import time

from lamp import app
from lamp.painter import Painter

gaps = []
last_ms = None
paint = Painter.paint


def watched(self, now_ms):
    global last_ms
    ticks = time.ticks_ms()
    if last_ms is not None:
        gaps.append(time.ticks_diff(ticks, last_ms))
    last_ms = ticks
    paint(self, now_ms)


Painter.paint = watched
run = app.Lamp.run


async def look():
    while True:
        await asyncio.sleep_ms(200)
        gc.collect()
        files = len([one for one in os.listdir("/proc/self/fd") if int(one) > 2])
        some = sorted(gaps)
        gaps.clear()
        if some:
            slow = some[len(some) * 99 // 100]
            print("@look", gc.mem_alloc(), files, len(some), slow, some[-1], time.ticks_ms())


async def both(self):
    looking = asyncio.create_task(look())
    await run(self)
    looking.cancel()


app.Lamp.run = both
app.main()
