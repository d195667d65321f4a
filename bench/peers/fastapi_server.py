"""The peer of FastAPI: a WebSocket server as its own documentation has it, run by uvicorn; a loop sends to all."""

from __future__ import annotations

import contextlib
import json
import socket
import time

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
lamps: set[WebSocket] = set()
heard: dict[WebSocket, float] = {}


@app.websocket("/lamp")
async def be_lamp(client: WebSocket) -> None:
    """Take what a lamp says."""
    await client.accept()
    lamps.add(client)
    try:
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                if json.loads(await client.receive_text()).get("type") == "keepalive":
                    heard[client] = time.monotonic()
    finally:
        lamps.discard(client)
        heard.pop(client, None)


@app.websocket("/change")
async def change(client: WebSocket) -> None:
    """Send to all lamps what is sent here."""
    await client.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            text = await client.receive_text()
            for lamp in list(lamps):
                with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                    await lamp.send_text(text)


def main() -> None:
    """Serve on a free port of loopback, and say which."""
    with socket.create_server(("127.0.0.1", 0), backlog=4_096) as listener:
        print(listener.getsockname()[1], flush=True)
        config = uvicorn.Config(
            app, log_level="error", ws="websockets-sansio", ws_per_message_deflate=False, ws_ping_interval=None
        )
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
