"""What the tests of the web share: a web server, a whole fleet with its demo, and a browser to look at it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Browser

from tests.web.browser import browser
from tests.web.serving import web as web
from tests.whole.fleet import Fleet, wait_for


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet with its demo, for the tests of one file."""
    one = Fleet(tmp_path_factory.mktemp("web"))
    with one.up() as up:
        wait_for(lambda: has_lamps(one), 60, up.said)
        yield one


def has_lamps(fleet: Fleet) -> bool:
    """Return whether the dashboard answers and the demo's lamps have come."""
    try:
        rows = requests.get(f"http://127.0.0.1:{fleet.web_port}/api/devices?state=live", timeout=30).json()
    except requests.RequestException:
        return False
    return int(rows.get("total", 0)) >= 3


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture
def url(fleet: Fleet) -> str:
    return f"http://127.0.0.1:{fleet.web_port}/"
