"""Sensors of temperature and humidity; without a file ``climate`` they do not answer."""

import _world


class DHTBase:
    def __init__(self, pin):
        self._pin = pin

    def measure(self):
        if not _world.read("climate"):
            raise OSError(110)

    def temperature(self):
        return _world.values("climate")["temperature"]

    def humidity(self):
        return _world.values("climate")["humidity"]


class DHT11(DHTBase):
    pass


class DHT22(DHTBase):
    pass
