"""Tables for people lose nothing that matters on a terminal of 80 columns."""

from __future__ import annotations

import dataclasses

import pytest

from espfleet.cli import output
from espfleet.cli.targets import target_table
from espfleet.domain.summary import TargetSummary
from espfleet.domain.targets import Target
from espfleet.services.targets import TargetView

KNOWN = TargetSummary(
    target="demo-loopback",
    level=63,
    unknown="",
    now_ms=70.2,
    usual_ms=67.6,
    last_ms=72.8,
    jitter_ms=2.36,
    loss_percent=3.0,
    age_ms=400,
    last="answered",
)
TARGET = Target(name="demo-loopback", address="sim://mixed?seed=3")


def drawn(monkeypatch: pytest.MonkeyPatch, columns: int, summary: TargetSummary | None) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    console = output.console()
    with console.capture() as captured:
        console.print(target_table([TargetView(target=TARGET, groups=("demo-internet",), summary=summary)]))
    return captured.get()


@pytest.mark.parametrize("columns", [60, 80, 100, 160])
def test_a_target_shows_name_level_latency_and_loss(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    text = drawn(monkeypatch, columns, KNOWN)
    for word in ("demo-loopback*", "orange 63", "72.8 ms", "3 %"):
        assert word in text, text
    assert max(len(line) for line in text.splitlines()) <= columns


def test_a_wide_terminal_shows_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(monkeypatch, 160, KNOWN)
    for word in ("67.6 ms", "2.36 ms", "sim://mixed?seed=3", "demo-internet"):
        assert word in text


def test_what_is_not_known_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(drawn(monkeypatch, 80, None).split())
    assert "unknown: no" in text


@pytest.mark.parametrize(
    ("level", "told"), [(0, "● green 0"), (50, "▲ orange 50"), (95, "■ red 95"), (None, "◌ unknown: silent")]
)
def test_each_colour_has_a_shape_of_its_own(monkeypatch: pytest.MonkeyPatch, level: int | None, told: str) -> None:
    summary = dataclasses.replace(KNOWN, level=level, unknown="" if level is not None else "silent")
    assert told in drawn(monkeypatch, 160, summary)
