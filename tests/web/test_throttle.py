"""Who asks too often is told when to come back; everybody else is served, also behind the same address."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from espfleet.errors import SettingsError
from espfleet.services import tokens
from espfleet.settings import read_settings
from espfleet.store import workers
from espfleet.store.client import Store
from espfleet.web.pages import FOLDER
from espfleet.web.settings import Limits
from tests.conftest import wait_until
from tests.web.links import OTHER, Link, link
from tests.web.serving import Web, serving

#: Nothing comes back within a test, however long that takes.
SLOWLY = Limits(requests_at_once=5, requests_per_s=1 / 3_600)


def request(path: str = "/api/rooms", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode()


async def empty(one: Link, what: bytes) -> None:
    """Ask until it is too often."""
    statuses = [(await one.ask(what))[0] for _ in range(6)]
    assert 200 in statuses
    assert statuses[-1] == 429


async def test_who_asks_too_often_is_told_when_to_come_back_and_others_are_served(store: Store) -> None:
    async with serving(store, limits=SLOWLY) as web, link(web) as mine, link(web, OTHER) as other:
        await empty(mine, request())
        for path in ("/api/rooms", "/api/no-such-thing", "/", "/healthz"):
            status, head, body = await mine.ask(request(path))
            assert status == 429
            retry = re.search(r"retry-after: (\d+)\r", head, re.IGNORECASE)
            assert retry is not None
            told = json.loads(body)
            assert (told["code"], told["title"]) == ("too_many_requests", "Too often")
            assert told["detail"] == f"too many requests are coming from your address: come back in {retry[1]} s"
        assert (await other.ask(request()))[0] == 200

        async def counted() -> bool:
            return int((await workers.alive(store, "web"))["web-1"]["throttled"]) >= 5

        await wait_until(counted)
        figures = json.loads((await other.ask(request("/api/metrics")))[2])
        assert next(one["value"] for one in figures if one["name"] == "espfleet.web.throttled") >= 5


async def test_who_waits_as_told_is_served(store: Store) -> None:
    async with serving(store, limits=Limits(requests_at_once=5, requests_per_s=1)) as web, link(web, OTHER) as one:
        status, head = 200, ""
        for _ in range(100):
            status, head, _ = await one.ask(request())
            if status == 429:
                break
        assert status == 429
        assert re.search(r"retry-after: 1\r", head, re.IGNORECASE)

        async def served() -> bool:
            return (await one.ask(request()))[0] == 200

        await wait_until(served)


async def test_a_new_connection_is_no_new_beginning(store: Store) -> None:
    async with serving(store, limits=SLOWLY) as web:
        async with link(web, OTHER) as one:
            await empty(one, request())
        async with link(web, OTHER) as again:
            assert (await again.ask(request()))[0] == 429


async def test_who_is_logged_in_is_not_held_up_by_neighbours_behind_the_same_address(store: Store) -> None:
    token = await tokens.add(store, name="boss", role="admin", now_ms=1)
    async with serving(store, limits=SLOWLY) as web, link(web, OTHER) as mine, link(web, OTHER) as neighbour:
        assert (await mine.ask(request(Authorization=f"Bearer {token}")))[0] == 200
        for number in range(20):
            # A token that was made up is no way to a bucket of one's own.
            status = (await neighbour.ask(request(Authorization=f"Bearer invented-{number}")))[0]
        assert status == 429
        assert (await mine.ask(request(Authorization=f"Bearer {token}")))[0] == 200
        # And has an end, too.
        statuses = [(await mine.ask(request(Cookie=f"espfleet_token={token}")))[0] for _ in range(6)]
        assert (statuses[0], statuses[-1]) == (200, 429)


async def test_what_a_header_says_of_the_source_is_not_believed(store: Store) -> None:
    async with serving(store, limits=SLOWLY) as web, link(web) as one:
        statuses = [(await one.ask(request(X_Forwarded_For=f"192.0.2.{number}")))[0] for number in range(8)]
        assert statuses[-1] == 429


async def test_a_proxy_that_is_named_is_believed(store: Store) -> None:
    async with serving(store, limits=SLOWLY, proxies="127.0.0.1,192.0.2.0/24") as web, link(web) as proxy:
        # The client invented what stands first; the proxies, one behind the other, added the rest.
        await empty(proxy, request("/healthz", X_Forwarded_For="203.0.113.9, 2001:db8::1, 192.0.2.8"))
        same = request("/healthz", X_Forwarded_For="203.0.113.10, 2001:db8::2")
        assert (await proxy.ask(same))[0] == 429
        assert (await proxy.ask(request("/healthz", X_Forwarded_For="2001:db8:0:1::1")))[0] == 200
        async with link(web, OTHER) as stranger:
            statuses = [(await stranger.ask(request(X_Forwarded_For=f"203.0.113.{n}")))[0] for n in range(8)]
            assert statuses[-1] == 429


async def test_a_dashboard_in_many_tabs_is_never_told_to_wait(store: Store, web: Web) -> None:
    files = [one.name for one in sorted(FOLDER.iterdir()) if one.is_file()]
    async with link(web, OTHER) as one:
        for _ in range(10):
            for path in ("/", *(f"/{name}" for name in files), "/api/first", "/api/wall", "/api/devices"):
                assert (await one.ask(request(path)))[0] == 200


@pytest.mark.parametrize("value", ["proxy.example", "*", "192.0.2.0/40", "192.0.2.1,,", "192.0.2.1/24"])
def test_a_proxy_is_an_address(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingsError, match="WEB_PROXIES cannot be used: it must be addresses or networks"):
        read_settings({"WEB_PROXIES": value}, tmp_path)


def test_proxies_are_kept_as_they_are_written(tmp_path: Path) -> None:
    assert read_settings({"WEB_PROXIES": "192.0.2.1, 2001:db8::/32"}, tmp_path).web_proxies == "192.0.2.1,2001:db8::/32"
    assert read_settings({}, tmp_path).web_proxies == ""
