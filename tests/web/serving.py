"""A web server of the tests: the real one, on a free port of loopback, asked over real connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from espfleet.boards.client import BoardInfo
from espfleet.errors import BoardUnreachableError
from espfleet.services.registering import Boards
from espfleet.store.client import Store
from espfleet.web.server import run_web
from espfleet.web.settings import WebSettings
from tests.conftest import wait_until
from tests.ports import free_port

WAITING = "3c71bff93720"


def ask(address: str) -> BoardInfo:
    """Answer as the one device there is would."""
    if address != "127.0.0.7":
        raise BoardUnreachableError(f"nothing answers at {address}")
    return BoardInfo(id=WAITING, f=70.0, chip="esp32c3", firmware="1.0", provision=True)


class Web:
    """The server as a client sees it."""

    def __init__(self, port: int, ca: Path | None = None) -> None:
        self.port = port
        self.url = f"{'https' if ca else 'http'}://127.0.0.1:{port}"
        self._verify = str(ca) if ca else True
        self.given: list[tuple[str, str]] = []
        self.headers: dict[str, str] = {}

    async def send(self, method: str, path: str, **more: Any) -> requests.Response:
        more["headers"] = {**self.headers, **more.get("headers", {})}
        more["verify"] = self._verify
        return await asyncio.to_thread(requests.request, method, self.url + path, timeout=30, **more)

    async def get(self, path: str, status: int = 200, **more: Any) -> Any:
        answer = await self.send("GET", path, **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def post(self, path: str, body: Any, status: int = 201, **more: Any) -> Any:
        answer = await self.send("POST", path, json=body, **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def patch(self, path: str, body: Any, status: int = 200) -> Any:
        answer = await self.send("PATCH", path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()


@asynccontextmanager
async def serving(store: Store, host: str = "127.0.0.1", ca: Path | None = None, **more: Any) -> AsyncIterator[Web]:
    """Run a web server for a while; ``ca`` is whom to trust where it speaks TLS, ``more`` are other settings of it."""
    web = Web(free_port(), ca)
    boards = Boards(ask=ask, hand_over=lambda address, token, url: web.given.append((address, url)))
    settings = WebSettings(name="web-1", host=host, port=web.port, gateway_url="ws://127.0.0.1:5678/lamp", **more)
    running = asyncio.create_task(run_web(store, settings, boards))

    async def up() -> bool:
        if running.done():
            running.result()
        with contextlib.suppress(requests.ConnectionError):
            return bool((await web.send("GET", "/healthz")).ok)
        return False

    try:
        await wait_until(up, what="the web server answers")
        yield web
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest.fixture
async def web(store: Store) -> AsyncIterator[Web]:
    async with serving(store) as running:
        yield running
