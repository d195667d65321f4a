"""Who shows a level without news is found, and who heard of it sooner than the watcher is not blamed."""

from __future__ import annotations

from tests.chaos.news import HINDSIGHT_S, News


def test_a_level_that_is_shown_without_news_is_found_when_all_is_known() -> None:
    news = News(5.0, 0.0)
    news.heard(1, 10.0)
    assert news.age_s(1, 16.0) == 6.0
    news.doubt(1, 16.0, "lamp-1 is green")
    assert news.lies(16.0 + HINDSIGHT_S - 0.1) == []
    # What came after it does not speak for it.
    news.heard(1, 16.1)
    assert news.lies(16.0 + HINDSIGHT_S) == [(16.0, "lamp-1 is green")]
    assert news.lies(1_000.0) == []


def test_who_heard_sooner_than_the_watcher_is_not_blamed() -> None:
    news = News(5.0, 0.0)
    news.heard(1, 10.0)
    news.doubt(1, 16.0, "lamp-1 is green")
    news.doubt(2, 16.0, "lamp-2 is green")
    # Read later, and of a moment before it.
    news.heard(1, 15.7)
    assert news.lies(20.0) == [(16.0, "lamp-2 is green")]


def test_what_is_heard_late_makes_nothing_older() -> None:
    news = News(5.0, 0.0)
    news.heard(1, 12.0)
    news.heard(1, 11.0)
    assert news.age_s(1, 13.0) == 1.0
