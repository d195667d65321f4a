"""Answer every name on a port of this machine, for two seconds: ``names.py ADDRESS PORT``."""

import sys
import time

from lamp.portal_names import Names

names = Names(sys.argv[1], int(sys.argv[2]))
print("@ready")
until_ms = time.ticks_add(time.ticks_ms(), 2_000)
while time.ticks_diff(until_ms, time.ticks_ms()) > 0:
    names.look()
    time.sleep_ms(10)
names.close()
