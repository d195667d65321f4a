"""Everything the command line does can be done over HTTP, with the same rules and words."""

from __future__ import annotations

import asyncio
import re

import pytest
import requests

from espfleet.domain.devices import Reason
from espfleet.domain.roles import Role
from espfleet.errors import StartError
from espfleet.services import devices, groups, rooms, targets, tokens
from espfleet.store import events, presence, registry
from espfleet.store.client import Store
from espfleet.store.presence import Session
from espfleet.web.pages import FOLDER
from tests.web.serving import WAITING, Web, serving

PORCH = {"name": "porch", "id": "3c71bff93721"}


async def test_a_device_is_registered_shown_edited_and_unregistered(web: Web) -> None:
    done = await web.post("/api/devices", PORCH)
    assert done["new"]
    assert len(done["token"]) == 43
    shown = await web.get("/api/devices/porch")
    assert (shown["id"], shown["room"], shown["presence"]) == (PORCH["id"], "default", "offline")
    assert "token" not in str(shown)
    await web.post("/api/rooms", {"name": "attic"})
    edited = await web.patch("/api/devices/porch", {"room": "attic", "brightness": 30, "name": "lamp"})
    assert (edited["name"], edited["room"], edited["own_brightness"]) == ("lamp", "attic", 30)
    assert (await web.patch("/api/devices/lamp", {"brightness": None}))["own_brightness"] is None
    assert (await web.send("DELETE", "/api/devices/lamp")).status_code == 204
    await web.get("/api/devices/lamp", 404)


async def test_registering_again_changes_nothing_and_says_so(web: Web) -> None:
    await web.post("/api/devices", PORCH)
    again = await web.post("/api/devices", PORCH, 200)
    assert (again["new"], again["token"]) == (False, None)


async def test_a_device_at_an_address_is_asked_and_given_its_token(web: Web) -> None:
    done = await web.post("/api/devices", {"name": "porch", "address": "127.0.0.7"})
    assert (done["id"], done["handed_over"], done["token"]) == (WAITING, True, None)
    assert web.given == [("127.0.0.7", "ws://127.0.0.1:5678/lamp")]


async def test_a_device_that_does_not_answer_is_its_own_failure(web: Web) -> None:
    told = await web.post("/api/devices", {"name": "porch", "address": "127.0.0.8"}, 424)
    assert told["code"] == "board_unreachable"


async def test_a_failure_has_a_code_and_a_sentence(web: Web) -> None:
    await web.post("/api/devices", PORCH)
    answer = await web.send("GET", "/api/devices/proch")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"
    assert answer.json()["nearest"] == ["porch"]
    taken = await web.post("/api/devices", {**PORCH, "id": "3c71bff93722"}, 409)
    assert (taken["code"], taken["suggestion"]) == ("name_taken", "porch-2")
    bad = await web.post("/api/targets", {"name": "x", "address": "no address"}, 422)
    assert (bad["code"], bad["field"]) == ("invalid", "address")
    typo = await web.post("/api/rooms", {"name": "x", "brigthness": 3}, 422)
    assert typo["field"] == "brigthness"
    assert (await web.get("/api/nothing", 404))["code"] == "no_such_page"


async def test_rooms_groups_and_targets_are_arranged(web: Web) -> None:
    await web.post("/api/groups", {"name": "internet", "preset": "lan"})
    await web.post("/api/targets", {"name": "router", "address": "127.0.0.1", "group": "internet"})
    await web.post("/api/rooms", {"name": "office", "group": "internet"})
    shown = await web.get("/api/groups/internet")
    assert (shown["targets"], shown["rooms"], shown["state"]) == (["router"], ["office"], "unknown")
    edited = await web.patch("/api/groups/internet", {"thresholds": {"latency_orange_ms": 9}, "exclude": ["router"]})
    assert (edited["thresholds"]["latency_orange_ms"], edited["targets"]) == (9, [])
    assert (await web.patch("/api/rooms/office", {"brightness": 20}))["brightness"] == 20
    assert (await web.patch("/api/targets/router", {"interval_ms": 500}))["interval_ms"] == 500
    assert (await web.send("DELETE", "/api/groups/internet")).status_code == 409
    assert (await web.post("/api/groups/internet/pause", None, 200))["paused"]
    told = await web.get("/api/why/office")
    assert told["way"] == ["room 'office' watches group 'internet'"]


async def test_lists_come_in_pages_and_are_filtered(store: Store, web: Web) -> None:
    await rooms.add(store, name="attic")
    for number in range(5):
        wish = {"name": f"lamp-{number}", "id": f"3c71bff9372{number}", "labels": ["tall"] if number < 2 else []}
        await web.post("/api/devices", wish)
    await web.patch("/api/devices/lamp-3", {"room": "attic"})
    first = await web.get("/api/devices?limit=2")
    assert ([row["name"] for row in first["items"]], first["next"], first["total"]) == (
        ["lamp-0", "lamp-1"],
        "lamp-1",
        5,
    )
    last = await web.get("/api/devices?limit=3&after=lamp-1")
    assert ([row["name"] for row in last["items"]], last["next"]) == (["lamp-2", "lamp-3", "lamp-4"], None)
    assert (await web.get("/api/devices?room=attic"))["total"] == 1
    assert (await web.get("/api/devices?label=tall"))["total"] == 2
    assert (await web.get("/api/devices?state=offline"))["total"] == 5
    assert (await web.get("/api/devices?state=live"))["total"] == 0
    assert (await web.get("/api/devices?q=MP-4"))["total"] == 1
    await web.get("/api/devices?state=dancing", 422)


async def test_the_wall_says_since_when_a_lamp_is_away(store: Store, web: Web) -> None:
    await devices.register(store, device_id="3c71bff93720", name="porch", now_ms=1)
    await presence.came(store, "3c71bff93720", Session(session_id="1", gateway="g1", watchdog_ms=3_000))
    await asyncio.sleep(0.01)
    await presence.went(store, "3c71bff93720", "1", Reason.CLOSED)
    [porch] = (await web.get("/api/wall"))["devices"]
    [row] = (await web.get("/api/devices"))["items"]
    assert (porch["presence"], porch["offline_reason"]) == ("offline", "closed")
    assert porch["changed_ms"] > row["session_since_ms"]


async def test_what_has_not_changed_is_not_sent_again(web: Web) -> None:
    answer = await web.send("GET", "/api/rooms")
    again = await web.send("GET", "/api/rooms", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    await web.post("/api/rooms", {"name": "attic"})
    changed = await web.send("GET", "/api/rooms", headers={"If-None-Match": answer.headers["etag"]})
    assert changed.status_code == 200


async def test_a_post_with_a_key_takes_effect_once(store: Store, web: Web) -> None:
    key = {"Idempotency-Key": "abc"}
    first = await web.post("/api/devices", PORCH, headers=key)
    before = await registry.version(store)
    again = await web.send("POST", "/api/devices", json=PORCH, headers=key)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert again.json() == {**first, "token": None}
    assert await registry.version(store) == before
    other = await web.post("/api/devices", {**PORCH, "name": "attic"}, 422, headers=key)
    assert other["code"] == "key_reused"
    # What stands behind the question mark is part of what is asked.
    assert (await web.post("/api/devices?keep_s=0", PORCH, 422, headers=key))["code"] == "key_reused"


async def test_an_answer_is_not_told_again_to_whom_nothing_is_told_any_more(store: Store, web: Web) -> None:
    await tokens.add(store, name="boss", role="admin", now_ms=1)
    token = await tokens.add(store, name="laptop", role="admin", now_ms=1)
    headers = {"Idempotency-Key": "k-2", "Authorization": f"Bearer {token}"}
    for _ in range(2):
        await web.post("/api/rooms", {"name": "attic"}, headers=headers)
    await tokens.remove(store, name="laptop")
    await web.post("/api/rooms", {"name": "attic"}, 401, headers=headers)


async def test_a_post_that_failed_may_be_made_again_with_its_key(web: Web) -> None:
    key = {"Idempotency-Key": "abc"}
    wish = {"name": "office", "group": "internet"}
    await web.post("/api/rooms", wish, 404, headers=key)
    await web.post("/api/groups", {"name": "internet"})
    await web.post("/api/rooms", wish, headers=key)


async def test_a_request_may_not_be_too_big(web: Web) -> None:
    answer = await web.send("POST", "/api/rooms", data=b"x" * 70_000)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_big")


async def test_telling_a_room_brings_one_answer_for_each_device(store: Store, web: Web) -> None:
    await web.post("/api/devices", PORCH)
    await web.post("/api/devices", {"name": "attic", "id": "3c71bff93722"})
    told = await web.post("/api/rooms/default/commands", {"action": "identify"}, 200)
    assert [(one["device"], one["ok"]) for one in told] == [("attic", False), ("porch", False)]
    assert told[0]["error"] == "attic cannot be told: never seen"
    await web.post("/api/devices/porch/commands", {"action": "dance"}, 422)


async def test_a_board_is_asked_for_its_state_at_its_address(web: Web) -> None:
    await web.post("/api/devices", PORCH)
    assert (await web.get("/api/devices/porch/state", 422))["field"] == "address"
    # Port 1 of loopback: nobody listens there.
    await web.post("/api/devices", {**PORCH, "address": "127.0.0.1:1"}, 200)
    assert (await web.get("/api/devices/porch/state", 424))["code"].startswith("board_")
    assert await web.get("/api/devices/porch/jobs") == []


async def test_supervisors_learn_whether_levels_are_fresh(web: Web) -> None:
    assert await web.get("/healthz") == {"status": "ok"}
    assert (await web.get("/readyz", 503))["status"] == "levels are stale"


async def test_the_page_of_the_api_has_examples(web: Web) -> None:
    page = await web.get("/api/openapi.json")
    assert page["components"]["schemas"]["NewTarget"]["properties"]["address"]["examples"]
    assert {"/api/devices", "/api/live", "/api/why/{name}", "/healthz"} <= page["paths"].keys()


# --- roles


async def test_once_an_admin_has_a_token_everybody_needs_one(store: Store, web: Web) -> None:
    made = {role: await tokens.add(store, name=role.value, role=role, now_ms=1) for role in Role}
    assert (await web.get("/api/devices", 401))["code"] == "token_wanted"
    assert (await web.get("/api/session"))["role"] is None

    async def status(role: Role, method: str, path: str, body: object = None) -> int:
        headers = {"Authorization": f"Bearer {made[role]}"}
        return (await web.send(method, path, json=body, headers=headers)).status_code

    assert await status(Role.VIEWER, "GET", "/api/devices") == 200
    assert await status(Role.VIEWER, "POST", "/api/rooms/x/commands", {"action": "identify"}) == 403
    assert await status(Role.OPERATOR, "POST", "/api/rooms/x/commands", {"action": "identify"}) == 404
    assert await status(Role.OPERATOR, "POST", "/api/rooms", {"name": "attic"}) == 403
    assert await status(Role.ADMIN, "POST", "/api/rooms", {"name": "attic"}) == 201
    assert (await web.get("/api/devices", 401, headers={"Authorization": "Bearer wrong"}))["code"] == "token_wanted"


async def test_a_login_is_a_cookie_that_other_sites_cannot_use(store: Store, web: Web) -> None:
    token = await tokens.add(store, name="laptop", role="admin", now_ms=1)

    def browse() -> list[int]:
        with requests.Session() as browser:
            logged_in = browser.post(f"{web.url}/api/session", json={"token": token}, timeout=30)
            cookie = logged_in.headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=strict" in cookie
            add = {"url": f"{web.url}/api/rooms", "json": {"name": "attic"}, "timeout": 5}
            statuses = [browser.post(**add, headers={"Origin": "http://evil.example"}).status_code]
            statuses.append(browser.post(**add, headers={"Sec-Fetch-Site": "cross-site"}).status_code)
            statuses.append(browser.post(**add, headers={"Origin": web.url}).status_code)
            return statuses

    assert await asyncio.to_thread(browse) == [401, 401, 201]


async def test_an_ended_login_is_forgotten_and_lets_in_only_where_nobody_has_a_token(store: Store, web: Web) -> None:
    made = {name: await tokens.add(store, name=name, role=name, now_ms=1) for name in ("admin", "viewer")}

    def cookie(name: str) -> dict[str, str]:
        return {"Cookie": f"espfleet_token={made[name]}"}

    await web.get("/api/rooms", headers=cookie("viewer"))
    await tokens.remove(store, name="viewer")
    for path, status in (("/api/rooms", 401), ("/api/session", 200), ("/api/first", 200)):
        answer = await web.send("GET", path, headers=cookie("viewer"))
        assert answer.status_code == status
        assert 'espfleet_token=""' in answer.headers["set-cookie"], path
        assert "Max-Age=0" in answer.headers["set-cookie"]
    # Without its cookie that browser is nobody, for an admin has a token.
    await web.get("/api/rooms", 401)
    assert (await web.get("/api/session"))["role"] is None
    assert "set-cookie" not in (await web.send("GET", "/api/rooms", headers=cookie("admin"))).headers
    # A program's wrong token is no login, and another site ends none.
    assert "set-cookie" not in (await web.send("GET", "/api/rooms")).headers
    evil = {**cookie("admin"), "Sec-Fetch-Site": "cross-site"}
    assert "set-cookie" not in (await web.send("POST", "/api/rooms", json={"name": "x"}, headers=evil)).headers
    await tokens.remove(store, name="admin")
    await web.get("/api/rooms", 401, headers=cookie("admin"))
    await web.get("/api/rooms")


async def test_a_name_that_points_to_this_machine_is_not_this_machine(web: Web) -> None:
    assert (await web.get("/api/devices", 401, headers={"Host": "evil.example"}))["code"] == "token_wanted"


async def test_nothing_wider_than_loopback_without_an_admin(store: Store) -> None:
    with pytest.raises(StartError, match="nobody has an admin's token"):
        async with serving(store, host="0.0.0.0"):
            pass
    await tokens.add(store, name="laptop", role="admin", now_ms=1)
    async with serving(store, host="0.0.0.0") as web:
        await web.get("/api/devices", 401)


async def test_groups_and_targets_may_share_names(store: Store, web: Web) -> None:
    await targets.add(store, name="home", address="127.0.0.1")
    await groups.add(store, name="home", targets=["home"])
    assert (await web.get("/api/why/home?kind=target"))["asked"] == "target 'home'"


async def test_tokens_are_made_told_once_and_ended(web: Web) -> None:
    made = await web.post("/api/tokens", {"name": "laptop", "role": "admin"})
    web.headers = {"Authorization": f"Bearer {made['token']}"}
    tv = await web.post("/api/tokens", {"name": "tv"})
    assert tv["role"] == "viewer"
    listed = await web.get("/api/tokens")
    assert [(one["name"], one["role"]) for one in listed] == [("laptop", "admin"), ("tv", "viewer")]
    assert tv["token"] not in str(listed)
    screen = {"Authorization": f"Bearer {tv['token']}"}
    await web.get("/api/wall", headers=screen)
    await web.get("/api/tokens", 403, headers=screen)
    assert (await web.send("DELETE", "/api/tokens/tv")).status_code == 204
    await web.get("/api/wall", 401, headers=screen)


async def test_the_demo_comes_and_goes_and_a_set_up_is_taken_over(web: Web) -> None:
    assert (await web.post("/api/demo", None, 200))["rooms"] == 2
    assert (await web.get("/api/rooms"))["total"] == 2
    await web.send("DELETE", "/api/demo")
    assert (await web.get("/api/rooms"))["total"] == 0
    values = {"PING_TARGET_1_HOST": "127.0.0.1", "PING_TARGET_1_INTERVAL_S": "1"}
    assert (await web.post("/api/imports/pinglamp", {"values": values}, 200))["group"] == "pinglamp"
    assert (await web.get("/api/targets/T1"))["groups"] == ["pinglamp"]
    assert (await web.post("/api/imports/pinglamp", {"values": {}}, 422))["code"] == "invalid"


async def test_metrics_and_their_outbox_are_shown(store: Store, web: Web) -> None:
    await groups.add(store, name="internet")
    await web.post("/api/devices", PORCH)
    names = {one["name"]: one["value"] for one in await web.get("/api/metrics")}
    assert names["espfleet.devices"] == 1
    assert (await web.get("/api/outbox"))["pending"] == []
    assert (await web.send("DELETE", "/api/outbox/1-1")).json() == {"acknowledged": 0}


async def test_events_are_picked_by_device_and_kind_and_shared_failures_are_one(store: Store, web: Web) -> None:
    for number, name in enumerate(("porch", "attic")):
        await web.post("/api/devices", {"name": name, "id": f"3c71bff9372{number}"})
    gone = {"presence": "offline", "reason": "silent", "gateway": "g"}
    ids = [await events.add(store, "presence", {"device": f"3c71bff9372{number}", **gone}) for number in range(2)]
    outage = {"scope": "room", "name": "default", "rooms": ["default"], "devices": ["attic", "porch"], "count": 2}
    outage |= {"of": 2, "reason": "silent", "first_id": ids[0], "last_id": ids[1], "began_ms": 1}
    await events.add(store, "outage", outage)
    told = await web.get("/api/events")
    assert [event["kind"] for event in told] == ["outage"]
    assert "default" in told[0]["sentence"]
    assert len(await web.get("/api/events?each=true")) == 3
    assert [event["device"] for event in await web.get("/api/events?device=attic")] == ["3c71bff93721"]
    assert len(await web.get("/api/events?kind=presence&limit=1")) == 1
    assert next(event["id"] for event in await web.get(f"/api/events?since={ids[0]}")) == ids[1]
    await web.get("/api/events?device=nobody", 404)


async def test_every_path_of_the_documentation_exists(web: Web) -> None:
    written = (FOLDER.parents[2] / "docs" / "web.md").read_text()
    told = {path.partition("?")[0] for path in re.findall(r"/api/[^`\s,|…]+", written)}
    there = (await web.get("/api/openapi.json"))["paths"].keys()
    assert len(told) > 25
    assert {path for path in told if "openapi" not in path} <= {
        re.sub(r"\{\w+\}", "{name}", path) for path in there
    } | there
