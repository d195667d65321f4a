"""Connect to URL, say ``hello``, and print what comes of it, a JSON line each; echo messages that begin with ``!``."""

import asyncio
import gc
import json
import os
import sys

from lamp import borrow
from lamp.link import LinkError
from lamp.ws import ClosedError, FrameError


def say(**values):
    print(json.dumps(values))


def sockets():
    return len([one for one in os.listdir("/proc/self/fd") if int(one) > 2])


async def talk(url):
    socks = []
    try:
        ws = await asyncio.wait_for_ms(borrow("dial").connect(url, "127.0.0.1:9", {}, socks), 5_000)
        await ws.send("hello")
        while True:
            message = await asyncio.wait_for_ms(ws.receive(), 15_000)
            if isinstance(message, bytes):
                say(bytes=list(message[:20]), size=len(message))
                continue
            say(text=message[:20], size=len(message))
            if message[:1] == "!":
                await ws.send(message)
            if message == "bye":
                await asyncio.wait_for_ms(ws.close(1000), 15_000)
                say(said="bye")
                break
    except ClosedError as exc:
        say(closed=exc.args[0], reason=exc.args[1])
    except FrameError as exc:
        await ws.send(exc.args[0].to_bytes(2, "big"), 8)
        say(fault=exc.args[0], why=exc.args[1])
    except LinkError as exc:
        say(link=exc.args)
    except asyncio.TimeoutError:
        say(timeout=True)
    except EOFError:
        say(end=True)
    except OSError as exc:
        say(error=exc.errno)
    finally:
        while socks:
            socks.pop(0).close()


async def main():
    frames = []

    async def tick():
        while True:
            frames.append(1)
            await asyncio.sleep_ms(20)

    ticking = asyncio.create_task(tick())
    before = sockets()
    for _ in range(int(sys.argv[2])):
        await talk(sys.argv[1])
    gc.collect()
    say(left=sockets() - before, ticks=len(frames))
    ticking.cancel()


asyncio.run(main())
