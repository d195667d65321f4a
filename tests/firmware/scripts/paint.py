"""Paint the cases of ``cases.json`` and print each frame: word, level, and what the channels are fed with."""

import json

from lamp.light import Situation
from lamp.painter import Painter

LINKS = ("no settings", "no Wi-Fi", "no gateway", "connected")


class Log:
    """Stands in for the clock and for the LEDs."""

    def __init__(self):
        self.now_ms = 0

    def __call__(self):
        return self.now_ms


def become(situation, values):
    for name, value in values.items():
        setattr(situation, name, LINKS.index(value) if name == "link" else value)


with open("cases.json") as file:
    cases = json.load(file)
for case in cases:
    situation = Situation(case["started_ms"])
    painter = Painter(situation, print, Log(), 100)
    painter.percent = case["percent"]
    painter._show = lambda shares: None
    for now_ms, values in case["frames"]:
        painter.paint(now_ms)
        print("@paint", json.dumps([painter.look[0], painter.look[4], painter.shares]))
        become(situation, values)
