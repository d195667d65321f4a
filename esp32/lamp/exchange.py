"""One request and its answer. Borrowed by the HTTP server."""

import asyncio
import gc
import json

from micropython import const

from lamp import RefusedError, borrow
from lamp.http import HttpError
from lamp.log import log
from lamp.supervisor import told

request = borrow("request")

# So long, and so often, what a refused client still sends is thrown away: hung up on at once, it would not read why.
_LINGER_MS = const(300)
_LINGER_READS = const(32)

# What stands behind the number is for people who read along.
_PHRASES = {200: "OK", 302: "Found"}


async def answer(lamp, stream, place) -> None:
    """Read one request and answer it.

    Raises:
        OSError: If the connection breaks.
    """
    asked, header = None, ""
    try:
        asked = await request.read(stream)
        if not asked:
            return
        place.asked = True
        reply = await lamp.http.lend("routes").reply(lamp, asked)
        status, kind, parts = reply if isinstance(reply, tuple) else (200, "application/json", reply)
    except HttpError as exc:
        status, why = exc.args[:2]
        header = exc.args[2] if len(exc.args) > 2 else ""
        kind, parts = "application/json", {"error": why}
    except RefusedError as exc:
        status, kind, parts = 400, "application/json", {"error": str(exc)}
    except OSError as exc:
        if not place.asked:
            raise
        status, kind, parts = 500, "application/json", {"error": f"the lamp's hardware does not do it ({exc})"}
    except MemoryError:
        gc.collect()
        status, kind, parts = 503, "application/json", {"error": "the lamp has too little memory just now"}
    except Exception as exc:
        log("http", told(exc))
        status, kind, parts = 500, "application/json", {"error": "the lamp failed; its log says how"}
    if isinstance(parts, dict):
        parts = (json.dumps(parts).encode(),)
    await write(stream, status, kind, header, parts, not asked or asked.method != "HEAD")
    if not place.asked:
        await linger(stream)


async def write(stream, status: int, kind: str, header: str, parts: tuple, with_body: bool) -> None:
    """Send an answer; the page goes piece by piece, for a copy of it would not fit."""
    head = f"HTTP/1.1 {status} {_PHRASES.get(status, 'Refused')}\r\nContent-Type: {kind}\r\n"
    head += f"Content-Length: {sum([len(part) for part in parts])}\r\nConnection: close\r\nCache-Control: no-store\r\n"
    head += "X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"
    if kind.startswith("text/html"):
        if parts[0].startswith(b"\x1f\x8b"):
            head += "Content-Encoding: gzip\r\n"
        head += "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        head += "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    stream.write(f"{head}{header}\r\n".encode())
    await stream.drain()
    for part in parts if with_body else ():
        stream.write(part)
        await stream.drain()


async def linger(stream) -> None:
    """Throw away what still comes."""
    for _ in range(_LINGER_READS):
        try:
            if not await asyncio.wait_for_ms(stream.read(512), _LINGER_MS):
                return
        except asyncio.TimeoutError:
            return
