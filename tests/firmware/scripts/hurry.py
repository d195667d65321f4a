"""The lamp, for whose Wi-Fi and set-up time passes many times as fast."""

import _world

from lamp import app
from lamp.http import Server
from lamp.wifi import Wifi

SPEED = int(_world.read("speed", "20"))

begin = Wifi.__init__
set_up = Server._set_up


def hurried(self, station, settings, clock, random):
    begin(self, station, settings, lambda: clock() * SPEED, random)


Wifi.__init__ = hurried
Server._set_up = lambda self, now_ms: set_up(self, now_ms * SPEED)
app.main()
