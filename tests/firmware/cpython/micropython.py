"""What the lamp's pure modules want of MicroPython, for running them on CPython."""


def const(value):
    return value
