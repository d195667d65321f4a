"""The audit and the rotation of tokens over HTTP: for admins, with who did it."""

from __future__ import annotations

import time

from espfleet.services import tokens
from espfleet.store.client import Store
from tests.web.serving import Web


async def test_what_is_done_over_http_is_in_the_audit_under_the_name_of_the_token(store: Store, web: Web) -> None:
    boss = await tokens.add(store, name="boss", role="admin", now_ms=1)
    viewer = await tokens.add(store, name="wall", role="viewer", now_ms=1)
    web.headers = {"Authorization": f"Bearer {boss}"}
    await web.post("/api/rooms", {"name": "hall"})
    [entry, *_] = await web.get("/api/audit?limit=1")
    assert (entry["door"], entry["who"], entry["from"], entry["action"]) == ("web", "boss", "127.0.0.1", "change")
    assert entry["details"]["rows"][0]["name"] == "hall"
    await web.get("/api/audit", 403, headers={"Authorization": f"Bearer {viewer}"})


async def test_an_admin_rotates_a_token_and_both_hold_for_the_time_given(store: Store, web: Web) -> None:
    boss = await tokens.add(store, name="boss", role="admin", now_ms=time.time_ns() // 1_000_000 - 1_000)
    web.headers = {"Authorization": f"Bearer {boss}"}
    answer = await web.send("POST", "/api/tokens/boss/rotate?keep_s=3600")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    newer = answer.json()["token"]
    for token in (boss, newer):
        await web.get("/api/rooms", headers={"Authorization": f"Bearer {token}"})
    assert (await web.send("POST", "/api/tokens/boss/rotate?keep_s=0")).status_code == 201
    await web.get("/api/rooms", 401, headers={"Authorization": f"Bearer {newer}"})
