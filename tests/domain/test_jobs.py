"""Jobs: windows by the clock on the wall, thresholds that do not chatter, several jobs on one pin."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espfleet.domain.jobs import (
    DAY_S,
    VALUE_KEPT_MS,
    Job,
    JobKind,
    Side,
    Wish,
    check_job,
    converted,
    days_of,
    pins_wished,
    start_of,
    window,
    wish,
)
from espfleet.errors import InvalidError

ID = "3c71bff93720"
TIMER = Job(device_id=ID, name="lights", pin=22, kind=JobKind.TIMER, start_s=start_of("22:00"), duration_s=4 * 3_600)
HEAT = Job(
    device_id=ID, name="heat", pin=23, kind=JobKind.THRESHOLD, source="porch/dht22.temp", border=20, hysteresis=2
)


def ms(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1_000)


def on_at(job: Job, text: str, zone: str = "UTC") -> bool | None:
    return wish(job, ms(text, zone)).on


def test_a_timer_lasts_over_midnight() -> None:
    assert not on_at(TIMER, "2026-03-02T21:59:59")
    assert on_at(TIMER, "2026-03-02T22:00:00")
    assert on_at(TIMER, "2026-03-03T01:59:59")
    assert not on_at(TIMER, "2026-03-03T02:00:00")


def test_a_window_belongs_to_the_day_on_which_it_begins() -> None:
    friday = replace(TIMER, days=days_of("fri"))
    assert on_at(friday, "2026-03-07T01:00:00")  # a Saturday
    assert not on_at(friday, "2026-03-07T23:00:00")


@pytest.mark.parametrize(
    ("start", "begins"),
    [
        # On 2026-03-29 clocks in Berlin go from 02:00 to 03:00: 02:30 does not exist, and is one hour later.
        ("2026-03-29 02:30", "2026-03-29T01:30:00"),
        # On 2026-10-25 they go from 03:00 to 02:00: 02:30 comes twice, and counts the first time.
        ("2026-10-25 02:30", "2026-10-25T00:30:00"),
        ("2026-07-01 02:30", "2026-07-01T00:30:00"),
        ("2026-12-01 02:30", "2026-12-01T01:30:00"),
    ],
)
def test_a_start_means_the_clock_on_the_wall_also_on_days_that_change_it(start: str, begins: str) -> None:
    day, _, at = start.partition(" ")
    job = replace(TIMER, zone="Europe/Berlin", start_s=start_of(at), duration_s=3_600)
    first = ms(begins)
    assert window(job, first) == (first, first + 3_600_000)
    assert window(job, first - 1) is None
    assert window(job, first + 3_600_000) is None
    assert day


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)), st.integers(0, DAY_S - 1))
def test_a_job_of_all_day_has_no_gap_on_any_day(at: datetime, start_s: int) -> None:
    job = replace(TIMER, zone="Europe/Berlin", start_s=start_s, duration_s=DAY_S)
    assert window(job, round(at.replace(tzinfo=UTC).timestamp() * 1_000)) is not None


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),
    st.integers(0, DAY_S - 1),
    st.integers(1, DAY_S - 7_200),
)
def test_a_timer_runs_for_its_time_once_a_day_also_when_clocks_change(at: datetime, start_s: int, long_s: int) -> None:
    job = replace(TIMER, zone="America/New_York", start_s=start_s, duration_s=long_s)
    begins = set()
    for hours in range(49):
        found = window(job, round((at.replace(tzinfo=UTC) + timedelta(hours=hours)).timestamp() * 1_000))
        if found:
            begins.add(found[0])
            assert found[1] - found[0] == long_s * 1_000
    assert all(later - earlier >= 22 * 3_600_000 for earlier in begins for later in begins if later > earlier)


def test_a_threshold_has_a_border_for_each_way() -> None:
    last = None
    for value, on in ((21, False), (19.9, True), (20.5, True), (22, True), (22.1, False), (20.5, False), (19, True)):
        last = wish(HEAT, 1_000, last, value)
        assert last.on is on, (value, last)
    assert "porch/dht22.temp is 19 C, below 20" in (last.why if last else "")


def test_a_threshold_can_cool_too() -> None:
    fan = replace(HEAT, side=Side.ABOVE, border=30)
    hot = wish(fan, 0, None, 31)
    assert hot.on
    assert wish(fan, 0, hot, 29).on
    assert not wish(fan, 0, hot, 27.9).on


def test_without_a_value_a_threshold_stays_for_a_while_and_then_wishes_off() -> None:
    warm = wish(HEAT, 1_000, None, 15)
    assert wish(HEAT, 1_000 + VALUE_KEPT_MS, warm, None).on
    assert not wish(HEAT, 1_001 + VALUE_KEPT_MS, warm, None).on
    assert not wish(HEAT, 1_000, None, None).on


def test_units_are_named() -> None:
    assert converted(replace(HEAT, unit="F"), 20, "dht22.temp") == 68
    assert converted(replace(HEAT, unit="F"), 112, "f") == 112
    assert converted(HEAT, 68, "f") == 20
    assert converted(replace(HEAT, unit="lux"), 7, "adc.raw") == 7


@given(
    st.lists(st.tuples(st.integers(-3_600_000, 600_000), st.one_of(st.none(), st.floats(0, 40)))),
    st.integers(0, 600),
    st.integers(0, 600),
)
def test_no_pin_chatters_whatever_the_values_and_the_clock_do(
    steps: list[tuple[int, float | None]], min_on_s: int, min_off_s: int
) -> None:
    job = replace(HEAT, min_on_s=min_on_s, min_off_s=min_off_s)
    now_ms, real_ms, changed_ms = 10**12, 0, 0
    last: Wish | None = None
    for step_ms, value in steps:
        now_ms += step_ms
        real_ms += max(step_ms, 0)
        new = wish(job, now_ms, last, value)
        if last is not None and new.on != last.on:
            assert real_ms - changed_ms >= (min_on_s if last.on else min_off_s) * 1_000
            changed_ms = real_ms
        elif last is None:
            changed_ms = real_ms
        assert new.since_ms <= now_ms
        last = new


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.sampled_from([True, False, None])), max_size=6))
def test_a_pin_is_on_if_one_job_wishes_it_and_off_only_if_all_with_an_opinion_do(
    wished: list[tuple[int, bool | None]],
) -> None:
    jobs = [replace(TIMER, name=f"j{number}", pin=pin) for number, (pin, _) in enumerate(wished)]
    found = pins_wished(jobs, {f"j{number}": Wish(on, 0, "") for number, (_, on) in enumerate(wished)})
    for pin in (1, 2):
        opinions = [on for at, on in wished if at == pin and on is not None]
        assert found.get(pin) == (any(opinions) if opinions else None)


def test_a_paused_job_has_no_opinion() -> None:
    assert wish(replace(TIMER, paused=True), ms("2026-03-02T23:00:00")).on is None


def test_what_is_stored_is_what_is_read() -> None:
    assert Job.from_dict(TIMER.to_dict()) == TIMER
    assert Job.from_dict(HEAT.to_dict()) == HEAT


@pytest.mark.parametrize(
    "wrong",
    [
        {"pin": 99}, {"duration_s": 0}, {"duration_s": DAY_S + 1}, {"days": ()}, {"days": (7,)}, {"zone": "Mars"},
        {"name": "a b"}, {"hysteresis": -1}, {"min_on_s": float("nan")}, {"kind": JobKind.THRESHOLD},
    ],
)  # fmt: skip
def test_a_job_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    assert check_job(TIMER) == TIMER
    with pytest.raises(InvalidError):
        check_job(replace(TIMER, **wrong))


@pytest.mark.parametrize(
    ("text", "days"), [("all", tuple(range(7))), ("mon-fri", (0, 1, 2, 3, 4)), ("sat-mon", (0, 5, 6))]
)
def test_days_are_read(text: str, days: tuple[int, ...]) -> None:
    assert days_of(text) == days


@pytest.mark.parametrize("text", ["24:00", "7", "07:60", "noon"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        start_of(text)
