"""Nobody takes the places of all others."""

from __future__ import annotations

from espfleet.domain.places import FULL_S, SPREAD_S, Places, wait_s


def test_a_source_takes_its_share_and_others_still_find_places() -> None:
    places = Places(most=3, most_per_source=2)
    for _ in range(2):
        assert places.fit("192.0.2.1")
        places.take("192.0.2.1")
    assert not places.fit("192.0.2.1")
    assert places.fit("192.0.2.2")
    places.take("192.0.2.2")
    assert not places.fit("192.0.2.3")


def test_a_place_is_free_again() -> None:
    places = Places(most=1, most_per_source=1)
    places.take("192.0.2.1")
    places.free("192.0.2.1")
    assert len(places) == 0
    assert places.fit("192.0.2.1")


def test_who_comes_all_the_same_is_counted_until_it_goes() -> None:
    places = Places(most=2, most_per_source=1)
    for _ in range(3):
        places.take("192.0.2.1")
    assert places.overfull
    assert places.overfull_for("192.0.2.1")
    assert not places.overfull_for("192.0.2.2")
    assert not places.fit("192.0.2.1", beyond=1)
    assert places.fit("192.0.2.1", beyond=3)
    places.free("192.0.2.1")
    assert not places.overfull


def test_those_who_are_turned_away_come_back_at_different_times() -> None:
    assert sorted(wait_s(number) for number in range(SPREAD_S)) == list(range(FULL_S, FULL_S + SPREAD_S))
