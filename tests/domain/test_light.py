from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espfleet.domain.light import (
    IDENTIFY_MS,
    SELF_TEST_MS,
    HeardLevel,
    Link,
    Look,
    Override,
    Situation,
    Word,
    late_by,
    look_of,
)
from espfleet.domain.light_glow import Glow, output
from espfleet.domain.light_patterns import ALL, DARK, GREEN, ORANGE, RED, Colour, Pattern, colour_of, on_screen
from espfleet.domain.states import State

NOW = 1_000_000.0


def situation(
    level: int | None = None,
    *,
    state: State = State.OK,
    silence_ms: float = 0,
    link: Link = Link.CONNECTED,
    lease_ms: int = 1_500,
) -> Situation:
    heard = None
    if level is not None:
        heard = HeardLevel(level=level, state=state, at_ms=NOW - silence_ms, lease_ms=lease_ms)
    return Situation(started_ms=0, link=link, heard=heard, period_ms=500)


heard_levels = st.builds(
    HeardLevel,
    level=st.integers(0, 100),
    state=st.sampled_from(State),
    at_ms=st.floats(NOW - 20_000, NOW),
    lease_ms=st.integers(100, 10_000),
)
overrides = st.builds(Override, level=st.none() | st.integers(50, 100), until_ms=st.floats(NOW - 5_000, NOW + 5_000))
situations = st.builds(
    Situation,
    started_ms=st.floats(NOW - 5_000, NOW),
    link=st.sampled_from(Link),
    heard=st.none() | heard_levels,
    period_ms=st.integers(50, 5_000),
    identify_until_ms=st.none() | st.floats(NOW - 5_000, NOW + 5_000),
    override=st.none() | overrides,
    updating=st.booleans(),
)


# What is shown


@pytest.mark.parametrize(
    ("level", "colour"),
    [
        (0, GREEN),
        (25, Colour(0.5, 0.5, 0)),
        (50, ORANGE),
        (75, Colour(0, 0.5, 0.5)),
        (90, Colour(0, 0.2, 0.8)),
        (100, RED),
    ],
)
def test_a_fresh_level_has_the_colours_of_ping_lamp(level: int, colour: Colour) -> None:
    look = look_of(situation(level), NOW)
    assert look.word is Word.LEVEL
    assert look.level == level
    assert look.pattern is Pattern.STEADY
    assert look.aims_at(NOW) == pytest.approx(colour)


def test_before_the_first_level_a_connected_lamp_waits_in_breathing_orange() -> None:
    look = look_of(situation(None), NOW)
    assert (look.word, look.pattern, look.colours) == (Word.WAITING, Pattern.BREATHE, (ORANGE,))


@pytest.mark.parametrize("state", [State.UNKNOWN, State.PAUSED, State.MAINTENANCE])
def test_a_state_that_says_nothing_of_the_network_is_breathing_orange_by_its_own_word(state: State) -> None:
    look = look_of(situation(0, state=state), NOW)
    assert (look.word, look.pattern, look.colours) == (state.value, Pattern.BREATHE, (ORANGE,))
    assert look.level is None


@pytest.mark.parametrize(
    ("silence_ms", "late"), [(0, 0), (500, 0), (749, 0), (751, 1), (1_249, 1), (1_251, 2), (1_499, 2)]
)
def test_each_level_that_is_missing_adds_five_points(silence_ms: float, late: int) -> None:
    look = look_of(situation(20, silence_ms=silence_ms), NOW)
    assert look.level == 20 + 5 * late
    assert look.word is (Word.LATE if late else Word.LEVEL)
    assert late_by(silence_ms, 500) == late


def test_lateness_never_leads_above_100() -> None:
    assert look_of(situation(98, silence_ms=9_000, lease_ms=10_000), NOW).level == 100


@pytest.mark.parametrize("state", list(State))
def test_when_the_lease_is_over_red_and_orange_take_turns(state: State) -> None:
    look = look_of(situation(0, state=state, silence_ms=1_500), NOW)
    assert look.word is Word.STALE
    assert look.aims_at(0) == RED
    assert look.aims_at(1_000) == ORANGE
    assert look.aims_at(2_000) == RED


@pytest.mark.parametrize(
    ("link", "colour"), [(Link.NO_WIFI, RED), (Link.NO_GATEWAY, ORANGE)], ids=["no Wi-Fi", "no gateway"]
)
def test_a_lamp_without_its_gateway_flashes_once_every_two_seconds(link: Link, colour: Colour) -> None:
    look = look_of(situation(None, link=link), NOW)
    assert look.word == link.value
    lit = [at for at in range(0, 4_000, 10) if look.aims_at(at) != DARK]
    assert {look.aims_at(at) for at in lit} == {colour}
    assert lit == [*range(0, 150, 10), *range(2_000, 2_150, 10)]


def test_a_short_break_of_the_connection_is_not_seen_while_the_lease_lasts() -> None:
    assert look_of(situation(10, link=Link.NO_GATEWAY, silence_ms=400), NOW).word is Word.LEVEL
    assert look_of(situation(10, link=Link.NO_GATEWAY, silence_ms=1_500), NOW).word is Word.NO_GATEWAY


def test_a_lamp_without_settings_breathes_in_all_colours_whatever_it_heard_before() -> None:
    look = look_of(situation(0, link=Link.NO_SETTINGS), NOW)
    assert (look.word, look.pattern, look.colours) == (Word.NO_SETTINGS, Pattern.BREATHE, (ALL,))


def test_the_self_test_shows_each_channel_for_300_ms() -> None:
    started = replace(situation(100), started_ms=NOW)
    shown = [look_of(started, NOW + at).aims_at(NOW + at) for at in (0, 299, 301, 599, 601, 899)]
    assert shown == [GREEN, GREEN, ORANGE, ORANGE, RED, RED]
    assert look_of(started, NOW + SELF_TEST_MS).word is not Word.SELF_TEST


def test_identify_blinks_all_channels_twice_a_second_and_then_the_lamp_is_back() -> None:
    asked = replace(situation(0, lease_ms=60_000), identify_until_ms=NOW + IDENTIFY_MS)
    look = look_of(asked, NOW)
    assert look.word is Word.IDENTIFY
    assert [look.aims_at(at) for at in (0, 249, 250, 499, 500)] == [ALL, ALL, DARK, DARK, ALL]
    assert look_of(asked, NOW + IDENTIFY_MS - 1).word is Word.IDENTIFY
    assert look_of(asked, NOW + IDENTIFY_MS).word in (Word.LEVEL, Word.LATE)


def test_an_override_ends_by_itself_and_can_be_darkness() -> None:
    overridden = replace(situation(10), override=Override(level=None, until_ms=NOW + 1))
    assert look_of(overridden, NOW).aims_at(NOW) == DARK
    assert look_of(overridden, NOW).word is Word.OVERRIDE
    assert look_of(overridden, NOW + 1).word is Word.LEVEL


@pytest.mark.parametrize("level", [-1, 0, 49, 101])
def test_nobody_can_order_a_lamp_to_be_green(level: int) -> None:
    with pytest.raises(ValueError, match="from 50 to 100"):
        Override(level=level, until_ms=NOW)


@settings(deadline=None)
@given(situations, st.floats(NOW, NOW + 20_000))
def test_green_is_only_lit_by_a_fresh_level(situation: Situation, now_ms: float) -> None:
    look = look_of(situation, now_ms)
    heard = situation.heard
    fresh = heard is not None and now_ms - heard.at_ms < heard.lease_ms and heard.state is State.OK
    if look.word in (Word.LEVEL, Word.LATE):
        assert heard is not None
        assert fresh
        assert (look.aims_at(now_ms).green > 0) == (look.level is not None and look.level < 50)
        assert look.level is not None
        assert look.level >= heard.level
    elif look.word in (Word.IDENTIFY, Word.NO_SETTINGS):
        assert all(colour.green == colour.orange == colour.red for colour in look.colours)
    elif look.word is not Word.SELF_TEST:
        assert all(colour.green == 0 for colour in look.colours)


@settings(deadline=None)
@given(situations, st.floats(NOW, NOW + 20_000))
def test_a_target_colour_is_always_between_dark_and_full(situation: Situation, now_ms: float) -> None:
    assert all(0.0 <= channel <= 1.0 for channel in look_of(situation, now_ms).aims_at(now_ms))


def test_the_patterns_differ_in_more_than_their_colour() -> None:
    """People who cannot tell red from green can tell the states."""
    looks = [
        look_of(situation(100), NOW),
        look_of(situation(None), NOW),
        look_of(situation(None, link=Link.NO_GATEWAY), NOW),
        look_of(situation(100, silence_ms=5_000), NOW),
        look_of(replace(situation(100), identify_until_ms=NOW + 1), NOW),
        look_of(replace(situation(100), updating=True), NOW),
    ]
    assert len({look.pattern for look in looks}) == len(looks)


# How it moves


def test_light_rises_half_the_way_in_40_ms_and_falls_half_the_way_in_300_ms() -> None:
    risen = Glow().toward(RED, 40)
    assert risen.colour.red == pytest.approx(0.5)
    full = Glow().toward(RED, 5_000)
    assert full.toward(GREEN, 5_300).colour.red == pytest.approx(0.5, abs=1e-3)


def test_colours_that_take_turns_do_so_without_a_dip() -> None:
    glow = Glow().toward(RED, 5_000, afterglow=False)
    for at in range(5_000, 5_500, 10):
        glow = glow.toward(ORANGE, at, afterglow=False)
        assert sum(output(glow.colour)) == pytest.approx(1)


def test_green_has_no_afterglow() -> None:
    green = Glow().toward(GREEN, 5_000)
    assert output(green.toward(ORANGE, 5_150).colour).green < 1 / 255


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(1, 900), st.floats(0, 100)), min_size=1, max_size=20),
    st.integers(2, 40),
)
def test_the_light_is_the_same_at_any_frame_rate(changes: list[tuple[float, float]], frames: int) -> None:
    once = often = Glow()
    now_ms = 0.0
    for lasts_ms, level in changes:
        for frame in range(1, frames + 1):
            often = often.toward(colour_of(level), now_ms + lasts_ms * frame / frames)
        now_ms += lasts_ms
        once = once.toward(colour_of(level), now_ms)
    assert once.colour == pytest.approx(often.colour, abs=1e-6)


def test_a_clock_that_stands_still_changes_nothing() -> None:
    glow = Glow().toward(RED, 100)
    assert glow.toward(GREEN, 100) is glow
    assert glow.toward(GREEN, 50) is glow


def test_gamma_and_brightness_keep_the_order_of_colours() -> None:
    fed = [output(colour_of(100), percent).red for percent in range(0, 101, 5)]
    assert fed == sorted(fed)
    assert fed[0] == 0
    assert fed[-1] == 1
    assert output(Colour(0.5, 0, 0)).green == pytest.approx(0.5**2.2)


def test_screens_show_green_orange_and_red() -> None:
    assert [on_screen(colour) for colour in (GREEN, ORANGE, RED, DARK)] == [
        (0, 255, 0),
        (255, 140, 0),
        (255, 0, 0),
        (0, 0, 0),
    ]
    assert on_screen(ALL) == (255, 255, 0)


# Never more than three flashes a second

FRAME_MS = 10
#: A change that counts as a flash (WCAG 2.3.1): a tenth of full light, there and back.
SWING = 0.1


def turns(values: Sequence[float]) -> list[int]:
    """Return where the light began to fall by at least SWING after it had risen by as much."""
    found: list[int] = []
    low = top = values[0]
    top_at = 0
    rising = False
    for at, value in enumerate(values):
        if value >= top:
            top, top_at = value, at
        low = min(low, value)
        if rising and value <= top - SWING:
            found.append(top_at)
            rising, low = False, value
        elif not rising and value >= low + SWING:
            rising, top, top_at = True, value, at
    return found


def most_flashes_in_a_second(values: Sequence[float]) -> int:
    found = turns(values)
    return max((sum(1 for other in found if at <= other < at + 1_000 / FRAME_MS) for at in found), default=0)


def play(look_at: Callable[[float], Look], for_ms: int) -> list[Colour]:
    """Return what a lamp is fed with in each frame."""
    glow, fed = Glow(at_ms=NOW), []
    for at in range(0, for_ms, FRAME_MS):
        look = look_at(NOW + at)
        glow = glow.toward(look.aims_at(NOW + at), NOW + at, afterglow=look.afterglow)
        fed.append(output(glow.colour))
    return fed


# A busy machine may take its time.
patiently = settings(deadline=None, max_examples=100)


@patiently
@given(situations)
def test_no_situation_flashes_more_than_three_times_a_second(situation: Situation) -> None:
    fed = play(lambda now_ms: look_of(situation, now_ms), 6_000)
    assert most_flashes_in_a_second([sum(colour) for colour in fed]) <= 3


@patiently
@given(st.lists(st.tuples(st.integers(1, 40), situations), min_size=1, max_size=30))
def test_no_channel_flashes_more_than_three_times_a_second_however_fast_things_change(
    story: list[tuple[int, Situation]],
) -> None:
    frames = [situation for lasts, situation in story for _ in range(lasts)]
    fed = play(lambda now_ms: look_of(frames[int((now_ms - NOW) / FRAME_MS)], now_ms), len(frames) * FRAME_MS)
    for channel in range(3):
        assert most_flashes_in_a_second([colour[channel] for colour in fed]) <= 3


def test_a_level_that_jumps_with_every_frame_does_not_flicker() -> None:
    fed = play(lambda now_ms: look_of(situation(100 if int(now_ms / 50) % 2 else 0), NOW), 5_000)
    for channel in range(3):
        assert most_flashes_in_a_second([colour[channel] for colour in fed]) <= 3


def test_rising_red_never_waits() -> None:
    glow = Glow(at_ms=0)
    for at in range(50, 2_000, 50):
        red_before = glow.colour.red
        glow = glow.toward(RED if at % 100 else GREEN, at)
        if at % 100:
            assert glow.colour.red >= 0.5 + red_before / 2
