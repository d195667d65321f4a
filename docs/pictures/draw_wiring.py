"""Draw how LEDs are connected: .venv/bin/python docs/pictures/draw_wiring.py.

The pins are those that the lamp's program uses by itself on an ESP32; a test draws again and compares.
"""

from __future__ import annotations

import importlib.util
from html import escape
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent
WIDTH = 640
#: Right edge of the board, where its pins are; resistors, LEDs, and the wire that they share.
PINS, RESISTOR, LED, RAIL = 190, 250, 390, 520
ROW = 52
COLOURS = {"green": "#1f9d3a", "orange": "#f08c00", "red": "#e03131", "blue": "#1c7ed6", "any colour": "#9c6ade"}

HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="t d">
<title id="t">{title}</title>
<desc id="d">{about}</desc>
<style>
.card {{ fill: #fcfbf8; stroke: #c9c4ba }}
.board {{ fill: #e7eef5; stroke: #33475b }}
.part {{ fill: #fcfbf8; stroke: #222; stroke-width: 2 }}
.wire {{ fill: none; stroke: #222; stroke-width: 2 }}
.dot {{ fill: #222 }}
.around {{ fill: none; stroke: #777; stroke-dasharray: 5 4 }}
text {{ font: 14px system-ui, sans-serif; fill: #1b1b1b }}
.small {{ font-size: 12px; fill: #555 }}
.strong {{ font-weight: 600 }}
@media (prefers-color-scheme: dark) {{
.card {{ fill: #1c1e22; stroke: #4a4d55 }}
.board {{ fill: #263444; stroke: #9db4cc }}
.part {{ fill: #1c1e22; stroke: #e6e6e6 }}
.wire {{ stroke: #e6e6e6 }}
.dot {{ fill: #e6e6e6 }}
.around {{ stroke: #aaa }}
text {{ fill: #f0f0f0 }}
.small {{ fill: #b8b8b8 }}
}}
</style>
<rect class="card" x="0.5" y="0.5" width="{inner_width}" height="{inner_height}" rx="10"/>
"""


def table_of_chips() -> ModuleType:
    """Return the lamp's own table of pins."""
    spec = importlib.util.spec_from_file_location("chips", ROOT / "esp32" / "lamp" / "board" / "chips.py")
    assert spec is not None
    assert spec.loader is not None
    chips = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(chips)
    return chips


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """Return a line of text."""
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>\n'


def wire(*points: tuple[float, float]) -> str:
    """Return a wire from point to point."""
    return f'<polyline class="wire" points="{" ".join(f"{x},{y}" for x, y in points)}"/>\n'


def dot(x: float, y: float) -> str:
    """Return where wires meet."""
    return f'<circle class="dot" cx="{x}" cy="{y}" r="4"/>\n'


def board(height: float, pins: list[tuple[str, float]]) -> str:
    """Return a board with its pins at its right edge."""
    drawn = f'<rect class="board" x="24" y="40" width="{PINS - 24}" height="{height}" rx="8"/>\n'
    drawn += text(40, 64, "ESP32", "strong")
    for name, y in pins:
        drawn += f'<rect class="part" x="{PINS - 8}" y="{y - 6}" width="12" height="12"/>\n'
        drawn += text(PINS - 16, y + 5, name, anchor="end")
    return drawn


def resistor(y: float) -> str:
    """Return a resistor in its row."""
    return f'<rect class="part" x="{RESISTOR}" y="{y - 9}" width="66" height="18"/>\n' + text(
        RESISTOR + 33, y - 15, "220 Ω", "small", "middle"
    )


def led(y: float, colour: str, forward: bool = True) -> str:
    """Return an LED in its row; the current flows in the direction of its triangle."""
    tip, back = (LED + 26, LED) if forward else (LED, LED + 26)
    drawn = f'<polygon points="{back},{y - 13} {back},{y + 13} {tip},{y}" fill="{COLOURS[colour]}"/>\n'
    drawn += f'<polyline class="wire" points="{tip},{y - 13} {tip},{y + 13}"/>\n'
    return drawn + text(LED + 40, y - 8, colour, "small")


def leds(title: str, rows: list[tuple[int, str]], *, anode: bool = False, package: str = "") -> str:
    """Return LEDs between pins and one common wire: GND, or 3V3 where they share their anode."""
    height = 130 + ROW * len(rows)
    common = "3V3" if anode else "GND"
    ys = [90 + ROW * number for number in range(len(rows))]
    end = ys[-1] + ROW
    drawn = board(height - 70, [*((f"GPIO{pin}", y) for (pin, _), y in zip(rows, ys, strict=True)), (common, end)])
    for (_, colour), y in zip(rows, ys, strict=True):
        drawn += wire((PINS + 4, y), (RESISTOR, y)) + wire((RESISTOR + 66, y), (LED, y))
        drawn += wire((LED + 26, y), (RAIL, y)) + resistor(y) + led(y, colour, not anode)
        drawn += dot(RAIL, y) if len(rows) > 1 else ""
    drawn += wire((RAIL, ys[0]), (RAIL, end), (PINS + 4, end))
    drawn += text(RESISTOR, end - 8, common, "small")
    if package:
        top, tall = ys[0] - 34, ys[-1] - ys[0] + 62
        drawn += f'<rect class="around" x="{LED - 24}" y="{top}" width="180" height="{tall}" rx="14"/>\n'
        drawn += text(LED + 66, ys[0] - 42, package, "small", "middle")
    about = ", ".join(f"GPIO{pin} through 220 ohms to {colour}" for pin, colour in rows)
    return page(title, f"{about}; all of them share {common}.", height, drawn)


def strip(title: str, pin: int) -> str:
    """Return a strip of WS2812 behind a level shifter, with a supply of its own."""
    data, five, ground = 90, 200, 262
    drawn = board(260, [(f"GPIO{pin}", data), ("5V", five), ("GND", ground)])
    drawn += '<rect class="part" x="250" y="50" width="112" height="100" rx="4"/>\n'
    drawn += text(306, 70, "74AHCT125", "strong", "middle") + text(306, 114, "level shifter", "small", "middle")
    drawn += (
        text(258, 95, "A", "small") + text(344, 95, "Y", "small") + text(306, 142, "VCC   OE   GND", "small", "middle")
    )
    drawn += wire((PINS + 4, data), (250, data)) + wire((362, data), (404, data))
    drawn += '<rect class="part" x="404" y="81" width="50" height="18"/>\n' + text(429, 75, "330 Ω", "small", "middle")
    drawn += wire((454, data), (520, data))
    drawn += '<rect class="part" x="520" y="60" width="96" height="222" rx="6"/>\n'
    drawn += text(568, 52, "WS2812 strip", "small", "middle")
    for name, y in (("DIN", data), ("5V", five), ("GND", ground)):
        drawn += text(530, y + 5, name)
    for number, colour in enumerate(("green", "orange", "red")):
        drawn += f'<rect x="578" y="{110 + 40 * number}" width="26" height="26" rx="4" fill="{COLOURS[colour]}"/>\n'
    drawn += wire((PINS + 4, five), (520, five)) + wire((PINS + 4, ground), (520, ground))
    drawn += wire((272, 150), (272, five)) + dot(272, five)
    drawn += wire((306, 150), (306, 232), (338, 232), (338, 150)) + wire((338, 232), (338, ground))
    drawn += dot(338, 232) + dot(338, ground)
    drawn += wire((429, five), (429, 222)) + wire((429, 240), (429, ground)) + dot(429, five) + dot(429, ground)
    drawn += wire((415, 222), (443, 222)) + wire((415, 240), (443, 240))
    drawn += text(450, 228, "1000 µF", "small") + text(450, 242, "+ to 5V", "small")
    drawn += text(
        24, 326, "60 mA an LED: for more than 8, take the 5V of strip and level shifter from a supply", "small"
    )
    drawn += text(24, 344, "of its own, and join its GND with the board's.", "small")
    about = (
        f"GPIO{pin} through a 74AHCT125 and 330 ohms to DIN; 5 V and GND to the strip, 1000 microfarads between them."
    )
    return page(title, about, 362, drawn)


def page(title: str, about: str, height: float, drawn: str) -> str:
    """Return the whole picture."""
    head = HEAD.format(
        title=escape(title),
        about=escape(about),
        width=WIDTH,
        height=height,
        inner_width=WIDTH - 1,
        inner_height=height - 1,
    )
    return head + text(24, 28, title, "strong") + drawn + "</svg>\n"


def pictures() -> dict[str, str]:
    """Return all pictures by the name of their file."""
    first, second, third = table_of_chips().find("ESP32")[4]
    colours = [(first, "red"), (second, "green"), (third, "blue")]
    return {
        "wiring-leds.svg": leds("Three LEDs: output leds", [(first, "green"), (second, "orange"), (third, "red")]),
        "wiring-rgb-cathode.svg": leds("RGB LED, common cathode: output rgb", colours, package="longest leg: cathode"),
        "wiring-rgb-anode.svg": leds(
            "RGB LED, common anode: output rgb, inverted", colours, anode=True, package="longest leg: anode"
        ),
        "wiring-led.svg": leds("One LED: output led", [(first, "any colour")]),
        "wiring-strip.svg": strip("WS2812 strip: output strip", first),
    }


if __name__ == "__main__":
    for name, drawn in pictures().items():
        (FOLDER / name).write_text(drawn, encoding="utf-8")
