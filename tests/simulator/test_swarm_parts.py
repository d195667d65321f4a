"""The parts of a swarm: frames, the clock of all lamps, what lamps show, figures, limits."""

from __future__ import annotations

import json
import resource
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Opcode

from espfleet.domain.light import HeardLevel, Link, Situation, Word, look_of
from espfleet.domain.messages import KEEPALIVE, parse
from espfleet.domain.states import State, band_of
from espfleet.errors import StartError
from espfleet.gateway.frames import close_frame, is_keepalive, text_frame, whole_text
from espfleet.simulator.backoff import Ending, closed
from espfleet.simulator.speech import Level
from espfleet.simulator.swarm.figures import Figures, Spread
from espfleet.simulator.swarm.frames import keepalives, masked, split
from espfleet.simulator.swarm.lamp import SmallLamp
from espfleet.simulator.swarm.sight import Sight
from espfleet.simulator.swarm.states import Glow, Stage
from espfleet.simulator.swarm.swarm import Who
from espfleet.simulator.swarm.wheel import TICK_MS, Wheel
from espfleet.simulator.swarm.wires import MOST_PROCESSES, allow_files, find, processes_for


@given(st.lists(st.sampled_from([0, 1, 125, 126, 300, 65_535]), max_size=5), st.integers(0, 70_000))
def test_frames_of_the_gateway_are_split_wherever_they_are_torn(lengths: list[int], torn_at: int) -> None:
    data = b"".join(text_frame("x" * length) for length in lengths) + close_frame(4002, "another")
    first, rest = split(data[:torn_at])
    second, rest = split(rest + data[torn_at:])
    assert [len(content) for _, content in first + second] == [*lengths, len("another") + 2]
    assert rest == b""


@pytest.mark.parametrize(
    "data", [b"\x01\x00", b"\xc1\x00", b"\x81\x80aaaa", b"\x82\x7f" + (1 << 40).to_bytes(8, "big")]
)
def test_what_no_gateway_sends_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"a frame that no gateway sends|bytes"):
        split(data)


def test_what_lamps_say_is_understood_by_the_gateway() -> None:
    frames = keepalives(3)
    assert all(is_keepalive(frame) for frame in frames)
    assert len({frame[2:6] for frame in frames}) == 3, "each has a mask of its own"
    text = whole_text(masked(Opcode.TEXT, KEEPALIVE.encode()), 4_096)
    assert text is not None
    content, rest = text
    assert parse(content.decode()) is not None
    assert not rest


class Sleeper:
    def __init__(self) -> None:
        self.due = 0
        self.rung: list[float] = []

    def ring(self, now_ms: float) -> None:
        self.rung.append(now_ms)


def test_the_wheel_wakes_each_at_its_moment_and_never_early() -> None:
    wheel, sleepers = Wheel(1_000.0), [Sleeper() for _ in range(200)]
    for number, sleeper in enumerate(sleepers):
        wheel.put(sleeper, 1_000.0 + 7 * number)
    for now_ms in range(1_000, 3_000, 5):
        wheel.turn(float(now_ms), 1_000)
    for number, sleeper in enumerate(sleepers):
        [rung_ms] = sleeper.rung
        assert 0 <= rung_ms - (1_000 + 7 * number) <= TICK_MS + 5


def test_who_is_put_in_again_waits_for_the_new_moment_only() -> None:
    wheel, sleeper = Wheel(0.0), Sleeper()
    wheel.put(sleeper, 100.0)
    wheel.put(sleeper, 500.0)
    for now_ms in range(0, 1_000, 10):
        wheel.turn(float(now_ms), 10)
    assert len(sleeper.rung) == 1
    assert sleeper.rung[0] >= 500


def test_a_crowd_that_is_due_at_once_is_woken_a_few_at_a_time() -> None:
    wheel, sleepers = Wheel(0.0), [Sleeper() for _ in range(25)]
    for sleeper in sleepers:
        wheel.put(sleeper, 0.0)
    assert [wheel.turn(100.0, 10) for _ in range(3)] == [True, True, False]
    assert all(sleeper.rung for sleeper in sleepers)


_GLOWS = {
    Word.WAITING: Glow.UNKNOWN,
    Word.UNKNOWN: Glow.UNKNOWN,
    Word.PAUSED: Glow.UNKNOWN,
    Word.MAINTENANCE: Glow.UNKNOWN,
    Word.STALE: Glow.STALE,
    Word.NO_GATEWAY: Glow.NO_GATEWAY,
}


@given(
    live=st.booleans(),
    level=st.none() | st.integers(0, 100),
    state=st.sampled_from(State),
    silence_ms=st.integers(0, 3_000),
    lease_ms=st.sampled_from([500, 1_500, 2_900]),
    period_ms=st.sampled_from([50, 500]),
)
def test_a_small_lamp_shows_what_every_lamp_shows(
    live: bool, level: int | None, state: State, silence_ms: int, lease_ms: int, period_ms: int
) -> None:
    now_ms = 100_000.0
    lamp = SmallLamp(None, 0, Random(1))  # type: ignore[arg-type]  # nothing of the swarm is asked
    lamp.stage = Stage.LIVE if live else Stage.WAITING
    lamp._period_ms, lamp._shown_ms = period_ms, now_ms - silence_ms
    heard = None
    if level is not None:
        lamp._level = Level(level=level, state=state, seq=1, lease_ms=lease_ms)
        heard = HeardLevel(level=level, state=state, at_ms=now_ms - silence_ms, lease_ms=lease_ms)
    link = Link.CONNECTED if live else Link.NO_GATEWAY
    look = look_of(Situation(started_ms=0.0, link=link, heard=heard, period_ms=period_ms), now_ms)
    expected = Glow(band_of(look.level).value) if look.level is not None else _GLOWS[look.word]
    assert lamp.glow(now_ms) is expected


def test_reasons_are_counted_without_what_is_each_lamps_own() -> None:
    figures = Figures(same_clock=True)
    for number in range(3):
        figures.lost(closed(1012, f"restarting; retry_after_ms={number}"))
        figures.lost(closed(4004, f"no device with id 0200000000a{number} is registered"))
        figures.lost(closed(4001, f"this is not a token of sim-0000{number}"))
        figures.lost(closed(4004, f"sim-0000{number} is not registered any more"))
    assert list(figures.endings.values()) == [3, 3, 3, 3]
    report = figures.report(at_s=1.0, connected=0, glows={}, busy=0.0)
    assert (report.refused, report.failed) == (3, 9)


def test_times_are_compared_only_with_a_gateway_on_the_same_machine() -> None:
    here, elsewhere = Figures(same_clock=True), Figures(same_clock=False)
    for figures in (here, elsewhere):
        for delay_ms in range(100):
            figures.changed(float(delay_ms))
        figures.changed(None)
    told = here.report(at_s=1.0, connected=0, glows={}, busy=0.0)
    assert told.delay is not None
    assert (told.delay.p50_ms, told.delay.p99_ms, told.delay.worst_ms) == (50.0, 99.0, 99.0)
    unknown = elsewhere.report(at_s=1.0, connected=0, glows={}, busy=0.0)
    assert unknown.delay is None
    assert unknown.changes == told.changes == 101


def test_too_few_open_files_are_a_sentence_that_says_how_many_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 5_000))
    with pytest.raises(StartError, match=r"may have 5000: raise the limit .* or run the lamps in more --processes"):
        allow_files(5_000)


@pytest.mark.parametrize(
    ("hard", "lamps", "spare", "processes"),
    [
        (20_000, 19_900, 0, 1),
        (20_000, 19_900, 1_000, 2),
        (20_000, 24_000, 0, 2),
        (20_000, 30_000, 30_000, 4),
        (1_024, 2_000, 0, 3),
        (40, 10, 0, MOST_PROCESSES),
        (resource.RLIM_INFINITY, 200_000, 200_000, 1),
    ],
)
def test_lamps_run_in_as_few_processes_as_open_files_allow(
    monkeypatch: pytest.MonkeyPatch, hard: int, lamps: int, spare: int, processes: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    assert processes_for(lamps, spare) == processes
    if processes < MOST_PROCESSES:
        most = -(-lamps // processes)
        allow_files(most + min(most, spare))


def test_what_several_processes_have_seen_is_told_as_one() -> None:
    sights = []
    for number in range(1, 4):
        figures = Figures(same_clock=True)
        figures.levels, figures.keepalives = 10 * number, number
        for delay_ms in range(100):
            figures.changed(float(delay_ms * number))
        figures.welcomed(5.0, again=number == 2)
        figures.lost(closed(1012, f"restarting; retry_after_ms={number}"))
        figures.lost(Ending(why="the gateway fell silent"))
        sight = Sight(
            figures=figures, connected=number, glows={Glow.RED: number}, used_s=[number / 2], memory_kib=1_000 * number
        )
        sights.append(Sight.from_dict(json.loads(json.dumps(sight.to_dict()))))
    both = Sight.together(sights)
    report = both.figures.report(at_s=1.0, connected=both.connected, glows=both.glows, busy=max(both.used_s))
    assert (report.connected, report.glows["red"], report.glows["green"]) == (6, 6, 0)
    assert (report.levels, report.keepalives, report.changes) == (60, 6, 300)
    assert (report.refused, report.failed, report.reconnects) == (3, 3, 1)
    assert report.delay == Spread(p50_ms=81.0, p99_ms=291.0, worst_ms=297.0)
    assert both.figures.endings == {
        "the gateway closed the connection (1012: restarting)": 3,
        "the gateway fell silent": 3,
    }
    assert (both.used_s, both.memory_kib) == ([0.5, 1.0, 1.5], 6_000)


def test_on_loopback_lamps_come_from_as_many_addresses_as_they_need() -> None:
    place = find("ws://127.0.0.1:5678/lamp", 20_000)
    assert place.sources == ("127.0.1.1", "127.0.2.1", "127.0.3.1", "127.0.4.1", "127.0.5.1")
    assert place.is_here
    assert find("ws://[::1]:5678", 20_000).sources == ()
    assert not find("ws://192.0.2.1:5678", 20_000).is_here


def test_a_gateway_whose_name_means_nothing_is_a_sentence() -> None:
    with pytest.raises(StartError, match=r"the gateway's host 'nowhere.invalid' cannot be found"):
        find("ws://nowhere.invalid:5678", 1)


def test_lamps_are_the_same_in_each_run_but_for_their_tokens() -> None:
    one, two, other = Who(3), Who(3), Who(3, seed=2)
    assert one.id_of(0) == two.id_of(0) != other.id_of(0)
    assert one.token_of(0) == one.token_of(0) != two.token_of(0)
    assert one.token_of(0) != one.token_of(1)
    assert [Who(3, first=20_001).name_of(number) for number in (0, 2)] == ["sim-20001", "sim-20003"]
    assert Who(3, first=2).id_of(0) == one.id_of(1)
