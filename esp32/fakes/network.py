"""A Wi-Fi station whose access points are files, and an access point whose guests are one."""

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
    _wanted = None
    _fixed = None
    _active = [False, False]

    def __init__(self, interface_id):
        self._interface = interface_id
        self._what = ("wifi", "ap")[interface_id]

    def active(self, is_active=None):
        if is_active is None:
            return WLAN._active[self._interface]
        WLAN._active[self._interface] = is_active
        _world.tell(self._what, "active" if is_active else "inactive")
        if not is_active and self._interface == STA_IF:
            WLAN._wanted_ms = None
        return None

    def config(self, *names, **values):
        _world.tell(self._what, "config", *["%s=%s" % pair for pair in values.items()])

    def connect(self, ssid=None, key=None):
        if not WLAN._active[STA_IF] or WLAN._wanted_ms is not None:
            raise OSError("Wifi Internal Error")
        _world.tell("wifi", "connect", ssid, key)
        WLAN._wanted_ms = time.ticks_ms()
        WLAN._wanted = ssid, key

    def disconnect(self):
        _world.tell("wifi", "disconnect")
        WLAN._wanted_ms = None

    def isconnected(self):
        wanted_ms = WLAN._wanted_ms
        joined = wanted_ms is not None and time.ticks_diff(time.ticks_ms(), wanted_ms) >= _JOIN_MS
        return joined and self._air() == "on"

    def status(self, param=None):
        if param == "rssi":
            return -61
        if param == "stations":
            return [(b"phone",)] * int(_world.read("guests", "0"))
        if self.isconnected():
            return STAT_GOT_IP
        return {"off": STAT_NO_AP_FOUND, "wrong password": STAT_WRONG_PASSWORD}.get(self._air(), STAT_CONNECTING)

    def scan(self):
        _world.tell("wifi", "scan")
        networks = sorted(_world.values("networks"))
        return [(name.encode(), b"123456", 1, -50 - 10 * at, 3, False) for at, name in enumerate(networks)]

    def ifconfig(self, config=None):
        if config is not None:
            _world.tell(self._what, "ifconfig", *config)
            WLAN._fixed = config
            return None
        if self._interface == AP_IF:
            return (_world.read("ap", "192.168.4.1"), "255.255.255.0", "0.0.0.0", "0.0.0.0")
        if WLAN._fixed:
            return WLAN._fixed
        return ("192.168.1.23", "255.255.255.0", "192.168.1.1", _world.read("dns", "127.0.0.1"))

    def _air(self):
        networks = _world.values("networks")
        if not networks:
            return _world.read("wifi", "on")
        ssid, key = WLAN._wanted
        if ssid not in networks:
            return "off"
        return "on" if networks[ssid] == key else "wrong password"
