"""Receive COUNT messages from URL and print how many come in a second: ours, or those of async_websocket_client."""

import asyncio
import sys
import time

url, count, whose = sys.argv[1], int(sys.argv[2]), sys.argv[3]


async def ours():
    from lamp import borrow

    ws = await borrow("dial").connect(url, "", {}, [])
    return ws.receive


async def theirs():
    from async_websocket_client.ws import AsyncWebsocketClient

    client = AsyncWebsocketClient()
    await client.handshake(url)
    return client.recv


async def main():
    receive = await (ours() if whose == "ours" else theirs())
    await receive()
    began_us = time.ticks_us()
    for _ in range(count):
        await receive()
    print(count * 1_000_000 / time.ticks_diff(time.ticks_us(), began_us))


asyncio.run(main())
