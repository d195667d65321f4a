"""Cut the power at every single write of a change of settings, on a real LittleFS and a store of two places."""

import json
import sys

import vfs
from flash_that_fails import Flash, mounted, unmounted

from lamp import settings

OLD = {"networks": [{"ssid": "home", "password": "old-secret"}], "gateway": "ws://10.0.0.5", "token": "old-secret"}
NEW = {"networks": [{"ssid": "barn", "password": "new-secret"}], "gateway": "ws://10.0.0.9", "token": "new-secret"}


class Chip:
    CHIP = "ESP32"
    OUTPUTS = bytes([4, 18, 19])
    INPUTS = b""
    LIGHT = bytes([18, 19, 4])


class Vault:
    def __init__(self, places, flash):
        self.places = places
        self.flash = flash

    def read(self, place):
        return self.places[place]

    def write(self, place, data):
        self.flash.tick()
        self.places[place] = data


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
