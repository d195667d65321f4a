"""Every cap of the web, from the side of somebody who takes more than there is; the others notice nothing."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from contextlib import AsyncExitStack
from dataclasses import fields
from pathlib import Path

import pytest

from espfleet.cli.run import web_limits_of
from espfleet.domain.devices import Dialect
from espfleet.domain.places import FULL_S, SPREAD_S
from espfleet.errors import SettingsError
from espfleet.services import devices
from espfleet.settings import read_settings
from espfleet.store import workers
from espfleet.store.client import Store
from espfleet.web import crowd, server
from espfleet.web.listening import listen
from espfleet.web.settings import Limits, WebSettings
from tests.conftest import wait_until
from tests.web.links import OTHER, Link, link
from tests.web.serving import Web, serving

#: Each may take half of what there is.
SOURCES = ("127.0.0.1", OTHER)


async def take(stack: AsyncExitStack, web: Web, count: int, source: str = "127.0.0.1") -> list[Link]:
    """Take so many places: again while the server still counts a connection that somebody has just closed."""
    taken: list[Link] = []

    async def all_served() -> bool:
        async with AsyncExitStack() as trial:
            taken[:] = [await trial.enter_async_context(link(web, source)) for _ in range(count)]
            served = [(await one.ask())[0] for one in taken] == [200] * count
            if served:
                stack.push_async_exit(trial.pop_all())
            return served

    await wait_until(all_served)
    return taken


async def test_one_source_cannot_take_all_connections_and_others_are_served_meanwhile(store: Store) -> None:
    limits = Limits(connections=20, connections_per_source=4)
    async with serving(store, limits=limits) as web, AsyncExitStack() as stack:
        mine = await take(stack, web, 4)
        async with link(web) as fifth:
            status, head, body = await fifth.ask()
            assert status == 503
            retry = re.search(r"retry-after: (\d+)", head, re.IGNORECASE)
            assert retry is not None
            assert FULL_S <= int(retry[1]) < FULL_S + SPREAD_S
            told = json.loads(body)
            assert (told["code"], told["title"]) == ("no_place", "Full")
            assert f"come back in {retry[1]} s" in told["detail"]
            await fifth.ends()
        async with link(web, OTHER) as other:
            assert (await other.ask())[0] == 200
        # Who was there before is served as before.
        assert [(await one.ask())[0] for one in mine] == [200] * 4
        mine[0].close()

        async def free() -> bool:
            async with link(web) as again:
                return (await again.ask())[0] == 200

        await wait_until(free)

        async def counted() -> bool:
            return int((await workers.alive(store, "web"))["web-1"]["refused"]) >= 1

        await wait_until(counted)


async def test_all_connections_have_an_end(store: Store) -> None:
    async with serving(store, limits=Limits(connections=3)) as web, AsyncExitStack() as stack:
        links = [*await take(stack, web, 2), *await take(stack, web, 1, OTHER)]
        async with link(web, "127.0.0.3") as late:
            assert (await late.ask())[0] == 503
        assert [(await one.ask())[0] for one in links] == [200] * 3


async def test_far_too_many_are_cut_without_a_word_and_others_are_served(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "TOLD", 1)
    async with serving(store, limits=Limits(connections_per_source=2)) as web, AsyncExitStack() as stack:
        await take(stack, web, 2)
        await stack.enter_async_context(link(web))
        cut = await stack.enter_async_context(link(web))
        assert (await cut.ask())[0] == 0
        async with link(web, OTHER) as other:
            assert (await other.ask())[0] == 200


async def test_who_was_refused_and_says_nothing_is_cut(store: Store) -> None:
    async with (
        serving(store, limits=Limits(connections_per_source=1, head_ms=1_500)) as web,
        link(web, OTHER) as first,
        link(web, OTHER) as refused,
    ):
        assert (await first.ask())[0] == 200
        await refused.ends()


@pytest.mark.parametrize("cap", ["readers", "video_readers"])
async def test_those_who_look_have_an_end_however_many_come_at_once_and_no_source_takes_all(
    store: Store, cap: str
) -> None:
    async with serving(store, limits=Limits(**{cap: 4})) as web, AsyncExitStack() as stack:
        path = "/api/live"
        if cap == "video_readers":
            await devices.register(store, device_id="0c0000000001", name="cam", now_ms=1, dialect=Dialect.HUB)
            path = "/video.mjpeg?device=cam"
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        for source in (*SOURCES, "127.0.0.3"):
            links = [await stack.enter_async_context(link(web, source)) for _ in range(6)]
            answers = await asyncio.gather(*(one.ask(request) for one in links))
            # The third one finds all places taken by the two before it.
            found = [200] * 2 * (source in SOURCES)
            assert sorted(status for status, _, _ in answers) == [*found, *[409] * (6 - len(found))]
            assert all(json.loads(body)["code"] == "refused" for status, _, body in answers if status == 409)
            if source == SOURCES[0]:
                links[[status for status, _, _ in answers].index(200)].close()

                async def free() -> bool:
                    return (await (await stack.enter_async_context(link(web))).ask(request))[0] == 200

                await wait_until(free)


LONG = "GET /api/openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernel hold little of what a client does not read."""

    def listen_narrow(settings: WebSettings) -> socket.socket:
        listener = listen(settings)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        return listener

    monkeypatch.setattr(server, "listen", listen_narrow)


@pytest.mark.usefixtures("narrow")
async def test_who_reads_slowly_gets_the_whole_answer(store: Store) -> None:
    async with serving(store, limits=Limits(blocked_ms=1_000)) as web:
        whole = len((await web.send("GET", "/api/openapi.json")).content)
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.connect(("127.0.0.1", web.port))
            slow.send(f"{LONG}Connection: close\r\n\r\n".encode())
            slow.setblocking(False)
            loop, got = asyncio.get_running_loop(), b""
            async with asyncio.timeout(40):
                while piece := await loop.sock_recv(slow, 4_096):
                    got += piece
                    # More than twice as long as somebody has who reads nothing.
                    await asyncio.sleep(0.1)
        assert len(got.partition(b"\r\n\r\n")[2]) == whole


@pytest.mark.parametrize("ending", ["close", "keep-alive"])
@pytest.mark.usefixtures("narrow")
async def test_who_reads_nothing_of_an_answer_does_not_keep_its_place(store: Store, ending: str) -> None:
    limits = Limits(connections_per_source=1, blocked_ms=1_500, head_ms=60_000)
    request = f"{LONG}Connection: {ending}\r\n\r\n".encode()
    with socket.socket() as deaf:
        async with serving(store, limits=limits) as web:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            deaf.bind((OTHER, 0))
            deaf.connect(("127.0.0.1", web.port))
            # One after the other without reading.
            deaf.send(request * (1 if ending == "close" else 3))

            async def free() -> bool:
                async with link(web, OTHER) as again:
                    return (await again.ask())[0] == 200

            assert not await free()
            await wait_until(free, timeout_s=15)


async def test_a_body_may_have_so_many_bytes_and_no_more(store: Store) -> None:
    async with serving(store, limits=Limits(body_bytes=5_000)) as web:
        for size, status in ((4_000, 422), (6_000, 413)):
            answer = await web.send("POST", "/api/groups", json={"name": "x" * size})
            assert answer.status_code == status, answer.text
        assert "5000 bytes" in answer.json()["detail"]


# Settings


def test_each_cap_can_be_set(tmp_path: Path) -> None:
    names = {one.name for one in fields(Limits)}
    values = {f"WEB_{name.upper()}": str(70_000 + number) for number, name in enumerate(sorted(names))}
    limits = web_limits_of(read_settings(values, tmp_path))
    assert {name: getattr(limits, name) for name in names} == {
        name: 70_000 + number for number, name in enumerate(sorted(names))
    }


def test_what_is_not_set_is_what_a_web_server_takes_by_itself(tmp_path: Path) -> None:
    assert web_limits_of(read_settings({}, tmp_path)) == Limits()


@pytest.mark.parametrize(
    ("name", "value"), [("WEB_CONNECTIONS", "0"), ("WEB_HEAD_MS", "50"), ("WEB_BODY_BYTES", "1"), ("WEB_READERS", "x")]
)
def test_a_cap_that_cannot_be_is_named(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} cannot be used"):
        read_settings({name: value}, tmp_path)
