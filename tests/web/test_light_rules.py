"""Lamps on the dashboard follow the same rules as real ones, number for number."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from espfleet.domain.light import HeardLevel, Link, Look, Override, Situation, look_of
from espfleet.domain.light_glow import Glow
from espfleet.domain.light_patterns import Colour, colour_of, on_screen
from espfleet.domain.states import State
from espfleet.web.pages import FOLDER
from tests.web.browser import browser

pytestmark = [pytest.mark.package("chromium-headless-shell"), pytest.mark.timeout(120)]

NOW_MS = 100_000.0
NAMES = {
    "started_ms": "startedMs", "period_ms": "periodMs", "identify_until_ms": "identifyUntilMs", "at_ms": "atMs",
    "lease_ms": "leaseMs", "until_ms": "untilMs",
}  # fmt: skip


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """Return a page that has loaded the rules, without a server."""
    with browser() as running:
        page = running.new_page()
        page.goto("about:blank")
        module = json.dumps((FOLDER / "light.js").read_text())
        page.evaluate(
            f"async () => {{ const blob = new Blob([{module}], {{type: 'text/javascript'}});"
            "window.light = await import(URL.createObjectURL(blob)); }"
        )
        yield page


def situations() -> list[Situation]:
    heard: list[HeardLevel | None] = [None]
    for level, state, silence_ms in itertools.product(
        (0, 25, 50, 73, 100), State, (0, 400, 749, 750, 1_250, 1_499, 1_500, 9_000)
    ):
        heard.append(HeardLevel(level=level, state=state, at_ms=NOW_MS - silence_ms, lease_ms=1_500))
    found = [
        Situation(started_ms=started_ms, link=link, heard=one)
        for started_ms, link, one in itertools.product((0.0, NOW_MS - 450), Link, heard)
    ]
    base = Situation(started_ms=0.0, link=Link.CONNECTED, heard=heard[1])
    more = [
        {"identify_until_ms": NOW_MS + 1}, {"identify_until_ms": NOW_MS}, {"updating": True},
        {"override": Override(level=None, until_ms=NOW_MS + 1)}, {"override": Override(level=80, until_ms=NOW_MS + 1)},
        {"override": Override(level=80, until_ms=NOW_MS)},
    ]  # fmt: skip
    return [*found, *(Situation(started_ms=0.0, link=base.link, heard=base.heard, **one) for one in more)]  # type: ignore[arg-type]


def as_js(situation: Situation) -> dict[str, object]:
    def plain(thing: object) -> object:
        if hasattr(thing, "__slots__"):
            return {NAMES.get(name, name): plain(getattr(thing, name)) for name in thing.__slots__}
        return thing

    return plain(situation)  # type: ignore[return-value]


def described(look: Look) -> list[object]:
    moments = [list(look.aims_at(NOW_MS + step)) for step in range(0, 6_100, 97)]
    return [look.word.value, look.pattern.value, look.cycle_ms, look.level, look.dimmable, moments]


def test_every_situation_looks_the_same(page: Page) -> None:
    asked = situations()
    # As text, for a browser hands over each number of a list by itself.
    text = page.evaluate(
        """(all) => JSON.stringify(JSON.parse(all).map((one) => {
          const look = light.lookOf(one, 100000);
          const moments = [];
          for (let step = 0; step < 6100; step += 97) moments.push(light.aimsAt(look, 100000 + step));
          return [look.word, look.pattern, look.cycleMs, look.level, look.dimmable, moments];
        }))""",
        json.dumps([as_js(one) for one in asked]),
    )
    for situation, theirs in zip(asked, json.loads(text), strict=True):
        mine = described(look_of(situation, NOW_MS))
        assert mine[:5] == theirs[:5], situation
        assert_close(mine[5], theirs[5])


def test_every_level_has_the_same_colour(page: Page) -> None:
    told = page.evaluate("() => Array.from({length: 101}, (_, level) => light.onScreen(light.colourOf(level)))")
    # Python rounds halves to the even number, the browser up: one of 255 may differ.
    for level, theirs in enumerate(told):
        assert max(abs(a - b) for a, b in zip(on_screen(colour_of(level)), theirs, strict=True)) <= 1


@pytest.mark.parametrize("afterglow", [True, False])
def test_light_fades_the_same_way(page: Page, afterglow: bool) -> None:
    steps = [(number * 37.0 + (number % 3) * 11, colour_of((number * 41) % 101)) for number in range(1, 120)]
    told = page.evaluate(
        """([steps, afterglow]) => { let glow = new light.Glow(); return steps.map(([at, target]) => {
          glow = glow.toward(target, at, afterglow); return glow.colour; }); }""",
        [[[at_ms, list(target)] for at_ms, target in steps], afterglow],
    )
    glow, mine = Glow(), []
    for at_ms, target in steps:
        glow = glow.toward(Colour(*target), at_ms, afterglow=afterglow)
        mine.append(list(glow.colour))
    assert_close(mine, told)


def assert_close(mine: object, theirs: object) -> None:
    for ours, other in zip(mine, theirs, strict=True):  # type: ignore[call-overload]
        assert all(math.isclose(a, b, abs_tol=1e-9) for a, b in zip(ours, other, strict=True))
