"""The lamp's light is that of ``espfleet/domain/light*.py``: same situation, same time, same colour."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from espfleet.domain.light import HeardLevel, Link, Override, Situation, look_of
from espfleet.domain.light_glow import Glow, output
from espfleet.domain.states import State
from tests.firmware.boards import Firmware

CASES = 150
FRAMES = 40


def event(random: Random, now_ms: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return something that happens to a lamp: as fields of the domain's situation, and of the firmware's."""
    kind = random.choice(["nothing", "nothing", "level", "level", "link", "identify", "override", "updating", "period"])
    if kind == "level":
        heard = HeardLevel(
            level=random.randint(0, 100),
            state=random.choice([State.OK, State.OK, State.OK, *State]),
            at_ms=now_ms - random.randint(0, 2_000),
            lease_ms=random.choice([300, 1_500, 6_000]),
        )
        return {"heard": heard}, {
            "level": heard.level,
            "state": heard.state.value,
            "heard_ms": heard.at_ms,
            "lease_ms": heard.lease_ms,
        }
    if kind == "link":
        link = random.choice([*Link, Link.CONNECTED, Link.CONNECTED])
        return {"link": link}, {"link": link.value}
    if kind == "identify":
        until_ms = now_ms + random.randint(0, 1_000)
        return {"identify_until_ms": until_ms}, {"identify_until_ms": until_ms}
    if kind == "override":
        override = Override(level=random.choice([None, 50, 77, 100]), until_ms=now_ms + random.randint(0, 1_500))
        return {"override": override}, {"override": override.level, "override_until_ms": override.until_ms}
    if kind == "updating":
        updating = random.random() < 0.3
        return {"updating": updating}, {"updating": updating}
    if kind == "period":
        period_ms = random.choice([50, 333, 500, 5_000])
        return {"period_ms": period_ms}, {"period_ms": period_ms}
    return {}, {}


def case(random: Random) -> tuple[dict[str, Any], list[tuple[str, int | None, tuple[float, ...]]]]:
    """Return the life of a lamp, and what the domain shows in each frame of it."""
    started_ms = random.choice([0, 7, 123_456_789_012])
    percent = random.choice([100, 100, 40, 0])
    situation = Situation(started_ms=started_ms, link=Link.NO_SETTINGS)
    glow, now_ms = Glow(at_ms=started_ms), started_ms
    frames: list[tuple[int, dict[str, Any]]] = []
    shown = []
    for _ in range(FRAMES):
        now_ms += random.choice([0, 1, 20, 20, 20, 33, 150, 400, 1_500])
        look = look_of(situation, now_ms)
        glow = glow.toward(look.aims_at(now_ms), now_ms, afterglow=look.afterglow)
        shown.append((look.word.value, look.level, output(glow.colour, percent if look.dimmable else 100)))
        mine, its = event(random, now_ms)
        frames.append((now_ms, its))
        situation = replace(situation, **mine)
    return {"started_ms": started_ms, "percent": percent, "frames": frames}, shown


async def test_the_firmware_shows_the_colours_of_the_domain(firmware: Firmware, tmp_path: Path) -> None:
    random = Random(3)
    cases, expected = [], []
    for _ in range(CASES):
        one, shown = case(random)
        cases.append(one)
        expected += shown
    assert len({word for word, _, _ in expected}) == 14, "not every word of the domain is among the cases"
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    out = await firmware.run("paint.py", folder=tmp_path, heap="2000wk")
    got = [json.loads(line[7:]) for line in out.splitlines() if line.startswith("@paint ")]
    assert len(got) == len(expected)
    for at, ((word, level, shares), (got_word, got_level, got_shares)) in enumerate(zip(expected, got, strict=True)):
        assert (got_word, got_level) == (word, level), f"frame {at}"
        assert got_shares == pytest.approx(shares, abs=1e-9), f"frame {at}, {word}"
