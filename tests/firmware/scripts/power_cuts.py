"""Cut the power at every single write of a change of settings, on a real LittleFS and a store of two places."""

import json
import os
import sys

import vfs

from lamp import settings

OLD = {"networks": [{"ssid": "home", "password": "old-secret"}], "gateway": "ws://10.0.0.5", "token": "old-secret"}
NEW = {"networks": [{"ssid": "barn", "password": "new-secret"}], "gateway": "ws://10.0.0.9", "token": "new-secret"}


class Chip:
    CHIP = "ESP32"
    OUTPUTS = bytes([4, 18, 19])
    INPUTS = b""
    LIGHT = bytes([18, 19, 4])


class Flash:
    """A flash that loses power after so many writes; what NVS writes counts too."""

    BLOCKS, SIZE = 32, 4096

    def __init__(self, data=None, left=-1):
        self.data = bytearray(data or self.BLOCKS * self.SIZE)
        self.left = left

    def tick(self):
        if self.left == 0:
            raise OSError(5)
        self.left -= 1

    def put(self, at, data):
        if self.left == 0:
            # The power goes in the middle of the write.
            data = data[: len(data) // 2]
            self.data[at : at + len(data)] = data
        self.tick()
        self.data[at : at + len(data)] = data

    def readblocks(self, block, buffer, offset=0):
        at = block * self.SIZE + offset
        buffer[:] = self.data[at : at + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        self.put(block * self.SIZE + offset, buffer)

    def ioctl(self, op, block):
        if op == 4:
            return self.BLOCKS
        if op == 5:
            return self.SIZE
        if op == 6:
            self.put(block * self.SIZE, b"\xff" * self.SIZE)
            return 0
        return None


class Vault:
    def __init__(self, places, flash):
        self.places = places
        self.flash = flash

    def read(self, place):
        return self.places[place]

    def write(self, place, data):
        self.flash.tick()
        self.places[place] = data


def mounted(flash):
    vfs.mount(vfs.VfsLfs2(flash), "/flash")
    os.chdir("/flash")


def unmounted():
    os.chdir("/")
    try:
        vfs.umount("/flash")
    except OSError:
        pass


def chosen(values):
    return {key: values[key] for key in OLD}


before = Flash()
vfs.VfsLfs2.mkfs(before)
places = [b"{}", b"{}"]
mounted(before)
with open("settings.json", "w") as file:
    json.dump(OLD, file)
settings.load(Vault(places, before), Chip)
# So that both places of the vault have been used.
values, _ = settings.load(Vault(places, before), Chip)
settings.change(values, {"brightness": 50}, Vault(places, before), Chip)
unmounted()

told = {"cuts": 0, "old": 0, "new": 0, "neither": []}
done = False
while not done:
    flash, secrets = Flash(before.data, told["cuts"]), list(places)
    mounted(flash)
    try:
        values, _ = settings.load(Vault(secrets, flash), Chip)
        settings.change(values, NEW, Vault(secrets, flash), Chip)
        done = True
    except OSError:
        pass
    flash.left = -1
    unmounted()
    # Power comes back.
    flash = Flash(flash.data)
    mounted(flash)
    values, problems = settings.load(Vault(secrets, flash), Chip)
    unmounted()
    if chosen(values) == NEW and not problems:
        told["new"] += 1
    elif chosen(values) == OLD and not problems:
        told["old"] += 1
    else:
        told["neither"].append([told["cuts"], chosen(values), problems])
    told["cuts"] += 1
print(json.dumps(told))
sys.exit()
