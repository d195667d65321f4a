"""The page of the cameras in a real browser, on a whole fleet with simulated cameras."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Browser, expect

from tests.web.browser import PATIENCE_MS, browser, opened
from tests.whole.fleet import Fleet, wait_for

pytestmark = [pytest.mark.package("chromium"), pytest.mark.slow, pytest.mark.timeout(180)]

#: Draws what the page shows now and returns a sum over its pixels.
LOOK = """() => { const image = document.getElementById('picture'), canvas = document.createElement('canvas');
  canvas.width = 32; canvas.height = 24; const pen = canvas.getContext('2d');
  if (!image.naturalWidth) return 0;
  pen.drawImage(image, 0, 0, 32, 24);
  const data = pen.getImageData(0, 0, 32, 24).data;
  return data.reduce((sum, value, at) => (sum * 31 + value * (at + 1)) % 1000003, 7); }"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    one = Fleet(tmp_path_factory.mktemp("hub"))
    with one.up("--nodemo"):
        log = one.home / "up.log"
        wait_for(lambda: answers(one, "/api/cameras") == [], 30, log.read_text)
        yield one


def answers(fleet: Fleet, path: str) -> object:
    try:
        answer = requests.get(f"http://127.0.0.1:{fleet.web_port}{path}", timeout=2)
    except requests.ConnectionError:
        return None
    return answer.json() if answer.ok else None


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


def test_the_page_says_how_to_get_a_camera_then_its_picture_moves_and_a_killed_one_is_offline(
    chromium: Browser, fleet: Fleet
) -> None:
    with opened(chromium, f"http://127.0.0.1:{fleet.web_port}/video") as (page, _):
        expect(page.locator("main")).to_contain_text("./espcli simulate --cameras 2")
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
        told = answers(fleet, f"/connection_history?device={name}")
        assert isinstance(told, dict)
        assert told["total_sessions"] == 1
