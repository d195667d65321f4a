"""Every address of the web, tried with nothing, with a wrong token, a device's, a viewer's and an operator's."""

from __future__ import annotations

import asyncio
import http.client
import re

import pytest

from espfleet.services import devices, tokens
from espfleet.store.client import Store
from espfleet.web.settings import Limits
from tests.web.serving import serving

#: What is open to whoever reaches the port: it tells nothing of the fleet.
OPEN = {
    "GET /api/first", "GET /api/session", "POST /api/session", "DELETE /api/session", "GET /healthz", "GET /readyz",
}  # fmt: skip
#: What is a device's, with its own token.
DEVICE = {"POST /apriltag", "POST /photo", "POST /client_e32__http_post_to_serverhub__smartcam_video_stream"}
#: What tells devices to do something, and changes nothing of what is set up.
OPERATOR = {
    "POST /api/devices/{name}/commands", "POST /api/rooms/{name}/commands", "POST /set_video_interval",
    "POST /api/devices/{name}/jobs/{job}/pause", "POST /api/devices/{name}/jobs/{job}/resume",
    "POST /api/groups/{name}/pause", "POST /api/groups/{name}/resume", "GET /api/devices/{name}/state",
    "POST /api/devices/{name}/visit", "POST /api/devices/{name}/requests",
    "PUT /api/devices/{name}/locks/{purpose}", "DELETE /api/devices/{name}/locks/{purpose}",
}  # fmt: skip
#: What is told to admins only though it changes nothing.
SECRET = {"GET /api/tokens", "GET /api/audit"}
ENDLESS = ("/api/live", "/video.mjpeg")
RANKS = ("nobody", "viewer", "operator", "admin")


def wanted(route: str) -> str:
    """Return the role that a route wants."""
    if route in OPERATOR:
        return "operator"
    return "viewer" if route.startswith("GET ") and route not in SECRET else "admin"


def statuses(port: int, routes: list[str], headers: dict[str, str]) -> dict[str, int]:
    """Return what each route answers, asked about what is not there."""
    told = {}
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for route in routes:
        method, path = route.split(" ")
        body = None if method == "GET" else "{}"
        link.request(method, re.sub(r"\{\w+\}", "nobody", path), body, {**headers, "Content-Type": "application/json"})
        answer = link.getresponse()
        told[route] = answer.status
        if path in ENDLESS or answer.will_close:
            link.close()
        else:
            answer.read()
    link.close()
    return told


@pytest.mark.parametrize("who", ["nothing", "a wrong token", "a device", "viewer", "operator"])
async def test_no_address_of_the_web_does_more_than_the_role_allows(store: Store, who: str) -> None:
    await tokens.add(store, name="boss", role="admin", now_ms=1)
    registered = await devices.register(store, device_id="3c71bff93720", name="porch", now_ms=1)
    known = {"nothing": None, "a wrong token": "x" * 43, "a device": registered.token}
    token = known[who] if who in known else await tokens.add(store, name="me", role=who, now_ms=1)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with serving(store, limits=Limits(requests_per_s=100_000)) as web:
        paths = (await web.get("/api/openapi.json"))["paths"]
        routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
        # None is told of that is not there, or stands in none of the lists.
        assert routes >= OPEN | DEVICE | OPERATOR | SECRET
        told = await asyncio.to_thread(statuses, web.port, sorted(routes - OPEN), headers)
    for route, status in told.items():
        if route in DEVICE:
            assert (status == 401) == (who != "a device"), route
        elif who not in RANKS:
            assert status == 401, route
        elif RANKS.index(who) < RANKS.index(wanted(route)):
            assert status == 403, route
        else:
            assert status not in (401, 403), route


async def test_what_is_open_tells_nothing_of_the_fleet(store: Store) -> None:
    await tokens.add(store, name="boss", role="admin", now_ms=1)
    await devices.register(store, device_id="3c71bff93720", name="porch", now_ms=1)
    async with serving(store) as web:
        for route in sorted(OPEN):
            method, path = route.split(" ")
            answer = await web.send(method, path, json=None if method == "GET" else {"token": "x"})
            for secret in ("porch", "boss", "3c71bff93720", store.url):
                assert secret not in answer.text
