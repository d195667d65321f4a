"""Names, hardware ids, labels and numbers as users write them."""

from __future__ import annotations

import math
from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espfleet.domain.names import (
    NAME_CHARS,
    check_device_id,
    check_labels,
    check_name,
    check_number,
    check_whole,
    free_name,
    nearest,
    shown,
)
from espfleet.errors import InvalidError

NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?", fullmatch=True)


@given(NAMES)
def test_letters_digits_and_a_few_signs_make_a_name(name: str) -> None:
    assert check_name(name, "device") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "-a",
        "a-",
        ".a",
        "a.",
        "ä",
        "a/b",
        "a\n",
        "\x00",
        "a" * 65,
        "٣",
        "a:b",
        None,
        12,
        b"a",
        "{a}",
        "\u212aitchen",
        "\u017ftudio",
        "b\u0131n",
        "\u0130",
    ],
)
def test_other_names_are_refused(name: object) -> None:
    with pytest.raises(InvalidError, match="cannot be the name of a room: use 1 to 64 letters") as refused:
        check_name(name, "room")
    assert refused.value.field == "name"


@given(st.text(max_size=10_000))
def test_an_error_shows_little_of_a_bad_value_and_no_control_character(text: str) -> None:
    assert len(shown(text)) <= 40
    assert shown(text).isprintable()


def test_a_short_value_is_shown_whole() -> None:
    assert shown("porch") == "'porch'"
    assert shown("x" * 50) == "'" + "x" * 37 + "…'"


@pytest.mark.parametrize(
    "written", ["3c71bff93720", "3C:71:BF:F9:37:20", "3c-71-bf-f9-37-20", " 3C71.BFF9.3720 ", "3C71BFF93720"]
)
def test_a_hardware_id_may_be_written_in_several_ways(written: str) -> None:
    assert check_device_id(written) == "3c71bff93720"


@pytest.mark.parametrize("written", ["", "3c71bff9372", "3c71bff937200", "3c71bff9372g", "３c71bff93720", None, 30])
def test_what_is_no_hardware_id_is_refused(written: object) -> None:
    with pytest.raises(InvalidError, match="it has 12 hex digits"):
        check_device_id(written)


def test_labels_lose_their_doubles_and_keep_their_order() -> None:
    assert check_labels(["b", "a", "b"]) == ("b", "a")
    with pytest.raises(InvalidError, match="cannot be the name of a label"):
        check_labels(["a", "no good"])


def test_names_that_look_alike_are_found_the_likeliest_first() -> None:
    assert nearest("Porhc", ["attic", "porch", "Porch-2"]) == ["porch", "Porch-2"]
    assert nearest("zzz", ["porch"]) == []
    assert nearest("a" * 10_000, ["a" * 64]) == ["a" * 64]


def test_a_wrong_name_is_held_against_few_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    # It was half a second for 10,000 lamps, of a gateway, and as often as a viewer liked.
    compared = []
    ratio = SequenceMatcher.ratio

    def counted(one: SequenceMatcher[str]) -> float:
        compared.append(one)
        return ratio(one)

    monkeypatch.setattr(SequenceMatcher, "ratio", counted)
    names = [f"house-{n // 1_000}-floor-{n // 100 % 10}-room-{n % 100}-lamp-{n:05}" for n in range(10_000)]
    assert nearest("house-3-floor-1-room-11-lamp-3111", names)[0] == "house-3-floor-1-room-11-lamp-03111"
    assert nearest("house-9-floor-9-room-99-lamp-0999", names)[0] == "house-9-floor-9-room-99-lamp-09999"
    assert nearest("a", names) == []
    assert len(compared) < 100


@given(NAMES, st.integers(0, 12))
def test_a_free_name_is_free_and_a_name(name: str, taken: int) -> None:
    names: set[str] = {name}
    for _ in range(taken):
        names.add(free_name(name, names))
    assert len(names) == taken + 1
    assert all(len(each) <= NAME_CHARS and check_name(each, "lamp") for each in names)


@pytest.mark.parametrize(("value", "number"), [(5, 5), ("5", 5), (" 7.5 ", 7.5), (2.5, 2.5), ("1e1", 10)])
def test_numbers_may_be_text(value: object, number: float) -> None:
    assert check_number(value, "width", 1, 10, "m") == number


@pytest.mark.parametrize("value", [0.99, 10.01, "x", "", math.nan, math.inf, "nan", "-inf", None, True, [5], 10**400])
def test_what_is_no_number_in_range_is_refused(value: object) -> None:
    with pytest.raises(InvalidError, match=r"^width must be a number from 1 to 10 m, not ") as refused:
        check_number(value, "width", 1, 10, "m")
    assert refused.value.field == "width"


def test_whole_numbers_are_whole() -> None:
    assert check_whole("5", "count", 1, 10) == 5
    assert check_whole(5.0, "count", 1, 10) == 5
    with pytest.raises(InvalidError, match=r"count must be a whole number, not '5\.5'"):
        check_whole(5.5, "count", 1, 10)
