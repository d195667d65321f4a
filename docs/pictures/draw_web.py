"""Draw wall.png, smoke.png and device.png of a running fleet: ``python docs/pictures/draw_web.py http://127.0.0.1:8000/``."""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
PICTURES = (
    ("wall.png", "", (1280, 720)),
    ("smoke.png", "#/target/demo-mixed", (1280, 840)),
    ("device.png", "#/device/demo-desk", (1280, 840)),
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def main(url: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium-headless-shell", args=FLAGS)
        for name, path, (width, height) in PICTURES:
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="dark")
            page.goto(url + path)
            page.wait_for_timeout(3_000)
            page.screenshot(path=HERE / name)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
