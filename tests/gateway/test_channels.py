"""Fan-out: the newest frame to everybody, in turns, whoever comes or goes meanwhile."""

from __future__ import annotations

import asyncio
import random

import pytest

from espfleet.gateway.channels import EMPTY_SEATS, SLICE, Channel, Fanout


class Lamp:
    """A member that remembers what it was shown."""

    def __init__(self) -> None:
        self.seat = -1
        self.shown: list[bytes] = []

    @property
    def connection(self) -> Lamp:
        return self

    def show(self, frame: bytes) -> None:
        self.shown.append(frame)


@pytest.fixture
async def channel() -> Channel:
    return Channel(Fanout(asyncio.get_running_loop()))


def lamps(channel: Channel, count: int) -> list[Lamp]:
    joined = [Lamp() for _ in range(count)]
    for lamp in joined:
        channel.join(lamp)
    return joined


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def sent(*channels: Channel) -> None:
    await turns(50)
    assert not any(channel.sending for channel in channels)


async def test_a_frame_to_few_goes_out_at_once(channel: Channel) -> None:
    members = lamps(channel, 3)
    channel.show(b"a")
    assert [lamp.shown for lamp in members] == [[b"a"]] * 3


async def test_a_frame_to_many_lets_others_have_their_turns(channel: Channel) -> None:
    members = lamps(channel, 3 * SLICE)
    channel.show(b"a")
    served = [sum(bool(lamp.shown) for lamp in members)]
    while channel.sending:
        await asyncio.sleep(0)
        served.append(sum(bool(lamp.shown) for lamp in members))
    assert served == [SLICE, 2 * SLICE, 3 * SLICE]


async def test_a_newer_frame_replaces_one_that_is_still_going_out(channel: Channel) -> None:
    members = lamps(channel, 2 * SLICE)
    channel.show(b"a")
    channel.show(b"b")
    await sent(channel)
    assert [lamp.shown for lamp in members[:SLICE]] == [[b"a", b"b"]] * SLICE
    assert [lamp.shown for lamp in members[SLICE:]] == [[b"b"]] * SLICE


async def test_nobody_starves_when_frames_come_faster_than_they_go_out(channel: Channel) -> None:
    members = lamps(channel, 4 * SLICE)
    for number in range(8):
        channel.show(b"%d" % number)
        await asyncio.sleep(0)
    assert all(lamp.shown for lamp in members)
    await sent(channel)
    assert {lamp.shown[-1] for lamp in members} == {b"7"}


async def test_two_channels_go_out_side_by_side() -> None:
    fanout = Fanout(asyncio.get_running_loop())
    first, second = Channel(fanout), Channel(fanout)
    many, few = lamps(first, 10 * SLICE), lamps(second, 10)
    first.show(b"a")
    second.show(b"b")
    await turns(2)
    assert all(lamp.shown == [b"b"] for lamp in few)
    assert not all(lamp.shown for lamp in many)
    await sent(first, second)
    assert all(lamp.shown == [b"a"] for lamp in many)


async def test_an_empty_channel_has_nothing_to_send(channel: Channel) -> None:
    channel.show(b"a")
    assert not channel.sending


async def test_empty_seats_are_cleared_away(channel: Channel) -> None:
    members = lamps(channel, 3 * EMPTY_SEATS)
    for lamp in members[: 2 * EMPTY_SEATS]:
        channel.leave(lamp)
    assert len(channel) == EMPTY_SEATS
    channel.show(b"a")
    assert all(lamp.shown == [b"a"] for lamp in members[2 * EMPTY_SEATS :])
    assert max(lamp.seat for lamp in members[2 * EMPTY_SEATS :]) < 2 * EMPTY_SEATS
    assert not any(lamp.shown for lamp in members[: 2 * EMPTY_SEATS])


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_comes_and_goes_everybody_ends_with_the_newest_frame_and_none_goes_back(
    channel: Channel, seed: int
) -> None:
    dice = random.Random(seed)
    members: list[Lamp] = []
    newest = 0
    for _ in range(60):
        for lamp in lamps(channel, dice.randrange(SLICE // 2)):
            lamp.shown.append(b"%d" % newest)
            members.append(lamp)
        for _ in range(min(len(members), dice.randrange(SLICE // 2))):
            channel.leave(members.pop(dice.randrange(len(members))))
        if dice.random() < 0.6:
            newest += 1
            channel.show(b"%d" % newest)
        if dice.random() < 0.7:
            await asyncio.sleep(0)
    assert len(channel) == len(members)
    await sent(channel)
    for lamp in members:
        numbers = [int(frame) for frame in lamp.shown]
        assert numbers == sorted(numbers)
        assert numbers[-1] == newest
