"""Write from two tasks at once to URL, more than a connection takes at a time."""

import asyncio
import sys

from lamp import borrow


async def write(ws, letter, count):
    for _ in range(count):
        await ws.send(letter * 4000)


async def main():
    ws = await borrow("dial").connect(sys.argv[1], "", {}, [])
    await asyncio.wait_for_ms(asyncio.gather(write(ws, "a", 1000), write(ws, "b", 1000)), 10_000)
    await ws.send("done")
    await ws.close(1000)


asyncio.run(main())
