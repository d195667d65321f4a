"""Cut the power at every single write of an update and of what follows it, on a real LittleFS."""

import asyncio
import binascii
import hashlib
import json
import os
import sys

import machine
import vfs
from flash_that_fails import Flash, mounted, unmounted

import lamp
import slots
from lamp import release, update

TOKEN = "secret"
NAMES = ("lamp/__init__.mpy", "lamp/app.mpy", "lamp/board/pins.mpy")
OLD = {name: b"old " * (700 + 10 * number) for number, name in enumerate(NAMES)}
NEW = {name: b"new! " * (600 + 10 * number) for number, name in enumerate(NAMES)}
Flash.BLOCKS = 64
# Nobody wants the processor while an update rests.
rest_ms = asyncio.sleep_ms
asyncio.sleep_ms = lambda _ms: rest_ms(0)
# As in a lamp that runs from slot a.
lamp.__file__ = "a/lamp/__init__.mpy"


class RestartError(Exception):
    pass


class Situation:
    updating = True


class Lamp:
    """As much of one as an update needs, with a gateway that has a release."""

    def __init__(self, files):
        self.settings = {"token": TOKEN}
        self.situation = Situation()
        self.link = self
        self.told = []
        lines = [{"version": "0.2.0", "downgrade": False}]
        lines += [
            [name, len(data), binascii.hexlify(hashlib.sha256(data).digest()).decode()] for name, data in files.items()
        ]
        manifest = b"".join([json.dumps(line).encode() + b"\n" for line in lines])
        self.bytes = manifest + b"".join(files.values())
        offer = ("c-1", "r", len(manifest), sealed(manifest))
        self.update = update.Update(self, "a", "b", offer)

    def clock(self):
        return 0

    async def say(self, text):
        message = json.loads(text)
        if message["type"] == "fetch":
            at = message["at"]
            self.update.take(at.to_bytes(4, "big") + self.bytes[at : at + message["bytes"]])
        else:
            self.told.append(message.get("error", ""))

    async def tell(self, name, state, version=None, **fields):
        self.told.append(fields.get("error", ""))

    def restart(self, why):
        raise RestartError


def sealed(manifest):
    key = release.hmac(TOKEN.encode(), [b"espfleet update 1"])
    return binascii.hexlify(release.hmac(key, [manifest])).decode()


def install(files):
    """Update to files; return why that failed, or ``""``."""
    taken = Lamp(files)
    try:
        asyncio.run(taken.update.run(lambda: None))
    except RestartError:
        return ""
    return taken.told[-1]


def whole(place, files):
    for name, data in files.items():
        try:
            with open(place + "/" + name, "rb") as file:
                if file.read() != data:
                    return False
        except OSError:
            return False
    return True


def runs():
    """Return which version the next start runs."""
    path = list(sys.path)
    slots.enter()
    place = sys.path[0]
    sys.path[:] = path
    return "old" if whole(place, OLD) else "new" if whole(place, NEW) else "neither"


def on_trial():
    return "old" if "back" in slots.read() else "new"


def came_back():
    """Return ``old`` while what was bad is in force, and ``new`` once the lamp is back."""
    state = slots.read()
    if state.get("slot") == "b" and state.get("back") == "a":
        return "old"
    return "new" if state == {"slot": "a", "bad": "0.2.0", "why": state["why"]} and whole("a", OLD) else "neither"


def cut(before, starts, act, outcome):
    """Do something again and again, with a power cut one write later each time; return what became of it."""
    told = {"cuts": 0, "old": 0, "new": 0, "neither": []}
    done = False
    while not done:
        machine.RTC().memory(json.dumps([1, 0, "", starts]).encode())
        flash = Flash(before.data, told["cuts"])
        mounted(flash)
        try:
            act()
        except OSError:
            pass
        done = not flash.cut
        unmounted()
        flash = Flash(flash.data)
        mounted(flash)
        # Memory that needs power has lost it.
        machine.RTC().memory(b"")
        found = outcome()
        unmounted()
        if found == "neither":
            told["neither"].append(told["cuts"])
        else:
            told[found] += 1
        told["cuts"] += 1
    return told


def put(place, files):
    for name, data in files.items():
        with update.flash.created(place + "/" + name) as file:
            file.write(data)


def copied(flash):
    return Flash(flash.data)


results = {}
running = Flash()
vfs.VfsLfs2.mkfs(running)
mounted(running)
put("a", OLD)
# An earlier version, one of whose files is not in the new one.
put("b", {"lamp/app.mpy": b"older", "lamp/gone.mpy": b"older"})
with open("slot", "w") as file:
    json.dump({"slot": "a", "version": "0.1.0"}, file)
unmounted()
results["update"] = cut(running, 0, lambda: install(NEW), runs)

trial = copied(running)
mounted(trial)
assert install(NEW) == ""
assert "gone.mpy" not in os.listdir("b/lamp")
unmounted()
results["confirm"] = cut(trial, 1, slots.confirm, on_trial)
results["back"] = cut(trial, 1, lambda: slots.back(slots.read(), "it was no good"), came_back)
results["start"] = cut(trial, slots.TRIALS, runs, came_back)

small = copied(running)
mounted(small)
results["too big"] = install({"lamp/app.mpy": b"x" * 240_000})
update.flash._SPARE_BYTES = -1_000_000
results["full"] = install({"lamp/app.mpy": b"x" * 140_000, "lamp/more.mpy": b"y" * 110_000})
assert runs() == "old"
unmounted()
print(json.dumps(results))
