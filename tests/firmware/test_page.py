"""A lamp's own page in a real browser, of the size of a phone."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.firmware.pages import Pages
from tests.firmware.servers import serving
from tests.firmware.test_portal import NEW, alone, good
from tests.firmware.together import Boards
from tests.web.browser import PATIENCE_MS, browser, opened

pytestmark = [pytest.mark.package("chromium-headless-shell"), pytest.mark.slow, pytest.mark.timeout(180)]

PHONE = (360, 740)
REFUSED = ("400 (Refused)", "401 (Refused)")


Visit = Callable[[str, Callable[[Browser, str], None]], Awaitable[None]]


@pytest.fixture(scope="module")
def visit() -> Iterator[Visit]:
    """Run a browser in a thread of its own: the lamp's lines are read by that of the test meanwhile."""
    with ThreadPoolExecutor(1) as thread, ExitStack() as stack:
        running = thread.submit(stack.enter_context, browser()).result()

        async def visit(url: str, act: Callable[[Browser, str], None]) -> None:
            await asyncio.wrap_future(thread.submit(act, running, url))

        try:
            yield visit
        finally:
            # Only that thread may end it.
            thread.submit(stack.close).result()


async def lamp(boards: Boards, **settings: Any) -> Pages:
    board = boards(**settings)
    board.power_on()
    return await Pages(board).ready()


def fits(page: Page) -> bool:
    """Tell whether nothing has to be scrolled sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


async def test_a_person_tries_the_light_switches_a_pin_and_changes_settings(boards: Boards, visit: Visit) -> None:
    one = await lamp(boards, token="")
    one.board.world("climate", '{"temperature": 21.5, "humidity": 40.2}')
    one.board.world("pins", '{"34": 1000}')

    def act(running: Browser, url: str) -> None:
        with opened(running, url, size=PHONE) as (page, _):
            expect(page.locator("#look")).to_have_text("no settings")
            expect(page.get_by_label("Token", exact=True)).to_be_hidden()
            expect(page.get_by_role("button", name="25 low")).to_be_visible()
            assert fits(page)
            page.get_by_label("Try a level").fill("100")
            expect(page.locator("#look")).to_have_text("override 100")
            page.get_by_role("button", name="Show the real one").click()
            expect(page.locator("#look")).to_have_text("no settings")
            page.get_by_role("button", name="Blink").click()
            expect(page.get_by_role("status")).to_have_text("It blinks for 10 seconds.")
            page.get_by_role("button", name="25 low").click()
            expect(page.get_by_role("button", name="25 high")).to_have_attribute("aria-pressed", "true")
            page.get_by_label("pin to measure").fill("34")
            page.get_by_role("button", name="Voltage").click()
            expect(page.locator("#measured")).to_have_text("1000 of 4095, 800 mV")
            page.get_by_label("pin to measure").fill("13")
            page.get_by_role("button", name="DHT22").click()
            expect(page.locator("#measured")).to_have_text("21.5 °C, 40.2 %")
            page.get_by_role("button", name="Save").click()
            expect(page.get_by_role("status")).to_have_text("Nothing has changed.")
            page.get_by_label("brightness").fill("60")
            page.get_by_label("Wi-Fi").nth(1).fill("new")
            page.get_by_label("password").nth(1).fill("new-secret")
            page.get_by_role("button", name="Save").click()
            expect(page.get_by_role("status")).to_contain_text("Saved.")
            expect(page.get_by_label("Wi-Fi")).to_have_count(3)
            assert "secret" not in page.content()

    await visit(f"http://{one.host}/ui", act)
    stored = json.loads((one.board.folder / "settings.json").read_text())
    assert (stored["brightness"], stored["networks"]) == (60, [{"ssid": "home"}, {"ssid": "new"}])
    secrets = json.loads(bytes.fromhex(json.loads((one.board.folder / "nvs").read_text())[f"secrets{stored['vault']}"]))
    assert secrets["wifi"] == {"home": "home-secret", "new": "new-secret"}


async def test_the_page_of_a_registered_lamp_has_a_field_for_its_token(boards: Boards, visit: Visit) -> None:
    one = await lamp(boards, token="the-token", gateway="ws://127.0.0.1:9")

    def act(running: Browser, url: str) -> None:
        with opened(running, url, size=PHONE) as (page, seen):
            seen.expected = REFUSED
            expect(page.locator("#look")).to_have_text("no gateway")
            expect(page.locator("#why")).to_contain_text("127.0.0.1:9 cannot be reached")
            page.get_by_role("button", name="25 low").click()
            expect(page.get_by_role("status")).to_contain_text("this lamp is registered and wants its token")
            page.get_by_label("Token", exact=True).fill("the-token")
            page.get_by_role("button", name="25 low").click()
            expect(page.get_by_role("button", name="25 high")).to_be_visible()
            page.get_by_role("button", name="18").click()
            expect(page.get_by_role("status")).to_contain_text("pin 18 of this ESP32 cannot be switched")
            page.reload()
            # Kept by this browser, until the window is closed.
            page.get_by_role("button", name="25 high").click()
            expect(page.get_by_role("button", name="25 low")).to_be_visible()
            # A lamp without power refuses nothing: what is asked waits.
            page.route("**/state", lambda _: None)
            expect(page.locator("#look")).to_have_text("The lamp does not answer.")

    await visit(f"http://{one.host}/ui", act)


async def test_a_person_sets_a_lamp_up_on_its_own_network(boards: Boards, visit: Visit) -> None:
    async with serving(good) as gateway, alone(boards, speed=4) as one:

        def act(running: Browser, url: str) -> None:
            with opened(running, url, size=PHONE) as (page, seen):
                seen.expected = REFUSED
                told = page.get_by_role("status")
                expect(page.locator("#who")).to_contain_text("3c71bff93720")
                assert fits(page)
                expect(page.locator("#locked")).to_be_hidden()
                page.get_by_role("button", name="Look for networks").click()
                expect(told).to_have_text("cafe, new")
                page.get_by_label("Wi-Fi").fill(NEW["ssid"])
                page.get_by_label("Password").fill("short")
                page.get_by_role("button", name="Try and keep").click()
                expect(told).to_contain_text("a password of at least 8 characters")
                page.get_by_label("Password").fill("wrong-one")
                page.get_by_role("button", name="Try and keep").click()
                expect(told).to_have_text("Nothing is changed: new: the password is wrong.", timeout=PATIENCE_MS)
                page.get_by_label("Password").fill(NEW["password"])
                page.get_by_label("Address of the fleet").fill(gateway.url)
                page.get_by_label("Name of the lamp").fill("porch")
                page.get_by_role("button", name="Try and keep").click()
                expect(told).to_contain_text(
                    re.compile("It works and is kept.*http://192.168.1.23/ui"), timeout=PATIENCE_MS
                )

        await visit(f"http://{one.host}/setup", act)
        await one.board.line("wifi: joined as 192.168.1.23")
