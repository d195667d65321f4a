"""S4's figures about video, by S4's definitions."""

from __future__ import annotations

import pytest

from espfleet.domain.video import WAITING, Arrival, Video


def arriving(intervals_s: list[float], *, taken_ms: float = 1.0, wanted_ms: int | None = None) -> Video:
    at_s, arrivals = 1_000.0, [Arrival(1_000.0, 10_000, taken_ms)]
    for interval_s in intervals_s:
        at_s += interval_s
        arrivals.append(Arrival(at_s, 20_000, taken_ms))
    return Video(arrivals=arrivals[-21:], total=len(arrivals), wanted_ms=wanted_ms)


def test_without_pictures_it_waits_for_data() -> None:
    told = Video().stats_fields()
    assert told["recommendation"] == WAITING
    assert (told["efficiency"], told["resolution"], told["avg_fps"], told["current_fps"]) == (0.0, "Unknown", 0.0, 0.0)
    assert Video().fps_fields() == {
        "fps": 0.0, "target_fps": 0.0, "interval_ms": 0, "width": 0, "height": 0, "resolution": "Unknown",
    }  # fmt: skip


def test_the_present_rate_is_over_the_last_ten_arrivals() -> None:
    # Nine intervals of 0.1 s after slow ones.
    assert arriving([1.0] * 10 + [0.1] * 9).fps == pytest.approx(10)


def test_a_steady_camera_is_optimal() -> None:
    video = arriving([0.5] * 20)
    assert (video.avg_fps, video.target_fps, video.jitter_s) == pytest.approx((2, 2, 0))
    assert video.efficiency == pytest.approx(100)
    assert video.recommendation == "OPTIMAL"


def test_the_target_is_the_upper_median_once_there_are_ten_intervals() -> None:
    assert arriving([0.1, 0.3, 0.2]).target_s == pytest.approx(0.2)
    assert arriving([0.1] * 5 + [0.4] * 5).target_s == pytest.approx(0.4)


def test_efficiency_is_50_while_little_is_known_and_clamped() -> None:
    assert arriving([0.1] * 9).efficiency == 50.0
    assert arriving([0.1] * 19 + [10.0]).efficiency == 0.0


def test_efficiency_against_an_interval_that_was_told_is_not_clamped() -> None:
    video = arriving([0.25] * 20, wanted_ms=500)
    assert video.efficiency == pytest.approx(200)
    assert video.target_fps == pytest.approx(2)
    assert video.fps_fields()["interval_ms"] == 500


def test_jitter_is_the_population_standard_deviation() -> None:
    assert arriving([0.1, 0.3] * 10).jitter_s == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("intervals_s", "taken_ms", "word"),
    [
        ([0.10] * 19 + [0.3], 1.0, "GOOD"),
        ([0.10] * 19 + [0.6], 1.0, "FAIR"),
        ([1.0] * 19 + [5.5], 1.0, "UNSTABLE"),
        ([0.1] * 19 + [2.0], 1.0, "POOR"),
        ([0.1] * 19 + [2.0], 60.0, "SLOW"),
        ([0.1] * 19 + [9.0], 1.0, "UNSTABLE"),
    ],
)
def test_the_recommendation_is_the_word_of_s4(intervals_s: list[float], taken_ms: float, word: str) -> None:
    assert arriving(intervals_s, taken_ms=taken_ms).recommendation == word


def test_statistics_have_the_fields_of_s4() -> None:
    video = arriving([0.1] * 20)
    told = video.stats_fields()
    assert list(told) == [
        "avg_interval", "min_interval", "max_interval", "jitter", "avg_fps", "target_fps", "avg_size", "min_size",
        "max_size", "avg_processing", "max_processing", "total_frames", "dropped_frames", "efficiency",
        "recommendation", "current_fps", "width", "height", "resolution",
    ]  # fmt: skip
    assert (told["avg_size"], told["total_frames"]) == (20_000, 21)


def test_a_clock_that_was_set_back_makes_no_negative_interval() -> None:
    assert min(arriving([0.1, -5.0, 0.1]).intervals_s) == 0.0
