"""What the fakes share: a folder that outlives the process as flash and wires outlive a restart, and a way to tell.

Files in ``FAKE_WORLD``, each read anew whenever it is asked for, so that a test can change the world under a running
lamp: ``wifi`` (``on``, ``off``, ``wrong password``), or ``networks`` instead (JSON: name → password), ``guests`` (how
many have joined the lamp's own network), ``ap`` (its address there), ``dns`` (address of a server), ``pins`` (JSON:
pin → level from 0 to 4095), ``climate`` (JSON), ``thermometer`` (``off``: the chip has none), ``fault`` (what is
broken), ``id``, ``nvs``, ``rtc``, ``cause``.

Whatever the lamp does to its hardware is printed as ``@what …``.
"""

import json
import os
import time

FOLDER = os.getenv("FAKE_WORLD") or "."


def read(name, default=""):
    try:
        with open(FOLDER + "/" + name) as file:
            return file.read()
    except OSError:
        return default


def write(name, text):
    with open(FOLDER + "/" + name + ".new", "w") as file:
        file.write(text)
    os.rename(FOLDER + "/" + name + ".new", FOLDER + "/" + name)


def values(name):
    return json.loads(read(name, "{}") or "{}")


def tell(*words):
    print("@" + " ".join([str(word) for word in words]), time.ticks_ms())
