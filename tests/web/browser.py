"""A real browser on the dashboard of a whole fleet: what a person does and sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

#: Chromium without windows: the same engine, for half the work.
CHROMIUM = "/usr/bin/chromium-headless-shell"
#: The last ones keep it from asking for anything by itself.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # One process for all pages instead of one for each.
    "--renderer-process-limit=1",
    "--disable-site-isolation-trials",
    # Nothing but this machine has an address.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
PATIENCE_MS = 15_000
expect.set_options(timeout=PATIENCE_MS)
#: Beside axe's usual rules: what is pressed must be big enough for a finger.
AXE = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
#: All that differs between dark and light.
CONTRAST = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}


@dataclass
class Seen:
    """What went wrong, or out, while a page was open."""

    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    #: Answers that are failures on purpose.
    expected: tuple[str, ...] = ()

    def watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda told: self.errors.append(told.text) if told.type in ("error", "warning") else None)
        page.on("request", lambda request: self._asked(request.url))

    def _asked(self, url: str) -> None:
        if urlsplit(url).hostname not in ("127.0.0.1", None):
            self.strangers.append(url)

    def check(self) -> None:
        errors = [error for error in self.errors if not any(word in error for word in self.expected)]
        assert not errors, errors
        assert not self.strangers, self.strangers


@contextmanager
def browser() -> Iterator[Browser]:
    """Run Chromium for a while."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield running
        finally:
            running.close()


#: What is kept of each browser: a context takes as long to begin as a page takes to show.
KEPT: WeakKeyDictionary[Browser, dict[tuple[object, ...], BrowserContext]] = WeakKeyDictionary()


def context_of(
    running: Browser, size: tuple[int, int], scheme: Literal["dark", "light"], still: bool, anew: bool
) -> BrowserContext:
    """Return a context for a screen, which is kept for the next one who wants the same unless it is to be new."""
    kept = KEPT.setdefault(running, {})
    wanted = (size, scheme, still)
    if anew or wanted not in kept:
        context = running.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            reduced_motion="reduce" if still else "no-preference",
        )
        context.set_default_timeout(PATIENCE_MS)
        if anew:
            return context
        kept[wanted] = context
    return kept[wanted]


@contextmanager
def opened(
    running: Browser,
    url: str,
    *,
    size: tuple[int, int] = (1280, 800),
    scheme: Literal["dark", "light"] = "dark",
    still: bool = False,
    anew: bool = False,
    picture: Path | None = None,
) -> Iterator[tuple[Page, Seen]]:
    """Open a page; afterwards nothing may have gone wrong on it, and nothing may have left this machine.

    A ``still`` page is that of somebody who wants no motion: what else fades in is there at once. One that is opened
    ``anew`` is that of somebody who has never been here; others find what was fetched before, but nobody's login.
    """
    context = context_of(running, size, scheme, still, anew)
    page, seen = context.new_page(), Seen()
    seen.watch(page)
    try:
        page.goto(url)
        yield page, seen
        if picture is not None:
            page.screenshot(path=picture)
        seen.check()
    finally:
        if anew:
            context.close()
        else:
            context.set_offline(False)
            context.clear_cookies()
            page.close()


def turn(page: Page, url: str) -> None:
    """Go to another page of the dashboard, and wait until it has taken the place of the one before."""
    page.evaluate("() => document.querySelector('main').firstElementChild?.setAttribute('data-before', '')")
    page.goto(url)
    expect(page.locator("[data-before]")).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    # What it asks for as it opens.
    page.wait_for_timeout(200)


def faults(page: Page, options: Mapping[str, object] = AXE) -> list[str]:
    """Return what axe finds wrong with a page, once nothing fades in any more: half faded is too pale for anybody."""
    moves = page.evaluate("() => matchMedia('(prefers-reduced-motion: no-preference)').matches")
    page.emulate_media(reduced_motion="reduce")
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    told = page.evaluate("options => axe.run(options)", dict(options))
    page.emulate_media(reduced_motion="no-preference" if moves else "reduce")
    return [f"{one['id']} ({one['impact']}): {one['nodes'][0]['html']}" for one in told["violations"]]
