"""The dashboard as different people meet it: by keyboard, with a screen reader, on a phone, on a television."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

from espfleet.domain.smoke import POINT
from espfleet.store import history
from espfleet.store.client import open_store
from tests.web.browser import CONTRAST, Seen, faults, opened, turn
from tests.whole.fleet import Fleet

pytestmark = [pytest.mark.package("chromium-headless-shell"), pytest.mark.slow, pytest.mark.timeout(180)]

PAGES = (
    "", "#/targets", "#/target/demo-busy", "#/devices", "#/device/demo-desk", "#/room/demo-office",
    "#/group/demo-internet", "#/events", "#/add", "#/access", "#/login", "#/kiosk", "#/nowhere",
)  # fmt: skip
DESK = "#/device/demo-desk"


@pytest.fixture(scope="module", autouse=True)
def watched(chromium: Browser, fleet: Fleet) -> Iterator[Watched]:
    """A page that somebody opens before anything else, and does nothing with."""
    with opened(chromium, f"http://127.0.0.1:{fleet.web_port}/{DESK}", anew=True) as (page, seen):
        # It is still open when, at the end, a token is wanted.
        seen.expected = ("401",)
        uptime = page.get_by_role("region", name="Readings").get_by_role("row", name="uptime").locator(".num").first
        expect(uptime).to_be_visible()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        yield Watched(page, uptime, uptime.inner_text(), asked)


@dataclass
class Watched:
    """A page that is open for a while: what it said at first, and what it has asked the server for since."""

    page: Page
    uptime: Locator
    before: str
    asked: list[str]


#: Fields, pictures and buttons that no screen reader could name.
NAMELESS = """() => [...document.querySelectorAll('input, select, button, a, [role=img]')].filter((one) =>
  !(one.getAttribute('aria-label') || one.labels?.length || one.textContent.trim() || one.title))
  .map((one) => one.outerHTML)"""
PHONE: ViewportSize = {"width": 360, "height": 740}
DESKTOP: ViewportSize = {"width": 1280, "height": 800}


@dataclass(frozen=True)
class Visit:
    """What was found on one page of the dashboard, as a phone opens it and on a larger screen."""

    width_on_phone: int
    nameless: list[str]
    theme: str
    faults: list[str]
    faults_in_light: list[str]


@pytest.fixture(scope="module")
def visits(chromium: Browser, fleet: Fleet) -> dict[str, Visit]:
    """Go once through all pages, which takes long; return what was found on each."""
    url = f"http://127.0.0.1:{fleet.web_port}/"
    found = {}
    # What fades in has too little contrast until it is there.
    with opened(chromium, url, size=(360, 740), still=True) as (page, _):
        for path in PAGES:
            page.set_viewport_size(PHONE)
            turn(page, url + path)
            width, nameless = page.evaluate("document.documentElement.scrollWidth"), page.evaluate(NAMELESS)
            page.set_viewport_size(DESKTOP)
            theme, dark = page.evaluate("document.documentElement.dataset.theme"), faults(page)
            page.evaluate("document.documentElement.dataset.theme = 'light'")
            found[path] = Visit(width, nameless, theme, dark, faults(page, CONTRAST))
            page.evaluate("document.documentElement.dataset.theme = 'dark'")
    return found


def test_no_page_keeps_anybody_out(visits: dict[str, Visit]) -> None:
    assert {path: visit.faults for path, visit in visits.items() if visit.faults} == {}
    assert {path: visit.faults_in_light for path, visit in visits.items() if visit.faults_in_light} == {}
    assert {visit.theme for visit in visits.values()} == {"dark"}


def test_a_phone_needs_no_scrolling_to_the_side(visits: dict[str, Visit]) -> None:
    assert {path: visit.width_on_phone for path, visit in visits.items() if visit.width_on_phone > 360} == {}


def test_every_field_picture_and_button_has_a_name(visits: dict[str, Visit]) -> None:
    assert {path: visit.nameless for path, visit in visits.items() if visit.nameless} == {}


def test_a_light_screen_gets_a_light_page(chromium: Browser, url: str) -> None:
    with opened(chromium, url, scheme="light", still=True) as (page, _):
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.evaluate("document.documentElement.dataset.theme") == "light"
        assert faults(page, CONTRAST) == []


def test_a_page_that_keeps_somebody_out_is_noticed(chromium: Browser, url: str) -> None:
    with opened(chromium, url) as (page, _):
        # Beside what the page draws anew whenever there is news.
        page.evaluate("() => document.body.append(document.createElement('button'))")
        assert "button-name" in str(faults(page))


def press_until(page: Page, key: str, reached: str) -> None:
    """Press a key until what is focused matches a selector."""
    for _ in range(80):
        page.keyboard.press(key)
        if page.evaluate("selector => document.activeElement.matches(selector)", reached):
            return
    raise AssertionError(f"{reached} is not reached by {key}")


def test_a_lamp_is_registered_and_arranged_by_keyboard_alone(chromium: Browser, url: str) -> None:
    with opened(chromium, url) as (page, _):
        expect(page.get_by_role("region", name="Room demo-office")).to_be_visible()
        press_until(page, "Tab", "a[href='#/add']")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Add to the fleet")
        press_until(page, "Tab", "[name=name]")
        page.keyboard.type("cellar")
        press_until(page, "Tab", "[name=id]")
        page.keyboard.type("3c71bff93755")
        page.keyboard.press("Enter")
        expect(page.locator(".secret")).to_be_visible()
        press_until(page, "Tab", "a[href='#/device/cellar']")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("cellar")
        press_until(page, "Tab", "[aria-label=Arrange] [name=room]")
        page.keyboard.type("demo-k")
        press_until(page, "Tab", "[aria-label=Arrange] button.main")
        page.keyboard.press("Enter")
        expect(page.locator("#note")).to_have_text("cellar is arranged")
    assert requests.get(f"{url}api/devices/cellar", timeout=5).json()["room"] == "demo-kitchen"


def test_a_phone_shows_the_wall_and_lets_a_lamp_blink(chromium: Browser, url: str) -> None:
    with opened(chromium, url, size=(360, 740)) as (page, _):
        expect(page.get_by_role("region", name="Room demo-office")).to_be_visible()
        for place in page.locator(".room .lamp").all():
            box = place.bounding_box()
            assert box is not None
            assert box["width"] >= 44
            assert box["height"] >= 44
        page.locator("[data-device=demo-shelf]").click()
        page.get_by_role("button", name="Let it blink").click()
        expect(page.locator("#note")).to_have_text("demo-shelf blinks for 10 seconds")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_job_is_added_explained_paused_and_removed(chromium: Browser, url: str) -> None:
    with opened(chromium, url + DESK) as (page, _):
        jobs = page.get_by_role("region", name="Jobs")
        jobs.get_by_text("Add a job").click()
        jobs.get_by_label("Name of the job").fill("heat")
        jobs.get_by_label("Pin", exact=True).fill("22")
        jobs.get_by_label("Goes by").select_option("a value")
        jobs.locator("[name=source]").fill("demo-desk/temperature_c")
        jobs.get_by_label("Border").fill("5")
        jobs.get_by_label("Begins at").fill("00:00")
        jobs.get_by_label("For how many hours").fill("24")
        jobs.get_by_role("button", name="Add the job").click()
        expect(jobs).to_contain_text("On while demo-desk/temperature_c is below 5 °C, all day, every day.")
        requests.post(f"{url}api/devices/demo-desk/visit", timeout=10).raise_for_status()
        expect(jobs).to_contain_text("beyond 5", timeout=20_000)
        jobs.get_by_role("button", name="Pause heat").click()
        expect(jobs.locator(".pill").first).to_contain_text("paused")
        page.on("dialog", lambda dialog: dialog.accept())
        jobs.get_by_role("button", name="Remove heat").click()
        expect(jobs).to_contain_text("It has no jobs")


def test_a_group_is_arranged_by_forms(chromium: Browser, url: str) -> None:
    requests.post(f"{url}api/groups", json={"name": "lab", "targets": ["demo-calm"]}, timeout=5).raise_for_status()
    with opened(chromium, f"{url}#/group/lab") as (page, _):
        limits = page.get_by_role("region", name="Its limits")
        limits.get_by_label("Latency, red at (ms)").fill("99")
        limits.get_by_role("button", name="Save limits").click()
        expect(limits).to_contain_text("Latency, red at (ms) – its own")
        page.get_by_role("region", name="Targets to add").get_by_label("Target").select_option("demo-busy")
        page.get_by_role("button", name="Add it").click()
        page.get_by_role("button", name="Leave demo-calm out").click()
        expect(page.get_by_role("region", name="Targets", exact=True).get_by_role("link")).to_have_text(["demo-busy"])
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("button", name="Resume")).to_be_visible()
        expect(page.locator(".head .pill")).to_contain_text("paused")
        row = requests.get(f"{url}api/groups/lab", timeout=5).json()
        assert (row["thresholds"]["latency_red_ms"], row["targets"], row["paused"]) == (99, ["demo-busy"], True)
        page.on("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Remove this group").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Rooms")


def test_brightness_is_moved_and_something_else_is_shown_for_a_while(chromium: Browser, url: str) -> None:
    with opened(chromium, url + DESK) as (page, _):
        light = page.get_by_role("region", name="Its light")
        light.get_by_role("slider").fill("40")
        expect(page.locator("#note")).to_have_text("demo-desk stays at 40 percent")
        row = requests.get(f"{url}api/devices/demo-desk", timeout=5).json()
        assert row["own_brightness"] == 40
        light.get_by_role("button", name="As its room").click()
        expect(page.locator("#note")).to_contain_text("as bright as its room again")
        light.get_by_role("button", name="Red").click()
        expect(light).to_contain_text("It shows what it was told, not its level.")
        light.get_by_role("button", name="Its level").click()
        expect(light).to_contain_text("It shows its level.")


def test_a_day_of_a_target_is_drawn(chromium: Browser, fleet: Fleet, url: str) -> None:
    # The thread of the tests belongs to the browser's loop.
    with ThreadPoolExecutor(1) as other:
        other.submit(asyncio.run, remember_a_day(fleet)).result()
    with opened(chromium, f"{url}#/target/demo-calm") as (page, _):
        with page.expect_response(re.compile("seconds=86400")) as answer:
            page.get_by_role("button", name="24 h").click()
        told = answer.value.json()
        assert told["step_ms"] >= 60_000
        assert len(told["at_ms"]) > 100
        expect(page.get_by_role("region", name="Heartbeat")).to_contain_text("up;")
        page.wait_for_function("() => document.querySelectorAll('.beats .ok, .beats .some, .beats .all').length >= 55")
        assert page.locator(".beats .all").count() > 0


async def remember_a_day(fleet: Fleet) -> None:
    """Store a day of minutes: calm, but for the last hour but six, when all was lost."""
    resolution = next(one for one in history.RESOLUTIONS if one.name == "1m")
    async with open_store(f"unix://{fleet.home}/.espfleet/redis.sock", name="test") as store:
        now_ms = int(time.time() * 1_000)
        for run in range((now_ms - 86_400_000) // resolution.run_ms, now_ms // resolution.run_ms + 1):
            table = np.zeros((1, resolution.run), POINT)
            at_ms = run * resolution.run_ms + np.arange(resolution.run) * resolution.step_ms
            past = (at_ms > now_ms - 86_400_000) & (at_ms < now_ms - 120_000)
            dead = past & (at_ms > now_ms - 7 * 3_600_000) & (at_ms < now_ms - 6 * 3_600_000)
            table["count"][0, past] = 60
            table["lost"][0, dead] = 60
            for name in set(POINT.names or ()) - {"count", "lost"}:
                table[name][0, past & ~dead] = 20_000
            await history.write(store, resolution, run * resolution.run_ms, ["demo-calm"], table)


def test_readings_come_by_themselves(watched: Watched) -> None:
    expect(watched.uptime).not_to_have_text(watched.before, timeout=20_000)
    asked = [one for one in watched.asked if "/readings" in one]
    # Nothing but the past of a value, once, when it is first heard of.
    assert not [one for one in asked if one.endswith("/readings")]
    assert len(asked) == len(set(asked))
    expect(watched.page.get_by_role("region", name="Came and went").get_by_role("img")).to_have_attribute(
        "aria-label", re.compile("^Connected for .* of the last 24 hours$")
    )


def test_a_link_opens_the_wall_on_a_screen_until_it_is_ended(chromium: Browser, fleet: Fleet, url: str) -> None:
    link = fleet.ask("token", "hall-tv", "kiosk")["link"]
    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    page, seen = context.new_page(), Seen(expected=("401",))
    seen.watch(page)
    page.goto(link)
    expect(page.get_by_role("region", name="Room demo-office")).to_contain_text("demo-desk")
    # The token is neither in the address nor where scripts can read it.
    assert page.evaluate("location.hash + document.cookie") == "#/kiosk"
    for kind in ("a", "button", "input", "select", "nav"):
        assert page.locator(f"{kind}:visible").count() == 0, kind
    bottoms = page.eval_on_selector_all(".room", "rooms => rooms.map((room) => room.getBoundingClientRect().bottom)")
    assert max(bottoms) <= 720
    expect(page.locator(".kiosk .time")).to_have_text(re.compile(r"^\d\d:\d\d$"))
    # Whoever gets hold of the screen may look, and nothing else.
    page.goto(f"{url}#/device/demo-desk")
    expect(page.get_by_role("heading", level=1)).to_have_text("demo-desk")
    expect(page.get_by_role("button", name="Let it blink")).to_have_count(0)
    assert page.evaluate("fetch('/api/rooms', {method: 'POST', body: '{}'}).then((one) => one.status)") in (403, 422)
    page.goto(f"{url}#/kiosk")
    expect(page.get_by_role("region", name="Room demo-office")).to_be_visible()
    fleet.ask("token", "hall-tv", "remove")
    expect(page.get_by_role("heading", level=1)).to_have_text("This link has ended")
    assert not seen.strangers
    context.close()


# The last one, for here a token is wanted.
def test_an_admin_lets_people_in_and_out(chromium: Browser, url: str) -> None:
    with opened(chromium, f"{url}#/access") as (page, seen):
        seen.expected = ("401",)
        page.on("dialog", lambda dialog: dialog.accept())
        form = page.get_by_role("region", name="Make a token")
        form.get_by_label("Name").fill("laptop")
        form.get_by_label("May").select_option("admin")
        form.get_by_role("button", name="Make a token").click()
        token = form.locator(".secret").inner_text()
        # Who made it is in; nobody else is.
        expect(page.get_by_role("region", name="Tokens")).to_contain_text("laptop")
        assert requests.get(f"{url}api/rooms", timeout=5).status_code == 401
        page.reload()
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
        # A screen gets no more than a viewer's rights, and nothing stays of a token that has them.
        page.goto("about:blank")
        page.goto(f"{url}#/kiosk/{token}")
        expect(page.get_by_role("heading", level=1)).to_have_text("This link opens nothing")
        expect(page.get_by_role("alert").first).to_contain_text("needs the token of a viewer")
        page.goto("about:blank")
        page.goto(url)
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert").first).to_contain_text("this token is not known")
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("region", name="Room demo-office")).to_be_visible()
        page.goto(f"{url}#/access")
        page.get_by_role("button", name="End the token laptop").click()
        # It was the last one: whoever is on this machine may do all again, and the browser forgets its login.
        expect(page.get_by_role("region", name="Tokens")).to_contain_text("Nobody: whoever uses this machine")
        page.reload()
        expect(page.get_by_role("region", name="Make a token")).to_be_visible()
        assert not page.context.cookies()
