"""Many big questions of one client wait for one another, and nobody waits for them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from espfleet.services import tokens
from espfleet.store.client import Store
from espfleet.web.turns import AT_ONCE, Turns
from tests.conftest import wait_until
from tests.web.serving import serving


class Slow:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["state"]["client"])
        await self.may_answer.wait()


async def nothing(*_: Any) -> Message:
    return {}


def ask(turns: Turns, client: str, path: str = "/api/wall", method: str = "GET") -> asyncio.Task[None]:
    scope = {"type": "http", "method": method, "path": path, "state": {"client": client}}
    return asyncio.ensure_future(turns(scope, nothing, nothing))  # type: ignore[arg-type]


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_of_one_client_few_questions_are_answered_at_once_and_others_at_once() -> None:
    slow = Slow()
    turns = Turns(slow)
    asking = [ask(turns, "greedy") for _ in range(20)]
    await settled()
    asking.append(ask(turns, "modest"))
    await settled()
    assert slow.asked == ["greedy"] * AT_ONCE + ["modest"]
    slow.may_answer.set()
    await asyncio.gather(*asking)
    assert slow.asked.count("greedy") == 20
    assert len(turns) == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/devices/porch/commands"), ("GET", "/api/live"), ("GET", "/api/devices/porch/state"),
     ("GET", "/video.mjpeg"), ("GET", "/app.js")],
)  # fmt: skip
async def test_what_waits_for_devices_or_has_no_end_takes_no_turn(method: str, path: str) -> None:
    slow = Slow()
    turns = Turns(slow)
    asking = [ask(turns, "mia", path, method) for _ in range(20)]
    await settled()
    assert len(slow.asked) == 20
    slow.may_answer.set()
    await asyncio.gather(*asking)


async def test_who_goes_while_waiting_takes_no_turn_along() -> None:
    slow = Slow()
    turns = Turns(slow)
    asking = [ask(turns, "mia") for _ in range(5)]
    await settled()
    for one in asking:
        one.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    assert len(turns) == 0
    asking = [ask(turns, "mia") for _ in range(2)]
    slow.may_answer.set()
    await asyncio.gather(*asking)
    assert len(slow.asked) == 2 * AT_ONCE


async def test_tokens_behind_one_address_have_turns_of_their_own(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    held = asyncio.Event()
    waiting = 0
    names = ("mia", "tom")
    bearers = {
        name: {"Authorization": f"Bearer {await tokens.add(store, name=name, role='admin', now_ms=1)}"}
        for name in names
    }

    async def hold(*_: Any) -> dict[str, Any]:
        nonlocal waiting
        waiting += 1
        await held.wait()
        return {}

    async def both_wait() -> bool:
        return waiting == 2 * AT_ONCE

    async with serving(store) as web:
        monkeypatch.setattr("espfleet.web.fleet.wall_of", hold)
        # No more than threads of this test can ask at once.
        who = ["mia"] * (AT_ONCE + 1) + ["tom"] * AT_ONCE
        asking = [asyncio.create_task(web.get("/api/wall", headers=bearers[name])) for name in who]
        await wait_until(both_wait)
        # Who shows none is nobody else either.
        assert (await web.send("GET", "/api/session")).status_code == 200
        held.set()
        await asyncio.gather(*asking)
