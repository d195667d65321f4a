"""Fan-out: the newest frame to everybody, in turns, whoever comes or goes meanwhile."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from espfleet.gateway.accepting import NOWHERE
from espfleet.gateway.channels import EMPTY_SEATS, SLICE, Channel, Fanout


class Lamp:
    """A member that remembers what it was shown."""

    socket = NOWHERE

    def __init__(self) -> None:
        self.seat = -1
        self.shown: list[bytes] = []

    @property
    def connection(self) -> Lamp:
        return self

    def show(self, frame: bytes) -> None:
        self.shown.append(frame)

    def finish(self, rest: bytes) -> None:
        self.shown.append(b"the rest: " + rest)


class WiredLamp(Lamp):
    """A member with a socket; what is sent there it reads when it is asked, frame by frame."""

    def __init__(self, kind: int = socket.SOCK_SEQPACKET) -> None:
        super().__init__()
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, kind)
        if kind == socket.SOCK_STREAM:
            self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        self._ours.setblocking(False)
        self.theirs.setblocking(False)
        self.socket = self._ours

    def fill(self) -> None:
        """Let its socket take nothing more."""
        with suppress(BlockingIOError):
            while True:
                self._ours.send(bytes(512))

    def block(self, channel: Channel) -> None:
        """Let frames go another way, or again to the socket."""
        self.socket = self._ours if self.socket is NOWHERE else NOWHERE
        channel.turned(self)

    def read(self) -> None:
        """Take in what was sent."""
        with suppress(BlockingIOError):
            while True:
                self.shown.append(self.theirs.recv(1_000_000))

    def close(self) -> None:
        self._ours.close()
        self.theirs.close()


@pytest.fixture
def wired() -> Iterator[Callable[..., WiredLamp]]:
    made: list[WiredLamp] = []

    def make(kind: int = socket.SOCK_SEQPACKET) -> WiredLamp:
        made.append(WiredLamp(kind))
        return made[-1]

    yield make
    for lamp in made:
        lamp.close()


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


MakeWired = Callable[..., WiredLamp]


async def test_frames_go_straight_to_the_sockets_of_those_who_have_one(channel: Channel, wired: MakeWired) -> None:
    members = [wired() if number % 3 else Lamp() for number in range(60)]
    for lamp in members:
        channel.join(lamp)
    for frame in (b"a", b"b"):
        channel.show(frame)
    for lamp in members:
        if isinstance(lamp, WiredLamp):
            assert not lamp.shown, "nobody need be asked"
            lamp.read()
        assert lamp.shown == [b"a", b"b"]


async def test_who_takes_nothing_is_asked_and_who_comes_after_is_served_all_the_same(
    channel: Channel, wired: MakeWired
) -> None:
    members = [wired() for _ in range(8)]
    for lamp in members:
        channel.join(lamp)
    full, gone = (members[0], members[4]), (members[3], members[7])
    for lamp in full:
        lamp.fill()
    for lamp in gone:
        lamp.theirs.close()
    channel.show(b"a")
    assert [lamp.shown for lamp in (*full, *gone)] == [[b"a"]] * 4
    for lamp in members:
        if lamp not in full and lamp not in gone:
            lamp.read()
            assert lamp.shown == [b"a"]


async def test_who_took_a_part_of_a_frame_is_given_the_rest(channel: Channel, wired: MakeWired) -> None:
    before, narrow, after = wired(), wired(socket.SOCK_STREAM), wired()
    for lamp in (before, narrow, after):
        channel.join(lamp)
    frame = bytes(range(256)) * 400
    channel.show(frame)
    rest = narrow.shown[0].removeprefix(b"the rest: ")
    narrow.shown.clear()
    narrow.read()
    assert narrow.shown
    assert b"".join(narrow.shown) + rest == frame
    for lamp in (before, after):
        lamp.read()
        assert lamp.shown == [frame]


async def test_frames_go_another_way_while_the_socket_may_not_be_used(channel: Channel, wired: MakeWired) -> None:
    lamp = wired()
    channel.join(lamp)
    lamp.block(channel)
    channel.show(b"a")
    assert lamp.shown == [b"a"]
    lamp.block(channel)
    channel.show(b"b")
    assert lamp.shown == [b"a"]
    lamp.read()
    assert lamp.shown == [b"a", b"b"]


async def test_a_member_that_left_gets_nothing_even_through_its_socket(channel: Channel, wired: MakeWired) -> None:
    members = [wired() for _ in range(3)]
    for lamp in members:
        channel.join(lamp)
    channel.leave(members[1])
    channel.show(b"a")
    for lamp in members:
        lamp.read()
    assert [lamp.shown for lamp in members] == [[b"a"], [], [b"a"]]


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_way_frames_go_everybody_ends_with_the_newest_and_none_goes_back(
    channel: Channel, wired: MakeWired, seed: int
) -> None:
    dice = random.Random(seed)
    members: list[WiredLamp] = []
    newest = 0
    for _ in range(40):
        for _ in range(dice.randrange(20)):
            lamp = wired()
            lamp.shown.append(b"%d" % newest)
            members.append(lamp)
            channel.join(lamp)
        for _ in range(min(len(members), dice.randrange(12))):
            channel.leave(members.pop(dice.randrange(len(members))))
        newest += 1
        channel.show(b"%d" % newest)
        for lamp in members:
            lamp.read()
            if dice.random() < 0.2:
                lamp.block(channel)
    assert len(channel) == len(members) > EMPTY_SEATS
    assert not channel.sending
    for lamp in members:
        numbers = [int(frame) for frame in lamp.shown]
        assert numbers == list(range(numbers[0], newest + 1))


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
