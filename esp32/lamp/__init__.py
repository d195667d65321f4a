"""The lamp's program. It runs on MicroPython; only ``board`` knows hardware."""

VERSION = "0.1.0"
