"""The parts of ``machine`` that a lamp uses, as on an ESP32."""

import sys

import _world

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

#: What a test's board exits with when it restarts itself.
RESET_CODE = 86
_FLASH = (6, 7, 8, 9, 10, 11)
_NONE = (20, 24, 28, 29, 30, 31)


def unique_id():
    return bytes.fromhex(_world.read("id", "3c71bff93720"))


def reset_cause():
    return int(_world.read("cause", "1"))


def reset():
    _world.write("cause", str(SOFT_RESET))
    _world.tell("reset")
    sys.exit(RESET_CODE)


class Pin:
    IN = 1
    OUT = 3
    PULL_UP = 2

    _outputs = {}

    def __init__(self, id, mode=-1, pull=-1, *, value=None):
        if id in _FLASH:
            _world.tell("crash", "pin", id)
            sys.exit(99)
        if id in _NONE or not 0 <= id < 49:
            raise ValueError("invalid pin")
        self.id = id
        if mode == self.OUT:
            _world.tell("mode", id, "out")
            self._outputs[id] = self._outputs.get(id, 0)
        elif mode == self.IN:
            _world.tell("mode", id, "in")
            self._outputs.pop(id, None)
        if value is not None:
            self.value(value)

    def value(self, x=None):
        if x is None:
            if self.id in self._outputs:
                return self._outputs[self.id]
            return 1 if _world.values("pins").get(str(self.id), 0) > 2047 else 0
        self._outputs[self.id] = x
        _world.tell("pin", self.id, x)
        return None


class PWM:
    def __init__(self, dest, *, freq=5000, duty_u16=0):
        self._pin = dest.id
        self._duty = None
        self.duty_u16(duty_u16)

    def duty_u16(self, value=None):
        if value is None:
            return self._duty
        if _world.read("fault") == "pwm":
            raise RuntimeError("the hardware is broken")
        if not 0 <= value <= 65535:
            raise ValueError("duty_u16 must be from 0 to 65535")
        if value != self._duty:
            _world.tell("pwm", self._pin, value)
        self._duty = value
        return None

    def deinit(self):
        _world.tell("deinit", self._pin)


class ADC:
    ATTN_11DB = 3

    def __init__(self, pin, *, atten=0):
        self._pin = pin.id

    def read_u16(self):
        return _world.values("pins").get(str(self._pin), 0) << 4

    def read_uv(self):
        return _world.values("pins").get(str(self._pin), 0) * 800


class RTC:
    def memory(self, data=None):
        if data is None:
            return _world.read("rtc").encode()
        _world.write("rtc", data.decode())
        return None


class WDT:
    def __init__(self, id=0, timeout=5000):
        _world.tell("watchdog", timeout)

    def feed(self):
        _world.tell("fed")
