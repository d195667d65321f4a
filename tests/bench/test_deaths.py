"""The bench of deaths takes for said only what is not taken back."""

from __future__ import annotations

import pytest

from bench.deaths import Onlooker, Told, is_told

LIVE = {"live": 2}
GONE = {"offline: silent": 2}


def told(*heard: tuple[float, Told]) -> Onlooker:
    return Onlooker("web", list(heard))


def test_it_is_said_with_the_first_answer_after_which_nothing_else_is_said() -> None:
    onlooker = told((1.0, LIVE), (2.0, GONE), (3.0, LIVE), (4.0, GONE), (5.0, GONE))
    assert onlooker.says(GONE)
    assert onlooker.since_s(GONE) == 4.0


def test_what_is_taken_back_is_not_said() -> None:
    assert not told((1.0, GONE), (2.0, LIVE)).says(GONE)
    assert not told().says(GONE)


@pytest.mark.parametrize(
    ("words", "wanted", "fits"),
    [
        (GONE, GONE, True),
        (GONE, {"offline": 2}, True),
        ({"offline: silent": 1, "offline: closed": 1}, {"offline": 2}, True),
        ({"offline: closed": 2}, GONE, False),
        ({"offline: silent": 1, "live": 1}, {"offline": 2}, False),
        ({}, {}, True),
        ({}, GONE, False),
        (LIVE, {}, False),
    ],
)
def test_reasons_matter_where_some_are_wanted(words: Told, wanted: Told, fits: bool) -> None:
    assert is_told(words, wanted) is fits
