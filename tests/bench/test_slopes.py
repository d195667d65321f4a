"""Straight lines through what was measured."""

from __future__ import annotations

import pytest

from bench.slopes import fit, line


def test_a_line_finds_what_each_thing_costs_and_what_there_is_without_any() -> None:
    points = [{"lamps": lamps, "levels": levels} for lamps, levels in ((1, 0), (1_000, 0), (1_000, 4_000), (9_000, 5))]
    found = fit(points, [100 + 8 * point["lamps"] + 0.5 * point["levels"] for point in points])
    assert found.base == pytest.approx(100)
    assert found.slopes == pytest.approx({"lamps": 8, "levels": 0.5})
    assert found.off == pytest.approx(0, abs=1e-9)


def test_a_line_says_how_far_points_lie_off_it() -> None:
    found = fit([{"lamps": count} for count in (0, 10, 20)], [0, 20, 10])
    assert found.off == pytest.approx((50 / 3 * 3) ** 0.5 / 20, rel=0.01)
    assert "3 points" in found.in_words()


def test_what_always_went_together_is_not_told_apart() -> None:
    with pytest.raises(ValueError, match="do not tell apart what lamps, keepalives cost"):
        fit([{"lamps": n, "keepalives": 2 * n} for n in (1, 2, 3, 4)], [1, 2, 3, 4])


def test_two_points_are_too_few_for_two_things() -> None:
    with pytest.raises(ValueError, match="2 points"):
        fit([{"lamps": 1, "levels": 0}, {"lamps": 2, "levels": 5}], [1, 2])


def test_a_line_may_leave_things_out() -> None:
    points = [({"lamps": n, "levels": 3 * n}, {"cpu": 7 * n, "memory": n}) for n in (1, 2, 3)]
    assert line(points, "cpu", "lamps").slopes == pytest.approx({"lamps": 7})
