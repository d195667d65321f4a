"""What is drawn and listed of pins is what the lamp's program does."""

from __future__ import annotations

import importlib.util
import re
import xml.etree.ElementTree as ElementTree
from types import ModuleType

import pytest

from tests.firmware.conftest import ROOT

PICTURES = ROOT / "docs" / "pictures"
NAMES = {"ESP32": "ESP32", "ESP32-S2": "ESP32S2", "ESP32-S3": "ESP32S3", "ESP32-C3": "ESP32C3", "ESP32-C6": "ESP32C6"}


def drawing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_wiring", PICTURES / "draw_wiring.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


chips = drawing().table_of_chips()


def test_the_pictures_are_those_that_are_drawn() -> None:
    drawn = drawing().pictures()
    assert {path.name for path in PICTURES.glob("wiring-*.svg")} == drawn.keys()
    for name, picture in drawn.items():
        assert (PICTURES / name).read_text(encoding="utf-8") == picture, "draw it again: docs/pictures/draw_wiring.py"


@pytest.mark.parametrize(
    ("name", "pins"),
    [("leds", 3), ("rgb-cathode", 3), ("rgb-anode", 3), ("led", 1), ("strip", 1)],
)
def test_a_picture_shows_the_pins_that_the_lamp_uses_by_itself_and_can_be_read_to_those_who_do_not_see(
    name: str, pins: int
) -> None:
    root = ElementTree.parse(PICTURES / f"wiring-{name}.svg").getroot()
    words = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    usual = [f"GPIO{pin}" for pin in chips.find("ESP32")[4][:pins]]
    assert [word for word in words if word.startswith("GPIO")] == usual
    assert ("3V3" in words) == (name == "rgb-anode")
    about = root.findtext("{http://www.w3.org/2000/svg}desc") or ""
    assert all(pin in about for pin in usual)
    assert "prefers-color-scheme: dark" in (root.findtext("{http://www.w3.org/2000/svg}style") or "")


def numbers(text: str) -> list[int]:
    found: list[int] = []
    for word in text.replace("–", "-").split():
        first, _, last = word.partition("-")
        if first:
            found += range(int(first), int(last or first) + 1)
    return found


def test_the_pins_of_each_chip_are_listed_as_the_program_knows_them() -> None:
    page = (ROOT / "docs" / "firmware.md").read_text()
    rows = re.findall(r"^\| (ESP32\S*) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE)
    assert [name for name, *_ in rows] == list(NAMES)
    for name, usual, outputs, inputs, analogue in rows:
        _, *known = chips.find(f"a board with {NAMES[name]}")
        listed = [numbers(outputs), numbers("" if inputs == "–" else inputs), numbers(analogue), numbers(usual)]
        assert listed == [list(pins) for pins in known], name


def test_the_usual_pins_of_the_light_are_those_of_the_first_board() -> None:
    page = (ROOT / "docs" / "first-board.md").read_text()
    rows = re.findall(r"^\| (ESP32[^|]*) \| (\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    told = {}
    for names, *pins in rows:
        for end in re.split(r", ", names.removeprefix("ESP32")):
            told[f"ESP32{end}"] = [int(pin) for pin in pins]
    assert told == {name: list(chips.find(f"a board with {chip}")[4]) for name, chip in NAMES.items()}
