"""The dashboard in a real browser, on a whole fleet: what a person sees, and does by mouse, keyboard and phone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time

import pytest
import requests
from playwright.sync_api import Browser, Page, Route, expect

from tests.web.browser import CONTRAST, PATIENCE_MS, faults, opened
from tests.whole.fleet import Fleet

pytestmark = [pytest.mark.package("chromium-headless-shell"), pytest.mark.slow, pytest.mark.timeout(180)]


#: Draws what the page shows now and returns a sum over its pixels.
LOOK = """() => { const image = document.getElementById('picture'), canvas = document.createElement('canvas');
  canvas.width = 32; canvas.height = 24; const pen = canvas.getContext('2d');
  if (!image.naturalWidth) return 0;
  pen.drawImage(image, 0, 0, 32, 24);
  const data = pen.getImageData(0, 0, 32, 24).data;
  return data.reduce((sum, value, at) => (sum * 31 + value * (at + 1)) % 1000003, 7); }"""

#: Lets the clock of a page be wrong by so many ms.
WRONG_CLOCK = """{ const Right = Date;
  window.Date = class extends Right {
    constructor(...given) { if (given.length) super(...given); else super(Right.now() + %(off)d); }
    static now() { return Right.now() + %(off)d; } } }"""


def tell(method: str, url: str, body: object) -> None:
    """Change something in the fleet."""
    requests.request(method, url, json=body, timeout=10).raise_for_status()


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


@pytest.mark.parametrize("name", ["nothing", "__proto__", "constructor"])
def test_a_page_that_is_none_is_said_to_be_none(chromium: Browser, url: str, name: str) -> None:
    with opened(chromium, f"{url}#/{name}") as (page, _):
        expect(page.get_by_role("heading", name="There is no such page")).to_be_visible(timeout=PATIENCE_MS)


def test_the_wall_moves_when_a_target_stops_answering(chromium: Browser, url: str) -> None:
    with opened(chromium, url) as (page, _):
        tell("POST", f"{url}api/groups", {"name": "door"})
        tell("POST", f"{url}api/rooms", {"name": "hall", "group": "door"})
        door = {"name": "door", "address": "sim://calm?seed=4", "group": "door", "interval_ms": 200}
        tell("POST", f"{url}api/targets", door)
        hall = page.get_by_role("region", name="Room hall")
        expect(hall.locator(".pill")).to_contain_text("green", timeout=PATIENCE_MS)
        tell("PATCH", f"{url}api/targets/door", {"address": "sim://dead"})
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


def test_a_room_whose_lamps_are_all_dark_does_not_glow(chromium: Browser, url: str) -> None:
    tell("POST", f"{url}api/rooms", {"name": "cellar", "group": "demo-home"})
    try:
        with opened(chromium, url) as (page, _):
            lit = "room => Number(getComputedStyle(room).getPropertyValue('--lit'))"
            room = page.locator("[data-room=cellar]")
            expect(room.locator(".pill")).to_have_text(re.compile("green"))
            room.scroll_into_view_if_needed()
            page.wait_for_function(f"() => ({lit})(document.querySelector('[data-room=cellar]')) > 0.2")
            tell("POST", f"{url}api/devices", {"name": "mole", "id": "3c71bff93788", "room": "cellar"})
            expect(page.locator("[data-device=mole] .state")).to_contain_text("offline")
            expect(room.locator(".pill")).to_have_text(re.compile("green"))
            page.wait_for_function(f"() => ({lit})(document.querySelector('[data-room=cellar]')) < 0.01")
    finally:
        requests.delete(f"{url}api/devices/mole", timeout=10)
        requests.delete(f"{url}api/rooms/cellar", timeout=10).raise_for_status()


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


def test_what_has_no_light_is_not_drawn_as_a_lamp(chromium: Browser, url: str) -> None:
    tell("POST", f"{url}api/devices", {"name": "eye", "id": "3c71bff93799", "dialect": "hub", "room": "demo-kitchen"})
    try:
        with opened(chromium, url) as (page, _):
            expect(page.locator("[data-device=eye]")).to_have_class(re.compile("unlit"))
            expect(page.locator("[data-device=demo-fridge]")).not_to_have_class(re.compile("unlit"))
            glow = "bulb => getComputedStyle(bulb, '::before').display"
            assert page.locator("[data-device=eye] .bulb").evaluate(glow) == "none"
            page.goto(f"{url}#/device/eye")
            expect(page.get_by_text("It has no light.")).to_be_visible()
            expect(page.get_by_role("link", name="Its picture")).to_be_visible()
            expect(page.get_by_role("button", name="Let it blink")).to_have_count(0)
            expect(page.get_by_label("Brightness, percent")).to_have_count(0)
    finally:
        requests.delete(f"{url}api/devices/eye", timeout=10).raise_for_status()


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


def test_a_graph_is_drawn_once_however_late_its_library_comes(chromium: Browser, url: str) -> None:
    with opened(chromium, url) as (page, _):
        held: list[Route] = []
        asked: list[str] = []
        page.route("**/vendor/chart.js", lambda route: held.append(route))
        page.on("requestfinished", lambda request: asked.append(request.url) if "samples?" in request.url else None)
        page.goto(f"{url}#/target/demo-busy")
        expect(page.get_by_text("up;")).to_be_visible()
        before = len(asked)
        # The page asks again every two seconds, while the library is still awaited.
        while len(asked) < before + 2:
            page.wait_for_timeout(100)
        page.evaluate("""() => { window.said = []; const alert = document.querySelector("[aria-label=Latency] .error");
            new MutationObserver(() => window.said.push(alert.textContent)).observe(alert, { childList: true }); }""")
        held[0].continue_()
        page.wait_for_function("() => window.Chart && window.Chart.getChart(document.querySelector('canvas'))")
        before = len(asked)
        while len(asked) < before + 2:
            page.wait_for_timeout(100)
        assert not [text for text in page.evaluate("window.said") if text]


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


def test_when_the_server_is_gone_no_page_shows_what_it_said_last_as_present(
    chromium: Browser, fleet: Fleet, url: str
) -> None:
    # A browser has six connections to a server for all its tabs, and each page has one or two all the time.
    pages = "devices", "room/demo-kitchen", "targets", "target/demo-calm"
    with opened(chromium, url) as (page, seen):
        seen.expected = ("ERR_", "Failed to load")
        (pid,) = fleet.processes()["run web"]
        tabs = [page.context.new_page() for _ in pages]
        try:
            for name, tab in zip(pages, tabs, strict=True):
                tab.goto(f"{url}#/{name}")
                expect(tab.locator("#view .is-green").first, name).to_be_visible()
            # It does not even refuse: what is asked for then waits.
            os.kill(pid, signal.SIGSTOP)
            for name, tab in zip(pages, tabs, strict=True):
                tab.bring_to_front()
                expect(tab.locator("#view .pill.is-stale").first, name).to_be_visible()
                expect(tab.locator("#view").locator(".is-green, .is-orange, .is-red, .is-live"), name).to_have_count(0)
            os.kill(pid, signal.SIGCONT)
            for name, tab in zip(pages, tabs, strict=True):
                tab.bring_to_front()
                expect(tab.locator("#view .is-green").first, name).to_be_visible()
        finally:
            os.kill(pid, signal.SIGCONT)
            for tab in tabs:
                tab.close()


def test_tabs_that_nobody_looks_at_keep_no_other_from_opening(chromium: Browser, url: str) -> None:
    def hide(tab: Page, hidden: bool) -> None:
        tab.evaluate(
            """hidden => { Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
            document.dispatchEvent(new Event("visibilitychange")); }""",
            hidden,
        )

    # A browser has six connections to a server for all its tabs, and the page of a device holds two of them.
    with opened(chromium, "about:blank") as (page, _):
        tabs = [page.context.new_page() for _ in range(4)]
        try:
            for tab in tabs[:3]:
                tab.clock.install()
                tab.goto(f"{url}#/device/demo-fridge")
                expect(tab.locator("#view .pill.is-live").first).to_be_visible()
            for tab in tabs[:3]:
                hide(tab, True)
                tab.clock.fast_forward(11_000)
            tabs[3].goto(url)
            expect(tabs[3].locator(".room .is-green").first).to_be_visible()
            tabs[3].close()
            hide(tabs[0], False)
            expect(tabs[0].locator("#view .pill.is-live").first).to_be_visible()
            expect(tabs[0].locator("#view .pill.is-stale")).to_have_count(0)
        finally:
            for tab in tabs:
                tab.close()


def test_the_page_of_a_simulated_lamp_shows_nothing_old_when_it_is_frozen(chromium: Browser, url: str) -> None:
    rows = requests.get(f"{url}api/devices", timeout=10).json()["items"]
    address = next(row["address"] for row in rows if row["name"] == "demo-fridge")
    with opened(chromium, f"http://{address}/ui") as (page, _):
        expect(page.locator("#look")).to_have_text(re.compile("level|green|[0-9]"))
        page.route("**/state", lambda _: None)
        expect(page.locator("#look")).to_have_text("switched off")


def test_the_first_page_is_light(chromium: Browser, url: str) -> None:
    sizes: list[int] = []
    with opened(chromium, "about:blank", anew=True) as (page, _):
        page.on("response", lambda answer: sizes.append(int(answer.headers.get("content-length", 0))))
        page.goto(f"{url}#/target/demo-busy")
        page.wait_for_function("() => window.Chart !== undefined")
    assert 100_000 < sum(sizes) < 500_000, json.dumps(sizes)


def test_the_page_says_how_to_get_a_camera_then_its_picture_moves_and_a_killed_one_is_offline(
    chromium: Browser, fleet: Fleet, url: str
) -> None:
    with opened(chromium, f"{url}video") as (page, seen_then):
        # The page asks for the small picture of a camera that has just come, and has sent none yet.
        seen_then.expected = ("404",)
        expect(page.locator("main")).to_contain_text("./espcli simulate --cameras 2")
        assert faults(page) == []
        cameras = subprocess.Popen(
            fleet.command("simulate", "--cameras", "2"), env=fleet.environ, stderr=subprocess.PIPE, text=True
        )
        try:
            buttons = page.locator("[data-camera]")
            expect(buttons).to_have_count(2, timeout=PATIENCE_MS * 2)
            expect(page.locator("#caption")).to_contain_text("live", timeout=PATIENCE_MS)
            seen = {page.evaluate(LOOK)}
            page.wait_for_function(f"(was) => {{ const now = ({LOOK})(); return now && now !== was; }}", arg=seen.pop())
            figures = page.locator("#figures")
            expect(figures).to_contain_text("320x240")
            assert faults(page) == []
            page.evaluate("document.documentElement.dataset.theme = 'light'")
            assert faults(page, CONTRAST) == []
            # Somebody wants more pictures, by keyboard alone.
            expect(page.get_by_role("button", name="500 ms")).to_be_enabled()
            slider = page.get_by_role("slider")
            slider.focus()
            page.keyboard.press("Home")
            expect(page.locator("#note")).to_contain_text("a picture every 100 ms")
            expect(figures).to_contain_text(re.compile(r"aimed at\s*10(\.0)? fps"), timeout=PATIENCE_MS)
            # The other camera shows something else, and says so.
            buttons.nth(1).click()
            name = buttons.nth(1).get_attribute("data-camera")
            assert name is not None
            expect(page.locator("#caption")).to_contain_text(name)
            expect(page.locator("#picture")).to_have_attribute("alt", f"Picture of {name}")
        finally:
            cameras.kill()
            cameras.communicate()
        expect(page.locator("#state")).to_have_text("not connected", timeout=PATIENCE_MS)
        told = requests.get(f"{url}connection_history?device={name}", timeout=5).json()
        assert told["total_sessions"] == 1


def test_a_browser_whose_clock_is_wrong_tells_the_same_ages(chromium: Browser, url: str) -> None:
    for wrong_by_ms in (-3_600_000, 3_600_000):
        with opened(chromium, f"{url}#/device/demo-desk") as (page, _):
            page.add_init_script(WRONG_CLOCK % {"off": wrong_by_ms})
            page.reload()
            off_ms = page.evaluate("() => Date.now()") - time.time() * 1_000
            assert abs(off_ms - wrong_by_ms) < 60_000
            heard = page.locator("dt", has_text="heard").locator("+ dd")
            expect(heard).to_have_text(re.compile(r"^\d s ago$"))
            expect(page.locator("td.num.quiet").first).to_have_text(re.compile(r"^\d+ s ago$"))
