"""The lamp's program. It runs on MicroPython; only ``board`` knows hardware."""

import sys

VERSION = "0.1.0"


class RefusedError(Exception):
    """Raised for what cannot be used or done; the text is one sentence without a full stop."""


def borrow(name: str, package: str = "lamp."):
    """Return a module of the lamp that nobody keeps: once its user has let go of it, its memory is free again.

    What is needed now and then, such as the checks of settings, would else take a quarter of the lamp's memory.
    """
    path = package + name
    module = __import__(path, None, None, ("",))
    del sys.modules[path]
    parent, _, child = path.rpartition(".")
    if parent:
        delattr(sys.modules[parent], child)
    return module
