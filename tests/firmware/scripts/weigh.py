"""The lamp, and what it weighs: bytes of heap beyond those of MicroPython's own modules and of the fakes."""

import asyncio
import asyncio.event
import asyncio.funcs
import asyncio.lock
import asyncio.stream
import gc
import json

import dht
import machine
import neopixel
import network

import esp32

#: What a chip has in its ROM, or is not there at all.
ROM = (asyncio, dht, esp32, json, machine, neopixel, network)


def weight():
    gc.collect()
    return gc.mem_alloc()


empty = weight()

from lamp import app  # noqa: E402

run = app.Lamp.run


async def weighed(self):
    weighing = asyncio.create_task(weigh())
    await run(self)
    weighing.cancel()


async def weigh():
    while True:
        await asyncio.sleep_ms(200)
        print("@weight", weight() - empty)


app.Lamp.run = weighed
app.main()
