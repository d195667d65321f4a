"""A strip of WS2812."""

import _world


class NeoPixel:
    def __init__(self, pin, n, bpp=3, timing=1):
        self._pin = pin.id
        self._pixels = [(0, 0, 0)] * n

    def fill(self, v):
        self._pixels = [tuple(v)] * len(self._pixels)

    def write(self):
        _world.tell("strip", self._pin, len(self._pixels), *self._pixels[0])
