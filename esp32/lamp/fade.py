"""Afterglow: how the light follows what it aims at. It brightens fast, fades slowly, and never flickers.

The rules are those of ``espfleet/domain/light_glow.py``; a test holds the two together.
"""

from micropython import const

_RISE_MS = const(40)
_FALL_MS = const(300)
_TURN_MS = const(334)
_GAMMA = 2.2


class Glow:
    """Light of the lamp at one moment.

    Attributes:
        colour: How bright green, orange and red look, each 0 to 1.
    """

    def __init__(self, now_ms: int) -> None:
        self.colour = [0.0, 0.0, 0.0]
        self._at_ms = now_ms
        # Of each channel: 1 while it brightens, -1 while it fades; when it last turned into the limited direction.
        self._heading = [0, 0, 0]
        self._turned_ms = [None, None, None]

    def toward(self, target: tuple, now_ms: int, afterglow: bool) -> bool:
        """Become the light of ``now_ms`` if it aimed at ``target`` until now, however many frames that took.

        Returns:
            Whether anything changed.
        """
        from_ms = self._at_ms
        if now_ms <= from_ms:
            return False
        moved = False
        self._at_ms = now_ms
        for channel in range(3):
            here = self.colour[channel]
            there = target[channel]
            if there == here:
                continue
            heading = 1 if there > here else -1
            start_ms = from_ms
            # Green turns up, orange and red turn down, at most three times a second.
            if heading == (-1 if channel else 1) and heading != self._heading[channel]:
                turned_ms = self._turned_ms[channel]
                if turned_ms is not None:
                    start_ms = max(from_ms, turned_ms + _TURN_MS)
                if start_ms >= now_ms:
                    continue
                self._turned_ms[channel] = start_ms
            self._heading[channel] = heading
            moved = True
            half_ms = _FALL_MS if afterglow and channel and heading < 0 else _RISE_MS
            way = 1.0 - 2.0 ** ((start_ms - now_ms) / half_ms)
            if afterglow:
                self.colour[channel] = here + (there - here) * way
            else:
                # Measured as light, one channel gains what another loses: colours take turns without a dip.
                here **= _GAMMA
                self.colour[channel] = (here + (there**_GAMMA - here) * way) ** (1 / _GAMMA)
        return moved
