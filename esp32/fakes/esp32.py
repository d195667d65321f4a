"""The parts of ``esp32`` that a lamp uses, on the chip that knows its temperature only in °F."""

import binascii
import json

import _world

if _world.read("thermometer", "on") == "on":

    def raw_temperature():
        return 113


class NVS:
    def __init__(self, namespace):
        self._values = None

    def get_blob(self, key, buffer):
        values = _world.values("nvs")
        if key not in values:
            raise OSError(-4354)
        data = binascii.unhexlify(values[key])
        if len(data) > len(buffer):
            raise OSError(-4364)
        buffer[: len(data)] = data
        return len(data)

    def set_blob(self, key, value):
        self._values = _world.values("nvs")
        self._values[key] = binascii.hexlify(value).decode()

    def commit(self):
        _world.write("nvs", json.dumps(self._values))
