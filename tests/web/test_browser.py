"""The dashboard in a real browser, on a whole fleet: what a person sees, and does by mouse, keyboard and phone."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests.web.browser import PATIENCE_MS, browser, opened
from tests.whole.fleet import Fleet, wait_for

pytestmark = [pytest.mark.package("chromium"), pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    one = Fleet(tmp_path_factory.mktemp("web"))
    with one.up():
        wait_for(lambda: "Running" in (one.home / "up.log").read_text(), 30, lambda: (one.home / "up.log").read_text())
        wait_for(lambda: [row for row in one.devices().values() if row["presence"] == "live"][2:], 30, one.devices)
        wait_for(lambda: answers(one.web_port), 30, lambda: (one.home / "up.log").read_text())
        yield one


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/readyz", timeout=1).ok
    except requests.ConnectionError:
        return False


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture
def url(fleet: Fleet) -> str:
    return f"http://127.0.0.1:{fleet.web_port}/"


def brightness(page: Page, selector: str) -> list[int]:
    """Return red, green and blue that a lamp glows with."""
    told = page.eval_on_selector(selector, "element => getComputedStyle(element).getPropertyValue('--c')")
    return [int(part) for part in told.removeprefix("rgb(").removesuffix(")").split()]


def test_the_wall_shows_rooms_with_level_word_and_lamps(chromium: Browser, url: str) -> None:
    with opened(chromium, url) as (page, _):
        office = page.get_by_role("region", name="Room demo-office")
        expect(office).to_contain_text("demo-desk")
        # It is orange, and now and then red.
        expect(office.locator(".pill")).to_have_text(re.compile("orange|red"))
        expect(page.locator("#link")).to_have_text("live")
        page.wait_for_timeout(600)
        red, green, _ = brightness(page, "[data-room=demo-office]")
        assert red > 180
        assert green < 220
        _, green, blue = brightness(page, "[data-room=demo-kitchen]")
        assert green > 120
        assert blue == 0


def test_the_wall_moves_when_a_target_stops_answering(chromium: Browser, fleet: Fleet, url: str) -> None:
    fleet.ask("group", "door", "add")
    fleet.ask("room", "hall", "add", "--group", "door")
    with opened(chromium, url) as (page, _):
        fleet.ask("target", "door", "add", "sim://calm?seed=4", "--group", "door", "--interval_ms", "200")
        hall = page.get_by_role("region", name="Room hall")
        expect(hall.locator(".pill")).to_contain_text("green", timeout=PATIENCE_MS)
        fleet.ask("target", "door", "set", "--address", "sim://dead")
        expect(hall.locator(".pill")).to_contain_text("red", timeout=PATIENCE_MS)
        page.wait_for_timeout(700)
        red, green, _ = brightness(page, "[data-room=hall]")
        assert red > 200
        assert green < 60


def test_a_killed_lamp_shows_offline_within_four_seconds(chromium: Browser, fleet: Fleet, url: str) -> None:
    with opened(chromium, url) as (page, _):
        lamp = page.locator("[data-device=demo-fridge]")
        expect(lamp.locator(".state")).to_have_text("live")
        (pid,) = fleet.processes()["run lamps"]
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            expect(lamp.locator(".state")).to_contain_text("offline", timeout=8_000)
            took_s = time.monotonic() - began
            expect(lamp).to_have_class("lamp gone")
        finally:
            os.kill(pid, signal.SIGCONT)
        assert took_s < 4.0 + 0.5 * ("CI" in os.environ)
        expect(lamp.locator(".state")).to_have_text("live")


def test_a_lamp_is_registered_by_form(chromium: Browser, url: str) -> None:
    with opened(chromium, f"{url}#/add") as (page, seen):
        form = page.get_by_role("region", name="Register a device")
        form.get_by_label("Name").fill("porch")
        form.get_by_label("Hardware id").fill("nonsense")
        seen.expected = ("422",)
        form.get_by_role("button", name="Register").click()
        expect(form.get_by_role("alert")).to_contain_text("is not a hardware id")
        form.get_by_label("Hardware id").fill("3c71bff93720")
        form.get_by_role("button", name="Register").click()
        expect(form.locator(".secret")).to_have_text(re.compile(r"^[\w-]{43}$"))
        form.get_by_role("link", name="Show it").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("porch")
        expect(page.locator(".pill").first).to_contain_text("offline: never seen")


def test_identify_makes_the_lamp_on_the_screen_blink(chromium: Browser, url: str) -> None:
    with opened(chromium, f"{url}#/device/demo-shelf") as (page, _):
        expect(page.locator(".pill").first).to_contain_text("live")
        page.get_by_role("button", name="Let it blink").click()
        expect(page.locator("#note")).to_have_text("demo-shelf blinks for 10 seconds")
        expect(page.get_by_text("It blinks so that you find it.")).to_be_visible()


def test_a_lamp_is_asked_for_its_state(url: str) -> None:
    told = requests.get(f"{url}api/devices/demo-desk/state", timeout=10).json()
    assert told["f"] > 32


def test_the_smoke_graph_draws(chromium: Browser, url: str) -> None:
    with opened(chromium, f"{url}#/target/demo-busy") as (page, seen):
        # This test itself reads the picture again and again.
        seen.expected = ("willReadFrequently",)
        expect(page.get_by_text("up;")).to_be_visible()
        painted = "() => { const c = document.querySelector('canvas'); const d = c.getContext('2d')"
        painted += ".getImageData(0, 0, c.width, c.height).data; let n = 0;"
        painted += " for (let i = 0; i < d.length; i += 4) if (d[i + 1] > 150 && d[i] < 90 && d[i + 3] > 200) n += 1;"
        painted += " return n > 20; }"
        page.wait_for_function(painted)
        assert page.locator(".beats .ok").count() > 0
        page.get_by_role("button", name="3 h").click()
        expect(page.get_by_role("button", name="3 h")).to_have_attribute("aria-pressed", "true")
        expect(page.get_by_role("region", name="Why").locator(".said")).to_have_count(2)


def test_a_level_is_explained_in_words(chromium: Browser, url: str) -> None:
    with opened(chromium, f"{url}#/room/demo-office") as (page, _):
        expect(page.get_by_text("room 'demo-office' watches group 'demo-internet'")).to_be_visible()
        expect(page.get_by_role("region", name="Target demo-busy")).to_contain_text("red at 150 ms")


def test_everything_is_reached_by_keyboard(chromium: Browser, url: str) -> None:
    with opened(chromium, url) as (page, _):
        expect(page.get_by_role("region", name="Room demo-office")).to_be_visible()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        reached = set()
        for _ in range(40):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.getAttribute('href')"))
        assert {"#/", "#/targets", "#/devices", "#/add", "#/room/demo-office", "#/device/demo-desk"} <= reached
        page.locator("[data-device=demo-desk]").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("demo-desk")
        assert page.evaluate("document.activeElement.id") == "view"


@pytest.mark.parametrize("path", ["", "#/targets", "#/target/demo-busy", "#/device/demo-desk", "#/add", "#/events"])
def test_a_phone_needs_no_scrolling_to_the_side(chromium: Browser, url: str, path: str) -> None:
    with opened(chromium, url + path, size=(360, 740)) as (page, _):
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_every_field_picture_and_button_has_a_name(chromium: Browser, url: str) -> None:
    nameless = """() => [...document.querySelectorAll('input, select, button, a, [role=img]')].filter((one) =>
      !(one.getAttribute('aria-label') || one.labels?.length || one.textContent.trim() || one.title))
      .map((one) => one.outerHTML)"""
    for path in (
        "",
        "#/targets",
        "#/target/demo-busy",
        "#/devices",
        "#/device/demo-desk",
        "#/room/demo-office",
        "#/add",
    ):
        with opened(chromium, url + path) as (page, _):
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            page.wait_for_timeout(200)
            assert page.evaluate(nameless) == []


def test_when_the_server_is_gone_lamps_look_stale_and_come_back(chromium: Browser, fleet: Fleet, url: str) -> None:
    with opened(chromium, url) as (page, seen):
        expect(page.locator("[data-device=demo-desk] .state")).to_have_text("live")
        seen.expected = ("ERR_", "Failed to load")
        (pid,) = fleet.processes()["run web"]
        os.kill(pid, signal.SIGKILL)
        # A fleet starts its web again at once, so hold what comes after it for as long as it takes to be noticed.
        page.context.set_offline(True)
        expect(page.locator("#link")).to_have_text("no connection")
        expect(page.locator("[data-device=demo-desk] .state")).to_have_text("stale")
        page.context.set_offline(False)
        expect(page.locator("#link")).to_have_text("live", timeout=PATIENCE_MS)
        expect(page.locator("[data-device=demo-desk] .state")).to_have_text("live")


def test_the_first_page_is_light(chromium: Browser, url: str) -> None:
    sizes: list[int] = []
    with opened(chromium, "about:blank") as (page, _):
        page.on("response", lambda answer: sizes.append(int(answer.headers.get("content-length", 0))))
        page.goto(f"{url}#/target/demo-busy")
        page.wait_for_function("() => window.Chart !== undefined")
    assert 100_000 < sum(sizes) < 500_000, json.dumps(sizes)
