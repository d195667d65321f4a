"""Slots in fair turn: a source may have all of them until another one wants some."""

from __future__ import annotations

from espfleet.domain.slots import Slots

BIG, SMALL, THIRD = "192.0.2.1", "192.0.2.2", "192.0.2.3"


def begun(slots: Slots[str]) -> list[str]:
    """Begin all that can begin."""
    found = []
    while (one := slots.begin()) is not None:
        found.append(one)
    return found


def full(most: int = 4, waiting: int = 8) -> Slots[str]:
    """Return slots that one source holds, with more of it waiting."""
    slots: Slots[str] = Slots(most, waiting, 0.5)
    for number in range(most + 2):
        assert slots.come(BIG, f"big-{number}", 0.0) is None
        assert begun(slots) == ([f"big-{number}"] if number < most else [])
    return slots


def test_one_source_may_have_all_while_nobody_else_comes() -> None:
    slots = full()
    assert slots.waiting == 2
    assert slots.cut(1_000.0) is None
    slots.end(BIG, "big-0")
    assert begun(slots) == ["big-4"]


def test_a_free_slot_goes_to_the_source_that_holds_the_fewest() -> None:
    slots = full()
    slots.come(SMALL, "small-0", 0.1)
    slots.come(SMALL, "small-1", 0.1)
    slots.come(THIRD, "third-0", 0.1)
    slots.end(BIG, "big-0")
    slots.end(BIG, "big-1")
    assert begun(slots) == ["small-0", "third-0"]
    # Now each has as many, but for the big one: it has two.
    slots.end(BIG, "big-2")
    slots.end(THIRD, "third-0")
    assert begun(slots) == ["big-4", "small-1"]


def test_who_has_waited_for_too_long_gets_the_slot_of_who_began_first() -> None:
    slots = full()
    slots.come(SMALL, "small-0", 1.0)
    assert slots.cut(1.4) is None
    assert slots.cut(1.6) == "big-0"
    assert begun(slots) == ["small-0"]
    assert slots.cut(1.6) is None
    # It was taken away already.
    slots.end(BIG, "big-0")
    assert begun(slots) == []


def test_nobody_is_cut_for_a_source_that_holds_as_many() -> None:
    slots = full()
    for number in range(6):
        slots.come(SMALL, f"small-{number}", 1.0)
    cut = []
    while (one := slots.cut(9.0)) is not None:
        cut.append(one)
        begun(slots)
    assert cut == ["big-0", "big-1"]
    assert slots.waiting == 6


def test_one_who_stalls_cannot_fill_the_line_either() -> None:
    slots = full(waiting=3)
    assert slots.come(BIG, "big-6", 0.0) is None
    assert slots.come(BIG, "big-7", 0.0) == "big-7"
    assert slots.come(SMALL, "small-0", 0.0) == "big-6"
    assert slots.waiting == 3
    assert slots.cut(1.0) == "big-0"
    assert begun(slots) == ["small-0"]


def test_when_it_is_over_nobody_waits() -> None:
    slots = full()
    slots.come(SMALL, "small-0", 0.0)
    assert sorted(slots.leave()) == ["big-4", "big-5", "small-0"]
    assert slots.waiting == 0
    slots.end(BIG, "big-0")
    assert begun(slots) == []
