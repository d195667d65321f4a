"""Channels: members that are shown the same frames. The newest frame counts, and nobody waits for anybody."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from itertools import repeat
from socket import socket
from typing import Protocol

from espfleet.gateway.accepting import NOWHERE

#: Frames written in one turn of the loop: about 5 ms, so that keepalives and newcomers are not kept waiting.
SLICE = 512
#: Fewer empty seats than this are left alone.
EMPTY_SEATS = 64

_send = socket.send


class Screen(Protocol):
    """Where frames are shown; only the newest one need arrive.

    Attributes:
        socket: Where frames may be sent at once, or ``NOWHERE``; tell ``Channel.turned`` of changes.
    """

    socket: socket

    def show(self, frame: bytes) -> None:
        """Send a frame, instead of one that still waits."""

    def finish(self, rest: bytes) -> None:
        """Send what the socket did not take of a frame."""


class Member(Protocol):
    """Who has a seat in a channel. ``seat`` belongs to the channel."""

    seat: int

    @property
    def connection(self) -> Screen:
        """Where it sees frames."""


class Fanout:
    """Lets channels send by turns, one slice in each turn of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._busy: deque[Channel] = deque()

    def add(self, channel: Channel) -> None:
        """Let a channel send until nothing is left; unless others are at it, the first slice goes at once."""
        self._busy.append(channel)
        if len(self._busy) == 1:
            self._turn()

    def _turn(self) -> None:
        budget = SLICE
        while self._busy and budget > 0:
            budget -= self._busy[0].send(budget)
            if self._busy[0].sending:
                self._busy.rotate(-1)
            else:
                self._busy.popleft()
        if self._busy:
            self._loop.call_soon(self._turn)


class Channel:
    """Members that are shown the same frames.

    A frame that comes while another is going out replaces it: who had the older one gets the newer one too, and
    nobody gets the older one after it. Each frame begins where the last one ended, so that nobody is always last.
    """

    def __init__(self, fanout: Fanout) -> None:
        self._fanout = fanout
        # Side by side: where many are served, each object that need not be looked at counts.
        self._seats: list[Member | None] = []
        self._screens: list[Screen | None] = []
        self._sockets: list[socket] = []
        self._empty = 0
        self._frame = b""
        self._next = 0
        self._left = 0

    def __len__(self) -> int:
        """Return how many members it has."""
        return len(self._seats) - self._empty

    @property
    def sending(self) -> bool:
        """Whether the newest frame has not gone to all yet."""
        return self._left > 0

    def join(self, member: Member) -> None:
        """Add a member; it has the newest frame already."""
        member.seat = len(self._seats)
        self._seats.append(member)
        self._screens.append(member.connection)
        self._sockets.append(member.connection.socket)
        if self._left:
            # The seats still to be served are counted, and this one comes before those at the front.
            self._left += 1

    def leave(self, member: Member) -> None:
        """Remove a member."""
        self._seats[member.seat] = self._screens[member.seat] = None
        self._sockets[member.seat] = NOWHERE
        self._empty += 1
        if not self._left and self._empty > max(EMPTY_SEATS, len(self)):
            self._close_ranks()

    def turned(self, member: Member) -> None:
        """Take note that frames for a member go another way now."""
        self._sockets[member.seat] = member.connection.socket

    def show(self, frame: bytes) -> None:
        """Send a frame to every member, instead of one that is still going out."""
        was_sending, self._frame, self._left = self.sending, frame, len(self._seats)
        if self._left and not was_sending:
            self._fanout.add(self)

    def send(self, most: int) -> int:
        """Serve up to ``most`` seats that have not had the newest frame, and return how many."""
        count, seats = min(most, self._left), len(self._screens)
        start, end = self._next, self._next + count
        self._left -= count
        self._next = end - seats if end >= seats else end
        self._serve(start, min(end, seats))
        self._serve(0, end - seats)
        return count

    def _serve(self, start: int, end: int) -> None:
        """Show the frame to the seats from ``start`` to before ``end``."""
        frame, screens, sockets = self._frame, self._screens, self._sockets
        at = start
        while at < end:
            sent: list[int] = []
            if sockets[at] is not NOWHERE:
                # In one go, without a step of the interpreter for each, up to the first that takes nothing.
                with suppress(OSError):
                    sent.extend(map(_send, sockets[at:end], repeat(frame)))
            if sent.count(len(frame)) < len(sent):
                for screen, size in zip(screens[at:end], sent, strict=False):
                    if size < len(frame) and screen is not None:
                        screen.finish(frame[size:])
            at += len(sent)
            if at < end:
                # It finds the same, and knows what follows from it.
                screen = screens[at]
                if screen is not None:
                    screen.show(frame)
                at += 1

    def _close_ranks(self) -> None:
        self._seats = [member for member in self._seats if member is not None]
        self._screens = [screen for screen in self._screens if screen is not None]
        self._sockets = [screen.socket for screen in self._screens if screen is not None]
        for seat, member in enumerate(self._seats):
            if member is not None:
                member.seat = seat
        self._empty = self._next = 0
