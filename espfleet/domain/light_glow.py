"""Afterglow: how a light follows what it aims at. It brightens fast, fades slowly, and never flickers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from espfleet.domain.light_patterns import DARK, Colour

RISE_HALF_LIFE_MS = 40.0
#: Of orange and red; green has no afterglow, for it would say that all is well when it no longer is.
FALL_HALF_LIFE_MS = 300.0
#: A channel turns down (green: up) at most every so often: three times a second, however fast levels change.
TURN_MS = 334.0
#: Brightness as the eye sees it → share of the full current.
GAMMA = 2.2


class Channel(NamedTuple):
    """One channel.

    Attributes:
        brightness: How bright it looks, 0 to 1.
        heading: 1 while it brightens, -1 while it fades, 0 before it ever moved.
        turned_ms: When it last turned into the direction that is limited.
    """

    brightness: float = 0.0
    heading: int = 0
    turned_ms: float = -math.inf

    def follow(
        self, target: float, from_ms: float, to_ms: float, *, half_life_ms: float, limited: int, as_light: bool
    ) -> Channel:
        """Return the channel at ``to_ms`` if it aimed at ``target`` since ``from_ms``.

        Args:
            target: Brightness it aims at, 0 to 1.
            from_ms: When it was as it is.
            to_ms: When it is asked for.
            half_life_ms: Time in which the way to the target halves.
            limited: Direction (1 or -1) into which it turns at most every ``TURN_MS``.
            as_light: Whether the way is measured as light, not as the eye sees it: then one channel gains what
                another loses, and colours that take turns do so without a dip between them.
        """
        if target == self.brightness:
            return self
        heading = 1 if target > self.brightness else -1
        start_ms, turned_ms = from_ms, self.turned_ms
        if heading == limited and self.heading != limited:
            start_ms = turned_ms = max(from_ms, self.turned_ms + TURN_MS)
            if start_ms >= to_ms:
                return self
        way = 1.0 - 2.0 ** (-(to_ms - start_ms) / half_life_ms)
        exponent = GAMMA if as_light else 1.0
        here, there = self.brightness**exponent, target**exponent
        return Channel((here + (there - here) * way) ** (1.0 / exponent), heading, turned_ms)


@dataclass(frozen=True, slots=True)
class Glow:
    """Light of a lamp at one moment.

    Attributes:
        channels: Green, orange, red.
        at_ms: The moment, on a clock that never jumps.
    """

    channels: tuple[Channel, Channel, Channel] = (Channel(), Channel(), Channel())
    at_ms: float = 0.0

    @property
    def colour(self) -> Colour:
        """How bright each channel looks."""
        green, orange, red = self.channels
        return Colour(green.brightness, orange.brightness, red.brightness)

    def toward(self, target: Colour, now_ms: float, *, afterglow: bool = True) -> Glow:
        """Return the light at ``now_ms`` if it aimed at ``target`` since ``at_ms``, however many steps that took.

        Args:
            target: What it aims at.
            now_ms: When it is asked for; earlier than ``at_ms`` changes nothing.
            afterglow: Whether orange and red fade slowly; patterns do without, to keep their shape.
        """
        if now_ms <= self.at_ms:
            return self
        green, orange, red = (
            channel.follow(
                aim,
                self.at_ms,
                now_ms,
                half_life_ms=FALL_HALF_LIFE_MS
                if afterglow and warm and aim < channel.brightness
                else RISE_HALF_LIFE_MS,
                limited=-1 if warm else 1,
                as_light=not afterglow,
            )
            for channel, aim, warm in zip(self.channels, target, (False, True, True), strict=True)
        )
        return Glow((green, orange, red), now_ms)


def output(colour: Colour, brightness: float = 100.0) -> Colour:
    """Return what the channels are fed with, each 0 to 1 of full current.

    Args:
        colour: How bright each channel should look.
        brightness: Of the whole lamp, in percent.
    """
    share = min(max(brightness, 0.0), 100.0) / 100.0
    return Colour(*(min(max(channel, 0.0), 1.0) ** GAMMA for channel in colour.dimmed(share))) if share else DARK
