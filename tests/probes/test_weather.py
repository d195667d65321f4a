"""Simulated networks: always the same, and looking like what they are called."""

from __future__ import annotations

import functools
from collections import Counter

import numpy as np
import pytest

from espfleet.domain.groups import new_group
from espfleet.domain.levels import LevelBook
from espfleet.domain.states import Band
from espfleet.domain.targets import SPELLS, new_target
from espfleet.probes import weather

NOON_MS = 1_795_000_000_000


def samples(spell: str, seed: int, at_ms: np.ndarray) -> np.ndarray:
    spells = np.full(len(at_ms), weather.code_of(spell))
    return weather.rtt_us(spells, np.full(len(at_ms), seed), at_ms)


def seconds(count: int) -> np.ndarray:
    return NOON_MS + 1_000 * np.arange(count)


@functools.cache
def bands(spell: str, seed: int, count: int) -> list[Band | None]:
    """Return what a lamp shows each second, from power-on."""
    target = new_target("t", f"sim://{spell}?seed={seed}")
    book = LevelBook()
    book.configure({"t": target}, {"g": new_group("g", ["t"])})
    rows, found = book.rows(["t"]), []
    for at_ms, rtt_us in zip(seconds(count), samples(spell, seed, seconds(count)), strict=True):
        book.add(rows, np.array([rtt_us], np.float32), np.array([at_ms]))
        book.evaluate(int(at_ms) + 20)
        found.append(book.group_levels()[0].band)
    return found


def test_every_spell_that_a_target_may_name_is_known() -> None:
    assert [weather.code_of(spell) for spell in SPELLS] == list(range(5))


@pytest.mark.parametrize("spell", SPELLS)
def test_the_same_probe_always_brings_back_the_same(spell: str) -> None:
    at_ms = seconds(500)
    whole = samples(spell, 7, at_ms)
    one_by_one = np.concatenate([samples(spell, 7, at_ms[index : index + 1]) for index in range(499, -1, -1)])[::-1]
    np.testing.assert_array_equal(whole, one_by_one)
    assert whole.dtype == np.float32


def test_the_same_probe_brings_back_the_same_on_every_machine() -> None:
    expected = {"calm": [22636.7, 22990.9], "busy": [73256.1, 76407.2], "mixed": [22636.7, 22990.9]}
    found = {spell: samples(spell, 4, seconds(2)).tolist() for spell in expected}
    assert found == {spell: pytest.approx(values, abs=0.1) for spell, values in expected.items()}


def test_seeds_spells_and_moments_differ() -> None:
    at_ms = seconds(100)
    values = [samples(spell, seed, at_ms) for spell in ("calm", "busy") for seed in range(3)]
    assert len({value.tobytes() for value in values}) == 6
    assert len(np.unique(values[0])) > 90


@pytest.mark.parametrize(("spell", "low", "high"), [("calm", 0, 0), ("busy", 0.001, 0.012), ("lossy", 0.23, 0.27)])
def test_a_spell_loses_what_it_says(spell: str, low: float, high: float) -> None:
    assert low <= np.isnan(samples(spell, 3, seconds(10_000))).mean() <= high
    assert np.isnan(samples("dead", 3, seconds(100))).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("spell", "shown"),
    [("calm", {Band.GREEN}), ("busy", {Band.ORANGE}), ("lossy", {Band.ORANGE, Band.RED}), ("dead", {Band.RED})],
)
def test_a_lamp_shows_what_the_spell_is_called(spell: str, shown: set[Band], seed: int) -> None:
    after_half_a_minute = bands(spell, seed, 180)[30:]
    assert set(after_half_a_minute) <= shown


@pytest.mark.parametrize("seed", range(6))
def test_a_mixed_network_takes_a_lamp_from_green_over_orange_to_red_and_back(seed: int) -> None:
    shown = bands("mixed", seed, 400)[150:]
    runs = [band for index, band in enumerate(shown) if index == 0 or band is not shown[index - 1]]
    path = "".join({Band.GREEN: "g", Band.ORANGE: "o", Band.RED: "r"}[band] for band in runs if band)
    assert "go" in path
    assert "or" in path
    assert "og" in path, "and back"
    assert min(Counter(shown)[band] for band in Band) >= 15, "each colour is there long enough to be seen"


@pytest.mark.parametrize("seed", range(6))
def test_a_lamp_on_a_mixed_network_shows_all_three_colours_within_about_two_minutes(seed: int) -> None:
    shown = bands("mixed", seed, 400)
    for start in range(150, 250, 10):
        assert set(shown[start : start + 145]) >= set(Band)


def test_a_hundred_thousand_samples_take_no_time_worth_mentioning() -> None:
    spells = np.arange(100_000) % 5
    found = weather.rtt_us(spells, np.arange(100_000), np.full(100_000, NOON_MS))
    assert len(found) == 100_000
