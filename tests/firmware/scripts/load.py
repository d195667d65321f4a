"""Load the lamp as it starts, and print each of its modules with the bytes of heap that loading it took."""

# What a chip has in its ROM, or is not there at all.
import asyncio
import asyncio.event
import asyncio.funcs
import asyncio.lock
import asyncio.stream
import builtins
import gc
import json
import sys

import dht
import machine
import neopixel
import network

import esp32

ROM = (asyncio, dht, esp32, json, machine, neopixel, network)
taken = {}
within = []
load = builtins.__import__


def weight():
    gc.collect()
    return gc.mem_alloc()


def weighed(*what):
    """Load something, and count for each module what those took that it loads itself."""
    known = set(sys.modules)
    before = weight()
    within.append(0)
    found = load(*what)
    took = weight() - before
    inner = within.pop()
    if within:
        within[-1] += took
    new = [name for name in sys.modules if name not in known and name not in taken]
    if new:
        # The innermost is noted first.
        taken[new[0] if len(new) == 1 else what[0]] = took - inner
    return found


builtins.__import__ = weighed
import lamp.app  # noqa: E402, F401

builtins.__import__ = load
for name in taken:
    print(name, taken[name])
