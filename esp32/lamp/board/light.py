"""LEDs behind pins."""

from machine import PWM, Pin
from micropython import const

_PWM_HZ = const(1000)
_FULL = const(65535)
# As (255, 140, 0) on a screen.
_GREEN_IN_ORANGE = 0.27


class Light:
    """The lamp's LEDs.

    Args:
        kind: ``leds`` (green, orange, red), ``rgb`` (red, green, blue), ``led`` (one) or ``strip`` (WS2812).
        pins: As many as that needs.
        inverted: Whether a pin that is low lights its LED.
        pixels: Of the strip.
    """

    def __init__(self, kind: str, pins: bytes, inverted: bool, pixels: int) -> None:
        self._kind = kind
        self._pins = pins
        self._dark = _FULL if inverted else 0
        self._shown = None
        if kind == "strip":
            from neopixel import NeoPixel

            self._strip = NeoPixel(Pin(pins[0], Pin.OUT), pixels)
        else:
            self._leds = [PWM(Pin(pin), freq=_PWM_HZ, duty_u16=self._dark) for pin in pins]

    def show(self, shares: tuple) -> None:
        """Feed green, orange and red with a share of full current each, 0 to 1."""
        kind = self._kind
        full = 255 if kind == "strip" else _FULL
        shown = [int(share * full + 0.5) for share in mixed(kind, shares)]
        if shown == self._shown:
            return
        self._shown = shown
        if kind == "strip":
            self._strip.fill(shown)
            self._strip.write()
        else:
            for led, duty in zip(self._leds, shown):
                led.duty_u16(self._dark ^ duty)

    def off(self) -> None:
        """Go dark and give the pins back."""
        self.show((0, 0, 0))
        if self._kind != "strip":
            for led, pin in zip(self._leds, self._pins):
                led.deinit()
                Pin(pin, Pin.OUT, value=1 if self._dark else 0)


def mixed(kind: str, shares: tuple) -> tuple:
    """Return what the LEDs of a kind are fed with."""
    if kind == "leds":
        return shares
    green, orange, red = shares
    if kind == "led":
        # Dim for green, bright for red, dark for nothing.
        return (min(1.0, 0.02 * green + 0.2 * orange + red),)
    # Blue only where all channels meet in white.
    return (min(1.0, red + orange), min(1.0, green + _GREEN_IN_ORANGE * orange), min(shares))
