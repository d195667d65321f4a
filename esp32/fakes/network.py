"""A Wi-Fi station whose access point is a file."""

import time

import _world

STA_IF = 0
AP_IF = 1
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202

_JOIN_MS = 30


def hostname(name=None):
    _world.tell("hostname", name)


class WLAN:
    PM_NONE = 0

    _wanted_ms = None
    _active = False

    def __init__(self, interface_id):
        pass

    def active(self, is_active=None):
        if is_active is None:
            return WLAN._active
        WLAN._active = is_active
        _world.tell("wifi", "active" if is_active else "inactive")
        if not is_active:
            WLAN._wanted_ms = None
        return None

    def config(self, *names, **values):
        _world.tell("wifi", "config", *["%s=%s" % pair for pair in values.items()])

    def connect(self, ssid=None, key=None):
        if not WLAN._active or WLAN._wanted_ms is not None:
            raise OSError("Wifi Internal Error")
        _world.tell("wifi", "connect", ssid, key)
        WLAN._wanted_ms = time.ticks_ms()

    def disconnect(self):
        _world.tell("wifi", "disconnect")
        WLAN._wanted_ms = None

    def isconnected(self):
        wanted_ms = WLAN._wanted_ms
        joined = wanted_ms is not None and time.ticks_diff(time.ticks_ms(), wanted_ms) >= _JOIN_MS
        return joined and _world.read("wifi", "on") == "on"

    def status(self, param=None):
        if param == "rssi":
            return -61
        if self.isconnected():
            return STAT_GOT_IP
        return {"off": STAT_NO_AP_FOUND, "wrong password": STAT_WRONG_PASSWORD}.get(_world.read("wifi", "on"), 1001)

    def ifconfig(self):
        return ("192.168.1.23", "255.255.255.0", "192.168.1.1", _world.read("dns", "127.0.0.1"))
