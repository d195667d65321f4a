"""A camera as S4's are: it shows its token, sends a picture at each interval, and tells what it recognises."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import time
from collections.abc import Sequence
from math import sin
from random import Random
from typing import Any, NoReturn
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, WebSocketException

from espfleet.domain import apriltags, hub_messages
from espfleet.domain.messages import HUB_PATH
from espfleet.domain.video import INTERVAL_MS
from espfleet.simulator.backoff import Backoff, Ending, closed
from espfleet.simulator.jpegs import encode, scene
from espfleet.simulator.session import CLOSE_S, OPEN_S, DirectConnect
from espfleet.simulator.specs import LampSpec

logger = logging.getLogger(__name__)

FIRST_INTERVAL_MS = 500
TAG_S = 1.0
MOST_CAMERAS = 16


class Camera:
    """One camera.

    Args:
        url: Where it connects; ``hub_url`` makes it of the gateway's.
        name: What it calls itself.
        token: Its secret.
        number: What it sees differs by it.
        tls: How to check the certificate, for ``wss``.

    Attributes:
        interval_ms: Time between two pictures.
        sent: Pictures it has sent.
        error: What the hub refused it for, or ``""``.
    """

    def __init__(self, url: str, *, name: str, token: str, number: int = 1, tls: ssl.SSLContext | None = None) -> None:
        self.interval_ms = FIRST_INTERVAL_MS
        self.sent = 0
        self.error = ""
        self._url = url
        self._name = name
        self._token = token
        self._number = number
        self._tls = tls
        self._backoff = Backoff(Random(token))
        self._told = asyncio.Event()

    async def run(self) -> NoReturn:
        """Stay connected until cancelled."""
        while True:
            try:
                ending = await self._attempt()
            except (OSError, TimeoutError, WebSocketException) as exc:
                ending = Ending(why=str(exc) or type(exc).__name__)
            wait_ms = self._backoff.next_ms(ending)
            logger.info("%s is not connected (%s); next try in %.1f s", self._name, ending.why, wait_ms / 1_000)
            await asyncio.sleep(wait_ms / 1_000)

    async def _attempt(self) -> Ending:
        """Connect and do what a camera does; return how it ended."""
        async with DirectConnect(
            self._url, compression=None, proxy=None, open_timeout=OPEN_S, close_timeout=CLOSE_S, ssl=self._tls
        ) as link:
            data = {"type": hub_messages.CAMERA, "device": self._name, "auth_token": self._token}
            await link.send(json.dumps({"event": "identify", "data": data}))
            work: list[asyncio.Task[None]] = []
            try:
                async for text in link:
                    if self._obey(text) and not work:
                        self._backoff.reset()
                        work = [asyncio.create_task(self._film(link)), asyncio.create_task(self._recognise(link))]
            finally:
                for task in work:
                    task.cancel()
                await asyncio.gather(*work, return_exceptions=True)
            return closed(link.close_code, link.close_reason or "")

    def _obey(self, text: str | bytes) -> bool:
        """Do what the hub tells; return whether it has let this camera in."""
        told: dict[str, Any] = json.loads(text)
        event = told.get("event")
        if event == "auth_failed":
            self.error = str(told.get("error"))
        elif event == "set_video_interval":
            low, high = INTERVAL_MS
            self.interval_ms = min(max(int(told["interval_ms"]), low), high)
            self._told.set()
        return event == "identify_success"

    async def _film(self, link: ClientConnection) -> None:
        due_s = time.monotonic()
        while True:
            picture = encode(scene(self._number, time.time()))
            try:
                await link.send(picture)
            except ConnectionClosed:
                return
            self.sent += 1
            self._told.clear()
            # One that came too late is not made up for.
            due_s = max(due_s + self.interval_ms / 1_000, time.monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due_s - time.monotonic()):
                    await self._told.wait()
                    due_s = time.monotonic()

    async def _recognise(self, link: ClientConnection) -> None:
        while True:
            at_s = time.time()
            fields = {
                "smartcam_ip": "127.0.0.1",
                "tag_id": self._number,
                "yaw": round(30 * sin(at_s / 3), 2),
                "pitch": round(8 * sin(at_s / 5), 2),
                "roll": 0.0,
                "x_cm": round(20 * sin(at_s / 4), 1),
                "y_cm": 0.0,
                "z_cm": 60.0,
                "tag_size_percent": 12.5,
                "distance_cm": 61.0,
                "timestamp": int(time.monotonic() * 1_000),
                "camera_name": self._name,
            }
            try:
                await link.send(json.dumps({"event": apriltags.EVENT, **fields}))
            except ConnectionClosed:
                return
            await asyncio.sleep(TAG_S)


def hub_url(gateway_url: str) -> str:
    """Return where cameras connect at a gateway."""
    return urlsplit(gateway_url)._replace(path=HUB_PATH).geturl()


async def run_cameras(gateway_url: str, specs: Sequence[LampSpec], *, tls: ssl.SSLContext | None = None) -> None:
    """Run cameras until cancelled; each has its token already."""
    async with asyncio.TaskGroup() as tasks:
        for number, spec in enumerate(specs, 1):
            camera = Camera(hub_url(gateway_url), name=spec.name, token=str(spec.token), number=number, tls=tls)
            tasks.create_task(camera.run(), name=spec.name)
